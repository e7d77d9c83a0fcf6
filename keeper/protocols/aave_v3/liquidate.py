"""Sizing a liquidation exactly as the pool will: what may be repaid, what is seized, what must not be left behind.

Source: LiquidationLogic and ValidationLogic.validateLiquidationCall of @aave-dao/aave-v3-origin 3.6.0 and
@aave/core-v3 1.19.3; the differences of the versions between and after are `Rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from keeper.core.types import LiquidationPair, LiquidationPlan, Skip, TxCall
from keeper.core.units import BPS, WAD
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3 import arithmetic as math
from keeper.protocols.aave_v3.sheet import Line, Sheet, Totals, indices
from keeper.protocols.aave_v3.state import Market
from keeper.protocols.search import least

_DEFAULT_CLOSE_FACTOR_BPS = 5_000
_SENTINEL_HF_WAD = 95 * 10**16  # below this an L2 sequencer that is down does not stop liquidations
_MARGIN_BPS = 1  # interest of the time by which it lands later, or sooner: this is an hour of it at 87 % a year
_GAS = 500_000
_GAS_PER_OTHER_DEBT = 120_000  # burning bad debt visits every debt of the account


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the pool's LiquidationCall event would say, and the fee it keeps. All in token units."""

    repaid_assets: int
    seized_assets: int
    fee_assets: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One debt against one collateral of a position, at one moment. The wallet is not considered here.

    bonus_bps: what the liquidator receives per unit repaid, above 10000.
    """

    market: Market
    position: Sheet
    totals: Totals
    debt: Line
    collateral: Line
    bonus_bps: int

    @property
    def name(self) -> str:
        return f"{self.collateral.reserve.symbol} for {self.debt.reserve.symbol}"

    def most_repayable(self) -> int:
        """The debt that may be repaid at once, in token units, before the collateral limits it."""
        owed, rules, limits = self.debt.assets, self.market.rules, self.market.close_factor
        if self.totals.health_wad <= limits.hf_threshold_wad:
            return owed
        if not rules.whole_position:
            return math.percent_mul_half_up(owed, _DEFAULT_CLOSE_FACTOR_BPS)
        debt_value = self._debt_value(owed)
        if debt_value < limits.small_value or self._collateral_value(self.collateral.assets) < limits.small_value:
            return owed
        half = math.percent_mul_half_up(self.totals.debt_value, _DEFAULT_CLOSE_FACTOR_BPS)
        return half * self.debt.reserve.unit // self.debt.price if debt_value > half else owed

    def outcome(self, offered_assets: int) -> Outcome:
        """What happens when a liquidator offers this much of the debt asset, dust aside."""
        debt, collateral, bonus = self.debt, self.collateral, self.bonus_bps
        floored = self.market.rules.floored_seizure
        repaid = min(offered_assets, self.most_repayable())
        debt_unit, unit = debt.reserve.unit, collateral.reserve.unit
        base = debt.price * repaid * unit // (collateral.price * debt_unit)
        multiply = math.percent_mul_floor if floored else math.percent_mul_half_up
        seized = multiply(base, bonus)
        if seized > collateral.assets:
            seized = collateral.assets
            divide = math.percent_div_ceil if self.market.rules.directed_rounding else math.percent_div_half_up
            repaid = divide(collateral.price * seized * debt_unit // (debt.price * unit), bonus)
        fee, fee_bps = 0, collateral.reserve.protocol_fee_bps
        if fee_bps:
            divide = math.percent_div_floor if floored else math.percent_div_half_up
            multiply = math.percent_mul_ceil if floored else math.percent_mul_half_up
            fee = multiply(seized - divide(seized, bonus), fee_bps)
        return Outcome(repaid, seized - fee, fee)

    def leaves_dust(self, outcome: Outcome) -> bool:
        """Whether too little would remain of both sides, which the pool refuses (v3.3).

        What remains of the collateral is counted after the fee; early v3.3 counted before it, which is laxer.
        """
        debt_left = self.debt.assets - outcome.repaid_assets
        collateral_left = self.collateral.assets - outcome.seized_assets - outcome.fee_assets
        if debt_left <= 0 or collateral_left <= 0:
            return False
        return not self._leaves_enough(outcome)

    def _leaves_enough(self, outcome: Outcome, margin_bps: int = 0) -> bool:
        """margin_bps: of all of either side, that has to be left besides. Both are less worth in a block that comes
        sooner than expected, and what is repaid and seized is not."""
        if not self.market.rules.whole_position:
            return True
        debt_left = self.debt.assets - outcome.repaid_assets - _part_up(self.debt.assets, margin_bps)
        collateral_left = self.collateral.assets - outcome.seized_assets - outcome.fee_assets
        collateral_left -= _part_up(self.collateral.assets, margin_bps)
        least_value = self.market.close_factor.least_leftover_value
        return self._debt_value(debt_left) >= least_value and self._collateral_value(collateral_left) >= least_value

    def payable(self, outcome: Outcome, now: int) -> bool:
        """Whether the seized underlying is there to be paid out, and neither token's burn rounds to nothing."""
        rules = self.market.rules
        debt_index = indices(rules, self.debt.reserve, now).debt_ray
        income_index = indices(rules, self.collateral.reserve, now).income_ray
        return (
            0 < outcome.seized_assets <= self.collateral.reserve.liquidity_assets
            and rules.scaled_in(outcome.repaid_assets, debt_index) > 0
            and rules.scaled_out(outcome.seized_assets, income_index) > 0
        )

    def profit_value(self, outcome: Outcome) -> int:
        """Seized less repaid in base currency units, rounded against us."""
        repaid = -(-outcome.repaid_assets * self.debt.price // self.debt.reserve.unit)
        return self._collateral_value(outcome.seized_assets) - repaid

    def best_offer(self, wallet_assets: int, now: int) -> int | None:
        """The largest amount to offer that the wallet holds and the pool accepts; None when there is none.

        More is always better: the bonus is a part of what is repaid. Emptying either side is chosen when the offer
        exceeds what that takes by a margin: with the exact amount, one second's interest would leave dust, and revert.
        Leaving the least of either side, likewise, when a margin is left besides, unless nothing else is accepted.
        """
        offer = min(wallet_assets, _with_margin(self.most_repayable()))
        if self.is_safe(offer, now):
            return offer
        partial = min(offer, self._largest_partial(), self._largest_liquid())
        if partial > 0 and self._accepted(partial, now):
            return partial
        return offer if offer > 0 and self._accepted(offer, now) else None

    def is_safe(self, offer: int, now: int) -> bool:
        """Whether the pool accepts this offer now, and with the interest of landing somewhat later or sooner."""
        if not self._accepted(offer, now):
            return False
        outcome = self.outcome(offer)
        if self._empties(outcome):
            return offer >= _with_margin(outcome.repaid_assets)
        return self._leaves_enough(outcome, _MARGIN_BPS)

    def _empties(self, outcome: Outcome) -> bool:
        taken = outcome.seized_assets + outcome.fee_assets
        return outcome.repaid_assets >= self.debt.assets or taken >= self.collateral.assets

    def _accepted(self, offer: int, now: int) -> bool:
        outcome = self.outcome(offer)
        return not self.leaves_dust(outcome) and self.payable(outcome, now)

    def _largest_partial(self) -> int:
        """The most that leaves enough of both sides: beyond it everything is accepted, or what leaves no margin."""

        def too_much(offer: int) -> bool:
            return not self._leaves_enough(self.outcome(offer), _MARGIN_BPS)

        most = self.most_repayable()
        return most if not too_much(most) else least(too_much, 0, most) - 1

    def _largest_liquid(self) -> int:
        """The most whose seizure the reserve can pay out at present."""
        available, most = self.collateral.reserve.liquidity_assets, self.most_repayable()

        def too_much(offer: int) -> bool:
            return self.outcome(offer).seized_assets > available

        return most if not too_much(most) else least(too_much, 0, most) - 1

    def _debt_value(self, assets: int) -> int:
        return self.market.rules.debt_value(assets, self.debt.price, self.debt.reserve.unit)

    def _collateral_value(self, assets: int) -> int:
        return assets * self.collateral.price // self.collateral.reserve.unit


def _part_up(assets: int, bps: int) -> int:
    return -(-assets * bps // BPS)


def _with_margin(assets: int) -> int:
    return assets + _part_up(assets, _MARGIN_BPS)


def plan(
    market: Market, key: bytes, position: Sheet, now: int, wallet: Mapping[bytes, int], receiver: bytes
) -> LiquidationPlan | Skip:
    """The most profitable debt, collateral and amount; or why there is none.

    Stale prices do not matter here: the pool does not look at their age.
    """
    totals = position.totals()
    if (refusal := _refusal(market, key, position, totals, receiver)) is not None:
        return refusal
    reasons: dict[str, str] = {}
    best: tuple[int, Pair, int, Outcome] | None = None
    for pair in _open_pairs(market, position, totals, now, reasons):
        held = wallet.get(pair.debt.reserve.asset, 0)
        if held <= 0:
            reasons.setdefault("no_balance", f"the wallet holds no {pair.debt.reserve.symbol}")
            continue
        offer = pair.best_offer(held, now)
        if offer is None:
            reasons.setdefault(*_why_none(pair, held))
            continue
        outcome = pair.outcome(offer)
        profit = pair.profit_value(outcome)
        if profit <= 0:
            reasons.setdefault("unprofitable", f"{pair.name} would bring {profit} base units before gas")
        elif best is None or profit > best[0]:
            best = (profit, pair, offer, outcome)
    if best is None:
        return _first_reason(reasons)
    profit, pair, offer, outcome = best
    return _plan_of(pair, key, offer, outcome, profit, now)


def rejudge(
    market: Market, key: bytes, position: Sheet, now: int, earlier: LiquidationPlan, receiver: bytes
) -> LiquidationPlan | Skip:
    """An earlier plan as its call is executed now: the pool itself takes less than is offered where less is owed, or
    may be repaid at once. What would leave dust, or empty a side without the margin, is refused."""
    totals = position.totals()
    if (refusal := _refusal(market, key, position, totals, receiver)) is not None:
        return refusal
    reasons: dict[str, str] = {}
    wanted, offer = (earlier.debt_asset, earlier.collateral_asset), earlier.repay_assets
    for pair in _open_pairs(market, position, totals, now, reasons):
        if (pair.debt.reserve.asset, pair.collateral.reserve.asset) != wanted:
            continue
        if not pair.is_safe(offer, now):
            return Skip(*_why_none(pair, offer))
        outcome = pair.outcome(offer)
        profit = pair.profit_value(outcome)
        if profit <= 0:
            return Skip("unprofitable", f"{pair.name} would bring {profit} base units before gas")
        return replace(
            earlier,
            expected_repaid_assets=outcome.repaid_assets,
            expected_seized_assets=outcome.seized_assets,
            profit_base=profit,
            judged_at=now,
            health_wad=totals.health_wad,
        )
    return _first_reason(reasons)


def pairs(market: Market, key: bytes, position: Sheet, now: int, receiver: bytes) -> Sequence[LiquidationPair] | Skip:
    """Every pair of which anything can be liquidated, whoever pays; or why none is."""
    totals = position.totals()
    if (refusal := _refusal(market, key, position, totals, receiver)) is not None:
        return refusal
    reasons: dict[str, str] = {}
    found = []
    for pair in _open_pairs(market, position, totals, now, reasons):
        most = pair.best_offer(_with_margin(pair.most_repayable()), now)
        if most is None:
            reasons.setdefault(*_why_none(pair, pair.most_repayable()))
            continue
        size = partial(_sized, pair, key, now)
        found.append(LiquidationPair(pair.debt.reserve.asset, pair.collateral.reserve.asset, most, size))
    return found or _first_reason(reasons)


def _sized(pair: Pair, key: bytes, now: int, offered_assets: int) -> LiquidationPlan | Skip:
    offer = pair.best_offer(offered_assets, now)
    if offer is None:
        return Skip(*_why_none(pair, offered_assets))
    outcome = pair.outcome(offer)
    return _plan_of(pair, key, offer, outcome, pair.profit_value(outcome), now)


def _plan_of(pair: Pair, key: bytes, offer: int, outcome: Outcome, profit: int, now: int) -> LiquidationPlan:
    market, account = pair.market, key[:20]
    debt_asset, collateral_asset = pair.debt.reserve.asset, pair.collateral.reserve.asset
    return LiquidationPlan(
        account=account,
        debt_asset=debt_asset,
        repay_assets=offer,
        collateral_asset=collateral_asset,
        expected_repaid_assets=outcome.repaid_assets,
        expected_seized_assets=outcome.seized_assets,
        profit_base=profit,
        judged_at=now,
        health_wad=pair.totals.health_wad,
        call=TxCall(market.pool, abi.encode(abi.LIQUIDATION_CALL, collateral_asset, debt_asset, account, offer, 0)),
        approval=(debt_asset, market.pool, offer),
        gas_limit_hint=_GAS + _GAS_PER_OTHER_DEBT * (len(pair.position.debts) - 1),
    )


def _open_pairs(market: Market, position: Sheet, totals: Totals, now: int, reasons: dict[str, str]) -> Iterator[Pair]:
    """Pairs that the pool lets anybody liquidate; why not for the others, by code, into `reasons`."""
    for debt in position.debts:
        for collateral in position.collateral:
            if (reason := _pair_refusal(debt, collateral, now)) is not None:
                reasons.setdefault(*reason)
                continue
            bonus_bps = _bonus_bps(position, collateral)
            if not bonus_bps:
                reasons.setdefault("nothing_pledged", f"{collateral.reserve.symbol} has no liquidation bonus here")
                continue
            yield Pair(market, position, totals, debt, collateral, bonus_bps)


_ORDER = ("unprofitable", "dust", "illiquid", "no_balance", "grace_period", "paused", "inactive", "nothing_pledged")


def _first_reason(reasons: Mapping[str, str]) -> Skip:
    """The reason nearest to a plan: what a richer wallet or a later block could change comes first."""
    for code in _ORDER:
        if code in reasons:
            return Skip(code, reasons[code])
    return Skip("nothing_pledged", "no enabled collateral has a balance, or no debt is left")


def _refusal(market: Market, key: bytes, position: Sheet, totals: Totals, receiver: bytes) -> Skip | None:
    """Why nobody may liquidate this position now, whatever the pair."""
    if position.unpriced:
        return Skip("unpriced", f"no usable price of {', '.join('0x' + asset.hex() for asset in position.unpriced)}")
    if totals.health_wad >= WAD:
        return Skip("healthy", f"health {totals.health_wad} is not below {WAD}")
    if not market.sentinel_open and totals.health_wad >= _SENTINEL_HF_WAD:
        return Skip("sentinel", f"the sequencer sentinel forbids liquidations at health {totals.health_wad}")
    if receiver == key[:20] and not market.rules.self_liquidation:
        return Skip("self", "the pool refuses self-liquidation")
    return None


def _pair_refusal(debt: Line, collateral: Line, now: int) -> tuple[str, str] | None:
    if not debt.assets or not collateral.assets:
        return ("nothing_pledged", "no enabled collateral has a balance, or no debt is left")
    for reserve in (debt.reserve, collateral.reserve):
        if not reserve.active:
            return ("inactive", f"{reserve.symbol} is not active")
        if reserve.paused:
            return ("paused", f"{reserve.symbol} is paused")
        if reserve.grace_until >= now:
            return ("grace_period", f"{reserve.symbol} must not be liquidated until after {reserve.grace_until}")
    return None


def _why_none(pair: Pair, held: int) -> tuple[str, str]:
    name = pair.name
    outcome = pair.outcome(held)
    available = pair.collateral.reserve.liquidity_assets
    if outcome.seized_assets > available:
        return ("illiquid", f"{name}: {available} units can be paid out, {outcome.seized_assets} would be seized")
    return ("dust", f"{name}: with {held} units one can neither repay enough nor leave enough behind")


def _bonus_bps(position: Sheet, collateral: Line) -> int:
    emode = position.emode
    if emode is not None and emode.covers(collateral.reserve.id):
        return emode.liquidation_bonus_bps
    return collateral.reserve.liquidation_bonus_bps
