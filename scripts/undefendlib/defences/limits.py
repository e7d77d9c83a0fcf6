"""Limits on what is sent."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Limits on what is sent"
_EXECUTOR = "keeper/executor"
_T_BREAKERS = "tests/unit/executor/test_breakers.py"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "what was made up for one block keeps nobody away for hours",
        f"{_EXECUTOR}/journal.py",
        '        if intent.realized.get("succeeded_before"):',
        "        if False:",
        "tests/unit/executor/test_explain.py::test_the_legs_of_a_batch_rest_as_it_does",
    ),
    Removal(
        _GROUP,
        "nor, in a batch, a leg of it",
        f"{_EXECUTOR}/settle.py",
        ', "succeeded_before": True})',
        "})",
        "tests/integration/test_batches.py"
        "::test_a_leg_that_dies_of_what_is_undone_at_once_is_tried_again_after_the_cooldown",
    ),
    Removal(
        _GROUP,
        "a restart forgets no cooldown",
        f"{_EXECUTOR}/journal.py",
        " or any(self._cools(leg, block, now) for leg in legs_of(intent))",
        "",
        "tests/unit/executor/test_explain.py"
        "::test_a_restart_shortens_no_cooldown_that_is_longer_than_finality_is_far[True]",
    ),
    Removal(
        _GROUP,
        "what was tried out in vain does not take the places of what succeeds",
        f"{_EXECUTOR}/choose.py",
        "        return vain.get(cause, -1), -one",
        "        return -1, -one",
        "tests/unit/executor/test_executor.py::test_positions_that_cannot_be_liquidated_do_not_hide_one_that_can",
    ),
    Removal(
        _GROUP,
        "protocols are ranked by value, not by the size of their units",
        f"{_EXECUTOR}/choose.py",
        "-one.opportunity.wad(one.plan.profit_base), cause",
        "-one.plan.profit_base, cause",
        "tests/unit/executor/test_choose.py::test_protocols_are_ranked_by_value_whatever_the_size_of_their_units",
    ),
    Removal(
        _GROUP,
        "gas is spent within its limits",
        f"{_EXECUTOR}/breakers.py",
        "            if spent + committed_wei + cost > limit:",
        "            if False:",
        f"{_T_BREAKERS}::test_what_is_admitted_never_exceeds_a_limit",
    ),
    Removal(
        _GROUP,
        "what waits pays more only within them",
        f"{_EXECUTOR}/upkeep.py",
        "        if extra_wei > 0 and (held := room(more_wei + extra_wei)) is not None:",
        "        if (held := None) is not None:",
        "tests/unit/executor/test_upkeep.py::test_a_replacement_waits_for_room_below_the_spend_limit",
    ),
    Removal(
        _GROUP,
        "no replacement tips more than the largest",
        f"{_EXECUTOR}/fees.py",
        "    if max(max_fee, tip) > cap_wei or tip > tip_cap_wei:",
        "    if max(max_fee, tip) > cap_wei:",
        "tests/unit/executor/test_upkeep.py::test_however_long_it_waits_no_attempt_tips_more_than_the_largest",
    ),
    Removal(
        _GROUP,
        "a first offer can be outbid below the cap",
        f"{_EXECUTOR}/offer.py",
        "max(min(most_wei, market.first_cap_wei), ",
        "max(min(most_wei, market.cap_wei), ",
        "tests/unit/executor/test_upkeep.py::test_near_the_largest_fee_a_transaction_can_be_outbid_and_given_up",
    ),
    Removal(
        _GROUP,
        "what was outbid can still be given up",
        f"{_EXECUTOR}/upkeep.py",
        "REPLACEMENT if acts else CANCELLATION",
        "CANCELLATION",
        "tests/unit/executor/test_upkeep.py::test_what_was_outbid_as_far_as_the_largest_tip_goes_can_still_be_given_up",
    ),
    Removal(
        _GROUP,
        "what waits can follow the base fee at the largest tip",
        f"{_EXECUTOR}/upkeep.py",
        "    if is_last and not gives_up",
        "    if False and not gives_up",
        "tests/unit/executor/test_upkeep.py::test_the_last_replacement_is_kept_until_the_base_fee_is_above_what_waits",
    ),
    Removal(
        _GROUP,
        "planned losses stay within theirs",
        f"{_EXECUTOR}/breakers.py",
        "            if lost + committed_wad >= limit:",
        "            if False:",
        f"{_T_BREAKERS}::test_planned_losses_never_reach_a_loss_limit",
    ),
    Removal(
        _GROUP,
        "liquidations that fail in a row stop them",
        f"{_EXECUTOR}/breakers.py",
        "    if limits.failures is not None and failures >= limits.failures:",
        "    if False:",
        f"{_T_BREAKERS}::test_failures_count_in_a_row",
    ),
    Removal(
        _GROUP,
        "profit that is missing in a row stops them",
        f"{_EXECUTOR}/breakers.py",
        "    if limits.shortfalls is not None and short >= limits.shortfalls:",
        "    if False:",
        f"{_T_BREAKERS}::test_profit_short_of_the_plan_in_a_row_trips_slippage",
    ),
    Removal(
        _GROUP,
        "what falling prices and competitors took stops nothing",
        f"{_EXECUTOR}/breakers.py",
        "    return (expected - realized - outcome.excused) * BPS",
        "    return (expected - realized) * BPS",
        f"{_T_BREAKERS}::test_what_falling_prices_and_competitors_took_is_no_shortfall",
    ),
    Removal(
        _GROUP,
        "several that leave at once take no more than is approved",
        f"{_EXECUTOR}/purse.py",
        "            self.allowances[token, spender] -= amount",
        "            pass",
        "tests/unit/executor/test_armed.py::test_several_take_no_more_than_is_allowed_in_all",
    ),
    Removal(
        _GROUP,
        "what tripped later than now can be resumed",
        f"{_EXECUTOR}/switch.py",
        "    return at <= asked_at or asked_at <= now < at",
        "    return at <= asked_at",
        "tests/unit/executor/test_guard.py::test_what_tripped_before_the_clock_was_set_back_can_be_resumed",
    ),
    Removal(
        _GROUP,
        "a pause holds what is ready",
        f"{_EXECUTOR}/guard.py",
        "        if self._state.trips or self._halt or self._switch.paused:",
        "        if self._state.trips or self._halt:",
        "tests/unit/executor/test_armed.py::test_a_pause_holds_what_is_ready",
    ),
)
