"""Our own Solidity for the dev chain, and its artifacts."""

from __future__ import annotations

from importlib.resources import as_file, files

from keeper.devnet.solc import Artifact, compile_sources


def own_artifacts() -> dict[str, Artifact]:
    """PriceFeed, TestToken and WrappedEther, compiled or from the cache."""
    return _compiled("devnet", "PriceFeed.sol", "TestToken.sol")


def morpho_artifacts() -> dict[str, Artifact]:
    """Oracles and interest rate models, which Morpho markets need beside it."""
    return _compiled("devnet-morpho", "MorphoParts.sol", "MorphoPreLiquidation.sol")


def venus_artifacts() -> dict[str, Artifact]:
    """FeedPrices and SeizedShare, which a Venus pool needs beside it."""
    return _compiled("devnet-venus", "VenusParts.sol")


def balancer_artifacts() -> dict[str, Artifact]:
    """OpenAuthorizer, which lets anybody govern a Balancer vault."""
    return _compiled("devnet-balancer", "OpenAuthorizer.sol")


def _compiled(name: str, *sources: str) -> dict[str, Artifact]:
    with as_file(files(__name__)) as directory:
        return compile_sources(name, [f"devnet/{source}" for source in sources], {"devnet/": directory})
