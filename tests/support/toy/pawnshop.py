"""The adapter of Pawnshop.sol: how small a protocol can be, and everything that one must have.

A file like this, in a folder `keeper/protocols` on the Python path, is all that it takes. See
docs/adding-a-protocol.md; `keeper.core.ports.ProtocolAdapter` says what each method promises.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keeper.core.errors import ConfigError, DecodeError
from keeper.core.ports import Reads
from keeper.core.types import (
    Assessment,
    Block,
    Book,
    BreachPrice,
    Call,
    CallResult,
    Demand,
    Health,
    Holding,
    Linear,
    Liquidated,
    LiquidationPair,
    LiquidationPlan,
    LogFilter,
    Price,
    Prices,
    RawLog,
    Skip,
    Slack,
    Token,
    TxCall,
    Update,
)
from keeper.core.units import BPS, WAD, div_up, mul_div_up
from keeper.protocols.addresses import checksummed
from keeper.protocols.feeds import aggregators

TOKEN, DOLLAR, FEED = (bytes.fromhex(s) for s in ("fc0c546a", "51adeb57", "37a7b7d8"))  # token() dollar() feed()
PAWNS, STANDING = bytes.fromhex("5dea5017"), bytes.fromhex("58616803")  # pawns(address) standing(address)
LATEST_ANSWER = bytes.fromhex("50d25bcd")  # latestAnswer()
LIQUIDATE = bytes.fromhex("8c1ee59a")  # liquidate(address,uint128)
CHANGED = "0xeb63daa74e21898ac31061df2ff66f5092827dd7c80827d30613275236af58de"  # Changed(address)
LIQUIDATED = (
    "0x1f0c6615429d1cdae0dfa233abf91d3b31cdbdd82c8081389832a61e1072f1ea"  # Liquidated(address,address,uint256,uint256)
)
HEALTHY = bytes.fromhex("da1dae0c")  # Healthy()

THRESHOLD_BPS = 8_000
BONUS_BPS = 10_500


@dataclass(frozen=True)
class Options:
    """The keys of a `[[protocols]]` table of kind "pawnshop", beside the common ones."""

    shop: bytes = field(metadata={"doc": "The shop's address."})


@dataclass(frozen=True, slots=True)
class Market:
    shop: bytes
    token: bytes
    dollar: bytes
    feed: bytes


@dataclass(frozen=True, slots=True)
class Pawn:
    """Raw units: collateral with 18 decimals, debt with 6."""

    collateral: int
    debt: int


class Pawnshop:
    kind = "pawnshop"

    def __init__(self, name: str, start_block: int, shop: bytes) -> None:
        self.name, self.start_block, self._shop = name, start_block, shop

    # --- tracking

    def addresses(self) -> Mapping[str, bytes]:
        return {"shop": self._shop}

    def bootstrap(self, known: Market | None = None) -> Reads[Market]:
        answers = yield [Call(self._shop, selector) for selector in (TOKEN, DOLLAR, FEED)]
        if any(answer is None or len(answer) < 32 for answer in answers):
            raise ConfigError(f"0x{self._shop.hex()} is no pawnshop at this block; correct `shop`")
        return Market(self._shop, *(bytes(answer or b"")[12:32] for answer in answers))

    def filter(self, market: Market) -> LogFilter:
        return LogFilter(frozenset({market.shop}), frozenset(bytes.fromhex(t[2:]) for t in (CHANGED, LIQUIDATED)))

    def head_calls(self, market: Market) -> Sequence[Call]:
        return [Call(market.feed, LATEST_ANSWER)]

    def sync(
        self, book: Book[Market, Pawn], block: Block, logs: Sequence[RawLog], head: Sequence[CallResult]
    ) -> Reads[Update[Market, Pawn]]:
        assert book.market is not None
        update = yield from self.snapshot(book.market, self.touches(book.market, logs), block, head)
        return Update(None, update.prices, update.positions, self.liquidations(book.market, logs))

    def touches(self, market: Market, logs: Iterable[RawLog]) -> Sequence[bytes]:
        ours = [log for log in logs if log.address == f"0x{market.shop.hex()}"]
        return sorted({_address(log, 1) for log in ours})

    def liquidations(self, market: Market, logs: Sequence[RawLog]) -> tuple[Liquidated, ...]:
        ours = [log for log in logs if log.address == f"0x{market.shop.hex()}" and log.topics[:1] == (LIQUIDATED,)]
        return tuple(_liquidated(market, log) for log in ours)

    def feeds(self, market: Market) -> Reads[Mapping[bytes, Sequence[bytes]]]:
        return aggregators({market.token: [market.feed]})

    def whole(self, market: Market, key: bytes) -> Sequence[bytes]:
        return [key]

    def snapshot(
        self,
        market: Market,
        touches: Sequence[bytes],
        block: Block,
        head: Sequence[CallResult],
        held: Mapping[bytes, Pawn] | None = None,
    ) -> Reads[Update[Market, Pawn]]:
        positions: dict[bytes, Pawn | None] = {}
        if touches:
            answers = yield [Call(market.shop, PAWNS + owner.rjust(32, b"\0")) for owner in touches]
            for owner, answer in zip(touches, answers, strict=True):
                pawn = Pawn(*_words(answer, 2))
                positions[owner] = pawn if pawn.collateral or pawn.debt else None
        return Update(market, _prices(market, head), positions)

    # --- stored form

    def dump_market(self, market: Market) -> bytes:
        return json.dumps([part.hex() for part in (market.shop, market.token, market.dollar, market.feed)]).encode()

    def load_market(self, payload: bytes) -> Market:
        shop, token, dollar, feed = _stored(payload, 4)
        return Market(*(bytes.fromhex(part) for part in (shop, token, dollar, feed)))

    def dump_position(self, position: Pawn) -> bytes:
        return json.dumps([position.collateral, position.debt]).encode()

    def load_position(self, payload: bytes) -> Pawn:
        return Pawn(*_stored(payload, 2))

    # --- judging

    def account(self, key: bytes) -> bytes:
        return key

    def position_id(self, key: bytes) -> str:
        return f"{self.name}:{checksummed(key)}"

    def base_decimals(self, market: Market) -> int:
        return 8

    def currency(self, market: Market) -> str:
        return "USD"

    def token(self, market: Market, asset: bytes) -> Token | None:
        return {market.token: Token("TOKEN", 18), market.dollar: Token("USD", 6)}.get(asset)

    def health(self, market: Market, prices: Prices, position: Pawn, now: int) -> Health:
        if market.token not in prices:
            return Health(None, False, 0, 0, unpriced_assets=(market.token,))
        value, owed = position.collateral * prices[market.token].value // 10**18, position.debt * 100
        if not owed:
            return Health(None, False, value, 0)
        limit = value * THRESHOLD_BPS // BPS
        return Health(limit * WAD // owed, owed > limit, value, owed)

    def assess(self, market: Market, prices: Prices, position: Pawn, now: int) -> Assessment:
        health = self.health(market, prices, position, now)
        value = None if health.unpriced_assets else health.collateral_value
        limit = None if value is None else value * THRESHOLD_BPS // BPS
        return Assessment(
            health,
            (Holding(market.token, "TOKEN", 18, position.collateral, value, True, THRESHOLD_BPS),),
            (Holding(market.dollar, "USD", 6, position.debt, position.debt * 100),),
            {"limit": limit, "owed": position.debt * 100},
        )

    def demands(self, market: Market, prices: Prices, position: Pawn, now: int, target_wad: int) -> tuple[Demand, ...]:
        health = self.health(market, prices, position, now)
        if health.factor_wad is None or health.factor_wad >= target_wad:
            return ()
        price, owed = prices[market.token].value, position.debt * 100
        limit = mul_div_up(owed, target_wad, WAD)  # the least that is enough
        more = mul_div_up(mul_div_up(limit, BPS, THRESHOLD_BPS), 10**18, price) - position.collateral
        present = position.collateral * price // 10**18 * THRESHOLD_BPS // BPS
        less = position.debt - present * WAD // target_wad // 100
        pledged, repaid = (
            Pawn(position.collateral + more, position.debt),
            Pawn(position.collateral, position.debt - less),
        )
        return tuple(
            Demand(action, asset, symbol, decimals, amount, self.health(market, prices, after, now).factor_wad)
            for action, asset, symbol, decimals, amount, after in (
                ("add_collateral", market.token, "TOKEN", 18, more, pledged),
                ("repay", market.dollar, "USD", 6, less, repaid),
            )
        )

    def breach_prices(self, market: Market, prices: Prices, position: Pawn, now: int) -> tuple[BreachPrice, ...]:
        if market.token not in prices or not position.debt or not position.collateral:
            return ()
        present, enough = prices[market.token].value, div_up(position.debt * 100 * BPS, THRESHOLD_BPS)
        price = div_up(enough * 10**18, position.collateral) - 1
        move = abs(price - present) * BPS // present
        return (BreachPrice(market.token, "TOKEN", price, 8, move if price > present else -move),) if price else ()

    # --- the screen: slot 0 is the token, slot 1 the dollar

    def linear(self, market: Market, position: Pawn) -> Linear:
        weight = position.collateral / 10**18 * THRESHOLD_BPS / BPS
        return Linear(((0, weight),), ((1, position.debt * 100.0),) if position.debt else ())

    def factors(self, market: Market, prices: Prices, now: int) -> Sequence[float]:
        return [float(prices[market.token].value) if market.token in prices else float("nan"), 1.0]

    def follows(self, market: Market) -> Sequence[bytes | None]:
        return [market.token, None]

    def slack(self, market: Market) -> Slack:
        return Slack(relative=1e-9, absolute=8.0, grains=(0.0, 0.0))

    def same_weights(self, before: Market, after: Market) -> bool:
        return True

    # --- acting

    def plan(
        self,
        market: Market,
        prices: Prices,
        key: bytes,
        position: Pawn,
        now: int,
        wallet: Mapping[bytes, int],
        receiver: bytes,
    ) -> LiquidationPlan | Skip:
        held = wallet.get(market.dollar, 0)
        return self._sized(market, prices, key, position, now, held) if held else Skip("no_balance", "no dollars")

    def pairs(
        self, market: Market, prices: Prices, key: bytes, position: Pawn, now: int, receiver: bytes
    ) -> Sequence[LiquidationPair] | Skip:
        size = partial(self._sized, market, prices, key, position, now)
        whole = size(position.debt)
        return whole if isinstance(whole, Skip) else [LiquidationPair(market.dollar, market.token, position.debt, size)]

    def _sized(
        self, market: Market, prices: Prices, key: bytes, position: Pawn, now: int, offered: int
    ) -> LiquidationPlan | Skip:
        health = self.health(market, prices, position, now)
        if not health.liquidatable:
            return Skip("healthy", f"health is {health.factor_wad}, and must be below {WAD}")
        price = prices[market.token].value
        repaid = min(offered, position.debt, ((position.collateral + 1) * price - 1) // (10**16 * BONUS_BPS))
        seized = repaid * 10**16 * BONUS_BPS // price
        if not seized:
            return Skip("dust", f"{offered} units of the debt would seize nothing")
        words = key.rjust(32, b"\0") + repaid.to_bytes(32, "big")
        return LiquidationPlan(
            account=key,
            debt_asset=market.dollar,
            repay_assets=repaid,
            collateral_asset=market.token,
            expected_repaid_assets=repaid,
            expected_seized_assets=seized,
            profit_base=seized * price // 10**18 - repaid * 100,
            judged_at=now,
            health_wad=health.factor_wad,
            call=TxCall(market.shop, LIQUIDATE + words),
            approval=(market.dollar, market.shop, repaid),
            gas_limit_hint=200_000,
        )

    def wallet_tokens(self, market: Market) -> Sequence[bytes]:
        return [market.dollar]

    def spenders(self, market: Market) -> Sequence[bytes]:
        return [market.shop]

    def entry_points(self, market: Market) -> Sequence[tuple[bytes, bytes]]:
        return [(market.shop, LIQUIDATE)]

    def explain_revert(self, data: bytes) -> str:
        return "the pawn is healthy" if data[:4] == HEALTHY else f"reverted with 0x{data[:68].hex()}"

    def confirm_calls(self, market: Market, key: bytes) -> Sequence[Call]:
        return [Call(market.shop, STANDING + key.rjust(32, b"\0"))]

    def native_view(self, results: Sequence[CallResult]) -> Mapping[str, Any]:
        limit, owed = _words(results[0], 2)
        return {"limit": limit, "owed": owed}


def build(config: Mapping[str, Any]) -> Pawnshop:
    return Pawnshop(config["name"], config["start_block"], config["shop"])


# --- words ------------------------------------------------------------------------------------------------------------


def _words(result: CallResult, count: int) -> list[int]:
    if result is None or len(result) < 32 * count:
        raise DecodeError(f"{count} words were expected, not {result!r}")
    return [int.from_bytes(result[32 * i : 32 * i + 32], "big") for i in range(count)]


def _stored(payload: bytes, count: int) -> list[Any]:
    try:
        row = json.loads(payload)
    except ValueError as error:
        raise DecodeError(f"a stored value does not read: {error}") from error
    if not isinstance(row, list) or len(row) != count:
        raise DecodeError(f"a stored value has {count} parts, not {row!r}")
    return row


def _prices(market: Market, head: Sequence[CallResult]) -> Prices:
    dollar = {market.dollar: Price(10**8, 8)}
    answer = int.from_bytes(head[0][:32], "big", signed=True) if head[0] is not None and len(head[0]) >= 32 else 0
    return dollar | {market.token: Price(answer, 8)} if answer > 0 else dollar


def _address(log: RawLog, place: int) -> bytes:
    try:
        word = bytes.fromhex(log.topics[place][2:])
    except (IndexError, ValueError) as error:
        raise DecodeError(f"topic {place} of {log} is no address") from error
    if len(word) != 32 or any(word[:12]) or len(log.topics) > 3 or log.topics[0] not in (CHANGED, LIQUIDATED):
        raise DecodeError(f"{log} is no event of a pawnshop")
    return word[12:]


def _liquidated(market: Market, log: RawLog) -> Liquidated:
    owner, liquidator = _address(log, 1), _address(log, 2)
    try:
        repaid, seized = _words(bytes.fromhex(log.data[2:]), 2)
        return Liquidated(
            key=owner,
            account=owner,
            liquidator=liquidator,
            debt_asset=market.dollar,
            repaid_assets=repaid,
            collateral_asset=market.token,
            seized_assets=seized,
            transaction_hash=bytes.fromhex(log.transaction_hash[2:]),
            log_index=int(log.log_index, 16),
        )
    except ValueError as error:
        raise DecodeError(f"{log} is no liquidation") from error
