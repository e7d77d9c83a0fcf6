"""What a protocol's adapter does for the house. Pure: time, prices and chain state are arguments."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from keeper.core.types import (
    Assessment,
    Block,
    Book,
    BreachPrice,
    Call,
    CallResult,
    Demand,
    Health,
    Linear,
    Liquidated,
    LiquidationPair,
    LiquidationPlan,
    LogFilter,
    Prices,
    RawLog,
    Skip,
    Slack,
    Token,
    Update,
)

R = TypeVar("R")
M = TypeVar("M")
A = TypeVar("A")

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
