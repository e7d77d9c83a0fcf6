"""What prices say about volatility, and where that draws the lines."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from keeper.core.errors import ConfigError
from keeper.core.types import Block, BlockRef, Book, Price
from keeper.core.units import WAD
from keeper.evaluator.adaptive import LEAST, Adaptive, lines_at
from keeper.evaluator.exposure import family
from keeper.evaluator.judge import Judge
from keeper.evaluator.lines import Lines
from keeper.evaluator.volatility import BAR_S, BARS_PER_DAY, MOST_PAIRED, RETURN_BARS, Volatility
from keeper.evaluator.volatility_json import dump_volatility, load_volatility
from tests.support.linear_market import Holdings, LinearMarket, Market, asset
from tests.unit.evaluator.builders import RULES

DAY = 86_400
ADAPTER = LinearMarket()
PAIR = Holdings({0: 10**18}, {1: 10**18})
Path = Callable[[int], Sequence[float]]


def price(value: float) -> Price:
    return Price(round(value * WAD), 18)


def observed(rule: Adaptive, bars: int, path: Path) -> Lines:
    """Lines after this many bars in which assets 0, 1, … had the prices of the path."""
    volatility = Volatility.empty(rule.memories_s, 0)
    for bar in range(bars):
        prices = {asset(number): price(value) for number, value in enumerate(path(bar))}
        volatility = volatility.since(prices, (bar + 1) * BAR_S)
    lines = Lines(rule)
    lines.observe(volatility)
    return lines


def sigmas(lines: Lines, values: Sequence[float], position: Holdings = PAIR) -> np.ndarray:
    prices = {asset(number): price(value) for number, value in enumerate(values)}
    book = Book(Market(), prices, {b"k": position})
    found = lines.sigmas(ADAPTER, book, b"k", 0)
    assert found is not None
    return found


def walk(sigma_day: float, seed: int, bars: int) -> list[float]:
    chance, log, found = random.Random(seed), 0.0, []
    for _ in range(bars):
        log += chance.gauss(0, sigma_day / math.sqrt(BARS_PER_DAY))
        found.append(100 * math.exp(log))
    return found


@pytest.mark.parametrize("parkinson", [False, True], ids=["close", "parkinson"])
def test_the_volatility_of_a_walk_is_found(parkinson: bool) -> None:
    """Of one asset against money; by ranges a little less is seen, since four hours are only looked at in quarters."""
    rule, bars = Adaptive(memories_s=(20 * DAY,), parkinson=parkinson), 60 * BARS_PER_DAY
    prices = walk(0.04, 3, bars)
    found = sigmas(observed(rule, bars, lambda bar: (prices[bar], 1.0)), (prices[-1], 1.0))
    assert found[0] == pytest.approx(0.035 if parkinson else 0.04, rel=0.15)


def test_assets_that_move_together_leave_the_pair_calm() -> None:
    """Each alone is as wild as the other; of one against the other only what differs counts."""
    bars = 20 * BARS_PER_DAY
    common, own = walk(0.05, 1, bars), walk(0.002, 2, bars)
    lines = observed(Adaptive(), bars, lambda bar: (common[bar], common[bar] * own[bar] / 100))
    values = (common[-1], common[-1] * own[-1] / 100)
    assert sigmas(lines, values)[-1] < 0.006
    alone = lines.sigmas_of_assets(ADAPTER, Book(Market(), {asset(0): price(values[0])}), [asset(0)], 0)
    assert alone[asset(0)] > 0.03


def test_a_trembling_peg_is_not_taken_for_risk() -> None:
    """Prices that jump by 0.3 % every quarter of an hour and go nowhere: as a walk that would be 4 % a day."""
    chance = random.Random(5)
    tremble = [1 + chance.choice((-0.003, 0.003)) for _ in range(20 * BARS_PER_DAY)]
    lines = observed(Adaptive(), len(tremble), lambda bar: (tremble[bar], 1.0))
    book = Book(Market(), {asset(0): price(1), asset(1): price(1)}, {b"k": PAIR})
    assert lines.of(ADAPTER, book, b"k", 0).call_wad < 102 * WAD // 100


def test_before_anything_was_observed_a_prior_holds_and_then_fades() -> None:
    """At first as presumed; once a calm month was seen, calm."""
    rule = Adaptive()
    values = (2000.0, 1.0)
    calm = [observed(rule, bars, lambda _: values) for bars in (1, BARS_PER_DAY, 30 * BARS_PER_DAY)]
    found = [float(sigmas(lines, values).max()) for lines in calm]
    assert found[0] == pytest.approx(0.6 / math.sqrt(365.25), rel=0.01)
    assert found[0] > found[1] > found[2] and found[2] < 0.005
    assert lines_at(rule.reach * found[0]).call_wad == pytest.approx(1.108 * WAD, rel=0.001)


def test_prices_near_one_another_are_presumed_to_be_pegged() -> None:
    """A pair at parity is called far nearer to liquidation from the beginning."""
    lines = observed(Adaptive(), 1, lambda _: (1.0, 0.999))
    assert sigmas(lines, (1.0, 0.999)).max() == pytest.approx(0.05 / math.sqrt(365.25), rel=0.01)


@pytest.mark.parametrize(
    ("symbol", "named"),
    [("wstETH", "ETH"), ("WBTC", "BTC"), ("USDC.e", "USD"), ("sDAI", "USD"), ("LINK", ""), ("ETHBTC", "")],
)
def test_names_of_one_family_are_presumed_to_be_pegged(symbol: str, named: str) -> None:
    assert family(symbol) == named


def test_the_stored_state_goes_on_bit_for_bit() -> None:
    """However often it is stored and loaded on the way, also over a gap and with an asset that came later."""
    prices = walk(0.05, 8, 400)
    straight = stored = Volatility.empty((DAY, 10 * DAY), 0)
    for bar, value in enumerate(prices):
        now = {asset(0): price(value), **({asset(1): price(value / 7)} if bar > 100 else {})}
        at = (bar + 1 + (30 * BARS_PER_DAY if bar > 200 else 0)) * BAR_S
        straight, stored = straight.since(now, at), load_volatility(dump_volatility(stored)).since(now, at)
    assert dump_volatility(stored) == dump_volatility(straight)


def test_within_a_bar_nothing_changes() -> None:
    volatility = Volatility.empty((DAY,), 0).since({asset(0): price(1)}, BAR_S)
    assert volatility.since({asset(0): price(2)}, 2 * BAR_S - 1) is volatility


def test_too_many_assets_are_known_one_by_one() -> None:
    """Then pairs are not: each is as volatile as it was, and independent."""
    few = {asset(number): price(100) for number in range(2)}
    many = {bytes([1, number]) * 10: price(1 + number) for number in range(MOST_PAIRED)}
    volatility = Volatility.empty((10 * DAY,), 0)
    for bar, value in enumerate(walk(0.05, 4, 300)):
        prices = {**few, asset(0): price(value)} if bar < 200 else {**few, **many, asset(0): price(value)}
        volatility = volatility.since(prices, (bar + 1) * BAR_S)
    assert volatility.moments.shape == (1, MOST_PAIRED + 2)
    lines = Lines(Adaptive(memories_s=(10 * DAY,)))
    lines.observe(volatility)
    assert sigmas(lines, (100.0, 100.0))[0] > 0.02


def test_a_gap_of_weeks_is_no_calm() -> None:
    """Silence says nothing: what was seen before it still weighs most."""
    prices = walk(0.05, 6, 5 * BARS_PER_DAY)
    volatility = Volatility.empty((10 * DAY,), 0)
    for bar, value in enumerate(prices):
        volatility = volatility.since({asset(0): price(value), asset(1): price(1)}, (bar + 1) * BAR_S)
    later = volatility.since(
        {asset(0): price(prices[-1]), asset(1): price(1)}, (len(prices) + 60 * BARS_PER_DAY) * BAR_S
    )
    assert later.moments[0, 0, 0] > 0.9 * volatility.moments[0, 0, 0]


def test_lines_fall_in_order_whatever_the_volatility() -> None:
    """Every distance gives lines that `BandRules` accepts, and a cure that leaves the call."""
    for distance in np.linspace(LEAST, math.log(4), 400):
        rules = lines_at(float(distance))
        assert WAD < rules.urgent_wad < rules.call_wad <= rules.watch_wad
        assert rules.closes_wad >= rules.call_wad + rules.hysteresis_wad


def test_the_deepest_rule_decides() -> None:
    """Calm: the line by health, but never beyond eight daily deviations, and of what hardly moves beyond fewer. Wild:
    the probability, up to the widest."""
    rule = Adaptive()

    def call(sigma: float) -> float:
        return math.exp(float(rule.distances(np.array([[sigma], [sigma]]))[0]))

    assert call(0.0001) == pytest.approx(math.exp(LEAST))
    assert call(0.0106) == pytest.approx(math.exp(8 * 0.0106))
    assert call(0.005) == pytest.approx(math.exp(8 * 0.005 * 0.005 * math.sqrt(365.25) / 0.2))
    assert call(0.022) == pytest.approx(1.09)
    assert call(0.05) == pytest.approx(math.exp(rule.reach * 0.05))
    assert call(0.5) == pytest.approx(1.284)


@pytest.mark.parametrize(
    "wrong",
    [{"probability": 1.0}, {"horizon_s": 0}, {"memories_s": ()}, {"call": 1.0}, {"widest": 1.0}, {"prior_year": 0}],
)
def test_what_makes_no_rule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"margin_calls\.volatility"):
        Adaptive(**wrong)  # type: ignore[arg-type]


def test_returns_go_over_four_hours() -> None:
    assert RETURN_BARS * BAR_S == 4 * 3600


def test_a_breach_is_told_in_sigmas_of_its_price_and_of_the_health() -> None:
    """The fall to the breach over a day's volatility, the health's distance over its own; nothing by health alone."""
    rule, bars = Adaptive(memories_s=(20 * DAY,)), 60 * BARS_PER_DAY
    path = walk(0.04, 5, bars)
    volatility = observed(rule, bars, lambda bar: (path[bar] / path[-1], 1.0)).volatility
    held = Holdings({0: 10**22}, {1: 10**24 * 8_000 // 10_000 // 108})
    market, prices = Market(rates_ray=(0, 0, 0, 0)), {asset(0): price(1.0), asset(1): price(1.0)}
    for rules, known in ((rule, True), (RULES, False)):
        judge: Judge[Market, Holdings] = Judge(ADAPTER, rules, acts=False)
        book = Book(market, prices, {b"k" * 20: held})
        judge.reload(book, [], volatility)
        block = Block(BlockRef(1, b"1" * 32), b"", bars * BAR_S)
        (step,) = judge.document(book, judge.judge(book, block, changed=book.positions)).steps
        dossier = step.dossier
        assert dossier is not None
        if known:  # the toy's one breach is at -5 %
            assert dict(dossier.sigmas)[asset(0)] == pytest.approx(-math.log(0.95) / 0.04, rel=0.2)
            assert dossier.health_sigmas == pytest.approx(math.log(1.08) / 0.04, rel=0.2)
        else:
            assert (dossier.sigmas, dossier.health_sigmas) == ((), None)


def test_the_outlook_of_a_position_on_its_line_is_the_probability_of_the_line() -> None:
    """Called when the chance to breach within 84 hours is 8 %: at that health, and at no other, it crosses then."""
    rule, prices = Adaptive(call=None), walk(0.04, 3, 20 * BARS_PER_DAY)
    lines = observed(rule, len(prices), lambda bar: (prices[bar], 1.0))
    book = Book(Market(), {asset(0): price(prices[-1]), asset(1): price(1)}, {b"k": PAIR})
    line = lines.of(ADAPTER, book, b"k", 0).call_wad
    outlook = lines.outlook(ADAPTER, book, b"k", 0, line)
    assert outlook is not None and outlook.crosses_s is not None
    assert outlook.probability == pytest.approx(0.08, abs=0.001)
    assert outlook.crosses_s == pytest.approx(3.5 * DAY, rel=0.01)
    safer = lines.outlook(ADAPTER, book, b"k", 0, line + WAD // 10)
    assert safer is not None and safer.probability < 0.08
