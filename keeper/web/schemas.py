"""The objects of the API as JSON schemas. Closed: whatever is not named here is not said."""

from __future__ import annotations

from typing import Any

from keeper.core.types import Band
from keeper.web import asked

Json = dict[str, Any]


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def closed(optional: tuple[str, ...] = (), /, **fields: Json) -> Json:
    """An object with exactly these fields; all are there but the optional ones."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def many(of: Json) -> Json:
    return {"type": "array", "items": of}


def by_name(of: Json) -> Json:
    return {"type": "object", "additionalProperties": of}


def maybe(of: Json) -> Json:
    if isinstance(kind := of.get("type"), str) and "enum" not in of:
        return {**of, "type": [kind, "null"]}
    return {"anyOf": [of, {"type": "null"}]}


def one_of(*words: str) -> Json:
    return {"type": "string", "enum": list(words)}


TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
WHOLE: Json = {"type": "integer"}
COUNT: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "number"}
INTEGER: Json = {"type": "string", "pattern": "^-?[0-9]+$", "description": "An integer that can exceed 2^53"}
DECIMAL: Json = {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}
ADDRESS: Json = {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}
HASH: Json = {"type": "string", "pattern": "^0x[0-9a-f]{64}$"}
TIME: Json = {"type": "number", "description": "Unix seconds"}
BAND = one_of(*asked.BANDS)
DEPTH = one_of(*(band.label for band in Band))
ANYTHING: Json = {}

_PRICE = closed(value=INTEGER, decimals=COUNT)
_LINES = {"watch_wad": INTEGER, "call_wad": INTEGER, "urgent_wad": INTEGER, "target_wad": INTEGER}

_HOLDING = closed(
    ("counts", "liquidation_threshold_bps", "loan_to_value_bps", "liquidation_penalty_bps"),
    asset=ADDRESS,
    symbol=TEXT,
    decimals=COUNT,
    amount=INTEGER,
    value=maybe(INTEGER),
    counts=FLAG,
    liquidation_threshold_bps=maybe(COUNT),
    loan_to_value_bps=maybe(COUNT),
    liquidation_penalty_bps=maybe(COUNT),
)
_METRICS = closed(
    base_decimals=COUNT,
    **{
        name: maybe(INTEGER)
        for name in (
            "equity_value",
            "exposure_value",
            "initial_margin_value",
            "maintenance_margin_value",
            "margin_ratio_wad",
            "initial_margin_ratio_wad",
            "maintenance_margin_ratio_wad",
            "effective_leverage_wad",
            "equity_utilization_wad",
            "collateral_buffer_value",
            "collateral_buffer_wad",
            "liquidation_penalty_value",
            "concentration_wad",
        )
    },
    largest_asset=maybe(TEXT),
    largest_share_wad=maybe(INTEGER),
)
_OUTLOOK = closed(
    sigma_day=NUMBER,
    breach_probability=NUMBER,
    horizon_hours=NUMBER,
    called_at_probability=NUMBER,
    hours_until_then=maybe(NUMBER),
)
_ROW = {
    "protocol": TEXT,
    "kind": TEXT,
    "position": TEXT,
    "account": ADDRESS,
    "market": TEXT,
    "market_name": TEXT,
    "block_number": COUNT,
    "block_hash": HASH,
    "health_wad": maybe(INTEGER),
    "band": BAND,
    "liquidatable": FLAG,
    "collaterals": many(_HOLDING),
    "debts": many(_HOLDING),
    "stale_assets": many(TEXT),
    "unpriced_assets": many(TEXT),
    "metrics": maybe(_METRICS),
    "native": {"type": "object", "description": "The protocol's own view under its own names"},
    "outlook": maybe(_OUTLOOK),
    **_LINES,
    "label": maybe(TEXT),
}
_DEMAND = closed(
    action=one_of("add_collateral", "repay"),
    asset=ADDRESS,
    symbol=TEXT,
    decimals=COUNT,
    amount=INTEGER,
    resulting_health_wad=maybe(INTEGER),
)
_BREACH = closed(asset=ADDRESS, symbol=TEXT, price=DECIMAL, move=DECIMAL)
_STEP = closed(
    event=TEXT,
    band=DEPTH,
    block_number=COUNT,
    block_hash=HASH,
    timestamp=COUNT,
    health_wad=maybe(INTEGER),
    prices=many(closed(asset=TEXT, symbol=maybe(TEXT), price=DECIMAL, updated_at=maybe(COUNT))),
)
_LOSS = closed(
    liquidator=ADDRESS,
    transaction=HASH,
    block_number=COUNT,
    block_hash=HASH,
    debt_asset=ADDRESS,
    repaid=INTEGER,
    repaid_value=maybe(INTEGER),
    repaid_amount=maybe(TEXT),
    collateral_asset=ADDRESS,
    seized=INTEGER,
    seized_value=maybe(INTEGER),
    seized_amount=maybe(TEXT),
    penalty_value=maybe(INTEGER),
)
_NOTICE = closed(
    id=TEXT,
    event=TEXT,
    band=TEXT,
    channel=TEXT,
    status=one_of("pending", "held", "sending", "sent", "dropped", "dead"),
    attempts=COUNT,
    created_at=TIME,
    sent_at=maybe(TIME),
    error=maybe(TEXT),
)
_ATTEMPT = {
    "tx_hash": HASH,
    "nonce": COUNT,
    "purpose": TEXT,
    "status": one_of(*asked.ATTEMPT_STATUSES),
    "max_fee_wei": INTEGER,
    "max_priority_fee_wei": INTEGER,
    "gas_limit": COUNT,
    "created_at": TIME,
    "broadcast_at": maybe(TIME),
    "error": maybe(TEXT),
}
_STATEMENT = {
    "type": "object",
    "description": "What moved, in tokens and in base units (docs/accounting.md)",
    "properties": {
        "profit": INTEGER,
        "base_decimals": COUNT,
        "haircut_bps": COUNT,
        "native_price": _PRICE,
        "gains": many(closed(asset=ADDRESS, decimals=COUNT, amount=INTEGER, price=_PRICE)),
    },
    "required": ["profit", "base_decimals", "gains", "native_price"],
    "additionalProperties": INTEGER,
}
_LADDER_STEP = closed(move=DECIMAL, price=maybe(DECIMAL), positions=COUNT, collateral_value=NUMBER, debt_value=NUMBER)
_LEVEL = {"anyOf": [maybe(NUMBER), many(maybe(NUMBER))], "description": "One number where it is the same for all"}
_PULSE = closed(
    state=one_of("live", "stale", "missing"),
    at=maybe(TIME),
    age_s=maybe(NUMBER),
    started_at=maybe(TIME),
    program=maybe(TEXT),
)
_SECTION: Json = {"type": ["object", "null"], "description": "As the daemon says it: docs/pulse.md"}


def _page(of: Json) -> Json:
    return closed(items=many(of), next=maybe(TEXT), total=COUNT, block=maybe(ref("Block")))


SCHEMAS: Json = {
    "Problem": closed(
        ("value", "limit", "remedy"),
        type=TEXT,
        title=TEXT,
        status=WHOLE,
        detail=TEXT,
        value={"type": ["string", "number"], "description": "What was given"},
        limit={"description": "What would be right"},
        remedy=TEXT,
    ),
    "Block": closed(number=COUNT, hash=HASH, timestamp=COUNT),
    "PositionRow": closed(("market", "market_name"), **_ROW),
    "PositionPage": _page(ref("PositionRow")),
    "Position": {
        "anyOf": [
            closed(
                ("market", "market_name"),
                **_ROW,
                open={"const": True},
                currency=TEXT,
                demands=many(_DEMAND),
                breach_prices=many(_BREACH),
                episodes=many(ref("Call")),
                liquidations=many(ref("Liquidation")),
            ),
            closed(
                position=TEXT,
                account=ADDRESS,
                protocol=TEXT,
                label=maybe(TEXT),
                open={"const": False},
                episodes=many(ref("Call")),
                liquidations=many(ref("Liquidation")),
            ),
        ]
    },
    "History": closed(
        position=TEXT,
        points=many(closed(block_number=COUNT, timestamp=COUNT, health_wad=maybe(INTEGER))),
        lines=maybe(closed(**_LINES)),
    ),
    "Table": closed(
        (
            "currency",
            "id",
            "protocol",
            "band",
            "health",
            "collateral_value",
            "debt_value",
            "watch",
            "call",
            "urgent",
            "label",
        ),
        block=maybe(ref("Block")),
        protocols=many(TEXT),
        currency=by_name(TEXT),
        bands=many(TEXT),
        rows=COUNT,
        exact={"const": False},
        id=many(TEXT),
        protocol=many(COUNT),
        band=many(COUNT),
        health=many(maybe(NUMBER)),
        collateral_value=many(maybe(NUMBER)),
        debt_value=many(maybe(NUMBER)),
        watch=_LEVEL,
        call=_LEVEL,
        urgent=_LEVEL,
        label=by_name(TEXT),
    ),
    "Ladder": closed(
        block=maybe(ref("Block")),
        assets=many(
            closed(
                protocol=TEXT,
                asset=TEXT,
                symbol=TEXT,
                price=maybe(DECIMAL),
                currency=TEXT,
                collateral_value=NUMBER,
                steps=many(_LADDER_STEP),
            )
        ),
    ),
    "Call": closed(
        id=TEXT,
        position=TEXT,
        account=ADDRESS,
        protocol=TEXT,
        episode=TEXT,
        band=DEPTH,
        deepest_band=DEPTH,
        status=one_of(*asked.CALL_STATUSES),
        opened_block=COUNT,
        opened_block_hash=HASH,
        health_wad=maybe(INTEGER),
        demands=many(_DEMAND),
        breach_prices=many(_BREACH),
        steps=many(_STEP),
        losses=many(_LOSS),
        notices=many(_NOTICE),
    ),
    "CallPage": _page(ref("Call")),
    "Liquidation": closed(
        id=TEXT,
        position=TEXT,
        account=ADDRESS,
        protocol=TEXT,
        status=one_of(*asked.INTENT_STATUSES),
        tx_hash=maybe(HASH),
        block_number=maybe(COUNT),
        block_hash=maybe(HASH),
        debt_asset=maybe(ADDRESS),
        repaid=maybe(INTEGER),
        collateral_asset=maybe(ADDRESS),
        seized=maybe(INTEGER),
        profit_expected=maybe(INTEGER),
        profit_realized=maybe(INTEGER),
        expected=maybe(_STATEMENT),
        realized=maybe(_STATEMENT),
        difference=maybe(by_name({"type": ["string", "integer"], "description": "By cause, base units"})),
        gas_used=maybe(COUNT),
        gas_cost_wei=maybe(INTEGER),
        financing=maybe({"type": "object"}),
        behind=ANYTHING,
        reason=maybe(TEXT),
        judged_block=COUNT,
        judged_block_hash=HASH,
        attempts=many(closed(**_ATTEMPT)),
        batch=maybe(TEXT),
    ),
    "LiquidationPage": _page(ref("Liquidation")),
    "Transaction": closed(
        **_ATTEMPT,
        intent=TEXT,
        kind=TEXT,
        cause=TEXT,
        intent_status=one_of(*asked.INTENT_STATUSES),
        protocol=TEXT,
        position=TEXT,
        positions=many(TEXT),
        account=maybe(ADDRESS),
        profit_expected=maybe(INTEGER),
        profit_realized=maybe(INTEGER),
        base_decimals=maybe(COUNT),
        block_number=maybe(COUNT),
        block_hash=maybe(HASH),
        gas_used=maybe(COUNT),
        gas_cost_wei=maybe(INTEGER),
        reason=maybe(TEXT),
        trail=many(closed(event=TEXT, at=TIME)),
    ),
    "TransactionPage": _page(ref("Transaction")),
    "Status": closed(
        chain_id=COUNT,
        program=TEXT,
        block=maybe(ref("Block")),
        pulse=_PULSE,
        mode=_SECTION,
        head_lag_blocks=maybe(COUNT),
        head_age_s=maybe(NUMBER),
        positions=by_name(closed(**dict.fromkeys(asked.BANDS, COUNT))),
        position_count=COUNT,
        open_calls=by_name(COUNT),
        undelivered=by_name(COUNT),
        intents=by_name(COUNT),
        executor=maybe(TEXT),
        paused=maybe(FLAG),
        tripped=many({"type": "object"}),
    ),
    "System": closed(
        block=maybe(ref("Block")),
        pulse=_PULSE,
        head_lag_blocks=maybe(COUNT),
        head_age_s=maybe(NUMBER),
        mode=_SECTION,
        endpoints=maybe(many({"type": "object"})),
        round_trips=_SECTION,
        latency=_SECTION,
        breakers=maybe(many({"type": "object"})),
        paused=maybe(FLAG),
        jobs=_SECTION,
        balances=_SECTION,
        memory=_SECTION,
        sections={"type": "object", "description": "The whole pulse: docs/pulse.md"},
    ),
    "Session": closed(
        authenticated=FLAG,
        by=maybe(one_of("bearer", "session")),
        token_required=FLAG,
        may_acknowledge=FLAG,
        csrf=maybe(TEXT),
    ),
    "Acknowledged": closed(acknowledged=TEXT, by=TEXT, request=TEXT),
    "Alive": closed(alive={"const": True}),
    "Readiness": closed(
        ("checks",),
        ready=FLAG,
        checks=many(closed(check=TEXT, ok=FLAG, detail=TEXT)),
    ),
}
