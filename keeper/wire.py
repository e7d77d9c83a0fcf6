"""Builds everything from configuration: the only place that knows every class.

Each part is imported where it is built: a query of the store loads neither a node client nor an executor.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keeper import observe, privacy
from keeper.config.deployment import Config
from keeper.config.load import load_config
from keeper.config.plugins import Plugin
from keeper.config.routing import BOARD
from keeper.core.errors import ConfigError
from keeper.core.ports import Notifier, ProtocolAdapter, Signer, Store
from keeper.core.records import NoticeEvent
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, LogFilter
from keeper.evaluator.bands import BandRules

if TYPE_CHECKING:
    import asyncio

    from keeper.evaluator.adaptive import Adaptive
    from keeper.evaluator.directory import Directory
    from keeper.executor.behind import Ways
    from keeper.executor.executor import Executor
    from keeper.executor.financier import Financier
    from keeper.executor.guard import Guard
    from keeper.executor.halt import Halt
    from keeper.executor.planning.planner import Planner
    from keeper.executor.ports import Route, SecondOpinion
    from keeper.executor.switch import Switch
    from keeper.foresight import Foresight
    from keeper.indexer.fetch import HeadRead
    from keeper.indexer.rpc.client import RpcClient
    from keeper.indexer.witness import Witness
    from keeper.mode.heartbeat import Heartbeat
    from keeper.mode.watch import ModeWatch
    from keeper.notifier.invitation import Invitation
    from keeper.notifier.outbox import Deliverer
    from keeper.notifier.requests import Requests
    from keeper.notifier.routing import Router
    from keeper.pipeline import Pipeline, Request
    from keeper.upkeep.conditions import Conditions
    from keeper.upkeep.housekeeping import Housekeeping
    from keeper.upkeep.names import Names

Adapter = ProtocolAdapter[Any, Any]


@dataclass(frozen=True, slots=True)
class House:
    """One deployment, from its configuration. Nothing is opened before it is asked for."""

    file: Path
    config: Config
    never_transacts: bool = False
    """Told on the command line, so that it holds for whatever the configuration says, a board too."""

    def secret_files(self) -> list[Path]:
        """Those that may hold secrets, whether they exist or not."""
        keystore = self.config.executor.keystore
        return [Path(".env"), self.file.parent / ".env", *([] if keystore is None else [keystore])]

    def open_store(self, *, read_only: bool = False) -> Store:
        from keeper.store import open_store

        return open_store(self.config.store.url.reveal(), chain_id=self.config.chain.id, read_only=read_only)

    async def connect(self) -> RpcClient:
        from keeper.indexer.rpc.client import RpcClient
        from keeper.indexer.rpc.pool import RpcSettings

        chain = self.config.chain
        settings = RpcSettings(
            call_timeout_s=chain.request_timeout_s,
            poll_interval_s=chain.poll_interval_s,
            quarantine_s=self.config.defences.quarantine_minutes * 60,
        )
        return await RpcClient.connect([url.reveal() for url in chain.rpc], chain.id, settings=settings)

    def adapters(self) -> list[Adapter]:
        return [_build("keeper.protocols", plugin.kind)(plugin.settings) for plugin in self.config.protocols]

    def notifiers(self) -> list[Notifier]:
        return [
            _build("keeper.notifier", one.kind)(one.settings, one.name)
            for one in self.config.notifiers
            if one.kind != BOARD or self.board is not None
        ]

    @property
    def board(self) -> Mapping[str, Any] | None:
        """The notifier that posts on chain, if there is one and this deployment may send transactions for it."""
        if self.never_transacts or self.config.executor.mode == "dry_run":
            return None
        return next((one.settings for one in self.config.notifiers if one.kind == BOARD), None)

    def router(self, channels: Sequence[Notifier]) -> Router:
        """The rules of these channels."""
        from keeper.config.routing import route_of
        from keeper.notifier.routing import Router

        names = {channel.name for channel in channels}
        return Router.of(route_of(one.settings) for one in self.config.notifiers if one.name in names)

    def deliverer(self, store: Store, channels: Sequence[Notifier]) -> Deliverer:
        from keeper.notifier.outbox import Deliverer

        configured = [one.name for one in self.config.notifiers]
        router, requests = self.router(channels), self.requests()
        return Deliverer(store, channels, time.time, router=router, requests=requests, configured=configured)

    def requests(self) -> Requests:
        """The folder in which people leave what they ask of the deliveries."""
        from keeper.notifier.requests import Requests

        beside = self._beside()
        return Requests(beside.with_name(f"{beside.name}.requests"))

    def invitation(self, router: Router) -> Invitation:
        """How notices tell people to acknowledge them."""
        from keeper.notifier.invitation import Invitation

        asked = self.config.acknowledgements
        return Invitation(router, self.config.chain.id, asked.secret, asked.link, asked.valid_hours * 3600)

    def pulse_file(self) -> Path:
        """Where the daemon says how it fares (`keeper.pulse`)."""
        beside = self._beside()
        return beside.with_name(f"{beside.name}.pulse.json")

    def database_file(self) -> Path:
        """The database's file, or the configuration's where it is no file."""
        return self._beside()

    def _beside(self) -> Path:
        """The database's file, or the configuration's where there is none: what belongs to a deployment lies beside."""
        scheme, _, rest = self.config.store.url.reveal().partition("://")
        return Path(rest.removeprefix("/")) if scheme.startswith("sqlite") else self.file.resolve()

    def names(self, store: Store) -> Names:
        from keeper.upkeep.ens import registry_of
        from keeper.upkeep.names import Names

        configured = self.config.names
        registry = registry_of(self.config.chain.id, configured.ens_registry) if configured.ens else None
        return Names(configured.labels, store, registry, configured.ens_hours * 3600, time.time)

    def directory(self, store: Store, wallet: bytes | None) -> Directory:
        """wallet: whose transactions are ours; None for nobody's."""
        from keeper.config.notices import EXPLORERS
        from keeper.evaluator.directory import Directory
        from keeper.protocols.addresses import checksummed

        chain, ours = self.config.chain, (wallet, self.config.executor.liquidator)
        return Directory(
            show=checksummed,
            label=self.names(store).of,
            pages={plugin.name: self._page(plugin) for plugin in self.config.protocols},
            explorer=EXPLORERS.get(chain.id, "") if chain.explorer is None else chain.explorer,
            chain_id=chain.id,
            ours=frozenset(account for account in ours if account is not None),
        )

    def conditions(self, store: Store, channels: Sequence[Notifier], wake: Callable[[], None]) -> Conditions:
        from keeper.upkeep.conditions import Conditions

        operators = tuple(name for name in self.config.operator.channels if name in {one.name for one in channels})
        return Conditions(store, self.router(channels), operators, self.directory(store, None), time.time, wake)

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
            self.names(store),
            Digests(store, conditions, asking, digest.hour_utc, digest.closest),
            [one.name for one in self.config.notifiers],
            None if days is None else Retention(store, days * 86_400, time.time),
            SolvencyWatch(
                rpc,
                pipeline,
                turn,
                conditions,
                {adapter.name: adapter for adapter in self.adapters()},
                lambda: self.open_store(read_only=True),
                watched.min_coverage_wad,
            ),
            watched.every_minutes * 60,
        )

    def _page(self, plugin: Plugin) -> str:
        """The configured page, or the one that the protocol's module names."""
        configured: str | None = plugin.settings["page"]
        module = importlib.import_module(f"keeper.protocols.{plugin.kind}")
        return str(getattr(module, "PAGE", "")) if configured is None else configured

    def rule(self) -> BandRules | Adaptive:
        """By which positions are called."""
        from keeper.config.thresholds import rule_of

        return rule_of(self.config.margin_calls)

    def rules(self) -> BandRules:
        """The lines of every position, or those presumed of one whose volatility nobody observed."""
        rule = self.rule()
        return rule if isinstance(rule, BandRules) else rule.presumed

    def acting(self, contract: bytes | None) -> House:
        """The same deployment, live with this contract whatever its file says, and sending to its node alone: for what
        a person orders."""
        executor = self.config.executor.model_copy(update={"mode": "live", "liquidator": contract})
        return replace(self, config=self.config.model_copy(update={"executor": executor, "submitters": ()}))

    def signer(self) -> Signer | None:
        """Raises ConfigError when the key is not that of the configured account."""
        from keeper.executor.signer import LocalSigner

        executor, chain_id = self.config.executor, self.config.chain.id
        if executor.private_key is not None:
            return LocalSigner.from_hex(executor.private_key, chain_id=chain_id, account=executor.account)
        if executor.keystore is not None and executor.password is not None:
            return LocalSigner.from_keystore(
                executor.keystore, executor.password, chain_id=chain_id, account=executor.account
            )
        return None

    def wallet(self) -> bytes | None:
        """Whose transactions these are; None when nothing is ever sent."""
        if self.config.executor.mode == "off" and self.board is None:
            return None
        signer = self.signer()
        return self.config.executor.account if signer is None else signer.address

    def switch(self) -> Switch:
        """The files by which people pause and resume this deployment."""
        from keeper.executor.switch import Switch

        beside = self._beside()
        return Switch(self.config.breakers.pause_file or beside.with_name(f"{beside.name}.pause"))

    def guard(
        self, store: Store, channels: Sequence[Notifier], wake: Callable[[], None], halt: Halt | None = None
    ) -> Guard:
        from keeper.alarm import alarm
        from keeper.executor.breakers import Limits
        from keeper.executor.guard import Guard

        breakers = self.config.breakers
        limits = Limits(
            gas_per_hour_wei=breakers.gas_per_hour_wei,
            gas_per_day_wei=breakers.gas_per_day_wei,
            loss_per_hour_wad=breakers.loss_per_hour_wad,
            loss_per_day_wad=breakers.loss_per_day_wad,
            failures=breakers.max_failures,
            lost_races=breakers.max_lost_races,
            min_balance_wei=breakers.min_balance_wei,
            shortfalls=breakers.max_shortfalls,
            shortfall_bps=breakers.shortfall_bps,
            deviation_bps=breakers.max_price_deviation_bps,
            allowed=frozenset(breakers.allow),
            denied=frozenset(breakers.deny),
        )
        tell = alarm(self.router(channels).of_event(NoticeEvent.TRIPPED))
        return Guard(store, limits, self.switch(), time.time, tell, wake, halt)

    def executor(
        self,
        rpc: RpcClient,
        store: Store,
        guard: Guard | None = None,
        *,
        deadline_s: float | None = None,
        witness: Witness | None = None,
        halt: Halt | None = None,
    ) -> Executor:
        """deadline_s: how long planning, simulating and sending may each take; by default, within a block. witness:
        confirms positions about to be acted on, where there are several endpoints."""
        from keeper.executor.doubts import Doubts
        from keeper.executor.executor import Executor
        from keeper.executor.foreign import Foreign
        from keeper.executor.halt import Halt
        from keeper.executor.ports import Mode, PendingPrices, Settings
        from keeper.notifier.board import POST

        configured, chain = self.config.executor, self.config.chain
        mode, board = Mode(configured.mode), self.board
        liquidates = mode is not Mode.OFF
        if board is not None and not liquidates:
            mode = Mode.LIVE  # for the board alone
            if self.signer() is None:
                raise ConfigError(
                    f"notifier {board['name']} posts on chain and needs a key; "
                    'add executor.private_key = "env:KEEPER_PRIVATE_KEY" or a keystore, or remove the notifier'
                )
        settings = Settings(
            chain_id=chain.id,
            mode=mode,
            liquidates=liquidates,
            posts_per_hour=0 if board is None else board["max_posts_per_hour"],
            post_spend_wei_per_day=0 if board is None else int(board["max_spend_per_day"] * 10**18),
            min_profit=configured.min_profit,
            bad_debt_loss=configured.realize_bad_debt,
            native_asset=chain.wrapped_native,
            confirmations=configured.confirmations,
            max_fee_wei=configured.max_fee_wei,
            min_tip_wei=configured.min_tip_wei,
            max_tip_wei=configured.max_tip_wei,
            tip_share_bps=configured.tip_share_bps,
            max_pending=configured.max_pending,
            max_batch=configured.max_batch,
            armed=configured.armed,
            least_gain_bps=configured.least_gain_bps,
            replace_after_blocks=configured.replace_after_blocks,
            cooldown_blocks=configured.cooldown_blocks,
            lasting_cooldown_s=configured.lasting_cooldown_hours * 3_600,
            approve_exactly=configured.approve_exactly,
            pending_prices=PendingPrices(configured.pending_prices),
            liquidator=configured.liquidator,
            board=None if board is None else (board["address"], POST),
            spenders=frozenset(configured.spenders),
            approves=configured.liquidator is None or any(one.kind == "inventory" for one in self.config.venues),
        )
        if deadline_s is not None:
            settings = replace(settings, deadline_s=deadline_s)
        signer = None if mode is Mode.OFF else self.signer()
        routes = self.routes(rpc)
        route = self.route(routes)
        return Executor(
            store,
            rpc,
            route,
            settings,
            time.time,
            signer=signer,
            account=configured.account,
            guard=guard,
            release=route.close,
            financier=self.financier(rpc, settings.deadline_s),
            ways=self.ways(routes),
            reader=rpc,
            second=self.second(witness),
            doubts=Doubts(self.config.defences.hold_blocks, self.config.defences.max_price_jump_bps),
            foreign=Foreign(
                store,
                Halt() if halt is None else halt,
                time.time,
                yield_s=self.config.defences.yield_minutes * 60,
                resumed_at=self.switch().resume_asked_at,
            ),
        )

    def second(self, witness: Witness | None) -> SecondOpinion | None:
        if witness is None or not self.config.defences.second_opinion or len(self.config.chain.rpc) < 2:
            return None
        from keeper.second import OtherEndpoints

        return OtherEndpoints(witness, self.config.defences.second_opinion_ms / 1000)

    def _connect_board(self, channels: Sequence[Notifier], executor: Executor) -> None:
        if self.board is None:
            return
        from keeper.notifier.board import BoardChannel

        for channel in channels:
            if isinstance(channel, BoardChannel):
                channel.connect(executor.postings)

    def route(self, routes: Sequence[Route]) -> Route:
        """How transactions reach a block: all configured ways at once, or the node's mempool."""
        if len(routes) == 1:
            return routes[0]
        from keeper.executor.submitters.everywhere import Everywhere

        return Everywhere("submitters", routes)

    def ways(self, routes: Sequence[Route]) -> Ways:
        """How transactions come right behind a price update that is not mined yet."""
        from keeper.executor.behind import Ways
        from keeper.executor.ports import BehindRoute

        private = [route for route in routes if isinstance(route, BehindRoute)]
        public = [route for route in routes if route.ordered_by_fee]
        return Ways(private, self.route(public) if public else None)

    async def foresight(self, pipeline: Pipeline, turn: asyncio.Lock) -> Foresight | None:
        """What acts on price updates that are not mined yet; None where nothing does."""
        executor = self.config.executor
        if executor.mode == "off" or executor.pending_prices == "off":
            return None
        from keeper.config.table import kinds
        from keeper.executor.oracles.written import Reader
        from keeper.executor.ports import HintRoute
        from keeper.foresight import Foresight

        package = "keeper.executor.oracles"
        reader = Reader([_build(package, kind)() for kind in kinds(package)])
        hinting = [route for route in pipeline.executor.ways.private if isinstance(route, HintRoute)]
        return Foresight(pipeline, await self.connect(), reader, hinting, turn)

    def routes(self, rpc: RpcClient) -> list[Route]:
        from keeper.executor.submitters.public import PublicMempool

        if self.config.executor.mode != "live" or not self.config.submitters:
            return [PublicMempool(rpc)]
        package, chain_id = "keeper.executor.submitters", self.config.chain.id
        return [_build(package, one.kind)(one.settings, rpc, chain_id) for one in self.config.submitters]

    def planner(self, contract: bytes | None = None) -> Planner | None:
        """How our contract's liquidations are planned; None without a contract.

        contract: one that is not configured yet, for whoever deploys it."""
        if contract is None and self.config.executor.mode != "off":
            contract = self.config.executor.liquidator
        if contract is None:
            return None
        from keeper.executor.planning.planner import Planner
        from keeper.executor.venues.inventory import Inventory
        from keeper.executor.venues.keep import Keep

        venues = [_build("keeper.executor.venues", one.kind)(one.settings) for one in self.config.venues]
        return Planner(
            contract=contract,
            venues=[venue for venue in venues if not isinstance(venue, (Inventory, Keep))],
            fundings=[
                _build("keeper.executor.funding", one.kind)(one.settings, contract) for one in self.config.funding
            ],
            inventory=next((venue for venue in venues if isinstance(venue, Inventory)), None),
            keep=next((venue for venue in venues if isinstance(venue, Keep)), None),
            least_gain_bps=self.config.executor.least_gain_bps,
            builder_tip_bps=self.config.builder_tip_bps,
        )

    def financier(self, rpc: RpcClient, deadline_s: float) -> Financier | None:
        planner = self.planner()
        if planner is None:
            return None
        from keeper.executor.financier import Financier

        return Financier(planner, rpc, self.config.chain.wrapped_native, deadline_s)

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
        from keeper.evaluator.judge import Judge
        from keeper.pipeline import Pipeline
        from keeper.telling import Teller
        from keeper.track import Track

        rule, margin, router = self.rule(), self.config.margin_calls, self.router(channels)
        executor = self.executor(rpc, store, self.guard(store, channels, wake, halt), witness=witness, halt=halt)
        self._connect_board(channels, executor)
        directory = self.directory(store, executor.account or None)
        tracks = []
        for adapter in self.adapters():
            judge: Judge[Any, Any] = Judge(adapter, rule, margin.accounts, acts=executor.liquidates)
            tracks.append(Track(adapter, Book(), judge, Teller(judge, router, directory)))
        return Pipeline(
            HeadChain(rpc, witness),
            store,
            tracks,
            executor,
            finality=self.config.chain.finality,
            clock=time.time,
            wake=wake,
            invite=self.invitation(router).on,
            samples=samples,
        )


