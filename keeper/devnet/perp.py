"""The real Perpetual Protocol v2 ("Curie") with one market, vETH, over the chain's USDC and ether feed.

Source: @perp/curie-contract 2.8.4, @perp/perp-oracle-contract 0.6.7, @uniswap/v3-core 1.0.1; their published artifacts.

A market trades only once its pool is half an hour old, since the mark price reads a TWAP of that length; `deployed`
warps past that. The mark price is the median of two TWAPs of the pool and of the index with its premium, so a fall of
the index alone liquidates nobody: `move_market` trades the pool down with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from math import isqrt

from eth_utils.crypto import keccak

from keeper.core.units import UINT256_MAX
from keeper.devnet.abi import Address, checksummed
from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.errors import DevnetError
from keeper.devnet.npm import PERP, PERP_ORACLE, UNISWAP_CORE, fetch
from keeper.devnet.solc import Artifact, hardhat_artifact
from keeper.devnet.tokens import Amount, Tokens

FEE = 3000
"""Of the pool, in hundredths of a basis point."""

WAD = 10**18
POOL_TWAP_S = 1800
MAX_TICK_CROSSED = 1000
"""How far one block may move the pool; the limit counts anew every 15 seconds."""

_TICK_SPACING = 60
_NEVER = 2**40
_GAS = 8_000_000
_LIMIT_S = 16
_CONTRACTS = (
    "ClearingHouseConfig",
    "MarketRegistry",
    "OrderBook",
    "InsuranceFund",
    "Exchange",
    "AccountBalance",
    "Vault",
    "CollateralManager",
    "ClearingHouse",
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses."""

    admin: str
    config: str
    market_registry: str
    order_book: str
    insurance_fund: str
    exchange: str
    account_balance: str
    vault: str
    collateral_manager: str
    clearing_house: str
    base: str
    quote: str
    pool: str
    price_feed: str
    dispatcher: str


@dataclass(frozen=True, slots=True)
class Margin:
    """ClearingHouse.getAccountValue and AccountBalance.getMarginRequirementForLiquidation: dollars scaled by 1e18."""

    account_value: int
    requirement: int


