"""What a channel's rules do with what waits, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keeper.core.records import Delivery, DeliveryStatus, NoticeEvent
from keeper.core.types import Band
from keeper.notifier.quiet import QuietHours, parse_hours, parse_zone
from keeper.notifier.routing import Route, Router
from keeper.notifier.rules import IN_ONE, OVER, UNHEARD, UNWANTED, Line, batch, decide
from tests.support.notices import notice

DAY, NIGHT = 1_783_000_800.0, 1_783_000_800.0 + 12 * 3600  # 2 July 2026, 14:00 UTC, and 12 hours later
OPENED, ESCALATED, CURED, LIQUIDATED = (NoticeEvent(name) for name in ("opened", "escalated", "cured", "liquidated"))
PENDING, HELD, SENDING, SENT, DROPPED, DEAD = (
    DeliveryStatus(name) for name in ("pending", "held", "sending", "sent", "dropped", "dead")
)
ALWAYS = Route(channel="hook")
QUIET = Route(channel="hook", quiet=QuietHours(parse_hours("22:00-07:00"), parse_zone("UTC")))
MORNING = QUIET.quiet.ends_at(NIGHT) if QUIET.quiet else 0.0
PHONE = Route(channel="phone", escalates="hook", patience_s=600.0)


def wait(event: NoticeEvent = OPENED, band: str = "call", status: DeliveryStatus = PENDING, **more: Any) -> Delivery:
    number = more.pop("number", len(event.value) * 10 + Band[band.upper()])
    position = more.pop("position", "aave:0xA")
    told = notice(number, event=event, band=band, position=position)
    return Delivery(told, "hook", status, **{"created_at": NIGHT, **more})


def test_night_is_night():
    assert QUIET.quiet is not None
    assert QUIET.quiet.ends_at(DAY) is None
    assert MORNING is not None
    assert MORNING > NIGHT


# --- quiet hours ------------------------------------------------------------------------------------------------------


def test_by_day_everything_goes_in_order():
    line = [wait(), wait(ESCALATED, "urgent"), wait(CURED, "urgent")]
    assert decide(Line(line), QUIET, DAY).ready == line


def test_at_night_a_call_is_held_until_morning():
    line = [wait()]
    decision = decide(Line(line), QUIET, NIGHT)
    assert (decision.hold, decision.ready, decision.drop) == ([(line[0], MORNING)], [], [])


def test_what_is_urgent_lets_go_what_was_held_before_it():
    """Readers hear of the opening first; nothing is turned around."""
    line = [wait(status=HELD, due_at=MORNING), wait(ESCALATED, "urgent")]
    assert decide(Line(line), QUIET, NIGHT).ready == line


def test_a_call_that_is_over_before_morning_is_never_told():
    line = [wait(status=HELD, due_at=MORNING), wait(CURED)]
    assert decide(Line(line), QUIET, NIGHT).drop == [(line[0], OVER), (line[1], OVER)]


def test_a_call_that_is_cured_and_opened_again_is_told_once_in_the_morning():
    again = wait(number=99)
    line = [wait(status=HELD, due_at=MORNING), wait(CURED), again]
    decision = decide(Line(line), QUIET, MORNING)
    assert decision.drop == [(line[0], OVER), (line[1], OVER)]
    assert decision.ready == [again]


def test_in_a_crowd_a_call_that_is_over_and_was_not_sent_for_long_is_never_told():
    """It would only hold up what is true now. What may have been seen, and a loss, is told all the same."""
    line = Line([wait(), wait(ESCALATED, "urgent"), wait(CURED)])
    decision = decide(line, ALWAYS, DAY, late=NIGHT + 1)
    assert ([reason for _, reason in decision.drop], decision.ready) == ([OVER] * 3, [])
    assert decide(line, ALWAYS, DAY).ready == line.waiting
    assert decide(line, ALWAYS, DAY, late=NIGHT).ready == line.waiting
    tried = Line([wait(attempts=1), wait(CURED)])
    assert decide(tried, ALWAYS, DAY, late=NIGHT + 1).ready == tried.waiting
    lost = Line([wait(), wait(LIQUIDATED)])
    assert decide(lost, ALWAYS, DAY, late=NIGHT + 1).ready == lost.waiting


def test_a_step_that_is_over_before_morning_is_never_told_but_the_end_of_what_was_heard_is():
    """It was held, or nobody looked before the cure came; what was tried in vain is told all the same."""
    for status, due_at in ((HELD, MORNING), (PENDING, NIGHT)):
        step, cured = wait(ESCALATED, status=status, due_at=due_at), wait(CURED)
        decision = decide(Line([step, cured], heard=OPENED), QUIET, NIGHT)
        assert (decision.drop, decision.hold, decision.ready) == ([(step, OVER)], [(cured, MORNING)], [])
    tried = [wait(ESCALATED, attempts=2), wait(CURED)]
    decision = decide(Line(tried, heard=OPENED), QUIET, NIGHT)
    assert (decision.drop, [one for one, _ in decision.hold]) == ([], tried)


def test_a_loss_is_told_with_the_steps_before_it():
    line = [wait(ESCALATED, status=HELD, due_at=MORNING), wait(LIQUIDATED)]
    decision = decide(Line(line, heard=OPENED), QUIET, NIGHT)
    assert (decision.ready, decision.drop) == (line, [])


def test_a_cure_of_what_was_told_in_the_evening_waits_for_the_morning():
    """It is still true then, and whoever heard of the opening hears of it."""
    cured = wait(CURED)
    assert decide(Line([cured], heard=OPENED), QUIET, NIGHT).hold == [(cured, MORNING)]
    held = wait(CURED, status=HELD, due_at=MORNING)
    assert decide(Line([held], heard=OPENED), QUIET, MORNING).ready == [held]


def test_a_loss_is_told_at_night_with_the_call_it_ends():
    line = [wait(status=HELD, due_at=MORNING), wait(LIQUIDATED)]
    decision = decide(Line(line), QUIET, NIGHT)
    assert (decision.ready, decision.drop) == (line, [])


def test_a_breaker_that_tripped_is_told_at_night():
    line = [wait(NoticeEvent.TRIPPED, "liquidatable")]
    assert decide(Line(line), QUIET, NIGHT).ready == line


def test_a_trouble_that_is_over_before_morning_is_not_told_either():
    begun = wait(NoticeEvent.UNHEALTHY, "watch", status=HELD, due_at=MORNING)
    over = wait(NoticeEvent.RECOVERED, "watch")
    assert decide(Line([begun, over]), QUIET, NIGHT).drop == [(begun, OVER), (over, OVER)]


# --- closings ---------------------------------------------------------------------------------------------------------


def test_a_closing_is_told_only_to_those_who_heard_of_the_opening():
    """Nothing sent, or the last call closed already."""
    cured = wait(CURED)
    for heard in (None, CURED):
        assert decide(Line([cured], heard=heard), ALWAYS, DAY).drop == [(cured, UNHEARD)]
    assert decide(Line([cured], heard=ESCALATED), ALWAYS, DAY).ready == [cured]


def test_a_channel_that_was_down_is_told_all_that_happened():
    """Nobody held it back on purpose, so nothing is dropped."""
    line = [wait(attempts=3), wait(CURED)]
    assert decide(Line(line), ALWAYS, DAY).ready == line


def test_what_may_have_been_seen_is_told_again_as_it_is():
    """At night and behind a cure too: only its answer can settle it."""
    line = [wait(status=SENDING, attempts=1), wait(CURED)]
    assert decide(Line(line), QUIET, NIGHT).ready == (line[0],)


# --- escalation -------------------------------------------------------------------------------------------------------


def escalated(line: Sequence[Delivery], now: float, heard: NoticeEvent | None = None, **before: Any) -> Any:
    told = {one.notice.id: Delivery(one.notice, "hook", **before) for one in line} if before else {}
    return decide(Line(line, heard, told), PHONE, now)


def test_patience_counts_from_when_the_first_channel_was_told():
    call = wait()
    decision = escalated([call], NIGHT + 60, status=SENT, sent_at=NIGHT + 30)
    assert decision.hold == [(call, NIGHT + 630)]
    held = wait(status=HELD, due_at=NIGHT + 630)
    assert escalated([held], NIGHT + 630, status=SENT, sent_at=NIGHT + 30).ready == [held]


def test_after_the_clock_was_set_back_patience_counts_from_when_the_call_was_made():
    """The first channel was told later than now: what it says of the time is worth nothing."""
    call = wait()
    assert escalated([call], NIGHT + 60, status=SENT, sent_at=NIGHT + 3_600).hold == [(call, NIGHT + 600)]


def test_while_the_first_channel_holds_it_back_nobody_is_escalated_to():
    call = wait()
    assert escalated([call], NIGHT, status=HELD, due_at=MORNING).hold == [(call, MORNING + 600)]


def test_a_first_channel_that_does_not_answer_is_waited_for_no_longer_than_a_person():
    call = wait()
    assert escalated([call], NIGHT, status=SENDING, attempts=4).hold == [(call, NIGHT + 600)]
    assert escalated([call], NIGHT + 600, status=SENDING, attempts=40).ready == [call]


def test_a_first_channel_that_is_dead_is_not_waited_for():
    call = wait()
    assert escalated([call], NIGHT, status=DEAD).ready == [call]


def test_what_the_first_channel_was_never_told_is_not_escalated():
    call = wait()
    assert escalated([call], NIGHT, status=DROPPED).drop == [(call, "not told on hook")]


def test_a_call_that_is_cured_in_time_is_not_escalated():
    line = [wait(status=HELD, due_at=NIGHT + 600), wait(CURED)]
    assert escalated(line, NIGHT + 60, status=SENT, sent_at=NIGHT).drop == [(line[0], OVER), (line[1], OVER)]


def test_a_step_that_is_cured_in_its_time_is_not_escalated_but_the_cure_is_told():
    """Whoever was escalated to the opening hears of the end, and not of a depth that somebody dealt with in time."""
    cured = wait(CURED, "liquidatable")
    for step in (wait(ESCALATED, "liquidatable"), wait(ESCALATED, "liquidatable", HELD, due_at=NIGHT + 600)):
        decision = escalated([step, cured], NIGHT + 8, OPENED, status=SENT, sent_at=NIGHT)
        assert (decision.drop, decision.ready) == ([(step, OVER)], [cured])
    late = wait(ESCALATED, "liquidatable")
    assert escalated([late, cured], NIGHT + 600, OPENED, status=SENT, sent_at=NIGHT).ready == [late, cured]


def test_of_a_call_whose_opening_was_tried_in_vain_only_the_step_that_was_not_due_is_dropped():
    opening, step, cured = wait(attempts=3), wait(ESCALATED, "urgent", created_at=NIGHT + 600), wait(CURED, "urgent")
    decision = escalated([opening, step, cured], NIGHT + 660, status=SENDING, attempts=4)
    assert (decision.drop, decision.ready) == ([(step, OVER)], [opening, cured])


def test_patience_holds_for_what_was_not_looked_at_yet():
    """The opening waited for the channel's minute, and its cure came before it was held: it is over in time."""
    line = [wait(), wait(CURED)]
    told = {line[0].notice.id: Delivery(line[0].notice, "hook", SENT, sent_at=NIGHT)}
    assert decide(Line(line, None, told), PHONE, NIGHT + 60).drop == [(line[0], OVER), (line[1], OVER)]
    assert decide(Line(line, None, told), PHONE, NIGHT + 600).ready == line
    lost = [wait(), wait(LIQUIDATED)]
    assert decide(Line(lost, None, told), PHONE, NIGHT + 60).ready == lost


