"""The JSON objects of the query commands (interface.md), built from the store alone: no node, no clock.

Integers that can exceed 2^53 are decimal strings; hashes and addresses are text only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keeper.core.encoding import load_prices
from keeper.core.ports import ProtocolAdapter, Store
from keeper.core.records import MARKET_KEY, Attempt, Delivery, Intent
from keeper.core.types import Assessment, Band, Block, Book, Holding, Price, Token
from keeper.core.units import format_units
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episode_json import breach_json, demand_json, load_episode
from keeper.evaluator.episodes import Episode, Loss
from keeper.evaluator.metrics import metrics_json, metrics_of
from keeper.evaluator.wording import amount, clean_symbol
from keeper.executor.legs import BATCH, LIQUIDATES, legs_of
from keeper.protocols.addresses import checksummed

if TYPE_CHECKING:
    from keeper.evaluator.adaptive import Adaptive
    from keeper.evaluator.lines import Lines

Adapter = ProtocolAdapter[Any, Any]
Json = dict[str, Any]
Tokens = Callable[[str, bytes], Token | None]
"""By protocol name and asset."""


# --- health -----------------------------------------------------------------------------------------------------------


def load_market(store: Store, adapter: Adapter) -> Any:
    """A protocol's market at the indexed tip; None when nothing was indexed yet."""
    market = store.fact(adapter.name, "market", MARKET_KEY)
    return None if market is None else adapter.load_market(market)


def load_book(store: Store, adapter: Adapter) -> Book[Any, Any]:
    """A protocol's state at the indexed tip. market is None when nothing was indexed yet."""
    prices = store.fact(adapter.name, "prices", MARKET_KEY)
    return Book(
        market=load_market(store, adapter),
        prices={} if prices is None else load_prices(prices),
        positions={key: adapter.load_position(payload) for key, payload in store.facts(adapter.name, "position")},
    )


def health_rows(
    store: Store, adapter: Adapter, block: Block, rule: BandRules | Adaptive, accounts: Collection[bytes]
) -> Iterator[Json]:
    """Open positions at the tip, the nearest to liquidation first. accounts: empty means all."""
    book = load_book(store, adapter)
    judged = []
    for key, position in book.positions.items():
        if accounts and adapter.account(key) not in accounts:
            continue
        assessment = adapter.assess(book.market, book.prices, position, block.timestamp)
        judged.append((key, assessment))
    drawn = None if isinstance(rule, BandRules) else stored_lines(store, adapter, rule)
    fixed = rule if isinstance(rule, BandRules) else rule.presumed
    judged.sort(key=lambda one: (one[1].health.factor_wad is None, one[1].health.factor_wad or 0, one[0]))
    for key, assessment in judged:
        rules = fixed if drawn is None else drawn.of(adapter, book, key, block.timestamp)
        outlook = outlook_json(drawn, adapter, book, key, assessment, block)
        yield health_row(adapter, book.market, key, assessment, block, rules, outlook)


def stored_lines(store: Store, adapter: Adapter, rule: Adaptive) -> Lines:
    """Lines that follow the volatility at the indexed tip."""
    from keeper.evaluator.lines import Lines
    from keeper.evaluator.volatility_json import load_volatility

    lines, payload = Lines(rule), store.fact(adapter.name, "volatility", MARKET_KEY)
    lines.observe(None if payload is None else load_volatility(payload))
    return lines


def outlook_json(
    drawn: Lines | None, adapter: Adapter, book: Book[Any, Any], key: bytes, assessment: Assessment, block: Block
) -> Json | None:
    """How likely a breach is; None where lines do not follow volatility, or it is not known."""
    factor = assessment.health.factor_wad
    found = None if drawn is None or not factor else drawn.outlook(adapter, book, key, block.timestamp, factor)
    if found is None:
        return None
    return {
        "sigma_day": round(found.sigma_day, 6),
        "breach_probability": round(found.probability, 6),
        "horizon_hours": found.horizon_s / 3600,
        "called_at_probability": found.threshold,
        "hours_until_then": None if found.crosses_s is None else round(found.crosses_s / 3600, 2),
    }


def health_row(
    adapter: Adapter,
    market: Any,
    key: bytes,
    assessment: Assessment,
    block: Block,
    rules: BandRules,
    outlook: Json | None = None,
) -> Json:
    """One position, as it was assessed at this block. outlook: None where nobody has observed its volatility."""
    health, metrics = assessment.health, metrics_of(assessment)
    band = rules.band(health)
    return {
        "protocol": adapter.name,
        "kind": adapter.kind,
        "position": adapter.position_id(key),
        "account": checksummed(adapter.account(key)),
        **_market(adapter.position_id(key), assessment.market_name),
        "block_number": block.number,
        "block_hash": _hex(block.hash),
        "health_wad": _text(health.factor_wad),
        "band": "unknown" if band is None else band.label,
        "call_wad": str(rules.call_wad),
        "liquidatable": health.liquidatable,
        "collaterals": [_holding(one) for one in assessment.collaterals],
        "debts": [_holding(one) for one in assessment.debts],
        "stale_assets": [checksummed(asset) for asset in health.stale_assets],
        "unpriced_assets": [checksummed(asset) for asset in health.unpriced_assets],
        "metrics": None if metrics is None else metrics_json(metrics, adapter.base_decimals(market), checksummed),
        "native": {name: _native(value) for name, value in assessment.native.items()},
        "outlook": outlook,
    }


