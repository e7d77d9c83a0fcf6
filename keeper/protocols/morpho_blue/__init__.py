"""Morpho Blue, exact to the last wei: isolated markets, any interest rate model, any oracle.

options     configuration keys
abi         selectors, topics, two calls with structures
arithmetic  shares, interest, incentive; irm: the adaptive curve
state       Market (of which each isolated one is a Lending) and Position, and their stored form
prices      what is asked in every block; accrue: interest up to a moment
discover    reading markets; logs: what events say; track: blocks and snapshots
health      judging, and the weights of the screen; demand: cures and breach prices; liquidate: plans
offers      pre-liquidation contracts and their terms
confirm     the contract's own view; errors: reverts in words
adapter     all of it as a ProtocolAdapter
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.errors import ConfigError
from keeper.protocols.morpho_blue.adapter import MorphoBlue
from keeper.protocols.morpho_blue.options import Options

PAGE = "https://app.morpho.org/"


def build(config: Mapping[str, Any]) -> MorphoBlue:
    """An adapter from a validated table: `Options` and the common `name` and `start_block`. Raises ConfigError."""
    morpho = config.get("morpho")
    if not isinstance(morpho, bytes) or len(morpho) != 20:
        raise ConfigError(f"morpho is {morpho!r}; give the contract's address of 20 bytes")
    options = Options(
        morpho,
        config.get("markets", ()),
        config.get("price_references", {}),
        config.get("pre_liquidation_factory"),
    )
    return MorphoBlue(config["name"], config["start_block"], options)


__all__ = ["MorphoBlue", "Options", "build"]
