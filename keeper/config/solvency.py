"""How the solvency of protocols is watched."""

from __future__ import annotations

from pydantic import Field

from keeper.config.table import Table
from keeper.config.types import Wad


class Solvency(Table):
    """Losses of a protocol, present and as its positions stand, against its reserves; see `keeper solvency`."""

    min_coverage_wad: Wad | None = Field(
        None,
        alias="min_coverage",
        description='Reserves over losses below which channels are told, such as "1.0"; absent: nobody is.',
    )
    every_minutes: float = Field(15.0, gt=0, le=1440, description="How often all positions are added up.")
