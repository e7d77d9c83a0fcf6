"""The rule by which positions are called, from configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keeper.config.margin_calls import MarginCalls
from keeper.core.units import WAD, format_units
from keeper.evaluator.bands import BandRules

if TYPE_CHECKING:
    from keeper.evaluator.adaptive import Adaptive


def rule_of(margin: MarginCalls) -> BandRules | Adaptive:
    if margin.by_health:
        return BandRules(margin.watch_wad, margin.call_wad, margin.urgent_wad, margin.hysteresis_wad, margin.target_wad)
    from keeper.evaluator.adaptive import Adaptive

    table, call_wad = margin.volatility, margin.call_by_health_wad
    return Adaptive(
        probability=table.probability,
        horizon_s=_seconds(table.horizon_hours),
        memories_s=tuple(_seconds(hours) for hours in table.memories_hours),
        call=None if call_wad is None else call_wad / WAD,
        quiet_sigmas=table.quiet_sigmas,
        quiet_year=table.quiet_year,
        widest=table.widest_wad / WAD,
        prior_year=table.prior_year,
        prior_pegged_year=table.prior_pegged_year,
        prior_s=_seconds(table.prior_hours),
        parkinson=table.estimator == "parkinson",
    )


def settings_of(margin: MarginCalls) -> dict[str, Any]:
    """The same for people and scripts, under the names of the configuration."""
    if margin.by_health:
        lines = {name: format_units(getattr(margin, f"{name}_wad"), 18) for name in _LINES}
        return {"by": "health", **lines}
    call_wad = margin.call_by_health_wad
    table = margin.volatility
    return {
        "by": "probability" if call_wad is None else "both",
        "call": None if call_wad is None else format_units(call_wad, 18),
        "volatility": {
            name.removesuffix("_wad"): format_units(value, 18) if name.endswith("_wad") else value
            for name, value in ((name, getattr(table, name)) for name in type(table).model_fields)
        },
    }


_LINES = ("watch", "call", "urgent", "hysteresis", "target")


def _seconds(hours: float) -> int:
    return round(hours * 3600)