class Perp:
    """What traders, makers and the index do. Dollars and base amounts: int is raw (1e18; deposits in USDC's 1e6)."""

    def __init__(self, client: Client, tokens: Tokens, deployment: Deployment) -> None:
        self.client = client
        self.tokens = tokens
        self.deployment = deployment
        self.clearing_house = deployment.clearing_house
        self.vault = deployment.vault

    @classmethod
    def deployed(cls, client: Client, tokens: Tokens, admin: str) -> Perp:
        """The market at the price of the chain's ether, half an hour later, with nobody in it yet."""
        perp = cls(client, tokens, _deploy(client, tokens, admin))
        client.anvil.warp(POOL_TWAP_S + 100)
        perp.publish_price()
        return perp

    # --- users

    def deposit(self, who: Address, amount: Amount, of: Address | None = None) -> Receipt:
        """USDC, as margin; somebody else's, when said so."""
        token = self.tokens["USDC"]
        units = token.units(amount)
        self.tokens.provide(checksummed(who), "USDC", units, self.vault)
        signature = "depositFor(address,address,uint256)"
        return self.client.send(who, self.vault, signature, of or who, token.address, units)

    def withdraw(self, who: Address, amount: Amount) -> Receipt:
        token = self.tokens["USDC"]
        return self.client.send(who, self.vault, "withdraw(address,uint256)", token.address, token.units(amount))

    def trade(self, who: Address, base: Amount) -> Receipt:
        """Buy base (positive) or sell it (negative), exactly."""
        units = _wad(base)
        is_short = units < 0
        order = (self.deployment.base, is_short, is_short, abs(units), 0, _NEVER, 0, bytes(32))
        signature = "openPosition((address,bool,bool,uint256,uint256,uint256,uint160,bytes32))"
        return self.client.send(who, self.clearing_house, signature, order, gas=_GAS)

    def close(self, who: Address) -> Receipt:
        order = (self.deployment.base, 0, 0, _NEVER, bytes(32))
        signature = "closePosition((address,uint160,uint256,uint256,bytes32))"
        return self.client.send(who, self.clearing_house, signature, order, gas=_GAS)

    def add_liquidity(self, who: Address, base: Amount, quote: Amount, low: int, high: int) -> Receipt:
        """A maker's order between two prices in dollars."""
        amounts = (_wad(base), _wad(quote))
        order = (self.deployment.base, *amounts, _tick(low), _tick(high), 0, 0, False, _NEVER)
        signature = "addLiquidity((address,uint256,uint256,int24,int24,uint256,uint256,bool,uint256))"
        return self.client.send(who, self.clearing_house, signature, order, gas=_GAS)

    def remove_liquidity(self, who: Address, liquidity: int, low: int, high: int) -> Receipt:
        order = (self.deployment.base, _tick(low), _tick(high), liquidity, 0, 0, _NEVER)
        signature = "removeLiquidity((address,int24,int24,uint128,uint256,uint256,uint256))"
        return self.client.send(who, self.clearing_house, signature, order, gas=_GAS)

    def liquidate(self, who: Address, trader: Address) -> Receipt:
        """Take over as much of the trader's position as the rules give."""
        args = (trader, self.deployment.base)
        return self.client.send(who, self.clearing_house, "liquidate(address,address)", *args, gas=_GAS)

    # --- prices

    def publish_price(self) -> Receipt:
        """Bring the feed's present answer to the market. A second must have passed since the last time."""
        return self.client.send(self.deployment.admin, self.deployment.dispatcher, "dispatchPrice(uint256)", 0)

    def set_index(self, price: Amount) -> Receipt:
        """Set the chain's ether price, and publish it. Takes a second."""
        self.client.anvil.warp(1)
        self.tokens.set_price("WETH", price)
        return self.publish_price()

    def move_market(self, whale: Address, price: Decimal, lot: Decimal = Decimal(20), patience: int = 200) -> None:
        """Let the whale trade the pool past a price, in lots, each after the time that the tick limit asks for."""
        falling = self.pool_price() > price
        for _ in range(patience):
            if (self.pool_price() > price) != falling:
                return
            self.client.anvil.warp(_LIMIT_S)
            self.trade(whale, -lot if falling else lot)
        raise DevnetError(f"the vETH pool did not reach {price} in {patience} trades of {lot}; deepen the whale's lot")

    def pool_price(self, block: Block = None) -> Decimal:
        """Dollars, for people."""
        signature = "slot0()(uint160,int24,uint16,uint16,uint16,uint8,bool)"
        root: int = self.client.call(self.deployment.pool, signature, block=block)[0]
        return (Decimal(root) / 2**96) ** 2

    # --- views

    def margin(self, who: Address, block: Block = None) -> Margin:
        value = self.client.call(self.clearing_house, "getAccountValue(address)(int256)", who, block=block)
        signature = "getMarginRequirementForLiquidation(address)(int256)"
        return Margin(value, self.client.call(self.deployment.account_balance, signature, who, block=block))

    def size(self, who: Address, block: Block = None) -> int:
        """Base of the taker position, scaled by 1e18; negative when short."""
        signature = "getTakerPositionSize(address,address)(int256)"
        base = self.deployment.base
        size: int = self.client.call(self.deployment.account_balance, signature, who, base, block=block)
        return size


def build() -> dict[str, Artifact]:
    perp, oracle, uniswap = fetch(PERP, PERP_ORACLE, UNISWAP_CORE)
    contracts = "artifacts/contracts"
    paths = (
        *(perp / f"{contracts}/{name}.sol/{name}.json" for name in (*_CONTRACTS, "BaseToken", "QuoteToken")),
        oracle / f"{contracts}/ChainlinkPriceFeedV3.sol/ChainlinkPriceFeedV3.json",
        oracle / f"{contracts}/PriceFeedDispatcher.sol/PriceFeedDispatcher.json",
        uniswap / f"{contracts}/UniswapV3Factory.sol/UniswapV3Factory.json",
    )
    return {path.stem: hardhat_artifact(path) for path in paths}


