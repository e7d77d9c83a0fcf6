"""What runs beside the blocks: the mode, its heartbeat, housekeeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keeper.config.deployment import Config
from keeper.core.ports import Store
from keeper.wire.kinds import adapters
from keeper.wire.telling import Telling

if TYPE_CHECKING:
    import asyncio

    from keeper.executor.halt import Halt
    from keeper.indexer.rpc.client import RpcClient
    from keeper.mode.heartbeat import Heartbeat
    from keeper.mode.watch import ModeWatch
    from keeper.pipeline import Pipeline
    from keeper.upkeep.conditions import Conditions
    from keeper.upkeep.housekeeping import Housekeeping


@dataclass(frozen=True, slots=True)
class Keeping:
    config: Config
    telling: Telling
    read_store: Callable[[], Store]
    """Opens one more connection, for reading."""

    def mode_watch(self, store: Store, conditions: Conditions, halt: Halt) -> ModeWatch:
        from keeper.mode.watch import ModeWatch
        from keeper.upkeep.headwatch import HeadWatch

        minutes = self.config.operator.owners_after_minutes
        owners_after_s = None if minutes is None else minutes * 60
        heads = HeadWatch(store, conditions, self.config.chain.stale_after_s, owners_after_s)
        ahead_limit_s = self.config.defences.max_block_ahead_minutes * 60 or None
        return ModeWatch(heads, store, conditions, halt, ahead_limit_s=ahead_limit_s)

    def heartbeat(self, modes: ModeWatch) -> Heartbeat | None:
        """The dead man's switch; None where none is configured."""
        configured = self.config.heartbeat
        if configured.url is None:
            return None
        from keeper.mode.heartbeat import Heartbeat

        return Heartbeat(configured.url, configured.every_s, lambda: modes.state.mode, configured.failure_url)

    def housekeeping(
        self, rpc: RpcClient, store: Store, pipeline: Pipeline, turn: asyncio.Lock, conditions: Conditions
    ) -> Housekeeping:
        from keeper.solvency import SolvencyWatch
        from keeper.upkeep.digest import Digests
        from keeper.upkeep.housekeeping import Housekeeping
        from keeper.upkeep.retention import Retention

        digest, days = self.config.digest, self.config.store.keep_days
        watched = self.config.solvency
        asking = [one.name for one in self.config.notifiers if one.settings["digest"]]
        return Housekeeping(
            rpc,
            store,
            pipeline,
            turn,
            conditions,
            self.telling.names(store),
            Digests(store, conditions, asking, digest.hour_utc, digest.closest),
            [one.name for one in self.config.notifiers],
            None if days is None else Retention(store, days * 86_400, time.time),
            SolvencyWatch(
                rpc,
                pipeline,
                turn,
                conditions,
                {adapter.name: adapter for adapter in adapters(self.config)},
                self.read_store,
                watched.min_coverage_wad,
            ),
            watched.every_minutes * 60,
        )
