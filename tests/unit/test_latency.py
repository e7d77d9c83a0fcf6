"""From a head to what followed: each stage once a block, of the head that it was because of, in buckets that add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.latency import BOUNDS_US, STAGES, Histogram, Latency, summary
from keeper.pulse import Pulse
from keeper.queries.stats import rows_of, span


class Clock:
    def __init__(self) -> None:
        self.now_us = 0

    def __call__(self) -> int:
        return self.now_us * 1_000


def counts(latency: Latency) -> dict[str, int]:
    return {stage: sum(said["counts"]) for stage, said in latency.read()["stages"].items()}


def test_a_stage_counts_once_a_block_from_its_own_head() -> None:
    clock = Clock()
    latency = Latency(clock)
    latency.begin(0)
    clock.now_us = 400
    latency.reached("judged")
    clock.now_us = 900
    latency.reached("judged")
    assert summary(latency.read()["stages"]["judged"])["max_us"] == 400
    assert counts(latency) == {**dict.fromkeys(STAGES, 0), "judged": 1}


def test_an_answer_that_comes_in_a_later_block_counts_from_the_head_it_was_sent_for() -> None:
    clock = Clock()
    latency = Latency(clock)
    latency.begin(0)
    accepted = latency.later("accepted")
    latency.begin(10_000_000)
    clock.now_us = 12_000
    accepted()
    assert summary(latency.read()["stages"]["accepted"])["max_us"] == 12_000


def test_inclusion_counts_from_head_to_head() -> None:
    clock = Clock()
    latency = Latency(clock)
    latency.begin(0)
    latency.sent(["a", "b"])
    latency.begin(12_000_000_000)
    for intent in ("a", "a", "unknown"):
        latency.included(intent)
    assert summary(latency.read()["stages"]["included"]) == {
        "count": 1,
        "mean_us": 12_000_000,
        "p50_us": 12_000_000,
        "p90_us": 12_000_000,
        "p99_us": 12_000_000,
        "max_us": 12_000_000,
    }


def test_of_a_block_that_nobody_announced_nothing_is_counted() -> None:
    latency = Latency(Clock())
    latency.begin(None)
    latency.reached("judged")
    latency.sent(["a"])
    latency.begin(5)
    latency.included("a")
    assert sum(counts(latency).values()) == 0


@given(st.lists(st.integers(0, 200_000_000), min_size=1, max_size=50))
def test_quantiles_are_upper_bounds_none_above_the_largest_and_nothing_is_lost(samples: list[int]) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    found = summary(histogram.read())
    assert (found["count"], found["max_us"]) == (len(samples), max(samples))
    assert sum(histogram.counts) == len(samples)
    ranked = sorted(samples)
    for name, part in (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99)):
        bound, at_least = found[name], ranked[max(-(-len(ranked) * int(part * 100) // 100) - 1, 0)]
        assert (bound is None and at_least > BOUNDS_US[-1]) or (bound is not None and at_least <= bound <= max(samples))


def test_what_people_and_programs_are_shown_comes_from_the_pulse() -> None:
    latency = Latency(lambda: 1_500_000)
    latency.begin(0)
    latency.reached("judged")
    pulse = Pulse(at=0.0, started_at=0.0, pid=1, chain_id=1, program="", sections={"latency": latency.read()})
    [quick, judged, *others] = rows_of(pulse)
    assert (quick["stage"], quick["count"]) == ("quick", 0)
    assert judged == {
        "stage": "judged",
        "count": 1,
        "mean_us": 1_500,
        "p50_us": 1_500,
        "p90_us": 1_500,
        "p99_us": 1_500,
        "max_us": 1_500,
    }
    assert [row["count"] for row in others] == [0] * 4
    assert [span(value) for value in (None, 70, 1_500, 12_000_000)] == ["-", "70 µs", "1.5 ms", "12 s"]
    assert rows_of(Pulse(0.0, 0.0, 1, 1, "")) == []
