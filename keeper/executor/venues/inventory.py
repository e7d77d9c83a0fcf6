"""The wallet pays with its own debt tokens, by the plain transaction of a liquidator without a contract.

It keeps what it seizes, which must be sold some day: a haircut on its oracle price says what that may cost, when such a
plan is compared with one that sells at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keeper.core.errors import ConfigError
from keeper.core.types import LiquidationPlan, Skip
from keeper.core.units import BPS, mul_div_up


@dataclass(frozen=True)
class Options:
    """The keys of a `[[venues]]` table of kind "inventory"."""

    haircut_bps: int = field(
        default=0, metadata={"doc": "What of the value of kept collateral is not counted, in hundredths of a percent."}
    )


@dataclass(frozen=True, slots=True)
class Inventory:
    haircut_bps: int

    def value(self, plan: LiquidationPlan, seized_base: int) -> LiquidationPlan | Skip:
        """The wallet's plan at what we believe in. seized_base: what is seized at the oracle's price, in base units."""
        profit = plan.profit_base - mul_div_up(seized_base, self.haircut_bps, BPS)
        if profit <= 0:
            detail = f"kept collateral counts {self.haircut_bps} bps less, which leaves {profit} base units before gas"
            return Skip("unprofitable", detail)
        return replace(plan, profit_base=profit, haircut_bps=self.haircut_bps)


def build(config: Mapping[str, Any]) -> Inventory:
    """Raises ConfigError for a haircut that is none."""
    haircut_bps = config.get("haircut_bps", 0)
    if not 0 <= haircut_bps < BPS:
        raise ConfigError(f"venue inventory: haircut_bps is {haircut_bps}; it must be at least 0 and below {BPS}")
    return Inventory(haircut_bps)
