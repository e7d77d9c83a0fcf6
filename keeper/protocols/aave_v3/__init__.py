"""Aave v3, from v3.0 to v3.7, exact to the last wei.

options     configuration keys
abi         selectors, topics, words
arithmetic  wads, rays, percentages, interest
rules       which arithmetic a pool uses, told by its own answers
state       Market and Account, and their stored form
discover    reading parameters; prices: the head calls; logs: what events say; track: blocks and snapshots
sheet       a position's balance sheet at one moment
health      judging, and the weights of the screen; demand: cures and breach prices; liquidate: plans
stress      what a rehearsal on a fork changes
errors      reverts in words
adapter     all of it as a ProtocolAdapter
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.errors import ConfigError
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.options import Options

PAGE = "https://app.aave.com/"


def build(config: Mapping[str, Any]) -> AaveV3:
    """An adapter from a validated table: `Options` and the common `name` and `start_block`. Raises ConfigError."""
    provider = config.get("pool_addresses_provider")
    if not isinstance(provider, bytes) or len(provider) != 20:
        raise ConfigError(f"pool_addresses_provider is {provider!r}; give the market's address of 20 bytes")
    options = Options(provider, config.get("heartbeats", {}), config.get("default_heartbeat_s"))
    return AaveV3(config["name"], config["start_block"], options)


__all__ = ["AaveV3", "Options", "build"]
