"""`[breakers]`: when to stop sending transactions until somebody has looked."""

from __future__ import annotations

from pydantic import Field, model_validator

from keeper.config.table import Table
from keeper.config.types import Bps, NewPath, Problem, Wad


class Breakers(Table):
    """A limit that is absent does not apply."""

    gas_per_hour_wei: Wad | None = Field(
        None,
        alias="gas_per_hour",
        description="Most native coin spent on gas within an hour. What has no room, be it a new transaction or a "
        "higher price for one that waits, is not sent. A cancellation is, at 21,000 gas (on rollups, and their data "
        "fee).",
    )
    gas_per_day_wei: Wad | None = Field(None, alias="gas_per_day", description="The same within 24 hours.")
    loss_per_hour_wad: Wad | None = Field(
        None,
        alias="loss_per_hour",
        description="Most lost within an hour, in the protocol's base currency: liquidations below zero, and gas of "
        "transactions that brought nothing. Gains are not set against it.",
    )
    loss_per_day_wad: Wad | None = Field(None, alias="loss_per_day", description="The same within 24 hours.")
    max_failures: int | None = Field(
        10,
        ge=1,
        le=10_000,
        description="Liquidations in a row that were mined and reverted, not counting lost races.",
    )
    max_lost_races: int | None = Field(
        100,
        ge=1,
        le=10_000,
        description="Liquidations in a row that were mined and reverted because somebody else, or a price, was faster: "
        "on the state before its block each would have succeeded.",
    )
    min_balance_wei: Wad | None = Field(
        None, alias="min_balance", description="Least native coin that the wallet must hold."
    )
    max_shortfalls: int | None = Field(
        5,
        ge=1,
        le=10_000,
        description="Liquidations in a row that brought less than planned by more than `shortfall`, not counting what "
        "moving prices and competitors took.",
    )
    shortfall_bps: Bps = Field(5_000, alias="shortfall", description="Share of the planned profit that may be missing.")
    max_price_deviation_bps: Bps | None = Field(
        None,
        alias="max_price_deviation",
        description="Most by which the price that a plan sells its collateral at may differ from the protocol's; such "
        "a plan is skipped. It applies to plans that sell what they seize.",
    )
    allow: tuple[str, ...] = Field((), description="Act only on these protocols, by name; empty means all.")
    deny: tuple[str, ...] = Field((), description="Never act on these protocols, by name.")
    pause_file: NewPath | None = Field(
        None,
        description="While this file exists nothing new is sent. By default the SQLite database's path, or this "
        "file's, with `.pause` added.",
    )

    @model_validator(mode="after")
    def _meaningful(self) -> Breakers:
        if self.shortfall_bps == 0:
            raise Problem('shortfall is 0: any difference would count; set a share such as "0.50"')
        if both := sorted(set(self.allow) & set(self.deny)):
            raise Problem(f"{both[0]!r} is in both allow and deny; keep one")
        for hour, day, name in (
            (self.gas_per_hour_wei, self.gas_per_day_wei, "gas"),
            (self.loss_per_hour_wad, self.loss_per_day_wad, "loss"),
        ):
            if hour is not None and day is not None and hour > day:
                raise Problem(f"{name}_per_hour is above {name}_per_day and could never trip; lower it")
        return self
