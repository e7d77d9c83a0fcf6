"""The configurations that ship: each runs given nothing but an RPC URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper.config.load import load_config
from keeper.config.table import plugin

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
