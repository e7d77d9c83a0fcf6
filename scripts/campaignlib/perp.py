"""Perpetual Protocol v2 in the campaign: traders with leverage, long and short, and a whale that holds the pool to the
index.

Leverage makes them sensitive: opened near the initial margin, a position can be liquidated when the price has moved by
four percent, and is worth nothing after ten. Whoever liquidates one takes it over, so our wallet has margin there.
"""

from __future__ import annotations

import math
from decimal import Decimal

from eth_abi.abi import decode

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError
from scripts.campaignlib.positions import WAD, Market, Position, View, together, told, units

_MM_RATIO, _IM_RATIO = 0.0625, 0.1
_SOLVENT_RATIO = 1.005
_UNIT_WAD = 10**12
"""One of the settlement token's units, in 1e18ths of a dollar: account values are rounded to it, and funding that is
inferred from another account's is one of them off now and then."""

_SHORTS = 4
"""One trader of so many sells."""

_MAKER = Decimal(300_000_000), Decimal(40_000), Decimal(80_000_000)
_RANGE = (500, 8_000)
_WHALE = Decimal(200_000_000)
_OURS = Decimal(10_000_000)
_RIVALS = Decimal(10_000_000)
_INSURANCE = Decimal(5_000_000)
_LOT = 10**24
_STEPS = (950, 500, 200, 60)
"""Ticks by which one trade may move the pool, tried in turn: the contract counts its limit of a thousand anew every
fifteen seconds, from where the pool was then."""

_LEAST = 1_000.0
"""Half of it is taken over at a fortieth of its value: of less, what that brings is gas."""

_SLOTS, _SLOTS_AT_ONCE, _GROWTH_GAS = 3_000, 1_000, 25_000_000
"""Of the pool's price history. Marks are averages over half an hour; with a trade in each block a shorter history does
not reach back so far, and the market reverts for everybody."""

_NEVER = 2**40
_OPEN = "openPosition((address,bool,bool,uint256,uint256,uint256,uint160,bytes32))"
_GAS = 8_000_000


class Perp(Market):
    name = "perp"
    collaterals = ("USDC",)
    debts = ("vETH",)
    least_health = 1.75
    most_health = 3.2

    def __init__(self, chain: DevChain) -> None:
        super().__init__(chain)
        self._opened = 0
        self._price = chain.price("WETH") / 10**8
        self._maker, self._whale, self._rival = chain.accounts[6], chain.accounts[7], chain.accounts[5]

    def prepare(self) -> None:
        """A deep market, and margin for everybody who needs some."""
        perp = self.chain.perp
        dollars, base, quote = _MAKER
        perp.deposit(self._maker, dollars)
        perp.add_liquidity(self._maker, base, quote, *_RANGE)
        perp.deposit(self._whale, _WHALE)
        perp.deposit(self._rival, _RIVALS)
        perp.deposit(self._maker, _OURS, of=self.chain.liquidator.address)
        self.chain.fund(perp.deployment.insurance_fund, "USDC", _INSURANCE)
        for slots in range(_SLOTS_AT_ONCE, _SLOTS + 1, _SLOTS_AT_ONCE):
            grow = "increaseObservationCardinalityNext(uint16)"
            self.chain.client.send(self._whale, perp.deployment.pool, grow, slots, gas=_GROWTH_GAS)

    def open(self, account: str, collateral: str, debt: str, dollars: float, health: float) -> Position:
        """A position of so many dollars, bought or sold, with margin for this health."""
        perp, price = self.chain.perp, self.chain.price("WETH")
        self._opened += 1
        base = units(dollars, price, 18)
        margin = Decimal(dollars * (_MM_RATIO * health + 0.004)).quantize(Decimal("0.000001"))  # and the pool's fee
        perp.deposit(account, margin)
        perp.trade(account, base if self._opened % _SHORTS else -base)
        return Position(self.id_of(account), account, collateral, debt, "WETH")

    def repay(self, position: Position, amount: int | None) -> None:
        """Leaves the market; there is no debt to pay back in part."""
        self.chain.perp.close(position.account)

    def add(self, position: Position, amount: int) -> None:
        self.chain.perp.deposit(position.account, amount)

    def rival(self, position: Position) -> None:
        self.chain.perp.liquidate(self._rival, position.account)

    def question(self, position: Position) -> tuple[str, bytes]:
        parts = self.chain.perp.deployment
        sizes = (position.account, parts.base)
        return self.chain.multicall3, together(
            (parts.clearing_house, encode_call("getAccountValue(address)", (position.account,))),
            (
                parts.account_balance,
                encode_call("getMarginRequirementForLiquidation(address)", (position.account,)),
            ),
            (parts.account_balance, encode_call("getTakerPositionSize(address,address)", sizes)),
        )

    def view(self, position: Position, answer: bytes) -> View:
        value, requirement, size = (decode(["int256"], one)[0] for one in told(answer))
        if not requirement:
            return View(None, False, max(value, 0) / WAD, 0.0)
        notional = requirement / _MM_RATIO / WAD
        equity = value / WAD
        falls_to = (1 - equity / notional) / (1 - _MM_RATIO) if size > 0 else 0.0
        # Paid is who takes over what is solvent: the discount comes out of the margin that is left.
        return View(
            value * WAD // requirement,
            value < requirement,
            notional + equity,
            notional,
            _SOLVENT_RATIO,
            falls_to,
            -(-_UNIT_WAD * WAD // requirement),
            least_value=_LEAST,
        )

    def move(self, price: float | None) -> None:
        """The index is published, and the whale trades the pool there, as far as one trade may."""
        perp = self.chain.perp
        if price is not None:
            perp.publish_price()
            self._price = price
        here, there = _tick(float(perp.pool_price())), _tick(self._price)
        for step in _STEPS:
            to = max(here - step, min(here + step, there))
            if to == here:
                return
            order = (perp.deployment.base, to < here, True, _LOT, 0, _NEVER, _root(to), bytes(32))
            try:
                self.chain.client.call(perp.clearing_house, f"{_OPEN}(uint256,uint256)", order, sender=self._whale)
            except DevnetError:
                continue
            self.chain.client.send(self._whale, perp.clearing_house, _OPEN, order, gas=_GAS)
            return


def _tick(price: float) -> int:
    return round(math.log(price, 1.0001))


def _root(tick: int) -> int:
    """The pool's square root of a price, scaled by 2**96."""
    return int(1.0001 ** (tick / 2) * 2**96)
