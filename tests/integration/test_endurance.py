"""The short form of scripts/endurance: small numbers, everything that it does, and its verdicts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scripts.endurancelib.report import Bounds, as_json, table, verdicts
from scripts.endurancelib.run import Outcome, run
from scripts.endurancelib.scene import Size
from scripts.endurancelib.world import Opened


@pytest.mark.timeout(120)
def test_load_neither_holds_the_head_path_nor_leaves_a_loan(tmp_path: Path) -> None:
    """Blocks every 250 ms, a storm, three hundred calls at once, a slow and a deaf channel, a slow disk: the daemon
    keeps up, settles what is liquidatable, and tells everybody."""
    outcome = run(
        tmp_path,
        minutes=0.2,
        size=Size(stored=3_000, crowd=300, standing=10, storm_events=400),
        say=lambda line: None,
        cycle_s=14.0,
    )
    told = as_json(outcome, Bounds())
    broken = [one for one in told["verdicts"] if not one["met"] and "memory" not in one["what"]]
    assert broken == [], table(told)
    assert outcome.storms[0] == 400
    assert outcome.crowds_called == 1
    assert outcome.opened
    assert outcome.liquidated >= len(outcome.opened)
    assert outcome.delivered["prompt"] >= 300
    assert outcome.delivered["slow"] > 0


def test_a_loan_that_was_left_breaks_a_bound() -> None:
    """A run can fail: of an otherwise empty one, a loan that nobody closed is told."""
    empty = Outcome(Size(), minutes=1.0, cycle_s=10.0)
    assert all(one.met for one in verdicts(empty, Bounds()))
    left = replace(empty, opened=[Opened("aave:0x01", since=7)])
    assert [one.what for one in verdicts(left, Bounds()) if not one.met] == ["liquidatable loans never settled"]
