"""Our own Solidity for the dev chain, and its artifacts."""

from __future__ import annotations

from importlib.resources import as_file, files

from keeper.devnet.solc import Artifact, compile_sources

_SOURCES = ("PriceFeed.sol", "TestToken.sol")


def own_artifacts() -> dict[str, Artifact]:
    """PriceFeed, TestToken and WrappedEther, compiled or from the cache."""
    with as_file(files(__name__)) as directory:
        return compile_sources("devnet", [f"devnet/{source}" for source in _SOURCES], {"devnet/": directory})
