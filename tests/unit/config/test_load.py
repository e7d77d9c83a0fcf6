"""The configuration file: what is accepted, and how everything that is wrong is told at once."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import traceback
from decimal import Decimal
from pathlib import Path

import pytest

import keeper.protocols
from keeper.config.deployment import Config
from keeper.config.load import load_config
from keeper.core.errors import ConfigError
from keeper.core.secret import Secret
from keeper.core.types import Band

KEY = "0x" + "5e" * 32  # no key of anybody
HOOK = "[[notifiers]]\nkind = 'console'"
BOARD = f"[[notifiers]]\nkind = 'board'\naddress = '0x{'ab' * 20}'"
MINIMAL = """
[chain]
id = 31337
rpc = ["env:KEEPER_RPC_URL"]
[store]
url = "sqlite:///var/keeper.db"
[[protocols]]
kind = "lending"
name = "main"
provider = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
"""
ENVIRONMENT = {"KEEPER_RPC_URL": "wss://node.example/v3/token-nobody-may-see", "KEEPER_PRIVATE_KEY": KEY}

LENDING = """
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    provider: bytes = field(metadata={"doc": "Its registry."})
    heartbeats: Mapping[str, int] = field(default_factory=dict, metadata={"doc": "Seconds by asset."})


def build(config):
    return config
"""


@pytest.fixture(autouse=True)
def lending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol that is nothing but one more file."""
    folder = tmp_path / "more_protocols"
    folder.mkdir()
    (folder / "lending.py").write_text(LENDING)
    monkeypatch.setattr(keeper.protocols, "__path__", [*keeper.protocols.__path__, str(folder)])


def load(tmp_path: Path, text: str = MINIMAL, mode: str | None = None, **environment: str) -> Config:
    file = tmp_path / "keeper.toml"
    file.write_text(text)
    return load_config(file, mode=mode, environment=ENVIRONMENT | environment)


def problems(tmp_path: Path, text: str) -> dict[str, str]:
    """What is wrong, by path of the key."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, text)
    lines = str(refused.value).splitlines()
    found = dict(line.removeprefix(f"{tmp_path / 'keeper.toml'}: ").split(": ", 1) for line in lines)
    assert len(found) == len(lines)
    return found


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_the_least_configuration_is_alert_only_with_the_documented_defaults(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.executor.mode, config.chain.finality) == ("off", "finalized")
    lines = config.margin_calls
    assert (lines.watch_wad, lines.call_wad, lines.urgent_wad) == (125 * 10**16, 110 * 10**16, 103 * 10**16)
    assert (lines.hysteresis_wad, lines.target_wad, lines.accounts) == (2 * 10**16, 125 * 10**16, ())
    assert config.executor.min_profit == Decimal("1.00")


def test_values_arrive_in_the_form_the_house_works_with(tmp_path: Path) -> None:
    """Addresses as bytes, decimals as scaled integers, bands as bands; a plugin gets its options by key."""
    text = MINIMAL + (
        'start_block = 7\nheartbeats = {WETH = 3600}\n[margin_calls]\ncall = "1.123456789012345678"\n'
        '[executor]\nmax_fee_gwei = "0.5"\n[[notifiers]]\nkind = "console"\nmin_band = "urgent"\n'
    )
    config = load(tmp_path, text)
    (protocol,) = config.protocols
    assert (protocol.kind, protocol.name) == ("lending", "main")
    assert protocol.settings["provider"] == bytes.fromhex("2f39d218133AFaB8F2B819B1066c7E434Ad94E9e")
    assert protocol.settings["start_block"] == 7
    assert protocol.settings["heartbeats"] == {"WETH": 3600}
    assert config.margin_calls.call_wad == 1_123_456_789_012_345_678
    assert config.executor.max_fee_wei == 500_000_000
    assert config.notifiers[0].settings["min_band"] is Band.URGENT


def test_a_notifier_without_a_name_is_named_by_its_kind_whatever_others_are_there(tmp_path: Path) -> None:
    """So it keeps its name, under which its notices wait, when they are removed."""
    bare, other = '[[notifiers]]\nkind = "console"\n', '[[notifiers]]\nkind = "console"\nname = "other"\n'
    for tables, names in (
        (bare, ["console"]),
        (bare + other, ["console", "other"]),
        (other + bare, ["other", "console"]),
    ):
        assert [notifier.name for notifier in load(tmp_path, MINIMAL + tables).notifiers] == names


def test_several_of_a_kind_need_names_that_stay(tmp_path: Path) -> None:
    """Counted, the second would take over what waits for the first when that is removed: another person's notices."""
    found = problems(tmp_path, MINIMAL + '[[notifiers]]\nkind = "console"\n' * 2)
    assert found == {
        "notifiers": "2 of kind 'console' have no name, under which notices wait for them; give each one that stays, "
        "such as 'console' and 'console-2'"
    }


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """So the daemon finds the same database from whatever directory it is started."""
    assert load(tmp_path).store.url.reveal() == f"sqlite:///{tmp_path}/var/keeper.db"


