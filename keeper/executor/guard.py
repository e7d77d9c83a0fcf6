"""The breakers over time: what was mined in the last day, which of them tripped, and who may go on.

What tripped is kept in the store with its reason, so that a restart changes nothing; every step is in the audit trail
under `breakers`. Only new transactions are held back: those on their way are tended and cancelled as ever, and
replaced as far as the spend limits have room.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import structlog

from keeper.core.errors import ConfigError, StoreError
from keeper.core.ports import Store, Transaction
from keeper.core.records import Intent
from keeper.core.types import LiquidationPlan, Skip
from keeper.executor.breakers import (
    DAY_S,
    Limits,
    Outcome,
    Scale,
    Trip,
    admit,
    admit_losses,
    deviation_bps,
    judge,
    outcome_of,
)
from keeper.executor.halt import Halt
from keeper.executor.ports import Venue
from keeper.executor.switch import Switch, answers
from keeper.executor.value import value_down

log = structlog.get_logger(__name__)

SUBJECT = "breakers"
REMEDY = "find out why, then `keeper resume`"

Tell = Callable[[Transaction, Trip], None]
"""Puts a notice of a trip in the outbox, in the transaction that records it."""


@dataclass(frozen=True, slots=True)
class Tripped:
    """What the store remembers. since_block: of the last resuming; what was mined up to it no longer counts."""

    trips: tuple[Trip, ...] = ()
    since_block: int = -1


def read_tripped(store: Store) -> Tripped:
    """Raises StoreError when what is stored is not what Keeper writes there."""
    stored = store.meta(SUBJECT)
    if stored is None:
        return Tripped()
    try:
        found = json.loads(stored)
        return Tripped(tuple(Trip(**trip) for trip in found["trips"]), int(found["since_block"]))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"the stored state of the breakers is not readable ({error!r}); restore a backup") from error


class Guard:
    """`load` at the start, `note` what blocks did to our intents, `review` before anything new is considered."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        switch: Switch,
        clock: Callable[[], float],
        tell: Tell | None = None,
        told: Callable[[], None] = lambda: None,
        halt: Halt | None = None,
    ) -> None:
        """told: called once what `tell` said is durable. halt: what else stops new transactions."""
        self._store = store
        self._limits = limits
        self._switch = switch
        self._clock = clock
        self._tell = tell
        self._told = told
        self._halt = Halt() if halt is None else halt
        self._halted: frozenset[str] = frozenset()
        self._outcomes: dict[str, Outcome] = {}
        self._state = Tripped()
        self._paused = False
        self._scales: Mapping[str, Scale] = {}
        self._news = True  # whether outcomes changed since they were last judged: time alone trips nothing

    @property
    def paused(self) -> bool:
        """By a person, as of the last review."""
        return self._paused

    @property
    def trips(self) -> tuple[Trip, ...]:
        """What tripped and was not resumed."""
        return self._state.trips

    def load(self) -> None:
        """Become what the store says."""
        self._state = read_tripped(self._store)
        self._outcomes = {}
        self.note(self._store.each_intent())

    def note(self, intents: Iterable[Intent]) -> None:
        """Intents as a block, or a revert, left them."""
        oldest = self._clock() - DAY_S
        for intent in intents:
            self._news = True
            outcome, known = outcome_of(intent), self._outcomes.get(intent.id)
            if outcome is None:
                self._outcomes.pop(intent.id, None)
            elif outcome.at > oldest:
                self._outcomes[intent.id] = outcome if known is None else replace(outcome, at=known.at)

    def review(
        self,
        venues: Sequence[Venue],
        native_asset: bytes | None,
        block: int,
        balance_wei: int | None,
        unexplained: Collection[str] = (),
    ) -> bool:
        """Whether new transactions may be sent at this block; trips what has to trip.

        unexplained: intents that failed and of which the node is still to be asked why. They are judged when that is
        known: ten races that are lost in one block are no ten failures.
        """
        now = self._clock()
        self._resume(block)
        self._watch_pause(block)
        self._watch_halt(block)
        counted: list[Outcome] = []
        if self._news:
            self._outcomes = {key: outcome for key, outcome in self._outcomes.items() if outcome.at > now - DAY_S}
            counted = self._counted(unexplained)
        self._scales = _scales(venues, native_asset)
        self._trip(judge(self._limits, counted, self._scales, balance_wei=balance_wei, now=now, block=block))
        self._news = bool(unexplained)
        return not (self._paused or self._state.trips or self._halt)

    def admit(self, costs_wei: Sequence[int], committed_wei: int, block: int) -> int:
        """How many of new transactions, from the first, may be sent now. costs_wei: the most that each can cost.

        Asked right before they are signed, so a pause in the meantime still holds them.
        """
        if self._state.trips or self._halt or self._switch.paused:
            return 0
        now = self._clock()
        count, reason = admit(self._limits, self._counted(), costs_wei, committed_wei, now)
        if reason is not None and reason.code == "spend_limit":
            log.warning("transactions_held", count=len(costs_wei) - count, reason=reason.detail, block=block)
        elif reason is not None:
            self._trip([Trip(reason.code, reason.detail, now, block)])
        return count

    def room(self, more_wei: int, committed_wei: int) -> Skip | None:
        """Why what is on its way may not cost so much more at the most; None when the spend limits have room. Nothing
        trips: it waits at its price."""
        return admit(self._limits, self._counted(), [more_wei], committed_wei, self._clock())[1]

    def admit_losses(self, losses_wad: Sequence[int], committed_wad: int, block: int) -> int:
        """How many, from the first, may be sent now of transactions that are planned to lose so much each."""
        if not any(losses_wad):
            return len(losses_wad)
        count, reason = admit_losses(
            self._limits, self._counted(), self._scales, losses_wad, committed_wad, self._clock()
        )
        if reason is not None:
            log.warning("losses_held", count=len(losses_wad) - count, reason=reason, block=block)
        return count

    def objection(self, venue: Venue) -> Skip | None:
        """Why nothing is done about positions of this protocol."""
        return self._limits.objection(venue.name)

    def deviation(self, venue: Venue, plan: LiquidationPlan, decimals: Mapping[bytes, int]) -> Skip | None:
        """Why a plan that sells what it seizes is not believed: the market and the protocol disagree on its price.

        A plan that keeps what it seizes has no market price to be held against.
        """
        limit, financing = self._limits.deviation_bps, plan.financing
        if limit is None or financing is None or financing.proceeds_assets == 0:
            return None
        seized, debt = plan.collateral_asset, plan.debt_asset
        if any(asset not in decimals or asset not in venue.prices for asset in (seized, debt)):
            return None  # a plan for such an asset is refused for lack of its price
        base = venue.adapter.base_decimals(venue.book.market)
        worth = value_down(financing.sold_assets, decimals[seized], venue.prices[seized], base)
        brings = value_down(financing.proceeds_assets, decimals[debt], venue.prices[debt], base)
        found = deviation_bps(worth, brings)
        if found <= limit:
            return None
        detail = f"the market pays {brings} base units for {worth}, {found} bps off; max_price_deviation is {limit} bps"
        return Skip("price_deviation", detail)

    def stop(self, name: str, detail: str, block: int) -> None:
        """Trip for a reason that no limit knows of."""
        self._trip([Trip(name, detail, self._clock(), block)])

    # --- inside

    def _counted(self, left_out: Collection[str] = ()) -> list[Outcome]:
        since = self._state.since_block
        return [outcome for key, outcome in self._outcomes.items() if outcome.order[0] > since and key not in left_out]

    def _trip(self, found: Iterable[Trip]) -> None:
        known = {trip.name for trip in self._state.trips}
        new = [trip for trip in found if trip.name not in known]
        if not new:
            return
        state = replace(self._state, trips=(*self._state.trips, *new))
        with self._store.transaction() as transaction:
            _put(transaction, state)
            for trip in new:
                evidence = {"breaker": trip.name, "detail": trip.detail, "block": trip.block}
                transaction.audit(SUBJECT, "tripped", evidence, at=trip.at)
                if self._tell is not None:
                    self._tell(transaction, trip)
        self._state = state
        for trip in new:
            log.error("breaker_tripped", breaker=trip.name, detail=trip.detail, block=trip.block, remedy=REMEDY)
        self._told()

    def _resume(self, block: int) -> None:
        """Clear what tripped before somebody asked for it. What trips later than the request stays, so a request that
        a crash left behind clears nothing new."""
        asked_at = self._switch.resume_asked_at()
        if asked_at is None:
            return
        now = self._clock()
        cleared = [trip for trip in self._state.trips if answers(asked_at, trip.at, now)]
        if cleared:
            state = Tripped(tuple(trip for trip in self._state.trips if trip not in cleared), block)
            with self._store.transaction() as transaction:
                _put(transaction, state)
                transaction.audit(SUBJECT, "resumed", {"cleared": [trip.name for trip in cleared]}, at=now)
            self._state = state
        log.warning("breakers_resumed", cleared=[trip.name for trip in cleared])
        try:
            self._switch.taken()
        except ConfigError as error:
            log.error("resume_request_stays", error=str(error))

    def _watch_pause(self, block: int) -> None:
        paused = self._switch.paused
        if paused is self._paused:
            return
        with self._store.transaction() as transaction:
            transaction.audit(SUBJECT, "paused" if paused else "unpaused", {"block": block}, at=self._clock())
        self._paused = paused
        log.warning("transactions_paused" if paused else "transactions_unpaused", file=str(self._switch.pause_file))

    def _watch_halt(self, block: int) -> None:
        """Said when the reasons change; who is to hear of it hears of the mode."""
        halted = frozenset(self._halt.reasons)
        if halted != self._halted:
            level = log.warning if halted else log.info
            level("transactions_halted" if halted else "transactions_go_on", block=block, **self._halt.reasons)
        self._halted = halted


def _put(transaction: Transaction, state: Tripped) -> None:
    written = {"trips": [asdict(trip) for trip in state.trips], "since_block": state.since_block}
    transaction.set_meta(SUBJECT, json.dumps(written))


def _scales(venues: Sequence[Venue], native_asset: bytes | None) -> dict[str, Scale]:
    return {
        venue.name: Scale(
            venue.adapter.base_decimals(venue.book.market),
            None if native_asset is None else venue.prices.get(native_asset),
        )
        for venue in venues
        if venue.book.market is not None
    }
