"""What an owner is told of a position: one class per event, and the JSON of the webhook (interface.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from keeper.core.records import Notice, NoticeEvent
from keeper.core.types import Band, BreachPrice, Demand
from keeper.core.units import WAD, format_units, mul_div_down
from keeper.evaluator import wording as words
from keeper.evaluator.directory import Directory
from keeper.evaluator.episode_json import breach_json, demand_json
from keeper.evaluator.episodes import Loss
from keeper.evaluator.page import Code, Page, Phrase, Section, Strong, headline, html, lines, listing, markdown, text
from keeper.evaluator.situation import Earlier, Situation


@dataclass(frozen=True, slots=True)
class CallNotice(ABC):
    """One event of a margin call. The notice's `band` is the deepest its readers have heard of, for channels to choose
    by; the body's is where the position stands now."""

    at: Situation

    event: ClassVar[NoticeEvent]
    title: ClassVar[str]

    @abstractmethod
    def sections(self) -> Iterator[Section]:
        """What there is to say, between the title and the evidence."""

    def page(self) -> Page:
        at = self.at
        place = _place(at.protocol, at.due.position, at.dossier.market_name)
        title: Phrase = (Strong(self.title), ": ", *at.directory.in_short(at.account), " on ", Code(place))
        who: Phrase = ("Account ", *at.directory.in_full(at.account), ", ", Code(place), ".")
        judged: Phrase = (
            f"Judged at block {at.block.number} (",
            Code(f"0x{at.block.hash.hex()}"),
            f"), {words.when(at.block.timestamp)}.",
        )
        links = at.directory.links(at.protocol, at.due.position)
        page_links = listing("See", [(link,) for link in links])
        return Page(title, (lines(who, *self._standing()), *self.sections(), lines(judged), page_links))

    def notice(self) -> Notice:
        at, page = self.at, self.page()
        due, block = at.due, at.block
        notice_id = due.id_at(block.hash)
        return Notice(
            id=notice_id,
            position=due.position,
            account=at.account,
            protocol=at.protocol,
            episode=due.episode,
            event=self.event,
            band=due.depth.label,
            block_number=block.number,
            block_hash=block.hash,
            body={"id": notice_id, **self._body()},
            text=text(page),
            markdown=markdown(page),
            title=headline(page),
            html=html(page),
        )

    # --- parts that several events share

    def _standing(self) -> Iterator[str]:
        """Its health and trend; what of that is uncertain."""
        at = self.at
        factor, health = at.factor_wad, at.health
        if health is not None and health.unpriced_assets:
            yield f"Health unknown: no usable price of {self._names(health.unpriced_assets)}."
        elif factor is None:
            yield "Nothing is owed."
        else:
            said = f"Health {words.four_places(factor)}{self._beyond(factor)}"
            if at.dossier.health_sigmas is not None and health is not None and not health.liquidatable:
                said += f", {at.dossier.health_sigmas:.1f} of its daily sigmas from liquidation"
            if (before := at.compared) is not None:
                said += f"; {words.trend(factor, before.health_wad, at.block.timestamp - before.timestamp)}"
            yield said + "."
        if health is not None and health.stale_assets:
            yield f"Prices that are stale, so that health may be off: {self._names(health.stale_assets)}."

    def _beyond(self, factor_wad: int) -> str:
        """Which line the health is beyond."""
        at = self.at
        if at.health is not None and at.health.liquidatable:
            return ": open to liquidation"
        calling = not self.event.closes and Band.CALL <= at.band < Band.LIQUIDATABLE
        line = at.rules.enters_below_wad(at.band) if calling else 0
        return f": below {format_units(line, 18)} ({at.band.label})" if factor_wad < line else ""

    def _margin(self) -> Iterator[str]:
        """The account as its owner thinks of it: what is in it, and what is at stake."""
        at, metrics = self.at, self.at.metrics
        if metrics is None or at.health is None:
            return
        collateral, debt = at.health.collateral_value, at.health.debt_value
        if abs(collateral - debt - metrics.equity_value) * 1000 <= collateral:
            said = f"Collateral {at.value(collateral)}, debt {at.value(debt)}, equity {at.value(metrics.equity_value)}"
        else:  # perpetuals: what is required is no debt, and what stands for it no collateral
            said = f"Equity {at.value(metrics.equity_value)}, exposure {at.value(metrics.exposure_value)}"
        if metrics.effective_leverage_wad is not None:
            said += f", leverage {words.times(metrics.effective_leverage_wad)}"
        yield said + "."
        if metrics.collateral_buffer_value is not None:
            buffer, below = metrics.collateral_buffer_value, metrics.collateral_buffer_value < 0
            share = metrics.collateral_buffer_wad
            of_equity = f" ({words.percent(share)} of the equity)" if share is not None and not below else ""
            side = "below" if below else "above"
            yield f"Equity {at.value(abs(buffer))} {side} the maintenance margin{of_equity}."
        if metrics.liquidation_penalty_value:
            yield f"A full liquidation would cost up to {at.value(metrics.liquidation_penalty_value)} in penalties."

    def _cures(self) -> Section:
        at = self.at
        target = format_units(at.rules.target_wad, 18)
        if at.open_at_any_health:
            if not at.dossier.demands:
                return lines(
                    "No single deposit or repayment that the protocol takes now keeps it from being liquidated."
                )
            return listing("Open at any health until it is repaid in full, interest included", self._cured_by())
        if not at.dossier.demands and at.factor_wad is not None:
            return lines(f"No single deposit or repayment that the protocol takes now restores {target}.")
        return listing(f"To restore {target}, do one of", self._cured_by())

    def _cured_by(self) -> Iterator[str]:
        for demand in self.at.dossier.demands:
            worth = self.at.dossier.value(demand.asset, demand.amount)
            yield words.demand_words(demand, self.at.value(worth))

    def _breaches(self) -> Section:
        at = self.at
        sigmas = dict(at.dossier.sigmas)
        open_now = at.health is not None and at.health.liquidatable
        heading = "No longer open to liquidation" if open_now else "Open to liquidation"
        shown = (
            words.breach_words(breach, breach.quote or at.dossier.currency, sigmas.get(breach.asset))
            for breach in at.dossier.breach_prices
        )
        return listing(f"{heading}, all else equal, with", shown)

    def _opening(self) -> Iterator[str]:
        """Where the call began, and how deep it went."""
        at, truth = self.at, self.at.due.truth
        if truth is None or truth.opened.health_wad is None:
            return
        began = truth.opened
        ago = words.duration(at.block.timestamp - began.timestamp)
        said = f"Called at {words.four_places(truth.opened.health_wad)}, {ago} ago (block {began.block.number})"
        yield said + (f"; deepest band {truth.deepest.label}." if self.event.closes else ".")

    def _names(self, assets: tuple[bytes, ...]) -> str:
        return ", ".join(map(self.at.symbol, assets))

    # --- for programs

    def _body(self) -> Mapping[str, Any]:
        at, due, show = self.at, self.at.due, self.at.directory.show
        calling, dossier, metrics = not self.event.closes, self.at.dossier, self.at.metrics
        stale = () if at.health is None else at.health.stale_assets
        return {
            "event": self.event.value,
            "position": due.position,
            "account": show(at.account),
            "name": at.directory.name(at.account),
            "protocol": at.protocol,
            "episode": due.episode,
            "band": at.band.label,
            "health_wad": _digits(at.factor_wad),
            "health_sigmas": None if dossier.health_sigmas is None else round(dossier.health_sigmas, 2),
            "earlier": None if at.earlier is None else _earlier(at.earlier),
            "block_number": at.block.number,
            "block_hash": f"0x{at.block.hash.hex()}",
            "timestamp": at.block.timestamp,
            "currency": _clean(dossier.currency),
            "currency_decimals": dossier.currency_decimals,
            "collateral_value": None if metrics is None or at.health is None else str(at.health.collateral_value),
            "debt_value": None if metrics is None or at.health is None else str(at.health.debt_value),
            "equity_value": None if metrics is None else str(metrics.equity_value),
            "demands": [self._demand_row(demand) for demand in dossier.demands] if calling else [],
            "breach_prices": [self._breach_row(breach) for breach in dossier.breach_prices] if calling else [],
            "stale_assets": [show(asset) for asset in stale],
            "losses": [],
            "page": at.directory.page_of(at.protocol, due.position),
        }

    def _demand_row(self, demand: Demand) -> Mapping[str, Any]:
        worth = self.at.dossier.value(demand.asset, demand.amount)
        row = demand_json(demand, self.at.directory.show(demand.asset))
        return {**row, "symbol": words.clean_symbol(demand.symbol), "value": _digits(worth)}

    def _breach_row(self, breach: BreachPrice) -> Mapping[str, Any]:
        row = breach_json(breach, self.at.directory.show(breach.asset))
        quote, sigmas = breach.quote or self.at.dossier.currency, dict(self.at.dossier.sigmas).get(breach.asset)
        away = None if sigmas is None else round(sigmas, 2)
        return {**row, "symbol": words.clean_symbol(breach.symbol), "quote": _clean(quote), "sigmas": away}


