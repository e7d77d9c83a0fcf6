"""What Keeper has told people and sent to chains: world facts, which a reorg never reverts, only reconciles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keeper.core.types import Block

MARKET_KEY = b""
"""Key of a protocol's one market, and of its one set of prices."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One version of something the chain said, keyed (protocol, kind, key, block number). payload None: it closed.

    kind: market | prices | position | volatility | episode.
    """

    protocol: str
    kind: str
    key: bytes
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block and everything it changed; the unit in which the store moves forward."""

    block: Block
    facts: tuple[Fact, ...]


# --- notices ----------------------------------------------------------------------------------------------------------


class NoticeEvent(StrEnum):
    OPENED = "opened"
    ESCALATED = "escalated"
    CURED = "cured"
    LIQUIDATED = "liquidated"
    REPAID = "repaid"
    WITHDRAWN = "withdrawn"
    TRIPPED = "tripped"  # of no position: a breaker stopped our transactions
    STALE_PRICE = "stale_price"  # of a feed: it is older than it may be, or gives no usable price
    PRICE_RECOVERED = "price_recovered"
    UNHEALTHY = "unhealthy"  # of Keeper itself: it cannot do what people rely on
    RECOVERED = "recovered"
    UNCOVERED = "uncovered"  # of a protocol: its reserves no longer cover its losses as they should
    COVERED = "covered"
    DIGEST = "digest"  # of a day
    TEST = "test"  # of nothing: that a channel works
    SUMMARY = "summary"  # of many positions: what a channel would have been told one by one

    @property
    def closes(self) -> bool:
        """Whether nothing is left standing: neither a call, nor something that is wrong."""
        return self not in (
            NoticeEvent.OPENED,
            NoticeEvent.ESCALATED,
            NoticeEvent.STALE_PRICE,
            NoticeEvent.UNHEALTHY,
            NoticeEvent.UNCOVERED,
        )

    @property
    def of_episode(self) -> bool:
        return self in (NoticeEvent.OPENED, NoticeEvent.ESCALATED) or self.ends_episode

    @property
    def ends_episode(self) -> bool:
        return self in (NoticeEvent.CURED, NoticeEvent.LIQUIDATED, NoticeEvent.REPAID, NoticeEvent.WITHDRAWN)

    @property
    def ends(self) -> bool:
        """Whether it is news only for those who heard of the beginning."""
        return self.ends_episode or self in (
            NoticeEvent.PRICE_RECOVERED,
            NoticeEvent.RECOVERED,
            NoticeEvent.COVERED,
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell, to every channel that wants it. `id` is the idempotency key: a retry repeats it and the body.

    position: "<protocol name>:<account>[:<market>]". block_hash: where it was judged.
    body: the JSON object of the webhook (interface.md), without the texts.
    text, markdown, html: the same said in three forms; the first line of each is the title. html is a fragment.
    """

    id: str
    position: str
    account: bytes
    protocol: str
    episode: str
    event: NoticeEvent
    band: str
    block_number: int
    block_hash: bytes
    body: Mapping[str, Any]
    text: str
    markdown: str
    title: str  # one line: the subject of a mail, the head of a push message
    html: str


def summaries_of(channel: str) -> str:
    """The `position` of a channel's summaries."""
    return f"summary:{channel}"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    HELD = "held"  # pending, but nobody shall be disturbed before it is due: quiet hours, or an escalation's patience
    SENDING = (
        "sending"  # stored before the attempt: after a crash nobody can know, so it counts as told and is sent again
    )
    SENT = "sent"
    DROPPED = "dropped"  # nobody was told and nobody need be: orphaned, over, or acknowledged; `error` says which
    DEAD = "dead"  # given up, until somebody asks for another attempt
    UNWANTED = "unwanted"  # of no channel, and not among deliveries: it counts as told, so that it is not due again


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice on one channel. Times are unix seconds.

    created_at: when it came into the outbox. carrier: the id of the summary that tells it, if one does; its status is
    then that summary's.
    """

    notice: Notice
    channel: str
    status: DeliveryStatus
    attempts: int = 0
    due_at: float = 0.0
    sent_at: float | None = None
    error: str | None = None
    created_at: float = 0.0
    carrier: str | None = None


LONGEST_RETRY_AFTER_S = 600.0
"""A receiver that asks for more patience is asked again after this."""

LONGEST_WAIT_S = LONGEST_RETRY_AFTER_S + 60.0
"""No delivery that is not HELD is made to wait longer for another attempt: one that is due later was put off before the
clock was set back."""


@dataclass(frozen=True, slots=True)
class Messages:
    """What a channel was sent in a span of time: how many, and when the oldest of them.

    in_the_air: how many may have been sent, and are not settled, by the number of attempts so far.
    """

    sent: int
    oldest: float | None
    in_the_air: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class OldNotice:
    """Where an old notice stands: seq of one of its deliveries, and whether all of them are settled."""

    seq: int
    id: str
    position: str
    episode: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What the last notice that was, or may have been, delivered said about a position."""

    position: str
    episode: str
    event: NoticeEvent
    band: str
    block_number: int
    block_hash: bytes


# --- transactions -----------------------------------------------------------------------------------------------------


class IntentStatus(StrEnum):
    PLANNED = "planned"  # journalled with its signed transaction, not yet known to have left
    BROADCAST = "broadcast"
    INCLUDED = "included"
    CONFIRMED = "confirmed"
    FAILED = "failed"  # mined and reverted
    ABANDONED = "abandoned"  # its nonce went to something else, or judging again said no
    REORGED = "reorged"  # its block was orphaned; becomes broadcast again or abandoned

    @property
    def settled(self) -> bool:
        return self in (IntentStatus.CONFIRMED, IntentStatus.FAILED, IntentStatus.ABANDONED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of an intent. Its raw bytes are durable before it is broadcast for the first time.

    purpose: act | cancel (an empty transfer to ourselves that frees the nonce).
    status: signed | broadcast | refused | replaced | included | reverted | lost
    """

    tx_hash: bytes
    intent_id: str
    nonce: int
    raw: bytes
    max_fee_wei: int
    max_priority_fee_wei: int
    gas_limit: int
    purpose: str
    status: str
    created_at: float
    broadcast_at: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """One thing we decided to do on chain, from decision to settlement.

    kind: liquidation | approval | preparation (what a plan needs done first) | filler (an empty transfer for a nonce
        nobody owns) | order (of a person, as by
    `keeper deploy`).
    cause: what it acts on; while an intent of a cause waits to be mined no other is made.
    plan: the LiquidationPlan as JSON-ready values (amounts as decimal strings), empty for approvals.
    judged_*: the block at which it was decided. included_*: where its transaction was mined, if it was.
    Amounts are raw token units; profit_* are base-currency units.
    realized: once mined, JSON-ready: `at` (unix seconds when that was learned), `gas` (in base units, None without a
        price), `base_decimals`; of a liquidation that succeeded its `statement` and its `difference` to what was
        expected; of one that failed, `raced` where that was a lost race, and `succeeded_before` where its call succeeds
        on the state before its block. Of a batch, `legs`: the same for each.
    """

    id: str
    kind: str
    cause: str
    protocol: str
    position: str
    account: bytes
    status: IntentStatus
    judged_number: int
    judged_hash: bytes
    created_at: float
    updated_at: float
    plan: Mapping[str, Any]
    tx_hash: bytes | None = None
    included_number: int | None = None
    included_hash: bytes | None = None
    debt_asset: bytes | None = None
    repaid_assets: int | None = None
    collateral_asset: bytes | None = None
    seized_assets: int | None = None
    profit_expected: int | None = None
    profit_realized: int | None = None
    gas_used: int | None = None
    gas_cost_wei: int | None = None
    reason: str | None = None
    realized: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()


# --- who writes ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may write a store. term: counts the writers there ever were. since: unix seconds."""

    term: int
    holder: str
    since: float

    def __str__(self) -> str:
        return f"{self.holder} (term {self.term})"


# --- audit ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One step that happened to a subject (an intent, an episode, a notice), kept for ever with its evidence.

    at: unix seconds. before, event: the status left and the one reached, or None and what happened.
    """

    at: float
    subject: str
    before: str | None
    event: str
    evidence: Mapping[str, Any]