def _market(position: str, name: str) -> Json:
    """Of an isolated position: the market's id, which is the third part of the position's, and what people call it."""
    market = market_of(position)
    return {} if market is None else {"market": market, "market_name": name}


def market_of(position: str) -> str | None:
    """The market in "<name>:<account>:<market>"; None where one market holds everything."""
    _, _, *market = position.split(":", 2)
    return market[0] if market else None


def _holding(holding: Holding) -> Json:
    row: Json = {
        "asset": checksummed(holding.asset),
        "symbol": holding.symbol,
        "decimals": holding.decimals,
        "amount": str(holding.amount),
        "value": _text(holding.value),
    }
    if holding.liquidation_threshold_bps is not None:
        row |= {
            "counts": holding.counts,
            "liquidation_threshold_bps": holding.liquidation_threshold_bps,
            "loan_to_value_bps": holding.loan_to_value_bps,
            "liquidation_penalty_bps": holding.liquidation_penalty_bps,
        }
    return row


def _native(value: Any) -> Any:
    return value if isinstance(value, bool) or not isinstance(value, int) else str(value)


# --- margin calls -----------------------------------------------------------------------------------------------------


def tokens_of(store: Store, adapters: Sequence[Adapter]) -> Tokens:
    """What the assets of these protocols are called, as far as they are indexed."""
    stored = ((adapter, store.fact(adapter.name, "market", MARKET_KEY)) for adapter in adapters)
    markets = {a.name: (a, a.load_market(market)) for a, market in stored if market is not None}

    def token(protocol: str, asset: bytes) -> Token | None:
        adapter, market = markets.get(protocol, (None, None))
        return None if adapter is None else adapter.token(market, asset)

    return token


def call_rows(store: Store, token: Tokens = lambda *_: None) -> Iterator[Json]:
    """Every episode, oldest first."""
    loaded = (load_episode(payload) for _, _, payload, _ in store.episodes())
    episodes = sorted(loaded, key=lambda one: (one.opened.block.number, one.position))
    told = _by_episode(episodes, store.deliveries())
    for episode in episodes:
        yield _call(episode, told.get(episode.id, []), token)


def _by_episode(episodes: Sequence[Episode], deliveries: Sequence[Delivery]) -> Mapping[str, list[Delivery]]:
    """Deliveries by the episode they belong to.

    A reorg may have replaced the episode that readers were told of by one with another id (they keep the one they
    know): then it is the newest of that position that had begun by the notice's block.
    """
    known = {episode.id for episode in episodes}
    found: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        notice = delivery.notice
        episode_id = notice.episode
        if episode_id not in known:
            of_position = [one for one in episodes if one.position == notice.position]
            begun = [one for one in of_position if one.opened.block.number <= notice.block_number]
            episode_id = next((one.id for one in (*reversed(begun), *of_position)), notice.episode)
        found.setdefault(episode_id, []).append(delivery)
    return found


def _call(episode: Episode, deliveries: list[Delivery], token: Tokens) -> Json:
    return {
        "id": episode.id,
        "position": episode.position,
        "account": checksummed(episode.account),
        "protocol": episode.protocol,
        "episode": episode.id,
        "band": episode.band.label,
        "deepest_band": episode.deepest.label,
        "status": episode.status.value,
        "opened_block": episode.opened.block.number,
        "opened_block_hash": _hex(episode.opened.block.hash),
        "health_wad": _text(episode.last.health_wad),
        "demands": [demand_json(demand, checksummed(demand.asset)) for demand in episode.demands],
        "breach_prices": [breach_json(breach, checksummed(breach.asset)) for breach in episode.breach_prices],
        "steps": [
            {
                "event": mark.event,
                "band": mark.band.label,
                "block_number": mark.block.number,
                "block_hash": _hex(mark.block.hash),
                "timestamp": mark.timestamp,
                "health_wad": _text(mark.health_wad),
                "prices": [_price(asset, price, token(episode.protocol, asset)) for asset, price in mark.prices],
            }
            for mark in episode.marks
        ],
        "losses": [_loss(loss, episode.protocol, token) for loss in episode.losses],
        "notices": [
            {
                "id": delivery.notice.id,
                "event": delivery.notice.event.value,
                "band": delivery.notice.band,
                "channel": delivery.channel,
                "status": delivery.status.value,
                "attempts": delivery.attempts,
                "created_at": delivery.created_at,
                "sent_at": delivery.sent_at,
                "error": delivery.error,
            }
            for delivery in deliveries
        ],
    }


def _price(asset: bytes, price: Price, token: Token | None) -> Json:
    """Evidence: what the protocol counted an asset at, in whole base currency units."""
    return {
        "asset": checksummed(asset),
        "symbol": None if token is None else clean_symbol(token.symbol),
        "price": format_units(price.value, price.decimals),
        "updated_at": price.updated_at,
    }


