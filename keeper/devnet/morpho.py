"""The real Morpho Blue with isolated markets: one of USDC against WETH from the start, others on demand.

Source: @morpho-org/morpho-blue 1.0.0. Compiled without the intermediate language that the deployed build went through:
the same behaviour in a tenth of the time. Oracles and interest rate models are ours: prices are the chain's feeds', and
the adaptive curve is written after the deployed one (which is in no package; tests hold both against each other).
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.core.units import UINT256_MAX
from keeper.devnet.abi import Address
from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.contracts import morpho_artifacts
from keeper.devnet.npm import MORPHO, SOLC_0_8_19, fetch
from keeper.devnet.solc import Artifact, Compiler, compile_sources
from keeper.devnet.tokens import Amount, Tokens

ALL = UINT256_MAX
"""The whole debt, or the whole collateral, at the time the transaction is mined."""

LLTV_WAD = 860_000_000_000_000_000
PARAMS = "(address,address,address,address,uint256)"
"""Loan token, collateral token, oracle, interest rate model, lltv: how Morpho's functions are told the market."""

NOBODY = "0x" + "00" * 20
_LIQUIDATE = f"liquidate({PARAMS},address,uint256,uint256,bytes)"

_TERMS = "(uint256,uint256,uint256,uint256,uint256,address)"

