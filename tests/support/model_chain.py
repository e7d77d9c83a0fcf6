"""A chain small enough to reason about, behind the executor's own ports: blocks, one account, a pool that lies.

On it, position k can be liquidated while it is open, for 10 tokens, which must be held and approved. Everything else a
call may do reverts, as on a real chain.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.core.errors import KeeperError, RpcRefused, RpcUnavailable
from keeper.core.types import (
    Block,
    BlockRef,
    Book,
    Liquidated,
    LiquidationPlan,
    Price,
    Prices,
    Skip,
    TxCall,
    UnsignedTransaction,
)
from keeper.executor.ports import Request
from keeper.executor.transaction import decode_signed, transaction_hash

POOL, TOKEN, COLLATERAL, NATIVE, FEED = (bytes([n]) * 20 for n in (0xA1, 0xA2, 0xA3, 0xA4, 0xA5))
GWEI = 10**9
CHARGE = 10
GAS_USED = 200_000
CANCEL_GAS_USED = 21_000
_LIQUIDATE = bytes.fromhex("11111111")
_APPROVE = bytes.fromhex("095ea7b3")


@dataclass
class Account:
    """State that blocks change."""

    nonce: int = 0
    native_wei: int = 10**20
    tokens: int = 10**6
    allowance: int = 0
    paused: bool = False
    frozen: frozenset[int] = frozenset()  # positions whose collateral cannot be moved
    open: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Mined:
    tx_hash: bytes
    transaction: UnsignedTransaction
    succeeded: bool
    gas_used: int
    position: int | None


@dataclass
class ModelBlock:
    block: Block
    mined: list[Mined]
    after: Account


@dataclass(frozen=True)
class MadeUp:
    """A receipt of what was not mined. below: in a block below all known headers, else in the newest one."""

    succeeded: bool = True
    below: bool = False


@dataclass
class ModelChain:
    """base_fee_wei: of the next block. faults: how the next submissions go, first one first; empty is honestly.
    made_up: what the node says of what waits; None where it is honest. miscounted: what it adds to the count of ours;
    None where it does not tell."""

    account: bytes
    blocks: list[ModelBlock] = field(default_factory=list)
    pool: dict[bytes, UnsignedTransaction] = field(default_factory=dict)
    base_fee_wei: int = 10 * GWEI
    faults: list[str] = field(default_factory=list)
    submitted: list[bytes] = field(default_factory=list)
    in_sequence: bool = True
    branch: int = 0
    made_up: MadeUp | None = None
    miscounted: int | None = 0

    def __post_init__(self) -> None:
        self._append([], Account())

    # --- the world moves

    @property
    def tip(self) -> ModelBlock:
        return self.blocks[-1]

    def mine(
        self,
        *,
        at_most: int = 1000,
        opened: Sequence[int] = (),
        closed: Sequence[int] = (),
        foreign: bool = False,
        paused: bool | None = None,
    ) -> Block:
        """A block with up to `at_most` of our waiting transactions; others open and close positions before them, may
        pause everything or end that, and a foreign transaction may use our nonce."""
        after = copy.deepcopy(self.tip.after)
        after.paused = after.paused if paused is None else paused
        after.open |= set(opened)
        after.open -= set(closed)
        if foreign:
            after.nonce += 1
        mined: list[Mined] = []
        while len(mined) < at_most:
            best = max(
                (
                    (transaction.max_fee_wei, tx_hash)
                    for tx_hash, transaction in self.pool.items()
                    if transaction.nonce == after.nonce and transaction.max_fee_wei >= self.base_fee_wei
                ),
                default=None,
            )
            if best is None:
                break
            mined.append(self._execute(best[1], self.pool[best[1]], after))
        return self._append(mined, after)

    def reorg(self, depth: int, *, requeue: bool) -> None:
        """Forget the last blocks; their transactions go back to the pool, or vanish."""
        depth = min(depth, len(self.blocks) - 1)
        orphaned = [mined for block in self.blocks[len(self.blocks) - depth :] for mined in block.mined]
        del self.blocks[len(self.blocks) - depth :]
        self.branch += 1
        if requeue:
            self.pool.update({mined.tx_hash: mined.transaction for mined in orphaned})

    def _append(self, mined: list[Mined], after: Account) -> Block:
        number = len(self.blocks)
        parent = self.blocks[-1].block if self.blocks else None
        block = Block(
            BlockRef(number, f"{number}:{self.branch}".encode().rjust(32, b".")),
            parent.hash if parent else bytes(32),
            1_700_000_000 + 12 * number,
            base_fee_wei=self.base_fee_wei,
            gas_limit=30_000_000,
            gas_used=15_000_000,
        )
        self.blocks.append(ModelBlock(block, mined, after))
        self.pool = {h: t for h, t in self.pool.items() if t.nonce >= after.nonce}
        return block

    def _execute(self, tx_hash: bytes, transaction: UnsignedTransaction, account: Account) -> Mined:
        failure = run(transaction.call, account)
        gas_used = CANCEL_GAS_USED if transaction.call.to == self.account else GAS_USED
        account.nonce += 1
        account.native_wei -= gas_used * transaction.max_fee_wei
        return Mined(tx_hash, transaction, failure is None, gas_used, position_of(transaction.call))

    # --- the node answers

    async def batch(self, requests: Sequence[Request]) -> list[Any]:
        return [self._answer(method, params) for method, params in requests]

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        match method:
            case "eth_getTransactionCount":
                if params[1] == "pending":
                    return hex(self._pending_nonce())
                if self.miscounted is None:
                    return RpcUnavailable("timed out")
                return hex(max(self._at(params[1]).after.nonce + self.miscounted, 0))
            case "eth_getBalance":
                return hex(self._at(params[1]).after.native_wei)
            case "eth_feeHistory":
                return {"reward": [[hex(GWEI)]] * 4, "gasUsedRatio": [0.5] * 4}
            case "eth_getTransactionReceipt":
                asked = bytes.fromhex(params[0][2:])
                lies = self.made_up is not None and asked in self.pool
                return self._made_up_receipt(asked, self.made_up) if lies else self._receipt(asked)
            case "eth_getTransactionByHash":
                tx_hash = bytes.fromhex(params[0][2:])
                known = tx_hash in self.pool or self._receipt(tx_hash) is not None
                return {"hash": params[0]} if known else None
            case "eth_simulateV1" if self.in_sequence:
                account = copy.deepcopy(self._at(params[1]).after)
                return [{"calls": [_result(call, account) for call in params[0]["blockStateCalls"][0]["calls"]]}]
            case "eth_call":
                failure = run(_read_call(params[0]), copy.deepcopy(self._at(params[1]).after))
                return "0x" if failure is None else RpcRefused("execution reverted", 3, failure)
        return RpcRefused(f"the method {method} does not exist", -32601)

    def _pending_nonce(self) -> int:
        nonce, waiting = self.tip.after.nonce, {transaction.nonce for transaction in self.pool.values()}
        while nonce in waiting:
            nonce += 1
        return nonce

    def _at(self, pinned: Any) -> ModelBlock:
        if isinstance(pinned, str):
            return self.blocks[int(pinned, 16)]
        return next(b for b in self.blocks if b.block.hash == bytes.fromhex(pinned["blockHash"][2:]))

    def _receipt(self, tx_hash: bytes) -> Any:
        for block in self.blocks:
            for mined in block.mined:
                if mined.tx_hash == tx_hash:
                    return _receipt_of(mined, block.block.ref)
        return None

    def _made_up_receipt(self, tx_hash: bytes, lie: MadeUp) -> Any:
        transaction = self.pool[tx_hash]
        mined = Mined(tx_hash, transaction, lie.succeeded, GAS_USED, position_of(transaction.call))
        return _receipt_of(mined, BlockRef(0, b"\x77" * 32) if lie.below else self.tip.block.ref)

    # --- the pool takes, refuses, and lies

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        return [self._submit(raw) for raw in raws]

    def _submit(self, raw: bytes) -> KeeperError | None:
        transaction, tx_hash = decode_signed(raw), transaction_hash(raw)
        self.submitted.append(tx_hash)
        match self.faults.pop(0) if self.faults else "honest":
            case "swallowed":
                return None
            case "unanswered":
                return RpcUnavailable("timed out; it may have been accepted")
            case "unanswered but taken":
                self._take(tx_hash, transaction)
                return RpcUnavailable("timed out; it may have been accepted")
            case "refused but taken":
                self._take(tx_hash, transaction)
                return RpcRefused("nonce too low", -32000)
            case "refused":
                return RpcRefused("transaction rejected for no reason", -32000)
        return self._take(tx_hash, transaction)

    def _take(self, tx_hash: bytes, transaction: UnsignedTransaction) -> KeeperError | None:
        if tx_hash in self.pool:
            return RpcRefused("already known", -32000)
        if transaction.nonce < self.tip.after.nonce:
            return RpcRefused("nonce too low", -32000)
        for other in [h for h, t in self.pool.items() if t.nonce == transaction.nonce]:
            if transaction.max_fee_wei * 10 < self.pool[other].max_fee_wei * 11:
                return RpcRefused("replacement transaction underpriced", -32000)
            del self.pool[other]
        self.pool[tx_hash] = transaction
        return None


def run(call: TxCall, account: Account) -> bytes | None:
    """Execute a call; the revert data when it fails."""
    if call.data[:4] == _APPROVE:
        account.allowance = int.from_bytes(call.data[36:68], "big")
        return None
    if call.to == FEED:
        account.open |= set(call.data)
        return None
    position = position_of(call)
    if position is None:
        return None
    if account.paused or position in account.frozen:
        return b"paused"
    if position not in account.open:
        return b"healthy"
    if account.allowance < CHARGE:
        return b"allowance"
    if account.tokens < CHARGE:
        return b"balance"
    account.open.discard(position)
    account.tokens -= CHARGE
    account.allowance -= CHARGE
    return None


def position_of(call: TxCall) -> int | None:
    return int.from_bytes(call.data[4:], "big") if call.data[:4] == _LIQUIDATE else None


def _result(call: Any, account: Account) -> dict[str, Any]:
    failure = run(_read_call(call), account)
    return {
        "status": hex(failure is None),
        "gasUsed": hex(GAS_USED),
        "returnData": "0x" + (failure or b"").hex(),
    }


def _read_call(call: Any) -> TxCall:
    return TxCall(bytes.fromhex(call["to"][2:]), bytes.fromhex(call["input"][2:]))


def _receipt_of(mined: Mined, block: BlockRef) -> dict[str, Any]:
    return {
        "transactionHash": "0x" + mined.tx_hash.hex(),
        "blockNumber": hex(block.number),
        "blockHash": "0x" + block.hash.hex(),
        "status": hex(mined.succeeded),
        "gasUsed": hex(mined.gas_used),
        "effectiveGasPrice": hex(mined.transaction.max_fee_wei),
        "logs": _logs(mined),
    }


def _logs(mined: Mined) -> list[dict[str, Any]]:
    if mined.position is None or not mined.succeeded:
        return []
    return [
        {
            "address": "0x" + POOL.hex(),
            "topics": ["0x" + mined.position.to_bytes(32, "big").hex()],
            "data": "0x",
            "blockNumber": "0x0",
            "blockHash": "0x" + bytes(32).hex(),
            "transactionHash": "0x" + mined.tx_hash.hex(),
            "logIndex": "0x0",
        }
    ]


class ModelProtocol:
    """The adapter of the model's only protocol: what the executor uses of the port."""

    kind = name = "model"
    start_block = 0

    def position_id(self, key: bytes) -> str:
        return f"model:{int.from_bytes(key, 'big')}"

    def base_decimals(self, market: object) -> int:
        return 8

    def wallet_tokens(self, market: object) -> Sequence[bytes]:
        return (TOKEN,)

    def spenders(self, market: object) -> Sequence[bytes]:
        return (POOL,)

    def entry_points(self, market: object) -> Sequence[tuple[bytes, bytes]]:
        return ((POOL, _LIQUIDATE),)

    def explain_revert(self, data: bytes) -> str:
        return data.decode(errors="replace")

    def plan(
        self, market: object, prices: Prices, key: bytes, position: object, now: int, wallet: Any, receiver: bytes
    ) -> LiquidationPlan | Skip:
        if wallet.get(TOKEN, 0) < CHARGE:
            return Skip("no_balance", "the wallet holds too little")
        number = int.from_bytes(key, "big")
        return LiquidationPlan(
            account=key,
            debt_asset=TOKEN,
            repay_assets=CHARGE,
            collateral_asset=COLLATERAL,
            expected_repaid_assets=CHARGE,
            expected_seized_assets=seized(number),
            profit_base=(seized(number) - CHARGE) * 10**8,
            judged_at=now,
            health_wad=10**18 - 1,
            call=TxCall(POOL, _LIQUIDATE + key),
            approval=(TOKEN, POOL, CHARGE),
            gas_limit_hint=GAS_USED,
        )

    def liquidations(self, market: object, logs: Any) -> Sequence[Liquidated]:
        return [
            Liquidated(
                key=bytes.fromhex(log.topics[0][2:])[-20:],
                account=bytes.fromhex(log.topics[0][2:])[-20:],
                liquidator=b"",
                debt_asset=TOKEN,
                repaid_assets=CHARGE,
                collateral_asset=COLLATERAL,
                seized_assets=seized(int(log.topics[0], 16)),
                transaction_hash=bytes.fromhex(log.transaction_hash[2:]),
                log_index=0,
            )
            for log in logs
        ]


def seized(position: int) -> int:
    """Position k brings $1000 + k more than it costs."""
    return CHARGE + 1000 + position


def key_of(position: int) -> bytes:
    return position.to_bytes(20, "big")


def book_at(account: Account) -> Book[Any, Any]:
    prices = {NATIVE: Price(2000 * 10**8, 8), TOKEN: Price(10**8, 8), COLLATERAL: Price(10**8, 8)}
    return Book(market=object(), prices=prices, positions={key_of(p): p for p in account.open})


def call_results(chain: ModelChain, block: BlockRef, calls: Sequence[Any]) -> list[bytes | None]:
    """Answers to the wallet's calls at a block of the canonical chain."""
    account = next(b for b in chain.blocks if b.block.ref == block).after
    answers = {
        "70a08231": account.tokens,
        "dd62ed3e": account.allowance,
        "313ce567": 0,
    }
    return [answers[call.data[:4].hex()].to_bytes(32, "big") for call in calls]
