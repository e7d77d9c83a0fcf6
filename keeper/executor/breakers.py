"""When to stop sending: limits, what became of our transactions, and the time, give the breakers that trip. Pure.

A breaker that tripped stays so until somebody resumes on purpose; from then on only what came after counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.records import Intent, IntentStatus
from keeper.core.types import Price, Skip
from keeper.core.units import BPS, WAD, format_units, mul_div_down
from keeper.executor.legs import LIQUIDATES, legs_of
from keeper.executor.lifecycle import nonce_of
from keeper.executor.value import gas_value

_EXCUSED = ("interest", "price")  # causes of a difference, of accounts.CAUSES

HOUR_S = 3_600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None is no limit. Gas in wei; losses in whole units of the base currency, scaled by 1e18.

    failures: liquidations mined and reverted, one after the other, not counting lost races.
    lost_races: liquidations mined and reverted, one after the other, that the state of the block before would have let
    succeed. Whoever lets us simulate well and fail has us pay for gas: this bounds it.
    shortfalls: liquidations in a row that brought less than `1 - shortfall_bps` of the profit planned, apart from what
    moving prices and competitors took.
    deviation_bps: how far the market's price of what is seized may be from the protocol's.
    allowed: protocols that may be acted on, empty for all; denied: those that may not.
    """

    gas_per_hour_wei: int | None = None
    gas_per_day_wei: int | None = None
    loss_per_hour_wad: int | None = None
    loss_per_day_wad: int | None = None
    failures: int | None = None
    lost_races: int | None = None
    min_balance_wei: int | None = None
    shortfalls: int | None = None
    shortfall_bps: int = 5_000
    deviation_bps: int | None = None
    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()

    def objection(self, protocol: str) -> Skip | None:
        """Why nothing is done about positions of this protocol; None when it may be acted on."""
        if protocol in self.denied:
            return Skip("protocol_denied", f"breakers.deny names {protocol}")
        if self.allowed and protocol not in self.allowed:
            return Skip("protocol_denied", f"breakers.allow does not name {protocol}")
        return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A transaction of ours that was mined. at: unix seconds at which that was learned. order: block and nonce.

    succeeded: None for what is no liquidation, or was given up. realized: base-currency units after gas. expected: the
    same, of what succeeded; None where nothing did. excused: of what is missing, what the market or somebody faster
    took: no reason to doubt our plans. raced: it failed for that alone.
    """

    order: tuple[int, int]
    at: float
    protocol: str
    gas_wei: int
    succeeded: bool | None
    expected: int | None = None
    realized: int | None = None
    excused: int = 0
    raced: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """How a protocol counts: decimals of its base currency, and its price of the native coin, if it has one."""

    base_decimals: int
    native: Price | None


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker that tripped: `name` for machines, `detail` for people. at: unix seconds; block: of the judgement."""

    name: str
    detail: str
    at: float
    block: int


def outcome_of(intent: Intent) -> Outcome | None:
    """What a mined transaction counts as; None for one that no block has, or that a foreign one displaced, and for what
    a person ordered: a deployment is no reason to stop liquidating."""
    if intent.tx_hash is None or intent.included_number is None or intent.kind == "order":
        return None
    liquidated = intent.kind in LIQUIDATES and intent.status is not IntentStatus.ABANDONED
    expected, excused = _planned(intent) if liquidated else (intent.profit_expected, 0)
    return Outcome(
        order=(intent.included_number, nonce_of(intent)),
        at=intent.updated_at,
        protocol=intent.protocol,
        gas_wei=intent.gas_cost_wei or 0,
        succeeded=intent.status is not IntentStatus.FAILED if liquidated else None,
        expected=expected,
        realized=intent.profit_realized,
        excused=excused,
        raced=bool(intent.realized.get("raced")),
    )


