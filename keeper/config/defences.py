"""`[defences]` and `[heartbeat]`: what is held against nodes that lie, and who notices when Keeper itself is gone."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator

from keeper.config.table import Table
from keeper.config.types import WEB_SCHEMES, Bps, Written, url_of
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
    yield_minutes: float = Field(
        10.0,
        ge=0,
        le=10_080,
        description="After a transaction from our wallet that is not ours nothing new is sent for this long: of two "
        "that share a key, the one that sent first goes on, and the other stands by. `keeper resume` ends it.",
    )
    second_opinion: bool = Field(
        True,
        description="With several endpoints, another one is asked about positions about to be acted on, at the moment "
        "at which the first one simulates, and about those whose owners are about to hear; and blocks that touched "
        "what is tracked are compared afterwards.",
    )
    prove_logs: bool = Field(
        True,
        description="Where no other endpoint is asked, the logs of blocks that may have touched what is tracked are "
        "held against the block's receipts, all of them (`eth_getBlockReceipts`, one request beside the head path), "
        "whose root the header names; and what the contract says of whom a block calls is asked before the owner "
        "hears. Off spares these requests, on metered plans.",
    )
    second_opinion_ms: int = Field(
        500, ge=1, le=60_000, description="How long it may take to say; later it has no say, and Keeper acts, or tells."
    )
    hold_blocks: int = Field(
        3,
        ge=0,
        le=1_000_000,
        description="For how many blocks in a row a contradiction that nothing decides holds a position back. Then its "
        "owner is told, and it is acted on: what is not open to liquidation the chain refuses, at the cost of gas. "
        "With three endpoints the odd one out has lied, and nothing is held.",
    )
    max_price_jump_bps: Bps | None = Field(
        10_000,
        alias="max_price_jump",
        description="A price of what a plan repays or seizes that moved by more than this share of the lower value "
        "since the block before is first confirmed: by another endpoint, or by the next block.",
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