def test_a_call_that_is_over_at_night_is_not_told_whether_or_not_it_was_held_before():
    line = [wait(), wait(CURED)]
    assert decide(Line(line), QUIET, NIGHT).drop == [(line[0], OVER), (line[1], OVER)]


def test_after_an_acknowledgement_the_next_channel_hears_nothing_of_the_end():
    """The opening was dropped there: neither a cure nor a loss is news for it."""
    for event in (CURED, LIQUIDATED):
        end = wait(event)
        assert escalated([end], NIGHT, status=SENT, sent_at=NIGHT).drop == [(end, UNHEARD)]


def test_whoever_was_escalated_to_hears_of_the_end_at_once():
    cured = wait(CURED)
    assert escalated([cured], NIGHT, OPENED, status=SENT, sent_at=NIGHT).ready == [cured]


# --- together ---------------------------------------------------------------------------------------------------------


def lines(count: int, **more: Any) -> list[list[Delivery]]:
    return [[wait(number=number, position=f"aave:{number}", **more)] for number in range(1, count + 1)]


def test_within_the_limit_everything_goes_by_itself():
    chosen = batch(lines(5), 5, 8, now=DAY, nightly=True)
    assert (len(chosen.singles), chosen.together) == (5, [])


def test_beyond_the_limit_the_deepest_go_by_themselves_and_the_rest_together():
    storm = [*lines(40), [wait(ESCALATED, "liquidatable", number=99, position="aave:99")]]
    chosen = batch(storm, 3, 8, now=DAY, nightly=True)
    assert len(chosen.singles) == 2
    assert chosen.singles[0].notice.id == "notice-99"
    assert len(chosen.together) == 39
    assert {one.notice.id for one in (*chosen.singles, *chosen.together)} == {line[0].notice.id for line in storm}


