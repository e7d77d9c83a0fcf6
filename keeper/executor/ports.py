"""What the executor needs of the outside, and how it is set. Nothing here imports a node client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from keeper.core.errors import KeeperError
from keeper.core.ports import ProtocolAdapter
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, Prices, RawLog
from keeper.core.units import WAD
from keeper.executor.fees import FIRST, below, tip_cap

if TYPE_CHECKING:
    import asyncio

    from keeper.executor.ahead import Ahead

Request = tuple[str, Sequence[Any]]
"""Method and parameters of one JSON-RPC request."""


class Rpc(Protocol):
    """Reads. One call is one round trip; a request that fails gives its error in its place."""

    async def batch(self, requests: Sequence[Request]) -> Sequence[Any]: ...


class Reader(Protocol):
    """View calls at exactly one block, in one round trip; None for one that reverts."""

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]: ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """What other endpoints say of a position. confirms: one at least sees it as we do. contradicts: how the others do,
    where they outweigh, or balance, those that confirm."""

    confirms: bool = False
    contradicts: str | None = None


Opinions = Callable[["Opportunity"], Opinion | None]


class SecondOpinion(Protocol):
    """Other endpoints than the one that a block was read from."""

    def ask(self, block: Block, opportunities: Sequence[Opportunity]) -> Awaitable[Opinions] | None:
        """Ask at once about these positions, whose books may still be of an earlier block. None where there is nobody
        to ask. Awaited, within a deadline of its own, it gives what others think of a position with the book of this
        block; None where nobody spoke."""
        ...


class RawSender(Protocol):
    """Brings signed transactions toward a block, in their order. Exactly one attempt each; never sent again by itself.

    Per transaction: None when accepted, RpcRefused when the node said no, another KeeperError when nobody can know.
    """

    async def submit_many(self, raws: Sequence[bytes]) -> Sequence[KeeperError | None]: ...


@runtime_checkable
class AtOnce(Protocol):
    """A `RawSender` that can send without a turn of the event loop."""

    def begin(self, raws: Sequence[bytes]) -> asyncio.Future[Sequence[KeeperError | None]] | None:
        """As `submit_many`, but whatever leaves has left when this returns. None where it cannot be, and nothing has
        left: then `submit_many` is to be asked."""
        ...


class Node(Rpc, RawSender, Protocol):
    """The node that we follow."""


class Route(RawSender, Protocol):
    """One configured way toward a block.

    ordered_by_fee: whether what it brings there is put in order with everybody else's by what it pays.
    """

    name: str
    ordered_by_fee: bool

    async def check(self) -> str:
        """A line for `keeper check`; raises ConfigError when it cannot work."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hint:
    """What a relay tells of a transaction, or of a bundle, that it keeps to itself.

    hash: what the relay knows it by. calls: to and data of those whose data it tells. logs: that it would emit.
    """

    hash: bytes
    calls: tuple[tuple[bytes, bytes], ...] = ()
    logs: tuple[RawLog, ...] = ()


@runtime_checkable
class BehindRoute(Route, Protocol):
    """A route that takes ours together with a price update that is not mined yet, all or nothing."""

    def takes(self, ahead: Ahead) -> bool:
        """Whether it can offer something behind this update."""
        ...

    async def submit_behind(self, ahead: Ahead, raws: Sequence[bytes], block: int) -> Sequence[KeeperError | None]:
        """Offer these right behind the update, for this block alone. Outcomes as of `submit_many`."""
        ...


@runtime_checkable
class HintRoute(BehindRoute, Protocol):
    """A route whose relay tells of transactions that only it has."""

    def hints(self) -> AsyncGenerator[Hint, None]:
        """For ever; a stream that breaks is opened again."""
        ...


class PendingPrices(StrEnum):
    """What is done about price updates that are not mined yet."""

    OFF = "off"
    PREPARE = "prepare"  # plan what they will open, and send when they are mined
    SEND = "send"  # send behind them


