"""One deployment, from its configuration: what every command gets, and where its halves are joined."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keeper import observe, privacy
from keeper.config.deployment import Config
from keeper.config.load import load_config
from keeper.config.routing import BOARD
from keeper.core.ports import Notifier, Store
from keeper.core.records import NoticeEvent
from keeper.core.types import Book
from keeper.evaluator.bands import BandRules
from keeper.wire import chain
from keeper.wire.acting import Acting
from keeper.wire.files import Files
from keeper.wire.keeping import Keeping
from keeper.wire.kinds import Adapter, adapters
from keeper.wire.telling import Telling

if TYPE_CHECKING:
    from keeper.evaluator.adaptive import Adaptive
    from keeper.executor.executor import Executor
    from keeper.executor.halt import Halt
    from keeper.indexer.rpc.client import RpcClient
    from keeper.indexer.witness import Witness
    from keeper.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class House:
    """One deployment, from its configuration. Nothing is opened before it is asked for."""

    file: Path
    config: Config
    never_transacts: bool = False
    """Told on the command line, so that it holds for whatever the configuration says, a board too."""

    # --- what everything stands on

    @property
    def files(self) -> Files:
        return Files(self.file, self.config)

    def open_store(self, *, read_only: bool = False) -> Store:
        from keeper.store import open_store

        return open_store(self.config.store.url.reveal(), chain_id=self.config.chain.id, read_only=read_only)

    async def connect(self) -> RpcClient:
        return await chain.connect(self.config)

    def adapters(self) -> list[Adapter]:
        return adapters(self.config)

    def rule(self) -> BandRules | Adaptive:
        """By which positions are called."""
        from keeper.config.thresholds import rule_of

        return rule_of(self.config.margin_calls)

    def rules(self) -> BandRules:
        """The lines of every position, or those presumed of one whose volatility nobody observed."""
        rule = self.rule()
        return rule if isinstance(rule, BandRules) else rule.presumed

    # --- its parts

    @property
    def board(self) -> Mapping[str, Any] | None:
        """The notifier that posts on chain, if there is one and this deployment may send transactions for it."""
        if self.never_transacts or self.config.executor.mode == "dry_run":
            return None
        return next((one.settings for one in self.config.notifiers if one.kind == BOARD), None)

    @property
    def telling(self) -> Telling:
        return Telling(self.config, self.files, self.board)

    @property
    def acting(self) -> Acting:
        return Acting(self.config, self.files, self.board)

    @property
    def keeping(self) -> Keeping:
        return Keeping(self.config, self.telling, lambda: self.open_store(read_only=True))

    def live_with(self, contract: bytes | None) -> House:
        """The same deployment, live with this contract whatever its file says, and sending to its node alone: for what
        a person orders."""
        executor = self.config.executor.model_copy(update={"mode": "live", "liquidator": contract})
        return replace(self, config=self.config.model_copy(update={"executor": executor, "submitters": ()}))

    # --- joined

    def pipeline(
        self,
        rpc: RpcClient,
        store: Store,
        channels: Sequence[Notifier],
        wake: Callable[[], None],
        *,
        samples: bool = False,
        halt: Halt | None = None,
        witness: Witness | None = None,
    ) -> Pipeline:
        from keeper.alarm import alarm
        from keeper.evaluator.judge import Judge
        from keeper.pipeline import Pipeline
        from keeper.telling import Teller
        from keeper.track import Track

        acting, telling = self.acting, self.telling
        rule, margin, router = self.rule(), self.config.margin_calls, telling.router(channels)
        guard = acting.guard(store, alarm(router.of_event(NoticeEvent.TRIPPED)), wake, halt)
        second = acting.second(witness)
        executor = acting.executor(rpc, store, guard, second=second, halt=halt)
        if self.board is not None:
            _connect_board(channels, executor)
        directory = telling.directory(store, executor.account or None)
        tracks = []
        for adapter in self.adapters():
            judge: Judge[Any, Any] = Judge(adapter, rule, margin.accounts, acts=executor.liquidates)
            tracks.append(Track(adapter, Book(), judge, Teller(judge, router, directory)))
        return Pipeline(
            chain.HeadChain(rpc, witness),
            store,
            tracks,
            executor,
            finality=self.config.chain.finality,
            clock=time.time,
            wake=wake,
            invite=telling.invitation(router).on,
            samples=samples,
            confirming=acting.confirming(witness, second),
        )


def open_house(args: argparse.Namespace) -> House:
    """The configuration of a command line, with logging set up and secrets hidden before anything can print them."""
    mode = "off" if getattr(args, "alert_only", False) else "dry_run" if getattr(args, "dry_run", False) else None
    observe.configure(args.log_format, verbose=bool(args.verbose))
    privacy.withdraw()
    config = load_config(args.config, mode=mode, for_asking=getattr(args, "for_asking", False))
    observe.hide(config.secrets())
    house = House(args.config, config, never_transacts=mode is not None)
    privacy.refuse_exposed(house.files.secrets, [args.config])
    return house


def _connect_board(channels: Sequence[Notifier], executor: Executor) -> None:
    from keeper.notifier.board import BoardChannel

    for channel in channels:
        if isinstance(channel, BoardChannel):
            channel.connect(executor.postings)
