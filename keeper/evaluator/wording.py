"""Notices in words, and in the JSON of the webhook (interface.md)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keeper.core.records import Notice, NoticeEvent
from keeper.core.types import Band, Block, BreachPrice, Demand, Health
from keeper.core.units import format_units
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episode_json import breach_json, demand_json
from keeper.evaluator.judgement import Dossier
from keeper.evaluator.notices import Due
from keeper.evaluator.page import Code, Page, Strong, headline, html, lines, listing, markdown, text

_LONGEST_SYMBOL = 16
_SUFFIXED = re.compile(r"[^.]+(\.[A-Za-z])?")  # USDC.e, but nothing that ends like a host name
_TITLES = {
    NoticeEvent.OPENED: "Margin call",
    NoticeEvent.ESCALATED: "Margin call, escalated",
    NoticeEvent.CURED: "Margin call cured",
    NoticeEvent.LIQUIDATED: "Position liquidated",
    NoticeEvent.REPAID: "Debt repaid, margin call closed",
    NoticeEvent.WITHDRAWN: "Margin call withdrawn",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose notice it is, as people know them. show: bytes of an address as checksummed text."""

    account: bytes
    protocol: str
    show: Callable[[bytes], str]

    def place(self, position: str, market_name: str) -> str:
        """The protocol and, of an isolated position, its market."""
        _, _, *market = position.split(":", 2)
        if not market:
            return self.protocol
        name = "".join(char for char in market_name if char.isalnum() or char in "/.%-+ ")
        return f"{self.protocol}, market {name} ({market[0][:10]}…)" if name else f"{self.protocol}, market {market[0]}"


def compose(
    due: Due, subject: Subject, block: Block, health: Health | None, dossier: Dossier, rules: BandRules
) -> Notice:
    """The notice that says what is due, judged at this block.

    health: None when the position no longer exists. The notice's `band` is the deepest its readers have heard of, for
    channels to choose by; the body's is where the position stands now.
    """
    calling = not due.event.closes
    demands, breaches = (dossier.demands, dossier.breach_prices) if calling else ((), ())
    factor = None if health is None else health.factor_wad
    stale = () if health is None else health.stale_assets
    symbols = {asset: clean_symbol(token.symbol) for asset, token in dossier.tokens}
    band = _present_band(due, health, rules)
    notice_id, account = due.id_at(block.hash), subject.show(subject.account)
    body: dict[str, Any] = {
        "id": notice_id,
        "event": due.event.value,
        "position": due.position,
        "account": account,
        "protocol": subject.protocol,
        "episode": due.episode,
        "band": band.label,
        "health_wad": None if factor is None else str(factor),
        "block_number": block.number,
        "block_hash": "0x" + block.hash.hex(),
        "demands": [_clean(demand_json(demand, subject.show(demand.asset))) for demand in demands],
        "breach_prices": [_clean(breach_json(breach, subject.show(breach.asset))) for breach in breaches],
        "stale_assets": [subject.show(asset) for asset in stale],
    }
    place = subject.place(due.position, dossier.market_name)
    said = [_standing(due, health, band, rules), f"Block {block.number} (0x{block.hash.hex()[:8]}…)."]
    if stale:
        names = ", ".join(symbols.get(asset) or subject.show(asset) for asset in stale)
        said.append(f"Prices that are stale, so that health may be off: {names}.")
    sections = [lines(*said)]
    if calling:
        target = format_units(rules.target_wad, 18)
        sections.append(listing(f"To restore {target}, do one of", map(_demand_words, demands)))
        sections.append(listing("Open to liquidation, all else equal, at", map(_breach_words, breaches)))
    page = Page((Strong(_TITLES[due.event]), ": ", Code(account), " on ", Code(place)), tuple(sections))
    return Notice(
        id=notice_id,
        position=due.position,
        account=subject.account,
        protocol=subject.protocol,
        episode=due.episode,
        event=due.event,
        band=due.depth.label,
        block_number=block.number,
        block_hash=block.hash,
        body=body,
        text=text(page),
        markdown=markdown(page),
        title=headline(page),
        html=html(page),
    )


def clean_symbol(symbol: str) -> str:
    """A token's symbol, safe to put before a person: whoever deployed the token chose it.

    No control, direction or combining characters, nothing that markdown, HTML or mentions react to, nothing that a chat
    would turn into a link, and no longer than 16 characters. "token" when nothing is left.
    """
    folded = unicodedata.normalize("NFKC", symbol)
    kept = "".join(char for char in folded if char in "+-." or unicodedata.category(char)[0] in "LN" or char == "₮")
    short = kept[:_LONGEST_SYMBOL].strip("-.")
    if not _SUFFIXED.fullmatch(short):
        short = short.replace(".", "-")
    return short or "token"


def _present_band(due: Due, health: Health | None, rules: BandRules) -> Band:
    if not due.event.closes and due.truth is not None:
        return due.truth.band
    return Band.SAFE if health is None else rules.band(health) or Band.SAFE


def _standing(due: Due, health: Health | None, band: Band, rules: BandRules) -> str:
    factor = None if health is None else health.factor_wad
    if health is None or factor is None:
        said = "Nothing is owed"
    elif health.liquidatable:
        said = f"Health {_four_places(factor)}: open to liquidation"
    elif not due.event.closes and Band.CALL <= band < Band.LIQUIDATABLE and factor < rules.enters_below_wad(band):
        said = f"Health {_four_places(factor)}: below {format_units(rules.enters_below_wad(band), 18)} ({band.label})"
    else:
        said = f"Health {_four_places(factor)}"
    undone = "; the block that gave the reason is no longer part of the chain"
    return said + (undone if due.event is NoticeEvent.WITHDRAWN else "") + "."


def _demand_words(demand: Demand) -> str:
    amount = f"{format_units(demand.amount, demand.decimals)} {clean_symbol(demand.symbol)}"
    return f"add {amount} as collateral" if demand.action == "add_collateral" else f"repay {amount}"


def _breach_words(breach: BreachPrice) -> str:
    sign = "+" if breach.move_bps > 0 else ""
    price = format_units(breach.price, breach.decimals)
    return f"{clean_symbol(breach.symbol)} {price} ({sign}{format_units(breach.move_bps, 2)} %)"


def _four_places(factor_wad: int) -> str:
    """Truncated: a health just below 1 must not read 1.0000."""
    whole, fraction = divmod(factor_wad // 10**14, 10**4)
    return f"{whole}.{fraction:04d}"


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "symbol": clean_symbol(row["symbol"])}
