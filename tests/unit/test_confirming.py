"""Whose owners hear nothing in a block, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from keeper.core.types import Band, Block, BlockRef
from keeper.evaluator.judge import Ruling
from keeper.executor.ports import Opinion, Opinions, Opportunity, Venue
from keeper.pipeline.confirming import MOST, RESTS_BLOCKS, Confirming

AGREES = Opinion(confirms=True)


class Others:
    """Who sees some positions otherwise, and agrees about the rest; or is not there, or says nothing."""

    def __init__(self, *contradicted: str, there: bool = True, otherwise: Opinion | None = AGREES) -> None:
        self.contradicted = contradicted
        self.there = there
        self.otherwise = otherwise
        self.asked: list[str] = []

    def ask(self, block: Block, opportunities: Sequence[Opportunity]) -> Awaitable[Opinions] | None:
        self.asked = [one.position for one in opportunities]
        if not opportunities:
            return None

        async def answer() -> Opinions:
            return lambda one: Opinion(contradicts="otherwise") if one.position in self.contradicted else self.otherwise

        return asyncio.ensure_future(answer()) if self.there else None


def block(number: int) -> Block:
    return Block(BlockRef(number, bytes([number]) * 32), b"", number)


def step(name: str, band: Band, *, told: bool = True, is_open: bool = True) -> Any:
    after = SimpleNamespace(key=name.encode(), position=f"toy:{name}", band=band, is_open=is_open)
    return SimpleNamespace(after=after, told=told)


def venue(*held: str) -> Venue:
    adapter = SimpleNamespace(position_id=lambda key: f"toy:{key.decode()}")
    return cast(
        "Venue", SimpleNamespace(adapter=adapter, book=SimpleNamespace(positions={one.encode() for one in held}))
    )


def ruling(number: int, *steps: Any) -> Ruling:
    return Ruling(block(number), {}, steps)


async def doubted(confirming: Confirming, number: int, *steps: Any) -> frozenset[str]:
    rulings = [ruling(number, *steps)]
    gone = {one.after.key.decode() for one in steps if not one.after.is_open}
    held = {"a", "b", *(one.after.key.decode() for one in steps)} - gone
    asked = confirming.ask(block(number), [venue(*held)], rulings)
    return (await confirming.weigh(block(number), rulings, asked))[0].doubted


async def test_whom_others_see_otherwise_hears_nothing_for_some_blocks_in_a_row() -> None:
    """Also where no later block changes anything about it. Then it is told all the same: alerts go on; and a new doubt
    counts anew."""
    confirming = Confirming([Others("toy:a")], hold_blocks=2)
    steps = step("a", Band.CALL), step("b", Band.CALL)
    found = [await doubted(confirming, 5, *steps), *[await doubted(confirming, number) for number in (6, 7, 8)]]
    assert found == [frozenset({"toy:a"}), frozenset({"toy:a"}), frozenset(), frozenset()]
    assert await doubted(confirming, 9, *steps) == frozenset({"toy:a"})


async def test_whom_others_see_alike_again_is_held_no_longer() -> None:
    others = Others("toy:a")
    confirming = Confirming([others], hold_blocks=5)
    assert await doubted(confirming, 5, step("a", Band.CALL)) == frozenset({"toy:a"})
    others.contradicted = ()
    assert await doubted(confirming, 6) == frozenset()
    assert others.asked == ["toy:a"]
    await doubted(confirming, 7)
    assert others.asked == []


async def test_a_doubt_of_which_nobody_says_anything_more_stands() -> None:
    others = Others("toy:a", otherwise=None)
    confirming = Confirming([others], hold_blocks=3)
    assert await doubted(confirming, 5, step("a", Band.CALL)) == frozenset({"toy:a"})
    others.contradicted, others.there = (), False
    assert [await doubted(confirming, number) for number in (6, 7, 8)] == [{"toy:a"}, {"toy:a"}, frozenset()]


async def test_a_doubt_of_which_nobody_says_anything_more_ends_with_another_reading() -> None:
    """Whoever lied is asked nothing any more, and may have been the only other one. Said again, it counts on."""
    others = Others("toy:a", otherwise=None)
    confirming = Confirming([others], hold_blocks=3)
    for number in (5, 6, 7):
        assert await doubted(confirming, number, step("a", Band.CALL)) == {"toy:a"}
        confirming.read_again(0, [b"a"])
    assert await doubted(confirming, 8) == frozenset()
    assert await doubted(confirming, 9, step("a", Band.CALL)) == {"toy:a"}
    others.there = False
    confirming.read_again(0, [b"b"])
    assert await doubted(confirming, 10) == {"toy:a"}
    confirming.read_again(0, [b"a"])
    assert await doubted(confirming, 11) == frozenset()


async def test_what_blocks_did_that_nobody_was_told_of_is_asked_about_at_the_next_that_is() -> None:
    """While a gap is gone through, owners hear nothing; at its end they would hear of all of it."""
    others = Others("toy:a")
    confirming = Confirming([others], hold_blocks=2)
    confirming.owe([ruling(4, step("a", Band.CALL))])
    assert await doubted(confirming, 5) == frozenset({"toy:a"})


async def test_where_the_first_says_nothing_the_second_counts_and_else_the_first() -> None:
    """Each rests for itself."""
    silent, same = Others(otherwise=None), Others("toy:a")
    confirming = Confirming([silent, same], hold_blocks=9)
    for number in (5, 6):
        silent.asked = []
        assert await doubted(confirming, number, step("a", Band.CALL)) == {"toy:a"}
        assert bool(silent.asked) == (number == 5)
    assert await doubted(Confirming([Others(), same], 9), 5, step("a", Band.CALL)) == frozenset()


async def test_the_deepest_are_asked_about_and_only_what_is_to_be_told() -> None:
    others = Others()
    many = [step(f"call {n}", Band.CALL) for n in range(MOST)]
    deeper, over = step("deep", Band.LIQUIDATABLE), step("over", Band.SAFE, told=False, is_open=False)
    assert not await doubted(Confirming([others], 2), 5, step("silent", Band.URGENT, told=False), over, deeper)
    assert others.asked == ["toy:deep", "toy:over"]
    assert not await doubted(Confirming([others], 2), 5, *many, deeper)
    assert (len(others.asked), others.asked[0]) == (MOST, "toy:deep")


async def test_where_nobody_can_be_asked_everybody_is_told() -> None:
    assert await doubted(Confirming([Others("toy:a", there=False)], 2), 5, step("a", Band.CALL)) == frozenset()


async def test_who_says_nothing_in_time_is_not_waited_for_in_every_block() -> None:
    silent = Others(otherwise=None)
    confirming = Confirming([silent], 2)
    for number in range(5, 5 + RESTS_BLOCKS + 2):
        silent.asked = []
        await doubted(confirming, number, step("a", Band.CALL))
        assert bool(silent.asked) == (number in (5, 6 + RESTS_BLOCKS))


async def test_of_a_position_that_is_gone_nobody_has_an_opinion() -> None:
    """Which is no silence."""
    others = Others(otherwise=None)
    confirming = Confirming([others], 2)
    for number in (5, 6):
        others.asked = []
        await doubted(confirming, number, step("gone", Band.SAFE, is_open=False))
        assert others.asked
