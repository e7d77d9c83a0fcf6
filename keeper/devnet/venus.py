"""A real Venus isolated pool, from the published artifacts, over the chain's tokens and feeds.

Source: @venusprotocol/isolated-pools 4.4.0. The oracle and the receiver of seized shares are ours. The Comptroller is
larger than EIP-170 allows; BNB Chain, where it lives, is as strict, but its deployed build is a smaller one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keeper.core.units import UINT256_MAX
from keeper.devnet.abi import Address, encode_call
from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.contracts import venus_artifacts
from keeper.devnet.npm import VENUS, fetch
from keeper.devnet.solc import Artifact, hardhat_artifact
from keeper.devnet.tokens import Amount, Tokens

BLOCKS_PER_YEAR = 10_512_000
CLOSE_FACTOR_WAD = 500_000_000_000_000_000
INCENTIVE_WAD = 1_100_000_000_000_000_000
MIN_LIQUIDATABLE_USD_WAD = 100 * 10**18
"""Accounts with less collateral than this are liquidated whole (`liquidateAccount`) or healed."""

SEIZE_SHARE_WAD = 50_000_000_000_000_000
"""What the protocol keeps of seized collateral."""

_ANYWHERE = "0x" + "00" * 20
_VTOKEN_DECIMALS = 8
_RESERVE_FACTOR_WAD = 10**17


@dataclass(frozen=True, slots=True)
class Terms:
    collateral_factor_wad: int
    liquidation_threshold_wad: int


TERMS = {
    "WETH": Terms(750_000_000_000_000_000, 800_000_000_000_000_000),
    "WBTC": Terms(700_000_000_000_000_000, 750_000_000_000_000_000),
    "USDC": Terms(780_000_000_000_000_000, 820_000_000_000_000_000),
    "DAI": Terms(750_000_000_000_000_000, 800_000_000_000_000_000),
}

_GOVERNANCE = (
    "setCloseFactor(uint256)",
    "setCollateralFactor(address,uint256,uint256)",
    "setLiquidationIncentive(uint256)",
    "setMarketBorrowCaps(address[],uint256[])",
    "setMarketSupplyCaps(address[],uint256[])",
    "setMinLiquidatableCollateral(uint256)",
    "setForcedLiquidation(address,bool)",
    "setActionsPaused(address[],uint256[],bool)",
    "setInterestRateModel(address)",
    "setProtocolSeizeShare(uint256)",
    "addPool(string,address,uint256,uint256,uint256)",
    "addMarket(AddMarketInput)",
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses. vtokens: by the symbol of what they hold."""

    admin: str
    access: str
    registry: str
    comptroller: str
    oracle: str
    vtokens: Mapping[str, str]


class Venus:
    """What users and governance do, one transaction each. Amounts: int for raw units, Decimal for whole units."""

    def __init__(self, client: Client, tokens: Tokens, deployment: Deployment) -> None:
        self.client = client
        self.tokens = tokens
        self.deployment = deployment
        self.comptroller = deployment.comptroller
        self.vtokens = deployment.vtokens

    @classmethod
    def deployed(cls, client: Client, tokens: Tokens, admin: str, *, by_seconds: bool = False) -> Venus:
        """A pool with a market for every token in TERMS, each seeded with one whole token by the admin.

        by_seconds: its markets count interest by seconds, as on rollups; else by blocks.
        """
        return cls(client, tokens, _deploy(client, tokens, admin, by_seconds=by_seconds))

    # --- users

    def supply(self, who: Address, symbol: str, amount: Amount) -> Receipt:
        """Lend, and count it as collateral."""
        units, vtoken = self.tokens[symbol].units(amount), self.vtokens[symbol]
        self.tokens.provide(_text(who), symbol, units, vtoken)
        receipt = self.client.send(who, vtoken, "mint(uint256)", units)
        if not self.client.call(self.comptroller, "checkMembership(address,address)(bool)", who, vtoken):
            self.client.send(who, self.comptroller, "enterMarkets(address[])", [vtoken])
        return receipt

    def withdraw(self, who: Address, symbol: str, amount: Amount) -> Receipt:
        units = self.tokens[symbol].units(amount)
        return self.client.send(who, self.vtokens[symbol], "redeemUnderlying(uint256)", units)

    def borrow(self, who: Address, symbol: str, amount: Amount) -> Receipt:
        return self.client.send(who, self.vtokens[symbol], "borrow(uint256)", self.tokens[symbol].units(amount))

    def repay(self, who: Address, symbol: str, amount: Amount, of: Address | None = None) -> Receipt:
        """UINT256_MAX repays everything."""
        units, vtoken = self.tokens[symbol].units(amount), self.vtokens[symbol]
        owed = self.owed(of or who, symbol) * 101 // 100 + 1 if units == UINT256_MAX else units
        self.tokens.provide(_text(who), symbol, owed, vtoken)
        return self.client.send(who, vtoken, "repayBorrowBehalf(address,uint256)", of or who, units)

    def liquidate(self, who: Address, borrower: Address, debt: str, amount: Amount, collateral: str) -> Receipt:
        units, vtoken = self.tokens[debt].units(amount), self.vtokens[debt]
        self.tokens.provide(_text(who), debt, units, vtoken)
        arguments = (borrower, units, self.vtokens[collateral])
        return self.client.send(who, vtoken, "liquidateBorrow(address,uint256,address)", *arguments)

    # --- governance

    def govern(self, to: Address, signature: str, *args: object) -> Receipt:
        """Anything that `_GOVERNANCE` allows, as the admin."""
        return self.client.send(self.deployment.admin, to, signature, *args)

    # --- views

    def liquidity(self, who: Address, block: Block = None) -> tuple[int, int]:
        """Liquidity and shortfall against liquidation thresholds, in dollars scaled by 1e18, as stored."""
        signature = "getAccountLiquidity(address)(uint256,uint256,uint256)"
        _, liquidity, shortfall = self.client.call(self.comptroller, signature, who, block=block)
        return liquidity, shortfall

    def owed(self, who: Address, symbol: str, block: Block = None) -> int:
        """Raw units, without interest since the market was last touched."""
        owed: int = self.client.call(self.vtokens[symbol], "borrowBalanceStored(address)(uint256)", who, block=block)
        return owed


