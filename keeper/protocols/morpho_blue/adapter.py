"""The adapter: one Morpho Blue behind `keeper.core.ports.ProtocolAdapter`.

A key is a market's id and an account. All it remembers between calls is interest already accrued for the market and
moment last asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keeper.core.errors import DecodeError
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
    LogTrace,
    Price,
    Prices,
    RawLog,
    Skip,
    Slack,
    Token,
    Update,
)
from keeper.core.units import BPS
from keeper.protocols.addresses import checksummed
from keeper.protocols.morpho_blue import (
    abi,
    again,
    demand,
    discover,
    health,
    liquidate,
    logs,
    prices,
    state,
    stress,
    track,
)
from keeper.protocols.morpho_blue.accrue import Owed, accrued
from keeper.protocols.morpho_blue.confirm import confirm_calls, native_view
from keeper.protocols.morpho_blue.errors import explain_revert
from keeper.protocols.morpho_blue.health import Line, Sheet
from keeper.protocols.morpho_blue.options import Options
from keeper.protocols.morpho_blue.prices import at_price, offer_price, rate_key
from keeper.protocols.morpho_blue.state import Lending, Market, Position

_ID = logs.ID_SIZE


class MorphoBlue:
    """See `ProtocolAdapter` for what each method promises."""

    kind = "morpho_blue"

    def __init__(self, name: str, start_block: int, options: Options) -> None:
        self.name = name
        self.start_block = start_block
        self._scope = options.scope()
        self._accrued_for: tuple[Market, int] | None = None
        self._accrued: dict[tuple[bytes, Price | None], Owed | None] = {}

    # --- tracking

    def addresses(self) -> Mapping[str, bytes]:
        feeds = {f"price reference of 0x{one.token.hex()}": one.feed for one in self._scope.references if one.feed}
        factory = {"pre_liquidation_factory": self._scope.factory} if self._scope.factory else {}
        return {"morpho": self._scope.morpho, **factory, **feeds}

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        return discover.bootstrap(self._scope.morpho, self._scope.wanted, known)

    def filter(self, market: Market) -> LogFilter:
        return logs.log_filter(self._scope.morpho, self._scope.factory, market)

    def head_calls(self, market: Market) -> Sequence[Call]:
        return prices.head_calls(market, self._scope.references)

    def sync(
        self, book: Book[Market, Position], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[Market, Position]]:
        return track.sync(self._scope, book, block, logs, head)

    def touches(self, market: Market, logs_: Iterable[RawLog]) -> Sequence[bytes]:
        return logs.touch_keys(self._scope.fold(market, logs_))

    def feeds(self, market: Market) -> Reads[Mapping[bytes, Sequence[bytes]]]:
        return prices.feeds(market, self._scope.references)

    def liquidations(self, market: Market, logs_: Sequence[RawLog]) -> Sequence[Liquidated]:
        return logs.liquidated(market, self._scope.fold(market, logs_))

    def whole(self, market: Market, key: bytes) -> Sequence[bytes]:
        return [key]

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Position] | None = None,
    ) -> Reads[Update[Market, Position]]:
        return track.snapshot(self._scope, market, touches, block, head, held or {})

    # --- following a few accounts by state alone

    def renew(self, market: Market) -> Reads[Market]:
        renewed = yield from discover.renew(market.morpho, market.by_id)
        return market.with_lendings(renewed)

    def positions_of(self, market: Market, account: bytes) -> Reads[Sequence[bytes]]:
        """In the markets that are known: by configuration, where no logs are read."""
        return track.positions_of(market, account)

    def liquidation_filter(self, market: Market) -> LogFilter:
        return logs.liquidation_filter(market.morpho, market)

    def trace(self, account: bytes) -> LogTrace | None:
        """Whoever borrows has pledged before. SupplyCollateral(id, caller, onBehalf, assets): the owner is indexed."""
        event = bytes.fromhex(abi.SUPPLY_COLLATERAL[2:])
        return None if self._scope.wanted else LogTrace(self._scope.morpho, (event, None, None, bytes(12) + account))

    def traced(self, logs_: Sequence[RawLog]) -> Sequence[bytes]:
        return [logs.word(log, log.topics[1]) for log in logs_]

    def touch_in(self, market_id: bytes, account: bytes) -> bytes:
        return market_id + account

    # --- the protocol as a whole

    def backing(self, market: Market, prices: Prices) -> Reads[Backing]:
        """None: what a liquidation leaves unpaid is taken from the lenders of its market at once."""
        yield from ()
        return Backing(0, None)

    def moved(self, market: Market, prices: Prices, move_bps: int) -> Prices:
        """Every collateral against its loan token, by what its oracle says: dollars play no part in a market."""
        return {
            key: replace(price, value=max(price.value * (BPS + move_bps) // BPS, 1)) if key in market.by_id else price
            for key, price in prices.items()
        }

    # --- stored form

    def dump_market(self, market: Market) -> bytes:
        return state.dump_market(market)

    def load_market(self, payload: bytes) -> Market:
        return state.load_market(payload)

    def dump_position(self, position: Position) -> bytes:
        return state.dump_position(position)

    def load_position(self, payload: bytes) -> Position:
        return state.load_position(payload)

    # --- judging

    def account(self, key: bytes) -> bytes:
        return key[_ID:]

    def position_id(self, key: bytes) -> str:
        return f"{self.name}:{checksummed(key[_ID:])}:0x{key[:_ID].hex()}"

    def base_decimals(self, market: Market) -> int:
        return prices.BASE_DECIMALS

    def currency(self, market: Market) -> str:
        return "USD"  # which the references are in

    def token(self, market: Market, asset: bytes) -> Token | None:
        for lending in market.lendings:
            if asset == lending.loan:
                return Token(lending.loan_symbol, lending.loan_decimals)
            if asset == lending.collateral:
                return Token(lending.collateral_symbol, lending.collateral_decimals)
        return None

    def health(self, market: Market, prices: Prices, position: Position, now: int) -> Health:
        sheet = self._sheet(market, prices, position, now)
        return health.judge(sheet, prices.get(sheet.lending.loan))

    def assess(self, market: Market, prices: Prices, position: Position, now: int) -> Assessment:
        sheet = self._sheet(market, prices, position, now)
        return health.assess(sheet, prices.get(sheet.lending.loan))

    def demands(
        self, market: Market, prices: Prices, position: Position, now: int, target_wad: int
    ) -> tuple[Demand, ...]:
        return demand.demands(self._sheet(market, prices, position, now), target_wad)

    def breach_prices(self, market: Market, prices: Prices, position: Position, now: int) -> tuple[BreachPrice, ...]:
        return demand.breach_prices(self._sheet(market, prices, position, now))

    def at_price(
        self, market: Market, prices: Prices, position: Position, breach: BreachPrice, price: int
    ) -> Prices | None:
        return at_price(market.by_id[position.market], prices, price)

    # --- the screen

    def linear(self, market: Market, position: Position) -> Linear:
        return health.linear(market, position)

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        return health.factors(market, prices, lambda lending: self._owed(market, prices, lending, now))

    def follows(self, market: Market) -> Sequence[bytes | None]:
        slots: list[bytes | None] = []
        for lending in market.lendings:
            slots += (lending.id, None)  # a price is in loan tokens already
        return [*slots, None]

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
        position: Position,
        now: int,
        wallet: Mapping[bytes, int],
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        return liquidate.plan(self._open(market, prices, key, position, now), now, wallet)

    def rejudge(
        self,
        market: Market,
        prices: Prices,
        key: bytes,
        position: Position,
        now: int,
        plan: LiquidationPlan,
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        sheet = self._sheet(market, prices, position, now)
        return again.rejudge(market.morpho, key[_ID:], sheet, prices.get(sheet.lending.loan), now, plan)

    def pairs(
        self, market: Market, prices: Prices, key: bytes, position: Position, now: int, receiver: bytes
    ) -> Sequence[LiquidationPair] | Skip:
        return liquidate.pairs(self._open(market, prices, key, position, now), now)

    def stress(
        self, market: Market, prices: Prices, key: bytes, position: Position, now: int, lever: Lever
    ) -> Reads[Sequence[Override] | Skip]:
        yield from ()  # nothing has to be read for it
        sheet = self._sheet(market, prices, position, now)
        if lever is Lever.THRESHOLD:
            return stress.by_debt(market.morpho, sheet, prices, now)
        return stress.by_price(sheet)

    def wallet_tokens(self, market: Market) -> Sequence[bytes]:
        """Loan tokens whose worth is known: nothing else is liquidated."""
        worth = {reference.token for reference in self._scope.references}
        return sorted({lending.loan for lending in market.lendings} & worth)

    def spenders(self, market: Market) -> Sequence[bytes]:
        return [market.morpho, *(offer.contract for offer in market.offers if offer.used)]

    def entry_points(self, market: Market) -> Sequence[tuple[bytes, bytes]]:
        offering = [(offer.contract, abi.PRE_LIQUIDATE) for offer in market.offers if offer.used]
        return [(market.morpho, abi.LIQUIDATE), *offering]

    def explain_revert(self, data: bytes) -> str:
        return explain_revert(data)

    def confirm_calls(self, market: Market, key: bytes) -> Sequence[Call]:
        return confirm_calls(market.morpho, market.by_id[key[:_ID]], key[_ID:])

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        return native_view(results[0])

    # --- inside

    def _open(
        self, market: Market, prices: Prices, key: bytes, position: Position, now: int
    ) -> liquidate.Open | liquidate.Offered | Skip:
        sheet = self._sheet(market, prices, position, now)
        before = accrued(sheet.lending, prices, now - liquidate.SOONER_S)
        return liquidate.open_position(market.morpho, key[_ID:], sheet, prices.get(sheet.lending.loan), before)

    def _sheet(self, market: Market, prices: Prices, position: Position, now: int) -> Sheet:
        lending = market.by_id.get(position.market)
        if lending is None:
            raise DecodeError(f"a position names market 0x{position.market.hex()}, which is not known; index again")
        price = prices.get(lending.id)
        return Sheet(
            lending,
            self._owed(market, prices, lending, now),
            None if price is None else price.value,
            position.borrow_shares,
            position.collateral_assets,
            self._lines(market, prices, position),
        )

    def _lines(self, market: Market, prices: Prices, position: Position) -> tuple[Line, ...]:
        offers = (market.by_contract[contract] for contract in position.authorized if contract in market.by_contract)
        priced = ((offer, offer_price(market, offer, prices)) for offer in offers)
        return tuple(Line(offer, price) for offer, price in priced if price is not None)

    def _owed(self, market: Market, prices: Prices, lending: Lending, now: int) -> Owed | None:
        known = self._accrued_for
        if known is None or known[0] is not market or known[1] != now:
            self._accrued_for, self._accrued = (market, now), {}
        key = lending.id, prices.get(rate_key(lending.id)) if lending.asks_rate else None
        if key not in self._accrued:
            self._accrued[key] = accrued(lending, prices, now)
        return self._accrued[key]