class Mode(StrEnum):
    OFF = "off"
    DRY_RUN = "dry_run"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """min_profit: least profit after gas, in whole units of the protocol's base currency.
    bad_debt_loss: what liquidating a position that is worth less than it owes may cost; None for no more than others.
    native_asset: the wrapped native coin, whose price values gas. Without a price for it nothing is profitable.
    approve_exactly: approve what the plans of a block can be charged, instead of everything at once and for all.
    max_fee_wei and tip_cap_wei cap every attempt, replacements and cancellations included.
    tip_share_bps: part of the expected profit that is offered on top of what recent blocks' transactions paid.
    max_batch: most small liquidations of our contract in one transaction; 1 never puts any together.
    cooldown_blocks: how long a cause is left alone after a transaction for it was mined and reverted;
    lasting_cooldown_s: the same where the reason is one that lasts, such as a paused market.
    liquidates: False for a wallet that only posts notices. posts_per_hour, post_spend_wei_per_day: limits of these.
    liquidator: our contract. board: contract and function that postings call. spenders: the only ones that the wallet's
    tokens are approved for; empty for all that protocols name. approves: False where the wallet never pays, so that
    nobody gets an allowance.
    armed: of so many positions nearest to liquidation a transaction is kept ready.
    least_gain_bps: share of what our contract is expected to gain that its transaction has to demand at least.
    deadline_s: the longest a block waits for simulation, and again for submission.
    """

    chain_id: int
    mode: Mode = Mode.OFF
    min_profit: Decimal = Decimal(1)
    bad_debt_loss: Decimal | None = None
    native_asset: bytes | None = None
    confirmations: int = 3
    max_fee_wei: int = 500 * 10**9
    min_tip_wei: int = 10**7
    max_tip_wei: int = 20 * 10**9
    tip_percentile: int = 60
    tip_share_bps: int = 1_000
    forecast_blocks: int = 6
    max_pending: int = 64
    max_planned: int = 256
    armed: int = 0
    least_gain_bps: int = 0
    max_batch: int = 4
    replace_after_blocks: int = 3
    cooldown_blocks: int = 5
    lasting_cooldown_s: float = 6 * 3_600
    approve_exactly: bool = False
    liquidates: bool = True
    posts_per_hour: int = 0
    post_spend_wei_per_day: int = 0
    pending_prices: PendingPrices = PendingPrices.OFF
    liquidator: bytes | None = None
    board: tuple[bytes, bytes] | None = None
    spenders: frozenset[bytes] = frozenset()
    approves: bool = True
    deadline_s: float = 4.0

    @property
    def tip_cap_wei(self) -> int:
        """Of replacements and cancellations."""
        return tip_cap(self.min_tip_wei, self.max_tip_wei)

    @property
    def first_tip_wei(self) -> int:
        """The largest tip of a first attempt: two replacements of it stay within `tip_cap_wei`."""
        return min(self.max_tip_wei, below(self.tip_cap_wei, FIRST))

    def min_profit_base(self, base_decimals: int) -> int:
        """In base-currency units, rounded up."""
        return int(self.min_profit.scaleb(base_decimals).to_integral_value(ROUND_CEILING))

    def bad_debt_loss_base(self, base_decimals: int) -> int | None:
        """In base-currency units, rounded down."""
        if self.bad_debt_loss is None:
            return None
        return int(self.bad_debt_loss.scaleb(base_decimals).to_integral_value(ROUND_FLOOR))


@dataclass(frozen=True, slots=True)
class Venue:
    """One protocol with its book at the judged block."""

    adapter: ProtocolAdapter[Any, Any]
    book: Book[Any, Any]

    @property
    def name(self) -> str:
        return self.adapter.name

    @property
    def prices(self) -> Prices:
        return self.book.prices


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A position that the evaluator found liquidatable at the time of the block we can land in."""

    venue: Venue
    key: bytes

    @property
    def position(self) -> str:
        return self.venue.adapter.position_id(self.key)

    @property
    def cause(self) -> str:
        """What an intent for it acts on: while one is on its way, no other is made."""
        return f"liquidate:{self.position}"

    def wad(self, amount_base: int) -> int:
        """Base-currency units of its protocol as a wad, rounded down: protocols count in units of different size."""
        return amount_base * WAD // int(10 ** self.venue.adapter.base_decimals(self.venue.book.market))
