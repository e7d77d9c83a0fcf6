"""What users and governance do on the deployed Aave market, one transaction each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.core.units import UINT256_MAX
from keeper.devnet.aave import TERMS, Deployment, Reserve, ReserveTerms, deploy, deploy_oracle, list_reserves
from keeper.devnet.abi import Address
from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.errors import DevnetError
from keeper.devnet.tokens import Amount, Token, Tokens

ALL = UINT256_MAX
"""The whole balance, or the whole debt, at the time the transaction is mined."""

BTC_ETH_EMODE = 1
_VARIABLE_RATE = 2
_NO_REFERRAL = 0


@dataclass(frozen=True, slots=True)
class AccountData:
    """`Pool.getUserAccountData`. *_base are US dollars with 8 decimals; health is 2**256 - 1 without debt."""

    total_collateral_base: int
    total_debt_base: int
    available_borrows_base: int
    liquidation_threshold_bps: int
    ltv_bps: int
    health_factor_wad: int


class AaveMarket:
    """Amounts: int for raw units, Decimal for whole units, ALL for everything.

    Whoever supplies, repays or liquidates is first given the tokens they lack and approves the pool. Every action
    returns its receipt and raises Reverted with Aave's own error.
    """

    def __init__(self, client: Client, tokens: Tokens, market: Deployment, reserves: Mapping[str, Reserve]) -> None:
        self._client = client
        self._tokens = tokens
        self.market = market
        self.reserves = dict(reserves)
        self.provider = market.provider
        self.pool = market.pool
        self.configurator = market.configurator
        self.data_provider = market.data_provider

    @classmethod
    def deployed(cls, client: Client, tokens: Tokens, admin: str) -> AaveMarket:
        """Deploy the market with its four reserves and the e-mode category."""
        listed = {symbol: tokens[symbol] for symbol in TERMS}
        market = deploy(client, admin, listed)
        reserves = list_reserves(client, market, {symbol: (listed[symbol], TERMS[symbol]) for symbol in TERMS})
        aave = cls(client, tokens, market, reserves)
        aave.set_emode_category(BTC_ETH_EMODE, 9000, 9300, 10100, "BTC and ETH")
        aave.set_emode_collateral("WBTC", BTC_ETH_EMODE, True)
        aave.set_emode_borrowable("WETH", BTC_ETH_EMODE, True)
        return aave

    # --- users

    def supply(self, who: Address, symbol: str, amount: Amount, on_behalf_of: Address | None = None) -> Receipt:
        token = self._tokens[symbol]
        units = token.units(amount)
        self._tokens.provide(who, symbol, units, self.pool)
        args = (token.address, units, on_behalf_of or who, _NO_REFERRAL)
        return self._client.send(who, self.pool, "supply(address,uint256,address,uint16)", *args)

    def withdraw(self, who: Address, symbol: str, amount: Amount = ALL) -> Receipt:
        token = self._tokens[symbol]
        args = (token.address, token.units(amount), who)
        return self._client.send(who, self.pool, "withdraw(address,uint256,address)", *args)

    def borrow(self, who: Address, symbol: str, amount: Amount) -> Receipt:
        token = self._tokens[symbol]
        args = (token.address, token.units(amount), _VARIABLE_RATE, _NO_REFERRAL, who)
        return self._client.send(who, self.pool, "borrow(address,uint256,uint256,uint16,address)", *args)

    def repay(self, who: Address, symbol: str, amount: Amount = ALL) -> Receipt:
        token = self._tokens[symbol]
        units = token.units(amount)
        self._tokens.provide(who, symbol, self._with_interest(who, symbol) if units == ALL else units, self.pool)
        args = (token.address, units, _VARIABLE_RATE, who)
        return self._client.send(who, self.pool, "repay(address,uint256,uint256,address)", *args)

    def set_emode(self, who: Address, category: int) -> Receipt:
        """Category 0 leaves the e-mode."""
        return self._client.send(who, self.pool, "setUserEMode(uint8)", category)

    def set_collateral(self, who: Address, symbol: str, enabled: bool) -> Receipt:
        args = (self._tokens[symbol].address, enabled)
        return self._client.send(who, self.pool, "setUserUseReserveAsCollateral(address,bool)", *args)

    def transfer_a_token(self, who: Address, to: Address, symbol: str, amount: Amount) -> Receipt:
        units = self._tokens[symbol].units(amount)
        return self._client.send(who, self.reserves[symbol].a_token, "transfer(address,uint256)", to, units)

    def liquidate(
        self,
        liquidator: Address,
        borrower: Address,
        collateral: str,
        debt: str,
        amount: Amount = ALL,
        receive_a_token: bool = False,
    ) -> Receipt:
        """Repay up to `amount` of the borrower's debt; Aave reduces it to what its rules allow."""
        token = self._tokens[debt]
        units = token.units(amount)
        needed = self._with_interest(borrower, debt) if units == ALL else units
        self._tokens.provide(liquidator, debt, needed, self.pool)
        args = (self._tokens[collateral].address, token.address, borrower, units, receive_a_token)
        return self._client.send(liquidator, self.pool, "liquidationCall(address,address,address,uint256,bool)", *args)

    # --- views

    def user_account_data(self, who: Address, block: Block = None) -> AccountData:
        signature = "getUserAccountData(address)(uint256,uint256,uint256,uint256,uint256,uint256)"
        return AccountData(*self._client.call(self.pool, signature, who, block=block))

    def health(self, who: Address, block: Block = None) -> int:
        """Health factor, scaled by 1e18."""
        return self.user_account_data(who, block).health_factor_wad

    def debt(self, who: Address, symbol: str, block: Block = None) -> int:
        """Owed raw units, interest included."""
        owed: int = self._client.call(
            self.reserves[symbol].variable_debt_token, "balanceOf(address)(uint256)", who, block=block
        )
        return owed

    def supplied(self, who: Address, symbol: str, block: Block = None) -> int:
        """Supplied raw units, interest included."""
        held: int = self._client.call(self.reserves[symbol].a_token, "balanceOf(address)(uint256)", who, block=block)
        return held

    # --- governance

    @property
    def oracle(self) -> str:
        """The present price oracle."""
        return str(self._client.call(self.provider, "getPriceOracle()(address)"))

    def init_reserve(self, symbol: str, decimals: int, price: Amount, terms: ReserveTerms) -> Reserve:
        """Deploy a new token with a feed and list it."""
        token = self._tokens.add(symbol, decimals, price)
        self.set_asset_source(symbol, token.feed)
        self.reserves |= list_reserves(self._client, self.market, {symbol: (token, terms)})
        return self.reserves[symbol]

    def drop_reserve(self, symbol: str) -> Receipt:
        """Delist; only possible while nobody supplies or owes."""
        receipt = self._configure("dropReserve(address)", self._asset(symbol))
        del self.reserves[symbol]
        return receipt

    def configure_collateral(self, symbol: str, ltv_bps: int, threshold_bps: int, bonus_bps: int) -> Receipt:
        """bonus_bps: 10500 is a bonus of 5 %."""
        args = (self._asset(symbol), ltv_bps, threshold_bps, bonus_bps)
        return self._configure("configureReserveAsCollateral(address,uint256,uint256,uint256)", *args)

    def set_emode_category(
        self, category: int, ltv_bps: int, threshold_bps: int, bonus_bps: int, label: str
    ) -> Receipt:
        args = (category, ltv_bps, threshold_bps, bonus_bps, label)
        return self._configure("setEModeCategory(uint8,uint16,uint16,uint16,string)", *args)

    def set_emode_collateral(self, symbol: str, category: int, allowed: bool) -> Receipt:
        return self._configure("setAssetCollateralInEMode(address,uint8,bool)", self._asset(symbol), category, allowed)

    def set_emode_borrowable(self, symbol: str, category: int, allowed: bool) -> Receipt:
        return self._configure("setAssetBorrowableInEMode(address,uint8,bool)", self._asset(symbol), category, allowed)

    def set_borrowing(self, symbol: str, enabled: bool) -> Receipt:
        return self._configure("setReserveBorrowing(address,bool)", self._asset(symbol), enabled)

    def set_pause(self, symbol: str, paused: bool, grace_s: int = 0) -> Receipt:
        """grace_s: after unpausing, no liquidation for this long."""
        return self._configure("setReservePause(address,bool,uint40)", self._asset(symbol), paused, grace_s)

    def set_pool_pause(self, paused: bool, grace_s: int = 0) -> Receipt:
        return self._configure("setPoolPause(bool,uint40)", paused, grace_s)

    def set_freeze(self, symbol: str, frozen: bool) -> Receipt:
        return self._configure("setReserveFreeze(address,bool)", self._asset(symbol), frozen, gas=12_000_000)

    def set_reserve_factor(self, symbol: str, factor_bps: int) -> Receipt:
        return self._configure("setReserveFactor(address,uint256)", self._asset(symbol), factor_bps)

    def set_supply_cap(self, symbol: str, whole: int) -> Receipt:
        """whole: tokens, not raw units; 0 is no cap."""
        return self._configure("setSupplyCap(address,uint256)", self._asset(symbol), whole)

    def set_liquidation_protocol_fee(self, symbol: str, fee_bps: int) -> Receipt:
        return self._configure("setLiquidationProtocolFee(address,uint256)", self._asset(symbol), fee_bps)

    def set_asset_source(self, symbol: str, feed: str) -> Receipt:
        """Let the present oracle price the asset by another feed."""
        args = ([self._asset(symbol)], [feed])
        return self._client.send(self.market.admin, self.oracle, "setAssetSources(address[],address[])", *args)

    def replace_oracle(self) -> str:
        """A new oracle with the tokens' own feeds. Returns its address."""
        listed: dict[str, Token] = {symbol: reserve.token for symbol, reserve in self.reserves.items()}
        return deploy_oracle(self._client, self.market.admin, self.provider, listed)

    def _asset(self, symbol: str) -> str:
        return self._tokens[symbol].address

    def _configure(self, signature: str, *args: object, gas: int = 2_000_000) -> Receipt:
        return self._client.send(self.market.admin, self.configurator, signature, *args, gas=gas)

    def _with_interest(self, borrower: Address, symbol: str) -> int:
        """A little more than is owed now, because the debt grows until the transaction is mined."""
        owed = self.debt(borrower, symbol)
        if not owed:
            raise DevnetError(f"there is no {symbol} debt to repay")
        return owed + owed // 1000 + 1