def _deploy(client: Client, tokens: Tokens, admin: str) -> Deployment:
    real, usdc, ether = build(), tokens["USDC"].address, tokens["WETH"]

    def say(to: str, signature: str, *args: object) -> None:
        client.send(admin, to, signature, *args, gas=_GAS)

    feed = client.deploy(admin, real["ChainlinkPriceFeedV3"], (ether.feed, 40 * 60, 15 * 60))
    dispatcher = client.deploy(admin, real["PriceFeedDispatcher"], (feed,))
    base = client.deploy(admin, real["BaseToken"])
    say(base, "initialize(string,string,address)", "vETH", "vETH", dispatcher)
    quote = _deployed_above(client, admin, base, real["QuoteToken"])
    say(quote, "initialize(string,string)", "vUSD", "vUSD")
    factory = client.deploy(admin, real["UniswapV3Factory"])
    say(factory, "createPool(address,address,uint24)", base, quote, FEE)
    pool: str = client.call(factory, "getPool(address,address,uint24)(address)", base, quote, FEE)
    made = {name: client.deploy(admin, real[name]) for name in _CONTRACTS}
    config, registry, book, fund, exchange, balance, vault, collateral, house = (made[name] for name in _CONTRACTS)
    say(config, "initialize()")
    say(registry, "initialize(address,address)", factory, quote)
    say(book, "initialize(address)", registry)
    say(fund, "initialize(address)", usdc)
    say(exchange, "initialize(address,address,address)", registry, book, config)
    say(exchange, "setAccountBalance(address)", balance)
    say(book, "setExchange(address)", exchange)
    say(balance, "initialize(address,address)", config, book)
    say(vault, "initialize(address,address,address,address)", fund, config, balance, exchange)
    limits = (5, 750_000, 500_000, 2_000, 30_000, 10_000 * 10**6, 500 * 10**6)
    say(
        collateral,
        "initialize(address,address,uint8,uint24,uint24,uint24,uint24,uint256,uint256)",
        config,
        vault,
        *limits,
    )
    say(vault, "setCollateralManager(address)", collateral)
    say(fund, "setVault(address)", vault)
    say(balance, "setVault(address)", vault)
    parts = (config, vault, quote, factory, exchange, balance, fund)
    say(house, "initialize(address,address,address,address,address,address,address)", *parts)
    say(config, "setSettlementTokenBalanceCap(uint256)", UINT256_MAX)
    for token in (base, quote):
        say(token, "addWhitelist(address)", pool)
        say(token, "mintMaximumTo(address)", house)
        say(token, "addWhitelist(address)", house)
    for part in (registry, book, exchange, balance, vault):
        say(part, "setClearingHouse(address)", house)
    price = tokens.price("WETH") * WAD // 10**ether.feed_decimals
    say(pool, "initialize(uint160)", isqrt(price * 2**192 // WAD))
    say(pool, "increaseObservationCardinalityNext(uint16)", 300)
    say(registry, "addPool(address,uint24)", base, FEE)
    say(registry, "setFeeManager(address,bool)", admin, True)
    say(exchange, "setMaxTickCrossedWithinBlock(address,uint24)", base, MAX_TICK_CROSSED)
    say(feed, "update()")
    return Deployment(
        admin,
        config,
        registry,
        book,
        fund,
        exchange,
        balance,
        vault,
        collateral,
        house,
        base,
        quote,
        pool,
        feed,
        dispatcher,
    )


def _deployed_above(client: Client, admin: str, floor: str, artifact: Artifact) -> str:
    """The market registry wants the base token's address below the quote token's, so nonces are spent until it is."""
    while True:
        nonce = int(client.rpc("eth_getTransactionCount", admin, "latest"), 16)
        if _created(admin, nonce) > bytes.fromhex(floor[2:]):
            return client.deploy(admin, artifact)
        client.send_ether(admin, admin, 0)


def _created(sender: str, nonce: int) -> bytes:
    """Address of the contract that this account creates with this nonce: the RLP of both, hashed."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    tail = number if len(number) == 1 and number[0] < 0x80 else bytes([0x80 + len(number)]) + number
    body = b"\x94" + bytes.fromhex(sender[2:]) + tail
    return keccak(bytes([0xC0 + len(body)]) + body)[12:]


def _wad(amount: Amount) -> int:
    return amount if isinstance(amount, int) else int(amount * WAD)


def _tick(price: int) -> int:
    """The usable tick at or below a price in dollars; base and quote have the same decimals."""
    return math.floor(math.log(price, 1.0001) / _TICK_SPACING) * _TICK_SPACING
