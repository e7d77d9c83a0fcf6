"""The real Aave v3.0.2 on a dev chain, beside or instead of v3.6: fixed-rate debts, one e-mode per asset, old rounding.

Source: @aave/core-v3 1.19.3, whose artifacts are complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from keeper.core.units import RAY
from keeper.devnet.aave import TERMS, Deployment, Reserve
from keeper.devnet.chain import DevChain
from keeper.devnet.client import Client
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.market import ALL, AaveMarket
from keeper.devnet.npm import Package, fetch
from keeper.devnet.solc import Artifact
from tests.support.aave_world import World

_CORE = Package("@aave/core-v3@1.19.3", ("artifacts/contracts/protocol/", "artifacts/contracts/misc/"))
NO_DATA_PROVIDER = _ZERO = "0x" + "00" * 20
_LOGIC = ("BorrowLogic", "BridgeLogic", "EModeLogic", "FlashLoanLogic", "LiquidationLogic", "PoolLogic", "SupplyLogic")
_STABLE_RATE = 1
_RESERVE_DATA = ",".join(("uint256", *["uint128"] * 5, "uint40", "uint16", *["address"] * 4, *["uint128"] * 3))
_RESERVE_INPUT = (
    "(address,address,address,uint8,address,address,address,address,string,string,string,string,string,string,bytes)"
)


def install(chain: DevChain) -> None:
    """Make `chain.aave` a v3.0 market of the same tokens and feeds, with deep reserves."""
    client, admin = chain.client, chain.aave.market.admin
    artifacts = _artifacts()
    provider = client.deploy(admin, artifacts["PoolAddressesProvider"], ("v3.0", admin))
    client.send(admin, provider, "setACLAdmin(address)", admin)
    acl_manager = client.deploy(admin, artifacts["ACLManager"], (provider,))
    client.send(admin, provider, "setACLManager(address)", acl_manager)
    for role in ("PoolAdmin", "EmergencyAdmin", "RiskAdmin"):
        client.send(admin, acl_manager, f"add{role}(address)", admin)
    libraries: dict[str, str] = {}
    for name in (*_LOGIC, "ConfiguratorLogic"):
        libraries[name] = client.deploy(admin, artifacts[name], libraries=libraries)
    pool_code = client.deploy(admin, artifacts["Pool"], (provider,), libraries)
    client.send(admin, provider, "setPoolImpl(address)", pool_code)
    configurator_code = client.deploy(admin, artifacts["PoolConfigurator"], libraries=libraries)
    client.send(admin, provider, "setPoolConfiguratorImpl(address)", configurator_code)
    tokens = {symbol: chain.tokens[symbol] for symbol in TERMS}
    feeds = ([t.address for t in tokens.values()], [t.feed for t in tokens.values()])
    oracle = client.deploy(admin, artifacts["AaveOracle"], (provider, *feeds, _ZERO, _ZERO, 10**8))
    client.send(admin, provider, "setPriceOracle(address)", oracle)
    pool = client.call(provider, "getPool()(address)")
    market = Deployment(
        admin=admin,
        provider=provider,
        acl_manager=acl_manager,
        pool=pool,
        configurator=client.call(provider, "getPoolConfigurator()(address)"),
        oracle=oracle,
        data_provider=NO_DATA_PROVIDER,
        a_token_implementation=client.deploy(admin, artifacts["AToken"], (pool,)),
        debt_token_implementation=client.deploy(admin, artifacts["VariableDebtToken"], (pool,)),
    )
    stable_code = client.deploy(admin, artifacts["StableDebtToken"], (pool,))
    rates = _rates(client, admin, provider, artifacts)
    reserves = {symbol: _list(chain, market, symbol, stable_code, rates) for symbol in TERMS}
    chain.aave = AaveMarket(client, chain.tokens, market, reserves)
    category = "setEModeCategory(uint8,uint16,uint16,uint16,address,string)"
    client.send(admin, market.configurator, category, 1, 9000, 9300, 10100, _ZERO, "ether and bitcoin")
    client.send(admin, market.configurator, category, 2, 9500, 9700, 10100, tokens["USDC"].address, "dollars")
    for symbol, number in (("WETH", 1), ("WBTC", 1), ("USDC", 2), ("DAI", 2)):
        client.send(admin, market.configurator, "setAssetEModeCategory(address,uint8)", tokens[symbol].address, number)
    for symbol, token in tokens.items():
        chain.aave.supply(admin, symbol, 10**5 * 10**token.decimals)


def _artifacts() -> dict[str, Artifact]:
    (home,) = fetch(_CORE)
    found = {}
    for path in Path(home).rglob("*.json"):
        if path.name.endswith(".dbg.json"):
            continue
        row = json.loads(path.read_text())
        links = {
            name: tuple(hole["start"] for hole in holes)
            for unit in row["linkReferences"].values()
            for name, holes in unit.items()
        }
        found[path.stem] = Artifact(path.stem, tuple(row["abi"]), row["bytecode"].removeprefix("0x"), links)
    return found


def _rates(client: Client, admin: str, provider: str, artifacts: dict[str, Artifact]) -> str:
    percent = RAY // 100
    terms = (
        80 * percent,
        percent,
        4 * percent,
        75 * percent,
        2 * percent,
        75 * percent,
        percent,
        8 * percent,
        20 * percent,
    )
    return client.deploy(admin, artifacts["DefaultReserveInterestRateStrategy"], (provider, *terms))


def _list(chain: DevChain, market: Deployment, symbol: str, stable_code: str, rates: str) -> Reserve:
    client, token, terms = chain.client, chain.tokens[symbol], TERMS[symbol]
    entry = (
        market.a_token_implementation,
        stable_code,
        market.debt_token_implementation,
        token.decimals,
        rates,
        token.address,
        market.admin,
        _ZERO,
        *(f"{kind}{symbol}" for kind in ("Aave ", "a", "Variable ", "v", "Stable ", "s")),
        b"",
    )
    client.send(market.admin, market.configurator, f"initReserves({_RESERVE_INPUT}[])", [entry], gas=16_000_000)

    def configure(signature: str, *args: object) -> None:
        client.send(market.admin, market.configurator, signature, token.address, *args)

    collateral = (terms.ltv_bps, terms.liquidation_threshold_bps, terms.liquidation_bonus_bps)
    configure("configureReserveAsCollateral(address,uint256,uint256,uint256)", *collateral)
    configure("setReserveBorrowing(address,bool)", True)
    configure("setReserveStableRateBorrowing(address,bool)", True)
    configure("setReserveFactor(address,uint256)", terms.reserve_factor_bps)
    configure("setLiquidationProtocolFee(address,uint256)", terms.liquidation_protocol_fee_bps)
    words = client.call(market.pool, f"getReserveData(address)({_RESERVE_DATA})", token.address)
    return Reserve(token, words[8], words[10])


class OldWorld(World):
    """A world of v3.0: debts at fixed rates, swapped to variable ones and back, and that version's governance."""

    @property
    def _user_actions(self) -> list[Callable[[], object]]:
        return [*super()._user_actions, self.borrow_stable, self.borrow_stable, self.swap_rate, self.repay_stable]

    def borrow_stable(self) -> None:
        user, symbol = self.user(), self.symbol()
        free = self.chain.aave.user_account_data(user).available_borrows_base / 1e8
        if free > 0:
            self._pool(
                user,
                "borrow(address,uint256,uint256,uint16,address)",
                symbol,
                self.units(symbol, free * 0.5),
                _STABLE_RATE,
                0,
                user,
            )

    def repay_stable(self) -> None:
        user, symbol = self.user(), self.symbol()
        self.chain.tokens.provide(user, symbol, self.units(symbol, 10**7), self.chain.aave.pool)
        amount = self.random.choice((ALL, self.units(symbol, self.dollars())))
        self._pool(user, "repay(address,uint256,uint256,address)", symbol, amount, _STABLE_RATE, user)

    def swap_rate(self) -> None:
        self._pool(self.user(), "swapBorrowRateMode(address,uint256)", self.symbol(), self.random.choice((1, 2)))

    def _pool(self, user: str, signature: str, symbol: str, *args: object) -> None:
        self.chain.send(user, self.chain.aave.pool, signature, self.chain.tokens[symbol].address, *args)

    @property
    def _governance(self) -> list[Callable[[], object]]:
        kept = (self.terms, self.reserve_factor, self.fee, self.source, self.break_and_repair)
        return [*kept, self.category_of_asset, self.category, self.pause_briefly]

    def category_of_asset(self) -> None:
        args = (self.chain.tokens[self.symbol()].address, self.random.choice((0, 1, 2)))
        self._configure("setAssetEModeCategory(address,uint8)", *args)

    def category(self) -> None:
        source = self.random.choice((_ZERO, self.chain.tokens["USDC"].address))
        threshold = self.random.randint(9200, 9700)
        terms = (self.random.choice((1, 2)), threshold - 200, threshold, 10100, source, "random")
        self._configure("setEModeCategory(uint8,uint16,uint16,uint16,address,string)", *terms)

    def pause_briefly(self) -> None:
        asset = self.chain.tokens[self.symbol()].address
        for paused in (True, False):
            with suppress(Reverted, DevnetError):
                self._configure("setReservePause(address,bool)", asset, paused)

    def _configure(self, signature: str, *args: object) -> None:
        self.chain.send(self.chain.aave.market.admin, self.chain.aave.configurator, signature, *args)
