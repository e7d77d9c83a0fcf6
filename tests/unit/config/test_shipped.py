"""The configurations that ship: each runs given nothing but an RPC URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper.config.load import check_tables, load_config, read_tables
from keeper.config.table import plugin
from keeper.config.types import Origin
from keeper.rehearsal.means import planner_of
from keeper.wire import House, plans

FOLDER = Path(__file__).parents[3] / "configs"
FILES = sorted(FOLDER.glob("*.toml"))
KINDS = {
    "base": ["aave_v3", "morpho_blue"],
    "bnb": ["venus"] * 5,
    "ethereum": ["aave_v3", "morpho_blue"],
    "optimism": ["perp_v2"],
}
CHAINS = {"arbitrum": 42161, "base": 8453, "bnb": 56, "ethereum": 1, "optimism": 10}
ADDRESSES = {
    "aave_v3": "pool_addresses_provider",
    "morpho_blue": "morpho",
    "perp_v2": "clearing_house",
    "venus": "comptroller",
}
UNISWAP = ("1f98431c8ad98523631ae4a59f267346ea31f984", "61ffe014ba17989e743c5f6cb21bf9697530b21e")
EXCHANGES = {
    "arbitrum": (*UNISWAP, "e592427a0aece92de3edee1f18e0157c05861564"),
    "base": (
        "33128a8fc17869897dce68ed026d694621f6fdfd",
        "3d4e44eb1374240ce5f1b871ab261cd16335b76a",
        "2626664c2603336e57b271c5c0b26f421741e481",
    ),
    "bnb": (
        "db1d10011ad0ff90774d0c6bb92e5c5c8b4461f7",
        "78d78e420da98ad378d7799be8f4af69033eb077",
        "b971ef87ede563556b2ed4b1c0b0019111dd85d2",
    ),
    "ethereum": (*UNISWAP, "e592427a0aece92de3edee1f18e0157c05861564"),
    "optimism": (*UNISWAP, "e592427a0aece92de3edee1f18e0157c05861564"),
}
"""Factory, QuoterV2 and router of Uniswap v3. Base and BNB Chain have no SwapRouter, but SwapRouter02. Sources, which
agree: docs.uniswap.org (v3, deployments of each chain), @uniswap/sdk-core 7.19.4 (src/addresses.ts)."""

LENDERS = {
    "arbitrum": {"aave_v3": "794a61358d6845594f94dc1db02a252b5b4814ad"},
    "base": {
        "morpho": "bbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb",
        "aave_v3": "a238dd80c259a72e81d7e4664a9801593f98d1c5",
    },
    "bnb": {"aave_v3": "6807dc923806fe8fd134338eabca509979a7e0cb"},
    "ethereum": {
        "morpho": "bbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb",
        "aave_v3": "87870bca3f3fd6335c3f4ce8392d69350b4fa4e2",
    },
    "optimism": {"aave_v3": "794a61358d6845594f94dc1db02a252b5b4814ad"},
}
"""Whom our contract borrows of, in this order. Source of the pools: @bgd-labs/aave-address-book 4.44.22 (src)."""


def test_the_chains_we_promise_are_there() -> None:
    assert [file.stem for file in FILES] == sorted(CHAINS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_configuration_needs_only_an_rpc_url_and_cannot_transact(file: Path) -> None:
    """Checksums of its addresses included."""
    config = load_config(file, environment={"KEEPER_RPC_URL": "wss://node.example"})
    assert config.chain.id == CHAINS[file.stem]
    assert config.executor.mode == "off"
    assert config.chain.wrapped_native is not None
    assert config.store.url.reveal() == f"sqlite:///{FOLDER}/var/{file.stem}.db"
    assert [one.kind for one in config.protocols] == KINDS.get(file.stem, ["aave_v3"])
    for one in config.protocols:
        assert one.settings["start_block"] > 0
        adapter = plugin("keeper.protocols", one.kind).build(one.settings)
        assert (adapter.name, adapter.start_block) == (one.name, one.settings["start_block"])
        assert ADDRESSES[one.kind] in adapter.addresses()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("mode", ["off", "dry_run"])
def test_a_shipped_configuration_can_be_rehearsed_as_it_is(file: Path, mode: str) -> None:
    """It says where to sell and of whom to borrow, whatever the mode; a dry run or a wallet without our contract has no
    use for them, and does not mind."""
    environment = {"KEEPER_RPC_URL": "wss://node.example"}
    tables = read_tables(file)
    tables["executor"] |= {"mode": mode, "account": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"}
    config = check_tables(tables, Origin(file.parent, environment), str(file))
    (exchange,) = config.venues
    assert exchange.kind == "uniswap_v3"
    settings = exchange.settings
    found = tuple(settings[name].hex() for name in ("factory", "quoter", "router"))
    assert found == EXCHANGES[file.stem]
    assert settings["router02"] is (file.stem in ("base", "bnb"))
    assert config.chain.wrapped_native in settings["intermediates"]
    lenders = {one.kind: one.settings["morpho" if one.kind == "morpho" else "pool"].hex() for one in config.funding}
    assert list(lenders.items()) == list(LENDERS[file.stem].items())
    planner = planner_of(House(file, config))
    assert (len(planner.venues), len(planner.fundings)) == (1, len(lenders))
    assert plans.planner(config) is None
