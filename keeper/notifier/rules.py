"""What to do now with what waits on a channel: tell, hold, or drop, and what to tell together. Pure.

Per position everything that waits is looked at, in order, so that nothing overtakes:

    heard nothing   opened … cured, held      dropped: it was over before anybody was to be told
    heard opened    escalated, held … cured   only the end goes: by when the step was to be told, it was over
    waits for long  opened … cured, unsent    dropped, where a crowd waits: there is more that is true than can be told
    to be held      opened … cured            dropped as well, though nobody looked before the cure came
    heard nothing   cured                     dropped: nobody was told of the opening
    held            urgent behind it          both go: what is loud lets go what came before
    not wanted      anything                  dropped: it came when the rules were others, or the name another channel's
    anything        liquidated                goes, with what came before: a loss is always told
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keeper.core.records import Delivery, DeliveryStatus, NoticeEvent
from keeper.core.types import Band
from keeper.notifier.routing import Route

OVER = "it was over before anybody was to be told"
UNHEARD = "nobody was told of its opening"
UNWANTED = "the rules of this channel do not want it any more"

_UNSEEN = (DeliveryStatus.PENDING, DeliveryStatus.HELD)


@dataclass(frozen=True, slots=True)
class Line:
    """What waits of one position on one channel, oldest first, at least one.

    heard: what was last told of the position there. before: by notice id, how the channel fared with it that this one
    escalates.
    """

    waiting: Sequence[Delivery]
    heard: NoticeEvent | None = None
    before: Mapping[str, Delivery] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """drop: with the reason. hold: with the time until then. ready: in order, to be told now."""

    drop: Sequence[tuple[Delivery, str]] = ()
    hold: Sequence[tuple[Delivery, float]] = ()
    ready: Sequence[Delivery] = ()


def decide(line: Line, route: Route, now: float, *, late: float | None = None) -> Decision:
    """late: calls that opened before then and are over by now are not told any more, if none of it was sent."""
    first = line.waiting[0]
    if first.status is DeliveryStatus.SENDING or first.notice.event is NoticeEvent.SUMMARY:
        return Decision(ready=(first,))  # it may have been seen: only telling it again can settle it
    kept, dropped = _reduce(line, route, now, late)
    waits = [_until(delivery, line, route, now) for delivery in kept]
    free = max((index for index, until in enumerate(waits) if until is None), default=-1) + 1
    hold = [
        (delivery, until)
        for delivery, until in zip(kept[free:], waits[free:], strict=True)
        if until is not None and (delivery.status, delivery.due_at) != (DeliveryStatus.HELD, until)
    ]
    return Decision(dropped, hold, kept[:free])


def _until(delivery: Delivery, line: Line, route: Route, now: float) -> float | None:
    """Until when a delivery is to wait; None when it may go."""
    waits = [route.held_until(delivery.notice, now)]
    patience = route.patient_until(delivery, line.before.get(delivery.notice.id), now)
    waits.append(patience if patience is not None and patience > now else None)
    return max((until for until in waits if until is not None), default=None)


def _reduce(
    line: Line, route: Route, now: float, late: float | None
) -> tuple[list[Delivery], list[tuple[Delivery, str]]]:
    """Without the episodes that nobody need hear of, and the reasons."""
    kept: list[Delivery] = []
    dropped: list[tuple[Delivery, str]] = []
    believed = line.heard is not None and not line.heard.closes
    opening: int | None = None  # where in `kept` an opening waits of which nobody has heard
    for delivery in line.waiting:
        event = delivery.notice.event
        if not route.still_wants(delivery.notice):
            dropped.append((delivery, UNWANTED))
            continue
        if not event.ends:
            if _was_dropped_before(delivery, line):
                dropped.append((delivery, f"not told on {route.escalates}"))
                continue
            if not event.closes and not believed:
                opening, believed = len(kept), True
            kept.append(delivery)
        elif not believed:
            if event is NoticeEvent.LIQUIDATED and route.escalates is None:
                kept.append(delivery)
            else:
                dropped.append((delivery, UNHEARD))
        else:
            believed = False
            unsent = kept[opening or 0 :]  # of this call
            lost = event is NoticeEvent.LIQUIDATED
            over = [] if lost else _over(unsent, line, route, now, late, unheard=opening is not None)
            kept = [*kept[: opening or 0], *(one for one in unsent if one not in over)]
            if opening is not None and over == unsent:
                over.append(delivery)
            else:
                kept.append(delivery)
            dropped += [(one, OVER) for one in over]
            opening = None
    return kept, dropped


def _was_dropped_before(delivery: Delivery, line: Line) -> bool:
    before = line.before.get(delivery.notice.id)
    return before is not None and before.status is DeliveryStatus.DROPPED


def _over(
    unsent: Sequence[Delivery], line: Line, route: Route, now: float, late: float | None, *, unheard: bool
) -> list[Delivery]:
    """What is not told any more of a call that ended by no loss: all of it, where nobody has heard of it and a rule
    holds some of it back, or it waits for too long; else the steps that a rule holds back.

    What a channel refused or did not answer waits by no rule. unheard: the first that is unsent is its opening.
    """
    fresh = [one for one in unsent if one.status in _UNSEEN and one.attempts == 0]
    held = [one for one in fresh if one.status is DeliveryStatus.HELD or _until(one, line, route, now) is not None]
    if unheard and fresh == unsent and (held or (late is not None and unsent[0].created_at < late)):
        return list(unsent)
    return [one for one in held if not (unheard and one is unsent[0])]


# --- together ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """singles: of different positions. together: to be told by one summary. throttled: more waits for its minute."""

    singles: Sequence[Delivery] = ()
    together: Sequence[Delivery] = ()
    throttled: bool = False


IN_ONE = 500
"""Most notices of one summary, so that it is no larger than receivers take (nginx refuses a body of a megabyte)."""


def batch(
    lines: Sequence[Sequence[Delivery]],
    budget: int | None,
    at_once: int,
    *,
    now: float,
    nightly: bool,
    more: bool = False,
    in_one: int = IN_ONE,
) -> Batch:
    """How to tell what is ready. lines: of each position what may go, in order. budget: messages that this minute still
    allows; None: any number. at_once: most singles. nightly: whether the channel keeps quiet hours. more: whether still
    more waits than these. in_one: most of one summary.

    What they held back is told together when they end. Beyond the budget the deepest go by themselves, as far as
    it reaches, and everything else in one message; where that is more than a message holds, all go together, so that
    ten thousand calls are told in forty messages and not in twenty minutes. What was tried in vain is told together
    with nothing, lest a notice that the receiver refuses take others with it, and leaves a message for what is new.
    """
    again = [line[0] for line in lines if goes_as_it_is(line[0])]
    fresh = [line for line in lines if not goes_as_it_is(line[0])]
    morning = [line for line in fresh if nightly and all(_held_till_now(one, now) for one in line) and not _tried(line)]
    together = [one for line in morning for one in line] if _count(morning) > 1 else []
    if together:
        fresh = [line for line in fresh if line not in morning]
    fresh.sort(key=_order)
    if budget is not None and _count(fresh) + bool(together) > budget:
        if budget <= 0:
            return Batch(again[:at_once], (), throttled=True)
        tried, new = [line for line in fresh if _tried(line)], [line for line in fresh if not _tried(line)]
        tried = tried[: budget - bool(new or together)]
        by_themselves = 0 if more or _count(new) > in_one else budget - len(tried) - 1
        together += [one for line in new[by_themselves:] for one in line]
        fresh = sorted([*tried, *new[:by_themselves]], key=_order)
    together = together[:in_one]
    if len(together) == 1:
        fresh, together = [*fresh, together], []
    singles = [*again, *(line[0] for line in fresh)]
    return Batch(singles[:at_once], together)


def goes_as_it_is(delivery: Delivery) -> bool:
    """Whatever the limit says: one that may have been seen, and a summary."""
    return delivery.status is DeliveryStatus.SENDING or delivery.notice.event is NoticeEvent.SUMMARY


def _held_till_now(delivery: Delivery, now: float) -> bool:
    return delivery.status is DeliveryStatus.HELD and delivery.due_at <= now


def _tried(line: Sequence[Delivery]) -> bool:
    return line[0].attempts > 0


def _order(line: Sequence[Delivery]) -> tuple[int, float]:
    """The deepest first, then the oldest."""
    return -_depth(line), line[0].created_at


def _count(lines: Sequence[Sequence[Delivery]]) -> int:
    return sum(len(line) for line in lines)


def _depth(line: Sequence[Delivery]) -> int:
    return max(Band[one.notice.band.upper()] for one in line)