# --- one class per event ----------------------------------------------------------------------------------------------


class Opened(CallNotice):
    __slots__ = ()
    event, title = NoticeEvent.OPENED, "Margin call"

    def sections(self) -> Iterator[Section]:
        yield self._cures()
        yield self._breaches()
        yield lines(*self._margin())


class Escalated(CallNotice):
    __slots__ = ()
    event, title = NoticeEvent.ESCALATED, "Margin call, escalated"

    def sections(self) -> Iterator[Section]:
        yield lines(*self._opening())
        yield self._cures()
        yield self._breaches()
        yield lines(*self._margin())


class Cured(CallNotice):
    __slots__ = ()
    event, title = NoticeEvent.CURED, "Margin call cured"

    def sections(self) -> Iterator[Section]:
        yield lines(*self._opening())


class Repaid(CallNotice):
    __slots__ = ()
    event, title = NoticeEvent.REPAID, "Debt repaid, margin call closed"

    def sections(self) -> Iterator[Section]:
        yield lines(*self._opening())


class Withdrawn(CallNotice):
    __slots__ = ()
    event, title = NoticeEvent.WITHDRAWN, "Margin call withdrawn"

    def sections(self) -> Iterator[Section]:
        after = self.at.due.after
        if after is not None and after.event is NoticeEvent.LIQUIDATED:
            yield lines(
                "The liquidation that was reported is no longer part of the chain: the position has what was taken from"
                " it, and is not called for margin."
            )
            return
        yield lines("The block that gave the reason is no longer part of the chain; nothing needs to be done.")


