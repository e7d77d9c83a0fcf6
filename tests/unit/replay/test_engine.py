"""A replay that looks at few moments finds what the daemon's judge finds by looking at all of them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from keeper.core.records import Told
from keeper.core.types import Block, BlockRef, Book
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.judge import Judge
from keeper.evaluator.notices import due_all
from keeper.replay.engine import replay
from keeper.replay.history import History
from keeper.replay.market import Market, WholeUnits
from keeper.replay.positions import Balances, Track
from tests.unit.evaluator.builders import RULES
from tests.unit.replay.files import START, position, read, silent

ASSETS = ("ETH", "BTC", "USD", "USDX")
RULES_BY_NAME = {
    "by health": RULES,
    "by both": Adaptive(),
    "by probability": Adaptive(call=None, probability=0.2, memories_s=(3_600, 86_400), parkinson=True),
}


def series(seed: int) -> list[tuple[int, str, object]]:
    """Prices at uneven moments, with gaps of days, calm and wild days, an asset that comes later, and a pegged pair."""
    chance = random.Random(seed)
    values = {"ETH": 2000.0, "BTC": 30000.0, "USD": 1.0, "USDX": 1.0}
    rows: list[tuple[int, str, object]] = []
    now, wild = START, 1.0
    for number in range(600):
        now += chance.choice((60, 60, 600, 900, 3600)) if chance.random() > 0.01 else 200_000
        wild = chance.choice((0.3, 1.0, 4.0)) if chance.random() < 0.01 else wild
        common = chance.gauss(0, 0.004 * wild)
        for asset in ASSETS:
            pegged = asset.startswith("USD")
            moved = chance.gauss(0, 0.0008) if pegged else common + chance.gauss(0, 0.002 * wild)
            values[asset] = 1.0 + moved if pegged else values[asset] * (1 + moved)
            if (asset != "BTC" or number > 60) and (number == 0 or chance.random() < 0.8):
                rows.append((now, asset, f"{values[asset]:.9f}"))
    return rows


def holders(seed: int, rows: list[tuple[int, str, object]]) -> list[dict[str, Any]]:
    """Positions near the lines: one asset or several, pegged, short, replaced on the way, and with and without debt."""
    chance = random.Random(seed)
    worth = {"ETH": 2000.0, "BTC": 30000.0, "USD": 1.0, "USDX": 1.0}
    end = rows[-1][0]
    found = []
    for number in range(14):
        name, start = f"p{number}", START + chance.randrange(0, (end - START) // 2)
        for version in range(chance.choice((1, 1, 2, 3))):
            held = chance.sample(ASSETS, chance.choice((1, 1, 2)))
            owed = [chance.choice([asset for asset in ASSETS if asset not in held])]
            health = chance.choice((1.0, 1.005, 1.02, 1.05, 1.1, 1.15, 1.3))
            collateral = [(asset, f"{1000 / worth[asset] / len(held):.18f}") for asset in held]
            debt = [(asset, f"{800 / worth[asset] / health:.18f}") for asset in owed]
            if version and chance.random() < 0.2:
                debt = []
            rates = {asset: "0.5" for asset in owed if chance.random() < 0.5}
            found.append(position(name, collateral=collateral, debt=debt, start=start, to=end + 100, rates=rates))
            start = min(start + chance.randrange(1, 10**6), end)
    return sorted(found, key=lambda row: (row["position"], row["from"]))


def looking_at_everything(history: History, tracks: list[Track], rule: BandRules | Adaptive) -> dict[str, list[object]]:
    """Every moment through the judge as the daemon asks it: by position its openings, closings and notices."""
    moments = {one.since for track in tracks for one in track.balances} | {track.to for track in tracks}
    history = history.with_moments(moments)
    market = Market.of(history.assets, tracks)
    adapter: Any = WholeUnits({track.position.encode(): b"a" for track in tracks})
    judge: Judge[Market, Balances] = Judge(adapter, rule, acts=False)
    book: Book[Market, Balances] = Book(market)
    judge.reload(book, ())
    told: dict[str, Told] = {}
    found: dict[str, list[object]] = {track.position: [] for track in tracks}
    for place, at in enumerate(history.times.tolist()):
        judge.advance(book, at)
        changed = {}
        for track in tracks:
            present = [one for one in track.balances if one.since <= at]
            key = track.position.encode()
            if present and book.positions.get(key) is not present[-1]:
                changed[key] = present[-1]
        book.prices = history.exact(place)
        book.positions.update(changed)
        judge.apply(book, changed)
        if place % 97 == 0:
            judge.sort(book, at)
        block = Block(BlockRef(place, place.to_bytes(32, "big")), b"", at)
        ruling = judge.judge(book, block, changed=changed)
        judge.accept(ruling)
        for step in ruling.steps:
            if step.told:
                found[step.after.position].append((at, step.after.last.event, step.after.last.band.label))
        closed = [step.after for step in ruling.steps if not step.after.is_open]
        for due in due_all(told, judge.episodes.values(), closed, ruling.unknown):
            found[due.position].append((at, "notice"))
            told[due.position] = Told(due.position, due.episode, due.event, due.depth.label, place, block.hash)
    return found


@pytest.mark.parametrize("name", RULES_BY_NAME)
def test_a_replay_finds_what_a_judge_of_every_moment_finds(name: str, tmp_path: Path) -> None:
    """Openings, escalations, closings with their reasons, and notices, each at its moment."""
    rule, seen = RULES_BY_NAME[name], Counter[str]()
    for seed in range(2):
        rows = series(seed)
        history, tracks = read(tmp_path, rows, holders(seed, rows))
        everything = looking_at_everything(history, tracks, rule)
        for outcome in replay(history, tracks, rule, silent):
            events = everything[outcome.position]
            opened = [one[0] for one in events if one[1] == "opened"]
            closed = [(one[0], one[1]) for one in events if one[1] in ("cured", "repaid", "liquidated")]
            assert [call.opened for call in outcome.calls] == opened
            assert [(call.closed, call.reason) for call in outcome.calls if call.closed is not None] == closed
            assert outcome.notices == [one[0] for one in events if one[1] == "notice"]
            urgent = [
                one[0] for one in events if one[1] in ("opened", "escalated") and one[2] in ("urgent", "liquidatable")
            ]
            assert [call.urgent for call in outcome.calls if call.urgent] == sorted(
                {min(at for at in urgent if at >= call.opened) for call in outcome.calls if call.urgent}
            )
            seen.update(reason or "open" for _, reason in closed)
            seen["opened"] += len(opened)
            seen["breached"] += outcome.liquidatable_at is not None
    assert seen["opened"] > 10
    assert seen["cured"] > 1
    assert seen["repaid"] > 0
    assert seen["breached"] > 3
