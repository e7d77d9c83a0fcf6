"""Jobs about notices: names, prices nobody can rely on, refused notices, the digest, and forgetting what is old."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from keeper.core.errors import KeeperError, RetryableError
from keeper.core.ports import Store
from keeper.core.types import Call, CallResult
from keeper.evaluator.house import Trouble
from keeper.indexer.rpc.client import RpcClient
from keeper.pipeline import Pipeline
from keeper.pulse import JobTally
from keeper.solvency import SolvencyWatch
from keeper.upkeep.conditions import Conditions
from keeper.upkeep.digest import Digests
from keeper.upkeep.feeds import FeedWatch
from keeper.upkeep.names import Names
from keeper.upkeep.retention import Retention

log = structlog.get_logger(__name__)

NAMES_S = 15.0
FEEDS_S = 10.0
REFUSED_S = 15.0
PRUNE_S = 1.0
PRUNE_AGAIN_S = 3600.0
"""How long to rest when everything was looked at."""


class Housekeeping:
    """turn: held by whoever reads or changes the books. retention: None keeps everything."""

    def __init__(
        self,
        rpc: RpcClient,
        store: Store,
        pipeline: Pipeline,
        turn: asyncio.Lock,
        conditions: Conditions,
        names: Names,
        digests: Digests,
        channels: Sequence[str],
        retention: Retention | None = None,
        solvency: SolvencyWatch | None = None,
        solvency_s: float = 900.0,
    ) -> None:
        self._rpc = rpc
        self._store = store
        self._pipeline = pipeline
        self._turn = turn
        self._conditions = conditions
        self._names = names
        self._digests = digests
        self._channels = channels
        self._retention = retention
        self._solvency = solvency
        self._solvency_s = solvency_s
        self._feeds = FeedWatch(conditions)
        self._prune_at = 0.0
        self.tally = JobTally()

    def schedule(self, scheduler: AsyncIOScheduler) -> None:
        for job, seconds in (
            (self.names, NAMES_S),
            (self.feeds, FEEDS_S),
            (self.refused, REFUSED_S),
            (self.prune, PRUNE_S),
        ):
            scheduler.add_job(self._guarded, "interval", [job], seconds=seconds, id=job.__name__)
        if self._solvency is not None:
            scheduler.add_job(self._guarded, "interval", [self.solvency], seconds=self._solvency_s, id="solvency")
        # All the time, not at the hour alone: a process that was down, or blind, at that moment makes up for it.
        scheduler.add_job(self._guarded, CronTrigger(second="*/10", timezone="UTC"), [self.digest], id="digest")

    async def names(self) -> None:
        """Look up what accounts are called that notices are, or may soon be, about."""
        if self._names.registry is None or not len(self._pipeline.window):
            return
        async with self._turn:
            tip = self._pipeline.window.tip
            accounts = [
                track.adapter.account(key)
                for track in self._pipeline.tracks
                for key in track.judge.watched(track.book, tip.timestamp)
            ]

        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            return await self._rpc.call_many(calls, tip.ref)

        await self._names.look_up(self._names.wanting(accounts), execute)

    async def feeds(self) -> None:
        async with self._turn:
            for track in self._pipeline.tracks if len(self._pipeline.window) else ():
                self._feeds.look(track, self._pipeline.window.tip)

    async def refused(self) -> None:
        """Tell the others when a channel refuses its notices, and when it takes them again."""
        for channel in self._channels:
            about = f"undelivered:{channel}"
            count, error = self._store.refused(channel)
            if count:
                trouble = Trouble(
                    about,
                    f"notices cannot be delivered through {channel}",
                    (f"{count} given up; one was answered by: {error}.",),
                    "Mend the channel, then see `keeper calls --undelivered` and `keeper calls retry`.",
                )
                self._conditions.begin(trouble, without=(channel,))
            else:
                self._conditions.end(about, f"{channel} delivers again")

    async def digest(self) -> None:
        async with self._turn:
            if len(self._pipeline.window):
                self._digests.tell(self._pipeline.tracks, self._pipeline.window.tip)

    async def solvency(self) -> None:
        if self._solvency is not None:
            await self._solvency.look()

    async def prune(self) -> None:
        """Forget what is older than it is to be kept, a little at a time."""
        now = self._conditions.clock()
        if self._retention is not None and now >= self._prune_at and not self._retention.step():
            self._prune_at = now + PRUNE_AGAIN_S

    async def _guarded(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            with self.tally.running(job.__name__):
                await job()
        except RetryableError as error:
            log.warning("job_postponed", job=job.__name__, error=str(error))
        except KeeperError as error:
            log.error("job_failed", job=job.__name__, error=str(error))
