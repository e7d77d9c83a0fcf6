"""A toy protocol on a toy chain: a whole `ProtocolAdapter`, and a node whose canonical chain moves at will.

The protocol's contract answers one call per position (its raw amounts) and one for the prices, and emits one event,
"touched(account)". What it answers is part of each block, so any block can be asked for, orphaned ones included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import msgspec

from keeper.core.ports import Reads
from keeper.core.types import (
    Block,
    BlockRef,
    Book,
    Call,
    CallResult,
    Liquidated,
    LiquidationPlan,
    Log,
    LogFilter,
    Prices,
    RawLog,
    Skip,
    Update,
)
from tests.support.linear_market import Holdings, LinearMarket, Market, prices_of

R = TypeVar("R")

CONTRACT = b"\x70" * 20
TOUCHED = b"\x71" * 32
LIQUIDATED = b"\x72" * 32


@dataclass(frozen=True)
class State:
    """What the contract holds at one block. price: 0 where none is usable. positions: (collateral of asset 0, debt of
    asset 1) by account."""

    price: int = 20 * 10**18
    positions: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Mined:
    block: Block
    state: State
    logs: tuple[Log, ...]


class ToyProtocol(LinearMarket):
    """Tracking added to the linear market."""

    kind = "toy"

    def __init__(self, name: str = "toy") -> None:
        super().__init__(name)

    def addresses(self) -> Mapping[str, bytes]:
        return {"contract": CONTRACT}

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        yield [Call(CONTRACT, b"prices")]
        return Market()

    def filter(self, market: Market) -> LogFilter:
        return LogFilter(frozenset({CONTRACT}), frozenset({TOUCHED, LIQUIDATED}))

    def head_calls(self, market: Market) -> Sequence[Call]:
        return [Call(CONTRACT, b"prices")]

    def sync(
        self, book: Book[Market, Holdings], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[Market, Holdings]]:
        assert book.market is not None
        return self._read(list(self.touches(book.market, logs)), head, tuple(self.liquidations(book.market, logs)))

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Holdings] | None = None,
    ) -> Reads[Update[Market, Holdings]]:
        update = yield from self._read(touches, head, ())
        return Update(market, update.prices, update.positions)

    def _read(
        self, touched: Sequence[bytes], head: Sequence[CallResult], liquidations: tuple[Liquidated, ...]
    ) -> Reads[Update[Market, Holdings]]:
        positions: dict[bytes, Holdings | None] = {}
        if touched:
            answers = yield [Call(CONTRACT, account) for account in touched]
            for account, answer in zip(touched, answers, strict=True):
                collateral, debt = json.loads(answer or b"")
                empty = not collateral and not debt
                positions[account] = None if empty else Holdings({0: collateral}, {1: debt} if debt else {})
        price = int(head[0] or b"0")
        return Update(None, prices_of(price or None, 10**18), positions, liquidations)

    def touches(self, market: Market, logs: Iterable[RawLog]) -> Sequence[bytes]:
        return sorted({bytes.fromhex(log.topics[1][26:]) for log in logs})

    def whole(self, market: Market, key: bytes) -> Sequence[bytes]:
        return [key]

    def liquidations(self, market: Market, logs: Sequence[RawLog]) -> Sequence[Liquidated]:
        return [
            Liquidated(*[bytes.fromhex(log.topics[1][26:])] * 2, b"\x09" * 20, b"", 0, b"", 0, b"", 0)
            for log in logs
            if log.topics[0] == "0x" + LIQUIDATED.hex()
        ]

    def dump_market(self, market: Market) -> bytes:
        return b"{}"

    def load_market(self, payload: bytes) -> Market:
        return Market()

    def dump_position(self, position: Holdings) -> bytes:
        return json.dumps([position.collateral.get(0, 0), position.debt.get(1, 0)]).encode()

    def load_position(self, payload: bytes) -> Holdings:
        collateral, debt = json.loads(payload)
        return Holdings({0: collateral}, {1: debt} if debt else {})

    def base_decimals(self, market: Market) -> int:
        return 18

    def plan(
        self,
        market: Market,
        prices: Prices,
        key: bytes,
        position: Holdings,
        now: int,
        wallet: Mapping[bytes, int],
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        return Skip("unplanned", "the toy is only watched")

    def wallet_tokens(self, market: Market) -> Sequence[bytes]:
        return []

    def spenders(self, market: Market) -> Sequence[bytes]:
        return []

    def explain_revert(self, data: bytes) -> str:
        return data.hex()

    def confirm_calls(self, market: Market, key: bytes) -> Sequence[Call]:
        return [Call(CONTRACT, key)]

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        return {}


class ToyNode:
    """Mines, reorganizes, and answers about any block it ever had: `pipeline.Chain`, `indexer.backfill.ChainReader`."""

    def __init__(self) -> None:
        genesis = Block(BlockRef(100, b"\x01" * 32), b"\x00" * 32, 1_000_000)
        self.canonical = [Mined(genesis, State(), ())]
        self.known = {genesis.hash: self.canonical[0]}
        self.forks = 0

    @property
    def head(self) -> Mined:
        return self.canonical[-1]

    def mine(
        self,
        *,
        price: int | None = None,
        positions: Mapping[bytes, tuple[int, int]] = {},
        liquidated: Sequence[bytes] = (),
    ) -> Mined:
        """A block after which these positions, and the price, are so."""
        parent, was = self.head.block, self.head.state
        state = State(was.price if price is None else price, {**was.positions, **positions})
        digest = hashlib.sha256(parent.hash + f"{self.forks} {state}".encode()).digest()
        block = Block(BlockRef(parent.number + 1, digest), parent.hash, parent.timestamp + 12)
        logs = [_log(TOUCHED, account) for account in positions] + [_log(LIQUIDATED, account) for account in liquidated]
        mined = Mined(block, state, tuple(logs))
        self.canonical.append(mined)
        self.known[digest] = mined
        return mined

    def drop(self, depth: int) -> None:
        """Orphan the newest blocks (never the first two)."""
        self.forks += 1
        del self.canonical[max(2, len(self.canonical) - depth) :]

    # --- what the pipeline asks

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        return self.known[block_hash].block if block_hash in self.known else None

    async def block_by_number(self, number: int | str) -> Block | None:
        return next((mined.block for mined in self.canonical if mined.block.number == number), None)

    async def blocks_by_number(self, numbers: Sequence[int]) -> list[Block | None]:
        return [await self.block_by_number(number) for number in numbers]

    async def read_head(
        self, block: Block, filter_: LogFilter, calls: Sequence[Call], extra: Sequence[tuple[str, Sequence[Any]]]
    ) -> HeadRead:
        return HeadRead(self.known[block.hash].logs, await self.call_many(calls, block.ref), [None for _ in extra])

    async def read(
        self,
        requests: Sequence[tuple[str, Sequence[Any]]],
        parse: Callable[[Any], R],
        *,
        timeout_s: float | None = None,
        avoid: Any = None,
    ) -> R:
        """As a node answers to the requests of `scan.scan`, of the chain that is canonical by now."""
        answers: list[Any] = [hex(self.head.block.number), *(self._logs(*params) for _, params in requests[1:])]
        results = [msgspec.Raw(msgspec.json.encode(answer)) for answer in answers]
        return parse(SimpleNamespace(results=results, endpoint=SimpleNamespace(name="toy")))

    def _logs(self, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        first, last = int(where["fromBlock"], 16), int(where["toBlock"], 16)
        return [
            {
                "address": log.address,
                "topics": log.topics,
                "data": log.data,
                "blockNumber": hex(mined.block.number),
                "blockHash": "0x" + mined.block.hash.hex(),
                "transactionHash": "0x" + b"\x73".hex() * 32,
                "logIndex": hex(index),
            }
            for mined in self.canonical
            if first <= mined.block.number <= last
            for index, log in enumerate(mined.logs)
        ]

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        state = self.known[block.hash].state
        return [
            str(state.price).encode()
            if call.data == b"prices"
            else json.dumps(state.positions.get(call.data, (0, 0))).encode()
            for call in calls
        ]

    async def read_calls(
        self, calls: Sequence[Call], block: BlockRef, *, avoid: Any = None
    ) -> tuple[list[CallResult], None]:
        return await self.call_many(calls, block), None

    async def decoded(self, reading: Callable[[ToyNode], Awaitable[R]]) -> R:
        return await reading(self)


@dataclass(frozen=True)
class HeadRead:
    logs: Sequence[RawLog]
    results: Sequence[CallResult]
    extra: Sequence[Any]


def _log(topic: bytes, account: bytes) -> Log:
    return Log("0x" + CONTRACT.hex(), ("0x" + topic.hex(), "0x" + account.hex().zfill(64)))
