"""Sizing a liquidation exactly as Morpho will: by shares when a whole debt is repaid, by collateral otherwise.

There is no close factor. A debt whose collateral does not cover it with the incentive is liquidated for all of its
collateral, and what is left of it is bad debt that the market's suppliers bear.

A block can come sooner than expected: some chains have several a second, others are uneven. Where interest makes more
liquidatable, an amount is one that was already `SOONER_S` before; where it was not open then, what is at the time.
Source: Morpho.liquidate of @morpho-org/morpho-blue 1.0.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from keeper.core.types import LiquidationPair, LiquidationPlan, Price, Skip, TxCall
from keeper.core.units import BPS, WAD, mul_div_down, mul_div_up
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.accrue import Owed
from keeper.protocols.morpho_blue.arithmetic import (
    ORACLE_PRICE_SCALE,
    liquidation_incentive,
    to_assets_down,
    to_shares_down,
    to_shares_up,
    w_div_up,
    w_mul_down,
)
from keeper.protocols.morpho_blue.health import Line, Sheet, base_value, unpriced
from keeper.protocols.morpho_blue.offers import Offer, Terms, terms_at
from keeper.protocols.morpho_blue.state import Lending

_MARGIN_BPS = 1  # interest accrues until the transaction lands; this is an hour of it at 87 % a year
SOONER_S = 60
ROUNDINGS = 2  # raw units by which a repayment for a fixed seizure can differ when interest moved the shares' price
_GAS = 350_000
_GAS_OF_OFFERS = 150_000
_CALLBACK_AT = 4 + 9 * 32  # of liquidate: the length of `data`


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the Liquidate event would say. seized_by: the argument that is not zero is seized assets, not shares.

    most_repaid_assets: what it can be charged by the time it lands.
    """

    seized_by: bool
    repaid_shares: int
    repaid_assets: int
    seized_assets: int
    most_repaid_assets: int


@dataclass(frozen=True, slots=True)
class Open:
    """A liquidatable position; everything that sizes it is known. before: what its market owed `SOONER_S` ago."""

    sheet: Sheet
    owed: Owed
    before: Owed
    price_e36: int
    incentive_wad: int
    worth: Price
    morpho: bytes
    account: bytes

    @property
    def most_shares(self) -> int:
        return self.sheet.borrow_shares

    def by_shares(self, shares: int) -> Outcome:
        repaid = self.owed.by(shares)
        return Outcome(False, shares, repaid, self._seized(shares, self.owed), with_margin(repaid))

    def _seized(self, shares: int, owed: Owed) -> int:
        quoted = w_mul_down(to_assets_down(shares, owed.assets, owed.shares), self.incentive_wad)
        return mul_div_down(quoted, ORACLE_PRICE_SCALE, self.price_e36)

    def by_assets(self, seized: int) -> Outcome:
        quoted = mul_div_up(seized, self.price_e36, ORACLE_PRICE_SCALE)
        shares = to_shares_up(w_div_up(quoted, self.incentive_wad), self.owed.assets, self.owed.shares)
        repaid = self.owed.by(shares)
        return Outcome(True, shares, repaid, seized, repaid + ROUNDINGS)

    def largest(self) -> Outcome:
        """Everything: the whole debt, or all of a collateral that does not cover it.

        Between the two, where by the time it lands interest may have made the collateral too little for the debt's
        shares, as much collateral as the debt paid for before: a second earlier it pays for less, and Morpho refuses to
        take more shares than there are.
        """
        collateral = self.sheet.collateral_assets
        whole = self.by_shares(self.sheet.borrow_shares)
        if with_margin(whole.seized_assets) <= collateral:
            return whole
        return self.by_assets(min(collateral, self._seized(self.sheet.borrow_shares, self.before)))

    def sized(self, offered_assets: int) -> Outcome | None:
        """As much as an offer of raw loan units pays for; None when that is nothing."""
        largest = self.largest()
        if largest.most_repaid_assets <= offered_assets:
            return largest if largest.seized_assets else None
        payable = to_shares_down(max(offered_assets - ROUNDINGS, 0), self.owed.assets, self.owed.shares)
        seized = min(self.by_shares(payable).seized_assets, largest.seized_assets)
        return self.by_assets(seized) if seized else None

    def plan(self, offered_assets: int, now: int) -> LiquidationPlan | Skip:
        outcome = self.sized(offered_assets)
        lending = self.sheet.lending
        if outcome is None:
            return Skip("dust", f"{offered_assets} raw units of {lending.loan_symbol} would seize nothing")
        arguments = (outcome.seized_assets, 0) if outcome.seized_by else (0, outcome.repaid_shares)
        return LiquidationPlan(
            account=self.account,
            debt_asset=lending.loan,
            repay_assets=outcome.most_repaid_assets,
            collateral_asset=lending.collateral,
            expected_repaid_assets=outcome.repaid_assets,
            expected_seized_assets=outcome.seized_assets,
            profit_base=self.profit_value(outcome),
            judged_at=now,
            health_wad=self.sheet.factor_wad,
            call=TxCall(self.morpho, abi.liquidate(lending.params, self.account, *arguments)),
            approval=(lending.loan, self.morpho, outcome.most_repaid_assets),
            gas_limit_hint=_GAS,
            callback_at=_CALLBACK_AT,
        )

    def profit_value(self, outcome: Outcome) -> int:
        """Seized at the market's own price less repaid, in base currency units, rounded against us."""
        return _profit_value(self.sheet.lending, outcome, self.price_e36, self.worth)


