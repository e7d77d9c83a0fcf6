"""How likely a position breaches within a time, when its log health moves as Brownian motion.

The health of one collateral against one debt is a lognormal, for which the reflection principle gives the answer in
closed form. Of several assets it is a ratio of sums of lognormals: to first order the log health moves by w·r with w
the share of each asset, which is `basket_sigma`, and `simulate_breach` says what that leaves out.

`distance` is the log of the health: how far the log health may fall until 1. Volatilities are per square root of a
day, horizons in days. Floats: what is said here selects when to tell people, and decides nothing about money.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NORMAL = NormalDist()


def breach_probability(distance: float, sigma_day: float, days: float, drift_day: float = 0.0) -> float:
    """Probability that a Brownian motion with this volatility and drift falls by `distance` within `days`.

    The first-passage law: Φ((−d − μT)/σ√T) + exp(−2μd/σ²) Φ((−d + μT)/σ√T); without drift 2Φ(−d/σ√T), which is the
    reflection principle. Source: Karatzas and Shreve, Brownian Motion and Stochastic Calculus, 3.5.C.
    """
    if distance <= 0:
        return 1.0
    spread = sigma_day * math.sqrt(days)
    if spread <= 0:
        return 1.0 if drift_day * days <= -distance else 0.0
    moved = drift_day * days
    direct = _NORMAL.cdf((-distance - moved) / spread)
    mirrored = _NORMAL.cdf((-distance + moved) / spread)
    if mirrored == 0.0:
        return direct
    return min(1.0, direct + math.exp(-2 * drift_day * distance / sigma_day**2 + math.log(mirrored)))


def sigmas_within(probability: float) -> float:
    """The distance, in standard deviations of the whole horizon, that is breached with this probability within it.

    The inverse of 2Φ(−z). Raises ValueError unless 0 < probability < 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability {probability} must lie between 0 and 1")
    return -_NORMAL.inv_cdf(probability / 2)


def days_until(probability: float, distance: float, sigma_day: float) -> float:
    """The horizon within which a breach has just this probability, in days; infinite when nothing moves."""
    if distance <= 0:
        return 0.0
    return math.inf if sigma_day <= 0 else (distance / (sigmas_within(probability) * sigma_day)) ** 2


def basket_sigma(weights: Floats, covariance_day: Floats) -> float:
    """Volatility of w·r, per square root of a day. weights: the share of each asset in the collateral, less its share
    in the debt."""
    return math.sqrt(max(float(weights @ covariance_day @ weights), 0.0))


def simulate_breach(
    collateral_values: Sequence[float],
    debt_values: Sequence[float],
    covariance_day: Floats,
    days: float,
    *,
    seed: int = 0,
    paths: int = 20_000,
    steps: int = 32,
) -> float:
    """Probability that Σ collateral falls below Σ debt within `days`, each asset a lognormal without drift in its log.

    collateral_values, debt_values: by asset, what it now adds to either side, thresholds applied. Antithetic paths of
    equal steps; between two steps the log health is taken for a Brownian bridge, whose chance to have dipped below is
    known, so that few steps do. The same seed gives the same answer. Standard error about √(p(1−p)/paths).
    """
    held, owed = np.asarray(collateral_values, np.float64), np.asarray(debt_values, np.float64)
    if held.sum() < owed.sum():
        return 1.0
    root = _root(covariance_day * (days / steps))
    draws = np.random.default_rng(seed).standard_normal((steps, paths // 2, len(held)))
    logs = np.zeros((2 * (paths // 2), len(held)))
    before = np.full(len(logs), math.log(held.sum() / owed.sum()))
    safe = np.ones(len(logs))
    for draw in draws:
        move = draw @ root.T
        logs += np.concatenate((move, -move))
        growth = np.exp(logs)
        up, down = growth * held, growth * owed
        collateral, debt = up.sum(axis=1), down.sum(axis=1)
        after = np.log(collateral / debt)
        weights = up / collateral[:, None] - down / debt[:, None]
        variance = np.einsum("pi,pi->p", weights @ root, weights @ root)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            dipped = np.exp(-2 * before * after / variance)
        dipped = np.where((before <= 0) | (after <= 0), 1.0, np.where(variance > 0, dipped, 0.0))
        safe *= 1 - dipped
        before = after
    return float(1 - safe.mean())


def _root(covariance: Floats) -> Floats:
    """A square root of a covariance that may be singular: pegged assets move as one."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.clip(values, 0.0, None))
    return root