@dataclass(frozen=True, slots=True)
class HeadChain:
    """The node as the pipeline asks it. witness: remembers what was said, to be compared."""

    rpc: RpcClient
    witness: Witness | None = None

    async def read_head(
        self, block: Block, filter_: LogFilter, calls: Sequence[Call], extra: Sequence[Request]
    ) -> HeadRead:
        from keeper.indexer.fetch import read_head

        read = await read_head(self.rpc, block, filter_, calls, extra)
        if self.witness is not None:
            self.witness.note(block, filter_, calls, read)
        return read

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]:
        return await self.rpc.call_many(calls, block)


def open_house(args: argparse.Namespace) -> House:
    """The configuration of a command line, with logging set up and secrets hidden before anything can print them."""
    mode = "off" if getattr(args, "alert_only", False) else "dry_run" if getattr(args, "dry_run", False) else None
    observe.configure(args.log_format, verbose=bool(args.verbose))
    privacy.withdraw()
    config = load_config(args.config, mode=mode)
    observe.hide(config.secrets())
    house = House(args.config, config, never_transacts=mode is not None)
    privacy.refuse_exposed(house.secret_files(), [args.config])
    return house


def _build(package: str, kind: str) -> Callable[..., Any]:
    """`build` of the module that a `kind` names; the configuration has checked that there is one."""
    module: Mapping[str, Any] = vars(importlib.import_module(f"{package}.{kind}"))
    build: Callable[..., Any] = module["build"]
    return build
