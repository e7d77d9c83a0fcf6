"""Positions of the campaign, how they are opened and cured, and what the contracts themselves say of each.

A view is one eth_call to the protocol at one block, interest accrued as a liquidation of that block would see it. No
line of Keeper has a part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from eth_abi.abi import decode

from keeper.devnet.abi import checksummed, encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.market import ALL
from keeper.devnet.morpho import LLTV_WAD, PARAMS
from keeper.devnet.venus import TERMS as VENUS_TERMS

WAD = 10**18
_VIRTUAL_SHARES = 10**6
_DEEP = Decimal(50_000_000)


@dataclass(frozen=True)
class View:
    """health_wad: None without debt. Values in dollars. least_ratio: of collateral to debt, below which nobody is paid:
    the debt and the bonus. falls_to: the share of its present price to which what it is exposed to must fall to open it
    to liquidation, where that is not one by its health; 0 where no fall does. within_wad: how far from this health a
    true notice may be; None: it is not held against it. least_value: dollars of collateral at and below which gas takes
    what a liquidation brings."""

    health_wad: int | None
    liquidatable: bool
    collateral_value: float
    debt_value: float
    least_ratio: float = 1.12
    falls_to: float | None = None
    within_wad: int | None = None
    least_value: float = 500.0

    @property
    def opens_at(self) -> float:
        """The share of the present price at which it can be liquidated; 0: at none."""
        if self.falls_to is not None or not self.health_wad:
            return self.falls_to or 0.0
        return WAD / self.health_wad

    @property
    def worth_it(self) -> bool:
        """Whether anybody would be paid for liquidating it: dust and bad debt are nobody's business."""
        return self.collateral_value > self.least_value and self.collateral_value > self.least_ratio * self.debt_value


@dataclass(frozen=True)
class Position:
    """id as Keeper names it. collateral, debt: symbols. exposed: whose price moves its health; its collateral's unless
    told otherwise."""

    id: str
    account: str
    collateral: str
    debt: str
    exposed: str = ""

    @property
    def moved_by(self) -> str:
        return self.exposed or self.collateral

    @property
    def protocol(self) -> str:
        return self.id.split(":")[0]


def units(dollars: float, price: int, decimals: int) -> Decimal:
    """Whole tokens of so many dollars, no finer than the token. price: of a feed, 8 decimals."""
    return (Decimal(dollars) * 10**8 / price).quantize(Decimal(1).scaleb(-min(decimals, 8)), ROUND_DOWN)


class Market:
    """One protocol of the chain: what owners do there, and what it says."""

    name = ""
    collaterals: tuple[str, ...] = ()
    debts: tuple[str, ...] = ()
    least_health = 1.1
    most_health = 1.3

    def __init__(self, chain: DevChain) -> None:
        self.chain = chain

    def prepare(self) -> None:
        """What has to be there before anybody opens anything."""

    def move(self, price: float | None) -> None:
        """What follows prices in every block. price: of ether in dollars, if it was set in this block."""

    def threshold(self, collateral: str) -> float:
        raise NotImplementedError

    def id_of(self, account: str) -> str:
        return f"{self.name}:{account}"

    def open(self, account: str, collateral: str, debt: str, dollars: float, health: float) -> Position:
        """Supply so many dollars, and borrow down to this health."""
        chain = self.chain
        pledged = units(dollars, chain.price(collateral), chain.tokens[collateral].decimals)
        owed = units(dollars * self.threshold(collateral) / health, chain.price(debt), chain.tokens[debt].decimals)
        self._supply(account, collateral, pledged)
        self._borrow(account, debt, owed)
        return Position(self.id_of(account), account, collateral, debt)

    def _supply(self, account: str, symbol: str, amount: Decimal) -> None:
        raise NotImplementedError

    def _borrow(self, account: str, symbol: str, amount: Decimal) -> None:
        raise NotImplementedError

    def repay(self, position: Position, amount: int | None) -> None:
        """Raw units; None for everything."""
        raise NotImplementedError

    def add(self, position: Position, amount: int) -> None:
        """More collateral, raw units."""
        raise NotImplementedError

    def rival(self, position: Position) -> None:
        """Somebody else liquidates it, as far as the protocol lets him."""
        raise NotImplementedError

    def question(self, position: Position) -> tuple[str, bytes]:
        """Target and data of an eth_call whose answer `view` reads."""
        raise NotImplementedError

    def view(self, position: Position, answer: bytes) -> View:
        raise NotImplementedError


class Aave(Market):
    name = "aave"
    collaterals = ("WETH", "WBTC")
    debts = ("USDC", "DAI")
    _thresholds: Mapping[str, float] = {"WETH": 0.825, "WBTC": 0.78}

    def threshold(self, collateral: str) -> float:
        return self._thresholds[collateral]

    def _supply(self, account: str, symbol: str, amount: Decimal) -> None:
        self.chain.aave.supply(account, symbol, amount)

    def _borrow(self, account: str, symbol: str, amount: Decimal) -> None:
        self.chain.aave.borrow(account, symbol, amount)

    def repay(self, position: Position, amount: int | None) -> None:
        self.chain.aave.repay(position.account, position.debt, ALL if amount is None else amount)

    def add(self, position: Position, amount: int) -> None:
        self.chain.aave.supply(position.account, position.collateral, amount)

    def rival(self, position: Position) -> None:
        self.chain.aave.liquidate(self.chain.accounts[5], position.account, position.collateral, position.debt)

    def question(self, position: Position) -> tuple[str, bytes]:
        return self.chain.aave.pool, encode_call("getUserAccountData(address)", (position.account,))

    def view(self, position: Position, answer: bytes) -> View:
        collateral, debt, _, _, _, health = decode(["uint256"] * 6, answer)
        return View(health if debt else None, bool(debt) and health < WAD, collateral / 1e8, debt / 1e8, within_wad=0)


