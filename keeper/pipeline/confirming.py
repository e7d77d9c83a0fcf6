"""What a block would have owners told, as others see it: they are asked while transactions are on their way.

A block whose logs were left out without a trace in its bloom gives a stale position, and its owner a wrong amount. Who
is seen otherwise hears nothing; the position is read again, and asked about again in each block until it is seen alike,
or for too long otherwise.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from keeper.core.types import Band, Block
from keeper.evaluator.judge import Ruling
from keeper.executor.ports import Opinion, Opinions, Opportunity, SecondOpinion, Venue

MOST = 64
"""Positions asked about in one block, the deepest first; a crowd's others are told later, when blocks were compared."""

RESTS_BLOCKS = 4
"""After nobody said anything in time nobody is asked for so many blocks: on a quick chain each would wait again."""


Asked = tuple[Sequence[Opportunity], Mapping[int, Awaitable[Opinions]]]
"""Positions, and by the number of whom they were asked, what will come of it."""


@dataclass(frozen=True, slots=True)
class _Subject:
    """A position of which its owner is about to hear. number: of its protocol. since: the block from which on it was
    seen otherwise; None where it was not. is_fresh: whether it was read again since anybody said so."""

    number: int
    key: bytes
    band: Band
    since: int | None = None
    is_fresh: bool = False


@dataclass(slots=True)
class Confirming:
    """seconds: who may be asked, all at once; of those who say something of a position the first counts. hold_blocks:
    for how many blocks a contradiction that nothing decides keeps an owner from hearing."""

    seconds: Sequence[SecondOpinion]
    hold_blocks: int
    _subjects: dict[str, _Subject] = field(default_factory=dict)
    _rest_until: dict[int, int] = field(default_factory=dict)

    def owe(self, rulings: Sequence[Ruling]) -> None:
        """A block of which nobody is told: whom it concerns is asked about once somebody is."""
        for number, ruling in enumerate(rulings):
            for step in ruling.steps:
                if step.told or not step.after.is_open:
                    now = _Subject(number, step.after.key, step.after.band)
                    held = self._subjects.get(step.after.position, now)
                    self._subjects[step.after.position] = replace(held, band=now.band)

    def read_again(self, number: int, keys: Collection[bytes]) -> None:
        """These positions of a protocol are as the chain says now, as far as anybody knows."""
        for position, subject in self._subjects.items():
            if subject.number == number and subject.key in keys:
                self._subjects[position] = replace(subject, is_fresh=True)

    def ask(self, block: Block, venues: Sequence[Venue], rulings: Sequence[Ruling]) -> Asked:
        """About everybody whom this block calls, calls deeper, or no longer, and who was held before."""
        self.owe(rulings)
        first = sorted(self._subjects.items(), key=lambda one: (one[1].since is None, -one[1].band))
        self._subjects = dict(first[:MOST])
        about = [Opportunity(venues[one.number], one.key) for one in self._subjects.values()]
        answers: dict[int, Awaitable[Opinions]] = {}
        for number, second in enumerate(self.seconds):
            if block.number >= self._rest_until.get(number, 0) and (answer := second.ask(block, about)) is not None:
                answers[number] = answer
        return about, answers

    async def weigh(self, block: Block, rulings: Sequence[Ruling], asked: Asked) -> list[Ruling]:
        """The rulings, with whom others see otherwise."""
        about, answers = asked
        said: dict[str, Opinion] = {}
        for number, answer in answers.items():
            opinions = await answer
            unsaid = [one for one in about if one.position not in said]
            more = {one.position: opinion for one in unsaid if (opinion := opinions(one)) is not None}
            if not more and any(one.key in one.venue.book.positions for one in unsaid):
                self._rest_until[number] = block.number + 1 + RESTS_BLOCKS
            said |= more
        doubted = self._doubt(block, said)
        return [replace(ruling, doubted=frozenset(doubted.get(n, ()))) for n, ruling in enumerate(rulings)]

    def _doubt(self, block: Block, said: dict[str, Opinion]) -> dict[int, list[str]]:
        """By protocol, who is held. Of whom nobody says anything is held on, until it was read again."""
        kept: dict[str, _Subject] = {}
        doubted: dict[int, list[str]] = {}
        for position, subject in self._subjects.items():
            opinion, since = said.get(position), subject.since
            if opinion is not None:
                since = None if opinion.contradicts is None else block.number if since is None else since
            elif subject.is_fresh:
                since = None
            if since is not None and block.number - since < self.hold_blocks:
                kept[position] = replace(subject, since=since, is_fresh=False)
                doubted.setdefault(subject.number, []).append(position)
        self._subjects = kept
        return doubted
