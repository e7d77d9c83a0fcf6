"""On the shipped Aave adapter, in every variant of its arithmetic, sparing rules like evaluating everything."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from keeper.core.types import Band, Block, BlockRef, Book, Price
from keeper.core.units import RAY, WAD
from keeper.evaluator.episodes import Episode, step
from keeper.evaluator.judge import Judge
from keeper.evaluator.judgement import Judgement
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.options import Options
from keeper.protocols.aave_v3.rules import Rules
from keeper.protocols.aave_v3.state import Account, EMode, Market
from tests.support import aave_market as build
from tests.unit.evaluator.builders import RULES, wad

ADAPTER = AaveV3("aave", 0, Options(pool_addresses_provider=b"\x02" * 20))
DECIMALS = (18, 8, 6, 18)
WORTH = (2_000 * 10**8, 90_000 * 10**8, 10**8, 10**8)
LINES = (WAD, RULES.urgent_wad, wad("1.05"), RULES.call_wad, wad("1.12"), RULES.closes_wad)


class World:
    """A pool of four reserves with interest running; accounts from dust to fortunes, mostly near a threshold."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.random = chance = random.Random(seed)
        reserves = [
            build.reserve(
                number,
                decimals=decimals,
                liquidation_threshold_bps=chance.randint(5000, 9300),
                liquidity_index_ray=chance.randint(RAY, 2 * RAY),
                liquidity_rate_ray=chance.randint(0, RAY // 10),
                debt_index_ray=chance.randint(RAY, 2 * RAY),
                debt_rate_ray=chance.randint(0, RAY // 5),
                updated_at=build.NOW,
            )
            for number, decimals in enumerate(DECIMALS)
        ]
        state = build.market(*reserves, rules=rules, emodes=(EMode(1, 9500, 10100, 0b0011),))
        self.worth = list(WORTH)
        self.now = build.NOW
        self.book: Book[Market, Account] = Book(state, self.prices(), {})
        for number in range(30):
            self.book.positions[bytes([number]) * 20] = self.holder()
        self.judge = Judge(ADAPTER, RULES)
        self.judge.reload(self.book, ())
        self.open: dict[bytes, Episode] = {}
        self.seen: Counter[str] = Counter()

    def prices(self) -> dict[bytes, Price]:
        return {build.asset(number): Price(value, 8) for number, value in enumerate(self.worth)}

    def holder(self) -> Account:
        """At a line, to about one part in 10^9 or one token unit, whichever is more."""
        chance, market = self.random, self.market
        value = 10 ** chance.uniform(2, 16)

        def scaled(number: int) -> int:
            return max(1, int(value * chance.uniform(0.1, 1) / self.worth[number] * 10 ** DECIMALS[number]))

        supplies = {number: scaled(number) for number in chance.sample(range(4), chance.randint(1, 3))}
        debts = {number: scaled(number) for number in chance.sample(range(4), chance.randint(1, 2))}
        emode = chance.randint(0, 1)
        factor = ADAPTER.health(market, self.prices(), build.account(supplies, debts, emode), self.now).factor_wad
        if factor:
            wanted = chance.choice((*LINES, chance.randint(wad("0.9"), wad("1.5")))) + chance.randint(-(10**9), 10**9)
            debts = {number: max(1, owed * factor // wanted) for number, owed in debts.items()}
        return build.account(supplies, debts, emode)

    @property
    def market(self) -> Market:
        assert self.book.market is not None
        return self.book.market

    def block(self, number: int) -> None:
        chance = self.random
        self.now += chance.choice((2, 12, 12, 3600))
        largest = chance.choice((0, 0, 5, 300))
        self.worth = [value + value * chance.randint(-largest, largest) // 10_000 for value in self.worth]
        self.book.prices = self.prices()
        changed = [key for key in self.book.positions if chance.random() < 0.05]
        for key in changed:
            self.book.positions[key] = self.holder()
        self.judge.apply(self.book, changed)
        if chance.random() < 0.2:
            self.judge.sort(self.book, self.now)
        at = Block(BlockRef(number, number.to_bytes(32, "big")), b"", self.now)
        then = self.now + chance.choice((2, 12, 10**6))
        ruling = self.judge.judge(self.book, at, changed=changed, also_at=then)
        steps: dict[bytes, Episode] = {}
        for key in sorted(self.book.positions):
            judgement = self.exactly(key, then)
            assert (key in ruling.judgements and ruling.judgements[key].breached) == judgement.breached
            before = self.open.get(key)
            after = step(before, judgement, at, RULES, "aave")
            if after is not None and after is not before:
                steps[key] = after
        assert {one.after.key: one.after for one in ruling.steps} == steps
        self.open = {key: episode for key, episode in {**self.open, **steps}.items() if episode.is_open}
        self.judge.accept(ruling)
        self.seen.update(episode.last.event for episode in steps.values())
        self.seen["spared"] += sum(key not in ruling.judgements for key in self.open)

    def exactly(self, key: bytes, then: int) -> Judgement:
        held = self.book.positions[key]
        health, later = (ADAPTER.health(self.market, self.book.prices, held, now) for now in (self.now, then))
        band = RULES.band(health)
        assert band is not None and band >= Band.SAFE
        return Judgement(key, ADAPTER.position_id(key), key, health, later, band, False)


@pytest.mark.parametrize("rules", [build.V36, build.V30], ids=["v3.6", "v3.0"])
def test_the_judge_misses_nothing_on_aave(rules: Rules) -> None:
    """Dust, eight-decimal tokens, e-mode, accruing interest and truncated thresholds included."""
    seen: Counter[str] = Counter()
    for seed in range(12):
        world = World(seed, rules)
        for number in range(40):
            world.block(number)
        seen.update(world.seen)
    assert {what for what in ("opened", "escalated", "cured", "spared") if seen[what] > 50} == {
        "opened",
        "escalated",
        "cured",
        "spared",
    }