@dataclass(frozen=True, slots=True)
class Offered:
    """A position that its owner lets be liquidated in part, by one of the contracts authorized for it. safe_shares:
    that may be repaid although the block comes sooner, since the part grows with the debt."""

    sheet: Sheet
    owed: Owed
    safe_shares: int
    offer: Offer
    price_e36: int
    terms: Terms
    worth: Price
    account: bytes

    @property
    def most_shares(self) -> int:
        return self.terms.repayable_shares

    def by_shares(self, shares: int) -> Outcome:
        quoted = w_mul_down(to_assets_down(shares, self.owed.assets, self.owed.shares), self.terms.incentive_wad)
        seized = mul_div_down(quoted, ORACLE_PRICE_SCALE, self.price_e36)
        repaid = self.owed.by(shares)
        return Outcome(False, shares, repaid, seized, with_margin(repaid))

    def largest(self) -> Outcome:
        return self.by_shares(self.safe_shares)

    def plan(self, offered_assets: int, now: int) -> LiquidationPlan | Skip:
        payable = offered_assets * BPS // (BPS + _MARGIN_BPS) - ROUNDINGS
        shares = to_shares_down(max(payable, 0), self.owed.assets, self.owed.shares)
        outcome = self.by_shares(min(shares, self.safe_shares))
        lending = self.sheet.lending
        if outcome.seized_assets <= 0 or outcome.seized_assets > self.sheet.collateral_assets:
            return Skip("dust", f"{offered_assets} raw units of {lending.loan_symbol} would seize nothing")
        contract = self.offer.contract
        return LiquidationPlan(
            account=self.account,
            debt_asset=lending.loan,
            repay_assets=outcome.most_repaid_assets,
            collateral_asset=lending.collateral,
            expected_repaid_assets=outcome.repaid_assets,
            expected_seized_assets=outcome.seized_assets,
            profit_base=self.profit_value(outcome),
            judged_at=now,
            health_wad=self.sheet.factor_wad,
            call=TxCall(contract, abi.pre_liquidate(self.account, outcome.repaid_shares)),
            approval=(lending.loan, contract, outcome.most_repaid_assets),
            gas_limit_hint=_GAS + _GAS_OF_OFFERS,
        )

    def profit_value(self, outcome: Outcome) -> int:
        """As `Open.profit_value`: at the market's own price, whatever the offer's oracle says."""
        return _profit_value(self.sheet.lending, outcome, self.sheet.price_e36 or 0, self.worth)


def open_position(
    morpho: bytes, account: bytes, sheet: Sheet, worth: Price | None, before: Owed | None = None
) -> Open | Offered | Skip:
    """What can be sized, or why nobody may, or should, liquidate this position now. before: all that its market owed
    `SOONER_S` ago; not needed to judge what is sized already."""
    said = _sizes(sheet, worth)
    if isinstance(said, Skip):
        return said
    owed, price_e36, known = said
    if (sheet.max_borrow or 0) >= (sheet.borrowed or 0):
        return _best_offer(account, sheet, owed, before or owed, known)
    incentive_wad = liquidation_incentive(sheet.lending.lltv_wad)
    return Open(sheet, owed, before or owed, price_e36, incentive_wad, known, morpho, account)