Params = tuple[str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Position:
    """Of one account in the market. Collateral in raw units; owed: raw units, rounded up, without interest since the
    market was last touched."""

    borrow_shares: int
    collateral_assets: int
    owed_assets: int


class MorphoMarket:
    """One market. `params` as Morpho is told it, `id` its hash. Amounts: int for raw units, Decimal for whole ones.

    Whoever pays is first given the tokens they lack and approves Morpho.
    """

    def __init__(
        self, client: Client, tokens: Tokens, morpho: str, params: Params, loan: str, collateral: str, factory: str
    ) -> None:
        self.factory = factory
        self.client = client
        self.tokens = tokens
        self.morpho = morpho
        self.params = params
        self.loan = loan
        self.collateral = collateral
        self.id = market_id(params)

    # --- users

    def supply(self, who: str, amount: Amount) -> Receipt:
        """Loan tokens to lend, in the market and by flash loans."""
        units = self._provided(who, self.loan, amount)
        return self._send(who, f"supply({PARAMS},uint256,uint256,address,bytes)", units, 0, who, b"")

    def withdraw(self, who: str, amount: Amount) -> Receipt:
        units = self.tokens[self.loan].units(amount)
        return self._send(who, f"withdraw({PARAMS},uint256,uint256,address,address)", units, 0, who, who)

    def supply_collateral(self, who: str, amount: Amount, on_behalf_of: str | None = None) -> Receipt:
        units = self._provided(who, self.collateral, amount)
        return self._send(who, f"supplyCollateral({PARAMS},uint256,address,bytes)", units, on_behalf_of or who, b"")

    def withdraw_collateral(self, who: str, amount: Amount = ALL) -> Receipt:
        whole = amount == ALL
        units = self.position(who).collateral_assets if whole else self.tokens[self.collateral].units(amount)
        return self._send(who, f"withdrawCollateral({PARAMS},uint256,address,address)", units, who, who)

    def borrow(self, who: str, amount: Amount) -> Receipt:
        units = self.tokens[self.loan].units(amount)
        return self._send(who, f"borrow({PARAMS},uint256,uint256,address,address)", units, 0, who, who)

    def repay(self, who: str, amount: Amount = ALL, on_behalf_of: str | None = None) -> Receipt:
        owner = on_behalf_of or who
        position = self.position(owner)
        whole = amount == ALL
        units, shares = (0, position.borrow_shares) if whole else (self.tokens[self.loan].units(amount), 0)
        self._provided(who, self.loan, 2 * position.owed_assets + 10 if whole else units)
        return self._send(who, f"repay({PARAMS},uint256,uint256,address,bytes)", units, shares, owner, b"")

    def liquidate(self, liquidator: str, borrower: str, *, seized: int = 0, shares: int = 0) -> Receipt:
        """By raw units of collateral, or by shares of the debt; all of the shares without either."""
        position = self.position(borrower)
        if not seized and not shares:
            shares = position.borrow_shares
        self._provided(liquidator, self.loan, 4 * position.owed_assets + 10)
        return self._send(liquidator, _LIQUIDATE, borrower, seized, shares, b"")

    def authorize(self, owner: str, whom: str, authorized: bool = True) -> Receipt:
        signature = "setAuthorization(address,bool)"
        return self.client.send(owner, self.morpho, signature, whom, authorized)

    def offer_pre_liquidation(
        self,
        lltv_wad: int,
        close_factors_wad: tuple[int, int],
        incentives_wad: tuple[int, int],
        oracle: str | None = None,
    ) -> str:
        """Address of a contract that may liquidate between this threshold and the market's, for whoever authorizes it.

        Factors and incentives at the one and at the other. oracle: the market's own by default.
        """
        terms = (lltv_wad, *close_factors_wad, *incentives_wad, oracle or self.params[2])
        create = f"createPreLiquidation(bytes32,{_TERMS})"
        anybody = self.client.call(self.morpho, "owner()(address)")
        made: str = self.client.call(self.factory, f"{create}(address)", self.id, terms)
        self.client.send(anybody, self.factory, create, self.id, terms, gas=4_000_000)
        return made

    def accrue(self, who: str) -> Receipt:
        return self._send(who, f"accrueInterest({PARAMS})")

    def set_fee(self, fee_wad: int) -> Receipt:
        owner = self.client.call(self.morpho, "owner()(address)")
        return self._send(owner, f"setFee({PARAMS},uint256)", fee_wad)

    def _provided(self, who: str, symbol: str, amount: Amount) -> int:
        units = self.tokens[symbol].units(amount)
        self.tokens.provide(who, symbol, units, self.morpho)
        return units

    def _send(self, who: str, signature: str, *args: object) -> Receipt:
        return self.client.send(who, self.morpho, signature, self.params, *args)

    # --- views

    def position(self, who: str, block: Block = None) -> Position:
        signature = "position(bytes32,address)(uint256,uint128,uint128)"
        _, shares, collateral = self.client.call(self.morpho, signature, self.id, who, block=block)
        market = "market(bytes32)(uint128,uint128,uint128,uint128,uint128,uint128)"
        _, _, owed, owed_shares, _, _ = self.client.call(self.morpho, market, self.id, block=block)
        # Virtual shares and assets as in SharesMathLib.toAssetsUp.
        return Position(shares, collateral, -(-shares * (owed + 1) // (owed_shares + 10**6)))

    def price(self, block: Block = None) -> int:
        """Raw loan units per raw unit of collateral, scaled by 1e36."""
        price: int = self.client.call(self.params[2], "price()(uint256)", block=block)
        return price


class Morpho:
    """A deployed Morpho. `address` is the contract, `main` its market of USDC against WETH, `markets` all by name.

    `params`, `market_id` and the actions here are those of `main`.
    """

    def __init__(
        self, client: Client, tokens: Tokens, address: str, params: Params, adaptive: str, factory: str, admin: str
    ) -> None:
        self.client = client
        self.tokens = tokens
        self.address = address
        self.params = params
        self.adaptive = adaptive
        self.factory = factory
        self.admin = admin
        self.main = MorphoMarket(client, tokens, address, params, "USDC", "WETH", factory)
        self.markets = {"WETH/USDC": self.main}

    @property
    def market_id(self) -> bytes:
        return self.main.id

    @classmethod
    def deployed(cls, client: Client, tokens: Tokens, admin: str) -> Morpho:
        """Eight transactions. Nothing is supplied yet."""
        address = client.deploy(admin, build()["Morpho"], (admin,))
        parts, weth, usdc = morpho_artifacts(), tokens["WETH"], tokens["USDC"]
        rate = client.deploy(admin, parts["UtilizationRate"])
        oracle = client.deploy(admin, parts["FeedOracle"], (weth.feed, weth.decimals, usdc.feed, usdc.decimals))
        adaptive = client.deploy(admin, parts["AdaptiveCurve"], (address,))
        factory = client.deploy(admin, parts["PreLiquidationFactory"], (address,))
        params = (usdc.address, weth.address, oracle, rate, LLTV_WAD)
        client.send(admin, address, "enableIrm(address)", rate)
        client.send(admin, address, "enableIrm(address)", adaptive)
        client.send(admin, address, "enableLltv(uint256)", LLTV_WAD)
        client.send(admin, address, f"createMarket({PARAMS})", params)
        return cls(client, tokens, address, params, adaptive, factory, admin)

    def on(self, client: Client, tokens: Tokens) -> Morpho:
        """The same contracts on another chain that forked this one."""
        again = Morpho(client, tokens, self.address, self.params, self.adaptive, self.factory, self.admin)
        for name, one in self.markets.items():
            if one is not self.main:
                again.markets[name] = MorphoMarket(
                    client, tokens, self.address, one.params, one.loan, one.collateral, self.factory
                )
        return again

    def add_market(
        self,
        collateral: str,
        loan: str,
        *,
        lltv_wad: int = LLTV_WAD,
        irm: str | None = None,
        oracle: str | None = None,
    ) -> MorphoMarket:
        """A further market, known by "COLLATERAL/LOAN", with its lltv behind where there is one already.

        irm: the adaptive curve by default, NOBODY for no interest. oracle: the quotient of the feeds by default.
        """
        sold, lent = self.tokens[collateral], self.tokens[loan]
        if oracle is None:
            args = (sold.feed, sold.decimals, lent.feed, lent.decimals)
            oracle = self.client.deploy(self.admin, morpho_artifacts()["FeedOracle"], args)
        params = (lent.address, sold.address, oracle, self.adaptive if irm is None else irm, lltv_wad)
        if not self.client.call(self.address, "isIrmEnabled(address)(bool)", params[3]):
            self.client.send(self.admin, self.address, "enableIrm(address)", params[3])
        if not self.client.call(self.address, "isLltvEnabled(uint256)(bool)", lltv_wad):
            self.client.send(self.admin, self.address, "enableLltv(uint256)", lltv_wad)
        self.client.send(self.admin, self.address, f"createMarket({PARAMS})", params)
        market = MorphoMarket(self.client, self.tokens, self.address, params, loan, collateral, self.factory)
        name = f"{collateral}/{loan}"
        self.markets[name if name not in self.markets else f"{name} {lltv_wad / 10**16:g}%"] = market
        return market

    def set_fee_recipient(self, who: Address) -> Receipt:
        return self.client.send(self.admin, self.address, "setFeeRecipient(address)", who)

    # --- users of the main market

    def supply(self, who: str, amount: Amount) -> Receipt:
        return self.main.supply(who, amount)

    def supply_collateral(self, who: str, amount: Amount) -> Receipt:
        return self.main.supply_collateral(who, amount)

    def borrow(self, who: str, amount: Amount) -> Receipt:
        return self.main.borrow(who, amount)

    def position(self, who: str, block: Block = None) -> Position:
        return self.main.position(who, block)


def market_id(params: Params) -> bytes:
    return bytes(keccak(encode(PARAMS[1:-1].split(","), params)))


def build() -> dict[str, Artifact]:
    """Compile in three seconds, or read from the cache."""
    (home,) = fetch(MORPHO)
    compiler = Compiler(SOLC_0_8_19, "paris")
    return compile_sources("morpho-1.0.0", ["src/Morpho.sol"], {"src/": home / "src"}, compiler)
