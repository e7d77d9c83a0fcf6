"""What the executor sees of the pipeline: blocks in order, one store transaction each, then acting at the tip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

from keeper.core.errors import KeeperError, StoreError
from keeper.core.ports import Store
from keeper.core.records import Intent
from keeper.core.types import Block
from keeper.executor.breakers import Limits
from keeper.executor.executor import Executor
from keeper.executor.foreign import Foreign
from keeper.executor.guard import Guard
from keeper.executor.halt import Halt
from keeper.executor.ports import Mode, Opportunity, SecondOpinion, Settings, Venue
from keeper.executor.signer import LocalSigner
from tests.support.model_chain import NATIVE, ModelChain, ModelProtocol, book_at, call_results

CHAIN_ID = 31337
SIGNER = LocalSigner(b"\x01" * 32, chain_id=CHAIN_ID)
SETTINGS = Settings(
    chain_id=CHAIN_ID,
    mode=Mode.LIVE,
    min_profit=Decimal(1),
    native_asset=NATIVE,
    confirmations=3,
    max_pending=5,
    replace_after_blocks=2,
    lasting_cooldown_s=120.0,
    deadline_s=1.0,
)


class Crash(BaseException):
    """The process dies here."""


@dataclass
class IntentStore:
    """The part of a store that the executor uses, in memory: a transaction holds together or not at all."""

    journal: dict[str, Intent] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    trail: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    on_commit: Callable[[], None] = lambda: None

    @contextmanager
    def transaction(self) -> Iterator[IntentStore]:
        before = dict(self.journal), dict(self.kept), list(self.trail)
        try:
            yield self
        except BaseException:
            self.journal, self.kept, self.trail = before
            raise
        self.on_commit()

    def put_intent(self, intent: Intent) -> None:
        old = self.journal.get(intent.id)
        if old is not None and {a.tx_hash for a in old.attempts} - {a.tx_hash for a in intent.attempts}:
            raise StoreError("an attempt would be forgotten")
        others = {a.tx_hash for i in self.journal.values() if i.id != intent.id for a in i.attempts}
        if others & {a.tx_hash for a in intent.attempts}:
            raise StoreError("another intent has that transaction")
        self.journal[intent.id] = intent

    def set_meta(self, key: str, value: str) -> None:
        self.kept[key] = value

    def meta(self, key: str) -> str | None:
        return self.kept.get(key)

    def audit(self, subject: str, event: str, evidence: Mapping[str, Any], *, at: float) -> None:
        self.trail.append((event, evidence))

    def intents(self, *, unsettled: bool = False) -> Sequence[Intent]:
        return [intent for intent in self.journal.values() if not (unsettled and intent.status.settled)]

    def each_intent(self) -> Iterator[Intent]:
        return iter([self.journal[intent_id] for intent_id in sorted(self.journal)])


@dataclass
class ModelSwitch:
    """The files of a pause and of a request to resume, without a disk."""

    pause_file: str = "PAUSE"
    paused: bool = False
    asked_at: float | None = None

    def resume_asked_at(self) -> float | None:
        return self.asked_at

    def taken(self) -> None:
        self.asked_at = None


class Pipeline:
    """limits: of breakers; without them there are none.
    yield_s: for how long another sender with our key stops this one; without it, for none.
    finality: blocks below the tip that no reorg reaches. `crash_at`: the step at which to die; `restart` after."""

    def __init__(
        self,
        settings: Settings = SETTINGS,
        finality: int = 12,
        limits: Limits | None = None,
        second: SecondOpinion | None = None,
        yield_s: float | None = None,
    ) -> None:
        self.limits = limits
        self.second = second
        self.yield_s = yield_s
        self.halt = Halt()
        self.switch = ModelSwitch()
        self.chain = ModelChain(SIGNER.address)
        self.store = IntentStore(on_commit=lambda: self._maybe_crash("after commit"))
        self.seen: list[Block] = []
        self.settings = settings
        self.finality = finality
        self.crash_at: str | None = None
        self.crash_in = 0
        self.loop = asyncio.new_event_loop()
        self.clock = 0.0
        self.executor = self._executor()
        self.unjournalled: list[bytes] = []

    def restart(self) -> None:
        self.crash_at = None
        self.executor = self._executor()
        self.executor.adopt(self.seen, self._finalized())

    def close(self) -> None:
        self.loop.close()

    def follow(self, *, act: bool = True) -> None:
        """Bring the executor to the chain's tip, and let it act there."""
        canonical = [b.block for b in self.chain.blocks]
        common = 0
        while common < min(len(self.seen), len(canonical)) and self.seen[common] == canonical[common]:
            common += 1
        if common < len(self.seen):
            with self.store.transaction() as transaction:
                self.executor.reverted(cast(Any, transaction), self.seen[common - 1].ref)
                del self.seen[common:]
        for block in canonical[common:]:
            self._observe(block)
        if act and self.chain.tip.after is not None:
            self._act()

    def _observe(self, block: Block) -> None:
        venues = [self.venue(block)]
        questions = self.executor.questions(block.ref, venues)
        results = call_results(self.chain, block.ref, questions.calls)
        answers = self.loop.run_until_complete(self.chain.batch(questions.requests))
        self.seen.append(block)
        try:
            changed = self.executor.observe(questions, results, answers, venues, self._finalized())
            with self.store.transaction() as transaction:
                for intent in changed:
                    transaction.put_intent(intent)
                self._stored(transaction)
        except BaseException:
            self.seen.pop()
            raise

    def _act(self) -> None:
        tip = self.chain.tip.block
        venue = self.venue(tip)
        opportunities = [Opportunity(venue, key) for key in self.opportunities(venue)]
        self.clock += 12
        self.loop.run_until_complete(self.executor.act(tip, opportunities, [venue], tip.timestamp + 12))

    def opportunities(self, venue: Venue) -> Sequence[bytes]:
        """Keys of what is open to liquidation."""
        return list(venue.book.positions)

    def _stored(self, transaction: Any) -> None:
        """In the transaction that stores a block."""

    def venue(self, block: Block) -> Venue:
        after = next(b.after for b in self.chain.blocks if b.block == block)
        return Venue(cast(Any, ModelProtocol()), book_at(after))

    def _finalized(self) -> int:
        return max(len(self.seen) - 1 - self.finality, 0)

    def _executor(self) -> Executor:
        store = cast(Store, self.store)
        guard = None
        if self.limits is not None:
            guard = Guard(store, self.limits, cast(Any, self.switch), lambda: self.clock, halt=self.halt)
        foreign = None
        if self.yield_s is not None:
            foreign = Foreign(store, self.halt, lambda: self.clock, yield_s=self.yield_s)
        return Executor(
            store,
            self.chain,
            self,
            self.settings,
            lambda: self.clock,
            signer=SIGNER,
            guard=guard,
            second=self.second,
            foreign=foreign,
        )

    # --- the network, between the executor and the model's pool

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        journalled = {a.raw for i in self.store.journal.values() for a in i.attempts}
        self.unjournalled += [raw for raw in raws if raw not in journalled]
        self._maybe_crash("before submission")
        outcomes = await self.chain.submit_many(raws)
        self._maybe_crash("after submission")
        return outcomes

    def _maybe_crash(self, step: str) -> None:
        if self.crash_at == step:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_at = None
                raise Crash(step)
