"""The adapter: one Aave v3 pool behind `keeper.core.ports.ProtocolAdapter`.

All it remembers between calls is interest already accrued for the market and moment last asked about, since thousands
of positions are judged at one moment.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from keeper.core.ports import Reads
from keeper.core.stress import Lever, Override
from keeper.core.types import (
    Assessment,
    Backing,
    Block,
    Book,
    BreachPrice,
    Call,
    CallResult,
    Demand,
    Health,
    Linear,
    Linears,
    Liquidated,
    LiquidationPair,
    LiquidationPlan,
    LogFilter,
    Prices,
    RawLog,
    Skip,
    Slack,
    Token,
    Update,
)
from keeper.protocols.aave_v3 import (
    abi,
    demand,
    discover,
    health,
    liquidate,
    logs,
    prices,
    solvency,
    state,
    stress,
    track,
    weights,
)
from keeper.protocols.aave_v3.errors import explain_revert
from keeper.protocols.aave_v3.options import Options
from keeper.protocols.aave_v3.sheet import Indices, Sheet, indices, sheet
from keeper.protocols.aave_v3.state import Account, Market
from keeper.protocols.addresses import checksummed
from keeper.protocols.moves import moved


class AaveV3:
    """See `ProtocolAdapter` for what each method promises."""

    kind = "aave_v3"

    def __init__(self, name: str, start_block: int, options: Options) -> None:
        self.name = name
        self.start_block = start_block
        self._provider = options.pool_addresses_provider
        self._heartbeats = options.limits()
        self._accrued_for: tuple[Market, int] | None = None
        self._accrued: Mapping[int, Indices] = {}

    # --- tracking

    def addresses(self) -> Mapping[str, bytes]:
        return {"pool_addresses_provider": self._provider}

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        return discover.bootstrap(self._provider)

    def filter(self, market: Market) -> LogFilter:
        return logs.log_filter(market)

    def head_calls(self, market: Market) -> Sequence[Call]:
        return prices.head_calls(market)

    def sync(
        self, book: Book[Market, Account], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[Market, Account]]:
        if book.market is None:
            raise ValueError("sync needs a market; run bootstrap first")
        return track.of_block((yield from track.sync(book.market, book, logs, head)), block)

    def touches(self, market: Market, logs_: Iterable[RawLog]) -> Sequence[bytes]:
        return logs.touch_keys(logs.fold(market, logs_))

    def feeds(self, market: Market) -> Reads[Mapping[bytes, Sequence[bytes]]]:
        return prices.feeds(market)

    def liquidations(self, market: Market, logs_: Sequence[RawLog]) -> Sequence[Liquidated]:
        return logs.liquidated(logs.fold(market, logs_).liquidations)

    def whole(self, market: Market, key: bytes) -> Sequence[bytes]:
        return [key + token[:4] for token in market.by_token]  # as `logs.touch_keys` writes them

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Account] | None = None,
    ) -> Reads[Update[Market, Account]]:
        return track.of_block((yield from track.snapshot(market, touches, head, held or {})), block)

    # --- watching by state (`Watchable`)

    def renew(self, market: Market) -> Reads[Market]:
        return discover.renew(market)

    def positions_of(self, market: Market, account: bytes) -> Reads[Sequence[bytes]]:
        yield from ()  # nothing to ask: the account is the key
        return self.whole(market, account)

    def liquidation_filter(self, market: Market) -> LogFilter:
        return logs.liquidation_filter(market)

    # --- the protocol as a whole

    def backing(self, market: Market, prices: Prices) -> Reads[Backing]:
        return solvency.backing(market, prices)

    def moved(self, market: Market, prices: Prices, move_bps: int) -> Prices:
        return moved(prices, market.by_asset, move_bps)

    # --- stored form

    def dump_market(self, market: Market) -> bytes:
        return state.dump_market(market)

    def load_market(self, payload: bytes) -> Market:
        return state.load_market(payload)

    def dump_position(self, position: Account) -> bytes:
        return state.dump_account(position)

    def load_position(self, payload: bytes) -> Account:
        return state.load_account(payload)

    # --- judging

    def account(self, key: bytes) -> bytes:
        return key

    def position_id(self, key: bytes) -> str:
        return f"{self.name}:{checksummed(key)}"

    def base_decimals(self, market: Market) -> int:
        return market.base_decimals

    def currency(self, market: Market) -> str:
        """By the oracle's own convention for its unit: 1e8 for dollars, 1e18 for ether (aave-v3-origin, AaveOracle)."""
        return {8: "USD", 18: "ETH"}.get(market.base_decimals, "")

    def token(self, market: Market, asset: bytes) -> Token | None:
        reserve = market.by_asset.get(asset)
        return None if reserve is None else Token(reserve.symbol, reserve.decimals)

    def health(self, market: Market, prices: Prices, position: Account, now: int) -> Health:
        return health.judge(self._heartbeats, prices, self._sheet(market, prices, position, now), now)[0]

    def assess(self, market: Market, prices: Prices, position: Account, now: int) -> Assessment:
        return health.assess(self._heartbeats, market, prices, position, now)

    def demands(
        self, market: Market, prices: Prices, position: Account, now: int, target_wad: int
    ) -> tuple[Demand, ...]:
        return demand.demands(market, prices, position, now, target_wad)

    def breach_prices(self, market: Market, prices: Prices, position: Account, now: int) -> tuple[BreachPrice, ...]:
        return demand.breach_prices(market, prices, position, now)

    # --- the screen

    def linear(self, market: Market, position: Account) -> Linear:
        return health.linear(market, position)

    def linears(self, market: Market, payloads: Sequence[bytes]) -> Linears:
        return weights.linears(market, payloads)

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        return health.factors(market, prices, self._indices(market, now))

    def follows(self, market: Market) -> Sequence[bytes | None]:
        return health.follows(market)

    def slack(self, market: Market) -> Slack:
        return health.slack(market)

    def same_weights(self, before: Market, after: Market) -> bool:
        return health.same_weights(before, after)

    # --- acting

    def plan(
        self,
        market: Market,
        prices: Prices,
        key: bytes,
        position: Account,
        now: int,
        wallet: Mapping[bytes, int],
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        return liquidate.plan(market, key, self._sheet(market, prices, position, now), now, wallet, receiver)

    def rejudge(
        self,
        market: Market,
        prices: Prices,
        key: bytes,
        position: Account,
        now: int,
        plan: LiquidationPlan,
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        return liquidate.rejudge(market, key, self._sheet(market, prices, position, now), now, plan, receiver)

    def quick_places(self, market: Market, positions: Sequence[Account], assets: Collection[bytes]) -> Sequence[int]:
        return prices.places(market, positions, assets)

    def quick_read(
        self, market: Market, before: Prices, places: Sequence[int], results: Sequence[CallResult]
    ) -> tuple[Market, Prices]:
        return prices.read_places(market, before, places, results)

    def pairs(
        self, market: Market, prices: Prices, key: bytes, position: Account, now: int, receiver: bytes
    ) -> Sequence[LiquidationPair] | Skip:
        return liquidate.pairs(market, key, self._sheet(market, prices, position, now), now, receiver)

    def stress(
        self, market: Market, prices: Prices, key: bytes, position: Account, now: int, lever: Lever
    ) -> Reads[Sequence[Override] | Skip]:
        by = stress.by_threshold if lever is Lever.THRESHOLD else stress.by_price
        return by(market, self._sheet(market, prices, position, now))

    def wallet_tokens(self, market: Market) -> Sequence[bytes]:
        return [reserve.asset for reserve in market.reserves]

    def spenders(self, market: Market) -> Sequence[bytes]:
        return [market.pool]

    def entry_points(self, market: Market) -> Sequence[tuple[bytes, bytes]]:
        return [(market.pool, abi.LIQUIDATION_CALL)]

    def explain_revert(self, data: bytes) -> str:
        return explain_revert(data)

    def confirm_calls(self, market: Market, key: bytes) -> Sequence[Call]:
        return [abi.call(market.pool, abi.GET_USER_ACCOUNT_DATA, key)]

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        collateral, debt, _, threshold, _, factor = abi.words(results[0], 6, "getUserAccountData")
        return {
            "totalCollateralBase": collateral,
            "totalDebtBase": debt,
            "currentLiquidationThreshold": threshold,
            "healthFactor": factor,
        }

    # --- interest

    def _sheet(self, market: Market, prices: Prices, position: Account, now: int) -> Sheet:
        return sheet(market, prices, position, now, self._indices(market, now))

    def _indices(self, market: Market, now: int) -> Mapping[int, Indices]:
        known = self._accrued_for
        if known is None or known[0] is not market or known[1] != now:
            self._accrued = {reserve.id: indices(market.rules, reserve, now) for reserve in market.reserves}
            self._accrued_for = (market, now)
        return self._accrued
