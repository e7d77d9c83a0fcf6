"""A transaction that liquidates several positions, seen as one liquidation of each: its legs.

Stored is one intent of kind "batch", since there is one nonce and one fate in a block: `plan["legs"]` says what each
was to do, and once mined `realized["legs"]` what became of it. Whoever looks at positions looks at legs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from keeper.core.records import Intent, IntentStatus

BATCH = "batch"
LIQUIDATES = ("liquidation", BATCH)
"""Kinds of intents that liquidate."""

_COMMON = ("at", "base_decimals", "succeeded_before")  # of what became of a transaction, and so of each leg


def legs_of(intent: Intent) -> list[Intent]:
    """The liquidations that an intent is of; of any other kind, and of a single one, itself."""
    if intent.kind != BATCH:
        return [intent]
    legs: Sequence[Mapping[str, Any]] = intent.plan["legs"]
    became: Sequence[Mapping[str, Any]] = intent.realized.get("legs") or [{}] * len(legs)
    gas, wei = shares(legs, intent.gas_used or 0), shares(legs, intent.gas_cost_wei or 0)
    if (worth := intent.realized.get("gas")) is not None and "legs" not in intent.realized:
        became = [{"gas": str(part)} for part in shares(legs, int(worth))]
    return [
        _leg(intent, number, leg, outcome, gas[number], wei[number])
        for number, (leg, outcome) in enumerate(zip(legs, became, strict=True))
    ]


def shares(legs: Sequence[Mapping[str, Any]], whole: int) -> list[int]:
    """What of gas, or of its cost, falls to each leg: in proportion to what each was expected to use. They add up to
    `whole`."""
    weights = [int(leg["expected"]["gas_wei"]) for leg in legs]
    total = sum(weights) or 1
    parts = [whole * weight // total for weight in weights]
    return [*parts[:-1], whole - sum(parts[:-1])]


def _leg(
    intent: Intent, number: int, leg: Mapping[str, Any], outcome: Mapping[str, Any], gas_used: int, cost_wei: int
) -> Intent:
    """A leg that failed alone is failed, whatever became of the others."""
    mined, failure = intent.tx_hash is not None, outcome.get("failed")
    alone = failure is not None and intent.status in (IntentStatus.INCLUDED, IntentStatus.CONFIRMED)
    statement = outcome.get("statement")
    common = {key: intent.realized[key] for key in _COMMON if key in intent.realized}
    return replace(
        intent,
        id=f"{intent.id}/{number}",
        kind="liquidation",
        cause=leg["cause"],
        position=leg["position"],
        account=bytes.fromhex(leg["account"][2:]),
        status=IntentStatus.FAILED if alone else intent.status,
        plan=leg,
        debt_asset=bytes.fromhex(leg["debt_asset"][2:]),
        collateral_asset=bytes.fromhex(leg["collateral_asset"][2:]),
        repaid_assets=None if statement is None else int(statement["repaid"]),
        seized_assets=None if statement is None else int(statement["seized"]),
        profit_expected=int(leg["expected"]["profit"]),
        profit_realized=None if statement is None else int(statement["profit"]),
        gas_used=gas_used if mined else None,
        gas_cost_wei=cost_wei if mined else None,
        reason=failure if alone else intent.reason,
        realized={**common, **outcome} if mined else {},
    )