def _planned(intent: Intent) -> tuple[int | None, int]:
    """What was planned of the legs that succeeded, and what of their profit is missing for no fault of the plan.

    Excused is what prices took between judging and landing, what another repaid of the same debt before us, and the gas
    of a leg that somebody else had liquidated already.
    """
    if intent.status is IntentStatus.FAILED:
        return intent.profit_expected, 0
    legs = legs_of(intent)
    done = [leg for leg in legs if leg.status is not IntentStatus.FAILED]
    known = [leg.profit_expected for leg in done if leg.profit_expected is not None]
    gas = sum(int(leg.realized.get("gas") or 0) for leg in legs if leg.status is IntentStatus.FAILED)
    taken = sum(max(-int(_causes(leg).get(cause, 0)), 0) for leg in done for cause in _EXCUSED)
    return sum(known) if known and len(known) == len(done) else None, gas + taken


def _causes(leg: Intent) -> Mapping[str, str]:
    found: Mapping[str, str] = leg.realized.get("difference", {})
    return found


def judge(
    limits: Limits,
    outcomes: Iterable[Outcome],
    scales: Mapping[str, Scale],
    *,
    balance_wei: int | None,
    now: float,
    block: int,
) -> list[Trip]:
    """Every breaker that these outcomes trip. balance_wei: of the wallet; None when it could not be read."""
    known = sorted(outcomes, key=lambda outcome: outcome.order)
    found = [*_spending(limits, known, now), *_losing(limits, known, scales, now), *_failing(limits, known)]
    if limits.min_balance_wei is not None and balance_wei is not None and balance_wei < limits.min_balance_wei:
        found.append(
            ("min_balance", f"the wallet has {_coin(balance_wei)}, of at least {_coin(limits.min_balance_wei)}")
        )
    return [Trip(name, detail, now, block) for name, detail in found]


def admit(
    limits: Limits, outcomes: Iterable[Outcome], costs_wei: Sequence[int], committed_wei: int, now: float
) -> tuple[int, Skip | None]:
    """How many transactions, from the first, may be sent without the spend limits ever being exceeded; and why no more.

    costs_wei: the most that each can cost. committed_wei: the most that those on their way can. The reason's code is
    "spend_limit" when room may return once those are mined, or the name of the breaker that trips when it cannot.
    """
    known = list(outcomes)
    windows = [(name, limit, _spent(known, now, seconds)) for name, limit, seconds in _windows(limits)]
    for count, cost in enumerate(costs_wei):
        for name, limit, spent in windows:
            if spent + cost > limit:
                detail = f"{_coin(spent)} were spent and the next transaction may cost {_coin(cost)}, of {_coin(limit)}"
                return count, Skip(name, detail)
            if spent + committed_wei + cost > limit:
                detail = f"{_coin(spent + committed_wei)} are spent or on their way, and {_coin(cost)} more asked for"
                return count, Skip("spend_limit", f"{detail}, of {_coin(limit)} ({name})")
        committed_wei += cost
    return len(costs_wei), None


def admit_losses(
    limits: Limits,
    outcomes: Iterable[Outcome],
    scales: Mapping[str, Scale],
    losses_wad: Sequence[int],
    committed_wad: int,
    now: float,
) -> tuple[int, str | None]:
    """How many transactions, from the first, may be sent without planned losses ever reaching a loss limit, and why no
    more. losses_wad: what each is planned to lose; committed_wad: what those on their way are. Both in whole
    base-currency units, scaled by 1e18."""
    known = list(outcomes)
    for count, loss in enumerate(losses_wad):
        committed_wad += loss
        for name, limit, seconds in _loss_windows(limits) if loss else ():
            lost = sum(loss_wad(outcome, scales) for outcome in _within(known, now, seconds))
            if lost + committed_wad >= limit:
                shown = (format_units(amount, 18, 2) for amount in (lost, committed_wad, limit))
                return count, "{} were lost and {} would be, of {} ({})".format(*shown, name)
    return len(losses_wad), None


def deviation_bps(seized_value: int, proceeds_value: int) -> int:
    """How far what the market pays for seized collateral is from what the protocol says it is worth, either way.

    Both in base-currency units; truncated. Worthless by the protocol but not by the market is all there is.
    """
    if seized_value == 0:
        return BPS if proceeds_value else 0
    return mul_div_down(abs(proceeds_value - seized_value), BPS, seized_value)


# --- the breakers -----------------------------------------------------------------------------------------------------


