"""What commands ask of whoever calls them: which secrets must be there, and which values are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper import privacy
from keeper.cli import build_parser
from keeper.core.errors import ConfigError
from keeper.wire import open_house
from tests.support.commands import commands, needed

WITH_KEY = ["check", "backfill", "run"]
"""What checks, uses, or readies itself to use the key of the configuration."""

OTHERWISE = ["init", "watch", "replay"]
"""One writes a configuration, the others read parts of one, in which there is no key."""

LIVE = """
[chain]
id = 1
rpc = ["ws://127.0.0.1:9"]

[store]
url = "sqlite:///var/keeper.db"

[[protocols]]
kind = "aave_v3"
name = "aave"
pool_addresses_provider = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
start_block = 1

[executor]
mode = "live"
private_key = "env:KEEPER_PRIVATE_KEY"
"""

READERS = {
    " ".join(name): [*name, *needed(sub)]
    for name, sub in commands(build_parser())
    if "--config" in sub._option_string_actions and name[0] not in (*WITH_KEY, *OTHERWISE)
}


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live deployment, as somebody sees it in whose environment there is no key: anybody but its daemon."""
    monkeypatch.delenv("KEEPER_PRIVATE_KEY", raising=False)
    monkeypatch.setattr(privacy, "withdraw", lambda: None)  # of the process that runs the tests
    monkeypatch.chdir(tmp_path)
    Path("keeper.toml").write_text(LIVE)


def test_the_queries_are_among_those_that_send_nothing() -> None:
    """The list is the parser's own, so it holds for commands that are yet to be written."""
    assert {"health", "calls", "calls show", "calls export", "liquidations", "transactions", "status"} < set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_whoever_sends_nothing_needs_no_private_key(name: str, live: None) -> None:
    """A key belongs into the environment of the daemon alone, not into that of everybody who asks how it fares."""
    args = build_parser().parse_args(READERS[name])
    assert open_house(args).config.executor.private_key is None


@pytest.mark.parametrize("name", WITH_KEY)
def test_whoever_may_need_the_key_says_that_it_is_missing(name: str, live: None) -> None:
    with pytest.raises(ConfigError, match="environment variable KEEPER_PRIVATE_KEY is not set"):
        open_house(build_parser().parse_args([name]))
