"""`python -m keeper.devnet.prepare`: fetch and compile everything now, so that the first chain starts at once.

Instant when the cache has it all; about half a minute when it has nothing.
"""

from __future__ import annotations

import sys

from keeper.devnet import aave, balancer, morpho, npm, perp, uniswap, venus
from keeper.devnet.cache import cache_root
from keeper.devnet.contracts import balancer_artifacts, morpho_artifacts, own_artifacts, venus_artifacts


def prepare() -> None:
    """Raises DevnetError when something cannot be had."""
    _say(f"fetching pinned packages into {cache_root()}")
    npm.fetch(*npm.PROTOCOL_PACKAGES)
    npm.anvil_binary()
    _say("compiling Aave, Morpho and our test contracts")
    own_artifacts()
    balancer_artifacts()
    morpho_artifacts()
    venus_artifacts()
    aave.build()
    balancer.build()
    morpho.build()
    perp.build()
    uniswap.build()
    venus.build()


def _say(text: str) -> None:
    sys.stderr.write(f"devnet: {text}\n")


if __name__ == "__main__":
    prepare()
