"""Venus isolated pools, exact to the last wei; and the rules of Compound v2 comptrollers where they differ.

The isolated pools are proven against the real contracts. Of Compound v2 only its recorded events are: what it computes
otherwise follows its source, and no Compound v2 has been run beside this. Venus' core pool, with VAI, is neither.

options     configuration keys
abi         selectors and topics
state       Market, VMarket and Account, and their stored form
reading     the pool and its markets; prices and rates of every block
logs        what events say; track: blocks and snapshots
interest    accrual and exchange rates
sheet       a position's balance sheet at one moment
health      judging, and the weights of the screen; demand: cures and breach prices; liquidate: plans
stress      rehearsals on a fork; errors: reverts in words
adapter     all of it as a ProtocolAdapter
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.errors import ConfigError
from keeper.protocols.venus.adapter import Venus
from keeper.protocols.venus.options import Options

PAGE = "https://app.venus.io/"


def build(config: Mapping[str, Any]) -> Venus:
    """An adapter from a validated table: `Options` and the common `name` and `start_block`. Raises ConfigError."""
    comptroller = config.get("comptroller")
    if not isinstance(comptroller, bytes) or len(comptroller) != 20:
        raise ConfigError(f"comptroller is {comptroller!r}; give the pool's address of 20 bytes")
    return Venus(config["name"], config["start_block"], Options(comptroller))


__all__ = ["Options", "Venus", "build"]
