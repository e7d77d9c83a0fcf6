"""What the executor wants to know of every block, as data to be asked together with everything else about the block.

So watching our transactions and our wallet costs no round trip of its own. Calls and requests are pinned to the block
by its hash; receipts and pool contents cannot be, so their blocks are checked where they are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.core.errors import DecodeError, KeeperError
from keeper.core.types import BlockRef, Call, CallResult
from keeper.executor.ahead import Ahead, read_pending
from keeper.executor.lifecycle import Receipt, Sight
from keeper.executor.ports import Request
from keeper.executor.shapes import data, mined_log, quantity

_BALANCE_OF = bytes.fromhex("70a08231")
_ALLOWANCE = bytes.fromhex("dd62ed3e")
_DECIMALS = bytes.fromhex("313ce567")
_HISTORY_BLOCKS = 4
_WORD = (1 << 64) - 1  # what clients count gas and blocks with
_NONCES = 1 << 63  # far above what any account can reach (EIP-2681: 2**64 - 1), and what a database counts to


@dataclass(frozen=True, slots=True)
class Wallet:
    """What our account holds and lets others take, at one block.

    tokens: raw units by token. allowances: raw units by (token, spender). decimals: of every token that tells.
    native_wei: None when it could not be read.
    """

    tokens: Mapping[bytes, int]
    allowances: Mapping[tuple[bytes, bytes], int]
    decimals: Mapping[bytes, int]
    native_wei: int | None


@dataclass(frozen=True, slots=True)
class Answers:
    """tips_wei: what recent blocks' transactions paid their builders, per gas. ahead: of the asked price updates, those
    that still wait to be mined, by hash."""

    sight: Sight
    wallet: Wallet
    tips_wei: tuple[int, ...]
    ahead: Mapping[bytes, Ahead] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Questions:
    """Ask `calls` and `requests` at `block` (one round trip with the block's other reads), then `read` the results."""

    block: BlockRef
    calls: tuple[Call, ...]
    requests: tuple[Request, ...]
    tokens: tuple[bytes, ...] = ()
    approvals: tuple[tuple[bytes, bytes], ...] = ()
    unknown_decimals: tuple[bytes, ...] = ()
    receipts: tuple[bytes, ...] = ()
    presence: tuple[bytes, ...] = ()
    updates: tuple[bytes, ...] = ()

    def read(self, results: Sequence[CallResult], answers: Sequence[Any], decimals: Mapping[bytes, int]) -> Answers:
        """results, answers: in the order of `calls` and `requests`; an answer may be a KeeperError, which is a "don't
        know". decimals: of the tokens known before.

        Raises DecodeError when the numbers of results do not match.
        """
        if len(results) != len(self.calls) or len(answers) != len(self.requests):
            raise DecodeError(
                f"asked {len(self.calls)} calls and {len(self.requests)} requests, but got {len(results)} and "
                f"{len(answers)} answers; hand back all of them, in order"
            )
        words = [_word(result) for result in results]
        balances, rest = words[: len(self.tokens)], words[len(self.tokens) :]
        allowed, told = rest[: len(self.approvals)], rest[len(self.approvals) :]
        wallet = Wallet(
            tokens={t: b for t, b in zip(self.tokens, balances, strict=True) if b is not None},
            allowances={p: a for p, a in zip(self.approvals, allowed, strict=True) if a is not None},
            decimals={
                **decimals,
                **{t: d for t, d in zip(self.unknown_decimals, told, strict=True) if d is not None and d < 256},
            },
            native_wei=_quantity(answers[1]),
        )
        *answers, pending = answers  # the last one asked
        receipts, others = answers[3 : 3 + len(self.receipts)], answers[3 + len(self.receipts) :]
        presence, updates = others[: len(self.presence)], map(read_pending, others[len(self.presence) :])
        sight = Sight(
            block=self.block,
            nonce=_nonce(answers[0]),
            receipts={
                asked: receipt
                for asked, answer in zip(self.receipts, receipts, strict=True)
                if (receipt := read_receipt(asked, answer)) is not None
            },
            known={
                asked: answer is not None
                for asked, answer in zip(self.presence, presence, strict=True)
                if not isinstance(answer, KeeperError)
            },
            pending_nonce=_nonce(pending),
        )
        waiting = {ahead.tx_hash: ahead for ahead in updates if ahead is not None and ahead.tx_hash in self.updates}
        return Answers(sight, wallet, _tips(answers[2]), waiting)


def ask(
    block: BlockRef,
    account: bytes,
    *,
    percentile: int,
    approvals: Iterable[tuple[bytes, bytes]],
    unknown_decimals: Iterable[bytes],
    receipts: Iterable[bytes],
    presence: Iterable[bytes],
    updates: Iterable[bytes] = (),
) -> Questions:
    """approvals: every (token, spender) that a liquidation may need; the tokens are those that can pay for one.
    receipts: hashes whose inclusion is open. presence: hashes the node should have waiting. updates: hashes of price
    updates that transactions of ours follow."""
    pairs = tuple(dict.fromkeys(approvals))
    tokens = tuple(dict.fromkeys(token for token, _ in pairs))
    undecided = tuple(unknown_decimals)
    owner = account.rjust(32, b"\0")
    calls = (
        *(Call(token, _BALANCE_OF + owner) for token in tokens),
        *(Call(token, _ALLOWANCE + owner + spender.rjust(32, b"\0")) for token, spender in pairs),
        *(Call(token, _DECIMALS) for token in undecided),
    )
    at, who = {"blockHash": "0x" + block.hash.hex()}, "0x" + account.hex()
    wanted, expected, followed = tuple(receipts), tuple(presence), tuple(dict.fromkeys(updates))
    requests: tuple[Request, ...] = (
        ("eth_getTransactionCount", (who, at)),
        ("eth_getBalance", (who, at)),
        ("eth_feeHistory", (hex(_HISTORY_BLOCKS), hex(block.number), [percentile])),
        *(("eth_getTransactionReceipt", ("0x" + h.hex(),)) for h in wanted),
        *(("eth_getTransactionByHash", ("0x" + h.hex(),)) for h in (*expected, *followed)),
        ("eth_getTransactionCount", (who, "pending")),
    )
    return Questions(block, calls, requests, tokens, pairs, undecided, wanted, expected, followed)


def read_receipt(asked: bytes, answer: Any) -> Receipt | None:
    """The receipt of the transaction that was asked for; None for no receipt, an error, or one that cannot be true."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("logs"), list):
        return None
    try:
        gas_used = quantity(answer.get("gasUsed"), most=_WORD)
        paid_wei = gas_used * quantity(answer.get("effectiveGasPrice"), most=1 << 128)
        receipt = Receipt(
            transaction_hash=data(answer.get("transactionHash"), 32),
            block=BlockRef(quantity(answer.get("blockNumber"), most=_WORD), data(answer.get("blockHash"), 32)),
            succeeded=quantity(answer.get("status"), most=1) == 1,
            gas_used=gas_used,
            cost_wei=paid_wei + quantity(answer.get("l1Fee") or "0x0", most=1 << 128),
            logs=tuple(map(mined_log, answer["logs"])),
        )
    except ValueError:
        return None  # asked again with the next block; the nonce tells in the end whatever receipts say
    return receipt if receipt.transaction_hash == asked else None


def _word(result: CallResult) -> int | None:
    return int.from_bytes(result[:32], "big") if result is not None and len(result) >= 32 else None


def _quantity(answer: Any) -> int | None:
    try:
        return quantity(answer)
    except ValueError:
        return None


def _nonce(answer: Any) -> int | None:
    found = _quantity(answer)
    return found if found is not None and found < _NONCES else None


def _tips(answer: Any) -> tuple[int, ...]:
    """Per block that had transactions, the tip at the asked percentile."""
    if not isinstance(answer, Mapping):
        return ()
    try:
        rows = zip(answer["reward"], answer["gasUsedRatio"], strict=False)
        return tuple(quantity(reward[0]) for reward, ratio in rows if ratio > 0)
    except (KeyError, TypeError, ValueError, IndexError):
        return ()
