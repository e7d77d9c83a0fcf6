"""Keep what is seized: our contract sells only what it takes to repay, and keeps the rest.

What is kept must be sold some day: a haircut on its oracle price says what that may cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keeper.core.errors import ConfigError
from keeper.core.units import BPS


@dataclass(frozen=True)
class Options:
    """The keys of a `[[venues]]` table of kind "keep"."""

    haircut_bps: int = field(
        default=0, metadata={"doc": "What of the value of kept collateral is not counted, in hundredths of a percent."}
    )


@dataclass(frozen=True, slots=True)
class Keep:
    haircut_bps: int


def build(config: Mapping[str, Any]) -> Keep:
    """Raises ConfigError for a haircut that is none."""
    haircut_bps = config.get("haircut_bps", 0)
    if not 0 <= haircut_bps < BPS:
        raise ConfigError(f"venue keep: haircut_bps is {haircut_bps}; it must be at least 0 and below {BPS}")
    return Keep(haircut_bps)
