"""The adapter: one Perpetual Protocol v2 ("Curie") behind `keeper.core.ports.ProtocolAdapter`. Cross margin: a position
is an account, with everything it holds and trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from keeper.protocols.addresses import checksummed
from keeper.protocols.moves import moved
from keeper.protocols.perp_v2 import abi, demand, health, liquidate, logs, margin, reading, state, stress, track
from keeper.protocols.perp_v2.errors import explain_revert
from keeper.protocols.perp_v2.options import Options
from keeper.protocols.perp_v2.state import Account, Market

_BASE_DECIMALS = 18


class PerpV2:
    """See `ProtocolAdapter` for what each method promises."""

    kind = "perp_v2"

    def __init__(self, name: str, start_block: int, options: Options) -> None:
        self.name = name
        self.start_block = start_block
        self._clearing_house = options.clearing_house
        self._native = (options.native_token, options.native_feed)
        self._most_usd_wad = int(options.max_inherited_usd.scaleb(_BASE_DECIMALS))
        self._exit_cost_bps = options.exit_cost_bps

    # --- tracking

    def addresses(self) -> Mapping[str, bytes]:
        token, feed = self._native
        return {
            "clearing_house": self._clearing_house,
            **({"native_token": token, "native_feed": feed} if feed else {}),
        }

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        return reading.bootstrap(self._clearing_house, self._native, known)

    def filter(self, market: Market) -> LogFilter:
        return logs.log_filter(market)

    def head_calls(self, market: Market) -> Sequence[Call]:
        return reading.head_calls(market)

    def sync(
        self, book: Book[Market, Account], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[Market, Account]]:
        if book.market is None:
            raise ValueError("sync needs a market; run bootstrap first")
        return track.sync(book, book.market, logs, head)

    def touches(self, market: Market, logs_: Iterable[RawLog]) -> Sequence[bytes]:
        return logs.touches(logs.fold(market, logs_))

    def feeds(self, market: Market) -> Reads[Mapping[bytes, Sequence[bytes]]]:
        yield from ()  # a mark price is a median of averages: no single update moves it
        return {}

    def liquidations(self, market: Market, logs_: Sequence[RawLog]) -> Sequence[Liquidated]:
        return logs.fold(market, logs_).liquidations

    def whole(self, market: Market, key: bytes) -> Sequence[bytes]:
        return [key]

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Account] | None = None,
    ) -> Reads[Update[Market, Account]]:
        return track.snapshot(market, touches, held or {})

    # --- following a few accounts by state alone

    def renew(self, market: Market) -> Reads[Market]:
        yield from ()  # all that moves is in the head
        return market

    def positions_of(self, market: Market, account: bytes) -> Reads[Sequence[bytes]]:
        yield from ()  # nothing to ask: the account is the key
        return [account]

    def liquidation_filter(self, market: Market) -> LogFilter:
        return logs.liquidation_filter(market)

    # --- the protocol as a whole

    def backing(self, market: Market, prices: Prices) -> Reads[Backing]:
        """The insurance fund. It settles bad debt at once, so what it has lost is not told by itself; in debt, it is a
        deficit."""
        results = yield [Call(market.insurance_fund, abi.GET_INSURANCE_FUND_CAPACITY)]
        unit = 10 ** (_BASE_DECIMALS - market.settlement_decimals)
        capacity = reading.signed(results[0], 0, "getInsuranceFundCapacity()") * unit
        return Backing(max(-capacity, 0), max(capacity, 0))

    def moved(self, market: Market, prices: Prices, move_bps: int) -> Prices:
        return moved(prices, {*market.by_base, *market.by_collateral}, move_bps)

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
        return _BASE_DECIMALS

    def currency(self, market: Market) -> str:
        return "USD"

    def token(self, market: Market, asset: bytes) -> Token | None:
        if asset == market.settlement:
            return Token(market.settlement_symbol, market.settlement_decimals)
        if (one := market.by_base.get(asset)) is not None:
            return Token(one.symbol, 18)
        kind = market.by_collateral.get(asset)
        return None if kind is None else Token(kind.symbol, kind.decimals)

    def health(self, market: Market, prices: Prices, position: Account, now: int) -> Health:
        return health.judge(margin.sheet(market, prices, position))

    def assess(self, market: Market, prices: Prices, position: Account, now: int) -> Assessment:
        return health.assess(market, prices, position)

    def demands(
        self, market: Market, prices: Prices, position: Account, now: int, target_wad: int
    ) -> tuple[Demand, ...]:
        return demand.demands(market, margin.sheet(market, prices, position), target_wad)

    def breach_prices(self, market: Market, prices: Prices, position: Account, now: int) -> tuple[BreachPrice, ...]:
        return demand.breach_prices(market, margin.sheet(market, prices, position))

    # --- the screen

    def linear(self, market: Market, position: Account) -> Linear:
        return health.linear(market, position)

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        return health.factors(market, prices)

    def follows(self, market: Market) -> Sequence[bytes | None]:
        """A position follows its mark price; its funding, dollars, and what is only judged exactly follow none."""
        bases = [one for base in market.bases for one in (base.base, None)]
        return [None, *bases, *(kind.token for kind in market.collaterals), None]

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
        found = margin.sheet(market, prices, position)
        return liquidate.plan(market, key, found, now, self._most_usd_wad, self._exit_cost_bps, receiver)

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
        found = margin.sheet(market, prices, position)
        return liquidate.rejudge(market, key, found, now, self._most_usd_wad, self._exit_cost_bps, receiver, plan)

    def pairs(
        self, market: Market, prices: Prices, key: bytes, position: Account, now: int, receiver: bytes
    ) -> Sequence[LiquidationPair] | Skip:
        return liquidate.pairs(market, margin.sheet(market, prices, position))

    def stress(
        self, market: Market, prices: Prices, key: bytes, position: Account, now: int, lever: Lever
    ) -> Reads[Sequence[Override] | Skip]:
        return stress.overrides(market, key, margin.sheet(market, prices, position), lever)

    def endow(self, market: Market, account: bytes) -> Reads[Sequence[Override]]:
        return stress.endow(market, account, self._most_usd_wad)

    def wallet_tokens(self, market: Market) -> Sequence[bytes]:
        return [market.settlement]

    def spenders(self, market: Market) -> Sequence[bytes]:
        return []

    def entry_points(self, market: Market) -> Sequence[tuple[bytes, bytes]]:
        return [(market.clearing_house, selector) for selector in (abi.LIQUIDATE, abi.CANCEL_ALL_EXCESS_ORDERS)]

    def explain_revert(self, data: bytes) -> str:
        return explain_revert(data)

    def confirm_calls(self, market: Market, key: bytes) -> Sequence[Call]:
        return reading.margin_calls(market, key)

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        return {
            "accountValue": reading.signed(results[0], 0, "getAccountValue()"),
            "marginRequirement": reading.signed(results[1], 0, "getMarginRequirementForLiquidation()"),
        }
