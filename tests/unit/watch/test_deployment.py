"""From a command line to a configuration in memory, and what cannot work."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any, cast

import pytest

from keeper.config.shipped import shipped
from keeper.core.errors import ConfigError
from keeper.core.secret import Secret
from keeper.core.types import Band, Call, CallResult
from keeper.indexer.rpc.client import RpcClient
from keeper.notifier.apprise import AppriseChannel
from keeper.upkeep import ens
from keeper.watch.accounts import Owner, check_accounts, resolve_accounts
from keeper.watch.command import watched_adapters
from keeper.watch.deployment import Deployment, Wishes, default_state, notifier_kind, parse_markets
from keeper.watch.eyes import Eyes

ADA = bytes.fromhex("f39fd6e51aad88f6f4ce6ab8827279cfffb92266")
ADA_TEXT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
WAD = 10**18


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No .env file and no variable of this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEEPER_RPC_URL", raising=False)


def deployment(**wishes: Any) -> Deployment:
    return Deployment(Wishes(**({"rpc": ("https://node.example/v1/key-of-mine",)} | wishes)))


@pytest.mark.parametrize("chain_id", sorted(shipped()))
def test_every_shipped_chain_can_be_watched_without_a_file(chain_id: int, tmp_path: Path) -> None:
    """Alert-only, for this account alone, told on the terminal, its store under the state folder."""
    config = deployment(state=tmp_path).house(chain_id, ADA).config
    assert (config.chain.id, config.executor.mode) == (chain_id, "off")
    assert config.margin_calls.accounts == (ADA,)
    assert [one.kind for one in config.notifiers] == ["console"]
    assert config.store.url.reveal() == f"sqlite:///{tmp_path}/{chain_id}-{ADA_TEXT.lower()}.db"
    assert config.protocols


def test_a_notifier_is_named_by_its_url_in_whatever_order_they_are_given(tmp_path: Path) -> None:
    """What waits for one waits under its name, and is sent to no other."""
    urls = ("https://a.example/hook", "https://b.example/hook")

    def told(*notify: str) -> dict[str, str]:
        config = deployment(state=tmp_path, notify=notify).house(1, ADA).config
        return {one.settings["url"].reveal(): one.name for one in config.notifiers if one.kind != "console"}

    names = told(*urls)
    assert len(set(names.values())) == 2
    assert told(*reversed(urls)) == names
    assert told(urls[1]) == {urls[1]: names[urls[1]]}
    assert told(urls[0], urls[0]) == {urls[0]: names[urls[0]]}


def test_an_account_given_by_name_is_called_so(tmp_path: Path) -> None:
    """And by its address otherwise."""
    assert deployment(state=tmp_path).house(1, ADA, "ada.eth").config.names.labels == {ADA: "ada.eth"}
    assert deployment(state=tmp_path).house(1, ADA).config.names.labels == {}


def test_market_ids_are_checked_before_anybody_is_asked(tmp_path: Path) -> None:
    """And that there is a protocol that has isolated markets."""
    assert parse_markets(["0x" + "11" * 32]) == [b"\x11" * 32]
    for wrong in ("0x1234", "11" * 32, "0x" + "zz" * 32):
        with pytest.raises(ConfigError, match="is no market id; expected 0x and 64 hex digits"):
            parse_markets([wrong])
    adapters = watched_adapters(deployment(state=tmp_path).house(56, ADA))
    with pytest.raises(ConfigError, match="has isolated markets; leave it out"):
        Eyes(cast(RpcClient, None), adapters, [b"\x11" * 32])


def test_notifiers_are_apprise_services_or_webhooks_beside_the_terminal(tmp_path: Path) -> None:
    house = deployment(notify=("ntfy://topic-of-mine", "https://hooks.example/keeper"), state=tmp_path).house(1, ADA)
    assert [one.kind for one in house.config.notifiers] == ["console", "apprise", "webhook"]


@pytest.mark.parametrize("scheme", ["https", "nonsense"])
def test_asking_whose_a_url_is_logs_nothing_of_it(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    """A webhook is none of Apprise's services, which is no error; and no part of a URL stands in a log."""
    url = f"{scheme}://n8n.example/webhook/TOKEN-OF-MINE-0123456789/notify"
    with caplog.at_level(logging.DEBUG), contextlib.suppress(ConfigError):
        assert notifier_kind(url, "--notify") == "webhook"
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError):
        AppriseChannel("mine", Secret(url), Band.CALL)
    assert "n8n.example" not in caplog.text


