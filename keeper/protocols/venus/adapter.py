"""The adapter: one Venus pool behind `keeper.core.ports.ProtocolAdapter`.

All it remembers between calls is interest already accrued for the market and moment last asked about, since thousands
of positions are judged at one moment.
"""

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
from keeper.core.units import WAD
from keeper.protocols import words
from keeper.protocols.addresses import checksummed
from keeper.protocols.moves import moved
from keeper.protocols.venus import abi, demand, health, liquidate, logs, reading, state, stress, track
from keeper.protocols.venus.errors import explain_revert
from keeper.protocols.venus.options import Options
from keeper.protocols.venus.sheet import Accrual, Sheet, accrued_at, sheet
from keeper.protocols.venus.state import Account, Market
from keeper.protocols.words import call

_BASE_DECIMALS = 18


class Venus:
    """See `ProtocolAdapter` for what each method promises."""

    kind = "venus"

    def __init__(self, name: str, start_block: int, options: Options) -> None:
        self.name = name
        self.start_block = start_block
        self._comptroller = options.comptroller
        self._accrued_for: tuple[Market, Prices, int] | None = None
        self._accrual: Accrual | None = None

    # --- tracking

    def addresses(self) -> Mapping[str, bytes]:
        return {"comptroller": self._comptroller}

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        return reading.bootstrap(self._comptroller)

    def filter(self, market: Market) -> LogFilter:
        return logs.log_filter(market)

    def head_calls(self, market: Market) -> Sequence[Call]:
        return reading.head_calls(market)

    def sync(
        self, book: Book[Market, Account], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[Market, Account]]:
        if book.market is None:
            raise ValueError("sync needs a market; run bootstrap first")
        return track.sync(book, book.market, block, logs, head)

    def touches(self, market: Market, logs_: Iterable[RawLog]) -> Sequence[bytes]:
        return logs.touches(logs.fold(market, logs_))

    def feeds(self, market: Market) -> Reads[Mapping[bytes, Sequence[bytes]]]:
        return reading.feeds(market)

    def liquidations(self, market: Market, logs_: Sequence[RawLog]) -> Sequence[Liquidated]:
        return logs.fold(market, logs_).liquidations

    def whole(self, market: Market, key: bytes) -> Sequence[bytes]:
        return logs.whole(market, key)

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Account] | None = None,
    ) -> Reads[Update[Market, Account]]:
        return track.snapshot(market, touches, block, head, held or {})

    # --- following a few accounts by state alone

    def renew(self, market: Market) -> Reads[Market]:
        answers = yield from reading.ask(reading.moved_calls(market.by_vtoken))
        return reading.moved(market, market.by_vtoken, answers)

    def positions_of(self, market: Market, account: bytes) -> Reads[Sequence[bytes]]:
        yield from ()  # nothing to ask: the account is the key
        return logs.whole(market, account)

    def liquidation_filter(self, market: Market) -> LogFilter:
        return logs.liquidation_filter(market)

    # --- the protocol as a whole

    def backing(self, market: Market, prices: Prices) -> Reads[Backing]:
        """Bad debt that healing left, and the markets' reserves."""
        yield from ()  # the market says it all
        known = [(one, prices[one.asset].value) for one in market.markets if one.asset in prices]
        return Backing(
            sum(one.bad_debt * price // WAD for one, price in known),
            sum(one.total_reserves * price // WAD for one, price in known),
        )

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
        return _BASE_DECIMALS

    def currency(self, market: Market) -> str:
        return "USD"

    def token(self, market: Market, asset: bytes) -> Token | None:
        one = market.by_asset.get(asset)
        return None if one is None else Token(one.symbol, one.decimals)

    def health(self, market: Market, prices: Prices, position: Account, now: int) -> Health:
        return health.judge(self._sheet(market, prices, position, now))[0]

    def assess(self, market: Market, prices: Prices, position: Account, now: int) -> Assessment:
        return health.assess(market, prices, position, self._accruing(market, prices, now))

    def demands(
        self, market: Market, prices: Prices, position: Account, now: int, target_wad: int
    ) -> tuple[Demand, ...]:
        return demand.demands(self._sheet(market, prices, position, now), target_wad)

    def breach_prices(self, market: Market, prices: Prices, position: Account, now: int) -> tuple[BreachPrice, ...]:
        return demand.breach_prices(self._sheet(market, prices, position, now))

    # --- the screen

    def linear(self, market: Market, position: Account) -> Linear:
        return health.linear(market, position)

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        return health.factors(market, prices, self._accruing(market, prices, now))

    def follows(self, market: Market) -> Sequence[bytes | None]:
        return [*(one.asset for one in market.markets for _ in ("collateral", "debt")), None]

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
        return liquidate.plan(liquidate.Case(market, prices, key, position, now), wallet, receiver)

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
        return liquidate.rejudge(liquidate.Case(market, prices, key, position, now), plan, receiver)

    def pairs(
        self, market: Market, prices: Prices, key: bytes, position: Account, now: int, receiver: bytes
    ) -> Sequence[LiquidationPair] | Skip:
        return liquidate.pairs(liquidate.Case(market, prices, key, position, now), receiver)

    def stress(
        self, market: Market, prices: Prices, key: bytes, position: Account, now: int, lever: Lever
    ) -> Reads[Sequence[Override] | Skip]:
        return stress.overrides(market, prices, self._sheet(market, prices, position, now), lever)

    def wallet_tokens(self, market: Market) -> Sequence[bytes]:
        return [one.asset for one in market.markets]

    def spenders(self, market: Market) -> Sequence[bytes]:
        return [one.vtoken for one in market.markets]

    def entry_points(self, market: Market) -> Sequence[tuple[bytes, bytes]]:
        selectors = abi.LIQUIDATE_BORROW, abi.REDEEM, abi.ACCRUE_INTEREST
        calls = [(one.vtoken, selector) for one in market.markets for selector in selectors]
        if market.isolated:
            calls += [(market.comptroller, abi.LIQUIDATE_ACCOUNT), (market.comptroller, abi.HEAL_ACCOUNT)]
        return calls

    def explain_revert(self, data: bytes) -> str:
        return explain_revert(data)

    def confirm_calls(self, market: Market, key: bytes) -> Sequence[Call]:
        return [call(market.comptroller, abi.GET_ACCOUNT_LIQUIDITY, key)]

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        _, liquidity, shortfall = words.words(results[0], 3, "getAccountLiquidity()")
        return {"liquidity": liquidity, "shortfall": shortfall}

    # --- interest

    def _sheet(self, market: Market, prices: Prices, position: Account, now: int) -> Sheet:
        return sheet(market, prices, position, self._accruing(market, prices, now))

    def _accruing(self, market: Market, prices: Prices, now: int) -> Accrual:
        known = self._accrued_for
        if known is None or self._accrual is None or known[0] is not market or known[1:] != (prices, now):
            self._accrual = accrued_at(market, prices, now)
            self._accrued_for = (market, prices, now)
        return self._accrual
