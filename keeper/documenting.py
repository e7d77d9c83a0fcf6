"""What blocks did to episodes and is not documented yet, a little at a time: with the book of that block, however far
the chain has gone on.

Positions, markets and prices are values that never change, so a block's book of one position is three references. After
a crash the same is read from the versions that the store keeps back to finality.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from keeper.core.chain import Window
from keeper.core.encoding import load_prices
from keeper.core.ports import Store
from keeper.core.records import MARKET_KEY, Fact
from keeper.core.types import Block, Book
from keeper.evaluator.episode_json import load_episode
from keeper.evaluator.episodes import Episode, document, undocumented_blocks
from keeper.evaluator.judge import Ruling
from keeper.track import Track, episode_fact


@dataclass(frozen=True, slots=True)
class _Undone:
    """What this block did to one episode. book: of that block, with this position alone."""

    track: Track
    block: Block
    episode: Episode
    book: Book[Any, Any]


class Documenting:
    """The oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._undone: deque[_Undone] = deque()

    def __len__(self) -> int:
        return len(self._undone)

    def note(self, track: Track, ruling: Ruling, done: frozenset[str]) -> None:
        """The steps of a ruling that was just accepted. done: episodes of which everything was said."""
        for step in ruling.steps:
            if step.after.id not in done and track.judge.wants_document(step, ruling.block.ref):
                self._undone.append(_Undone(track, ruling.block, step.after, _still(track, step.after.key)))

    def recall(self, tracks: Sequence[Track], window: Window) -> None:
        """Become what is left to do by what the store says."""
        self._undone.clear()
        if not len(window):
            return
        blocks = {block.ref: block for block in window.blocks}
        for track in tracks:
            for episode in track.episodes_since(self._store, window.oldest.number):
                for at in sorted(undocumented_blocks(episode) & blocks.keys(), key=lambda ref: ref.number):
                    book = self._book_at(track, at.number, episode.key)
                    if book is not None:
                        self._undone.append(_Undone(track, blocks[at], episode, book))

    def some(self, most: int) -> list[tuple[Track, Episode]]:
        """The newest version of so many episodes, with what is to be said of them; `finished` must follow once these
        are stored."""
        newest: dict[tuple[str, str], tuple[Track, Episode]] = {}
        for one in islice(self._undone, most):
            track, place = one.track, (one.track.name, one.episode.id)
            episode = newest[place][1] if place in newest else self._newest(track, one.episode)
            asked = bool(episode.demands or episode.breach_prices)  # of what was told since, and stays
            dossier = track.judge.dossier(one.book, one.episode.key, one.block, one.episode, demands=not asked)
            done = document(episode, dossier, one.block.ref)
            if asked:
                done = replace(done, demands=episode.demands, breach_prices=episode.breach_prices)
            if done != episode:
                newest[place] = track, done
        return list(newest.values())

    def finished(self, most: int) -> None:
        for _ in range(min(most, len(self._undone))):
            self._undone.popleft()

    def _newest(self, track: Track, episode: Episode) -> Episode:
        held = track.judge.episodes.get(episode.key)
        if held is not None and held.id == episode.id:
            return held
        payload = self._store.fact(track.name, "episode", episode.id.encode())
        return episode if payload is None else load_episode(payload)

    def _book_at(self, track: Track, number: int, key: bytes) -> Book[Any, Any] | None:
        """None where the store no longer knows."""
        adapter, at = track.adapter, number
        market = self._store.fact(track.name, "market", MARKET_KEY, at=at)
        if market is None:
            return None
        prices = self._store.fact(track.name, "prices", MARKET_KEY, at=at)
        position = self._store.fact(track.name, "position", key, at=at)
        held = {} if position is None else {key: adapter.load_position(position)}
        return Book(adapter.load_market(market), {} if prices is None else load_prices(prices), held)


def facts_of(episodes: Sequence[tuple[Track, Episode]]) -> list[Fact]:
    return [episode_fact(episode) for _, episode in episodes]


def _still(track: Track, key: bytes) -> Book[Any, Any]:
    position = track.book.positions.get(key)
    return Book(track.book.market, track.book.prices, {} if position is None else {key: position})
