"""A judge that looks at few positions rules exactly as one that evaluates every position in every block."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from keeper.core.types import Band, Block, BlockRef, Book, Liquidated, Prices
from keeper.core.units import WAD
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episode_json import dump_episode, load_episode
from keeper.evaluator.episodes import Episode, EpisodeStatus, step
from keeper.evaluator.judge import Judge, Ruling
from keeper.evaluator.judgement import Judgement
from keeper.evaluator.lines import Lines
from keeper.evaluator.volatility import Volatility
from keeper.evaluator.volatility_json import dump_volatility, load_volatility
from tests.support.linear_market import ASSETS, Holdings, LinearMarket, Market, asset, prices_of
from tests.unit.evaluator.builders import RULES, block, wad

ADAPTER = LinearMarket()
ACCOUNTS = [bytes([number]) * 20 for number in range(1, 13)]


def holding(health_wad: int, collateral: int = 0, debt: int = 1) -> Holdings:
    """A position of about this health while all prices are 1e18 and no time has passed."""
    worth = 10**22 * Market().thresholds_bps[collateral] // 10_000
    return Holdings({collateral: 10**22}, {debt: worth * WAD // health_wad})


def liquidation(account: bytes) -> Liquidated:
    return Liquidated(account, account, b"\x01" * 20, asset(1), 1, asset(0), 1, b"\x02" * 32, 0)


def exactly(
    book: Book[Market, Holdings], at: Block, key: bytes, then: int, liquidated: bool, rules: BandRules
) -> Judgement:
    held, market = book.positions.get(key), book.market
    assert market is not None
    if held is None:
        return Judgement(key, ADAPTER.position_id(key), key, None, None, Band.SAFE, liquidated)
    health = ADAPTER.health(market, book.prices, held, at.timestamp)
    later = ADAPTER.health(market, book.prices, held, then)
    return Judgement(key, ADAPTER.position_id(key), key, health, later, rules.band(health), liquidated)


class World:
    """Blocks change positions, prices, parameters and time; some are reverted; the house restarts and sorts at will.

    The reference keeps nothing but the stored episodes, and steps every position through every block.
    """

    def __init__(self, seed: int, rule: BandRules | Adaptive = RULES) -> None:
        self.random, self.rule = random.Random(seed), rule
        self.market, self.values, self.unpriced = Market(), [WAD] * ASSETS, set[int]()
        self.book: Book[Market, Holdings] = Book(self.market, prices_of(*self.values), {})
        self.judge = Judge(ADAPTER, rule)
        self.judge.reload(self.book, ())
        self.now, self.number, self.branch = 0, 0, 0
        self.open: dict[bytes, Episode] = {}
        self.stored: bytes | None = None  # the volatility
        self.past: list[tuple[Book[Market, Holdings], dict[bytes, Episode], int, int, bytes | None]] = []
        self.seen: Counter[str] = Counter()

    def turn(self) -> None:
        """One thing that happens to a daemon: nearly always a block."""
        happening = self.random.random()
        if happening < 0.04:
            self.judge.sort(self.book, self.now)
        elif happening < 0.06:
            self.restart()
        elif happening < 0.10 and self.past:
            self.revert(self.random.randint(1, min(4, len(self.past))))
        else:
            self.commit()
        assert self.judge.episodes == self.open

    def restart(self) -> None:
        """Nothing that a judge knows is lost when only the store survives."""
        self.judge = Judge(ADAPTER, self.rule)
        episodes = [load_episode(dump_episode(episode)) for episode in self.open.values()]
        self.judge.reload(self.book, episodes, self._volatility())

    def _volatility(self) -> Volatility | None:
        return None if self.stored is None else load_volatility(self.stored)

    def rules(self, key: bytes) -> BandRules:
        """As somebody draws them who looks at nothing but the book and the stored volatility."""
        lines = Lines(self.rule)
        lines.observe(self._volatility())
        return lines.of(ADAPTER, self.book, key, self.now)

    def revert(self, depth: int) -> None:
        """The store gives back the book and the episodes of the ancestor; the judge is told what differs."""
        orphaned = self.book
        self.book, self.open, self.now, self.number, self.stored = self.past[-depth]
        del self.past[-depth:]
        self.branch += 1
        positions = orphaned.positions.keys() | self.book.positions.keys()
        differ = [key for key in positions if orphaned.positions.get(key) != self.book.positions.get(key)]
        self.judge.observe(self._volatility())
        self.judge.apply(self.book, differ)
        self.judge.recall(self.open.values())
        self.seen["reverted"] += 1

    def commit(self) -> None:
        self.past.append((self.book, dict(self.open), self.now, self.number, self.stored))
        self.now, self.number = self.now + self.random.choice((12, 12, 12, 600, 50_000)), self.number + 1
        if self.judge.advance(self.book, self.now) and self.judge.volatility is not None:
            self.stored = dump_volatility(self.judge.volatility)
            self.seen["barred"] += 1
        self._move_market()
        prices = prices_of(*(None if n in self.unpriced else value for n, value in enumerate(self.values)))
        liquidated, changes = self._act(prices)
        positions = {**self.book.positions, **changes}
        self.book = Book(self.market, prices, {key: held for key, held in positions.items() if held is not None})
        at = Block(BlockRef(self.number, b"%28d%4d" % (self.number, self.branch)), b"", self.now)
        self.judge.apply(self.book, changes)
        events = [liquidation(account) for account in liquidated]
        then = self.now + self.random.choice((0, 12, 10**6))
        ruling = self.judge.judge(self.book, at, changed=changes, liquidations=events, also_at=then)
        self._compare(ruling, at, then, liquidated)
        self.judge.accept(ruling)

    def _move_market(self) -> None:
        chance = self.random.random
        for number in range(ASSETS):
            largest = 400 if chance() < 0.1 else 20
            self.values[number] += self.values[number] * self.random.randint(-largest, largest) // 10_000
            if chance() < (0.3 if number in self.unpriced else 0.02):
                self.unpriced ^= {number}
        if chance() < 0.02:
            change = self.random.randint(-100, 100)
            self.market = replace(self.market, thresholds_bps=tuple(bps + change for bps in Market().thresholds_bps))

    def _act(self, prices: Prices) -> tuple[set[bytes], dict[bytes, Holdings | None]]:
        liquidated, changes = set(), dict[bytes, Holdings | None]()
        for account in ACCOUNTS:
            chance = self.random.random()
            if chance < 0.04:
                changes[account] = self._near_a_line(prices)
            elif chance < 0.06:
                changes[account] = self.random.choice((None, Holdings({self.random.randrange(ASSETS): 5}, {})))
            elif chance < 0.09 and account in self.open:
                changes[account] = self.random.choice((None, self._near_a_line(prices)))
                liquidated.add(account)
        return liquidated, changes

    def _near_a_line(self, prices: Prices) -> Holdings:
        """A position at a random health, often within a few wei of a threshold."""
        collateral, debt = self.random.randrange(ASSETS), self.random.randrange(ASSETS)
        lines = (WAD, RULES.urgent_wad, wad("1.05"), RULES.call_wad, wad("1.12"), RULES.closes_wad)
        target = self.random.choice((*lines, self.random.randint(wad("0.9"), wad("1.4"))))
        held = holding(target + self.random.randint(-2, 2), collateral, debt)
        if self.random.random() < 0.5:
            held = Holdings(
                {**held.collateral, self.random.randrange(ASSETS): 10 ** self.random.randint(0, 21)}, held.debt
            )
        health = ADAPTER.health(self.market, prices, held, self.now)
        if health.factor_wad:  # scale the debt so that prices and interest do not matter
            held = Holdings(
                held.collateral, {n: max(1, owed * health.factor_wad // target) for n, owed in held.debt.items()}
            )
        return held

    def _compare(self, ruling: Ruling, at: Block, then: int, liquidated: set[bytes]) -> None:
        steps, breached = {}, set()
        for key in ACCOUNTS:
            rules = self.rules(key)
            judgement = exactly(self.book, at, key, then, key in liquidated, rules)
            if judgement.liquidated:
                judgement = replace(judgement, liquidations=(liquidation(key),))
            if key in ruling.judgements:
                ruled = ruling.judgements[key]
                assert ruled == replace(judgement, then=ruled.then)
                assert ruled.then in (None, judgement.then)
            if judgement.breached:
                breached.add(key)
            if judgement.unknown and self.book.positions[key].debt:
                assert judgement.position in ruling.unknown
            before = self.open.get(key)
            after = step(before, judgement, at, rules, ADAPTER.name)
            if after is not None and after is not before:
                steps[key] = after
        assert {judgement.key for judgement in ruling.breached} == breached
        assert {step_.after.key: step_.after for step_ in ruling.steps} == steps
        self.open.update(steps)
        self.open = {key: episode for key, episode in self.open.items() if episode.is_open}
        self.seen.update(episode.last.event for episode in steps.values())
        self.seen["breached"] += len(breached)
        self.seen["spared"] += len(ACCOUNTS) - len(ruling.judgements)


@pytest.mark.parametrize("rule", [RULES, Adaptive()], ids=["by health", "by volatility"])
def test_sparing_rules_like_evaluating_everything(rule: BandRules | Adaptive) -> None:
    """Steps, breaches and judgements equal those of a judge that evaluates every position in every block, whatever
    happens to the chain and to the daemon; and most positions are spared."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        world = World(seed, rule)
        for _ in range(80):
            world.turn()
        seen.update(world.seen)
    happened = {"opened", "escalated", "cured", "liquidated", "repaid", "breached", "reverted", "spared"}
    assert {what for what in happened if seen[what] >= 50} == happened
    assert (seen["barred"] > 50) == isinstance(rule, Adaptive)


