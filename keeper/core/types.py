"""The domain's values. Frozen: a change is a new value. Addresses and hashes are bytes inside, text at the edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar

M = TypeVar("M")
A = TypeVar("A")

# --- chain ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BlockRef:
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A header, as far as Keeper needs it. base_fee_wei is None before EIP-1559. bloom is the 256-byte logsBloom."""

    ref: BlockRef
    parent_hash: bytes
    timestamp: int
    base_fee_wei: int | None = None
    gas_limit: int = 0
    gas_used: int = 0
    bloom: bytes = b""

    @property
    def number(self) -> int:
        return self.ref.number

    @property
    def hash(self) -> bytes:
        return self.ref.hash


class RawLog(Protocol):
    """A log with the strings the wire carries: hex with 0x, lower case, undecoded.

    Decoding by slicing these strings where an adapter needs a word is an order of magnitude faster than any general
    decoder, so nothing is converted before somebody asks. `block_number` and `log_index` are hex quantities.
    """

    @property
    def address(self) -> str: ...
    @property
    def topics(self) -> Sequence[str]: ...
    @property
    def data(self) -> str: ...
    @property
    def block_number(self) -> str: ...
    @property
    def block_hash(self) -> str: ...
    @property
    def transaction_hash(self) -> str: ...
    @property
    def log_index(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Log:
    """A `RawLog` built by hand."""

    address: str
    topics: tuple[str, ...]
    data: str = "0x"
    block_number: str = "0x0"
    block_hash: str = "0x" + "00" * 32
    transaction_hash: str = "0x" + "00" * 32
    log_index: str = "0x0"


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs a protocol needs: any of these addresses, and any of these first topics."""

    addresses: frozenset[bytes]
    topics: frozenset[bytes]

    def union(self, other: LogFilter) -> LogFilter:
        return LogFilter(self.addresses | other.addresses, self.topics | other.topics)


@dataclass(frozen=True, slots=True)
class LogTrace:
    """Logs by which an account can be followed: of one contract, with these topics; None: any. The first is given."""

    address: bytes
    topics: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A read-only contract call as data; the shell executes it pinned to a block hash (EIP-1898).

    anybody: the target may be a contract of anybody, made to burn all the gas there is: then it answers nothing, and no
    other call must suffer for it. Of any other contract running out of gas is the node's fault, and an error.
    """

    target: bytes
    data: bytes
    anybody: bool = False


CallResult = bytes | None
"""What a call returned; None when it reverted or the target has no code and returned nothing."""


# --- protocols --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """An oracle answer. `value / 10**decimals` is the price in the protocol's base currency.

    updated_at: unix seconds of the feed's last round, or None where the feed does not tell.
    """

    value: int
    decimals: int
    updated_at: int | None = None


Prices = Mapping[bytes, Price]
"""Usable (positive) prices by asset. An asset that is absent has no usable price at this block."""


@dataclass(frozen=True, slots=True)
class Token:
    """How an asset is named and counted. symbol: as the token calls itself; whoever deployed it chose it."""

    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Health:
    """A position judged at one block and time.

    factor_wad: collateral over requirement, scaled by 1e18 with the protocol's own rounding; None when nothing is owed
        (the protocol calls that infinite).
    liquidatable: by the protocol's own comparison, not by ours.
    collateral_value, debt_value: in the protocol's base currency units, unweighted.
    stale_assets: assets whose feed is older than its heartbeat.
    unpriced_assets: assets without a usable price; with any of these, factor_wad is None and nothing may be acted on.
    """

    factor_wad: int | None
    liquidatable: bool
    collateral_value: int
    debt_value: int
    stale_assets: tuple[bytes, ...] = ()
    unpriced_assets: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """One asset of a position. amount is in raw token units at the judged time, value in base currency units.

    Of collateral, None where the protocol does not tell: liquidation_threshold_bps, the share of its value that counts
    against being liquidated; loan_to_value_bps, the share against which may be borrowed anew;
    liquidation_penalty_bps, what a liquidator takes beyond the debt it repays (Aave's bonus of 10500 is 500 here).
    """

    asset: bytes
    symbol: str
    decimals: int
    amount: int
    value: int | None
    counts: bool = True  # collateral that its owner has not enabled does not count
    liquidation_threshold_bps: int | None = None
    loan_to_value_bps: int | None = None
    liquidation_penalty_bps: int | None = None


@dataclass(frozen=True, slots=True)
class Margin:
    """A position as a margin account, in base currency units; see docs/metrics.md for every term.

    A lending protocol need not state it: `keeper.evaluator.metrics` derives it from the holdings. An adapter states it
    where holdings do not tell (perpetuals), or where basis points are too coarse for its parameters.

    equity_value: what the owner would keep after closing everything at these prices; negative when insolvent.
    initial_value, maintenance_value: the equity below which no exposure may be added, and below which the position is
        open to liquidation; rounded up.
    used_value, capacity_value: how much of what initial margin allows is used, of how much (lending: debt, of the most
        that may be owed; perpetuals: initial margin, of equity). The capacity is rounded down.
    penalty_value: the most that liquidators can take beyond what they repay, at these prices; rounded up.
    exposures: by asset, the gross value whose price moves the equity (collateral; absolute notional).
    """

    equity_value: int
    initial_value: int | None
    maintenance_value: int | None
    used_value: int
    capacity_value: int | None
    penalty_value: int | None
    exposures: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything an owner may ask about a position at one block.

    native: the protocol's own view under its own names; equals what the contract returns at that block, bit for bit.
    market_name: what people call the market of an isolated position; empty where one market holds everything.
    margin: None where the holdings tell it all, and where an asset has no price.
    """

    health: Health
    collaterals: tuple[Holding, ...]
    debts: tuple[Holding, ...]
    native: Mapping[str, Any]
    market_name: str = ""
    margin: Margin | None = None


@dataclass(frozen=True, slots=True)
class Backing:
    """What a protocol itself has lost, and what it holds against losses, in base currency units.

    deficit_value: bad debt that nobody owes any more and that is still to be covered. reserve_value: reserves or
    insurance that would cover losses; None where there are none by design, and lenders bear every loss at once.
    """

    deficit_value: int
    reserve_value: int | None = None


@dataclass(frozen=True, slots=True)
class Linear:
    """A position's collateral and requirement as sums over shared factors, for the vectorised screen.

    collateral ≈ Σ weight * factors[slot], requirement ≈ Σ weight * factors[slot]; weights are floats that depend on the
    position (scaled balance, its threshold), factors on the market and its prices only.
    """

    collateral: tuple[tuple[int, float], ...]
    requirement: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Linears:
    """Many `Linear`s as flat columns, for positions in the order in which they were asked for.

    counts: how many entries each position has; slots and weights: the entries of one position after the other's.
    Numpy arrays, which the domain's core does without.
    """

    collateral_counts: Any
    collateral_slots: Any
    collateral_weights: Any
    requirement_counts: Any
    requirement_slots: Any
    requirement_weights: Any


@dataclass(frozen=True, slots=True)
class Slack:
    """How far the float screen may be from the exact integers: |float - exact| is within relative * value + absolute.

    Sound candidates for `health < t`: collateral < t * (1 + relative) * requirement + absolute.
    grains: by slot, by how much weight a position may have more collateral, or less requirement, than its `Linear` says
        beyond that (an adapter may count token units in the safe direction); None when that is not known, and then
        nothing is ever surely below a threshold.
    """

    relative: float
    absolute: float
    grains: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """The smallest single action that restores the target health, verified by evaluating the position after it."""

    action: str  # add_collateral | repay
    asset: bytes
    symbol: str
    decimals: int
    amount: int  # raw token units, rounded up
    resulting_health_wad: int | None


@dataclass(frozen=True, slots=True)
class BreachPrice:
    """The price of one asset, all else equal, at which the position becomes liquidatable.

    move_bps: from the present price, negative for a fall; truncated toward zero. quote: symbol of the token that the
    price is counted in; empty: the base currency.
    """

    asset: bytes
    symbol: str
    price: int
    decimals: int
    move_bps: int
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Liquidated:
    """A liquidation seen on chain, by whomever. key: of the position; its account may have others in other markets."""

    key: bytes
    account: bytes
    liquidator: bytes
    debt_asset: bytes
    repaid_assets: int
    collateral_asset: bytes
    seized_assets: int
    transaction_hash: bytes
    log_index: int


@dataclass(slots=True)
class Book(Generic[M, A]):
    """A protocol's state at the tip: its market, the prices, and every open position's raw state by key.

    A key is what distinguishes positions within the protocol: the account (20 bytes), or market id and account.
    """

    market: M | None = None
    prices: Prices = field(default_factory=dict)
    positions: MutableMapping[bytes, A] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update(Generic[M, A]):
    """What one block, or one catch-up, changes in a book.

    market: the new market, or None when unchanged. positions: new raw state by key; None for a position that closed.
    """

    market: M | None
    prices: Prices
    positions: Mapping[bytes, A | None]
    liquidations: tuple[Liquidated, ...] = ()


# --- margin calls -----------------------------------------------------------------------------------------------------


class Band(IntEnum):
    """How near a position is to liquidation; a deeper band is a larger number."""

    SAFE = 0
    WATCH = 1
    CALL = 2
    URGENT = 3
    LIQUIDATABLE = 4

    @property
    def label(self) -> str:
        return self.name.lower()


# --- execution --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TxCall:
    """A transaction's content, before anybody pays for it."""

    to: bytes
    data: bytes
    value_wei: int = 0


@dataclass(frozen=True, slots=True)
class Posting:
    """A transaction that says something. cause: what it says, by which it is recognised: one at most is on its way.

    done_when: what the contract answers to a second one.
    """

    cause: str
    call: TxCall
    gas_limit: int
    position: str
    account: bytes
    done_when: str


@dataclass(frozen=True, slots=True)
class UnsignedTransaction:
    """An EIP-1559 transaction with an empty access list, as it will be signed. Fees are per gas."""

    chain_id: int
    nonce: int
    max_priority_fee_wei: int
    max_fee_wei: int
    gas_limit: int
    call: TxCall


@dataclass(frozen=True, slots=True)
class Skip:
    """An expected no, with its reason: `code` for machines, `detail` for people."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unwrap:
    """How what a liquidation seizes becomes the collateral itself. token: what is seized, a claim on it.

    call: redeems; the word at byte `amount_at` of its data is how much, in raw units of the token.
    """

    token: bytes
    call: TxCall
    amount_at: int


@dataclass(frozen=True, slots=True)
class LiquidationPlan:
    """One liquidation, sized by the protocol's present rules.

    repay_assets: the most the wallet can be charged. expected_*: what the protocol will charge and pay at `judged_at`.
    profit_base: what we gain, in base currency units, before gas. Paid from the wallet, that is seized less
        repaid at the protocol's prices.
    haircut_bps: what of the value of collateral that the wallet keeps is not counted in it.
    approval: (token, spender, amount) that must be in place; None when the wallet pays nothing.
    financing: how our contract pays instead of the wallet; None when the wallet does.
    prepare: what anybody may do and must be done first. The wallet does it in transactions of its own before this one
        in the same block, our contract in the same transaction.
    unwrap: what is seized must be redeemed before it can be sold; expected_seized_assets is what that brings. A wallet
        keeps it as it comes.
    callback_at: byte of the call's data with the length of its last argument, which is empty: whatever is put there the
        protocol hands back to its caller, together with what is seized, before it takes what is repaid. None where a
        protocol does not do that.
    """

    account: bytes
    debt_asset: bytes
    repay_assets: int
    collateral_asset: bytes
    expected_repaid_assets: int
    expected_seized_assets: int
    profit_base: int
    judged_at: int  # unix seconds
    health_wad: int | None
    call: TxCall
    approval: tuple[bytes, bytes, int] | None
    gas_limit_hint: int
    financing: Financing | None = None
    haircut_bps: int = 0
    unwrap: Unwrap | None = None
    prepare: tuple[TxCall, ...] = ()
    callback_at: int | None = None


@dataclass(frozen=True, slots=True)
class Financing:
    """A plan that our contract carries out: where the money comes from, and what becomes of what is seized.

    funding, route: by the names that people know them by. borrowed_assets, fee_assets: of the debt token.
    lender: who lends; no bytes when our contract pays with its own, or is paid out before it pays.
    sold_assets: of the collateral; proceeds_assets: debt tokens that it brings. gain_token, gain_assets: what the
    contract has more of in the end, which is the profit; gain_decimals: of that token. least_gain_assets: with less it
    reverts. haircut_bps: what of the gain's value is not counted. tip_wei: sent along for the block's builder.
    """

    funding: str
    route: str
    borrowed_assets: int
    fee_assets: int
    sold_assets: int
    proceeds_assets: int
    gain_token: bytes
    gain_decimals: int
    gain_assets: int
    least_gain_assets: int
    haircut_bps: int = 0
    lender: bytes = b""
    tip_wei: int = 0


@dataclass(frozen=True, slots=True)
class LiquidationPair:
    """One debt of a position against one of its collaterals, open to be liquidated at one moment.

    most_assets: the largest amount that makes sense to offer, in raw units of the debt token.
    calls_back: whether its plans can be paid after what is seized was sold (`LiquidationPlan.callback_at`).
    plan: by an offer of raw units of the debt token, the plan that repays as much of it as the protocol takes.
    """

    debt_asset: bytes
    collateral_asset: bytes
    most_assets: int
    plan: Callable[[int], LiquidationPlan | Skip]
    calls_back: bool = False
