"""Contract calls at one block, as few requests, and their results back.

Pure: builds requests and reads answers. Whoever sends them may put other requests into the same round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from keeper.core.errors import KeeperError, RpcRefused
from keeper.core.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.core.types import BlockRef, Call, CallResult
from keeper.indexer.rpc.faults import is_revert, is_starved
from keeper.indexer.rpc.gasproof import ANSWER, PROOF
from keeper.indexer.rpc.wire import Request, hex_bytes, result_reader, to_hex

_read_hex = result_reader(str, "eth_call result")
_OVERHEAD_BYTES = 192
_KEPT_CALLS = 64


class CallPlan:
    """`calls` at `block` as multicalls of bounded size, all pinned to the block's hash (EIP-1898).

    The block need not be canonical (`requireCanonical`): what a hash names never changes, and reorgs are found by
    parent hashes.
    """

    def __init__(
        self, calls: Sequence[Call], block: BlockRef, max_calls: int, max_bytes: int, *, prove_gas: bool = False
    ) -> None:
        """prove_gas: see `gasproof`; costs the node a millisecond, and saves a request per empty failure."""
        self.calls = calls
        self._proof = (PROOF,) if prove_gas else ()
        self._chunks = _chunks(calls, max_calls, max_bytes)
        pin = {"blockHash": to_hex(block.hash)}
        self.requests: list[Request] = []
        for start, end in self._chunks:
            many = (*calls[start:end], *self._proof)
            encode = _encoded if len(many) > _KEPT_CALLS else _kept
            transaction = _transaction(calls[start]) if end - start == 1 else encode(many)
            self.requests.append(("eth_call", [transaction, pin]))

    def read(self, answers: Sequence[msgspec.Raw | KeeperError]) -> tuple[list[CallResult], list[int]]:
        """Results in the order of the calls, and the indices of those that must be asked alone to be sure.

        Within a multicall a call that was starved of gas looks like one that reverted without a reason, so neither is
        believed there, unless the last call proves that nothing was starved. Raises what an answer raised, unless it is
        a refusal of the whole multicall.
        """
        results: list[CallResult] = [None] * len(self.calls)
        alone: list[int] = []
        for (start, end), answer in zip(self._chunks, answers, strict=True):
            if end - start == 1:
                results[start] = read_single(answer, self.calls[start])
            elif isinstance(answer, RpcRefused):
                alone.extend(range(start, end))
            elif isinstance(answer, KeeperError):
                raise answer
            else:
                data = hex_bytes(_read_hex(answer), "eth_call result")
                if not data:  # Multicall3 has no code at this block
                    alone.extend(range(start, end))
                    continue
                outcomes = decode_aggregate3(data, end - start + len(self._proof))
                proven = bool(self._proof) and outcomes.pop() == (True, ANSWER)
                for index, outcome in enumerate(outcomes, start):
                    if outcome.success:
                        results[index] = outcome.data or None
                    elif not outcome.data and not proven:
                        alone.append(index)
        return results, alone


def single_requests(calls: Sequence[Call], block: BlockRef) -> list[Request]:
    """Each call as its own eth_call."""
    pin = {"blockHash": to_hex(block.hash)}
    return [("eth_call", [_transaction(call), pin]) for call in calls]


def read_single(answer: msgspec.Raw | KeeperError, call: Call) -> CallResult:
    """One eth_call's result: None for a revert, for empty data, and for out of gas where anybody can have made it so.
    Raises any other refusal."""
    if isinstance(answer, KeeperError):
        if is_revert(answer) or (call.anybody and is_starved(answer)):
            return None
        raise answer
    return hex_bytes(_read_hex(answer), "eth_call result") or None


def _encoded(calls: tuple[Call, ...]) -> dict[str, Any]:
    return _transaction(Call(MULTICALL3, encode_aggregate3(calls)))


_kept = lru_cache(maxsize=8)(_encoded)
"""Most blocks ask the same of the contracts as the block before."""


def _transaction(call: Call) -> dict[str, Any]:
    return {"to": to_hex(call.target), "data": to_hex(call.data)}


def _chunks(calls: Sequence[Call], max_calls: int, max_bytes: int) -> list[tuple[int, int]]:
    """Consecutive slices of at most this many calls and bytes of call data; each holds at least one call, and none both
    contracts of anybody and others."""
    chunks: list[tuple[int, int]] = []
    start = size = 0
    for index, call in enumerate(calls):
        if len(call.target) != 20:
            raise ValueError(f"call target {call.target.hex()} has {len(call.target)} bytes instead of 20")
        cost = len(call.data) + _OVERHEAD_BYTES
        full = index - start >= max_calls or size + cost > max_bytes
        if index > start and (full or call.anybody != calls[start].anybody):
            chunks.append((start, index))
            start, size = index, 0
        size += cost
    if calls:
        chunks.append((start, len(calls)))
    return chunks
