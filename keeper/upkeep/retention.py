"""Forgetting what is older than it is to be kept: closed episodes, the notices that told of them, their audit trail.

A little at a time, each in a small transaction, so that nobody waits for it. What is never forgotten: an open episode,
a notice that is not settled or whose readers still believe it, anything that a reorg could bring back, and our own
transactions with their trail, which are the books.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import structlog

from keeper.core.ports import Store
from keeper.evaluator.episode_json import load_episode

log = structlog.get_logger(__name__)

AT_ONCE = 100


class Retention:
    """keep_s: how long, in seconds. clock: unix seconds."""

    def __init__(self, store: Store, keep_s: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._keep_s = keep_s
        self._clock = clock
        self._after: int | None = 0  # the last delivery looked at; None: all were
        self._episodes: Iterator[tuple[str, bytes, bytes, int]] | None = None
        self._forgotten = [0, 0]

    def step(self) -> bool:
        """Look at the next few. False when everything was looked at; the next step then begins anew."""
        before = self._clock() - self._keep_s
        if self._after is not None:
            self._after = self._notices(self._after, before)
            return True
        if self._episodes is None:
            self._episodes = self._store.episodes()
        if self._forget_episodes(list(islice(self._episodes, AT_ONCE)), before):
            return True
        if any(self._forgotten):
            log.info("records_forgotten", notices=self._forgotten[0], episodes=self._forgotten[1])
        self._after, self._episodes, self._forgotten = 0, None, [0, 0]
        return False

    def _notices(self, after: int, before: float) -> int | None:
        """Forget old notices among the next deliveries; the last of those, or None when there are no more."""
        page = self._store.old_notices(after, before, AT_ONCE)
        told = self._store.told()
        believed = {(one.position, one.episode) for one in told.values()}
        doomed = {one.id for one in page if one.settled and (one.position, one.episode) not in believed}
        if doomed:
            with self._store.transaction() as tx:
                for notice_id in sorted(doomed):
                    self._forgotten[0] += tx.forget_notice(notice_id)
        return page[-1].seq if page else None

    def _forget_episodes(self, page: list[tuple[str, bytes, bytes, int]], before: float) -> bool:
        blocks = self._store.blocks()
        final = blocks[0].number if blocks else 0
        doomed = []
        for protocol, key, payload, number in page:
            episode = load_episode(payload)
            if not episode.is_open and episode.last.timestamp < before and number < final:
                doomed.append((protocol, key))
        if doomed:
            with self._store.transaction() as tx:
                for protocol, key in doomed:
                    self._forgotten[1] += tx.forget_episode(protocol, key)
        return bool(page)
