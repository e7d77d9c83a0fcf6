"""The acting half: the key, the breakers, and the executor with all it sends by and plans with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from keeper.config.deployment import Config
from keeper.core.errors import ConfigError
from keeper.core.ports import Signer, Store
from keeper.wire import plans, routes
from keeper.wire.files import Files

if TYPE_CHECKING:
    import asyncio

    from keeper.executor.executor import Executor
    from keeper.executor.guard import Guard, Tell
    from keeper.executor.halt import Halt
    from keeper.executor.planning.planner import Planner
    from keeper.executor.ports import Mode, Route, SecondOpinion, Settings
    from keeper.executor.switch import Switch
    from keeper.foresight import Foresight
    from keeper.indexer.rpc.client import RpcClient
    from keeper.indexer.witness import Witness
    from keeper.pipeline import Confirming, Pipeline


@dataclass(frozen=True, slots=True)
class Acting:
    config: Config
    files: Files
    board: Mapping[str, Any] | None
    """The notifier that posts on chain, where it may."""

    # --- whose transactions

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

    # --- what stops them

    def switch(self) -> Switch:
        """The files by which people pause and resume this deployment."""
        from keeper.executor.switch import Switch

        return Switch(self.files.pause)

    def guard(self, store: Store, tell: Tell, wake: Callable[[], None], halt: Halt | None = None) -> Guard:
        """tell: who hears of a breaker that trips."""
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
        return Guard(store, limits, self.switch(), time.time, tell, wake, halt)

    # --- how they are planned and sent

    def planner(self, contract: bytes | None = None) -> Planner | None:
        """See `plans.planner`."""
        return plans.planner(self.config, contract)

    def routes(self, rpc: RpcClient) -> list[Route]:
        """How transactions reach a block."""
        return routes.routes(self.config, rpc)

    async def foresight(self, pipeline: Pipeline, turn: asyncio.Lock) -> Foresight | None:
        """What acts on price updates that are not mined yet; None where nothing does."""
        return await routes.foresight(self.config, pipeline, turn)

    def executor(
        self,
        rpc: RpcClient,
        store: Store,
        guard: Guard | None = None,
        *,
        deadline_s: float | None = None,
        second: SecondOpinion | None = None,
        halt: Halt | None = None,
    ) -> Executor:
        """deadline_s: how long planning, simulating and sending may each take; by default, within a block. second:
        confirms positions about to be acted on, where there are several endpoints."""
        from keeper.executor.doubts import Doubts
        from keeper.executor.executor import Executor
        from keeper.executor.foreign import Foreign
        from keeper.executor.halt import Halt
        from keeper.executor.ports import Mode

        configured = self.config.executor
        mode, board = Mode(configured.mode), self.board
        liquidates = mode is not Mode.OFF
        if board is not None and not liquidates:
            mode = Mode.LIVE  # for the board alone
            if self.signer() is None:
                raise ConfigError(
                    f"notifier {board['name']} posts on chain and needs a key; "
                    'add executor.private_key = "env:KEEPER_PRIVATE_KEY" or a keystore, or remove the notifier'
                )
        settings = self._settings(mode, liquidates=liquidates)
        if deadline_s is not None:
            settings = replace(settings, deadline_s=deadline_s)
        signer = None if mode is Mode.OFF else self.signer()
        configured_routes = self.routes(rpc)
        route = routes.joined(configured_routes)
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
            financier=plans.financier(self.config, rpc, settings.deadline_s),
            ways=routes.ways(configured_routes),
            reader=rpc,
            second=second,
            doubts=Doubts(self.config.defences.hold_blocks, self.config.defences.max_price_jump_bps),
            foreign=Foreign(
                store,
                Halt() if halt is None else halt,
                time.time,
                yield_s=self.config.defences.yield_minutes * 60,
                resumed_at=self.switch().resume_asked_at,
            ),
        )

    def _settings(self, mode: Mode, *, liquidates: bool) -> Settings:
        from keeper.executor.ports import PendingPrices, Settings
        from keeper.notifier.board import POST

        configured, chain, board = self.config.executor, self.config.chain, self.board
        return Settings(
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

    def second(self, witness: Witness | None) -> SecondOpinion | None:
        """What other endpoints than the one that a block was read from say of a position, where there are several."""
        if witness is None or not self._asks_others:
            return None
        from keeper.second import OtherEndpoints

        return OtherEndpoints(witness, self.config.defences.second_opinion_ms / 1000)

    def confirming(self, witness: Witness | None, second: SecondOpinion | None) -> Confirming | None:
        """Who is asked about a position before its owner hears: whoever is before it is acted on, else its contract, at
        the endpoint that told of the block."""
        from keeper.pipeline import Confirming
        from keeper.second import SameEndpoint

        defences = self.config.defences
        asked = [] if second is None else [second]
        if witness is not None and defences.prove_logs:
            asked.append(SameEndpoint(witness, defences.second_opinion_ms / 1000))
        return Confirming(asked, defences.hold_blocks) if asked else None

    @property
    def _asks_others(self) -> bool:
        return self.config.defences.second_opinion and len(self.config.chain.rpc) > 1