def test_a_call_line_given_alone_moves_what_must_move_with_it(tmp_path: Path) -> None:
    for call, lines in (("1.4", [140, 140, 155]), ("1.05", [125, 105, 125])):
        margin = deployment(lines={"call": call}, state=tmp_path).house(1, ADA).config.margin_calls
        assert [margin.watch_wad, margin.call_wad, margin.target_wad] == [line * WAD // 100 for line in lines]


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"rpc": ()}, "no node to ask; give --rpc URL, or set KEEPER_RPC_URL"),
        ({"rpc": ("env:NOT_SET",)}, "--rpc: environment variable NOT_SET is not set"),
        ({"notify": ("nonsense://token-of-mine",)}, r"no service understands this URL \(scheme nonsense\)"),
        ({"lines": {"call": "much"}}, "keeper watch: margin_calls.call"),
        ({"lines": {"call": "1.5", "target": "1.2"}}, "target is below call"),
        ({"config": Path("nowhere.toml")}, "nowhere.toml: there is no such file"),
    ],
)
def test_what_cannot_work_is_said_with_the_remedy(wishes: dict[str, Any], said: str, tmp_path: Path) -> None:
    """And without repeating a token."""
    with pytest.raises(ConfigError, match=said) as told:
        made = deployment(**{"state": tmp_path} | wishes)
        made.endpoints()
        made.house(1, ADA)
    assert "of-mine" not in str(told.value)


def test_a_chain_that_nothing_is_shipped_for_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"shipped for chain 250; shipped are: .*1 ethereum \(aave"):
        deployment().house(250, ADA)


def test_state_is_where_the_system_keeps_it() -> None:
    assert default_state({"XDG_STATE_HOME": "/var/lib/me"}) == Path("/var/lib/me/keeper/watch")
    assert default_state({}) == Path.home() / ".local/state/keeper/watch"


# --- accounts ---------------------------------------------------------------------------------------------------------


async def _nobody(calls: list[Call]) -> list[CallResult]:
    raise AssertionError(f"asked {calls}")


async def test_addresses_are_taken_once_and_ask_nobody() -> None:
    owners = await resolve_accounts([ADA_TEXT, ADA_TEXT.lower()], 31337, _nobody)
    assert owners == [Owner(ADA)]


async def test_a_name_is_resolved_where_the_chain_has_names() -> None:
    """Registry, resolver, address: as raw calls."""
    resolver = b"\x77" * 20
    node = ens.namehash("ada.eth")

    async def execute(calls: list[Call]) -> list[CallResult]:
        assert all(call.data[4:] == node for call in calls)
        return [bytes(12) + (resolver if call.target == ens.REGISTRY else ADA) for call in calls]

    assert await resolve_accounts(["ada.eth"], 1, execute) == [Owner(ADA, "ada.eth")]
    with pytest.raises(ConfigError, match="and chain 8453 has no ENS registry; give the address"):
        await resolve_accounts(["ada.eth"], 8453, execute)


@pytest.mark.parametrize("text", ["0x1234", "ada", ADA_TEXT.replace("f39F", "F39F")])
def test_what_is_neither_an_address_nor_a_name_is_refused_before_anybody_is_asked(text: str) -> None:
    with pytest.raises(ConfigError, match="account: "):
        check_accounts([text])