class Morpho(Market):
    name = "morpho"
    collaterals = ("WETH",)
    debts = ("USDC",)

    def prepare(self) -> None:
        self.chain.morpho.supply(self.chain.accounts[-1], _DEEP)

    def threshold(self, collateral: str) -> float:
        return LLTV_WAD / WAD

    def id_of(self, account: str) -> str:
        return f"morpho:{account}:0x{self.chain.morpho.market_id.hex()}"

    def _supply(self, account: str, symbol: str, amount: Decimal) -> None:
        self.chain.morpho.supply_collateral(account, amount)

    def _borrow(self, account: str, symbol: str, amount: Decimal) -> None:
        self.chain.morpho.borrow(account, amount)

    def repay(self, position: Position, amount: int | None) -> None:
        main = self.chain.morpho.main
        main.repay(position.account) if amount is None else main.repay(position.account, amount)

    def add(self, position: Position, amount: int) -> None:
        self.chain.morpho.main.supply_collateral(position.account, amount)

    def rival(self, position: Position) -> None:
        self.chain.morpho.main.liquidate(self.chain.accounts[5], position.account)

    def question(self, position: Position) -> tuple[str, bytes]:
        morpho = self.chain.morpho
        return self.chain.multicall3, together(
            (morpho.address, encode_call(f"accrueInterest({PARAMS})", (morpho.params,))),
            (morpho.address, encode_call("market(bytes32)", (morpho.market_id,))),
            (morpho.address, encode_call("position(bytes32,address)", (morpho.market_id, position.account))),
            (morpho.params[2], encode_call("price()", ())),
        )

    def view(self, position: Position, answer: bytes) -> View:
        _, market, held, price = told(answer)
        _, _, owed, owed_shares, _, _ = decode(["uint128"] * 6, market)
        _, shares, collateral = decode(["uint256", "uint128", "uint128"], held)
        (price_e36,) = decode(["uint256"], price)
        debt = -(-shares * (owed + 1) // (owed_shares + _VIRTUAL_SHARES))
        worth = collateral * price_e36 // 10**36
        most = worth * LLTV_WAD // WAD
        return View(most * WAD // debt if debt else None, most < debt, worth / 1e6, debt / 1e6)


class Venus(Market):
    name = "venus"
    collaterals = ("WETH", "WBTC")
    debts = ("USDC", "DAI")
    least_health = 1.12

    def prepare(self) -> None:
        for symbol in self.debts:
            self.chain.venus.supply(self.chain.accounts[-1], symbol, _DEEP)

    def threshold(self, collateral: str) -> float:
        return VENUS_TERMS[collateral].liquidation_threshold_wad / WAD

    def _supply(self, account: str, symbol: str, amount: Decimal) -> None:
        self.chain.venus.supply(account, symbol, amount)

    def _borrow(self, account: str, symbol: str, amount: Decimal) -> None:
        self.chain.venus.borrow(account, symbol, amount)

    def repay(self, position: Position, amount: int | None) -> None:
        self.chain.venus.repay(position.account, position.debt, ALL if amount is None else amount)

    def add(self, position: Position, amount: int) -> None:
        self.chain.venus.supply(position.account, position.collateral, amount)

    def rival(self, position: Position) -> None:
        owed = self.chain.venus.owed(position.account, position.debt)
        self.chain.venus.liquidate(
            self.chain.accounts[5], position.account, position.debt, owed * 49 // 100, position.collateral
        )

    def question(self, position: Position) -> tuple[str, bytes]:
        venus = self.chain.venus
        debt = venus.vtokens[position.debt]
        return self.chain.multicall3, together(
            *((vtoken, encode_call("accrueInterest()", ())) for vtoken in venus.vtokens.values()),
            (venus.comptroller, encode_call("getAccountLiquidity(address)", (position.account,))),
            (debt, encode_call("borrowBalanceStored(address)", (position.account,))),
            (venus.deployment.oracle, encode_call("getUnderlyingPrice(address)", (debt,))),
        )

    def view(self, position: Position, answer: bytes) -> View:
        *_, account, owed, price = told(answer)
        _, liquidity, shortfall = decode(["uint256"] * 3, account)
        debt_wad = decode(["uint256"], owed)[0] * decode(["uint256"], price)[0] // WAD
        covered_wad = debt_wad + liquidity - shortfall
        worth = covered_wad / 1e18 / self.threshold(position.collateral)
        return View(covered_wad * WAD // debt_wad if debt_wad else None, bool(shortfall), worth, debt_wad / 1e18)


def together(*calls: tuple[str, bytes]) -> bytes:
    """Several calls in one, each seeing what those before it did."""
    return encode_call(
        "aggregate3((address,bool,bytes)[])", ([(checksummed(target), False, data) for target, data in calls],)
    )


def told(answer: bytes) -> list[bytes]:
    outcomes: Any = decode(["(bool,bytes)[]"], answer)[0]
    return [data for _, data in outcomes]
