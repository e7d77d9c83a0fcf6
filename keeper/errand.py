"""An executor that is led by the hand: it follows blocks, and acts on what it is given, without books being kept.

For what a person asks of it between two runs of the daemon (`keeper deploy`, `keeper skim`), and for rehearsals on a
fork. The journal, the fees, the nonces and every rule are the daemon's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from keeper.core.chain import Reverted, Window
from keeper.core.ports import Store
from keeper.core.types import Block
from keeper.executor.compose import Draft
from keeper.executor.executor import Executor
from keeper.executor.ports import Opportunity, Reader, Rpc, Venue
from keeper.indexer.follow import Headers, steps_to

HEADERS = 32
"""A reorg deeper than this under an errand ends it."""


class Node(Rpc, Reader, Headers, Protocol):
    """Reads of one chain."""


class Errand:
    """One after the other: `begin`, then `arrive` at later heads, `act` at any of them."""

    def __init__(self, executor: Executor, store: Store, node: Node, venues: Sequence[Venue] = ()) -> None:
        self._executor = executor
        self._store = store
        self._node = node
        self._venues = venues
        self._window = Window(())

    @property
    def tip(self) -> Block:
        return self._window.tip

    async def begin(self, head: Block, headers: int = HEADERS) -> None:
        """Take over the journal at this block: what is on its way is asked of the chain. headers: kept below it."""
        numbers = range(max(head.number - headers, 0), head.number)
        found = await asyncio.gather(*(self._node.block_by_number(number) for number in numbers))
        branch = [head]
        for block in reversed(found):
            if block is None or block.hash != branch[0].parent_hash:
                break
            branch.insert(0, block)
        self._window = Window(branch)
        self._executor.adopt(self._window.blocks, 0)
        await self._look(head)

    async def arrive(self, head: Block) -> None:
        """Everything between the last head and this one. Raises as `steps_to` does."""
        for step in await steps_to(self._window, head, self._node):
            if isinstance(step, Reverted):
                with self._store.transaction() as transaction:
                    self._executor.reverted(transaction, step.ancestor)
                self._window.revert_to(step.ancestor)
            else:
                self._window.extend(step.block)
                await self._look(step.block)

    async def act(
        self, landing_at: int, *, opportunities: Sequence[Opportunity] = (), orders: Sequence[Draft] = ()
    ) -> None:
        """At the tip: tend to what is on its way, and send what is worth it or ordered. See `Executor.act`."""
        await self._executor.act(self.tip, opportunities, self._venues, landing_at, orders=orders)

    async def _look(self, block: Block) -> None:
        questions = self._executor.questions(block.ref, self._venues)
        results = await self._node.call_many(questions.calls, block.ref)
        answers: Sequence[Any] = await self._node.batch(questions.requests)
        changed = self._executor.observe(questions, results, answers, self._venues, 0)
        with self._store.transaction() as transaction:
            for intent in changed:
                transaction.put_intent(intent)