def build() -> dict[str, Artifact]:
    (home,) = fetch(VENUS)
    artifacts = home / "artifacts"
    paths = (
        "@venusprotocol/governance-contracts/contracts/Governance/AccessControlManager.sol/AccessControlManager.json",
        "contracts/Pool/PoolRegistry.sol/PoolRegistry.json",
        "contracts/Comptroller.sol/Comptroller.json",
        "contracts/VToken.sol/VToken.json",
        "@openzeppelin/contracts/proxy/beacon/UpgradeableBeacon.sol/UpgradeableBeacon.json",
        "@openzeppelin/contracts/proxy/beacon/BeaconProxy.sol/BeaconProxy.json",
        "hardhat-deploy/solc_0.8/proxy/OptimizedTransparentUpgradeableProxy.sol/OptimizedTransparentUpgradeableProxy.json",
        "contracts/JumpRateModelV2.sol/JumpRateModelV2.json",
    )
    return {Path(path).stem: hardhat_artifact(artifacts / path) for path in paths}


def _deploy(client: Client, tokens: Tokens, admin: str, *, by_seconds: bool) -> Deployment:
    real, ours = build(), venus_artifacts()
    counts = (by_seconds, 0 if by_seconds else BLOCKS_PER_YEAR)
    proxy_admin = client.deploy(admin, ours["SeizedShare"])  # anything that never calls: proxies stay as they are

    def proxied(name: str, args: Sequence[object], signature: str, *init: object) -> str:
        client.reasons.learn(real[name].abi)
        implementation = client.deploy(admin, real[name], args)
        proxy = real["OptimizedTransparentUpgradeableProxy"]
        return client.deploy(admin, proxy, (implementation, proxy_admin, encode_call(signature, init)))

    access = client.deploy(admin, real["AccessControlManager"])
    registry = proxied("PoolRegistry", (), "initialize(address)", access)
    comptroller = proxied("Comptroller", (registry,), "initialize(uint256,address)", 100, access)
    for signature in _GOVERNANCE:
        for who in (admin, registry):
            client.send(admin, access, "giveCallPermission(address,string,address)", _ANYWHERE, signature, who)
    oracle, share = client.deploy(admin, ours["FeedPrices"]), client.deploy(admin, ours["SeizedShare"])
    client.send(admin, comptroller, "setPriceOracle(address)", oracle)
    pool = ("Dev pool", comptroller, CLOSE_FACTOR_WAD, INCENTIVE_WAD, MIN_LIQUIDATABLE_USD_WAD)
    client.send(admin, registry, "addPool(string,address,uint256,uint256,uint256)", *pool)
    implementation = client.deploy(admin, real["VToken"], (*counts, 5 * 10**12))
    beacon = client.deploy(admin, real["UpgradeableBeacon"], (implementation,))
    vtokens = {}
    for symbol, terms in TERMS.items():
        token = tokens[symbol]
        client.send(admin, oracle, "set(address,address,uint8)", token.address, token.feed, token.decimals)
        curve = (2 * 10**16, 10**17, 3 * 10**18, 8 * 10**17)  # base, slope, slope past the kink, kink
        rate = client.deploy(admin, real["JumpRateModelV2"], (*curve, access, *counts))
        initialize = (
            "initialize(address,address,address,uint256,string,string,uint8,address,address,(address,address),uint256)"
        )
        first_rate = 10 ** (token.decimals + 18 - _VTOKEN_DECIMALS)
        settings = (token.address, comptroller, rate, first_rate, f"Venus {symbol}", f"v{symbol}", _VTOKEN_DECIMALS)
        data = encode_call(initialize, (*settings, admin, access, (admin, share), _RESERVE_FACTOR_WAD))
        vtokens[symbol] = vtoken = client.deploy(admin, real["BeaconProxy"], (beacon, data))
        tokens.provide(admin, symbol, 10**token.decimals, registry)
        market = "addMarket((address,uint256,uint256,uint256,address,uint256,uint256))"
        factors = (terms.collateral_factor_wad, terms.liquidation_threshold_wad)
        listing = (vtoken, *factors, 10**token.decimals, admin, UINT256_MAX, UINT256_MAX)
        client.send(admin, registry, market, listing, gas=3_000_000)
        client.send(admin, vtoken, "setProtocolSeizeShare(uint256)", SEIZE_SHARE_WAD)
    return Deployment(admin, access, registry, comptroller, oracle, vtokens)


def _text(who: Address) -> str:
    return who if isinstance(who, str) else "0x" + who.hex()
