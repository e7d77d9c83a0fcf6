"""Modes: who is told, and what is halted."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Modes"
_EXECUTOR = "keeper/executor"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "no block that can be trusted is blindness",
        "keeper/mode/machine.py",
        "    if sight.silent_s > sight.limit_s:",
        "    if False:",
        "tests/unit/mode/test_machine.py::test_modes",
    ),
    Removal(
        _GROUP,
        "what halts transactions halts the guard",
        f"{_EXECUTOR}/guard.py",
        "        return not (self._paused or self._state.trips or self._halt)",
        "        return not (self._paused or self._state.trips)",
        "tests/unit/mode/test_watch.py::test_a_halted_guard_lets_nothing_new_through",
    ),
    Removal(
        _GROUP,
        "a block from the future halts transactions",
        "keeper/mode/watch.py",
        "        if limit_s is None or ahead_s <= limit_s:",
        "        if True:",
        "tests/unit/mode/test_watch.py::test_a_block_from_the_future_halts_transactions_until_the_clocks_agree",
    ),
    Removal(
        _GROUP,
        "no ping is sent while Keeper is blind",
        "keeper/mode/heartbeat.py",
        "self._failure_url if self._mode() is Mode.BLIND else self._url",
        "self._url",
        "tests/integration/test_heartbeat.py::test_it_pings_while_keeper_watches_and_is_silent_while_it_is_blind",
    ),
    Removal(
        _GROUP,
        "a protocol that begins beyond the head is waited for, not followed",
        "keeper/daemon/catching_up.py",
        "            if track.adapter.start_block > head.number:",
        "            if False:",
        "tests/integration/test_young_chain.py::test_a_protocol_that_begins_beyond_the_head_is_waited_for_loudly",
    ),
    Removal(
        _GROUP,
        "nothing of what passed meanwhile is told before the present is reached",
        "keeper/daemon/catching_up.py",
        "present=target.number >= head.number)",
        "present=True)",
        "tests/integration/test_outage.py::test_what_is_true_at_the_present_is_told_once_and_nothing_of_what_passed",
    ),
    Removal(
        _GROUP,
        "whoever hears of nothing else hears that Keeper is blind for long",
        "keeper/upkeep/headwatch.py",
        "owners_too=owners_too)",
        "owners_too=False)",
        "tests/unit/upkeep/test_conditions.py::test_operators_hear_once_that_heads_stopped_and_everybody_when_it_lasts",
    ),
    Removal(
        _GROUP,
        "what the machine ran out of is named, with its limit and the remedy, and is no defect",
        "keeper/cli.py",
        "    lacking = None if isinstance(error, KeeperError) else shortage(error)",
        "    lacking = None",
        "tests/unit/test_shortage.py::test_a_command_that_runs_out_says_so_and_blames_nobody",
    ),
)
