"""`keeper solvency`, and the job that watches it: each protocol's losses and what stands ready to cover them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from keeper.core.errors import StoreError
from keeper.core.ports import ProtocolAdapter, Solvent, Store
from keeper.core.types import Backing, Block, BlockRef, Book, Call, CallResult
from keeper.core.units import format_units
from keeper.evaluator.house import Trouble
from keeper.evaluator.solvency import MOVES_BPS, Assessing, Solvency
from keeper.indexer.reads import drive
from keeper.pipeline import Pipeline
from keeper.queries.views import load_book
from keeper.stored import StoredPositions
from keeper.upkeep.conditions import Conditions

if TYPE_CHECKING:
    from rich.table import Table

    from keeper.indexer.rpc.client import RpcClient

log = structlog.get_logger(__name__)

Adapter = ProtocolAdapter[Any, Any]

_YIELDS = 2.0
"""So many times as long as a step took, the daemon's own assessment leaves the loop alone: a million positions are
twenty seconds of work, and blocks come first."""


async def assess(
    rpc: RpcClient,
    adapter: Adapter,
    book: Book[Any, Any],
    block: Block,
    moves_bps: Sequence[int] = MOVES_BPS,
    *,
    yields: float = 0.0,
) -> Solvency:
    """A protocol at one block, given a book that nobody changes meanwhile. Lets others run every millisecond or so,
    `yields` times as long as it took for that."""
    backing = Backing(0)
    if isinstance(adapter, Solvent):
        backing = (await drive([adapter.backing(book.market, book.prices)], _at(rpc, block.ref)))[0]
    assessing = Assessing(adapter, book, block.timestamp, moves_bps)
    began = time.perf_counter()
    for _ in assessing.steps():
        await asyncio.sleep(yields * (time.perf_counter() - began))
        began = time.perf_counter()
    return assessing.result(backing)


def _at(rpc: RpcClient, block: BlockRef) -> Any:
    async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
        return await rpc.call_many(calls, block)

    return execute


def row(adapter: Adapter, market: Any, block: Block, found: Solvency) -> Mapping[str, Any]:
    """As `--json` prints it. Values are integers in base currency units, as decimal strings; shares and coverage are
    decimals, rounded down."""
    backing = found.backing
    return {
        "protocol": adapter.name,
        "kind": adapter.kind,
        "block_number": block.number,
        "block_hash": "0x" + block.hash.hex(),
        "currency": adapter.currency(market),
        "currency_decimals": adapter.base_decimals(market),
        "positions": found.positions,
        "unknown_positions": found.unknown,
        "collateral_value": str(found.collateral_value),
        "debt_value": str(found.debt_value),
        "underwater_positions": found.underwater,
        "shortfall_value": str(found.shortfall_value),
        "deficit_value": str(backing.deficit_value),
        "reserve_value": None if backing.reserve_value is None else str(backing.reserve_value),
        "coverage": None if found.coverage_wad is None else format_units(found.coverage_wad, 18, 4),
        "at_risk": [
            {
                "move": format_units(risk.move_bps, 4),
                "positions": risk.positions,
                "collateral_value": str(risk.collateral_value),
                "share": format_units(found.share_wad(risk), 18, 6),
            }
            for risk in found.at_risk
        ],
    }


# --- the daemon's -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SolvencyWatch:
    """latest: by protocol, what was last found; kept for whoever shows it.

    adapters: of its own, by name, since an adapter remembers the moment that it was last asked about. read: the store
    once more, which stays at the block that it was opened at: a copy of a million positions would keep blocks waiting,
    and be most of a gigabyte. turn: held until it is.
    """

    rpc: RpcClient
    pipeline: Pipeline
    turn: asyncio.Lock
    conditions: Conditions
    adapters: Mapping[str, Adapter]
    read: Callable[[], Store]
    min_coverage_wad: int | None
    latest: dict[str, Solvency] = field(default_factory=dict)

    async def look(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with self.turn:
                if not len(self.pipeline.window):
                    return
                tip = self.pipeline.window.tip
                store = stack.enter_context(contextlib.closing(self.read()))
                stack.enter_context(store.snapshot())
                if store.cursor() != tip.ref:
                    raise StoreError(f"a second look into the store is not at block {tip.number}; is it one in memory?")
                books = {
                    track.name: Book(
                        track.book.market,
                        track.book.prices,
                        StoredPositions(store, track.name, self.adapters[track.name].load_position, kept=0),
                    )
                    for track in self.pipeline.tracks
                    if track.book.market is not None
                }
            for name, book in books.items():
                found = await assess(self.rpc, self.adapters[name], book, tip, yields=_YIELDS)
                self.latest[name] = found
                log.info("solvency_assessed", **row(self.adapters[name], book.market, tip, found))
                self._tell(name, self.adapters[name], book, found)

    def _tell(self, name: str, adapter: Adapter, book: Book[Any, Any], found: Solvency) -> None:
        if self.min_coverage_wad is None:
            return
        least = format_units(self.min_coverage_wad, 18)
        coverage = found.coverage_wad
        if coverage is None or coverage >= self.min_coverage_wad:
            self.conditions.covered(name, f"{name} covers its losses {least} times or more")
            return
        decimals, currency = adapter.base_decimals(book.market), adapter.currency(book.market)
        held = found.backing.reserve_value

        def amount(value: int) -> str:
            return f"{format_units(value, decimals, 2)} {currency}".strip()

        trouble = Trouble(
            name,
            f"reserves of {name} are {format_units(coverage, 18, 4)} of its losses, below {least}",
            (
                f"Lost already: {amount(found.backing.deficit_value)}. Under water: {found.underwater} positions, by "
                f"{amount(found.shortfall_value)}.",
                "It has no reserves: lenders bear losses." if held is None else f"Reserves: {amount(held)}.",
            ),
            "What is not covered is taken from lenders, or from traders who gain.",
        )
        self.conditions.uncovered(trouble)


# --- the command ------------------------------------------------------------------------------------------------------


def solvency(args: argparse.Namespace) -> int:
    from keeper.wire import open_house

    house = open_house(args)
    moves = args.move or MOVES_BPS

    async def everything() -> list[Mapping[str, Any]]:
        with closing(house.open_store(read_only=True)) as store:
            blocks = store.blocks()
            if not blocks:
                raise StoreError("nothing is indexed yet; run `keeper backfill` or `keeper run` first")
            rpc = await house.connect()
            try:
                rows = []
                for adapter in house.adapters():
                    book = load_book(store, adapter)
                    if book.market is not None:
                        found = await assess(rpc, adapter, book, blocks[-1], moves)
                        rows.append(row(adapter, book.market, blocks[-1], found))
                return rows
            finally:
                await rpc.close()

    from keeper.queries.report import Title, show

    return show(args, [dict(one) for one in asyncio.run(everything())], _table, Title("protocol", "protocols"))


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.markup import escape

    from keeper import terminal

    numbers = "debt", "losses", "reserves"
    table = terminal.table("protocol", *numbers, "would open", right=numbers, whole=(*numbers, "would open"))
    for one in rows:
        decimals = one["currency_decimals"]
        held = "-" if one["reserve_value"] is None else _value(one["reserve_value"], decimals)
        covered = "no loss" if one["coverage"] is None else f"covers {_percent(one['coverage'])}"
        table.add_row(
            f"{escape(one['protocol'])}\n[dim]{escape(one['currency'])}[/]",
            _value(one["debt_value"], decimals),
            f"{_value(one['shortfall_value'], decimals)} in {one['underwater_positions']}\n"
            f"[dim]{_value(one['deficit_value'], decimals)} deficit[/]",
            f"{held}\n[dim]{covered}[/]",
            "\n".join(
                f"{_percent(risk['move'])}: {_percent(risk['share'])} [dim]in {risk['positions']}[/]"
                for risk in one["at_risk"]
            ),
        )
    return table


def _value(units: str, decimals: int) -> str:
    return f"{int(units) // 10**decimals:,}"


def _percent(share: str) -> str:
    return f"{float(share) * 100:,.4g} %" if abs(float(share)) < 100 else f"{float(share) * 100:,.0f} %"
