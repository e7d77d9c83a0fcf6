"""What planning asks of exchanges and lenders. Each kind of them is one file, under `venues` and `funding`.

Reads are data (`core.ports.Reads`). What was found to exist is remembered between blocks, so that the usual block costs
no discovery; amounts are never remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult, TxCall
from keeper.executor.liquidator_calls import Step

_IS_ALLOWED = bytes.fromhex("03637b2e")  # is_allowed(address,bytes4)
_IS_SPENDER = bytes.fromhex("f7b1cc29")  # is_spender(address)
_ALLOW_CALL = bytes.fromhex("1fd16af0")  # allow_call(address,bytes4,bool)
_ALLOW_SPENDER = bytes.fromhex("a3220a82")  # allow_spender(address,bool)
_YES = (1).to_bytes(32, "big")

Pair = tuple[bytes, bytes]
"""Token sold, token bought."""


@dataclass(frozen=True, slots=True)
class Sale:
    """One call that sells a token. amount_at: byte of `data` where the contract fills in what it has gained of it; None
    where the data says all."""

    target: bytes
    data: bytes
    amount_at: int | None


@dataclass(frozen=True, slots=True)
class Permission:
    """A function that our contract's owner must have allowed it to call."""

    target: bytes
    selector: bytes

    def __str__(self) -> str:
        return f"call 0x{self.selector.hex()} of 0x{self.target.hex()}"

    def asked_of(self, contract: bytes) -> Call:
        return Call(contract, _IS_ALLOWED + self._words)

    def given_by(self, contract: bytes) -> TxCall:
        """The owner's call."""
        return TxCall(contract, _ALLOW_CALL + self._words + _YES)

    @property
    def _words(self) -> bytes:
        return self.target.rjust(32, b"\0") + self.selector.ljust(32, b"\0")


@dataclass(frozen=True, slots=True)
class SpenderPermission:
    """Somebody whom our contract may let take a token during a call of somebody else."""

    spender: bytes

    def __str__(self) -> str:
        return f"let 0x{self.spender.hex()} take what it pays with"

    def asked_of(self, contract: bytes) -> Call:
        return Call(contract, _IS_SPENDER + self.spender.rjust(32, b"\0"))

    def given_by(self, contract: bytes) -> TxCall:
        """The owner's call."""
        return TxCall(contract, _ALLOW_SPENDER + self.spender.rjust(32, b"\0") + _YES)


Needs = Sequence[tuple[str, Permission | SpenderPermission]]
"""What plans need our contract to be allowed, by whose it is."""


class Route(Protocol):
    """One way to sell a token for another. pools: contracts whose reserves it moves."""

    @property
    def name(self) -> str: ...
    @property
    def pools(self) -> frozenset[bytes]: ...
    @property
    def gas(self) -> int: ...

    def quote(self, sold_assets: int) -> Call:
        """Asks what selling exactly so much brings."""
        ...

    def bought(self, result: CallResult) -> int | None:
        """What it brings, in raw units; None when it cannot be sold."""
        ...

    def price(self, bought_assets: int) -> Call:
        """Asks what must be sold to buy exactly so much."""
        ...

    def sold(self, result: CallResult) -> int | None:
        """That, in raw units; None when so much cannot be bought."""
        ...

    def purchase(self, bought_assets: int, most_sold_assets: int, receiver: bytes, deadline: int) -> Sale:
        """Sells what it takes to buy exactly so much. deadline: unix seconds."""
        ...

    def sale(self, sold_assets: int, least_bought_assets: int, receiver: bytes, deadline: int) -> Sale:
        """deadline: unix seconds."""
        ...


class Counterparty(Protocol):
    """Somebody that our contract deals with."""

    name: str

    def addresses(self) -> Mapping[str, bytes]:
        """Configured contracts by what they are called; each must have code."""
        ...


class SwapVenue(Counterparty, Protocol):
    """An exchange."""

    def permissions(self, *, buys: bool) -> Sequence[Permission]:
        """For sales and, when wanted, for purchases."""
        ...

    def routes(self, pairs: Collection[Pair], now: int) -> Reads[Mapping[Pair, Sequence[Route]]]:
        """Every way that exists. Yields nothing for pairs that were asked before, unless that is long ago."""
        ...


@dataclass(frozen=True, slots=True)
class Loan:
    """Money for the length of a transaction, from one lender, of one token.

    name: of the funding. lender: no bytes when our contract's own balance pays. fee: raw units by raw units borrowed.
    gas: what it costs to take and repay. take: the steps that borrow so much, run these steps with it, and repay.
    calls_back: nobody lends: the protocol of the liquidation pays out before it is paid, and nothing is taken.
    """

    name: str
    lender: bytes
    token: bytes
    available_assets: int
    fee: Callable[[int], int]
    gas: int
    take: Callable[[int, Sequence[Step]], Sequence[Step]]
    calls_back: bool = False


class Funding(Counterparty, Protocol):
    """A kind of lender."""

    def permissions(self) -> Sequence[Permission]:
        """Those known beforehand."""
        ...

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        """What can be borrowed of these tokens, and for how much. One round trip, but for first discoveries."""
        ...


@runtime_checkable
class ManyLenders(Protocol):
    """A kind of lender that is many contracts, each of which must be allowed for itself before it counts."""

    name: str

    def lenders(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Permission]]:
        """What it takes to borrow these tokens of all that there are."""
        ...


def free(assets: int) -> int:
    """The fee of a loan that costs none."""
    return 0
