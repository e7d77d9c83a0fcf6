"""CrossCheck: how long two endpoints that insist on different states halt transactions."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from keeper.core.chain import Window
from keeper.core.errors import KeeperError, StateUnavailable
from keeper.core.types import Block
from keeper.executor.halt import Halt
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.witness import Contradiction, Seen, Unproven
from keeper.mode.crosscheck import CrossCheck
from tests.unit.test_chain import chain

HOLD = 3
OURS, OTHER = Endpoint("http://ours.example", 1), Endpoint("http://other.example", 1)
AGREED, INSISTS, LIED = "agreed", "insists", "lied"


class Told:
    """A witness whose other endpoint says what a test has it say, and may be away."""

    def __init__(self) -> None:
        self.proven = self.unproven = 0
        self.away = False
        self.said = AGREED
        self.lies_alone = False
        self.fails = False
        self.unable: list[str] = []
        self.waiting: list[Seen] = []

    def others(self) -> list[Endpoint]:
        return [] if self.away else [OTHER]

    def take(self, most: int) -> list[Seen]:
        taken, self.waiting = self.waiting, []
        return taken

    async def compare(self, seen: Seen, other: Endpoint) -> Contradiction | None:
        if self.fails:
            raise StateUnavailable("a block behind")
        liar = other if self.said == LIED else None
        return None if self.said == AGREED else Contradiction(seen, other, (), (0,), liar)

    def not_proven(self, seen: Seen, error: KeeperError) -> None:
        self.unable.append(f"{seen.block.number}: {error}")

    async def prove(self, seen: Seen) -> Contradiction | None:
        if self.fails:
            raise Unproven("no receipts")
        return Contradiction(seen, None, (), (), seen.source) if self.lies_alone else None


class Case:
    def __init__(self) -> None:
        self.blocks = iter(chain(40))
        self.window = Window([next(self.blocks)])
        self.halt, self.witness = Halt(), Told()
        pipeline = SimpleNamespace(window=self.window, tracks=(), missed=lambda logs: None)
        self.check = CrossCheck(
            cast(Any, self.witness), cast(Any, pipeline), asyncio.Lock(), self.halt, hold_blocks=HOLD
        )

    async def block(self, said: str | None = None) -> bool:
        """One more block, of which the other says this (None: it is away); whether transactions are halted."""
        block: Block = next(self.blocks)
        self.window.extend(block)
        self.witness.away = said is None
        self.witness.said = said or AGREED
        self.witness.waiting = [Seen(block, cast(Any, None), (), (), (), OURS)]
        await self.check.look()
        return bool(self.halt)


async def test_two_who_insist_halt_for_some_blocks():
    case = Case()
    assert [await case.block(INSISTS) for _ in range(6)] == [True, True, True, False, False, False]


async def test_whoever_insists_and_leaves_halts_no_longer_than_that():
    """One answer, and nobody to compare with ever after: it must not keep the daemon degraded for good."""
    case = Case()
    assert await case.block(INSISTS)
    assert [await case.block() for _ in range(4)] == [True, True, False, False]
    assert case.check.read()["in_doubt_since_block"] is None
    assert await case.block(INSISTS), "a doubt of later blocks is another one"


async def test_what_receipts_say_of_logs_ends_no_doubt_about_states():
    """Whoever is left alone is held against its own receipts, which say nothing of a state."""
    case = Case()
    assert await case.block(INSISTS)
    case.witness.lies_alone = True
    assert [await case.block() for _ in range(2)] == [True, True]
    assert case.check.read()["contradictions"] == 3


async def test_where_the_other_one_says_nothing_of_a_block_its_receipts_are_asked_for():
    """One that is behind, or hangs, proves nothing of the one that told of the block."""
    case = Case()
    case.witness.fails = True
    await case.block(AGREED)
    assert case.witness.unable == [f"{case.window.tip.number}: no receipts"]
    assert case.check.read()["compared"] == 0


async def test_of_an_orphan_nobody_has_to_prove_anything():
    case = Case()
    case.witness.fails = True
    orphan = chain(41)[40]
    case.witness.waiting = [Seen(orphan, cast(Any, None), (), (), (), OURS)]
    await case.check.look()
    assert case.witness.unable == []


async def test_whoever_told_of_a_block_is_not_held_against_itself():
    """It may be another one's turn meanwhile."""
    case = Case()
    block: Block = next(case.blocks)
    case.window.extend(block)
    case.witness.said = LIED
    case.witness.waiting = [Seen(block, cast(Any, None), (), (), (), OTHER)]
    await case.check.look()
    assert case.check.read()["contradictions"] == case.check.read()["compared"] == 0


async def test_agreement_and_a_liar_that_was_found_end_it_at_once():
    for said in (AGREED, LIED):
        case = Case()
        assert await case.block(INSISTS)
        assert not await case.block(said)
        assert case.check.read()["in_doubt_since_block"] is None
