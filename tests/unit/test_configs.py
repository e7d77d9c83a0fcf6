"""The configurations that ship: each runs given nothing but an RPC URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper.config import load_config
from keeper.configtable import plugin

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(FOLDER.glob("*.toml"))
CHAINS = {"arbitrum": 42161, "base": 8453, "ethereum": 1}


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
    (aave,) = config.protocols
    assert aave.settings["start_block"] > 0
    adapter = plugin("keeper.protocols", aave.kind).build(aave.settings)
    assert (adapter.name, adapter.start_block) == ("aave", aave.settings["start_block"])
