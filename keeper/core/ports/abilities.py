"""What an adapter may offer beside `ProtocolAdapter`; the house asks whether it does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from keeper.core.ports.adapter import Reads
from keeper.core.stress import Lever, Override
from keeper.core.types import (
    Backing,
    BreachPrice,
    CallResult,
    Linears,
    LiquidationPlan,
    LogFilter,
    LogTrace,
    Prices,
    RawLog,
    Skip,
)

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


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
