"""What readers of a channel can rely on, whatever happens in whatever order: random calls, rules, answers and times."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.ports import Store
from keeper.core.records import Delivery, DeliveryStatus, Notice, NoticeEvent
from keeper.core.types import Band
from keeper.notifier.queue import MINUTE_S, take
from keeper.notifier.quiet import QuietHours, parse_hours, parse_zone
from keeper.notifier.routing import Route, Router
from keeper.store import open_store
from tests.support.notices import notice

START = 1_790_000_000.0  # September 2026; a run of some weeks reaches the change of clocks in Berlin
POSITIONS = ("aave:1", "aave:2", "aave:3")
NIGHT = QuietHours(parse_hours("22:00-07:00"), parse_zone("Europe/Berlin"))
ENDS = (NoticeEvent.CURED, NoticeEvent.REPAID, NoticeEvent.WITHDRAWN, NoticeEvent.LIQUIDATED)


@dataclass
class World:
    """A store, its channels, what happens to positions, and what readers of each channel saw and when.

    A crash is nothing special here: nothing but the store is remembered between two steps.
    """

    store: Store
    router: Router
    dice: random.Random
    now: float = START
    count: int = 0
    open: dict[str, Band] = field(default_factory=dict)
    history: dict[str, list[Notice]] = field(default_factory=dict)
    seen: dict[str, list[tuple[float, Notice]]] = field(default_factory=dict)

    def happen(self) -> None:
        """A position is called, gets worse, or is over."""
        position = self.dice.choice(POSITIONS)
        band = self.open.get(position)
        if band is None:
            band, event = Band.CALL, NoticeEvent.OPENED
        elif band < Band.LIQUIDATABLE and self.dice.random() < 0.5:
            band, event = Band(band + 1), NoticeEvent.ESCALATED
        else:
            event = self.dice.choice(ENDS)
        self.count += 1
        told = notice(self.count, position=position, event=event, band=band.label)
        if event.ends_episode:
            del self.open[position]
        else:
            self.open[position] = band
        self.history.setdefault(position, []).append(told)
        with self.store.transaction() as tx:
            tx.add_notice(told, self.router.channels(told), self.now)

    def deliver(self, *, healthy: bool = False) -> None:
        """Every channel is sent what it may be sent now; some answer, some only seem not to have heard."""
        for route in self.router.routes:
            for _ in range(50):
                chosen = take(self.store, route, self.now)
                for delivery in chosen.claimed:
                    self._attempt(route.channel, delivery, healthy=healthy)
                if not chosen.claimed and not chosen.moved:
                    break
            else:
                raise AssertionError(f"{route.channel} never comes to rest")

    def _attempt(self, channel: str, delivery: Delivery, *, healthy: bool) -> None:
        outcome = "sent" if healthy else self.dice.choice(("sent", "sent", "sent", "lost", "unheard", "crash"))
        if outcome != "unheard":
            self.seen.setdefault(channel, []).append((self.now, delivery.notice))
        if outcome == "crash":
            return  # the process died before it could write down the answer
        status = {"sent": DeliveryStatus.SENT, "lost": DeliveryStatus.SENDING, "unheard": DeliveryStatus.PENDING}
        seen_before = delivery.status is DeliveryStatus.SENDING
        after = DeliveryStatus.SENDING if outcome == "unheard" and seen_before else status[outcome]
        with self.store.transaction() as tx:
            tx.settle(delivery.notice.id, channel, after, at=self.now, due_at=self.now + 30.0)

    def settle(self) -> None:
        """Time goes on until nothing waits any more."""
        for _ in range(200):
            self.deliver(healthy=True)
            due = [self.store.next_due(route.channel, self.now) for route in self.router.routes]
            later = [at for at in due if at is not None]
            if not later:
                return
            self.now = max(self.now + 61.0, min(later))
        raise AssertionError("something waits for ever")

    def told(self, channel: str, position: str) -> list[Notice]:
        """What was said of a position there, repetitions left out, by itself or in a summary."""
        known = {one.id: one for one in self.history.get(position, ())}
        ids: dict[str, None] = {}
        for _, said in self.seen.get(channel, ()):
            parts = said.body["notices"] if said.event is NoticeEvent.SUMMARY else [said.body]
            ids.update(dict.fromkeys(part["id"] for part in parts if part["position"] == position))
        return [known[one] for one in ids]


@contextmanager
def world(router: Router, seed: int) -> Iterator[World]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        yield World(store, router, random.Random(seed))


def live(world: World, steps: int) -> None:
    for _ in range(steps):
        world.dice.choice((world.happen, world.happen, world.deliver))()
        world.now += world.dice.choice((0.0, 1.0, 20.0, 400.0, 3_600.0, 30_000.0))
    world.settle()


rules = st.fixed_dictionaries(
    {
        "quiet": st.sampled_from([None, NIGHT]),
        "per_minute": st.sampled_from([None, 1, 3]),
        "min_band": st.sampled_from([Band.CALL, Band.URGENT]),
    }
)


@settings(max_examples=60, deadline=None)
@given(first=rules, second=rules, escalates=st.booleans(), seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_what_readers_are_told_is_in_order_complete_and_ends_true(
    first: dict[str, object], second: dict[str, object], escalates: bool, seed: int, steps: int
) -> None:
    """On every channel, for every position: nothing is turned around; an end is told only after its beginning; what was
    told last leaves readers with the truth; and what was not told was over before anybody was to be told, or is news
    only for those who heard the beginning."""
    routes = [
        Route(channel="first", **first),  # type: ignore[arg-type]
        Route(channel="second", escalates="first" if escalates else None, patience_s=600.0, **second),  # type: ignore[arg-type]
    ]
    with world(Router.of(routes), seed) as lived:
        live(lived, steps)
        for route in routes:
            for position in POSITIONS:
                wanted = [one for one in lived.history.get(position, ()) if route.channel in lived.router.channels(one)]
                told = lived.told(route.channel, position)
                assert told == [one for one in wanted if one in told]
                standing = False
                for one in told:
                    assert not one.event.ends_episode or standing or one.event is NoticeEvent.LIQUIDATED
                    standing = not one.event.closes
                assert standing == (bool(wanted) and not wanted[-1].event.closes)
                if route.quiet is None and route.escalates is None:
                    assert told == wanted


@settings(max_examples=40, deadline=None)
@given(limit=st.sampled_from([1, 2, 5]), seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_a_limit_holds_in_every_minute_but_for_repetitions(limit: int, seed: int, steps: int) -> None:
    """Whatever arrives for the first time counts; what may have arrived is repeated as it must be."""
    with world(Router.of([Route(channel="first", per_minute=limit)]), seed) as lived:
        live(lived, steps)
        firsts: dict[str, float] = {}
        for at, said in lived.seen.get("first", ()):
            firsts.setdefault(said.id, at)
        times = sorted(firsts.values())
        for at in times:
            assert sum(at - MINUTE_S < one <= at for one in times) <= limit


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60))
def test_nobody_is_woken_for_what_can_wait(seed: int, steps: int) -> None:
    """Within quiet hours a first attempt is of something deep, of a loss, or of what came before one."""
    route = Route(channel="first", quiet=NIGHT)
    with world(Router.of([route]), seed) as lived:
        live(lived, steps)
        firsts: dict[str, tuple[float, Notice]] = {}
        for at, said in lived.seen.get("first", ()):
            firsts.setdefault(said.id, (at, said))
        for at, said in firsts.values():
            if NIGHT.ends_at(at) is None or said.event is NoticeEvent.SUMMARY:
                continue
            behind = lived.history[said.position]
            loud = [one for one in behind[behind.index(said) :] if route.held_until(one, at) is None]
            assert loud


@pytest.mark.parametrize("seed", range(5))
def test_a_repetition_has_the_same_id_and_the_same_words(seed: int) -> None:
    """Summaries too: what a crash interrupted is said again as it was."""
    with world(Router.of([Route(channel="first", per_minute=2)]), seed) as lived:
        live(lived, 80)
        bodies: dict[str, set[str]] = {}
        for _, said in lived.seen["first"]:
            bodies.setdefault(said.id, set()).add(f"{said.body}|{said.text}|{said.markdown}|{said.html}")
        assert {len(one) for one in bodies.values()} == {1}
        assert any(said.event is NoticeEvent.SUMMARY for _, said in lived.seen["first"])
