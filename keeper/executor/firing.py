"""What leaves as the head comes: made ready between blocks, sent as soon as a block's prices open it.

between blocks   arm
a head           ask_others, try_ready, survey ─▶ the block's answers ─▶ fire ─▶ leave
the block        documented, as it is observed ─▶ fired, in the transaction that stores it
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from keeper.core.ports import Transaction
from keeper.core.records import Intent
from keeper.core.types import Block
from keeper.executor.armed import Armed, Fired, View, documented, is_financed
from keeper.executor.armory import Armory, Verdicts, recover
from keeper.executor.kit import Kit
from keeper.executor.ports import Opinions, Venue
from keeper.executor.upkeep import market_of

NEARBY_S = 0.001
"""How soon a node on this machine, or beside it, answers."""


class Firing:
    """armory: what is kept ready; None where nothing is. All but `arm` and `leave` is synchronous."""

    def __init__(self, kit: Kit, armory: Armory | None) -> None:
        self._kit = kit
        self._armory = armory
        self._fired: list[Fired] = []
        self.just_sent: frozenset[str] = frozenset()
        """Intents that were fired because of the block observed last."""

    def forget(self) -> None:
        """What was fired because of a block that was never taken: the journal knows it."""
        self._fired = []

    def recover(self) -> None:
        """Take over what was kept ready, by this process or the one before it."""
        if self._armory is not None:
            self._armory.recover()
        else:  # this one keeps nothing ready; the one before it may have
            recover(self._kit.store, self._kit.journal, self._kit.account)

    def put_away(self) -> None:
        if self._armory is not None:
            self._armory.put_away()

    @property
    def armed(self) -> frozenset[str]:
        """Protocols of which a position's transaction is ready to be sent."""
        return frozenset() if self._armory is None else self._armory.names

    @property
    def ready(self) -> Sequence[Armed]:
        """What may be sent as soon as the next block's prices are known, where nobody else has to be asked."""
        if self._armory is None or self._kit.second is not None:
            return ()
        return [one for one in self._armory.armed if not is_financed(one.ready)]

    @property
    def looks_at(self) -> int:
        """How many of the positions nearest to liquidation `arm` wants to choose from; 0 where it keeps none ready."""
        return 0 if self._armory is None else self._armory.looks_at

    def ask_others(self, block: Block) -> Awaitable[Opinions] | None:
        """Ask other endpoints about what is armed, while the block is read. None where nothing is, or nobody there."""
        if self._kit.second is None or self._armory is None or not self._armory.armed:
            return None
        return self._kit.second.ask(block, [one.ready.chosen.opportunity for one in self._armory.armed])

    def try_ready(self, block: Block, landing_at: int) -> Awaitable[Verdicts] | None:
        """Ask the node what the calls of our contract that are ready do on this block, while it is read; None where
        none are. It leaves with the event loop's next turn."""
        return None if self._armory is None else self._armory.ask(block, landing_at)

    def survey(self, block: Block) -> None:
        """Before `fire`, while the block is still being asked about: what does not depend on the answer."""
        if self._armory is not None:
            self._armory.survey(block, self._kit.watch.answers)

    def awaits(self, views: Mapping[str, View], landing_at: int) -> bool:
        """Whether it is worth waiting for the answer to `try_ready`."""
        return self._armory is not None and self._armory.awaits(views, landing_at)

    def would_fire(self, block: Block, views: Mapping[str, View], landing_at: int, verdicts: Verdicts) -> bool:
        """Whether it is worth waiting for what others say."""
        answers = self._kit.watch.answers
        return self._armory is not None and self._armory.would_fire(block, views, landing_at, answers, verdicts)

    def fire(
        self,
        block: Block,
        views: Mapping[str, View],
        landing_at: int,
        opinions: Opinions | None = None,
        verdicts: Verdicts | None = None,
    ) -> bool:
        """Send what is ready and what this block opens, before anything else is done about the block; whether there was
        any. opinions: of other endpoints. verdicts: of `try_ready`. It leaves before this returns where the way it goes
        allows it, else with the event loop's next turn. To be followed by `observe`, and by `fired` in the transaction
        that stores a block, this or another one; where either fails, by `adopt`."""
        if self._armory is None:
            return False
        believed = partial(self._kit.doubts.believes, opinions=opinions)
        fired = self._armory.fire(block, views, landing_at, self._kit.watch.answers, believed, verdicts or {})
        durable = [one.intent for one in fired if one.is_durable]
        signed_again = [one.intent for one in fired if not one.is_durable]
        self._fired += fired
        if durable:
            self._kit.journal.hold(durable)
            self._kit.dispatch.launch([intent.attempts[-1] for intent in durable])
        for stage in ("judged", "planned", "journalled") if durable else ():
            self._kit.latency.reached(stage)
        self._kit.latency.sent(one.intent.id for one in fired)
        if signed_again:
            self._kit.journal.record(signed_again)
            self._kit.dispatch.launch([intent.attempts[-1] for intent in signed_again])
        return bool(fired)

    @property
    def leaving(self) -> Sequence[asyncio.Future[Any]]:
        """Each done when a submission is answered."""
        return self._kit.dispatch.leaving

    async def leave(self) -> None:
        """Let what was fired go, and hear at once what a node nearby says to it; none is waited for."""
        await self._kit.dispatch.leave(NEARBY_S)

    def fired(self, transaction: Transaction) -> None:
        """The intents of `fire` are stored with this transaction; what was armed of them no longer is. Those that no
        block was observed since are not documented yet."""
        if self._armory is not None:
            held = (self._kit.journal.get(one.intent.id) for one in self._fired)
            self._kit.journal.put(transaction, [intent for intent in held if intent is not None])
            self._armory.disarm(transaction)

    def documented(self) -> list[Intent]:
        """What was fired because of the block just observed, with what it was judged to do, as it is to be stored."""
        fired, self._fired = self._fired, []
        self.just_sent = frozenset(one.intent.id for one in fired)
        answers = self._kit.watch.answers
        if not fired or answers is None:
            return []
        decimals = answers.wallet.decimals
        told = []
        for one in fired:
            now = self._kit.journal.get(one.intent.id)
            if now is not None:  # else it was sent because of a block that was never taken, and is final by now
                told.append(documented(replace(one, intent=now), decimals, self._kit.settings))
        self._kit.journal.hold(told)
        return told

    async def arm(
        self, block: Block, edge: Sequence[tuple[Venue, bytes]], landing_at: int, still: Callable[[], bool]
    ) -> None:
        """Make transactions ready for positions that are not open yet, nearest first. block: the tip, acted on."""
        answers = self._kit.watch.answers
        if self._armory is None or answers is None or answers.sight.block != block.ref or block.base_fee_wei is None:
            return
        if self._fired:  # for a block that is not taken yet: what was ready before it is over
            return
        market = market_of(block, block.base_fee_wei, answers, self._kit.settings)
        await self._armory.arm(block, edge, answers, market, landing_at, lambda: still() and not self._fired)
