"""The real Aave v3.6, compiled from its package and deployed.

Reserves WETH, WBTC, USDC and DAI, one e-mode category (WBTC collateral, WETH debt), flash loans on. Order matters in
two places: libraries before what links them, and the provider's addresses before what reads them at construction.
Source: @aave-dao/aave-v3-origin 3.6.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eth_abi.abi import encode

from keeper.devnet.client import Client
from keeper.devnet.npm import AAVE, OPENZEPPELIN, SOLIDITY_UTILS, fetch
from keeper.devnet.solc import Artifact, compile_sources
from keeper.devnet.tokens import Token

ZERO_ADDRESS = "0x" + "00" * 20

_CONTRACTS = "src/contracts/"
_SOURCES = (
    "protocol/configuration/PoolAddressesProvider.sol",
    "protocol/configuration/ACLManager.sol",
    "instances/PoolInstance.sol",
    "instances/PoolConfiguratorInstance.sol",
    "instances/ATokenInstance.sol",
    "instances/VariableDebtTokenInstance.sol",
    "misc/AaveOracle.sol",
    "misc/DefaultReserveInterestRateStrategyV2.sol",
    "helpers/AaveProtocolDataProvider.sol",
    "protocol/libraries/helpers/Errors.sol",  # errors raised inside linked libraries are in no other ABI
    "protocol/libraries/logic/BorrowLogic.sol",
    "protocol/libraries/logic/ConfiguratorLogic.sol",
    "protocol/libraries/logic/FlashLoanLogic.sol",
    "protocol/libraries/logic/LiquidationLogic.sol",
    "protocol/libraries/logic/PoolLogic.sol",
    "protocol/libraries/logic/SupplyLogic.sol",
)
# FlashLoanLogic itself links BorrowLogic, so that one comes first.
_LIBRARIES = ("BorrowLogic", "SupplyLogic", "LiquidationLogic", "PoolLogic", "ConfiguratorLogic", "FlashLoanLogic")


@dataclass(frozen=True, slots=True)
class ReserveTerms:
    """Risk parameters of a reserve; everything in basis points. ltv_bps 0 means it is no collateral.

    rates_bps: optimal usage, rate at zero usage, slope below and slope above the optimum.
    """

    ltv_bps: int
    liquidation_threshold_bps: int
    liquidation_bonus_bps: int
    reserve_factor_bps: int
    liquidation_protocol_fee_bps: int
    rates_bps: tuple[int, int, int, int]
    borrowable: bool = True


TERMS: Mapping[str, ReserveTerms] = {
    "WETH": ReserveTerms(8000, 8250, 10500, 1500, 1000, (9200, 0, 270, 8000)),
    "WBTC": ReserveTerms(7300, 7800, 10600, 2000, 1000, (4500, 0, 400, 30000)),
    "USDC": ReserveTerms(7500, 7800, 10450, 1000, 1000, (9200, 0, 550, 6000)),
    "DAI": ReserveTerms(6300, 7700, 10500, 2500, 1000, (9200, 0, 550, 7500)),
}


@dataclass(frozen=True, slots=True)
class Reserve:
    token: Token
    a_token: str
    variable_debt_token: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses of a market. Whoever deployed it holds every role."""

    admin: str
    provider: str
    acl_manager: str
    pool: str
    configurator: str
    oracle: str
    data_provider: str
    a_token_implementation: str
    debt_token_implementation: str


def build() -> dict[str, Artifact]:
    """Compile, or read from the cache."""
    aave, openzeppelin, utils = fetch(AAVE, OPENZEPPELIN, SOLIDITY_UTILS)
    roots = {
        "src/": aave / "src",
        "openzeppelin-contracts/contracts/": openzeppelin,
        "solidity-utils/": utils / "src",
    }
    return compile_sources("aave-3.6.0", [_CONTRACTS + source for source in _SOURCES], roots)


