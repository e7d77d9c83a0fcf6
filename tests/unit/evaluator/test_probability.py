"""Closed forms against simulation, and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keeper.evaluator.probability import (
    basket_sigma,
    breach_probability,
    days_until,
    sigmas_within,
    simulate_breach,
)


def test_without_drift_it_is_the_reflection_principle() -> None:
    """Twice the chance to end below: 2Φ(−1) at one standard deviation, 2Φ(−2) at two."""
    assert breach_probability(0.05, 0.05, 1.0) == pytest.approx(0.3173105, abs=1e-7)
    assert breach_probability(0.2, 0.05, 4.0) == pytest.approx(0.0455003, abs=1e-7)


def test_a_breached_position_is_breached_and_a_still_one_never_will_be() -> None:
    assert breach_probability(0.0, 0.05, 1.0) == 1.0
    assert breach_probability(0.1, 0.0, 1.0) == 0.0
    assert breach_probability(0.1, 0.0, 10.0, drift_day=-0.02) == 1.0
    assert days_until(0.5, 0.1, 0.0) == math.inf


@pytest.mark.parametrize("drift", [-0.02, 0.0, 0.015])
def test_drift_agrees_with_a_simulated_walk(drift: float) -> None:
    """A random walk of 2,000 steps a day misses dips between its steps: 0.5826 of a step's deviation, by which the line
    is moved nearer (Broadie, Glasserman and Kou, 1997)."""
    distance, sigma, days, steps = 0.08, 0.05, 2.0, 4_000
    random = np.random.default_rng(7)
    moves = random.normal(drift * days / steps, sigma * math.sqrt(days / steps), (4_000, steps))
    lowest = moves.cumsum(axis=1).min(axis=1)
    seen = float((lowest <= -distance + 0.5826 * sigma * math.sqrt(days / steps)).mean())
    assert seen == pytest.approx(breach_probability(distance, sigma, days, drift), abs=0.02)


@pytest.mark.parametrize("probability", [0.001, 0.08, 0.5, 0.95])
def test_the_time_of_a_probability_is_its_inverse(probability: float) -> None:
    days = days_until(probability, 0.1, 0.04)
    assert breach_probability(0.1, 0.04, days) == pytest.approx(probability, rel=1e-9)
    assert 2 * (1 - 0.5 * (1 + math.erf(sigmas_within(probability) / math.sqrt(2)))) == pytest.approx(probability)


@pytest.mark.parametrize("probability", [0.0, 1.0, -1.0])
def test_no_probability_has_no_distance(probability: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sigmas_within(probability)


def test_the_simulation_of_one_asset_against_money_meets_the_closed_form() -> None:
    """The log of the price has no drift, so the bridge between steps leaves nothing but sampling error."""
    covariance = np.diag([0.05**2, 0.0])
    simulated = simulate_breach([110.0, 0.0], [0.0, 100.0], covariance, 3.0, seed=1, paths=40_000)
    assert simulated == pytest.approx(breach_probability(math.log(1.1), 0.05, 3.0), abs=0.008)


def test_the_same_seed_gives_the_same_answer() -> None:
    covariance = np.array([[0.0025, 0.002], [0.002, 0.0036]])
    answers = {simulate_breach([60, 50], [0, 100], covariance, 2.0, seed=9, paths=2_000) for _ in range(3)}
    assert len(answers) == 1


def test_a_basket_is_nearly_a_lognormal_of_its_first_order_volatility() -> None:
    """Two correlated collaterals: the reduction that bands use is within two points of the simulation."""
    covariance = np.array([[0.0025, 0.0018, 0.0], [0.0018, 0.0036, 0.0], [0.0, 0.0, 1e-6]])
    held, owed = np.array([70.0, 45.0, 0.0]), np.array([0.0, 0.0, 100.0])
    sigma = basket_sigma(held / held.sum() - owed / owed.sum(), covariance)
    reduced = breach_probability(math.log(1.15), sigma, 3.0)
    assert simulate_breach(held.tolist(), owed.tolist(), covariance, 3.0, seed=3) == pytest.approx(reduced, abs=0.02)


def test_a_pegged_pair_hardly_ever_breaches() -> None:
    """Its assets are wild, and move as one: the covariance is singular."""
    covariance = np.full((2, 2), 0.05**2)
    assert simulate_breach([102.0, 0.0], [0.0, 100.0], covariance, 3.0, paths=1_000) == 0.0
    assert basket_sigma(np.array([1.0, -1.0]), covariance) == 0.0