def _spending(limits: Limits, known: Sequence[Outcome], now: float) -> Iterator[tuple[str, str]]:
    for name, limit, seconds in _windows(limits):
        spent = _spent(known, now, seconds)
        if spent >= limit:
            yield name, f"gas cost {_coin(spent)}, of {_coin(limit)}"


def _losing(
    limits: Limits, known: Sequence[Outcome], scales: Mapping[str, Scale], now: float
) -> Iterator[tuple[str, str]]:
    for name, limit, seconds in _loss_windows(limits):
        lost = sum(loss_wad(outcome, scales) for outcome in _within(known, now, seconds))
        if lost >= limit > 0 or lost > limit:
            shown = (format_units(amount, 18, 2) for amount in (lost, limit))
            yield name, "{} of the base currency were lost, of {}".format(*shown)


def _failing(limits: Limits, known: Sequence[Outcome]) -> Iterator[tuple[str, str]]:
    liquidations = [outcome for outcome in known if outcome.succeeded is not None]
    failures = _trailing(not outcome.succeeded for outcome in liquidations if not outcome.raced)
    if limits.failures is not None and failures >= limits.failures:
        yield "failures", f"{failures} liquidations in a row were mined and reverted, of {limits.failures}"
    races = _trailing(outcome.raced for outcome in liquidations)
    if limits.lost_races is not None and races >= limits.lost_races:
        yield "lost_races", f"{races} liquidations in a row came after somebody faster, of {limits.lost_races}"
    judged = [_fell_short(limits, o) for o in liquidations if o.expected is not None and o.realized is not None]
    short = _trailing(judged)
    if limits.shortfalls is not None and short >= limits.shortfalls:
        share = format_units(limits.shortfall_bps, 2)
        yield "slippage", f"{short} liquidations in a row brought over {share} % less than planned"


def loss_wad(outcome: Outcome, scales: Mapping[str, Scale]) -> int:
    """What it lost, in whole base-currency units scaled by 1e18: a liquidation below zero, or gas that bought nothing.

    Gains are not set against it. Gas without a price for it counts as nothing: nothing is sent either then.
    """
    scale = scales.get(outcome.protocol) or next(iter(scales.values()), None)
    if scale is None:
        return 0
    if outcome.succeeded and outcome.realized is not None:
        lost = max(-outcome.realized, 0)
    elif outcome.succeeded or scale.native is None:
        lost = 0
    else:
        lost = gas_value(outcome.gas_wei, scale.native, scale.base_decimals)
    return mul_div_down(lost, WAD, 10**scale.base_decimals)


def _fell_short(limits: Limits, outcome: Outcome) -> bool:
    """Of a planned loss, the share counts that was lost beyond it."""
    expected, realized = outcome.expected or 0, outcome.realized or 0
    return (expected - realized - outcome.excused) * BPS > abs(expected) * limits.shortfall_bps


def _windows(limits: Limits) -> Iterator[tuple[str, int, int]]:
    if limits.gas_per_hour_wei is not None:
        yield "gas_per_hour", limits.gas_per_hour_wei, HOUR_S
    if limits.gas_per_day_wei is not None:
        yield "gas_per_day", limits.gas_per_day_wei, DAY_S


def _loss_windows(limits: Limits) -> Iterator[tuple[str, int, int]]:
    if limits.loss_per_hour_wad is not None:
        yield "loss_per_hour", limits.loss_per_hour_wad, HOUR_S
    if limits.loss_per_day_wad is not None:
        yield "loss_per_day", limits.loss_per_day_wad, DAY_S


def _spent(known: Iterable[Outcome], now: float, seconds: int) -> int:
    return sum(outcome.gas_wei for outcome in _within(known, now, seconds))


def _within(known: Iterable[Outcome], now: float, seconds: int) -> Iterator[Outcome]:
    return (outcome for outcome in known if outcome.at > now - seconds)


def _trailing(flags: Iterable[bool]) -> int:
    """How many are true at the end."""
    count = 0
    for flag in flags:
        count = count + 1 if flag else 0
    return count


def _coin(wei: int) -> str:
    return f"{format_units(wei, 18, 6)} native coin"
