"""What feeds remember, read from chain and folded into a first state of the volatility."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from keeper.core.types import Call, CallResult, Price
from keeper.core.units import WAD
from keeper.evaluator.seed import seeded
from keeper.evaluator.volatility import BAR_S, BARS_PER_DAY, Volatility
from keeper.evaluator.volatility_json import dump_volatility
from keeper.protocols.rounds import SAMPLES, histories
from tests.support.linear_market import asset

DAY = 86_400
NOW = 40 * DAY
MEMORIES = (2 * DAY, 10 * DAY)
PHASE = 7 << 64
LATEST, ROUND = bytes.fromhex("feaf968c"), bytes.fromhex("9a6fc8f5")


class Feed:
    """A Chainlink proxy in its seventh phase: rounds by number, asked by ids that begin with the phase."""

    def __init__(self, rounds: Sequence[tuple[int, int]]) -> None:
        self.rounds = rounds
        self.asked = 0

    def answer(self, call: Call) -> CallResult:
        number = len(self.rounds) if call.data[:4] == LATEST else int.from_bytes(call.data[4:], "big") - PHASE
        self.asked += call.data[:4] == ROUND
        if not 1 <= number <= len(self.rounds):
            return None
        at, answer = self.rounds[number - 1]
        return b"".join(word.to_bytes(32, "big") for word in (PHASE + number, answer, at, at, PHASE + number))


def read(
    feeds: dict[bytes, tuple[Feed, list[bytes]]], seconds: int = 20 * DAY
) -> dict[bytes, tuple[tuple[int, int], ...]]:
    wanted = frozenset(one for _, assets in feeds.values() for one in assets)
    reading = histories({contract: assets for contract, (_, assets) in feeds.items()}, wanted, seconds)
    try:
        calls = next(reading)
        while True:
            calls = reading.send([feeds[call.target][0].answer(call) for call in calls])
    except StopIteration as done:
        found: dict[bytes, tuple[tuple[int, int], ...]] = done.value
        return found


def hourly(days: int, sigma_day: float = 0.05) -> list[tuple[int, int]]:
    chance, log, rounds = random.Random(2), 0.0, []
    for hour in range(24 * days + 1):
        rounds.append((NOW - 24 * days * 3600 + hour * 3600, round(2_000e8 * math.exp(log))))
        log += chance.gauss(0, sigma_day / math.sqrt(24))
    return rounds


def test_rounds_are_spread_over_the_time_asked_for() -> None:
    """Of forty days of hourly rounds, the last twenty, every second or third: oldest first, the latest among them."""
    feed = Feed(hourly(40))
    found = read({b"f" * 20: (feed, [asset(0)])})[asset(0)]
    assert found == tuple(sorted(found))
    assert found[-1] == feed.rounds[-1]
    assert NOW - 21 * DAY < found[0][0] < NOW - 19 * DAY
    assert feed.asked <= SAMPLES + 2


def test_a_young_feed_gives_what_it_has() -> None:
    feed = Feed(hourly(1))
    assert read({b"f" * 20: (feed, [asset(0)])})[asset(0)] == tuple(feed.rounds)


def test_what_cannot_be_known_is_left_out() -> None:
    """A price of two feeds, a feed that answers nothing, an asset nobody asked for."""
    both, silent = Feed(hourly(2)), Feed([])
    feeds = {b"a" * 20: (both, [asset(0), asset(1)]), b"b" * 20: (both, [asset(1)]), b"c" * 20: (silent, [asset(2)])}
    assert set(read(feeds)) == {asset(0)}
    assert read({}) == {}


def test_a_seeded_state_is_what_observing_the_rounds_gives() -> None:
    rounds = hourly(15)
    price = Price(3 * rounds[-1][1], 8)  # in another unit: three times the answer
    found = seeded(MEMORIES, {asset(0): rounds}, {asset(0): price, asset(1): Price(WAD, 18)}, NOW, 20 * DAY)
    assert found is not None
    begin = rounds[0][0] // BAR_S * BAR_S
    expected = Volatility.empty(MEMORIES, begin)
    for end in range(begin + BAR_S, NOW + 1, BAR_S):
        last = [answer for at, answer in rounds if at < end][-1]
        expected = expected.since({asset(0): Price(3 * last, 8)}, end)
    assert dump_volatility(found) == dump_volatility(expected)
    place = found.places[asset(0)]
    daily = math.sqrt(found.moments[1, place, place] / found.data[1, place] * BARS_PER_DAY)
    assert daily == pytest.approx(0.05, rel=0.25)


def test_without_rounds_there_is_no_state() -> None:
    assert seeded(MEMORIES, {}, {asset(0): Price(1, 8)}, NOW, DAY) is None
    assert seeded(MEMORIES, {asset(0): [(NOW - 5, 1)]}, {asset(0): Price(1, 8)}, NOW, DAY) is None
