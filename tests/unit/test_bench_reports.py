"""What the harnesses say of their measurements."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.benchlib.comparing import changes, earlier
from scripts.benchlib.row import counted, timed
from scripts.longrunlib.looking import Sample, quarters


def test_a_row_has_the_keys_that_people_script_against_and_a_reason_only_where_it_misses() -> None:
    met = timed("a", 1.0, 2.0, 3.0, reason="never told").as_json()
    missed = timed("b", 1.0, 4.0, 3.0, reason=lambda: "found by profiling").as_json()
    assert {"what": "a", "floor_s": 1.0, "ours_s": 2.0, "ratio": 2.0, "target": 3.0, "met": True}.items() <= met.items()
    assert (met["reason"], missed["reason"], missed["met"]) == ("", "found by profiling", False)


def test_two_runs_are_compared_row_by_row(tmp_path: Path) -> None:
    """What moves by less than a twentieth did not change; a target that is missed now is named whatever moved."""
    before = [timed("same", 1, 2, 9), timed("worse", 1, 2, 9), timed("missed", 1, 2, 2), counted("gone", 1, 1)]
    file = tmp_path / "before.jsonl"
    file.write_text("".join(json.dumps(row.as_json()) + "\n" for row in before))
    now = [timed("same", 1, 2.05, 9), timed("worse", 1, 3, 9), timed("missed", 1, 2.1, 2), counted("new", 1, 1)]
    said = {what: (change, word) for what, _, _, change, word in changes(earlier(file), now)}
    assert said == {
        "same": ("+2.5%", "as before"),
        "worse": ("+50.0%", "worse"),
        "missed": ("+5.0%", "now missed"),
        "new": ("", "new"),
        "gone": ("", "not run"),
    }


def test_a_file_that_is_none_of_ours_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "other"
    file.write_text('{"what": "a", "ratio": 1, "met": true, "ours_s": null}\n[]\n')
    with pytest.raises(ValueError, match="line 2 is no row"):
        earlier(file)


def test_a_long_run_compares_its_last_quarter_with_its_second() -> None:
    samples = [Sample(n, 0.0, n, 0, 0, 0, 0, {}, 0, 0) for n in range(8)]
    assert quarters(samples, "resident") == (2.5, 6.5)