def test_the_database_may_be_anywhere(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL.replace("sqlite:///var", "sqlite:////srv"))
    assert config.store.url.reveal() == "sqlite:////srv/keeper.db"


def test_a_key_that_is_not_used_may_be_missing(tmp_path: Path) -> None:
    """An alert-only deployment keeps its executor table without holding a key."""
    text = MINIMAL + '[executor]\nmode = "off"\nprivate_key = "env:NOT_SET"\n'
    assert load(tmp_path, text).executor.private_key is None
    with pytest.raises(ConfigError, match="variable NOT_SET is not set"):
        load(tmp_path, text, mode="live")


def test_a_relay_identity_that_is_not_used_may_be_missing(tmp_path: Path) -> None:
    """`keeper pause` must not fail for want of a key."""
    live = '[executor]\nmode = "live"\nprivate_key = "env:NOT_SET"\n'
    relay = '[[submitters]]\nkind = "bundle"\nurl = "https://relay.example"\nidentity = "env:NOT_SET"'
    assert load(tmp_path, MINIMAL + live + relay, mode="off").submitters[0].settings["identity"] is None


def test_the_mode_can_be_overridden_from_the_command_line(tmp_path: Path) -> None:
    text = MINIMAL + '[executor]\nmode = "live"\nprivate_key = "env:KEEPER_PRIVATE_KEY"\n'
    assert load(tmp_path, text).executor.mode == "live"
    assert load(tmp_path, text, mode="off").executor.mode == "off"


