"""What a channel is to be sent next: its rules applied to its outbox, in one transaction that also claims it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from keeper.core.ports import Store, Transaction
from keeper.core.records import Delivery, DeliveryStatus
from keeper.notifier.routing import Route
from keeper.notifier.rules import IN_ONE, UNWANTED, Decision, Line, batch, decide, goes_as_it_is
from keeper.notifier.summary import summarize

AT_ONCE = 32
"""Notices in flight per channel; they are of different positions, so their order among themselves is free."""

RULED_AT_ONCE = 8
"""The same where there is a limit, or quiet hours: what is in flight cannot be told together with what follows it."""

LOOKED_AT = 250
"""Positions whose waiting notices are looked at together, where there is a limit or quiet hours. No block is taken
meanwhile, for some twenty milliseconds."""

MINUTE_S = 60.0

LASTING = 7
"""After so many attempts, with pauses of 1, 2, 4 … 32 seconds between them, the first was more than a minute ago."""

LATE_S = 120.0
"""Where a crowd waits, what waited so long and is over is not told any more. Within the limit a minute tells thousands,
so this is of channels that hardly answer."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Next:
    """claimed: to be sent now. look_again_at: when the limit of messages allows the next; None when it does now.
    moved: whether rules changed anything, so that there may be more to send at once."""

    claimed: Sequence[Delivery]
    look_again_at: float | None = None
    moved: bool = False


def take(store: Store, route: Route, now: float, flying: Collection[str] = (), in_one: int = IN_ONE) -> Next:
    """Claim what the channel may be sent now. Everything it rests on is in the store, so a crash changes nothing.

    flying: ids of notices that are being sent at this moment, and not to be taken for what an earlier life left.
    in_one: most notices of one summary.
    """
    ruled = route.per_minute is not None or route.quiet is not None
    at_once = (RULED_AT_ONCE if ruled else AT_ONCE) - len(flying)
    if at_once <= 0:
        return Next(())
    looked_at = (LOOKED_AT if ruled else at_once) + len(flying)
    # first, however much older waits: until they are settled they count as messages of the minute, and hold up what
    # follows of every position that they tell of
    repeated = [
        one for one in store.repetitions(route.channel, now, at_once + len(flying)) if one.notice.id not in flying
    ]
    unwanted = [one for one in repeated if not route.still_wants(one.notice)]
    if unwanted:
        with store.transaction() as tx:
            for one in unwanted:
                _drop(tx, one, now)
        return Next((), moved=True)
    due = store.outbox(now, looked_at, channel=route.channel)
    heads = [one for one in due if one.notice.id not in flying and not goes_as_it_is(one)]
    if not heads and not repeated:
        return Next(())
    more = ruled and len(due) >= looked_at
    budget, oldest = _budget(store, route, now)
    if budget is not None and budget <= 0:
        if not repeated:  # the rules are for what the next minute allows
            log.info("channel_throttled", channel=route.channel, per_minute=route.per_minute)
            return Next((), (now if oldest is None else oldest) + MINUTE_S)
        if not more:  # of a crowd what is over is dropped all the same: repetitions alone may take up every minute
            heads = []
    late = now - LATE_S if more else None
    decisions = [decide(_line(store, route, head), route, now, late=late) for head in heads]
    ready = [*([one] for one in repeated), *(one.ready for one in decisions if one.ready)]
    chosen = batch(ready, budget, at_once, now=now, nightly=route.quiet is not None, more=more, in_one=in_one)
    with store.transaction() as tx:
        moved = _apply(tx, route, decisions, now)
        claimed = _claim(store, tx, route, chosen.singles, chosen.together, now)
    if not chosen.throttled:
        return Next(claimed, None, moved)
    log.info("channel_throttled", channel=route.channel, per_minute=route.per_minute, waiting=len(heads))
    return Next(claimed, (now if oldest is None else oldest) + MINUTE_S, moved)


def _drop(tx: Transaction, delivery: Delivery, now: float) -> None:
    """Neither sent nor sent again. What it carries, if nobody saw it, goes by itself; else what of it is true is told
    anew where it is wanted, since nobody is believed to know."""
    name, channel = delivery.notice.id, delivery.channel
    if delivery.status is DeliveryStatus.SENDING:
        tx.settle(name, channel, DeliveryStatus.DROPPED, at=now, error=UNWANTED)
    else:
        tx.drop(name, channel, UNWANTED, at=now)
    log.info("notice_dropped", channel=channel, notice=name, reason=UNWANTED)


def _line(store: Store, route: Route, head: Delivery) -> Line:
    position = head.notice.position
    waiting = store.waiting(route.channel, position)
    before = {}
    if route.escalates is not None:
        found = ((one.notice.id, store.delivery(one.notice.id, route.escalates)) for one in waiting)
        before = {notice_id: delivery for notice_id, delivery in found if delivery is not None}
    return Line(waiting, store.heard(route.channel, position), before)


def _budget(store: Store, route: Route, now: float) -> tuple[int | None, float | None]:
    """Messages that this minute still allows, and when the oldest of it was sent.

    What is repeated for longer than a minute leaves one for what is new: a receiver that takes all but a few notices
    would otherwise be told nothing else."""
    if route.per_minute is None:
        return None, None
    messages = store.messages(route.channel, now - MINUTE_S, now)
    lasting = sum(count for attempts, count in messages.in_the_air.items() if attempts >= LASTING)
    fresh = messages.sent + sum(messages.in_the_air.values()) - lasting
    return route.per_minute - fresh - min(lasting, route.per_minute - 1), messages.oldest


def _apply(tx: Transaction, route: Route, decisions: Sequence[Decision], now: float) -> bool:
    moved = False
    for decision in decisions:
        for delivery, reason in decision.drop:
            tx.drop(delivery.notice.id, route.channel, reason, at=now)
            log.info("notice_dropped", channel=route.channel, notice=delivery.notice.id, reason=reason)
        for delivery, until in decision.hold:
            tx.hold(delivery.notice.id, route.channel, until)
            log.info("notice_held", channel=route.channel, notice=delivery.notice.id, until=until)
        for delivery in decision.ready:
            if delivery.status is DeliveryStatus.HELD and delivery.due_at > now:
                tx.release(delivery.notice.id, route.channel)  # what is behind it does not wait
        moved = moved or bool(decision.drop or decision.hold)
    return moved


def _claim(
    store: Store,
    tx: Transaction,
    route: Route,
    singles: Sequence[Delivery],
    together: Sequence[Delivery],
    now: float,
) -> list[Delivery]:
    claimed = [one for one in singles if tx.claim(one.notice.id, route.channel)]
    if together:
        summary = summarize(route.channel, together)
        tx.carry(summary, route.channel, [one.notice.id for one in together], at=now)
        log.info("notices_merged", channel=route.channel, summary=summary.id, notices=len(together))
        whole = _told(store.delivery(summary.id, route.channel), summary.id)  # as it was before it is sent: unseen
        if tx.claim(summary.id, route.channel):
            claimed.append(whole)
    return claimed


def _told(delivery: Delivery | None, summary_id: str) -> Delivery:
    if delivery is None:
        raise LookupError(f"summary {summary_id} is not in the outbox into which it was just put")
    return delivery
