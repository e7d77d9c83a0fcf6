"""Sizing a liquidation exactly as the pool will.

An account with more collateral than the pool's least is liquidated in parts: `liquidateBorrow` of one debt for one
collateral, up to the close factor. A smaller one is taken whole: by `liquidateAccount`, which must leave no debt, when
its collateral covers debt and incentive, and otherwise by `healAccount`, which gives all its collateral for a part of
the debt and writes the rest off. Of small accounts only those are planned that owe one asset and have one collateral.

Each call looks at the account with other interest added (`Sheet.views`): the first with that of its two markets, the
second with none, the third with all. Whether it is large or small, and short, is asked of that view alone. Where an
account is short only with the interest of further markets, the plan has these accrue first (`LiquidationPlan.prepare`).

What is seized comes as vTokens; a plan says how they are redeemed (`LiquidationPlan.unwrap`).
Source: Comptroller.preLiquidateHook, liquidateAccount, healAccount, liquidateCalculateSeizeTokens; VToken._seize.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.types import LiquidationPair, LiquidationPlan, Prices, Skip, TxCall, Unwrap
from keeper.core.units import BPS, WAD
from keeper.protocols import words
from keeper.protocols.search import least
from keeper.protocols.venus import abi
from keeper.protocols.venus.interest import exchange_rate
from keeper.protocols.venus.logs import protocol_part
from keeper.protocols.venus.sheet import Line, Sheet, Totals, accrued_at, accrued_soonest, sheet
from keeper.protocols.venus.state import Account, Action, Market

_GAS = 900_000
_GAS_PER_OTHER_MARKET = 150_000
_GAS_TO_REDEEM = 350_000
_GAS_TO_ACCRUE = 120_000
_MARGIN_BPS = 1  # interest of the time by which it lands later; this is an hour of it at 87 % a year
_MOST_ACCRUED = 8  # markets that a plan has accrue first; our contract runs sixteen steps


@dataclass(frozen=True, slots=True)
class Outcome:
    """repaid_assets: charged. tokens: vTokens received. seized_assets: what they redeem for."""

    repaid_assets: int
    tokens: int
    seized_assets: int


@dataclass(frozen=True, slots=True)
class Part:
    """One debt against one collateral. most_assets: that may be offered."""

    market: Market
    debt: Line
    collateral: Line
    most_assets: int

    def outcome(self, offered_assets: int) -> Outcome:
        repaid = min(offered_assets, self.most_assets)
        return self._received(repaid, self._seized_tokens(repaid))

    def _seized_tokens(self, repaid: int) -> int:
        """liquidateCalculateSeizeTokens: three divisions, each rounded down."""
        numerator = self.market.incentive_wad * self.debt.price_e36 // WAD
        denominator = self.collateral.price_e36 * self.collateral.accrued.exchange_rate_wad // WAD
        return numerator * WAD // denominator * repaid // WAD if denominator else 0

    def _received(self, repaid: int, seized: int) -> Outcome:
        """The protocol's part leaves the market, or becomes its reserves, before the rest is redeemed, which moves the
        rate by its rounding."""
        one, now = self.collateral.market, self.collateral.accrued
        kept = protocol_part(self.market, one, seized)
        worth = now.exchange_rate_wad * kept // WAD
        cash, reserves = now.cash, now.total_reserves
        if self.market.isolated:
            cash -= worth
        else:
            reserves += worth
        rate = exchange_rate(one, now.total_borrows, reserves, now.total_supply - kept, cash)
        tokens = seized - kept
        return Outcome(repaid, tokens, rate * tokens // WAD)

    def largest_offer(self, offered_assets: int) -> int:
        """The most of an offer whose seizure the account's vTokens cover."""
        most = min(offered_assets, self.most_assets)
        held = self.collateral.tokens

        def too_much(offer: int) -> bool:
            return self._seized_tokens(offer) > held

        return most if not too_much(most) else least(too_much, 0, most) - 1

    def whole(self) -> Outcome:
        """All of the collateral, as `healAccount` takes it."""
        return self._received(self.most_assets, self.collateral.tokens)

    def profit_value(self, outcome: Outcome) -> int:
        """Received less repaid in dollars scaled by 1e18, rounded against us."""
        repaid = -(-outcome.repaid_assets * self.debt.price_e36 // WAD)
        return outcome.seized_assets * self.collateral.price_e36 // WAD - repaid


@dataclass(frozen=True, slots=True)
class Way:
    """One way to liquidate an account. smallest_assets: less is refused; where it is all or nothing, all, and what more
    it may be charged by the time it lands.

    prepare: calls before it, without which it is refused.
    """

    part: Part
    smallest_assets: int
    call: Callable[[int], TxCall]
    outcome: Callable[[int], Outcome]
    prepare: tuple[TxCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """An account open to liquidation, as the judge sees it, at one time."""

    market: Market
    prices: Prices
    key: bytes
    account: Account
    now: int

    def position(self) -> Sheet:
        return sheet(self.market, self.prices, self.account, accrued_at(self.market, self.prices, self.now))

    def soonest(self) -> Sheet:
        """In the earliest block that a transaction expected at that time can be in."""
        return sheet(self.market, self.prices, self.account, accrued_soonest(self.market, self.prices, self.now))


def plan(case: Case, wallet: Mapping[bytes, int], receiver: bytes) -> LiquidationPlan | Skip:
    """The most profitable way that the wallet can pay for; or why there is none. What it receives stays vTokens."""
    reasons: dict[str, str] = {}
    best: LiquidationPlan | None = None
    for way in _ways(case, receiver, reasons):
        one = way.part.debt.market
        held = wallet.get(one.asset, 0)
        if held <= 0:
            reasons.setdefault("no_balance", f"the wallet holds no {one.symbol}")
            continue
        found = _sized(case, way, held)
        if isinstance(found, Skip):
            reasons.setdefault(found.code, found.detail)
        elif found.profit_base <= 0:
            reasons.setdefault("unprofitable", f"{_name(way)} would bring {found.profit_base} base units before gas")
        elif best is None or found.profit_base > best.profit_base:
            best = found
    return best or _first(reasons)


def rejudge(case: Case, earlier: LiquidationPlan, receiver: bytes) -> LiquidationPlan | Skip:
    """An earlier plan with what its very call does now; or why it must not be sent. Exact, as `plan` is.

    A part of a debt names an amount. The debt grows and with it what the close factor allows, so an amount that was
    allowed once stays so as interest accrues, as long as nobody repays; it is refused where the seizure is no longer
    covered by the account's vTokens, which follows from prices. Healing names none, and takes what follows from them.
    Liquidating a small account whole names the debt to the unit, which a second's interest changes.
    """
    reasons: dict[str, str] = {}
    for way in _ways(case, receiver, reasons):
        offer = earlier.repay_assets if way.smallest_assets == 1 else way.part.most_assets
        if way.call(offer) != earlier.call:
            continue
        if not set(earlier.prepare).issuperset(way.prepare):
            return Skip(
                "not_accrued", f"{_name(way)}: other markets have to accrue first, and the plan does not do that"
            )
        if offer > earlier.repay_assets:
            return Skip("charges_more", f"{_name(way)}: it is charged {offer} of {earlier.repay_assets} offered")
        if way.smallest_assets == 1 and (most := way.part.largest_offer(offer)) < offer:
            return Skip("too_much", f"{_name(way)}: it would repay {offer} raw units, {most} may be repaid")
        now = _sized(case, way, max(offer, way.smallest_assets))
        if isinstance(now, Skip):
            return now
        if now.profit_base <= 0:
            return Skip("unprofitable", f"{_name(way)} would bring {now.profit_base} base units before gas")
        return replace(
            earlier,
            expected_repaid_assets=now.expected_repaid_assets,
            expected_seized_assets=now.expected_seized_assets,
            profit_base=now.profit_base,
            judged_at=case.now,
            health_wad=now.health_wad,
        )
    return _first(reasons) if reasons else Skip("another_call", "planned at this block, it is another call")


def pairs(case: Case, receiver: bytes) -> Sequence[LiquidationPair] | Skip:
    """Every debt against every collateral of which anything can be liquidated, whoever pays; or why none is."""
    reasons: dict[str, str] = {}
    found = []
    for way in _ways(case, receiver, reasons):
        full = _sized(case, way, max(way.part.most_assets, way.smallest_assets))
        if isinstance(full, Skip):
            reasons.setdefault(full.code, full.detail)
            continue
        assets = (way.part.debt.market.asset, way.part.collateral.market.asset)
        found.append(LiquidationPair(*assets, full.repay_assets, _sizing(case, way)))
    return found or _first(reasons)


def _sizing(case: Case, way: Way) -> Callable[[int], LiquidationPlan | Skip]:
    return lambda offered_assets: _sized(case, way, offered_assets)


def _ways(case: Case, receiver: bytes, reasons: dict[str, str]) -> Iterator[Way]:
    position = case.position()
    if position.unpriced:
        reasons["unpriced"] = "no usable price of " + ", ".join("0x" + asset.hex() for asset in position.unpriced)
        return
    if case.key == receiver:
        reasons["own_account"] = "an account must not liquidate itself"
        return
    if not (position.short or position.forced):
        reasons["healthy"] = f"it has {position.totals().liquidity} base units of liquidity"
        return
    if not any(line.tokens for line in position.lines):
        reasons["nothing_pledged"] = "no collateral is left, so nothing can be seized"
        return
    if _small(case.market, position.seen()):
        yield from _whole(case, position, reasons)
    soonest = case.soonest()
    for debt in position.lines:
        for collateral in position.lines:
            if debt.owed_assets and collateral.tokens and _allowed(debt, collateral, reasons):
                yield from _in_part(case, position, soonest, debt, collateral, reasons)


def _small(market: Market, seen: Totals) -> bool:
    return market.isolated and seen.collateral <= market.min_collateral_usd_wad


def _in_part(
    case: Case, position: Sheet, soonest: Sheet, debt: Line, collateral: Line, reasons: dict[str, str]
) -> Iterator[Way]:
    market = case.market
    first: tuple[Line, ...] = ()
    # Debts grow: what may be repaid in the earliest block may be in every later one.
    most = owed = min(debt.owed_assets, soonest.line(debt.market.vtoken).owed_assets)
    if not debt.market.forced:
        found = _accrued_first(_moments(position, soonest, debt), debt, collateral)
        if isinstance(found, Skip):
            reasons.setdefault(found.code, found.detail)
            return
        most = market.close_factor_wad * owed // WAD
        first = found
    if most <= 0:
        reasons.setdefault("dust", f"the close factor leaves nothing of {owed} raw units to repay")
        return
    part = Part(market, debt, collateral, most)

    def call(repaid: int) -> TxCall:
        arguments = (case.key, repaid, collateral.market.vtoken)
        return TxCall(debt.market.vtoken, words.encode(abi.LIQUIDATE_BORROW, *arguments))

    prepare = tuple(TxCall(line.market.vtoken, abi.ACCRUE_INTEREST) for line in first)
    yield Way(part, 1, call, part.outcome, prepare)


def _moments(position: Sheet, soonest: Sheet, debt: Line) -> tuple[Sheet, ...]:
    """When the pool has to let it be liquidated: at both; but what a second opens is sent for the second it opens in,
    which on most chains is the next block's, and on faster ones comes within the block after."""
    return (position,) if debt.market.time_based and not soonest.short else (position, soonest)


def _accrued_first(moments: Sequence[Sheet], debt: Line, collateral: Line) -> tuple[Line, ...] | Skip:
    """Markets whose interest must be added before the pool lets one debt be repaid for one collateral: none, or else
    all others whose interest waits; or why it does not let it. moments: when it must be so, at all of them."""
    pair = debt.market.vtoken, collateral.market.vtoken
    others = tuple(line for line in moments[0].lines if line.waits and line.market.vtoken not in pair)
    refused = Skip("not_accrued", "it is short with the interest of other markets only")
    for first in ((), others) if 0 < len(others) <= _MOST_ACCRUED else ((),):
        touched = *pair, *(line.market.vtoken for line in first)
        seen = [then.seen(*touched) for then in moments]
        if all(one.shortfall and not _small(then.market, one) for then, one in zip(moments, seen, strict=True)):
            return first
        if small := [one for then, one in zip(moments, seen, strict=True) if _small(then.market, one)]:
            refused = Skip("too_small", f"collateral of {small[0].collateral} base units is liquidated whole only")
    return refused


def _whole(case: Case, position: Sheet, reasons: dict[str, str]) -> Iterator[Way]:
    market, stored = case.market, position.seen()
    debts = [line for line in position.lines if line.owed_assets]
    held = [line for line in position.lines if line.tokens]
    if len(debts) != 1 or len(held) != 1:
        reasons["several_assets"] = (
            f"small accounts are liquidated whole, and this one owes {len(debts)} assets and has {len(held)} pledged; "
            "only those with one of each are planned"
        )
        return
    [debt], [collateral] = debts, held
    if not _allowed(debt, collateral, reasons):
        return
    if stored.shortfall and market.incentive_wad * stored.borrows // WAD < stored.collateral:
        part = Part(market, debt, collateral, debt.owed_assets)
        order = words.encode(
            abi.LIQUIDATE_ACCOUNT, case.key, 64, 1, collateral.market.vtoken, debt.market.vtoken, debt.owed_assets
        )
        yield Way(part, debt.owed_assets, lambda _: TxCall(market.comptroller, order), part.outcome)
    yield from _healed(case, position.totals(), debt, collateral, reasons)


def _healed(case: Case, totals: Totals, debt: Line, collateral: Line, reasons: dict[str, str]) -> Iterator[Way]:
    market = case.market
    # percentage = collateral / (borrows * incentive), each of the two operations rounded down
    scaled = totals.borrows * market.incentive_wad // WAD
    percentage = totals.collateral * WAD // scaled if scaled else 0
    if not percentage:
        reasons.setdefault("nothing_to_heal", "it has no collateral to be healed with")
        return
    if percentage > WAD or not totals.shortfall or not _small(market, totals):
        reasons.setdefault("not_accrued", "once its markets have accrued, its collateral is too much to heal it")
        return
    part = Part(market, debt, collateral, percentage * debt.owed_assets // WAD)
    if part.most_assets <= 0:
        reasons.setdefault("dust", "healing it would repay nothing")
        return
    heal = TxCall(market.comptroller, words.encode(abi.HEAL_ACCOUNT, case.key))
    yield Way(part, _with_margin(part), lambda _: heal, lambda _: part.whole())


def _with_margin(part: Part) -> int:
    """What healing may be charged in a block that comes sooner or later than expected: the part of the debt follows
    from what both are worth then, to 18 digits of the debt."""
    roundings = 2 + 3 * (part.debt.owed_assets // WAD)
    return part.most_assets - (-part.most_assets * _MARGIN_BPS // BPS) + roundings


def _allowed(debt: Line, collateral: Line, reasons: dict[str, str]) -> bool:
    for line, action in ((debt, Action.LIQUIDATE), (debt, Action.REPAY), (collateral, Action.SEIZE)):
        if line.market.is_paused(action):
            reasons.setdefault("paused", f"{action.name.lower()} of {line.market.symbol} is paused")
            return False
    return True


def _sized(case: Case, way: Way, offered_assets: int) -> LiquidationPlan | Skip:
    part = way.part
    debt, collateral = part.debt.market, part.collateral.market
    whole = way.smallest_assets > 1
    offer = min(offered_assets, way.smallest_assets) if whole else part.largest_offer(offered_assets)
    if offer < way.smallest_assets:
        return Skip("dust", f"{_name(way)}: {offer} raw units are too few, {way.smallest_assets} are needed")
    outcome = way.outcome(offer)
    available = part.collateral.accrued.cash - part.collateral.accrued.total_reserves
    if outcome.seized_assets <= 0:
        return Skip("dust", f"{_name(way)}: repaying {offer} raw units seizes nothing")
    if outcome.seized_assets > available or collateral.is_paused(Action.REDEEM):
        return Skip("illiquid", f"{_name(way)}: {outcome.seized_assets} raw units cannot be redeemed, {available} can")
    redeem = TxCall(collateral.vtoken, words.encode(abi.REDEEM, outcome.tokens))
    return LiquidationPlan(
        account=case.key,
        debt_asset=debt.asset,
        repay_assets=offer,
        collateral_asset=collateral.asset,
        expected_repaid_assets=outcome.repaid_assets,
        expected_seized_assets=outcome.seized_assets,
        profit_base=part.profit_value(outcome),
        judged_at=case.now,
        health_wad=case.position().health_wad,
        call=way.call(offer),
        approval=(debt.asset, debt.vtoken, offer),
        gas_limit_hint=_GAS
        + _GAS_TO_REDEEM
        + _GAS_PER_OTHER_MARKET * len(case.account.entered)
        + _GAS_TO_ACCRUE * len(way.prepare),
        unwrap=Unwrap(collateral.vtoken, redeem, amount_at=4),
        prepare=way.prepare,
    )


def _name(way: Way) -> str:
    return f"{way.part.collateral.market.symbol} for {way.part.debt.market.symbol}"


def _first(reasons: Mapping[str, str]) -> Skip:
    return next((Skip(code, detail) for code, detail in reasons.items()), Skip("nothing", "it owes or holds nothing"))
