"""`[defences]` and `[heartbeat]`: what is held against nodes that lie, and who notices when Keeper itself is gone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator

from keeper.config.table import Table
from keeper.config.types import WEB_SCHEMES, Written, url_of
from keeper.core.secret import MASK, Secret

WebUrl = Annotated[
    Secret,
    PlainValidator(url_of(WEB_SCHEMES)),
    PlainSerializer(lambda _: MASK, return_type=str),
    Written("URL"),
]


class Defences(Table):
    """What Keeper does about endpoints that it cannot trust; see docs/defences.md."""

    quarantine_minutes: float = Field(
        1.0,
        gt=0,
        le=1440,
        description="How long an endpoint that was caught lying is asked nothing, the first time; each further lie "
        "doubles it, up to an hour. Then it has to prove itself.",
    )
    max_block_ahead_minutes: float = Field(
        15.0,
        ge=0,
        le=100_000_000,
        description="While a block's time is further ahead of this machine's clock, nothing new is sent: either the "
        "clock or the node is wrong. 0 turns this off, for chains whose time is set by hand.",
    )


class Heartbeat(Table):
    """A dead man's switch: an address that is asked for while Keeper watches, so that its silence is noticed."""

    url: WebUrl | None = Field(
        None,
        description="Asked for (GET) again and again while Keeper watches, such as a healthchecks.io ping address.",
    )
    every_s: float = Field(60.0, ge=1, le=86_400, description="How often.")
    failure_url: WebUrl | None = Field(
        None,
        description="Asked for instead while Keeper is blind (healthchecks.io: the same with /fail); absent: silence.",
    )
