"""What the house asks of its parts. Time, prices and chain state are arguments, never calls."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, runtime_checkable

from keeper.core.policy import SigningPolicy
from keeper.core.records import (
    AuditEntry,
    CommittedBlock,
    Delivery,
    DeliveryStatus,
    Intent,
    Lease,
    Messages,
    Notice,
    NoticeEvent,
    OldNotice,
    Told,
)
from keeper.core.stress import Lever, Override
from keeper.core.types import (
    Assessment,
    Backing,
    Band,
    Block,
    BlockRef,
    Book,
    BreachPrice,
    Call,
    CallResult,
    Demand,
    Health,
    Linear,
    Linears,
    Liquidated,
    LiquidationPair,
    LiquidationPlan,
    LogFilter,
    LogTrace,
    Posting,
    Prices,
    RawLog,
    Skip,
    Slack,
    Token,
    UnsignedTransaction,
    Update,
)

R = TypeVar("R")
M = TypeVar("M")
A = TypeVar("A")
M_contra = TypeVar("M_contra", contravariant=True)
A_contra = TypeVar("A_contra", contravariant=True)

Reads = Generator[Sequence[Call], Sequence[CallResult], R]
"""I/O as data: yields calls, is sent their results (same order), returns the answer. One yield is one round trip;
the shell runs several of these in lockstep and merges their calls, so many protocols still cost one round trip."""


class ProtocolAdapter(Protocol[M, A]):
    """Everything Keeper knows about one deployment of one protocol. Pure: no I/O, no clock.

    M is the market (parameters and indices shared by all), A one position's raw state (scaled balances or shares,
    never accrued values). Both are frozen values.
    """

    kind: str
    name: str
    start_block: int

    # --- tracking
    def addresses(self) -> Mapping[str, bytes]:
        """Configured addresses by what they are called; each must have code (`keeper check`)."""
        ...

    def bootstrap(self, known: M | None = None) -> Reads[M]:
        """Discover the whole market at one block. Raises ConfigError when an address is not what it should be.

        known: the market held before, which tells an adapter what the contracts cannot list. Without it such an
        adapter learns of it from the logs.
        """
        ...

    def filter(self, market: M) -> LogFilter: ...

    def head_calls(self, market: M) -> Sequence[Call]:
        """What must be read at every block whatever happened in it (prices); sent along with the block's logs."""
        ...

    def sync(
        self, book: Book[M, A], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[M, A]]:
        """The book's change by one block. Yields nothing when no log touched what it holds.

        When the returned market's `filter` differs from the old one, the shell fetches the block's logs again with the
        wider filter and calls sync again from the same book.
        Raises DecodeError on a log that does not have the shape of its event.
        """
        ...

    def touches(self, market: M, logs: Iterable[RawLog]) -> Sequence[bytes]:
        """Keys of what these logs, gone over once, may have changed, for a backfill that reads each once at its end."""
        ...

    def feeds(self, market: M) -> Reads[Mapping[bytes, Sequence[bytes]]]:
        """By contract that price updates are written to, the assets (as `Prices` knows them) whose price it moves.

        `keeper.protocols.feeds.aggregators` finds them from the sources that the protocol asks. How a price follows
        from what is written need not be known: the node simulates it. Empty where no single transaction moves a price.
        """
        ...

    def liquidations(self, market: M, logs: Sequence[RawLog]) -> Sequence[Liquidated]:
        """Every liquidation in these logs, in their order."""
        ...

    def whole(self, market: M, key: bytes) -> Sequence[bytes]:
        """The touches that make `snapshot` read everything of one position."""
        ...

    def snapshot(
        self,
        market: M,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, A] | None = None,
    ) -> Reads[Update[M, A]]:
        """Raw state of everything touched, at one block; used after backfill and catch-up. May yield many times.

        held: the positions known before, from which an adapter takes what was not touched since. Without them the
        touches must reach back to the beginning.
        """
        ...

    # --- stored form
    def dump_market(self, market: M) -> bytes: ...
    def load_market(self, payload: bytes) -> M: ...
    def dump_position(self, position: A) -> bytes: ...
    def load_position(self, payload: bytes) -> A: ...

    # --- judging
    def account(self, key: bytes) -> bytes:
        """Owner (20 bytes) of the position with this key."""
        ...

    def position_id(self, key: bytes) -> str:
        """ "<name>:<account>[:<market>]", checksummed; what people and records call the position."""
        ...

    def base_decimals(self, market: M) -> int:
        """Decimals of the base currency in which values and prices are counted."""
        ...

    def currency(self, market: M) -> str:
        """What that base currency is called: "USD", "ETH", a token's symbol; empty when nobody knows."""
        ...

    def token(self, market: M, asset: bytes) -> Token | None:
        """Of any asset that a position of this market can hold or owe, also when none does at present."""
        ...

    def health(self, market: M, prices: Prices, position: A, now: int) -> Health: ...
    def assess(self, market: M, prices: Prices, position: A, now: int) -> Assessment: ...
    def demands(self, market: M, prices: Prices, position: A, now: int, target_wad: int) -> tuple[Demand, ...]: ...
    def breach_prices(self, market: M, prices: Prices, position: A, now: int) -> tuple[BreachPrice, ...]: ...

    # --- the screen
    def linear(self, market: M, position: A) -> Linear: ...
    def factors(self, market: M, prices: Prices, now: int) -> Sequence[float]:
        """Value of every slot; NaN for a slot without a usable price."""
        ...

    def follows(self, market: M) -> Sequence[bytes | None]:
        """By slot, the asset (as `Prices` knows it) to whose price its factor is proportional; None where it follows no
        price. From this the volatility of each position's health is found."""
        ...

    def slack(self, market: M) -> Slack: ...
    def same_weights(self, before: M, after: M) -> bool:
        """Whether `linear` gives the same for both markets, so that only factors need refreshing."""
        ...

    # --- acting
    def plan(
        self,
        market: M,
        prices: Prices,
        key: bytes,
        position: A,
        now: int,
        wallet: Mapping[bytes, int],
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        """The best liquidation at time `now` that this wallet (raw units by token) can pay for."""
        ...

    def pairs(
        self, market: M, prices: Prices, key: bytes, position: A, now: int, receiver: bytes
    ) -> Sequence[LiquidationPair] | Skip:
        """Every debt against every collateral that can be liquidated at time `now`, whoever pays; or why none can be.

        What a plan of a pair says of profit is at the protocol's prices; it is not refused for being a loss.
        """
        ...

    def wallet_tokens(self, market: M) -> Sequence[bytes]:
        """Tokens with which a liquidation can be paid."""
        ...

    def spenders(self, market: M) -> Sequence[bytes]:
        """Contracts that must be approved to take those tokens."""
        ...

    def entry_points(self, market: M) -> Sequence[tuple[bytes, bytes]]:
        """Contract and selector of every function that plans call, for a contract of ours that must be allowed to."""
        ...

    def explain_revert(self, data: bytes) -> str:
        """A revert of this protocol's contracts in words, from its error selectors."""
        ...

    def confirm_calls(self, market: M, key: bytes) -> Sequence[Call]:
        """Calls that return the protocol's own view of this position."""
        ...

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        """Decode `confirm_calls` results into the same mapping as Assessment.native."""
        ...


@runtime_checkable
class Weighable(Protocol[M_contra]):
    """What an adapter offers beside `ProtocolAdapter` so that a large book is screened soon after a start."""

    def linears(self, market: M_contra, payloads: Sequence[bytes]) -> Linears:
        """`linear` of each of these positions, in their stored form, without making a position of any.

        Raises DecodeError as `load_position` does.
        """
        ...


@runtime_checkable
class Paged(Protocol):
    """What the positions of a book offer, beside being a mapping, where most of them lie in a store."""

    def pages(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """Keys and stored forms of those that are as they are stored, some thousands at a time."""
        ...

    def unstored(self) -> Iterator[bytes]:
        """Keys of all others."""
        ...


@runtime_checkable
class Stressable(Protocol[M_contra, A_contra]):
    """What an adapter offers beside `ProtocolAdapter` so that `keeper rehearse` can make its healthy positions
    liquidatable on a fork. One without it is rehearsed only where a position is open already."""

    def stress(
        self, market: M_contra, prices: Prices, key: bytes, position: A_contra, now: int, lever: Lever
    ) -> Reads[Sequence[Override] | Skip]:
        """The least that must change for this position to be open to liquidation at time `now`, and a little after.

        Just below the line: a rehearsal finds the position as a liquidator first sees it. Nothing when it is open as
        it is. Market and position are read afresh afterwards, so an override need not emit any event. Others may be
        changed along with it (a threshold is shared): everything is reverted before the next position's turn.
        A Skip says why this lever cannot do it: nothing is owed, an asset has no price, …
        """
        ...


@runtime_checkable
class TakesMargin(Protocol[M_contra]):
    """What an adapter offers beside `Stressable` whose liquidators need margin of their own, which no lender gives."""

    def endow(self, market: M_contra, account: bytes) -> Reads[Sequence[Override]]:
        """What gives an account, on a fork, margin enough for the largest liquidation that is configured. It comes from
        what the protocol holds, so that this is no less and no more than it was."""
        ...


@runtime_checkable
class Solvent(Protocol[M_contra]):
    """What an adapter offers beside `ProtocolAdapter` so that the solvency of the protocol can be watched."""

    def backing(self, market: M_contra, prices: Prices) -> Reads[Backing]:
        """What the protocol itself has lost and holds at this block. What has no price counts nothing."""
        ...

    def moved(self, market: M_contra, prices: Prices, move_bps: int) -> Prices:
        """Prices after whatever is volatile here moved by so many hundredths of a percent against the base currency."""
        ...


@runtime_checkable
class Watchable(Protocol[M]):
    """What an adapter offers beside `ProtocolAdapter` so that `keeper watch` can follow a few accounts by state alone:
    no history, no logs of every block, a handful of requests per look, a free public node.

    A look reads `renew`, `head_calls` and `positions_of` in one round trip, `snapshot` and `confirm_calls` in a second,
    all at one block. Where the protocol's own view (`native_view`) then differs from ours, the market is bootstrapped
    again, so `renew` may leave out what that finds.
    """

    def renew(self, market: M) -> Reads[M]:
        """The market at a later block whose logs nobody read: whatever positions are judged by (indices, rates, totals,
        thresholds), and its list of assets or markets as far as the contracts tell it. One yield, unless it finds that
        more has changed than it can read so. `bootstrap(market)` is always right, and dear.
        """
        ...

    def positions_of(self, market: M, account: bytes) -> Reads[Sequence[bytes]]:
        """Touches that make `snapshot` read every position this account has at this block, by state alone.

        Where every account has at most one position, whose key follows from it (cross margin), `whole` of that key
        without a yield, whether it holds anything or not: then a position it opens is seen at the next look. Where
        positions must be searched (isolated markets), one yield; it is then asked now and then rather than at every
        look.
        """
        ...

    def liquidation_filter(self, market: M) -> LogFilter:
        """Of the logs that `liquidations` reads and of no others: asked over a range of blocks when a position shrank
        between two looks."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """What a `Watchable` adapter offers where no contract lists the markets that an account may be in."""

    def trace(self, account: bytes) -> LogTrace | None:
        """Logs that name every market this account ever was in. None where the markets are configured."""
        ...

    def traced(self, logs: Sequence[RawLog]) -> Sequence[bytes]:
        """The ids of those markets. Raises DecodeError."""
        ...

    def touch_in(self, market_id: bytes, account: bytes) -> bytes:
        """The touch that makes `snapshot` read this account's position in a market of this id (32 bytes)."""
        ...


@runtime_checkable
class Rejudges(Protocol[M_contra, A_contra]):
    """What an adapter offers beside `ProtocolAdapter` whose calls stay right for a while: a transaction signed before
    its block is then judged by what its very call does in that block."""

    def rejudge(
        self,
        market: M_contra,
        prices: Prices,
        key: bytes,
        position: A_contra,
        now: int,
        plan: LiquidationPlan,
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        """A plan that was made earlier, with what its call repays and seizes at time `now`; or why it must not be sent
        any more. Exact, as `plan` is."""
        ...


@runtime_checkable
class Reprices(Protocol[M_contra, A_contra]):
    """What an adapter offers beside `ProtocolAdapter` whose breach prices are not among its `Prices` by their asset."""

    def at_price(
        self, market: M_contra, prices: Prices, position: A_contra, breach: BreachPrice, price: int
    ) -> Prices | None:
        """Prices, all else equal, when what a breach price of the position is about costs `price`, in the breach's
        decimals. None where they cannot be told."""
        ...


@runtime_checkable
class Quickens(Protocol[M_contra, A_contra]):
    """What an adapter offers beside `ProtocolAdapter` where few of its head calls decide about a few positions: these
    alone are then asked for before anything else about a block is."""

    def quick_places(self, market: M_contra, positions: Sequence[A_contra], assets: Collection[bytes]) -> Sequence[int]:
        """Places in `head_calls`, ascending, of all that judging these positions and valuing these assets depends on in
        a block without a log of ours. Whatever the others return makes no difference to either."""
        ...

    def quick_read(
        self, market: M_contra, prices: Prices, places: Sequence[int], results: Sequence[CallResult]
    ) -> tuple[Any, Prices]:
        """Market and prices as `sync` of such a block makes them, as far as these places of the head calls say; the
        rest is left as it was."""
        ...


class Transaction(Protocol):
    """One atomic, durable unit. Everything said through it holds together or not at all."""

    def commit_block(self, committed: CommittedBlock) -> None:
        """Append the versions of a block and move the cursor to it. Its parent must be the cursor (or there is none,
        or the gap was scanned: `advance`). Raises StoreError otherwise."""
        ...

    def advance(self, committed: CommittedBlock) -> None:
        """Move the cursor over a scanned gap to a block whose parent is not stored; older headers are forgotten."""
        ...

    def sample(self, committed: CommittedBlock) -> None:
        """Append the versions of a block that was looked at by itself, and move the cursor to it, over a gap that
        nobody read. Unlike after `advance`, older headers stay, and can be reverted to. Raises StoreError when it is
        not above the cursor."""
        ...

    def amend(self, committed: CommittedBlock) -> None:
        """Replace versions of the block at the cursor by what it really holds; for repairs. Raises StoreError when the
        cursor is elsewhere."""
        ...

    def revert_to(self, ancestor: BlockRef) -> frozenset[tuple[str, str, bytes]]:
        """Delete every version above the ancestor, move the cursor to it, and drop the notices judged above that nobody
        can have seen. One that was, or may have been, told on any channel is told on all: belief is one for a position.
        Returns (protocol, kind, key) of all that changed. Raises UnrecoverableReorg when the ancestor is not stored."""
        ...

    def finalize(self, number: int) -> None:
        """Forget headers below `number` and versions superseded at or below it. The tip is always kept."""
        ...

    def add_touches(self, protocol: str, touches: Iterable[bytes], scanned_to: int) -> None:
        """Remember what a backfill saw, and how far it came, so that it can resume."""
        ...

    def clear_touches(self, protocol: str) -> None: ...

    def add_notice(self, notice: Notice, channels: Sequence[str], due_at: float) -> None:
        """Put a notice in the outbox once per channel, created and due at `due_at`. A notice id that is already there
        changes nothing. Without a channel nobody is told, and no delivery shows it; yet it is what was said last, until
        a revert removes its block."""
        ...

    def claim(self, notice_id: str, channel: str) -> bool:
        """PENDING or HELD -> SENDING, before the attempt, with all that it carries. False when a revert dropped it, or
        it was settled, since it was read from the outbox: then it must not be sent."""
        ...

    def hold(self, notice_id: str, channel: str, until: float) -> None:
        """PENDING -> HELD: due no earlier, unless something behind it lets it go. No attempt is counted."""
        ...

    def release(self, notice_id: str, channel: str) -> None:
        """HELD -> PENDING, due at once."""
        ...

    def drop(self, notice_id: str, channel: str, reason: str, *, at: float) -> None:
        """What nobody can have seen need not be told. Does nothing once an attempt was claimed."""
        ...

    def carry(self, summary: Notice, channel: str, notice_ids: Sequence[str], *, at: float) -> None:
        """Put a summary in the outbox of one channel in place of these deliveries, which from now on share its fate: an
        attempt, success or failure of the summary is theirs. A revert that drops it lets them go by themselves again.
        """
        ...

    def take_apart(self, summary_id: str, channel: str, reason: str, *, at: float) -> None:
        """Drop a summary that was refused; what it carries goes by itself, or in others, as if it were new."""
        ...

    def revive(self, notice_id: str, channel: str, *, at: float) -> bool:
        """DEAD -> PENDING and new, with all that it carries. False when it is not dead, or when something later of the
        same position was told there: readers would take it for the news."""
        ...

    def settle(
        self,
        notice_id: str,
        channel: str,
        status: DeliveryStatus,
        *,
        at: float,
        due_at: float = 0.0,
        error: str | None = None,
    ) -> None:
        """Record how an attempt ended; counts it."""
        ...

    def put_intent(self, intent: Intent) -> None:
        """Insert or replace an intent and all its attempts; appends to the audit trail when the status changed.
        Raises StoreError when an attempt that is stored would be missing: what was signed is never forgotten."""
        ...

    def audit(
        self, subject: str, event: str, evidence: Mapping[str, Any], *, at: float, before: str | None = None
    ) -> None:
        """Append one step to the audit trail. evidence: JSON-ready values, big integers as decimal strings."""
        ...

    def forget_notice(self, notice_id: str) -> bool:
        """Delete a notice, its deliveries and its audit trail; nothing of one that is not settled."""
        ...

    def forget_episode(self, protocol: str, key: bytes) -> bool:
        """Delete an episode's versions and its audit trail; nothing while a notice of it is kept. Only for one that is
        closed below the stored headers."""
        ...

    def set_meta(self, key: str, value: str) -> None: ...


class Store(Protocol):
    """The durable memory of one daemon. One writer; readers may be other processes."""

    def transaction(self) -> AbstractContextManager[Transaction]: ...
    def cursor(self) -> BlockRef | None: ...
    def blocks(self) -> Sequence[Block]:
        """Stored headers, oldest first, contiguous but where blocks were sampled, ending at the cursor; reaching back
        to finality."""
        ...

    def facts(self, protocol: str, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Key and payload of the newest version of everything of a kind that has not closed."""
        ...

    def fact(self, protocol: str, kind: str, key: bytes, *, at: int | None = None) -> bytes | None:
        """The newest version. at: as it was at this block, which must not be below the stored headers."""
        ...

    def changed(self, protocol: str, kind: str, since: int) -> Iterator[tuple[bytes, bytes | None, int]]:
        """Key, payload (None: it closed) and block number of the newest version of everything of a kind that changed in
        this block or later; for readers that follow along."""
        ...

    def fact_pages(
        self, protocol: str, kind: str, *, after: bytes = b"", size: int = 4_096
    ) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """As `facts`, keys and payloads of up to so many versions at a time, in order of keys, from behind `after` on.

        What is written while a page is looked at is in the pages behind it.
        """
        ...

    def scanned_to(self, protocol: str) -> int | None: ...
    def touches(self, protocol: str) -> Iterator[bytes]: ...

    def told(self) -> Mapping[str, Told]:
        """By position, what was last told on any channel (deliveries SENDING or SENT); PENDING ones count as well,
        since they will be told, and what was added without a channel. A closing is forgotten once its block is below
        the stored headers."""
        ...

    def outbox(self, now: float, limit: int = 1000, *, channel: str | None = None) -> Sequence[Delivery]:
        """Unsettled deliveries that are due, or put off by more than `LONGEST_WAIT_S`, oldest first; per position and
        channel only the oldest unsettled one, so that order holds. What is HELD beyond `now` stands in nobody's way,
        and what a summary carries is not here. channel: only this one's."""
        ...

    def repetitions(self, channel: str, now: float, limit: int) -> Sequence[Delivery]:
        """Deliveries that were sent, are not settled, and due again, and summaries that are due, whether they were seen
        or not; oldest first, without what a summary carries."""
        ...

    def next_due(self, channel: str | None = None, now: float = 0.0) -> float | None:
        """When the next delivery is due: the first of `outbox`, past or future, or one HELD beyond `now`; else None."""
        ...

    def waiting(self, channel: str, position: str) -> Sequence[Delivery]:
        """Everything unsettled of a position on a channel, oldest first, but for what a summary carries."""
        ...

    def heard(self, channel: str, position: str) -> NoticeEvent | None:
        """What was last sent, or may have been, of a position on a channel."""
        ...

    def delivery(self, notice_id: str, channel: str) -> Delivery | None: ...

    def hearers_of(self, episode: str) -> frozenset[str]:
        """Channels to which any notice of this episode was, may have been, or will be delivered, or was in vain."""
        ...

    def channels_of(self, episode: str) -> frozenset[str]:
        """Channels for which any notice of this episode was put in the outbox, and not dropped by a revert."""
        ...

    def messages(self, channel: str, since: float, until: float) -> Messages:
        """What a channel was sent after `since` and not after `until`, and what is in the air, as a summary is that
        waits for another attempt. A summary is one message."""
        ...

    def old_notices(self, after: int, before: float, limit: int) -> Sequence[OldNotice]:
        """By the deliveries created before this moment, in their order, from the one after `after` on."""
        ...

    def refused(self, channel: str) -> tuple[int, str | None]:
        """How many deliveries a channel was given up on since it last took one, and the error of one of them."""
        ...

    def deliveries(self, episode: str | None = None) -> Sequence[Delivery]: ...
    def intents(self, *, unsettled: bool = False) -> Sequence[Intent]: ...
    def each_intent(self) -> Iterator[Intent]:
        """Every intent in the order of their ids, a few in memory at a time: there may be years of them."""
        ...

    def intent(self, intent_id: str) -> Intent | None: ...
    def episodes(
        self, protocol: str | None = None, *, since: int | None = None
    ) -> Iterator[tuple[str, bytes, bytes, int]]:
        """Protocol, key, payload and block number of the newest version of every episode, closed ones included.
        since: only those that changed in this block or later."""
        ...

    def audit(self, subject: str | None = None) -> Iterator[AuditEntry]:
        """The audit trail, oldest first."""
        ...

    def audit_after(self, seq: int, limit: int) -> Sequence[tuple[int, AuditEntry]]:
        """Entries behind this one, oldest first, each with its number."""
        ...

    def record_mark(self) -> tuple[int, ...]:
        """Numbers that differ once anything was added to the audit trail or the outbox, or an unsettled delivery was
        tried. Cheap; for readers that ask whether there is news."""
        ...

    def meta(self, key: str) -> str | None: ...
    def lease(self) -> Lease | None:
        """Who writes it, or wrote it last; None before anybody did."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads inside see one moment, whatever a daemon in another process commits meanwhile."""
        ...

    def close(self) -> None: ...


class Signer(Protocol):
    """Holds a key and never shows it."""

    @property
    def address(self) -> bytes: ...
    def sign(self, transaction: UnsignedTransaction, policy: SigningPolicy) -> bytes:
        """The raw bytes to broadcast. Raises WrongChain for a transaction of another chain than the key's, and
        SignatureRefused for one outside the policy."""
        ...

    def has_signed(self, raw: bytes) -> bool:
        """Whether these bytes are a transaction that this key signed."""
        ...


class Submitter(Protocol):
    """Brings one signed transaction toward a block. Exactly one attempt: resending is the journal's decision."""

    async def submit(self, raw: bytes) -> None:
        """Raises RpcRefused when the node definitely refused, RetryableError when nobody can know."""
        ...


class Poster(Protocol):
    """Whoever owns the nonces of our key, as a channel that speaks on chain sees it."""

    async def post(self, posting: Posting) -> None:
        """Return once it is confirmed. Raises NoticeDelayed when it is not yet, NoticeObsolete when it need not be."""
        ...


class Notifier(Protocol):
    """One channel. Sending twice must be harmless to the receiver: the notice carries its idempotency key."""

    name: str
    min_band: Band

    async def send(self, notice: Notice) -> None:
        """Return when the channel accepted it. Raises RetryableError when later may work, KeeperError when not."""
        ...

    async def check(self) -> str:
        """A line for `keeper check`; raises ConfigError when the channel cannot work."""
        ...

    async def close(self) -> None: ...
