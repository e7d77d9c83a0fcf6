"""Perpetual Protocol v2 ("Curie"): cross-margined perpetuals, exact to the last wei.

options     configuration keys
abi         selectors and topics
state       Market and Account, and their stored form
reading     the clearing house's parts; quotes of every block
logs        what events say; track: blocks and snapshots
margin      account value and requirement at one moment
health      judging, and the weights of the screen; demand: cures and breach prices; liquidate: plans
stress      rehearsals on a fork; errors: reverts in words
adapter     all of it as a ProtocolAdapter
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from keeper.core.errors import ConfigError
from keeper.protocols.perp_v2.adapter import PerpV2
from keeper.protocols.perp_v2.options import Options


def build(config: Mapping[str, Any]) -> PerpV2:
    """An adapter from a validated table: `Options` and the common `name` and `start_block`. Raises ConfigError."""
    house = config.get("clearing_house")
    if not isinstance(house, bytes) or len(house) != 20:
        raise ConfigError(f"clearing_house is {house!r}; give its address of 20 bytes")
    most, exit_cost = config.get("max_inherited_usd", Decimal(0)), config.get("exit_cost_bps", 30)
    if most < 0:
        raise ConfigError(f"max_inherited_usd is {most}; give 0, or the most dollars of a position to take over")
    if not 0 <= exit_cost < 10_000:
        raise ConfigError(f"exit_cost_bps is {exit_cost}; give hundredths of a percent from 0 to 9999")
    token, feed = config.get("native_token", b""), config.get("native_feed", b"")
    if bool(token) != bool(feed):
        raise ConfigError("native_token and native_feed go together: give both, or neither")
    return PerpV2(config["name"], config["start_block"], Options(house, token, feed, most, exit_cost))


__all__ = ["Options", "PerpV2", "build"]