def test_what_was_tried_in_vain_is_told_with_nothing_else_and_leaves_a_message_for_what_is_new():
    """Whatever a receiver refuses, it would refuse all that is told together with it."""
    tried = lines(6, attempts=1)
    new = [[wait(number=n, position=f"aave:{n}")] for n in range(50, 60)]
    chosen = batch([*tried, *new], 3, 8, now=DAY, nightly=False)
    assert [[one] for one in chosen.singles] == tried[:2]
    assert [[one] for one in chosen.together] == new
    assert len(batch(tried, 3, 8, now=DAY, nightly=False).singles) == 3
    assert len(batch([*tried[:1], *new[:1]], 2, 8, now=DAY, nightly=False).singles) == 2


def test_one_message_left_carries_everything():
    chosen = batch(lines(4), 1, 8, now=DAY, nightly=True)
    assert (len(chosen.singles), len(chosen.together)) == (0, 4)


def test_a_spent_minute_lets_only_repetitions_through():
    """What may have been seen counts already."""
    storm = [*lines(2), [wait(status=SENDING, number=50, position="aave:50")]]
    chosen = batch(storm, 0, 8, now=DAY, nightly=True)
    assert ([one.notice.id for one in chosen.singles], chosen.throttled) == (["notice-50"], True)


def test_all_steps_of_a_position_go_into_the_message():
    """No band change is lost by telling them together."""
    line = [wait(), wait(ESCALATED, "urgent"), wait(ESCALATED, "liquidatable")]
    assert batch([line], 1, 8, now=DAY, nightly=True).together == line


