"""The file that `keeper init` writes: every shipped chain, with what was chosen and the shipped comments."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.config.load import as_tuples, check_tables
from keeper.config.shipped import Shipped, shipped
from keeper.config.types import Origin
from keeper.initialize.draft import Draft, write_draft

ADA = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
ENVIRONMENT = {
    "KEEPER_RPC_URL": "wss://node.example",
    "KEEPER_NOTIFY_URL": "ntfy://topic",
    "KEEPER_PRIVATE_KEY": "0x" + "11" * 32,
}


def draft(of: Shipped, **chosen: object) -> str:
    fields = {
        "chain_name": of.name,
        "shipped": of.text,
        "command": "",
        "rpc": "env:KEEPER_RPC_URL",
        "protocols": frozenset(table["name"] for table in of.protocols),
    }
    return write_draft(Draft(**(fields | chosen)))  # type: ignore[arg-type]


@pytest.mark.parametrize("of", shipped().values(), ids=lambda one: one.name)
@pytest.mark.parametrize("mode", ["off", "dry_run", "live"])
def test_every_shipped_chain_gives_a_valid_file_in_every_mode(of: Shipped, mode: str) -> None:
    text = draft(
        of, mode=mode, accounts=[(ADA, "ada.eth")], notifiers=[{"kind": "apprise", "url": "env:KEEPER_NOTIFY_URL"}]
    )
    config = check_tables(as_tuples(tomllib.loads(text)), Origin(Path.cwd(), ENVIRONMENT), "draft")
    assert (config.chain.id, config.executor.mode) == (of.chain_id, mode)
    assert config.margin_calls.accounts == (bytes.fromhex(ADA[2:]),)
    assert [one.kind for one in config.notifiers] == ["console", "apprise"]
    assert [one.name for one in config.protocols] == [table["name"] for table in of.protocols]
    assert f'"{ADA}",  # ada.eth' in text
    protocols = of.text[of.text.index("[[protocols]]") : of.text.index("[margin_calls]")]
    assert all(comment in text for comment in re.findall("#.*", protocols))
    assert max(map(len, text.splitlines())) <= 140


def test_protocols_may_be_left_out_with_all_that_belongs_to_them() -> None:
    (of,) = (one for one in shipped().values() if one.chain_id == 1)
    tables = tomllib.loads(draft(of, protocols=frozenset({"aave"})))
    assert [table["name"] for table in tables["protocols"]] == ["aave"]
    assert "price_references" not in tables["protocols"][0]


def test_a_dry_run_needs_no_key_but_a_wallet() -> None:
    (of,) = (one for one in shipped().values() if one.chain_id == 1)
    tables = tomllib.loads(draft(of, mode="dry_run", wallet=ADA))
    assert (tables["executor"]["mode"], tables["executor"]["account"]) == ("dry_run", ADA)
    assert "private_key" not in tables["executor"]


@pytest.mark.parametrize(
    "held",
    [
        'private_key = "env:KEEPER_PRIVATE_KEY"',
        f'private_key = "0x{"5e" * 32}"',
        'keystore = "key.json"\npassword = "env:KEEPER_KEYSTORE_PASSWORD"',
        f'account = "0x{"ab" * 20}"',
    ],
)
def test_a_wallet_takes_the_place_of_the_key_of_the_source(held: str) -> None:
    """As --wallet is there for: no key is asked for, none is copied, and there is one account."""
    (of,) = (one for one in shipped().values() if one.chain_id == 1)
    source = replace(of, text=of.text.replace("[executor]\n", f"[executor]\n{held}\n", 1))
    text = draft(source, mode="dry_run", wallet=ADA)
    environment = {"KEEPER_RPC_URL": "wss://node.example"}
    executor = check_tables(as_tuples(tomllib.loads(text)), Origin(Path.cwd(), environment), "draft").executor
    assert (executor.account, executor.private_key, executor.keystore) == (bytes.fromhex(ADA[2:]), None, None)
    assert "5e5e" not in text
