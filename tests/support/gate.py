"""A contract on a real chain to act on without a protocol: gate k is opened by us and closed by a call, once.

The call's data is the gate's number. Closing a gate that is not open reverts. The gate's token is a contract that
answers 128 to whatever it is asked: so much is held, and approved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from keeper.core.chain import Reverted, Window
from keeper.core.ports import Store
from keeper.core.records import CommittedBlock
from keeper.core.types import Block, Book, Liquidated, LiquidationPlan, Price, Prices, Skip, TxCall
from keeper.devnet.anvil import Anvil
from keeper.executor.executor import Executor
from keeper.executor.ports import Opportunity, Venue
from keeper.indexer.follow import steps_to
from keeper.indexer.rpc.client import RpcClient

GATE, TOKEN, NATIVE = (bytes([n]) * 20 for n in (0xC1, 0xC2, 0xC3))
# if storage[data] is zero, revert; else storage[data] = 0
_GATE_CODE = "0x5f35805415600c575f9055005b5f5ffd"
_TOKEN_CODE = "0x60805f5260205ff3"
_GAS = 60_000
_BASE_UNIT = 10**120  # raw units of a token of 128 decimals that are worth one of the base currency's 8


def install(anvil: Anvil) -> None:
    anvil.rpc("anvil_setCode", "0x" + GATE.hex(), _GATE_CODE)
    anvil.rpc("anvil_setCode", "0x" + TOKEN.hex(), _TOKEN_CODE)


def open_gates(anvil: Anvil, *gates: int) -> None:
    """In effect from the next block on."""
    for gate in gates:
        _set(anvil, gate, 1)


def close_gates(anvil: Anvil, *gates: int) -> None:
    for gate in gates:
        _set(anvil, gate, 0)


def is_open(anvil: Anvil, gate: int) -> bool:
    return int(anvil.rpc("eth_getStorageAt", "0x" + GATE.hex(), hex(gate), "latest"), 16) == 1


def _set(anvil: Anvil, gate: int, value: int) -> None:
    anvil.rpc("anvil_setStorageAt", "0x" + GATE.hex(), "0x" + gate.to_bytes(32, "big").hex(), f"0x{value:064x}")


class GateProtocol:
    """What the executor uses of the adapter port."""

    kind = name = "gate"

    def position_id(self, key: bytes) -> str:
        return f"gate:{int.from_bytes(key, 'big')}"

    def base_decimals(self, market: object) -> int:
        return 8

    def wallet_tokens(self, market: object) -> Sequence[bytes]:
        return (TOKEN,)

    def spenders(self, market: object) -> Sequence[bytes]:
        return (GATE,)

    def entry_points(self, market: object) -> Sequence[tuple[bytes, bytes]]:
        return ((GATE, bytes(4)),)

    def explain_revert(self, data: bytes) -> str:
        return "the gate is closed"

    def liquidations(self, market: object, logs: object) -> Sequence[Liquidated]:
        return ()

    def plan(
        self, market: object, prices: Prices, key: bytes, position: object, now: int, wallet: Any, receiver: bytes
    ) -> LiquidationPlan | Skip:
        if not wallet.get(TOKEN):
            return Skip("no_balance", "nothing left")
        profit = 10_000 * 10**8 - int.from_bytes(key, "big")
        return LiquidationPlan(
            account=key,
            debt_asset=TOKEN,
            repay_assets=1,
            collateral_asset=TOKEN,
            expected_repaid_assets=1,
            expected_seized_assets=(profit + 1) * _BASE_UNIT,
            profit_base=profit,
            judged_at=now,
            health_wad=None,
            call=TxCall(GATE, key.rjust(32, b"\0")),
            approval=(TOKEN, GATE, 1),
            gas_limit_hint=_GAS,
        )


@dataclass
class Follower:
    """A pipeline of the executor alone: real headers, real store, real node; gates stand for positions."""

    anvil: Anvil
    rpc: RpcClient
    store: Store
    executor: Executor
    gates: Sequence[int]
    finality: int = 30
    window: Window = field(default_factory=lambda: Window(()))

    async def start(self) -> None:
        """Begin at the latest block, or where the store stands."""
        stored = self.store.blocks()
        self.executor.adopt(stored, 0)
        if stored:
            self.window = Window(stored)
            return
        head = await self.rpc.block_by_number("latest")
        assert head is not None
        await self._commit(head, tip=True)

    async def follow(self) -> Block:
        """Up to the latest block, acting there."""
        head = await self.rpc.block_by_number("latest")
        assert head is not None
        for step in await steps_to(self.window, head, self.rpc):
            if isinstance(step, Reverted):
                with self.store.transaction() as tx:
                    tx.revert_to(step.ancestor)
                    self.executor.reverted(tx, step.ancestor)
                self.window.revert_to(step.ancestor)
            else:
                await self._commit(step.block, tip=step.tip)
        return head

    async def _commit(self, block: Block, *, tip: bool) -> None:
        venue = await self._venue(block)
        questions = self.executor.questions(block.ref, [venue])
        results, answers = await asyncio.gather(
            self.rpc.call_many(questions.calls, block.ref), self.rpc.batch(questions.requests)
        )
        changed = self.executor.observe(questions, results, answers, [venue], max(block.number - self.finality, 0))
        with self.store.transaction() as tx:
            tx.commit_block(CommittedBlock(block, ()))
            for intent in changed:
                tx.put_intent(intent)
        self.window.extend(block)
        if tip:
            opportunities = [Opportunity(venue, key) for key in venue.book.positions]
            await self.executor.act(block, opportunities, [venue], block.timestamp + 1)

    async def _venue(self, block: Block) -> Venue:
        at = {"blockHash": "0x" + block.hash.hex()}
        slots = await self.rpc.batch([("eth_getStorageAt", ["0x" + GATE.hex(), hex(g), at]) for g in self.gates])
        positions = {g.to_bytes(20, "big"): g for g, slot in zip(self.gates, slots, strict=True) if int(slot, 16)}
        prices = {NATIVE: Price(2000 * 10**8, 8), TOKEN: Price(10**8, 8)}
        return Venue(cast(Any, GateProtocol()), Book(market=object(), prices=prices, positions=positions))
