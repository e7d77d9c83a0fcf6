"""What a configuration file may say about Perpetual Protocol v2."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True)
class Options:
    """The keys of a `[[protocols]]` table of kind "perp_v2", beside the common ones."""

    clearing_house: bytes = field(
        metadata={"doc": "The ClearingHouse; its vault, markets and rules are discovered from it."}
    )
    native_token: bytes = field(
        default=b"", metadata={"doc": "The wrapped native coin, as `chain.wrapped_native`: its price values gas."}
    )
    native_feed: bytes = field(default=b"", metadata={"doc": "Chainlink-style feed of its price in dollars."})
    max_inherited_usd: Decimal = field(
        default=Decimal(0),
        metadata={
            "doc": "A liquidation leaves its liquidator with the position: the largest that may be taken over at once, "
            "in dollars. 0: none is liquidated."
        },
    )
    exit_cost_bps: int = field(
        default=30,
        metadata={
            "doc": "What leaving such a position costs, trading fee and price impact, in hundredths of a percent of "
            "its value; counted against the profit."
        },
    )
