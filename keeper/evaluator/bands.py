"""Margin bands: how near a health factor is to liquidation. Exact integers only."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.errors import ConfigError
from keeper.core.types import Band, Health
from keeper.core.units import WAD, format_units


@dataclass(frozen=True, slots=True)
class BandRules:
    """Thresholds as health factors scaled by 1e18.

    A band is entered the moment health is below its threshold, and left upward only at threshold + hysteresis, so that
    a price that trembles on a line moves nothing. The deepest band is the protocol's own word: its `liquidatable` flag.
    Raises ConfigError unless watch >= call > urgent > 1, hysteresis > 0 and target >= call + hysteresis.
    """

    watch_wad: int
    call_wad: int
    urgent_wad: int
    hysteresis_wad: int
    target_wad: int

    def __post_init__(self) -> None:
        watch, call, urgent = _text(self.watch_wad), _text(self.call_wad), _text(self.urgent_wad)
        if not self.watch_wad >= self.call_wad > self.urgent_wad > WAD:
            raise ConfigError(
                f"margin_calls: watch {watch}, call {call} and urgent {urgent} must fall in this order and stay above 1"
            )
        if self.hysteresis_wad <= 0:
            raise ConfigError(
                f"margin_calls: hysteresis {_text(self.hysteresis_wad)} must be above 0, "
                "or every tremble of a price would be told"
            )
        if self.target_wad < self.call_wad + self.hysteresis_wad:
            raise ConfigError(
                f"margin_calls: target {_text(self.target_wad)} must be at least call + hysteresis "
                f"{_text(self.call_wad + self.hysteresis_wad)}, or a cure would not end the call"
            )

    @property
    def closes_wad(self) -> int:
        """Health at or above which an open episode is cured: the target band, [target - hysteresis, ...).

        Not the target itself: a demand restores exactly the target at the block it was computed for, and by the time
        the owner's transaction is mined interest and a small price move have taken a little of it. Never below
        call + hysteresis, where the call band itself is left.
        """
        return max(self.call_wad + self.hysteresis_wad, self.target_wad - self.hysteresis_wad)

    def enters_below_wad(self, band: Band) -> int:
        """The threshold under which a band begins; for LIQUIDATABLE the nominal 1, the protocol's flag decides."""
        return {
            Band.WATCH: self.watch_wad,
            Band.CALL: self.call_wad,
            Band.URGENT: self.urgent_wad,
            Band.LIQUIDATABLE: WAD,
        }[band]

    def leaves_at_wad(self, band: Band) -> int:
        """The health at which a band of an open episode is left upward."""
        return self.enters_below_wad(band) + self.hysteresis_wad

    def band(self, health: Health) -> Band | None:
        """The band of a health by itself, without memory; None when an asset has no usable price: nobody knows."""
        if health.unpriced_assets:
            return None
        if health.liquidatable:
            return Band.LIQUIDATABLE
        factor = health.factor_wad
        if factor is None or factor >= self.watch_wad:
            return Band.SAFE
        if factor < self.urgent_wad:
            return Band.URGENT
        return Band.CALL if factor < self.call_wad else Band.WATCH

    def held(self, present: Band | None, health: Health) -> Band | None:
        """The band of a position whose open episode stood in `present` (None: no open episode, so no memory).

        Deeper at once; upward only past the hysteresis. An open episode is watched however high its health, so its
        band is never SAFE. With an unpriced asset the band stays what it was.
        """
        plain = self.band(health)
        if present is None or plain is None:
            return plain if present is None else present
        factor = health.factor_wad
        for band in (Band.LIQUIDATABLE, Band.URGENT, Band.CALL):
            if band == plain or (band <= present and factor is not None and factor < self.leaves_at_wad(band)):
                return band
        return Band.WATCH


def _text(wad: int) -> str:
    return format_units(wad, 18)