def test_variables_come_from_the_process_then_from_dotenv_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keeper.toml").write_text(MINIMAL.replace('["env:KEEPER_RPC_URL"]', '["env:FIRST", "env:SECOND"]'))
    (tmp_path / ".env").write_text("FIRST=ws://from-file\nSECOND=ws://from-file\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".env").write_text("SECOND=ws://from-working-directory\n")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("FIRST", "ws://from-process")
    config = load_config(tmp_path / "keeper.toml")
    assert [url.reveal() for url in config.chain.rpc] == ["ws://from-process", "ws://from-file"]
    assert "SECOND" not in os.environ


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        config.chain.id = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.protocols[0].settings["name"] = "other"  # type: ignore[index]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    """One line each: file, path of the key, problem, remedy."""
    found = problems(
        tmp_path,
        """
        [chain]
        id = "1"
        rpc = ["env:NOT_SET", "ftp://node"]
        finalitty = 3
        [store]
        [[protocols]]
        kind = "lending"
        name = "main"
        provider = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9f"
        [margin_calls]
        watch = 1.25
        [[notifiers]]
        kind = "webhok"
        [executer]
        """,
    )
    assert found == {
        "chain.id": "expected a whole number, not text ('1')",
        "chain.rpc[0]": "environment variable NOT_SET is not set; export it or put it in a .env file beside this file",
        "chain.rpc[1]": "has scheme 'ftp'; supported are ws, wss, http, https",
        "chain.finalitty": "is no known key; did you mean 'finality'?",
        "store.url": "is required; add it (Database; a relative SQLite path is relative to this file)",
        "protocols[0].provider": (
            "'0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9f' has a wrong checksum; "
            "copy it again, or write it in lower case if it is surely right"
        ),
        "margin_calls.watch": 'is a bare number; write it in quotes, such as "1.25", so that it stays exact',
        "notifiers[0]": "there is no kind 'webhok'; did you mean 'webhook'?",
        "executer": "is no known key; did you mean 'executor'?",
    }


NOBODY = f"0x{'00' * 20}"
DRY_RUN = f"[executor]\nmode = 'dry_run'\naccount = '{NOBODY}'"


@pytest.mark.parametrize(
    ("addition", "path", "told"),
    [
        ("providr = 3", "protocols[0].providr", "did you mean 'provider'?"),
        ("start_block = -1", "protocols[0].start_block", "(-1) is out of range; it must be >= 0"),
        ("start_block = 1.0", "protocols[0].start_block", "expected a whole number"),
        ("heartbeats = {WETH = '1h'}", "protocols[0].heartbeats.WETH", "expected a whole number, not text ('1h')"),
        ("[margin_calls]\ncall = '1.3'", "margin_calls", "call is 1.3, watch is 1.25 by default"),
        ("[margin_calls]\ncall = '1.02'", "margin_calls", "urgent is 1.03 by default, call is 1.02, watch is 1.25"),
        (
            "[margin_calls]\ntarget = '1.11'",
            "margin_calls",
            "target is 1.11, call is 1.1 by default, hysteresis is 0.02",
        ),
        ("[margin_calls]\nurgent = '1'", "margin_calls", "must be ordered"),
        ("[margin_calls]\nhysteresis = '0'", "margin_calls", "hysteresis is 0"),
        ("[executor]\nmin_tip_gwei = '21'", "executor", "min_tip_gwei, 21, is above max_tip_gwei, 20;"),
        ("[margin_calls]\ntarget = '1.11'", "margin_calls", "raise target"),
        ("[margin_calls]\nwatch = '1.0000000000000000001'", "margin_calls.watch", "more than 18 digits"),
        ("[margin_calls]\nwatch = 'NaN'", "margin_calls.watch", "not a finite number"),
        ("[margin_calls]\nwatch = '-1'", "margin_calls.watch", "is negative"),
        ("[margin_calls]\naccounts = '0x00'", "margin_calls.accounts", "expected a list in [brackets]"),
        ("[margin_calls]\naccounts = ['vitalik.eth']", "margin_calls.accounts[0]", "is no address"),
        ("[executor]\nmode = 'on'", "executor", "mode is 'on'; expected"),
        ("[executor]\nleast_gain = '1.1'", "executor", "least_gain is above 1"),
        (f"{DRY_RUN}\n[[venues]]\nkind = 'inventory'", "venues", "add executor.liquidator, or remove them"),
        (f"{DRY_RUN}\n[[funding]]\nkind = 'own'", "funding", "add executor.liquidator, or remove them"),
        (
            f"{DRY_RUN}\nliquidator = '{NOBODY}'\n[[funding]]\nkind = 'own'\n[[venues]]\nkind = 'inventory'",
            "venues",
            "no venue to sell what it seizes",
        ),
        (f"{DRY_RUN}\n[[funding]]\nkind = 'morpo'", "funding[0]", "did you mean 'morpho'?"),
        ("[executor]\nmode = 'live'", "executor", 'needs a key; add private_key = "env:KEEPER_PRIVATE_KEY"'),
        ("[executor]\nmode = 'dry_run'", "executor", "needs to know the wallet"),
        ("[executor]\nkeystore = 'no.json'", "executor.keystore", "is no file"),
        ("[executor]\nmin_profit = true", "executor.min_profit", "not true or false (True)"),
        ("[executor]\nmax_pending = 0", "executor.max_pending", "it must be >= 1"),
        ("[[notifiers]]\nkind = 'webhook'", "notifiers[0].url", "is required; add it (Where to POST)"),
        ("[[notifiers]]\nkind = 'webhook'\nurl = 'tgram://x'", "notifiers[0].url", "supported are http, https"),
        ("[[notifiers]]\nkind = 'console'\nmin_band = 'safe'", "notifiers[0].min_band", "expected one of watch, call"),
        ("[[notifiers]]\nkind = 'outbox'", "notifiers[0]", "known are apprise, board, console, webhook"),
        (f"{HOOK}\nquiet_hours = '22-7'", "notifiers[0].quiet_hours", 'write them as "22:00-07:00"'),
        (f"{HOOK}\nquiet_hours = '22:00-07:00'\ntime_zone = 'Berlin'", "notifiers[0].time_zone", "'Europe/Berlin'"),
        (f"{HOOK}\ntime_zone = 'UTC'", "notifiers[0]", "without quiet_hours"),
        (f"{HOOK}\nevents = ['openend']", "notifiers[0].events[0]", "did you mean 'opened'?"),
        (f"{HOOK}\naccounts = ['me']", "notifiers[0].accounts[0]", "is no address"),
        (f"{HOOK}\nprotocols = ['mian']", "", "names the protocol 'mian'; did you mean 'main'?"),
        (f"{HOOK}\nmax_per_minute = 0", "notifiers[0].max_per_minute", "it must be >= 1"),
        (f"{HOOK}\nescalate_after_minutes = 5.0", "notifiers[0]", "without escalates"),
        (f"{HOOK}\nescalates = 'phone'\n{HOOK}\nname = 'fone'", "", "did you mean 'fone'?"),
        (f"{HOOK}\nescalates = 'console'", "", "escalates itself"),
        (
            f"{HOOK}\nescalates = 'other'\n{HOOK}\nname = 'other'\nescalates = 'console'",
            "",
            "escalates itself, by way of 'other'",
        ),
        (f"{BOARD}\nmax_per_minute = 5", "", "use max_posts_per_hour"),
        (f"{BOARD}\nquiet_hours = '22:00-07:00'", "", "nothing is told together"),
        (f"{BOARD}\ndigest = true", "", "of margin calls only"),
        (f"{BOARD}\n[operator]\nchannels = ['board']", "", "of margin calls only"),
        (f"{BOARD}\n{BOARD}\nname = 'other'", "notifiers", "there are 2 boards"),
        (f"{BOARD}\nmax_spend_per_day = 0.5", "notifiers[0].max_spend_per_day", "is a bare number"),
        ("[acknowledgements]\nsecret = 'short'", "acknowledgements.secret", "openssl rand"),
        ("[acknowledgements]\nlink = 'https://a/{token}'", "acknowledgements", "needs a secret"),
        ("[acknowledgements]\nlink = 'https://a/'", "acknowledgements.link", "no {token} in it"),
        (
            "[[protocols]]\nkind = 'lending'\nname = 'main'\nprovider = '0x" + "00" * 20 + "'",
            "protocols",
            "used 2 times",
        ),
    ],
)
def test_each_mistake_is_named_with_its_place_and_remedy(tmp_path: Path, addition: str, path: str, told: str) -> None:
    found = problems(tmp_path, f"{MINIMAL}\n{addition}\n")
    assert list(found) == [path]
    assert told in found[path]


@pytest.mark.parametrize(
    ("before", "after", "path", "told"),
    [
        ('["env:KEEPER_RPC_URL"]', "[]", "chain.rpc", "is empty; give at least one"),
        ('["env:KEEPER_RPC_URL"]', '["node.example"]', "chain.rpc[0]", "or the path of an IPC socket"),
        ('["env:KEEPER_RPC_URL"]', '["ws://"]', "chain.rpc[0]", "has no host"),
        ('["env:KEEPER_RPC_URL"]', '["ws://node:99999"]', "chain.rpc[0]", "check host and port"),
        ('["env:KEEPER_RPC_URL"]', '"env:KEEPER_RPC_URL"', "chain.rpc", "expected a list"),
        ("id = 31337", "id = true", "chain.id", "expected a whole number, not true or false"),
        ("id = 31337", 'id = 1\nfinality = "latest"', "chain.finality", 'expected "finalized", "safe" or a number'),
        ("sqlite:///var/keeper.db", "keeper.db", "store.url", "expected sqlite:///path/to/file.db"),
        ("sqlite:///var/keeper.db", "sqlite://", "store.url", "names no file"),
        ('name = "main"', 'name = "Main Pool"', "protocols[0].name", "use lower-case letters"),
    ],
)
def test_each_wrong_value_is_named_with_its_place(
    tmp_path: Path, before: str, after: str, path: str, told: str
) -> None:
    found = problems(tmp_path, MINIMAL.replace(before, after))
    assert list(found) == [path]
    assert told in found[path]


@pytest.mark.parametrize(
    ("addition", "told"),
    [
        ('[breakers]\nshortfall = "0"', "any difference would count"),
        ('[breakers]\ngas_per_hour = "2"\ngas_per_day = "1"', "could never trip"),
        ('[breakers]\nallow = ["main"]\ndeny = ["main"]', "in both allow and deny"),
        ('[[protocols]]\nkind = "lending"\nname = "breakers"\nprovider = "0x' + "11" * 20 + '"', "named 'breakers'"),
        ('[breakers]\ndeny = ["mian"]', "names the protocol 'mian'; there are main"),
        ('[breakers]\nmax_price_deviation = "0.00001"', "more than 4 digits"),
        ('[[submitters]]\nkind = "bundles"', "did you mean 'bundle'?"),
        ('[[submitters]]\nkind = "private"\nurl = "ftp://relay.example"', "scheme 'ftp'"),
        ('[[submitters]]\nkind = "public"\nname = "a"\n[[submitters]]\nkind = "public"\nname = "a"', "used 2 times"),
    ],
)
def test_limits_and_routes_that_make_no_sense_are_refused(tmp_path: Path, addition: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load(tmp_path, MINIMAL + addition)


def test_limits_arrive_in_wei_and_shares_in_basis_points(tmp_path: Path) -> None:
    breakers = load(tmp_path, MINIMAL + '[breakers]\ngas_per_day = "0.5"\nshortfall = "0.25"').breakers
    assert (breakers.gas_per_day_wei, breakers.shortfall_bps) == (5 * 10**17, 2_500)


def test_a_relay_identity_is_a_secret_and_never_the_wallets_key(tmp_path: Path) -> None:
    """The identity signs requests; the key that moves money signs transactions only."""
    live = MINIMAL + '[executor]\nmode = "live"\nprivate_key = "env:KEEPER_PRIVATE_KEY"\n'
    relay = '[[submitters]]\nkind = "bundle"\nurl = "https://relay.example/a-token-of-ours"\nidentity = "{}"'
    with pytest.raises(ConfigError, match="has the wallet's key as identity") as caught:
        load(tmp_path, live + relay.format("env:KEEPER_PRIVATE_KEY"))
    assert KEY not in str(caught.value)
    config = load(tmp_path, live + relay.format("0x" + "6f" * 32))
    assert {"0x" + "6f" * 32, "https://relay.example/a-token-of-ours"} <= {one.reveal() for one in config.secrets()}


def test_every_endpoint_of_a_list_is_a_secret(tmp_path: Path) -> None:
    urls = '[[submitters]]\nkind = "rpcs"\nurls = ["https://a.example/first-token", "https://b.example/second-token"]'
    revealed = {one.reveal() for one in load(tmp_path, MINIMAL + urls).secrets()}
    assert {"https://a.example/first-token", "https://b.example/second-token"} <= revealed


def test_a_file_that_cannot_be_read_or_parsed_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.toml: there is no such file; .*--config.*configs/.*keeper devnet"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); give the right path with --config"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"no valid TOML: .*line 1"):
        load(tmp_path, "chain = [,")
    (tmp_path / "keeper.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load_config(tmp_path / "keeper.toml")


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_shows_nowhere() -> None:
    """Neither printed, formatted, serialized nor in an exception; only when asked by name."""
    secret = Secret(KEY)
    error = ValueError(secret)
    shown = [str(secret), repr(secret), f"{secret} {secret:>10} {secret!r}", repr([secret]), str(error), repr(error)]
    shown += [repr(pickle.dumps(secret)), str(copy.deepcopy({"key": secret}))]
    assert not [text for text in shown if "5e5e" in text]
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert secret.reveal() == KEY
    assert secret == Secret(KEY) != Secret("other")


def test_every_secret_is_known_in_whatever_table_it_stands(tmp_path: Path) -> None:
    """Of these the log is kept clean: one that is missing here would only be hidden as long as nobody copies it."""
    texts = ["https://beat.example/of-our-own-uuid", "https://beat.example/of-our-own-uuid/fail", "w3b-t0ken-" * 4]
    tables = '[heartbeat]\nurl = "{}"\nfailure_url = "{}"\n[web]\ntoken = "{}"\n'.format(*texts)
    config = load(tmp_path, MINIMAL + tables)
    assert set(texts) <= {secret.reveal() for secret in config.secrets()}
    shown = config.model_dump_json()
    assert not [text for text in texts if text in shown]


def test_a_configuration_shows_no_secret(tmp_path: Path) -> None:
    text = MINIMAL + '[executor]\nmode = "live"\nprivate_key = "env:KEEPER_PRIVATE_KEY"\n'
    config = load(tmp_path, text)
    for shown in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())):
        assert "5e5e" not in shown
        assert "token-nobody-may-see" not in shown
    assert {secret.reveal() for secret in config.secrets()} >= set(ENVIRONMENT.values())


@pytest.mark.parametrize(
    "place",
    [
        "private_key = {}",
        "confirmations = {}",
        "min_profit = {}",
        "min_profit = '{}'",
        "account = '{}'",
        "account = {}",
        "keystore = '{}'",
        "mode = '{}'",
        "[[notifiers]]\nkind = '{}'",
        "[[notifiers]]\nkind = 'console'\nname = '{}'",
        "[[notifiers]]\nkind = 'webhook'\nurl = '{}'",
    ],
)
def test_no_complaint_repeats_a_key_even_in_the_wrong_place(tmp_path: Path, place: str) -> None:
    """Not even one pasted as a bare number, or where an address belongs."""
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, f"{MINIMAL}[executor]\n{place.format(KEY)}\n")
    told = "".join(traceback.format_exception(refused.value))
    assert KEY not in told
    assert str(int(KEY, 16)) not in told
