"""What commands ask of whoever calls them: which secrets must be there, and which values are none."""

from __future__ import annotations

import asyncio
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
    for name in ("KEEPER_PRIVATE_KEY", "KEEPER_RPC_URL"):
        monkeypatch.delenv(name, raising=False)
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


ASKING = [
    *("status", "stats", "health", "calls", "calls retry", "calls show", "calls export"),
    *("ack", "liquidations", "transactions", "pause", "resume"),
]


@pytest.mark.parametrize("name", ASKING)
def test_whoever_asks_the_database_needs_no_secret_of_the_daemon(name: str, live: None) -> None:
    """As under systemd, where the daemon alone has them; what is used all the same says what is missing."""
    text = LIVE.replace('"ws://127.0.0.1:9"', '"env:KEEPER_RPC_URL"')
    hook = '[[notifiers]]\nkind = "webhook"\nurl = "env:KEEPER_HOOK"\nsecret = "env:KEEPER_HOOK_SECRET"\n'
    Path("keeper.toml").write_text(text + hook + '[web]\ntoken = "env:KEEPER_WEB_TOKEN"\n')
    house = open_house(build_parser().parse_args(READERS[name]))
    with pytest.raises(ConfigError, match="environment variable KEEPER_RPC_URL is not set; export it"):
        asyncio.run(house.connect())


@pytest.mark.parametrize("name", sorted({*READERS} - {*ASKING}))
def test_whoever_asks_the_node_says_at_once_that_it_is_missing(name: str, live: None) -> None:
    """Before anything is done that would have to be undone."""
    Path("keeper.toml").write_text(LIVE.replace('"ws://127.0.0.1:9"', '"env:KEEPER_RPC_URL"'))
    with pytest.raises(ConfigError, match=r"chain\.rpc.*environment variable KEEPER_RPC_URL is not set"):
        open_house(build_parser().parse_args(READERS[name]))


@pytest.mark.parametrize("name", WITH_KEY)
def test_whoever_may_need_the_key_says_that_it_is_missing(name: str, live: None) -> None:
    with pytest.raises(ConfigError, match="environment variable KEEPER_PRIVATE_KEY is not set"):
        open_house(build_parser().parse_args([name]))


WRONG = {
    "no account at all": (
        ("devnet", "--accounts", "0"),
        "'0' is not a number of accounts; give a whole number from 1 to",
    ),
    "more accounts than Anvil makes in a minute": (("devnet", "--accounts", "99999999"), "from 1 to 1000"),
    "a time between blocks that is none": (("devnet", "--block-time", "nan"), "give a whole number from 1 to 86400"),
    "no time between blocks": (("devnet", "--block-time", "0"), "give a whole number from 1"),
    "a time that runs backwards": (("devnet", "--block-time", "-1"), "give a whole number from 1"),
    "a port beyond the last": (
        ("devnet", "--port", "99999"),
        "'99999' is not a port; give a whole number from 0 to 65535",
    ),
    "a port with a sign": (("devnet", "--port", "-1"), "is not a port"),
    "a page at no address": (("run", "--web", "x"), "'x' is no address to listen at; write host:port"),
    "no account to ask about": (("health", "0x1234"), "'0x1234' is no account address; give 0x and 40 hex digits"),
    "no account to rehearse": (("rehearse", "alice"), "'alice' is no account address"),
    "no account to export": (("calls", "export", "--account", "0x12"), "'0x12' is no account address"),
    "no moment": (
        ("calls", "export", "--since", "yesterday"),
        "'yesterday' is no moment; give a date such as 2026-11-01",
    ),
    "no heir": (("deploy", "--heir", "0x12"), "'0x12' is no account address"),
    "no token": (("skim", "native", "ETH"), "'ETH' is no account address"),
    "a page at no port": (("web", "--listen", "foo"), "'foo' is no address to listen at"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_value_that_is_none_is_wrong_usage(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the limits, before anything is started."""
    arguments, words = WRONG[mistake]
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