def judged_once(judge: Judge[Market, Holdings], book: Book[Market, Holdings], at: Block) -> Ruling:
    ruling = judge.judge(book, at)
    judge.accept(ruling)
    return ruling


def book_of(**positions: Holdings) -> Book[Market, Holdings]:
    held = {bytes.fromhex(name[1:]) * 20: position for name, position in positions.items()}
    return Book(Market(since=block(0).timestamp), prices_of(*[WAD] * ASSETS), held)


def test_a_steady_block_evaluates_nobody_exactly() -> None:
    """An open call that stays in its band, and everybody safe, cost float work only."""
    book = book_of(x01=holding(wad("1.07")), x02=holding(wad("1.4")), x03=holding(wad("1.2")))
    judge = Judge(ADAPTER, RULES)
    judge.reload(book, ())
    assert [step_.after.band for step_ in judged_once(judge, book, block(1)).steps] == [Band.CALL]
    assert judged_once(judge, book, block(2)).judgements == {}


def test_a_debt_repaid_while_a_price_is_missing_is_noticed_when_the_price_returns() -> None:
    """Nobody can judge it meanwhile, it no longer has a row, and another position may have got that row."""
    one, two = (bytes([number]) * 20 for number in (1, 2))
    book = book_of(x01=holding(wad("1.05")))
    judge = Judge(ADAPTER, RULES)
    judge.reload(book, ())
    judged_once(judge, book, block(1))
    assert judged_once(judge, book, block(2)).steps == ()
    book.positions[one] = Holdings({2: 5}, {})
    book.prices = prices_of(WAD, WAD, None, WAD)
    judge.apply(book, [one])
    ruling = judge.judge(book, block(3), changed=[one])
    judge.accept(ruling)
    assert ruling.unknown == {ADAPTER.position_id(one)} and ruling.steps == ()
    book.positions[two] = holding(wad("1.4"))
    judge.apply(book, [two])
    judge.accept(judge.judge(book, block(4), changed=[two]))
    book.prices = prices_of(WAD * 7 // 10, WAD, WAD, WAD)
    steps = {step_.after.key: step_.after.status for step_ in judged_once(judge, book, block(5)).steps}
    assert steps == {one: EpisodeStatus.REPAID, two: EpisodeStatus.OPEN}


def test_interest_alone_can_breach_in_the_block_we_can_land_in() -> None:
    """Healthy now, liquidatable twelve seconds later: the executor hears of it, its owner is called as urgent."""
    book = book_of(x01=holding(WAD + 10**8, debt=3))
    judge = Judge(ADAPTER, RULES)
    judge.reload(book, ())
    at = block(0)
    ruling = judge.judge(book, at, also_at=at.timestamp + 12)
    (judgement,) = ruling.breached
    assert judgement.health is not None and not judgement.health.liquidatable
    assert judgement.then is not None and judgement.then.liquidatable
    assert [step_.after.band for step_ in ruling.steps] == [Band.URGENT]


def test_only_the_accounts_asked_for_are_called() -> None:
    """Liquidation looks at everybody; a deployment that does not act does not even hold the others."""
    book = book_of(x01=holding(wad("0.9")), x02=holding(wad("0.9")))
    mine = bytes([1]) * 20
    acting, alerting = Judge(ADAPTER, RULES, [mine]), Judge(ADAPTER, RULES, [mine], acts=False)
    for judge in (acting, alerting):
        judge.reload(book, ())
    assert {judgement.key for judgement in acting.judge(book, block(1)).breached} == set(book.positions)
    assert [step_.after.key for step_ in acting.judge(book, block(1)).steps] == [mine]
    assert set(alerting.judge(book, block(1)).judgements) == {mine}


def test_an_episode_of_an_account_no_longer_asked_for_is_followed_to_its_end() -> None:
    """Its owner was told of the opening, and is told of the closing."""
    book = book_of(x01=holding(wad("1.05")))
    judge = Judge(ADAPTER, RULES)
    judge.reload(book, ())
    judged_once(judge, book, block(1))
    other = Judge(ADAPTER, RULES, [bytes([9]) * 20], acts=False)
    book.positions[bytes([1]) * 20] = holding(wad("1.5"))
    other.reload(book, judge.episodes.values())
    assert [step_.after.status for step_ in judged_once(other, book, block(2)).steps] == [EpisodeStatus.CURED]


def test_demands_come_with_documenting_and_only_where_there_is_something_to_tell() -> None:
    """A ruling is ready before its demands are computed, so that acting need not wait."""
    book = book_of(x01=holding(wad("1.07")))
    judge = Judge(ADAPTER, RULES)
    judge.reload(book, ())
    ruling = judge.judge(book, block(1))
    assert ruling.steps[0].after.demands == ()
    documented = judge.document(book, ruling)
    (step_,) = documented.steps
    assert step_.after.demands[0].amount == 10**18
    assert dict(step_.after.last.prices) == {asset(0): book.prices[asset(0)], asset(1): book.prices[asset(1)]}
    judge.accept(documented)
    eased = replace(judge.episodes[bytes([1]) * 20], band=Band.URGENT)
    judge.recall([eased])
    book.positions[bytes([1]) * 20] = holding(wad("1.06"))
    judge.apply(book, [bytes([1]) * 20])
    (moved,) = judge.document(book, judge.judge(book, block(2), changed=[bytes([1]) * 20])).steps
    assert not moved.told and moved.dossier is None and moved.after.demands == eased.demands


@pytest.mark.parametrize("rules", [RULES, replace(RULES, target_wad=wad("1.12"))])
def test_the_columns_follow_a_book_that_starts_empty(rules: BandRules) -> None:
    """Before the first block there is no market: nothing is judged, and nothing breaks."""
    judge = Judge(ADAPTER, rules)
    judge.reload(Book(), ())
    assert judge.judge(Book(), block(1)).judgements == {}
    book = book_of(x01=holding(wad("1.05")))
    judge.apply(book, book.positions)
    assert len(judge.judge(book, block(2)).steps) == 1


@pytest.mark.parametrize("seed", range(4))
def test_what_other_prices_would_open_is_found_exactly(seed: int) -> None:
    """Whatever happened before, and without changing what is known: the screen misses nobody, the integers decide."""
    world, found = World(seed), 0
    for _ in range(60):
        world.turn()
        values = [WAD * world.random.randint(60, 130) // 100 for _ in range(ASSETS)]
        foreseen = Book(world.book.market, prices_of(*values), world.book.positions)
        at = world.now + world.random.randint(0, 1_000)
        healths = {
            key: ADAPTER.health(world.market, foreseen.prices, held, at) for key, held in foreseen.positions.items()
        }
        expected = sorted(key for key, health in healths.items() if health.liquidatable and not health.unpriced_assets)
        assert world.judge.foreseen(foreseen, at) == expected
        found += len(expected)
    assert found
