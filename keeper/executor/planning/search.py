"""The most profitable way to finance each liquidation: over every pair, amount, route and loan.

    routes of every pair ─▶ a coarse ladder of amounts, quoted on every route, and what can be borrowed
                         ─▶ for the best routes of each position, a finer ladder around the best rung

However many positions there are, each arrow is one round trip (the last at most two); the first is silent once the
pools are known, and the last when the coarse ladder shows that more is better up to the most there is. Amounts are
searched because a pool pays ever less: what the last part brings can be below what it costs to repay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.core.ports import Reads
from keeper.core.reads import together
from keeper.core.types import Call, CallResult, LiquidationPair, LiquidationPlan, Price, Prices, Skip
from keeper.core.units import BPS, UINT256_MAX
from keeper.executor.planning.ports import Funding, Loan, Pair, Route, SwapVenue, free
from keeper.executor.value import gas_value, value_down, value_up, wei_value

# Parts of the most that can be offered, down to 3 %. Between the neighbours of the best one, so many more find the
# maximum of a pool's profit to about a thousandth of it.
COARSE = tuple((6**rung, 10**rung) for rung in range(8))
_FINE = 16
_NEIGHBOURS_BPS = 1_500  # neighbours this near, of the amount between them, need no closer look
_HOPELESS = 20  # a loss of more than this part of the gain before gas is not made good by a closer look
_CLOSER_LOOKS = 2  # the second is needed where the best amount is far below the lowest rung
# From rung to rung profit grows at most as the amount does: a way that is worse by more than that cannot win, unless
# its best amount is below the lowest rung.
_NEAR_BPS = 5_000
_CALLBACK_GAS = 10_000


@dataclass(frozen=True, slots=True)
class Purse:
    """What amounts are worth: prices by token, decimals by token, and gas.

    gas_price_wei: what a unit of gas is expected to cost.
    """

    prices: Prices
    decimals: Mapping[bytes, int]
    base_decimals: int
    native: Price
    gas_price_wei: int

    def knows(self, token: bytes) -> bool:
        return token in self.prices and token in self.decimals

    def gained(self, token: bytes, assets: int) -> int:
        """Base units that a gain is worth, rounded down; a loss is worth as much less, rounded against us."""
        if assets < 0:
            return -value_up(-assets, self.decimals[token], self.prices[token], self.base_decimals)
        return value_down(assets, self.decimals[token], self.prices[token], self.base_decimals)

    def gas(self, gas: int) -> int:
        return self.gas_wei(gas * self.gas_price_wei)

    def gas_wei(self, wei: int) -> int:
        """Base units that native coin is worth, rounded up."""
        return gas_value(wei, self.native, self.base_decimals)

    def wei(self, amount_base: int) -> int:
        """Native coin that base units buy, rounded down."""
        return wei_value(amount_base, self.native, self.base_decimals)


@dataclass(frozen=True, slots=True)
class Job:
    """One position. pairs: its open pairs at the time the liquidation can land. moved: by pair, the fraction of what is
    quoted now that a sale is taken to bring then."""

    pairs: Sequence[LiquidationPair]
    purse: Purse
    moved: Mapping[Pair, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Financed:
    """A plan with the money for it and the way to sell what it seizes.

    sold_assets: of the collateral. bought_assets: debt tokens that it brings. gain_assets: what is left in the end, of
    gain_token. profit_base: that gain's value less haircut_bps of it, before gas. net_base: after the gas it may need.
    """

    plan: LiquidationPlan
    route: Route
    loan: Loan
    fee_assets: int
    sold_assets: int
    bought_assets: int
    gain_token: bytes
    gain_assets: int
    profit_base: int
    net_base: int
    haircut_bps: int = 0

    @property
    def gas(self) -> int:
        return self.plan.gas_limit_hint + self.route.gas + self.loan.gas


def search(
    jobs: Sequence[Job], venues: Sequence[SwapVenue], fundings: Sequence[Funding], now: int
) -> Reads[list[Financed | Skip]]:
    """For each job the financed plan that leaves most after gas, or why there is none that gains anything.

    now: unix seconds; only discoveries age by it.
    """
    open_pairs = list(dict.fromkeys(_pair(pair) for job in jobs for pair in job.pairs))
    if not open_pairs:
        return [Skip("no_pair", "nothing of it can be liquidated") for _ in jobs]
    by_venue = yield from together([venue.routes(open_pairs, now) for venue in venues])
    routes = {pair: [route for found in by_venue for route in found.get(pair, ())] for pair in open_pairs}
    ladders = [_Ladder(job, routes) for job in jobs]
    for ladder in ladders:
        ladder.climb_coarsely()
    debts = {debt for _, debt in open_pairs}
    asking: list[Reads[Any]] = [*(funding.loans(debts, now) for funding in fundings), _quote(ladders)]
    *lent, _ = yield from together(asking)
    loans = [*_callbacks(jobs), *(loan for some in lent for loan in some)]
    for look in range(_CLOSER_LOOKS):
        for ladder in ladders:
            ladder.climb_finely(loans, unless_hopeless=look > 0)
        yield from _quote(ladders)
    return [ladder.best(loans) for ladder in ladders]


@dataclass(frozen=True, slots=True)
class _Rung:
    plan: LiquidationPlan
    route: Route


@dataclass(slots=True)
class _Ladder:
    """One position's candidates: asked are those whose quote is not known yet."""

    job: Job
    routes: Mapping[Pair, Sequence[Route]]
    asked: list[_Rung] = field(default_factory=list)
    quoted: list[tuple[_Rung, int]] = field(default_factory=list)
    refused: Skip | None = None

    def climb_coarsely(self) -> None:
        for pair in self.job.pairs:
            if not (self.job.purse.knows(pair.debt_asset) and self.job.purse.knows(pair.collateral_asset)):
                self.refused = self.refused or Skip("unpriced", "no price or no decimals of a token that would be sold")
                continue
            amounts = [pair.most_assets * up // down for up, down in COARSE]
            self._ask(pair, amounts, self.routes[_pair(pair)])

    def climb_finely(self, loans: Sequence[Loan], *, unless_hopeless: bool) -> None:
        """Look closer at every way to sell that can still be the best. unless_hopeless: not when all lose for sure."""
        ways: dict[tuple[Pair, str], list[Financed]] = {}
        for one in self._financed(loans):
            ways.setdefault((_pair(one.plan), one.route.name), []).append(one)
        tops = {way: max(rungs, key=_merit) for way, rungs in ways.items()}
        if unless_hopeless and all(top.net_base < -abs(top.profit_base) // _HOPELESS for top in tops.values()):
            return
        best = max((top.net_base for top in tops.values()), default=0)
        for pair in self.job.pairs:
            limits = {min(one.available_assets, pair.most_assets) for one in loans if one.token == pair.debt_asset}
            for route in self.routes[_pair(pair)] if limits else ():
                rungs = sorted(ways.get((_pair(pair), route.name), ()), key=lambda one: one.plan.repay_assets)
                top = tops.get((_pair(pair), route.name))
                can_win = top is None or best <= 0 or top is rungs[0] or top.net_base >= best - best * _NEAR_BPS // BPS
                if can_win:
                    self._ask(pair, [*limits, *_between_neighbours(rungs, top, max(limits))], [route])

    def answer(self, results: Sequence[CallResult]) -> None:
        for rung, result in zip(self.asked, results, strict=True):
            bought = rung.route.bought(result)
            if bought is not None:
                up, down = self.job.moved.get(_pair(rung.plan), (1, 1))
                self.quoted.append((rung, bought * up // down))
        self.asked = []

    def best(self, loans: Sequence[Loan]) -> Financed | Skip:
        found = max(self._financed(loans), key=_merit, default=None)
        if found is not None:
            return found if found.gain_assets > 0 else _eaten(found)
        if self.quoted:
            least = min(rung.plan.repay_assets for rung, _ in self.quoted)
            return Skip("no_funding", f"nobody lends what it takes; the smallest offer looked at is {least} raw units")
        return self.refused or Skip("no_route", "no pool sells what would be seized for what would be repaid")

    def _ask(self, pair: LiquidationPair, amounts: Iterable[int], routes: Sequence[Route]) -> None:
        known = {(rung.plan.repay_assets, rung.route.name, _pair(rung.plan)) for rung, _ in self.quoted}
        for amount in amounts:
            plan = pair.plan(amount) if amount > 0 else None
            if isinstance(plan, Skip):
                self.refused = self.refused or plan
            elif plan is not None:
                for route in routes:
                    key = (plan.repay_assets, route.name, _pair(plan))
                    if key not in known:
                        known.add(key)
                        self.asked.append(_Rung(plan, route))

    def _financed(self, loans: Sequence[Loan]) -> Iterator[Financed]:
        """Every quoted rung with the cheapest loan that it can have."""
        for rung, bought in self.quoted:
            possible = [
                finance(rung.plan, rung.route, loan, bought, self.job.purse)
                for loan in loans
                if loan.token == rung.plan.debt_asset
                and (not loan.calls_back or rung.plan.callback_at is not None)
                and loan.available_assets >= rung.plan.repay_assets
                and loan.lender not in rung.route.pools
            ]
            if possible:
                yield max(possible, key=_merit)


def _callbacks(jobs: Sequence[Job]) -> list[Loan]:
    """For each debt whose protocol pays out what is seized before it is paid: as much as one likes, for nothing."""
    tokens = {pair.debt_asset for job in jobs for pair in job.pairs if pair.calls_back}
    return [
        Loan("callback", b"", token, UINT256_MAX, free, _CALLBACK_GAS, lambda _, steps: steps, calls_back=True)
        for token in sorted(tokens)
    ]


def finance(plan: LiquidationPlan, route: Route, loan: Loan, bought_assets: int, purse: Purse) -> Financed:
    """What a plan brings with this loan, when selling what it seizes brings `bought_assets`.

    What is offered and not taken goes back to the lender, so only what is repaid counts.
    """
    fee = loan.fee(plan.repay_assets)
    gain = bought_assets - plan.expected_repaid_assets - fee
    profit = purse.gained(plan.debt_asset, gain)
    cost = purse.gas(plan.gas_limit_hint + route.gas + loan.gas)
    return Financed(
        plan=plan,
        route=route,
        loan=loan,
        fee_assets=fee,
        sold_assets=plan.expected_seized_assets,
        bought_assets=bought_assets,
        gain_token=plan.debt_asset,
        gain_assets=gain,
        profit_base=profit,
        net_base=profit - cost,
    )


def _between_neighbours(rungs: Sequence[Financed], top: Financed | None, limit: int) -> list[int]:
    """Amounts around the best rung; none where its neighbours are near, or when it is the uppermost that can be and
    profit still rises steeply there."""
    if top is None:
        low, high = 0, limit
    else:
        at = rungs.index(top)
        is_last = at == len(rungs) - 1
        if is_last and top.plan.repay_assets >= limit and _still_rises(rungs):
            return []
        low = rungs[at - 1].plan.repay_assets if at > 0 else 0
        high = limit if is_last else rungs[at + 1].plan.repay_assets
        if high - low <= top.plan.repay_assets * _NEIGHBOURS_BPS // BPS:
            return []
    return [low + (high - low) * step // (_FINE + 1) for step in range(1, _FINE + 1)]


def _merit(one: Financed) -> tuple[int, int]:
    return one.net_base, one.gain_assets


def _still_rises(steps: Sequence[Financed]) -> bool:
    """Whether the profit's slope, falling on as it fell between the last three rungs, is positive at the uppermost.

    In a pool the slope falls ever more slowly, so this errs toward looking closer.
    """
    if len(steps) < 3:
        return False
    a, b, c = steps[-3:]
    first = (b.net_base - a.net_base) / (b.plan.repay_assets - a.plan.repay_assets)
    second = (c.net_base - b.net_base) / (c.plan.repay_assets - b.plan.repay_assets)
    middle = (b.plan.repay_assets - a.plan.repay_assets) / 2 + (c.plan.repay_assets - b.plan.repay_assets) / 2
    fall = (first - second) / middle
    return second - fall * (c.plan.repay_assets - b.plan.repay_assets) / 2 > 0


def _quote(ladders: Sequence[_Ladder]) -> Reads[None]:
    calls: list[Call] = [rung.route.quote(rung.plan.expected_seized_assets) for one in ladders for rung in one.asked]
    if not calls:
        return
    results = yield calls
    start = 0
    for ladder in ladders:
        count = len(ladder.asked)
        ladder.answer(results[start : start + count])
        start += count


def _eaten(best: Financed) -> Skip:
    plan = best.plan
    return Skip(
        "price_impact",
        f"the best of all ways sells {plan.expected_seized_assets} raw units for {best.bought_assets} by "
        f"{best.route.name}, but {plan.expected_repaid_assets} are repaid and {best.fee_assets} are the fee of "
        f"{best.loan.name}: {best.gain_assets} in all",
    )


def _pair(one: LiquidationPair | LiquidationPlan) -> Pair:
    """Token sold and token bought."""
    return one.collateral_asset, one.debt_asset
