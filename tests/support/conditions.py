"""A small world in which things go wrong: a store, a clock, channels, and a market whose prices grow old."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from keeper.core.records import DeliveryStatus, Notice, NoticeEvent
from keeper.core.types import Band, Block, BlockRef, Book, Health, Price, Prices
from keeper.evaluator.bands import BandRules
from keeper.evaluator.directory import Directory
from keeper.evaluator.judge import Judge
from keeper.notifier.routing import Route, Router
from keeper.protocols.addresses import checksummed
from keeper.store.sql import SqlStore
from keeper.telling import Teller
from keeper.track import Track
from keeper.upkeep.conditions import Conditions
from tests.support.linear_market import Holdings, LinearMarket, Market, asset

WAD = 10**18
RULES = BandRules(125 * WAD // 100, 110 * WAD // 100, 103 * WAD // 100, 2 * WAD // 100, 125 * WAD // 100)
ALICE, BOB = b"\xa1" * 20, b"\xb0" * 20
OPS, MAIL, ALICES = Route(channel="ops"), Route(channel="mail"), Route(channel="alice", accounts=frozenset({ALICE}))
PAGER = Route(channel="pager", escalates="mail", min_band=Band.URGENT)


@dataclass
class World:
    """A store, a clock, and channels; `restart` forgets everything that is not stored."""

    store: SqlStore
    routes: Sequence[Route] = (OPS, MAIL, ALICES)
    operators: tuple[str, ...] = ("ops",)
    now: float = 1_700_000_000.0
    woken: int = 0
    conditions: Conditions = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        def wake() -> None:
            self.woken += 1

        router, directory = Router.of(self.routes), Directory(checksummed, {ALICE: "Alice"}.get)
        self.conditions = Conditions(self.store, router, self.operators, directory, lambda: self.now, wake)

    def told(self) -> list[tuple[str, NoticeEvent]]:
        return [(one.channel, one.notice.event) for one in self.store.deliveries()]

    def notices(self) -> list[Notice]:
        return [one.notice for one in self.store.deliveries()]

    def settle(self, status: DeliveryStatus, channel: str) -> None:
        with self.store.transaction() as tx:
            for one in self.store.deliveries():
                if one.channel == channel and one.status is DeliveryStatus.PENDING:
                    tx.settle(one.notice.id, channel, status, at=self.now, error="no such chat")


class Timed(LinearMarket):
    """A price older than 100 seconds is stale."""

    def health(self, market: Market, prices: Prices, position: Holdings, now: int) -> Health:
        found = super().health(market, prices, position, now)
        held = (asset(number) for number in {*position.collateral, *position.debt})
        old = tuple(one for one in sorted(held) if one in prices and now - (prices[one].updated_at or now) > 100)
        return Health(
            found.factor_wad,
            found.liquidatable,
            found.collateral_value,
            found.debt_value,
            old,
            found.unpriced_assets,
        )


def tracked(accounts: frozenset[bytes], positions: dict[bytes, Holdings]) -> Track:
    judge: Judge[Market, Holdings] = Judge(Timed(), RULES, accounts, acts=False)
    teller = Teller(judge, Router(()), Directory(checksummed))
    track = Track(judge.adapter, Book(Market(rates_ray=(0, 0, 0, 0)), prices(0), positions), judge, teller)
    judge.reload(track.book, [])
    return track


def prices(updated: int, **by_number: int) -> dict[bytes, Price]:
    """All one; t0=…: that one's time of update."""
    return {asset(n): Price(WAD, 18, by_number.get(f"t{n}", updated)) for n in range(4)}


def at(now: int) -> Block:
    return Block(BlockRef(now, bytes([now % 251]) * 32), b"", now)


def holding(percent: int, collateral: int = 0, debt: int = 1) -> Holdings:
    """Of this health in percent, while all prices are one."""
    return Holdings({collateral: 10**22}, {debt: 10**24 * Market().thresholds_bps[collateral] // 10_000 // percent})
