"""One protocol at the tip: its book in memory, kept equal to what the store holds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.encoding import dump_prices, load_prices
from keeper.core.ports import ProtocolAdapter, Store
from keeper.core.records import MARKET_KEY, Fact
from keeper.core.types import Book, LogFilter, Prices, Update
from keeper.evaluator.episode_json import dump_episode, load_episode, outline
from keeper.evaluator.episodes import Episode
from keeper.evaluator.judge import Judge
from keeper.evaluator.seed import Round
from keeper.evaluator.volatility import Volatility
from keeper.evaluator.volatility_json import dump_volatility, load_volatility
from keeper.stored import StoredPositions
from keeper.telling import Teller


@dataclass(slots=True)
class Track:
    adapter: ProtocolAdapter[Any, Any]
    book: Book[Any, Any]
    judge: Judge[Any, Any]
    teller: Teller
    _filtered: tuple[Any, LogFilter] | None = None
    _folded: Volatility | None = None  # with the bar that ended; the judge observes it once the block was acted on
    _unstored: bool = False  # the volatility was remembered, and no block was stored since

    @property
    def name(self) -> str:
        return self.adapter.name

    @property
    def filter(self) -> LogFilter:
        """Of the logs that matter to it; made again only when the market is another one."""
        market = self.book.market
        if self._filtered is None or self._filtered[0] is not market:
            self._filtered = market, self.adapter.filter(market)
        return self._filtered[1]

    def load(self, store: Store) -> None:
        """Become what the store says."""
        self._folded, self._unstored = None, False
        self.judge.observe(self.volatility(store))
        self.hold(store)

    def hold(self, store: Store) -> None:
        """As `load`, but for the volatility, which may have been remembered meanwhile."""
        found = self.stored(store)
        self.book.market, self.book.prices, self.book.positions = found.market, found.prices, found.positions
        self.judge.reload(self.book, self.open_episodes(store), self.judge.volatility)
        self.teller.reload(store)

    def let_go(self, store: Store) -> None:
        """Hold nothing but the volatility: what is stored is of another block than the tip."""
        self._folded, self._unstored = None, False
        self.book.market, self.book.prices, self.book.positions = None, {}, {}
        self.judge.reload(self.book, (), self.volatility(store))

    def stored(self, store: Store) -> Book[Any, Any]:
        """The book that is stored, of whatever block it is."""
        market = store.fact(self.name, "market", MARKET_KEY)
        prices = store.fact(self.name, "prices", MARKET_KEY)
        return Book(
            None if market is None else self.adapter.load_market(market),
            {} if prices is None else load_prices(prices),
            StoredPositions(store, self.name, self.adapter.load_position),
        )

    def rewind(self, store: Store, changed: Collection[tuple[str, bytes]]) -> None:
        """Follow a store that was reverted or amended; changed: kind and key of every fact whose newest version is
        another now."""
        self._folded = None
        self._settle()
        for kind, key in changed:
            payload = store.fact(self.name, kind, key)
            if kind == "market":
                self.book.market = None if payload is None else self.adapter.load_market(payload)
            elif kind == "prices":
                self.book.prices = {} if payload is None else load_prices(payload)
            elif kind == "position":
                self.put({key: None if payload is None else self.adapter.load_position(payload)})
        self._settle()
        if any(kind == "volatility" for kind, _ in changed):
            self.judge.observe(self.volatility(store))
        self.judge.apply(self.book, [key for kind, key in changed if kind == "position"])
        if any(kind == "episode" for kind, _ in changed):
            self.judge.recall(self.open_episodes(store))
        self.teller.reload(store)

    def open_episodes(self, store: Store) -> Iterator[Episode]:
        """The newest version of every episode that has not closed."""
        for _, payload in store.facts(self.name, "episode"):
            if outline(payload).is_open:
                yield load_episode(payload)

    def episodes_since(self, store: Store, block: int) -> list[Episode]:
        """The newest version of every episode that this block or a later one changed."""
        changed = store.changed(self.name, "episode", block)
        return [load_episode(payload) for _, payload, _ in changed if payload is not None]

    def volatility(self, store: Store) -> Volatility | None:
        payload = store.fact(self.name, "volatility", MARKET_KEY)
        return None if payload is None else load_volatility(payload)

    def remember(self, prices: Prices, histories: Mapping[bytes, Sequence[Round]], now: int) -> None:
        """Begin with what feeds remember; stored with the next block."""
        self.judge.remember(histories, prices, now)
        self._unstored = self.judge.volatility is not None

    def advance(self, timestamp: int) -> list[Fact]:
        """Before a block of this time: what the prices so far say about volatility, if a bar ended, to be stored."""
        self._folded = self.judge.folded(self.book, timestamp)
        advanced, unstored = self._folded is not self.judge.volatility, self._unstored
        self._unstored = False
        if not (advanced or unstored) or self._folded is None:
            return []
        return [Fact(self.name, "volatility", MARKET_KEY, dump_volatility(self._folded))]

    def turn(self) -> bool:
        """Draw the lines that follow from the bar that ended, for the next block; whether one did. Every line may lie
        elsewhere then, so with many positions it takes a while: for when nobody is waiting."""
        folded, self._folded = self._folded, None
        if folded is None or folded is self.judge.volatility:
            return False
        self.judge.observe(folded)
        return True

    def update(self, update: Update[Any, Any]) -> None:
        """Take over what a block changed; everything before has been stored."""
        self._settle()
        if update.market is not None:
            self.book.market = update.market
        self.book.prices = update.prices
        self.put(update.positions)
        self.judge.apply(self.book, update.positions)

    def _settle(self) -> None:
        if isinstance(self.book.positions, StoredPositions):
            self.book.positions.settle()

    def put(self, positions: Mapping[bytes, Any]) -> None:
        for key, position in positions.items():
            if position is None:
                self.book.positions.pop(key, None)
            else:
                self.book.positions[key] = position

    def behind(self, key: bytes, count: int) -> list[bytes]:
        """Keys of the next positions in order, behind this one; fewer than `count` only at the end."""
        positions = self.book.positions
        if isinstance(positions, StoredPositions):
            return positions.behind(key, count)
        return sorted(one for one in positions if one > key)[:count]

    def facts(self, update: Update[Any, Any]) -> list[Fact]:
        """What of an update is new against the book, as versions to store. To be asked before `update`."""
        name, facts = self.name, []
        if update.prices != self.book.prices:
            facts.append(Fact(name, "prices", MARKET_KEY, dump_prices(update.prices)))
        if update.market is not None:
            facts.append(Fact(name, "market", MARKET_KEY, self.adapter.dump_market(update.market)))
        for key, position in update.positions.items():
            payload = None if position is None else self.adapter.dump_position(position)
            facts.append(Fact(name, "position", key, payload))
        return facts


def episode_fact(episode: Episode) -> Fact:
    return Fact(episode.protocol, "episode", episode.id.encode(), dump_episode(episode))