def _loss(loss: Loss, protocol: str, token: Tokens) -> Json:
    """With what was taken and paid in words, where the tokens are known."""
    event = loss.event
    return {
        "liquidator": checksummed(event.liquidator),
        "transaction": _hex(event.transaction_hash),
        "block_number": loss.block.number,
        "block_hash": _hex(loss.block.hash),
        "debt_asset": checksummed(event.debt_asset),
        "repaid": str(event.repaid_assets),
        "repaid_value": _text(loss.repaid_value),
        "repaid_amount": _amount(event.repaid_assets, token(protocol, event.debt_asset)),
        "collateral_asset": checksummed(event.collateral_asset),
        "seized": str(event.seized_assets),
        "seized_value": _text(loss.seized_value),
        "seized_amount": _amount(event.seized_assets, token(protocol, event.collateral_asset)),
        "penalty_value": _text(loss.penalty_value),
    }


def _amount(assets: int, token: Token | None) -> str | None:
    return None if token is None else amount(assets, token.decimals, token.symbol)


# --- transactions -----------------------------------------------------------------------------------------------------


def liquidation_rows(store: Store) -> Iterator[Json]:
    """Every liquidation we decided on, oldest first."""
    for intent in store.intents():
        if intent.kind in LIQUIDATES:
            for leg in legs_of(intent):
                yield {**_liquidation(leg), "batch": intent.id if intent.kind == BATCH else None}


def _liquidation(intent: Intent) -> Json:
    return {
        "id": intent.id,
        "position": intent.position,
        "account": checksummed(intent.account),
        "protocol": intent.protocol,
        "status": intent.status.value,
        "tx_hash": None if intent.tx_hash is None else _hex(intent.tx_hash),
        "block_number": intent.included_number,
        "block_hash": None if intent.included_hash is None else _hex(intent.included_hash),
        "debt_asset": _address(intent.debt_asset),
        "repaid": _text(intent.repaid_assets),
        "collateral_asset": _address(intent.collateral_asset),
        "seized": _text(intent.seized_assets),
        "profit_expected": _text(intent.profit_expected),
        "profit_realized": _text(intent.profit_realized),
        "expected": _statement(intent.plan.get("expected")),
        "realized": _statement(intent.realized.get("statement")),
        "difference": _difference(intent),
        "gas_used": intent.gas_used,
        "gas_cost_wei": _text(intent.gas_cost_wei),
        "financing": intent.plan.get("financing"),
        "behind": intent.plan.get("behind"),
        "reason": intent.reason,
        "judged_block": intent.judged_number,
        "judged_block_hash": _hex(intent.judged_hash),
        "attempts": [_attempt(attempt) for attempt in intent.attempts],
    }


def _statement(stored: Json | None) -> Json | None:
    """What moved, in tokens and in base units; the amounts of docs/accounting.md."""
    if stored is None:
        return None
    gains = [{**gain, "asset": checksummed(bytes.fromhex(gain["asset"][2:]))} for gain in stored["gains"]]
    return {**stored, "gains": gains}


def _difference(intent: Intent) -> Json | None:
    """Realized less expected profit, with the causes that add up to it; None where either is not known."""
    causes = intent.realized.get("difference")
    if causes is None or intent.profit_realized is None or intent.profit_expected is None:
        return None
    return {"profit": str(intent.profit_realized - intent.profit_expected), **causes}


def transaction_rows(store: Store) -> Iterator[Json]:
    """Every transaction we signed, by nonce, with what it was for."""
    rows = [(attempt, intent) for intent in store.intents() for attempt in intent.attempts]
    for attempt, intent in sorted(rows, key=lambda row: (row[0].nonce, row[0].created_at)):
        purpose = {
            "intent": intent.id,
            "kind": intent.kind,
            "cause": intent.cause,
            "intent_status": intent.status.value,
        }
        yield {**_attempt(attempt), **purpose}


def _attempt(attempt: Attempt) -> Json:
    return {
        "tx_hash": _hex(attempt.tx_hash),
        "nonce": attempt.nonce,
        "purpose": attempt.purpose,
        "status": attempt.status,
        "max_fee_wei": str(attempt.max_fee_wei),
        "max_priority_fee_wei": str(attempt.max_priority_fee_wei),
        "gas_limit": attempt.gas_limit,
        "created_at": attempt.created_at,
        "broadcast_at": attempt.broadcast_at,
        "error": attempt.error,
    }


# --- text -------------------------------------------------------------------------------------------------------------


def band_style(label: str) -> str:
    """How a band is coloured for people."""
    styles: Mapping[str, str] = {
        Band.SAFE.label: "green",
        Band.WATCH.label: "cyan",
        Band.CALL.label: "yellow",
        Band.URGENT.label: "bold yellow",
        Band.LIQUIDATABLE.label: "bold red",
    }
    return styles.get(label, "magenta")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _address(value: bytes | None) -> str | None:
    return None if value is None else checksummed(value)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
