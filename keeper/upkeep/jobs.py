"""What is done now and then rather than in every block, by APScheduler.

Every job waits for its turn, so it never sees a book half changed, and none is on the way of a block for longer than
one round trip. A job that fails is logged and comes again; only following the chain may end the daemon.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from keeper.core.errors import KeeperError, RetryableError
from keeper.core.ports import Store
from keeper.core.types import BlockRef
from keeper.core.units import format_units
from keeper.evaluator.house import Trouble
from keeper.evaluator.judge import Ruling
from keeper.indexer.reads import drive
from keeper.indexer.rpc.client import RpcClient
from keeper.pipeline import Pipeline
from keeper.pulse import JobTally
from keeper.track import Track
from keeper.upkeep.conditions import Conditions
from keeper.upkeep.housekeeping import Housekeeping
from keeper.wire import House

log = structlog.get_logger(__name__)

SORT_S = 1.0
WALLET_S = 300.0
REEVALUATE_S = 2.0
REEVALUATE_AT_ONCE = 250
"""Positions judged in one go: some milliseconds, so that a block never waits long for its turn, and half a percent of a
core; 100,000 positions take a quarter of an hour."""

GAS_OF_A_LIQUIDATION = 1_000_000
_NAMED = 5
_NEIGHBOURS = 8


class Jobs:
    """turn: held by whoever reads or changes the books."""

    def __init__(
        self,
        house: House,
        rpc: RpcClient,
        store: Store,
        pipeline: Pipeline,
        turn: asyncio.Lock,
        conditions: Conditions,
        housekeeping: Housekeeping,
        tally: JobTally | None = None,
    ) -> None:
        self._config = house.config
        self._rpc = rpc
        self._store = store
        self._pipeline = pipeline
        self._turn = turn
        self._conditions = conditions
        self._housekeeping = housekeeping
        self._tally = JobTally() if tally is None else tally
        housekeeping.tally = self._tally
        self._wallet = house.acting.wallet()
        self._looked_to: dict[str, bytes] = {}
        self._bad_feeds: dict[str, set[bytes]] = {}
        self._random = random.Random()  # noqa: S311  (which positions to sample is no secret)
        # memory store, UTC, one run at a time, late runs merged and never dropped: the defaults lose runs silently
        self._scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )

    def start(self) -> None:
        jobs = self._config.jobs
        for name, job, seconds in (
            ("sort", self.sort, SORT_S),
            ("reconcile", self.reconcile, jobs.reconcile_minutes * 60),
            ("reevaluate", self.reevaluate, REEVALUATE_S),
            ("wallet", self.wallet, WALLET_S),
        ):
            self._scheduler.add_job(self._guarded, "interval", [name, job], seconds=seconds, id=name)
        self._housekeeping.schedule(self._scheduler)
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    async def _guarded(self, name: str, job: Callable[[], Awaitable[None]]) -> None:
        try:
            async with self._turn:
                if len(self._pipeline.window):
                    with self._tally.running(name):
                        await job()
        except RetryableError as error:
            log.warning("job_postponed", job=name, error=str(error))
        except KeeperError as error:
            log.error("job_failed", job=name, error=str(error))

    # --- jobs

    async def sort(self) -> None:
        """Rank the screen's rows again when pruning has become dear."""
        for track in self._pipeline.tracks:
            if track.judge.wants_sorting:
                track.judge.sort(track.book, self._pipeline.window.tip.timestamp)

    async def reconcile(self) -> None:
        """Compare a random sample of positions with the protocol's own view at the tip; repair what differs, loudly."""
        tip = self._pipeline.window.tip
        for track in self._pipeline.tracks:
            keys = self._sample(track)
            wrong = await self._differing(track, keys, tip.ref, tip.timestamp)
            if wrong:
                await self._pipeline.repair(track, wrong)
            self._tell_differences(track, wrong, len(keys))
            log.info("positions_reconciled", protocol=track.name, compared=len(keys), repaired=len(wrong))

    async def reevaluate(self) -> None:
        """Judge a slice of all positions in exact integers and hold it against what the screen let the judge conclude.

        On the way, name the feeds that are older than their heartbeat or give no usable price.
        """
        tip = self._pipeline.window.tip
        for track in self._pipeline.tracks:
            keys = self._next_slice(track)
            screened = track.judge.judge(track.book, tip)
            exact = track.judge.judge(track.book, tip, suspects=keys)
            known = {step.after.id for step in screened.steps} | {one.position for one in screened.breached}
            found = {step.after.id for step in exact.steps} | {one.position for one in exact.breached}
            if missed := found - known:
                log.error("screen_missed_positions", protocol=track.name, missed=sorted(missed), block=tip.number)
                track.judge.reload(track.book, track.open_episodes(self._store))
            self._tell_feeds(track, exact)

    async def wallet(self) -> None:
        """Say when the wallet can no longer pay the gas of a liquidation."""
        account = self._wallet
        if account is None:
            return
        balance, gas_price = (
            int(str(answer), 16) if not isinstance(answer, Exception) else None
            for answer in await self._rpc.batch(
                [("eth_getBalance", ["0x" + account.hex(), "latest"]), ("eth_gasPrice", [])]
            )
        )
        if balance is None or gas_price is None:
            return
        if balance >= gas_price * GAS_OF_A_LIQUIDATION:
            self._conditions.end("gas", "the wallet can pay for gas again")
        else:
            held, needed = (
                f"{format_units(wei, 18)} native coin" for wei in (balance, gas_price * GAS_OF_A_LIQUIDATION)
            )
            trouble = Trouble(
                "gas",
                "the wallet cannot pay the gas of a liquidation",
                (f"It holds {held}; a liquidation may need {needed}.",),
                f"Send native coin to 0x{account.hex()}.",
            )
            self._conditions.begin(trouble)
            log.error(
                "wallet_short_of_gas",
                wallet=account,
                balance_wei=str(balance),
                needed_wei=str(gas_price * GAS_OF_A_LIQUIDATION),
                remedy="send it native coin",
            )

    # --- inside

    def _tell_differences(self, track: Track, wrong: Sequence[bytes], compared: int) -> None:
        about = f"reconciliation:{track.name}"
        if not wrong:
            self._conditions.end(about, f"sampled positions of {track.name} agree with the chain")
            return
        positions = ", ".join(track.adapter.position_id(key) for key in wrong[:_NAMED])
        trouble = Trouble(
            about,
            f"positions of {track.name} differed from the chain",
            (f"{len(wrong)} of {compared} compared: {positions}{' …' if len(wrong) > _NAMED else ''}.",),
            "They were read afresh. Check whether the endpoints answer truly, and report it if they do.",
        )
        self._conditions.begin(trouble)

    def _next_slice(self, track: Track) -> list[bytes]:
        """The next positions in order of their keys, and from the first one on when there are no more."""
        taken = track.behind(self._looked_to.get(track.name, b""), REEVALUATE_AT_ONCE)
        self._looked_to[track.name] = taken[-1] if len(taken) == REEVALUATE_AT_ONCE else b""
        return taken

    def _tell_feeds(self, track: Track, ruling: Ruling) -> None:
        """Log an asset, once, when its feed is found stale or unusable; who is concerned hears of it by `feeds`."""
        healths = [one.health for one in ruling.judgements.values() if one.health is not None]
        bad = {asset for health in healths for asset in (*health.stale_assets, *health.unpriced_assets)}
        known = self._bad_feeds.setdefault(track.name, set())
        for asset in sorted(bad - known):
            log.warning("feed_unhealthy", protocol=track.name, asset=asset, priced=asset in track.book.prices)
        known |= bad

    def _sample(self, track: Track) -> list[bytes]:
        """Positions at random, each a neighbour of one that owes something: those that owe nothing lie among them."""
        found: set[bytes] = set()
        for key in track.judge.sample(self._random, self._config.jobs.reconcile_sample):
            found.update(self._random.sample(near, 1) if (near := track.behind(key, _NEIGHBOURS)) else (key,))
        return sorted(found or track.behind(b"", self._config.jobs.reconcile_sample))

    async def _differing(self, track: Track, keys: list[bytes], block: BlockRef, now: int) -> list[bytes]:
        adapter, book = track.adapter, track.book

        def ask(key: bytes) -> Any:
            return adapter.native_view((yield adapter.confirm_calls(book.market, key)))

        # of somebody else than the one that blocks are read from, where there is somebody
        usual = self._rpc.ranked()[0] if len(self._rpc.endpoints) > 1 else None
        views = await drive([ask(key) for key in keys], lambda calls: self._rpc.call_many(calls, block, avoid=usual))
        wrong = []
        for key, theirs in zip(keys, views, strict=True):
            ours = adapter.assess(book.market, book.prices, book.positions[key], now).native
            if dict(ours) != dict(theirs):
                wrong.append(key)
                log.error(
                    "position_differs_from_chain",
                    position=adapter.position_id(key),
                    block=block.number,
                    ours={name: str(value) for name, value in ours.items()},
                    theirs={name: str(value) for name, value in theirs.items()},
                )
        return wrong
