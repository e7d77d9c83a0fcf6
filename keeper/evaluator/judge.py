"""One protocol, judged block by block: who must be called, who is cured, who may be liquidated.

What a judge holds is a function of the book, of the stored episodes and of the stored volatility, nothing else: columns
are the book as floats, and the memory that bands need is in the open episodes. So after the store was reverted, giving
it the reverted book (`apply`), volatility (`observe`) and episodes (`recall`) makes it the judge it was at that block;
after a restart, `reload` does.

A block is judged in exact integers for everything that can matter, which the float screen finds soundly:
every position that changed; every suspect the caller names; every position without an open episode that may be below
the call threshold; every open episode whose band may differ from the one it is in; and, if this deployment liquidates,
every position that may be open to liquidation at the time of the block we can land in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from random import Random
from typing import Generic, TypeVar

import numpy as np

from keeper.core.ports import Paged, ProtocolAdapter, Weighable
from keeper.core.types import Band, Block, BlockRef, Book, BreachPrice, Health, Linear, Liquidated, Prices, Slack, Token
from keeper.core.units import BPS, WAD
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.bands import BandRules
from keeper.evaluator.columns import Floats, Rows, vector_of
from keeper.evaluator.episodes import Episode, document, step, undocumented
from keeper.evaluator.judgement import Dossier, Judgement, open_to_liquidation
from keeper.evaluator.lines import Lines, sigmas_away
from keeper.evaluator.screen import Screen, maybe_below, surely_below
from keeper.evaluator.seed import seeded
from keeper.evaluator.standing import Standing
from keeper.evaluator.volatility import Volatility

M = TypeVar("M")
A = TypeVar("A")

_UNTOLD = 256
_BREACH = 1.0
REMEMBERED = 2
"""So many times as long ago as the longest memory reaches is worth knowing."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one block did to one episode; before None: it opened. dossier: what a told step is told with, once
    documented."""

    before: Episode | None
    after: Episode
    judgement: Judgement
    dossier: Dossier | None = None

    @property
    def told(self) -> bool:
        """Whether it made a new mark, so that readers must hear of it; else only the band moved."""
        return self.before is None or len(self.after.marks) > len(self.before.marks)


@dataclass(frozen=True, slots=True)
class Ruling:
    """A judged block. judgements: of everything evaluated exactly, by key. steps: every episode that changed. doubted:
    positions that somebody else sees otherwise at this block.

    A position that is not among the judgements has no open episode and is not below the call threshold, or stands in
    its open episode exactly as before; and is not open to liquidation.
    """

    block: Block
    judgements: Mapping[bytes, Judgement]
    steps: tuple[Step, ...]
    doubted: frozenset[str] = frozenset()

    @property
    def breached(self) -> tuple[Judgement, ...]:
        """Positions open to liquidation now, or in the block we can land in."""
        return tuple(judgement for judgement in self.judgements.values() if judgement.breached)

    @property
    def unknown(self) -> frozenset[str]:
        """Positions of which nothing is said before a later block: nobody can judge them, for want of a price, or two
        contradict each other about them."""
        return self.doubted.union(one.position for one in self.judgements.values() if one.unknown)


class Judge(Generic[M, A]):
    """accounts: only these are called (empty: all). acts: positions of every account are judged for liquidation."""

    def __init__(
        self,
        adapter: ProtocolAdapter[M, A],
        rule: BandRules | Adaptive,
        accounts: Collection[bytes] = (),
        *,
        acts: bool = True,
    ) -> None:
        self.adapter = adapter
        self._lines = Lines(rule)
        self._accounts = frozenset(accounts)
        self._acts = acts
        self._screen = Screen()
        self._market: M | None = None  # whose weights the columns hold
        self._open: dict[bytes, Episode] = {}
        self._named: set[bytes] = set()  # positions of the accounts that are called, where these are named
        self._standing = Standing()

    # --- what it holds
    @property
    def episodes(self) -> Mapping[bytes, Episode]:
        """Open episodes by position key."""
        return self._open

    @property
    def rules(self) -> BandRules:
        """The lines of every position, or those presumed of one whose volatility is unknown."""
        return self._lines.nominal

    @property
    def volatility(self) -> Volatility | None:
        return self._lines.volatility

    def reload(self, book: Book[M, A], episodes: Iterable[Episode], volatility: Volatility | None = None) -> None:
        """Start over from a whole book, the newest version of every episode, and the volatility."""
        self.observe(volatility)
        self._rebuild(book)
        self.recall(episodes)

    def recall(self, episodes: Iterable[Episode]) -> None:
        """Hold the open ones among these episodes, and no others."""
        self._open = {episode.key: episode for episode in episodes if episode.is_open}
        self._standing.forget()

    def observe(self, volatility: Volatility | None) -> None:
        """Another state of the volatility: every line may lie elsewhere."""
        if volatility is self._lines.volatility:
            return
        self._lines.observe(volatility)
        self._standing.forget()
        if self._lines.adapt:
            self._screen.unsort()

    def wants_history(self, market: M) -> frozenset[bytes]:
        """Assets whose past prices would tell where lines lie, while nothing was observed yet."""
        if not isinstance(self._lines.rule, Adaptive) or self.volatility is not None:
            return frozenset()
        return frozenset(asset for asset in self.adapter.follows(market) if asset is not None)

    @property
    def longest_memory_s(self) -> int:
        """0 where lines do not follow volatility."""
        rule = self._lines.rule
        return max(rule.memories_s) if isinstance(rule, Adaptive) else 0

    def remember(self, histories: Mapping[bytes, Sequence[tuple[int, int]]], prices: Prices, now: int) -> None:
        """Observe what feeds remember (`seeded`), as far back as the longest memory reaches."""
        rule = self._lines.rule
        if isinstance(rule, Adaptive):
            self.observe(seeded(rule.memories_s, histories, prices, now, REMEMBERED * self.longest_memory_s))

    def advance(self, book: Book[M, A], timestamp: int) -> bool:
        """Fold what ended before this time into the volatility, and observe it; whether anything did."""
        after = self.folded(book, timestamp)
        if after is None or after is self.volatility:
            return False
        self.observe(after)
        return True

    def folded(self, book: Book[M, A], timestamp: int) -> Volatility | None:
        """The volatility with what ended before this time, at the book's prices, which held until then; the present one
        where nothing did. By health alone nothing is observed: None."""
        rule = self._lines.rule
        if not isinstance(rule, Adaptive):
            return None
        after = self.volatility or Volatility.empty(rule.memories_s, timestamp)
        if after.ends_before(timestamp) and book.market is not None:
            followed = {asset for asset in self.adapter.follows(book.market) if asset is not None}
            prices = {asset: price for asset, price in book.prices.items() if asset in followed}
            after = after.since(prices, timestamp)
        return after

    def rules_of(self, book: Book[M, A], key: bytes, now: int) -> BandRules:
        """The lines of one position at this moment."""
        return self._lines.of(self.adapter, book, key, now)

    def sigmas_of(self, book: Book[M, A], key: bytes, now: int) -> float | None:
        """Volatility of a position's log health per square root of a day; None when nobody knows."""
        sigmas = self._lines.sigmas(self.adapter, book, key, now)
        return None if sigmas is None or not sigmas.max() > 0 else float(sigmas.max())

    def apply(self, book: Book[M, A], changed: Iterable[bytes]) -> None:
        """Follow a book that already holds its new market and positions; changed: keys of positions that differ."""
        market = book.market
        if market is None or self._market is None or not self.adapter.same_weights(self._market, market):
            self._rebuild(book)
            return
        self._market = market
        for key in changed:
            position = book.positions.get(key)
            if self._accounts and self.calls(key):
                (self._named.discard if position is None else self._named.add)(key)
            row = self._screen.put(key, self._linear(market, key, position))
            if row is not None:
                self._lines.rewritten(row)
            if key in self._open:
                self._standing.forget()

    def accept(self, ruling: Ruling) -> None:
        """Hold what a ruling's steps say, once they are stored."""
        for step_ in ruling.steps:
            if step_.after.is_open:
                self._open[step_.after.key] = step_.after
            else:
                self._open.pop(step_.after.key, None)
        if ruling.steps:
            self._standing.forget()

    def amend(self, episode: Episode) -> None:
        """Hold a version of an open episode that says more of it, once it is stored; it stands where it stood. One that
        ended, of a position that was called again since, is not that."""
        held = self._open.get(episode.key)
        if held is not None and held.id == episode.id:
            self._open[episode.key] = episode

    # --- judging
    def calls(self, key: bytes) -> bool:
        """Whether the owner of this position is one we call."""
        return not self._accounts or self.adapter.account(key) in self._accounts

    def judge(
        self,
        book: Book[M, A],
        block: Block,
        *,
        changed: Iterable[bytes] = (),
        liquidations: Sequence[Liquidated] = (),
        suspects: Iterable[bytes] = (),
        also_at: int | None = None,
    ) -> Ruling:
        """Judge a block whose changes were applied. Changes nothing: `accept` does, once the steps are stored.

        suspects: further keys to judge whatever the screen says. also_at: timestamp of the block we can land in.
        """
        market = book.market
        if market is None:
            return Ruling(block, {}, ())
        touched = frozenset(changed)
        slack, present = self.adapter.slack(market), self._vector(book, block.timestamp)
        wanted = {key for key in touched if self._acts or self.calls(key) or key in self._open}
        wanted.update(suspects)
        landing: set[bytes] = set()
        if self._acts and also_at is not None:
            landing = wanted.union(self._breached(self._vector(book, also_at), slack))
        wanted.update(self._uncertain(book, block.timestamp, present, slack))
        wanted.update(self._breached(present, slack) if self._acts else (), landing)
        return self.judge_these(
            book, block, wanted, changed=touched, liquidations=liquidations, landing=landing, also_at=also_at
        )

    def judge_these(
        self,
        book: Book[M, A],
        block: Block,
        wanted: Iterable[bytes],
        *,
        changed: Collection[bytes] = (),
        liquidations: Sequence[Liquidated] = (),
        landing: Collection[bytes] = (),
        also_at: int | None = None,
    ) -> Ruling:
        """As `judge`, of these keys alone, for a caller that knows that nothing else can matter.

        landing: those to judge at `also_at` as well.
        """
        # One moment after the other: an adapter keeps the interest accrued to the moment it was last asked about.
        healths = {key: self.health(book, key, block.timestamp) for key in sorted(wanted)}
        later = {key: self.health(book, key, also_at) for key in landing} if also_at is not None else {}
        judgements: dict[bytes, Judgement] = {}
        steps: list[Step] = []
        for key, health in healths.items():
            account, rules = self.adapter.account(key), self.rules_of(book, key, block.timestamp)
            lost = tuple(event for event in liquidations if event.key == key) if key in changed else ()
            judgement = judgements[key] = Judgement(
                key=key,
                position=self.adapter.position_id(key),
                account=account,
                health=health,
                then=later.get(key),
                band=Band.SAFE if health is None else rules.band(health),
                liquidated=bool(lost),
                liquidations=lost,
            )
            before = self._open.get(key)
            if before is not None or self.calls(key):  # what was opened is followed to its end
                after = step(before, judgement, block, rules, self.adapter.name)
                if after is not None and after is not before:
                    steps.append(Step(before, after, judgement))
        return Ruling(block, judgements, tuple(steps))

    def wants_document(self, step_: Step, at: BlockRef) -> bool:
        """Whether `document` has something to say of this step of a block."""
        return step_.told or undocumented(step_.after, at)

    def document(self, book: Book[M, A], ruling: Ruling) -> Ruling:
        """The ruling with every step documented that has something to say."""
        at = ruling.block.ref
        steps = (
            self.document_step(book, one, ruling.block) if self.wants_document(one, at) else one for one in ruling.steps
        )
        return replace(ruling, steps=tuple(steps))

    def document_step(self, book: Book[M, A], step_: Step, block: Block) -> Step:
        """The step with what owners are told: demands, breach prices, the prices they rest on. Apart from `judge`
        because computing demands takes far longer, and neither a liquidation nor the next block need wait for it.

        book: of that block, though perhaps of this position alone."""
        dossier = self.dossier(book, step_.after.key, block, step_.after)
        return replace(step_, after=document(step_.after, dossier, block.ref), dossier=dossier)

    def health(self, book: Book[M, A], key: bytes, now: int) -> Health | None:
        """Exact; None for a position that is gone."""
        position = book.positions.get(key)
        if position is None or book.market is None:
            return None
        return self.adapter.health(book.market, book.prices, position, now)

    def dossier(
        self, book: Book[M, A], key: bytes, block: Block, episode: Episode | None, *, demands: bool = True
    ) -> Dossier:
        """What its owner is told besides the position's health at the tip. episode: what is told of it; None: that it
        never was. Only an open one demands anything. demands: else what it is asked for is left out, which is most of
        the work."""
        lost = () if episode is None else tuple(loss.event for loss in episode.losses)
        assets = {asset for event in lost for asset in (event.debt_asset, event.collateral_asset)}
        demands = demands and episode is not None and episode.is_open
        return self._dossier(book, key, block.timestamp, demands=demands, also=assets)

    def foreseen(self, book: Book[M, A], at: int) -> list[bytes]:
        """Keys of positions open to liquidation at time `at` in a book that is not there yet: the present one with
        other prices. Changes nothing."""
        if book.market is None:
            return []
        found = sorted(self._breached(self._vector(book, at), self.adapter.slack(book.market)))
        healths = ((key, self.health(book, key, at)) for key in found)
        return [key for key, health in healths if health is not None and open_to_liquidation(health)]

    def may_open(self, book: Book[M, A], at: int) -> Container[bytes]:
        """Keys of what may be open to liquidation at time `at` in a book like that of `foreseen`, by the floats alone:
        never one too few among the positions that the present book holds as they are."""
        market = book.market
        if market is None or self._market is None or not self.adapter.same_weights(self._market, market):
            return book.positions
        return set(self._breached(self._vector(book, at), self.adapter.slack(market)))

    # --- for when nobody is waiting
    def edge(self, book: Book[M, A], now: int, most: int, reach: float) -> list[tuple[bytes, Health]]:
        """Positions not yet open to liquidation, nearest first, with their exact health: up to `most`, of those whose
        health is below `reach` (1.05: five percent above the line). Of those that the floats say nothing about, which
        have thresholds of their own, some are looked at."""
        if book.market is None:
            return []
        vector, limit_wad = self._vector(book, now), int(reach * WAD)
        keys = self._keys(self._screen.between(vector, _BREACH, reach, most))
        untold = self._keys(self._screen.untold(vector, _UNTOLD))
        healths = ((key, self.health(book, key, now)) for key in (*keys, *untold))
        known = [(key, h) for key, h in healths if h is not None and h.factor_wad is not None and not h.liquidatable]
        near = [one for one in known if (one[1].factor_wad or 0) < limit_wad]
        return sorted(near, key=lambda one: (one[1].factor_wad or 0, one[0]))[:most]

    def watched(self, book: Book[M, A], now: int) -> set[bytes]:
        """Positions whose owners should know what stands in the way of judging them: of every account that was named,
        or else those with an open episode and those that may be in the watch band."""
        if self._accounts:
            return self._named | self._open.keys()
        if book.market is None:
            return set()
        slack, vector = self.adapter.slack(book.market), self._vector(book, now)
        line = np.maximum(self._lines.bounds(self._screen.columns), self.rules.watch_wad / WAD)
        return {*self._open, *self._keys(self._screen.everything_below(vector, slack, line))}

    def nearest(self, book: Book[M, A], now: int, wanted: Callable[[bytes], bool]) -> Iterator[tuple[bytes, Health]]:
        """Positions of accounts that we call, nearest to liquidation first by the floats, with their exact health; not
        those that owe nothing or cannot be judged. wanted: by key, which of them to look at."""
        if book.market is None:
            return
        for key in self._screen.nearest(self._vector(book, now)):
            health = self.health(book, key, now) if self.calls(key) and wanted(key) else None
            if health is not None and health.factor_wad is not None and not health.unpriced_assets:
                yield key, health

    def sample(self, chance: Random, count: int) -> list[bytes]:
        """Keys of so many positions that owe something, or of all if there are fewer."""
        columns = self._screen.columns
        rows = chance.sample(range(columns.rows), min(count, columns.rows))
        return [key for key in map(columns.key, rows) if key is not None]

    @property
    def wants_sorting(self) -> bool:
        """Whether `sort` would make the next blocks cheaper."""
        return self._screen.wants_sorting

    def sort(self, book: Book[M, A], now: int) -> None:
        """Rank the columns by present health. Tens of milliseconds per 100,000 positions; changes no ruling."""
        if book.market is not None:
            lines = self._lines.bounds(self._screen.columns)
            self._screen.sort(self._vector(book, now), self.adapter.slack(book.market), lines)

    # --- inside
    def _rebuild(self, book: Book[M, A]) -> None:
        market, positions = book.market, book.positions
        self._market = market
        self._screen.load(())
        if market is not None:
            if isinstance(positions, Paged) and isinstance(self.adapter, Weighable):
                for keys, payloads in positions.pages():
                    self._append(market, self.adapter, keys, payloads)
                some: Iterable[tuple[bytes, A | None]] = ((key, positions.get(key)) for key in positions.unstored())
            else:
                some = positions.items()
            for key, position in some:
                self._screen.put(key, self._linear(market, key, position))
        if self._accounts:
            self._named = {key for key in positions if self.calls(key)}
        self._lines.restructure()
        self._standing.forget()

    def _append(self, market: M, adapter: Weighable[M], keys: list[bytes], payloads: list[bytes]) -> None:
        if not self._acts and self._accounts:
            mine = [place for place, key in enumerate(keys) if self.calls(key)]
            keys, payloads = [keys[place] for place in mine], [payloads[place] for place in mine]
        self._screen.append(keys, adapter.linears(market, payloads))

    def _linear(self, market: M, key: bytes, position: A | None) -> Linear | None:
        if position is None or not (self._acts or self.calls(key)):
            return None
        return self.adapter.linear(market, position)

    def _vector(self, book: Book[M, A], now: int) -> Floats:
        assert book.market is not None
        return vector_of(self.adapter.factors(book.market, book.prices, now))

    def _breached(self, vector: Floats, slack: Slack) -> Iterator[bytes]:
        """Keys of everything that may be open to liquidation with these factors."""
        return self._keys(self._screen.below(vector, slack, _BREACH))

    def _uncertain(self, book: Book[M, A], now: int, vector: Floats, slack: Slack) -> Iterator[bytes]:
        """Keys of everything of which this block may open an episode, or move an open one."""
        columns, lines = self._screen.columns, self._lines
        standing = self._standing.of(
            self._open, columns, lambda rows: lines.spans(self.adapter, book, columns, rows, now)
        )
        yield from standing.rowless
        below = self._screen.below(vector, slack, lines.bounds(columns))
        if lines.refine(self.adapter, book, columns, below, now):
            bounds = lines.bounds(columns)
            assert isinstance(bounds, np.ndarray)
            below = below[maybe_below(*self._screen.totals_of(vector, below), bounds[below], slack)]
        yield from (key for key in self._keys(below[~standing.holds[below]]) if self.calls(key))
        if len(standing.rows):
            totals = self._screen.totals_of(vector, standing.rows)
            still = surely_below(*totals, standing.leaves, vector, slack) & ~maybe_below(
                *totals, standing.deeper, slack
            )
            yield from self._keys(standing.rows[~still | standing.always])

    def _keys(self, rows: Rows) -> Iterator[bytes]:
        keys = (self._screen.columns.key(int(row)) for row in rows)
        return (key for key in keys if key is not None)

    def _dossier(
        self, book: Book[M, A], key: bytes, now: int, *, demands: bool, also: Collection[bytes] = ()
    ) -> Dossier:
        """also: assets that it is about besides those that the position holds or owes."""
        market, prices, position = book.market, book.prices, book.positions.get(key)
        if market is None:
            return Dossier()
        assessment = None if position is None else self.adapter.assess(market, prices, position, now)
        holdings = () if assessment is None else (*assessment.collaterals, *assessment.debts)
        tokens = {holding.asset: Token(holding.symbol, holding.decimals) for holding in holdings}
        for asset in also:
            if asset not in tokens and (token := self.adapter.token(market, asset)) is not None:
                tokens[asset] = token
        dossier = Dossier(
            prices=tuple((asset, prices[asset]) for asset in sorted(tokens) if asset in prices),
            tokens=tuple(sorted(tokens.items(), key=itemgetter(0))),
            assessment=assessment,
            currency=self.adapter.currency(market),
            currency_decimals=self.adapter.base_decimals(market),
        )
        if not demands or position is None or assessment is None:
            return dossier
        if assessment.health.unpriced_assets or assessment.health.factor_wad is None:
            return dossier
        breaches = self.adapter.breach_prices(market, prices, position, now)
        return replace(
            dossier,
            demands=self.adapter.demands(market, prices, position, now, self.rules_of(book, key, now).target_wad),
            breach_prices=breaches,
            sigmas=tuple(self._sigmas_to(book, breaches, now)),
            health_sigmas=self._sigmas_to_breach(book, key, assessment.health.factor_wad, now),
        )

    def _sigmas_to(self, book: Book[M, A], breaches: Sequence[BreachPrice], now: int) -> Iterator[tuple[bytes, float]]:
        """How many daily standard deviations of its own price each is away, where that is known."""
        known = self._lines.sigmas_of_assets(self.adapter, book, [breach.asset for breach in breaches], now)
        for breach in breaches:
            if breach.asset in known and breach.move_bps > -BPS:
                away = sigmas_away(math.log1p(breach.move_bps / BPS), [known[breach.asset]])
                if away is not None:
                    yield breach.asset, away

    def _sigmas_to_breach(self, book: Book[M, A], key: bytes, factor_wad: int, now: int) -> float | None:
        """How many of its own daily standard deviations a health is above 1; None below, or where nobody knows."""
        sigma = self.sigmas_of(book, key, now)
        return None if sigma is None or factor_wad <= WAD else sigmas_away(math.log(factor_wad / WAD), [sigma])