class Liquidated(CallNotice):
    """With what was lost: of each liquidation by whom, in which transaction, and the penalty."""

    __slots__ = ()
    event, title = NoticeEvent.LIQUIDATED, "Position liquidated"

    def sections(self) -> Iterator[Section]:
        losses = self._losses()
        yield listing("Taken", map(self._loss, losses))
        penalties = [loss.penalty_value for loss in losses]
        if len(losses) > 1 and all(penalty is not None for penalty in penalties):
            total = sum(penalty for penalty in penalties if penalty is not None)
            yield lines(f"Penalties in all: {self.at.value(total)}.")
        yield lines(*self._opening(), *self._margin())

    def _losses(self) -> tuple[Loss, ...]:
        truth = self.at.due.truth
        return () if truth is None else truth.losses

    def _loss(self, loss: Loss) -> Phrase:
        event, directory = loss.event, self.at.directory
        said = (
            f"{self.at.amount(event.collateral_asset, event.seized_assets)}{self._worth(loss.seized_value)} seized for "
        )
        said += f"{self.at.amount(event.debt_asset, event.repaid_assets)}{self._worth(loss.repaid_value)} repaid"
        if loss.penalty_value is not None:
            said += f": a penalty of {self.at.value(loss.penalty_value)}"
            if loss.repaid_value:
                said += f" ({words.percent(mul_div_down(max(loss.penalty_value, 0), WAD, loss.repaid_value))})"
        by: Phrase = ("this Keeper",) if event.liquidator in directory.ours else directory.in_full(event.liquidator)
        return (f"{said}; by ", *by, f", block {loss.block.number}, ", directory.transaction(event.transaction_hash))

    def _worth(self, units: int | None) -> str:
        return "" if units is None else f" ({self.at.value(units)})"

    def _body(self) -> Mapping[str, Any]:
        return {**super()._body(), "losses": [loss_json(loss, self.at.directory) for loss in self._losses()]}


NOTICES: Mapping[NoticeEvent, type[CallNotice]] = {
    kind.event: kind for kind in (Opened, Escalated, Cured, Repaid, Withdrawn, Liquidated)
}


def compose(situation: Situation) -> Notice:
    """The notice that says what is due."""
    return NOTICES[situation.due.event](situation).notice()


def loss_json(loss: Loss, directory: Directory) -> dict[str, Any]:
    event, show = loss.event, directory.show
    return {
        "liquidator": show(event.liquidator),
        "ours": event.liquidator in directory.ours,
        "transaction": f"0x{event.transaction_hash.hex()}",
        "block_number": loss.block.number,
        "block_hash": f"0x{loss.block.hash.hex()}",
        "debt_asset": show(event.debt_asset),
        "repaid": str(event.repaid_assets),
        "repaid_value": _digits(loss.repaid_value),
        "collateral_asset": show(event.collateral_asset),
        "seized": str(event.seized_assets),
        "seized_value": _digits(loss.seized_value),
        "penalty_value": _digits(loss.penalty_value),
    }


def _place(protocol: str, position: str, market_name: str) -> str:
    """The protocol and, of an isolated position, its market."""
    _, _, *market = position.split(":", 2)
    if not market:
        return protocol
    name = "".join(char for char in market_name if char.isalnum() or char in "/.%-+ ")
    return f"{protocol}, market {name} ({market[0][:10]}…)" if name else f"{protocol}, market {market[0]}"


def _earlier(earlier: Earlier) -> dict[str, Any]:
    return {"health_wad": _digits(earlier.health_wad), "timestamp": earlier.timestamp}


def _clean(symbol: str) -> str | None:
    return words.clean_symbol(symbol) if symbol else None


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)