def test_where_more_waits_than_one_message_holds_everything_goes_together():
    """Each message then tells as many as it holds, in the order of each position; the rest is for the next."""
    assert len(batch(lines(40), 30, 8, now=DAY, nightly=False, more=True).together) == 40
    often = [
        [wait(number=2 * n, position=f"aave:{n}"), wait(CURED, number=2 * n + 1, position=f"aave:{n}")]
        for n in range(1, IN_ONE)
    ]
    assert len(batch(often, 30, 8, now=DAY, nightly=False, in_one=7).together) == 7
    one_by_one = batch(often, 30, 8, now=DAY, nightly=False, in_one=1)
    assert (len(one_by_one.singles), len(one_by_one.together)) == (1, 0)
    chosen = batch(often, 30, 8, now=DAY, nightly=False)
    assert (len(chosen.singles), len(chosen.together)) == (0, IN_ONE)
    assert list(chosen.together) == [one for line in often for one in line][:IN_ONE]


def test_the_night_is_told_together_in_the_morning():
    held = lines(3, status=HELD, due_at=DAY - 1)
    chosen = batch([*held, *lines(1)], None, 8, now=DAY, nightly=True)
    assert (len(chosen.singles), len(chosen.together)) == (1, 3)
    alone = batch(held[:1], None, 8, now=DAY, nightly=True)
    assert (len(alone.singles), alone.together) == (1, [])


# --- who wants what ---------------------------------------------------------------------------------------------------


def test_a_route_wants_by_band_account_protocol_and_event():
    told = notice(1)
    assert Route(channel="a").wants(told)
    assert not Route(channel="a", min_band=Band.URGENT).wants(told)
    assert Route(channel="a", accounts=frozenset({told.account})).wants(told)
    assert not Route(channel="a", accounts=frozenset({b"\x07" * 20})).wants(told)
    assert not Route(channel="a", protocols=frozenset({"morpho"})).wants(told)
    assert not Route(channel="a", events=frozenset({CURED})).wants(told)


def test_what_waits_is_dropped_where_the_rules_do_not_want_it_any_more():
    """They are others than when it came, or the name is another channel's now. What is of no call is told anyway."""
    mine = Route(channel="hook", accounts=frozenset({b"\x07" * 20}))
    theirs, ours = wait(number=1), wait(number=7)
    decision = decide(Line([theirs, ours]), mine, DAY)
    assert (decision.drop, decision.ready) == ([(theirs, UNWANTED)], [ours])
    house = wait(NoticeEvent.UNHEALTHY, "watch", number=1)
    assert decide(Line([house]), mine, DAY).ready == [house]


def test_a_channel_that_escalates_hears_only_of_what_the_first_one_does():
    mine = Route(channel="mine", accounts=frozenset({b"\x07" * 20}))
    router = Router.of(
        [mine, Route(channel="all"), Route(channel="phone", escalates="mine"), Route(channel="boss", escalates="phone")]
    )
    assert router.channels(notice(1)) == ("all",)
    assert router.channels(notice(7)) == ("mine", "all", "phone", "boss")
    assert router.directly_after("mine") == ("phone",)
