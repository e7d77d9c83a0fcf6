"""One margin call, as the shipped evaluator judges a made-up history of two days."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from keeper.config.margin_calls import MarginCalls
from keeper.config.thresholds import rule_of
from keeper.evaluator.bands import BandRules
from keeper.replay.engine import replay
from keeper.replay.history import read_history
from keeper.replay.outcome import Outcome
from keeper.replay.positions import read_positions
from pictureslib.svg import curve, line, picture, text

_RULES = {"by": "health", "watch": "1.25", "call": "1.10", "urgent": "1.03", "hysteresis": "0.02", "target": "1.25"}
_START, _STEP_S, _HOURS = 1_704_067_200, 300, 48
_COLLATERAL, _THRESHOLD_BPS, _DEBT = 10, 8_300, 13_000
_REPAID_AT_H, _REPAID = 31, 2_200
_FALLING = ((0, 1.30), (6, 1.22), (11, 1.13), (13, 1.098), (19, 1.104), (23, 1.025))
_HEALTHS = (*_FALLING, (27, 1.075), (31, 1.06), (40, 1.09), (48, 1.12))
"""Hours, and the health that the price gives before anything is repaid."""

_LEFT, _TOP, _WIDTH, _HEIGHT = 62, 46, 650, 300
_LABELS = {"watch": (14, -5), "cured at": (14, 14)}
"""Where a line's name stands instead of at its beginning: hours, and pixels below the line."""
_LOW, _HIGH = 1.0, 1.36


def draw() -> str:
    rules = rule_of(MarginCalls.model_validate(_RULES))
    assert isinstance(rules, BandRules)
    prices = list(_prices())
    outcome = _judged(prices, rules)
    return picture(
        760,
        470,
        "Health falls below the call line, an episode opens and is told once; it trembles on the line in silence, "
        "becomes urgent and is told again; the owner repays, and the call is cured",
        [*_axes(rules), curve((_x(hour), _y(_health(hour, price))) for hour, price in prices), *_told(outcome, prices)],
    )


def _prices() -> Iterator[tuple[float, float]]:
    """Hours and prices: straight from one health to the next, with a tremble."""
    for step in range(_HOURS * 3600 // _STEP_S + 1):
        hour = step * _STEP_S / 3600
        (h0, a), (h1, b) = next(pair for pair in pairwise(_HEALTHS) if pair[0][0] <= hour <= pair[1][0])
        health = a + (b - a) * (hour - h0) / (h1 - h0)
        health += 0.006 * math.sin(2.1 * hour) * math.sin(0.9 * hour) + 0.004 * math.sin(7.3 * hour)
        yield hour, health * _DEBT * 10_000 / (_COLLATERAL * _THRESHOLD_BPS)


def _health(hour: float, price: float) -> float:
    debt = _DEBT - (_REPAID if hour >= _REPAID_AT_H else 0)
    return price * _COLLATERAL * _THRESHOLD_BPS / 10_000 / debt


def _judged(prices: Sequence[tuple[float, float]], rules: BandRules) -> Outcome:
    ether = f'{{"asset": "ETH", "amount": "{_COLLATERAL}", "liquidation_threshold_bps": {_THRESHOLD_BPS}}}'
    end = _START + _HOURS * 3600

    def position(since_h: int, debt: int) -> str:
        return (
            f'{{"position": "p", "account": "a", "from": {_START + since_h * 3600}, "to": {end}, '
            f'"collaterals": [{ether}], "debts": [{{"asset": "USDC", "amount": "{debt}"}}], "borrow_rates": {{}}}}\n'
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = "".join(f"{_START + round(hour * 3600)},ETH,{price:.6f}\n" for hour, price in prices)
        (folder / "prices.csv").write_text(f"timestamp,asset,price\n{_START},USDC,1\n{rows}")
        (folder / "positions.jsonl").write_text(position(0, _DEBT) + position(_REPAID_AT_H, _DEBT - _REPAID))
        history = read_history(folder / "prices.csv", lambda *_: None)
        (outcome,) = replay(history, read_positions(folder / "positions.jsonl", history.assets), rules, lambda *_: None)
    return outcome


def _x(hour: float) -> float:
    return _LEFT + _WIDTH * hour / _HOURS


def _y(health: float) -> float:
    return _TOP + _HEIGHT * (_HIGH - health) / (_HIGH - _LOW)


def _axes(rules: BandRules) -> Iterator[str]:
    lines = (
        ("watch", rules.watch_wad, "soft"),
        ("call", rules.call_wad, "warn"),
        ("urgent", rules.urgent_wad, "bad"),
        ("liquidatable", 10**18, "bad"),
        ("cured at", rules.closes_wad, "accent"),
    )
    for name, wad, color in lines:
        y = _y(wad / 1e18)
        yield line(_LEFT, y, _LEFT + _WIDTH, y, color=color, dashed=name != "liquidatable")
        hour, below = _LABELS.get(name, (0.3, -5))
        yield text(_x(hour), y + below, f"{name} {wad / 1e18:.2f}", kind="soft", color=color)
    for hour in range(0, _HOURS + 1, 6):
        yield text(_x(hour), _TOP + _HEIGHT + 18, f"{hour} h", kind="soft", anchor="middle")
    yield text(_LEFT, 24, "health of one position", kind="title")


def _told(outcome: Outcome, prices: Sequence[tuple[float, float]]) -> Iterator[str]:
    """The episode below the axis, and a mark where each notice was due."""
    (call,) = outcome.calls
    top = _TOP + _HEIGHT + 34
    assert call.closed is not None
    opened, closed = ((at - _START) / 3600 for at in (call.opened, call.closed))
    yield (
        f'<rect x="{_x(opened):.1f}" y="{top}" width="{_x(closed) - _x(opened):.1f}" height="22" rx="4" '
        'fill="var(--shade)" stroke="var(--accent)"/>'
    )
    yield text((_x(opened) + _x(closed)) / 2, top + 15, "episode: one call", kind="soft", anchor="middle")
    yield text(_x(opened) - 8, top + 15, "told", kind="soft", anchor="end")
    names = ["opened", "escalated: urgent", str(call.reason)]
    assert len(outcome.notices) == len(names), outcome.notices
    for name, at in zip(names, outcome.notices, strict=True):
        hour = (at - _START) / 3600
        health = _health(hour, next(price for h, price in prices if h >= hour))
        yield line(_x(hour), _y(health), _x(hour), top + 30, color="soft", dashed=True)
        yield f'<circle cx="{_x(hour):.1f}" cy="{_y(health):.1f}" r="4.5" fill="var(--accent)"/>'
        yield text(_x(hour), top + 46, name, kind="soft", anchor="middle")
    yield text(_x(16.2), _y(1.135), "trembles: silence", kind="soft", anchor="middle")
    yield text(_x(_REPAID_AT_H) - 8, _y(1.175), "the owner repays", kind="soft", anchor="end")
