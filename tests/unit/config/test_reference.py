"""The configuration reference says what the code accepts."""

from __future__ import annotations

from pathlib import Path

from keeper.config.deployment import Config
from keeper.config.executor import Executor
from keeper.config.margin_calls import MarginCalls
from keeper.config.reference import reference

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_written_reference_is_the_generated_one() -> None:
    """`scripts/configref` writes it."""
    assert reference() in DOCUMENT.read_text("utf-8")


def test_every_table_of_a_deployment_has_a_section() -> None:
    headings = {line.strip("# `[]") for line in reference().splitlines() if line.startswith("### ")}
    assert set(Config.model_fields) <= headings
    assert "margin_calls.volatility" in headings


def test_every_key_is_listed_with_its_meaning_under_the_name_it_has_in_the_file() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    assert all(row[3].removesuffix(" |") for row in rows)
    keys = {row[0].strip("| `") for row in rows}
    assert {"watch", "max_fee_gwei", "pool_addresses_provider", "secret", "min_band"} <= keys
    assert not keys & {"watch_wad", "max_fee_wei"}


def test_defaults_are_shown_as_they_are_written() -> None:
    lines = {line.split("`")[1]: line for line in reference().splitlines() if line.startswith("| `")}
    assert '| `"1.1"` |' in lines["call"]
    assert MarginCalls.model_fields["call_wad"].default == 11 * 10**17
    assert '| `"500"` |' in lines["max_fee_gwei"]
    assert Executor.model_fields["max_fee_wei"].default == 500 * 10**9
    assert '| `"call"` |' in lines["min_band"]
    assert "| required |" in lines["rpc"]