def offered_by(contract: bytes, account: bytes, sheet: Sheet, worth: Price | None) -> Offered | Skip:
    """What may be liquidated through one pre-liquidation contract; or why nothing may."""
    said = _sizes(sheet, worth)
    if isinstance(said, Skip):
        return said
    owed, _, known = said
    found = [one for one in _offers(account, sheet, owed, owed, known) if one.offer.contract == contract]
    return found[0] if found else Skip("no_offer", "the pre-liquidation contract does not let it be liquidated now")


def _sizes(sheet: Sheet, worth: Price | None) -> tuple[Owed, int, Price] | Skip:
    """All that its market owes, the oracle's price, and what the loan token is worth, of an open position; or why
    nobody may, or should, liquidate it."""
    lending, unknown = sheet.lending, unpriced(sheet)
    if unknown:
        names = ", ".join("0x" + asset.hex() for asset in unknown)
        return Skip("unpriced", f"market {lending.name} cannot be judged: no usable price or rate for {names}")
    if not sheet.liquidatable or sheet.owed is None or sheet.price_e36 is None:
        return _closed(sheet)
    if not sheet.collateral_assets:
        return Skip("nothing_pledged", "no collateral is left")
    if not sheet.price_e36:
        return Skip("worthless", f"the oracle of market {lending.name} says that its collateral is worth nothing")
    if worth is None:
        detail = (
            f"nothing says what loan token 0x{lending.loan.hex()} ({lending.loan_symbol}) is worth, so that its profit "
            "could be compared with gas; add it to price_references"
        )
        return Skip("unreferenced", detail)
    return sheet.owed, sheet.price_e36, worth


def _closed(sheet: Sheet) -> Skip:
    """Why nobody may liquidate a position that can be judged."""
    factor = sheet.factor_wad
    if factor is None or factor >= WAD:
        return Skip("healthy", f"health {factor} is not below {WAD}")
    return Skip("no_offer", "its owner's pre-liquidation contracts hold it for liquidatable on Morpho, which does not")


def _best_offer(account: bytes, sheet: Sheet, owed: Owed, before: Owed, worth: Price) -> Offered | Skip:
    """The one that seizes most, of those between whose thresholds the position is."""
    found = list(_offers(account, sheet, owed, before, worth))
    if not found:
        return _closed(sheet)
    return max(found, key=lambda one: one.largest().seized_assets)


def _offers(account: bytes, sheet: Sheet, owed: Owed, before: Owed, worth: Price) -> Iterator[Offered]:
    shares = sheet.borrow_shares

    def terms(line: Line, owes: Owed) -> Terms | None:
        lltv_wad, collateral = sheet.lending.lltv_wad, sheet.collateral_assets
        return terms_at(line.offer, lltv_wad, shares, collateral, owes.by(shares), line.price_e36)

    for line in sheet.lines:
        if (now := terms(line, owed)) is not None:
            safe = (terms(line, before) or now).repayable_shares
            yield Offered(sheet, owed, safe, line.offer, line.price_e36, now, worth, account)


def plan(found: Open | Offered | Skip, now: int, wallet: Mapping[bytes, int]) -> LiquidationPlan | Skip:
    """The largest liquidation that the wallet can pay for: its incentive is a part of what is repaid."""
    if isinstance(found, Skip):
        return found
    lending = found.sheet.lending
    held = wallet.get(lending.loan, 0)
    if held <= 0:
        return Skip("no_balance", f"the wallet holds no {lending.loan_symbol}")
    sized = found.plan(held, now)
    if isinstance(sized, LiquidationPlan) and sized.profit_base <= 0:
        return Skip("unprofitable", f"it would bring {sized.profit_base} base units before gas")
    return sized


def pairs(found: Open | Offered | Skip, now: int) -> Sequence[LiquidationPair] | Skip:
    if isinstance(found, Skip):
        return found
    largest = found.largest()
    if not largest.seized_assets:
        return Skip("dust", "its whole debt would seize nothing")
    lending = found.sheet.lending
    size = partial(found.plan, now=now)
    return [
        LiquidationPair(
            lending.loan,
            lending.collateral,
            largest.most_repaid_assets + ROUNDINGS,
            size,
            calls_back=isinstance(found, Open),
        )
    ]


def _profit_value(lending: Lending, outcome: Outcome, price_e36: int, worth: Price) -> int:
    seized = mul_div_down(outcome.seized_assets, price_e36, ORACLE_PRICE_SCALE)
    gained = base_value(lending, seized, worth) or 0
    return gained - (base_value(lending, outcome.repaid_assets, worth, up=True) or 0)


def with_margin(assets: int) -> int:
    return assets + mul_div_up(assets, _MARGIN_BPS, BPS)
