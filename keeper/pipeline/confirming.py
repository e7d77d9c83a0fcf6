"""What a block would have owners told, as others see it: they are asked while transactions are on their way.

A block whose logs were left out without a trace in its bloom gives a stale position, and its owner a wrong amount. Who
is seen otherwise hears nothing in this block; the position is read again, and the next block has it right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace

from keeper.core.types import Block
from keeper.evaluator.judge import Ruling
from keeper.executor.ports import Opinions, Opportunity, SecondOpinion, Venue

MOST = 64
"""Positions asked about in one block, the deepest first; a crowd's others are told later, when blocks were compared."""

RESTS_BLOCKS = 4
"""After nobody said anything in time nobody is asked for so many blocks: on a quick chain each would wait again."""

Asked = tuple[list[list[Opportunity]], Awaitable[Opinions]]


@dataclass(slots=True)
class Confirming:
    """seconds: who may be asked; the first who has anybody to ask is. hold_blocks: for how many blocks a contradiction
    that nothing decides keeps an owner from hearing."""

    seconds: Sequence[SecondOpinion]
    hold_blocks: int
    _since: dict[str, int] = field(default_factory=dict)
    _asks_from: int = 0

    def ask(self, block: Block, venues: Sequence[Venue], rulings: Sequence[Ruling]) -> Asked | None:
        """About everybody whom this block calls, calls deeper, or no longer. None where there is nobody to ask."""
        if block.number < self._asks_from:
            return None
        steps = [
            (step, venue, number)
            for number, (venue, ruling) in enumerate(zip(venues, rulings, strict=True))
            for step in ruling.steps
            if step.told or not step.after.is_open
        ]
        steps.sort(key=lambda one: -one[0].after.band)
        groups: list[list[Opportunity]] = [[] for _ in rulings]
        for step, venue, number in steps[:MOST]:
            groups[number].append(Opportunity(venue, step.after.key))
        about = [one for group in groups for one in group]
        asked = next((asked for second in self.seconds if (asked := second.ask(block, about)) is not None), None)
        return None if asked is None else (groups, asked)

    async def weigh(self, block: Block, rulings: list[Ruling], asked: Asked | None) -> list[Ruling]:
        """The rulings, with whom others see otherwise."""
        if asked is None:
            self._since = {}
            return rulings
        groups, answer = asked
        opinion = await answer
        said = [[(one.position, opinion(one)) for one in group] for group in groups]
        there = any(one.key in one.venue.book.positions for group in groups for one in group)
        if there and all(about is None for group in said for _, about in group):
            self._asks_from = block.number + 1 + RESTS_BLOCKS
        contradicted = [
            {position for position, about in group if about is not None and about.contradicts is not None}
            for group in said
        ]
        self._since = {
            position: self._since.get(position, block.number) for found in contradicted for position in found
        }
        held = {one for one, since in self._since.items() if block.number - since < self.hold_blocks}
        pairs = zip(rulings, contradicted, strict=True)
        return [replace(ruling, doubted=frozenset(found & held)) for ruling, found in pairs]
