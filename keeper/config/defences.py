"""`[defences]` and `[heartbeat]`: what is held against nodes that lie, and who notices when Keeper itself is gone."""

from __future__ import annotations

from pydantic import Field

from keeper.config.table import Table


class Defences(Table):
    """What Keeper does about endpoints that it cannot trust; see docs/defences.md."""

    quarantine_minutes: float = Field(
        1.0,
        gt=0,
        le=1440,
        description="How long an endpoint that was caught lying is asked nothing, the first time; each further lie "
        "doubles it, up to an hour. Then it has to prove itself.",
    )
