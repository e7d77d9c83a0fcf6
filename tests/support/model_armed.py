"""Positions on the model chain that are near to liquidation, and transactions made ready for them before they open."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from keeper.core.errors import KeeperError
from keeper.core.ports import Reads, Store
from keeper.core.stress import CodeSet, Lever, Override
from keeper.core.types import Block, Book, BreachPrice, LiquidationPlan, Price, Prices, Skip
from keeper.executor.armed import View, load
from keeper.executor.armory import META
from keeper.executor.executor import Executor
from keeper.executor.guard import Guard
from keeper.executor.ports import Settings, Venue
from tests.support.model_chain import COLLATERAL, FEED, ModelChain, ModelProtocol, book_at, key_of
from tests.support.model_pipeline import SETTINGS, SIGNER, Pipeline

NEAR = range(1, 7)
PRICE = Price(10**8, 8)
ARMING = replace(SETTINGS, armed=4)


class ArmedProtocol(ModelProtocol):
    """Its market is the set of open positions; any other opens when the price of its collateral falls."""

    def breach_prices(self, market: Any, prices: Prices, position: object, now: int) -> tuple[BreachPrice, ...]:
        return (BreachPrice(COLLATERAL, "COL", PRICE.value - 1, PRICE.decimals, -1),)

    def stress(
        self, market: Any, prices: Prices, key: bytes, position: object, now: int, lever: Lever
    ) -> Reads[Sequence[Override] | Skip]:
        yield from ()
        return [CodeSet(FEED, key[-1:])]

    def plan(
        self, market: Any, prices: Prices, key: bytes, position: object, now: int, wallet: Any, receiver: bytes
    ) -> LiquidationPlan | Skip:
        if int.from_bytes(key, "big") not in market and prices[COLLATERAL].value >= PRICE.value:
            return Skip("healthy", "it is not open")
        return super().plan(market, prices, key, position, now, wallet, receiver)


class ArmedChain(ModelChain):
    """Simulates with code in a feed's place: it opens the positions that it lists."""

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        state = params[0]["blockStateCalls"][0] if method == "eth_simulateV1" else {}
        overrides: Mapping[str, Any] = state.get("stateOverrides", {})
        if not overrides:
            return super()._answer(method, params)
        before = self._at(params[1])
        after = copy.deepcopy(before.after)
        after.open |= {number for code in overrides.values() for number in bytes.fromhex(code["code"][2:])}
        tip, self.blocks[self.blocks.index(before)] = before, replace(before, after=after)
        try:
            return super()._answer(method, params)
        finally:
            self.blocks[self.blocks.index(self._at(params[1]))] = tip


@dataclass
class _Reader:
    async def call_many(self, calls: Sequence[Any], block: Any) -> Sequence[Any]:
        raise AssertionError(f"asked {calls}")


class ArmedPipeline(Pipeline):
    """Arms after each block, and fires with the next."""

    def __init__(self, settings: Settings = ARMING, **others: Any) -> None:
        self.fired: list[int] = []
        self.changed: set[bytes] = set()
        super().__init__(settings, **others)
        self.chain = ArmedChain(SIGNER.address)
        self.executor = self._executor()

    def _observe(self, block: Block) -> None:
        if block == self.chain.tip.block:
            venue, landing_at = self.venue(block), block.timestamp + 12
            view = View(venue, self.changed, lambda: venue.book.positions)
            if self.loop.run_until_complete(self._fire(block, {"model": view}, landing_at)):
                self.fired.append(block.number)
        super()._observe(block)

    async def _fire(self, block: Block, views: Mapping[str, View], landing_at: int) -> bool:
        fired = self.executor.firing.fire(block, views, landing_at)
        if fired:
            await self.executor.firing.leave()
        return fired

    def answer(self) -> bool:
        """What is ready leaves because of the tip before anything else is asked about it; whether there was any."""
        block = self.chain.tip.block
        venue = self.venue(block)
        self.executor.firing.survey(block)
        view = View(venue, (), lambda: venue.book.positions)
        return self.loop.run_until_complete(self._fire(block, {"model": view}, block.timestamp + 12))

    def _stored(self, transaction: Any) -> None:
        self.executor.firing.fired(transaction)

    def follow(self, *, act: bool = True) -> None:
        super().follow(act=act)
        if act:
            self.arm()

    def arm(self, near: Sequence[int] = NEAR) -> None:
        tip = self.chain.tip
        venue = self.venue(tip.block)
        edge = [(venue, key_of(number)) for number in near if number not in tip.after.open]
        edge = edge[: self.executor.firing.looks_at]
        arming = self.executor.firing.arm(tip.block, edge, tip.block.timestamp + 12, lambda: True)
        self.loop.run_until_complete(arming)

    def opportunities(self, venue: Venue) -> Sequence[bytes]:
        return [key_of(number) for number in cast(Any, venue.book.market)]

    def venue(self, block: Block) -> Venue:
        """Of every near position, open or not."""
        after = next(b.after for b in self.chain.blocks if b.block == block)
        positions = {key_of(number): number for number in {*NEAR, *after.open}}
        book: Book[Any, Any] = Book(frozenset(after.open), book_at(after).prices, positions)
        return Venue(cast(Any, ArmedProtocol()), book)

    def _executor(self) -> Executor:
        store = cast(Store, self.store)
        guard = None
        if self.limits is not None:
            guard = Guard(store, self.limits, cast(Any, self.switch), lambda: self.clock)
        return Executor(
            store, self.chain, self, self.settings, lambda: self.clock, signer=SIGNER, guard=guard, reader=_Reader()
        )

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """What is armed is durable as well, if elsewhere."""
        armed = {i.attempts[0].raw for i in load(self.store.meta(META), SIGNER.address)}
        try:
            return await super().submit_many(raws)
        finally:
            self.unjournalled = [raw for raw in self.unjournalled if raw not in armed]
