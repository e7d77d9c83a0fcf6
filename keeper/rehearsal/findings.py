"""What a rehearsal found: of each position, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from keeper.core.records import Intent
from keeper.core.stress import Lever
from keeper.core.types import BlockRef, Health, Skip
from keeper.protocols.addresses import checksummed

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One position. Values are in base-currency units of its protocol (`base_decimals` of `currency`).

    block: that was forked. before: at the fork's first block; None when the position is closed.
    lever: what was moved to open it; None when nothing had to be.
    stressed, after: at the time of the liquidation, before and after it; after is None where nothing was sent.
    intent: what was sent and what became of it. reason: why nothing was, or why it failed.
    gain_assets: raw units that the contract has more of afterwards, of the gain token. gas_base: what its gas cost.
    bad_debt: what would stay unpaid for good: owed beyond what the collateral that is left is worth.
    """

    protocol: str
    position: str
    account: bytes
    base_decimals: int
    currency: str
    block: BlockRef
    before: Health | None = None
    lever: Lever | None = None
    stressed: Health | None = None
    after: Health | None = None
    intent: Intent | None = None
    reason: Skip | None = None
    symbols: Mapping[bytes, str] = field(default_factory=dict)
    gain_assets: int | None = None
    gas_base: int | None = None
    bad_debt: int = 0

    @property
    def liquidated(self) -> bool:
        return self.intent is not None and self.reason is None

    @property
    def profit_base(self) -> int | None:
        """After gas."""
        return self.intent.profit_realized if self.intent is not None and self.liquidated else None

    @property
    def status(self) -> str:
        if self.liquidated:
            return "liquidated"
        return "failed" if self.intent is not None else "refused"


def row(finding: Finding) -> Json:
    """For `--json`; integers that can exceed 2^53 as decimal strings."""
    intent = finding.intent
    financing: Mapping[str, Any] = {} if intent is None else intent.plan.get("financing") or {}
    reason = finding.reason
    return {
        "protocol": finding.protocol,
        "position": finding.position,
        "account": checksummed(finding.account),
        "status": finding.status,
        "liquidatable": finding.stressed is not None and finding.stressed.liquidatable,
        "lever": None if finding.lever is None else finding.lever.value,
        "base_decimals": finding.base_decimals,
        "currency": finding.currency,
        "block_number": finding.block.number,
        "block_hash": "0x" + finding.block.hash.hex(),
        "before": _health(finding.before),
        "stressed": _health(finding.stressed),
        "after": _health(finding.after),
        "reason": None if reason is None else {"code": reason.code, "detail": reason.detail},
        "debt_asset": None if intent is None or intent.debt_asset is None else checksummed(intent.debt_asset),
        "repaid": None if intent is None else _text(intent.repaid_assets),
        "collateral_asset": _address(None if intent is None else intent.collateral_asset),
        "seized": None if intent is None else _text(intent.seized_assets),
        "profit": _text(finding.profit_base),
        "profit_expected": None if intent is None else _text(intent.profit_expected),
        "gain_asset": financing.get("gain_token"),
        "gain": _text(finding.gain_assets),
        "gas_used": None if intent is None else intent.gas_used,
        "gas_cost_wei": None if intent is None else _text(intent.gas_cost_wei),
        "gas_cost": _text(finding.gas_base),
        "funding": financing.get("funding"),
        "route": financing.get("route"),
        "bad_debt": str(finding.bad_debt),
    }


def _health(health: Health | None) -> Json | None:
    if health is None:
        return None
    return {
        "health_wad": _text(health.factor_wad),
        "collateral_value": str(health.collateral_value),
        "debt_value": str(health.debt_value),
    }


def _address(value: bytes | None) -> str | None:
    return None if value is None else checksummed(value)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


@dataclass(slots=True)
class Tally:
    """One protocol's findings in all. Each was liquidated alone, on the same state: together they would share pools."""

    base_decimals: int
    currency: str
    rehearsed: int = 0
    liquidated: int = 0
    failed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    profit: int = 0
    gas_cost: int = 0
    bad_debt: int = 0
    bad_debt_positions: int = 0

    def add(self, finding: Finding) -> None:
        self.rehearsed += 1
        self.liquidated += finding.liquidated
        self.failed += finding.status == "failed"
        if finding.reason is not None:
            self.refused[finding.reason.code] += 1
        self.profit += finding.profit_base or 0
        self.gas_cost += finding.gas_base or 0
        self.bad_debt += finding.bad_debt
        self.bad_debt_positions += finding.bad_debt > 0

    def row(self) -> Json:
        return {
            "base_decimals": self.base_decimals,
            "currency": self.currency,
            "rehearsed": self.rehearsed,
            "liquidated": self.liquidated,
            "failed": self.failed,
            "reasons": dict(self.refused.most_common()),
            "profit": str(self.profit),
            "gas_cost": str(self.gas_cost),
            "bad_debt": str(self.bad_debt),
            "bad_debt_positions": self.bad_debt_positions,
        }


def tallies(findings: Iterable[Finding]) -> dict[str, Tally]:
    """By protocol, in the order in which they come."""
    found: dict[str, Tally] = {}
    for finding in findings:
        found.setdefault(finding.protocol, Tally(finding.base_decimals, finding.currency)).add(finding)
    return found


def named_reasons(tally: Tally) -> Iterator[str]:
    yield from (f"{count} {code}" for code, count in tally.refused.most_common())
