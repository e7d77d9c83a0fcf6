"""Notices on chain: an event of our MarginCallBoard, which wallets follow and contracts can ask.

The transaction is the executor's: it owns the key and its nonces, journals what it signs, pays no more than it is
allowed, and posts again what a reorg took away if it is still true. The contract takes a notice once, whoever posts it.
Source: keeper/contracts/margin_call_board.vy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from eth_abi.abi import encode
from eth_hash.auto import keccak

from keeper.core.errors import ConfigError, NoticeDelayed, NoticeRefused
from keeper.core.ports import Poster
from keeper.core.records import Notice, NoticeEvent
from keeper.core.types import Band, Posting, TxCall
from keeper.core.units import UINT256_MAX

POST = bytes.fromhex("0f1b3b3e")  # post(bytes32,uint8,address,string,uint8,uint256,uint256,bytes32,(…)[])
ALREADY_POSTED = "already posted"
MAX_NAME = 160
MAX_DEMANDS = 16

EVENTS = {
    NoticeEvent.OPENED: 1,
    NoticeEvent.ESCALATED: 2,
    NoticeEvent.CURED: 3,
    NoticeEvent.LIQUIDATED: 4,
    NoticeEvent.REPAID: 5,
    NoticeEvent.WITHDRAWN: 6,
}
"""What can be posted, and as which number."""

_TYPES = (
    "bytes32",
    "uint8",
    "address",
    "string",
    "uint8",
    "uint256",
    "uint256",
    "bytes32",
    "(bool,address,uint256,uint256)[]",
)


@dataclass(frozen=True)
class Options:
    address: bytes = field(
        metadata={"doc": "The MarginCallBoard; its owner must have allowed the executor's wallet to post."}
    )
    gas_limit: int = field(default=400_000, metadata={"doc": "Most gas of one posting; what is not used is not paid."})
    max_posts_per_hour: int = field(default=30, metadata={"doc": "What exceeds this waits."})
    max_spend_per_day: Decimal = field(
        default=Decimal("0.02"), metadata={"doc": "Most native coin spent on gas in 24 hours; what exceeds it waits."}
    )


class BoardChannel:
    """Delivered means mined in a block as deep as `executor.confirmations`."""

    def __init__(self, name: str, address: bytes, gas_limit: int, min_band: Band) -> None:
        self.name = name
        self.min_band = min_band
        self._address = address
        self._gas_limit = gas_limit
        self._poster: Poster | None = None

    def connect(self, poster: Poster) -> None:
        """Whoever sends the transactions; without one nothing is ever posted."""
        self._poster = poster

    async def send(self, notice: Notice) -> None:
        if self._poster is None:
            raise NoticeDelayed(f"board {self.name}: nobody here may send transactions", perhaps_seen=False)
        call = TxCall(self._address, encode_post(notice))
        cause = f"notice:{self.name}:{notice.id}"
        await self._poster.post(
            Posting(cause, call, self._gas_limit, notice.position, notice.account, done_when=ALREADY_POSTED)
        )

    async def check(self) -> str:
        if self._gas_limit < 100_000:
            raise ConfigError(f"notifier {self.name}: gas_limit {self._gas_limit} is too low; give at least 100000")
        return f"posts to 0x{self._address.hex()}, with at most {self._gas_limit} gas each"

    async def close(self) -> None:
        """Nothing is held open."""


def encode_post(notice: Notice) -> bytes:
    """The call that posts a notice. Raises NoticeRefused for one that a board cannot carry."""
    if notice.event not in EVENTS:
        raise NoticeRefused(f"a board carries margin calls, not {notice.event.value}; leave it to other notifiers")
    if len(notice.position.encode()) > MAX_NAME:
        raise NoticeRefused(f"the position's name is longer than the {MAX_NAME} bytes that a board takes")
    health = notice.body.get("health_wad")
    values = (
        keccak(notice.id.encode()),
        EVENTS[notice.event],
        notice.account,
        notice.position,
        int(Band[notice.band.upper()]),
        _uint256(health),
        notice.block_number,
        notice.block_hash,
        [_demand(demand) for demand in notice.body.get("demands", ())[:MAX_DEMANDS]],
    )
    return POST + encode(_TYPES, values)


def _demand(demand: Mapping[str, Any]) -> tuple[bool, bytes, int, int]:
    asset = bytes.fromhex(str(demand["asset"]).removeprefix("0x"))
    resulting = demand.get("resulting_health_wad")
    return demand["action"] == "add_collateral", asset, int(demand["amount"]), _uint256(resulting)


def _uint256(text: str | None) -> int:
    """The largest number stands for no debt, whose health is beyond any; 0 also for less, as of a position that owes
    more than it has."""
    return UINT256_MAX if text is None else max(0, min(int(text), UINT256_MAX))


def build(config: Mapping[str, Any], name: str) -> BoardChannel:
    return BoardChannel(name, config["address"], config["gas_limit"], config["min_band"])
