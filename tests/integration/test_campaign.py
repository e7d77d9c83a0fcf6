"""The short form of scripts/campaign: one fault of each group but the server's, and the whole ledger at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.campaignlib.report import as_json
from scripts.campaignlib.run import run

FAULTS = (
    "truncated JSON",
    "transaction swallowed",
    "killed with its intent journalled",
    "writes fail",
    "receiver failing",
    "reorganization",
    "blocks every 250 ms",
)


@pytest.mark.timeout(180)
def test_nothing_is_lost_doubled_or_wrongly_sent_under_faults(tmp_path: Path) -> None:
    """Prices fall, and everything goes wrong that is listed above. At the end every position that was liquidatable was
    settled by us, what our key did is in the journal and has a reason, every owner was told, and the index is what a
    fresh one is."""
    outcome = run(
        tmp_path,
        seed=7,
        minutes=2,
        say=lambda line: None,
        interval_s=0.3,
        kinds=("aave_v3",),
        size=10,
        only=FAULTS,
        times=1,
        longest_blocks=8,
    )
    told = as_json(outcome)
    assert told["losses"] == [], told
    assert told["findings"] == [], told
    assert set(outcome.faults) == set(FAULTS)
    assert outcome.liquidated > 0
    assert outcome.mined >= outcome.liquidated
    assert outcome.notices > 0
    assert outcome.positions_compared > 0
    assert outcome.kills >= 1