def deploy(client: Client, admin: str, tokens: Mapping[str, Token]) -> Deployment:
    """Deploy the market with an oracle for `tokens`, without reserves. 25 transactions."""
    artifacts = build()
    client.reasons.learn(artifacts["Errors"].abi)

    provider = client.deploy(admin, artifacts["PoolAddressesProvider"], ("Keeper dev market", admin))
    client.send(admin, provider, "setACLAdmin(address)", admin)
    acl_manager = client.deploy(admin, artifacts["ACLManager"], (provider,))
    client.send(admin, provider, "setACLManager(address)", acl_manager)
    for role in ("PoolAdmin", "EmergencyAdmin", "RiskAdmin"):
        client.send(admin, acl_manager, f"add{role}(address)", admin)

    libraries: dict[str, str] = {}
    for name in _LIBRARIES:
        libraries[name] = client.deploy(admin, artifacts[name], libraries=libraries)

    rates = client.deploy(admin, artifacts["DefaultReserveInterestRateStrategyV2"], (provider,))
    pool_code = client.deploy(admin, artifacts["PoolInstance"], (provider, rates), libraries)
    client.send(admin, provider, "setPoolImpl(address)", pool_code)
    configurator_code = client.deploy(admin, artifacts["PoolConfiguratorInstance"], libraries=libraries)
    client.send(admin, provider, "setPoolConfiguratorImpl(address)", configurator_code)
    pool = client.call(provider, "getPool()(address)")

    oracle = deploy_oracle(client, admin, provider, tokens)
    data_provider = client.deploy(admin, artifacts["AaveProtocolDataProvider"], (provider,))
    client.send(admin, provider, "setPoolDataProvider(address)", data_provider)

    deployment = Deployment(
        admin=admin,
        provider=provider,
        acl_manager=acl_manager,
        pool=pool,
        configurator=client.call(provider, "getPoolConfigurator()(address)"),
        oracle=oracle,
        data_provider=data_provider,
        # No rewards controller; the treasury must not be zero.
        a_token_implementation=client.deploy(admin, artifacts["ATokenInstance"], (pool, ZERO_ADDRESS, admin)),
        debt_token_implementation=client.deploy(admin, artifacts["VariableDebtTokenInstance"], (pool, ZERO_ADDRESS)),
    )
    client.send(admin, deployment.configurator, "updateFlashloanPremium(uint128)", 5)
    return deployment


def deploy_oracle(client: Client, admin: str, provider: str, tokens: Mapping[str, Token]) -> str:
    """A price oracle in US dollars with 8 decimals, made the market's own."""
    assets, feeds = [t.address for t in tokens.values()], [t.feed for t in tokens.values()]
    args = (provider, assets, feeds, ZERO_ADDRESS, ZERO_ADDRESS, 10**8)
    oracle = client.deploy(admin, build()["AaveOracle"], args)
    client.send(admin, provider, "setPriceOracle(address)", oracle)
    return oracle


def list_reserves(
    client: Client, market: Deployment, terms: Mapping[str, tuple[Token, ReserveTerms]]
) -> dict[str, Reserve]:
    """Add reserves, by symbol; their feeds must be in the oracle already."""
    inputs = [
        (
            market.a_token_implementation,
            market.debt_token_implementation,
            token.address,
            f"Aave {symbol}",
            f"a{symbol}",
            f"Aave Variable Debt {symbol}",
            f"variableDebt{symbol}",
            b"",
            encode(["(uint256,uint256,uint256,uint256)"], [wanted.rates_bps]),
        )
        for symbol, (token, wanted) in terms.items()
    ]
    signature = "initReserves((address,address,address,string,string,string,string,bytes,bytes)[])"
    client.send(market.admin, market.configurator, signature, inputs, gas=16_000_000)
    for token, wanted in terms.values():
        _configure(client, market, token.address, wanted)
    return {symbol: _reserve(client, market, token) for symbol, (token, _) in terms.items()}


def _configure(client: Client, market: Deployment, asset: str, terms: ReserveTerms) -> None:
    def configure(signature: str, *args: object) -> None:
        client.send(market.admin, market.configurator, signature, asset, *args, gas=2_000_000)

    collateral = (terms.ltv_bps, terms.liquidation_threshold_bps, terms.liquidation_bonus_bps)
    configure("configureReserveAsCollateral(address,uint256,uint256,uint256)", *collateral)
    configure("setReserveBorrowing(address,bool)", terms.borrowable)
    configure("setReserveFlashLoaning(address,bool)", True)
    configure("setReserveFactor(address,uint256)", terms.reserve_factor_bps)
    configure("setLiquidationProtocolFee(address,uint256)", terms.liquidation_protocol_fee_bps)


def _reserve(client: Client, market: Deployment, token: Token) -> Reserve:
    return Reserve(
        token=token,
        a_token=client.call(market.pool, "getReserveAToken(address)(address)", token.address),
        variable_debt_token=client.call(market.pool, "getReserveVariableDebtToken(address)(address)", token.address),
    )
