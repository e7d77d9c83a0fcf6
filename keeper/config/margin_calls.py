"""`[margin_calls]`: the lines at which owners are called, written or drawn from volatility."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from keeper.config.table import Table
from keeper.config.types import Address, Problem, Wad, at_least_one
from keeper.core.units import format_units

WAD_ONE = 10**18
_LINES = ("watch_wad", "call_wad", "urgent_wad", "hysteresis_wad", "target_wad")


class VolatilityRule(Table):
    """How lines follow the volatility of a position's own health (docs/volatility.md); of no effect by health alone."""

    probability: float = Field(
        0.08, gt=0, lt=1, description="Call a position that breaches within the horizon more likely than this."
    )
    horizon_hours: float = Field(84.0, gt=0, le=8_760, description="The horizon of that probability.")
    memories_hours: Annotated[tuple[float, ...], AfterValidator(at_least_one)] = Field(
        (48.0, 240.0), description="Half-lives of what was observed; the memory that sees the most counts."
    )
    estimator: Literal["close", "parkinson"] = Field(
        "close", description='Variances from four-hour returns (`"close"`) or from the range of prices (`"parkinson"`).'
    )
    quiet_sigmas: float = Field(
        8.0, gt=0, le=100, description="A line by health is no farther than this many daily standard deviations."
    )
    quiet_year: float = Field(
        0.2, gt=0, le=100, description="Yearly volatility below which it is in proportion fewer of them: a peg."
    )
    widest_wad: Wad = Field(1_284_000_000_000_000_000, alias="widest", description="No line lies above this health.")
    prior_year: float = Field(0.6, gt=0, le=100, description="Yearly volatility presumed before prices are known.")
    prior_pegged_year: float = Field(
        0.05, gt=0, le=100, description="The same for assets presumed to be worth the same, by price or by name."
    )
    prior_hours: float = Field(
        24.0, gt=0, le=8_760, description="What that presumption weighs, as if observed so long."
    )

    @field_validator("memories_hours")
    @classmethod
    def _of_some_length(cls, memories: tuple[float, ...]) -> tuple[float, ...]:
        if not all(1 <= hours <= 8_760 for hours in memories) or list(memories) != sorted(memories):
            raise Problem("memories must rise and lie between 1 and 8760 hours")
        return memories

    @field_validator("widest_wad")
    @classmethod
    def _above_one(cls, widest_wad: int) -> int:
        if not WAD_ONE * 101 // 100 <= widest_wad <= 4 * WAD_ONE:
            raise Problem("widest must be a health from 1.01 to 4")
        return widest_wad


class MarginCalls(Table):
    """When owners are called; see docs/volatility.md. Lines that are written hold for every position; without any, the
    call follows the volatility of each, and the other lines follow the call."""

    by: Literal["auto", "health", "probability", "both"] = Field(
        "auto",
        description="Call by `health`, by the `probability` to breach, or by `both`, whichever is deeper. "
        "`auto`: by health if any line is written, else by both.",
    )
    watch_wad: Wad = Field(1_250_000_000_000_000_000, alias="watch", description="Below: judged exactly every block.")
    call_wad: Wad = Field(
        1_100_000_000_000_000_000,
        alias="call",
        description='Below: an episode opens, a notice is sent. By both: `"1.09"` unless written.',
    )
    urgent_wad: Wad = Field(1_030_000_000_000_000_000, alias="urgent", description="Below: one more, urgent notice.")
    hysteresis_wad: Wad = Field(
        20_000_000_000_000_000,
        alias="hysteresis",
        description="How far above a line health must rise to leave its band.",
    )
    target_wad: Wad = Field(1_250_000_000_000_000_000, alias="target", description="The health that a cure restores.")
    volatility: VolatilityRule = VolatilityRule.model_validate({})
    accounts: tuple[Address, ...] = Field((), description="Only these accounts; empty means every account.")

    @model_validator(mode="after")
    def _ordered(self) -> MarginCalls:
        if not WAD_ONE < self.urgent_wad < self.call_wad <= self.watch_wad:
            raise Problem(
                "the lines must be ordered 1 < urgent < call <= watch; "
                f"change the one that is out of order: {self._said('urgent', 'call', 'watch')}"
            )
        if self.hysteresis_wad == 0:
            raise Problem("hysteresis is 0: every tremble of a price on a line would be told; set at least 0.01")
        if self.target_wad < self.call_wad + self.hysteresis_wad:
            raise Problem(
                "target is below call + hysteresis: a cure would not end the episode; "
                f"raise target: {self._said('target', 'call', 'hysteresis')}"
            )
        follows = sorted(self._written - {"call_wad"} if self.by == "both" else self._written)
        if self.by in ("probability", "both") and follows:
            names = ", ".join(name.removesuffix("_wad") for name in follows)
            raise Problem(f'by = "{self.by}" draws {names} from the volatility; remove the key, or set by = "health"')
        if "volatility" in self.model_fields_set and self.by_health:
            raise Problem('lines by health do not follow the volatility; set by = "both", or remove its table')
        return self

    def _said(self, *names: str) -> str:
        """Lines with their values, and whether they were written."""
        texts = {name: format_units(getattr(self, f"{name}_wad"), 18) for name in names}
        return ", ".join(
            f"{name} is {text}" + ("" if f"{name}_wad" in self._written else " by default")
            for name, text in texts.items()
        )

    @property
    def _written(self) -> set[str]:
        return self.model_fields_set & set(_LINES)

    @property
    def by_health(self) -> bool:
        return self.by == "health" or (self.by == "auto" and bool(self._written))

    @property
    def call_by_health_wad(self) -> int | None:
        """The call line by health, where volatility has a say as well; None when it alone decides."""
        if self.by == "probability":
            return None
        return self.call_wad if "call_wad" in self.model_fields_set else 1_090_000_000_000_000_000
