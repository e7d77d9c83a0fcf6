"""What was found, for a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.styled import Styled
from rich.text import Text

from keeper import terminal
from keeper.core.types import Health
from keeper.evaluator import wording
from keeper.protocols.addresses import checksummed
from keeper.rehearsal.findings import Finding, Tally, named_reasons, tallies

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def table(findings: Sequence[Finding]) -> Table:
    """At most 80 columns."""
    numbers = ("health", "profit", "gas")
    shown = terminal.table(
        "position", "health", "outcome", "profit", "gas", "how, or why not", right=numbers, whole=("position", *numbers)
    )
    shown.title = f"{len(findings)} rehearsed; profit, gas and bad debt in the protocol's base currency"
    for one in findings:
        shown.add_row(
            _name(one), _health(one.before), _outcome(one), _money(one.profit_base, one), _gas(one), _how(one)
        )
    return shown


def totals(findings: Iterable[Finding]) -> list[str]:
    """A few lines per protocol."""
    lines: list[str] = []
    for name, tally in tallies(findings).items():
        lines.append(
            f"{name}: {tally.liquidated} of {tally.rehearsed} liquidated, profit {_amount(tally.profit, tally)} after "
            f"gas of {_amount(tally.gas_cost, tally)} (each alone; together they would share the pools)"
        )
        if tally.refused:
            lines.append(f"  not liquidated: {', '.join(named_reasons(tally))}")
        if tally.bad_debt_positions:
            lines.append(f"  {tally.bad_debt_positions} would leave bad debt, {_amount(tally.bad_debt, tally)} in all")
    return lines


def _name(one: Finding) -> str:
    account = checksummed(one.account)
    market = one.position.split(":", 2)[2:]
    label = f"{account[:6]}…{account[-4:]}\n[dim]{escape(one.protocol)}[/]"
    return label + (f"\n[dim]in {escape(market[0][:10])}…[/]" if market else "")


def _health(health: Health | None) -> str:
    if health is None or health.unpriced_assets:
        return "?"
    return wording.health(health.factor_wad)


def _outcome(one: Finding) -> RenderableType:
    style = {"liquidated": "green", "failed": "bold red", "refused": "yellow"}[one.status]
    moved = "" if one.lever is None else f"\n[dim]by {one.lever.value}[/]"
    said = Text.from_markup(f"[{style}]{one.status}[/]{moved}")
    unpaid = terminal.Amounts([(_money(one.bad_debt, one), "bad debt")])
    return Group(said, Styled(unpaid, "red")) if one.bad_debt else said


def _gas(one: Finding) -> str:
    return _money(one.gas_base, one)


def _how(one: Finding) -> str:
    if one.reason is not None:
        return f"{escape(one.reason.code)}: [dim]{escape(one.reason.detail)}[/]"
    intent = one.intent
    if intent is None or intent.debt_asset is None or intent.collateral_asset is None:
        return "-"
    debt, collateral = (one.symbols.get(asset, "?") for asset in (intent.debt_asset, intent.collateral_asset))
    financing = intent.plan.get("financing") or {}
    route = _ADDRESS.sub(lambda found: _named(found[0], one), str(financing.get("route")))
    return escape(f"{collateral} for {debt}, borrowed of {financing.get('funding')}, sold by {route}")


def _named(address: str, one: Finding) -> str:
    return one.symbols.get(bytes.fromhex(address[2:])) or f"{address[:6]}…{address[-4:]}"


def _money(units: int | None, one: Finding) -> str:
    return "-" if units is None else f"{Decimal(units).scaleb(-one.base_decimals):,.2f}"


def _amount(units: int, tally: Tally) -> str:
    return f"{Decimal(units).scaleb(-tally.base_decimals):,.2f} {tally.currency}".rstrip()
