"""When to look again: the budget holds whatever looks cost and however they fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.watch.pace import BURST, Pace


def test_a_calm_position_is_looked_at_every_minute_and_a_near_one_four_times_as_often() -> None:
    """Counted from look to look, not from the end of one to the beginning of the next."""
    pace = Pace(60, 15, 1200)
    assert pace.rest_s(requests=4, took_s=1.0, near=False, limited=False) == 59
    assert pace.rest_s(requests=4, took_s=1.0, near=True, limited=False) == 14


def test_a_node_that_limits_is_asked_half_as_often_until_it_no_longer_does() -> None:
    pace = Pace(60, 15, 1200)
    rests = [pace.rest_s(requests=1, took_s=0, near=False, limited=limited) for limited in (True, True, True, True)]
    assert rests == [120, 240, 480, 480]
    rests = [pace.rest_s(requests=1, took_s=0, near=False, limited=False) for _ in range(4)]
    assert rests == [240, 120, 60, 60]


@pytest.mark.parametrize(("near", "expected"), [(False, 240), (True, 960)])
def test_a_steady_hour_costs_what_the_manual_says(near: bool, expected: int) -> None:
    """Four requests per look: 240 an hour while calm, 960 while near; what is final adds six."""
    pace, elapsed, requests = Pace(60, 15, 1200), 0.0, 0
    while elapsed < 3600:
        requests += 4
        elapsed += 0.5 + pace.rest_s(requests=4, took_s=0.5, near=near, limited=False)
    assert requests == expected


looks = st.tuples(st.integers(0, 80), st.floats(0, 30), st.booleans(), st.booleans())


@given(st.lists(looks, min_size=1, max_size=300), st.integers(60, 5000))
def test_no_hour_goes_beyond_the_budget_and_one_burst(
    history: list[tuple[int, float, bool, bool]], per_hour: int
) -> None:
    """Every window of an hour, beginning with any look. A single look may itself be larger than the burst."""
    pace, now = Pace(1, 0.1, per_hour), 0.0
    sent: list[tuple[float, int]] = []
    for requests, took_s, near, limited in history:
        sent.append((now, requests))
        now += took_s + pace.rest_s(requests=requests, took_s=took_s, near=near, limited=limited)
    largest = max(count for _, count in sent)
    for began, _ in sent:
        within = sum(count for at, count in sent if began <= at < began + 3600)
        assert within <= per_hour + BURST + largest + 1
