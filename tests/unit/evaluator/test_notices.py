"""What readers are told, whatever the chain and the deliveries do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from keeper.core.records import DeliveryStatus, NoticeEvent, Told
from keeper.core.types import Band, Block
from keeper.core.units import WAD
from keeper.evaluator.episodes import Episode, EpisodeStatus, step
from keeper.evaluator.notices import Due, due, due_all
from tests.unit.evaluator.builders import POSITION, RULES, UNPRICED, block, health, judged, wad

SETTLED = (DeliveryStatus.SENT, DeliveryStatus.DROPPED)


def episode_at(factor: str, number: int = 1) -> Episode:
    opened = step(None, judged(health(factor)), block(number), RULES, "lab")
    assert opened is not None
    return opened


def told(event: NoticeEvent, band: str = "call", episode: str = "known") -> Told:
    return Told(POSITION, episode, event, band, 1, block(1).hash)


OPEN, DEEPER = episode_at("1.05"), episode_at("1.01")
CURED, LOST = (replace(OPEN, id="was", status=status) for status in (EpisodeStatus.CURED, EpisodeStatus.LIQUIDATED))
LOST_LATER = replace(episode_at("1.05", number=2), id="later", status=EpisodeStatus.LIQUIDATED)
OPENED = told(NoticeEvent.OPENED)


@pytest.mark.parametrize(
    ("believed", "episode", "closed", "said"),
    [
        (None, None, None, None),
        (None, OPEN, None, (NoticeEvent.OPENED, OPEN.id, Band.CALL)),
        (None, DEEPER, None, (NoticeEvent.OPENED, DEEPER.id, Band.URGENT)),
        (None, None, CURED, None),
        (OPENED, OPEN, None, None),
        (OPENED, DEEPER, None, (NoticeEvent.ESCALATED, "known", Band.URGENT)),
        (told(NoticeEvent.ESCALATED, "urgent"), OPEN, None, None),
        (told(NoticeEvent.ESCALATED, "urgent"), None, CURED, (NoticeEvent.CURED, "known", Band.URGENT)),
        (OPENED, None, None, (NoticeEvent.WITHDRAWN, "known", Band.CALL)),
        (OPENED, OPEN, CURED, None),
        (OPENED, OPEN, LOST, (NoticeEvent.LIQUIDATED, "known", Band.CALL)),
        (told(NoticeEvent.CURED), OPEN, None, (NoticeEvent.OPENED, OPEN.id, Band.CALL)),
        (told(NoticeEvent.WITHDRAWN), None, None, None),
        (None, None, LOST, (NoticeEvent.LIQUIDATED, "was", Band.CALL)),
        (told(NoticeEvent.CURED), None, LOST, None),
        (told(NoticeEvent.CURED), None, LOST_LATER, (NoticeEvent.LIQUIDATED, "later", Band.CALL)),
        (told(NoticeEvent.LIQUIDATED), None, LOST, None),
        (told(NoticeEvent.LIQUIDATED), None, None, None),
    ],
)
def test_what_is_said_is_the_difference_between_told_and_true(
    believed: Told | None, episode: Episode | None, closed: Episode | None, said: tuple[NoticeEvent, str, Band] | None
) -> None:
    """Readers keep the id they know, even when a reorg gave the same call another one."""
    found = due(believed, episode, [] if closed is None else [closed])
    expected = [] if said is None else [said]
    if believed is not None and closed is LOST and episode is not None:
        expected.append((NoticeEvent.OPENED, episode.id, episode.deepest))
    assert [(one.event, one.episode, one.depth) for one in found] == expected


def test_a_liquidation_that_a_reorg_removed_is_taken_back_unless_it_happened_again() -> None:
    believed = {POSITION: told(NoticeEvent.LIQUIDATED)}
    [found] = due_all(believed, [], [], undone={POSITION})
    assert (found.event, found.episode) == (NoticeEvent.WITHDRAWN, "known")
    assert due_all(believed, [], [LOST], undone={POSITION}) == []
    assert [found.event for found in due_all(believed, [OPEN], [], undone={POSITION})] == [NoticeEvent.OPENED]
    assert due_all(believed, [], [], unknown={POSITION}, undone={POSITION}) == []


def test_nothing_is_said_of_what_cannot_be_judged() -> None:
    """A call that may have been undone is not withdrawn before somebody can tell."""
    assert due_all({POSITION: OPENED}, [], [], unknown={POSITION}) == []
    assert [found.event for found in due_all({POSITION: OPENED}, [], [])] == [NoticeEvent.WITHDRAWN]


def test_a_liquidation_nobody_heard_of_is_told_before_the_call_for_the_remainder() -> None:
    """Several blocks were caught up with in silence; a loss is not passed over because the position is called again."""
    found = due_all({POSITION: OPENED}, [OPEN], [LOST])
    assert [(said.event, said.episode) for said in found] == [
        (NoticeEvent.LIQUIDATED, "known"),
        (NoticeEvent.OPENED, OPEN.id),
    ]


def test_every_liquidation_nobody_heard_of_is_told_in_their_order() -> None:
    """The first of them ends the call that readers know; a cure in between is no news any more."""
    lost = replace(LOST_LATER, status=EpisodeStatus.LIQUIDATED)
    cured = replace(episode_at("1.05", number=3), id="last", status=EpisodeStatus.CURED)
    for believed, first in ((OPENED, "known"), (None, "was")):
        found = due_all({} if believed is None else {POSITION: believed}, [], [cured, lost, LOST])
        assert [(said.event, said.episode) for said in found] == [
            (NoticeEvent.LIQUIDATED, first),
            (NoticeEvent.LIQUIDATED, "later"),
        ]


def test_the_same_said_of_the_same_block_has_one_id() -> None:
    """So that a repetition is recognised; anything else said has another, and so has the same said again after it was
    taken back."""
    [one] = due(None, OPEN)
    assert one.id_at(b"a") == replace(one).id_at(b"a")
    others = [
        replace(one, event=NoticeEvent.ESCALATED),
        replace(one, depth=Band.URGENT),
        replace(one, episode="x"),
        replace(one, after=told(NoticeEvent.WITHDRAWN)),
    ]
    assert len({one.id_at(b"a"), one.id_at(b"b"), *(other.id_at(b"a") for other in others)}) == 6


@dataclass
class Line:
    """A notice in the outbox of the one channel."""

    id: str
    said: Due
    block: Block
    status: DeliveryStatus = DeliveryStatus.PENDING


@dataclass(frozen=True)
class Seen:
    """What a block shows of the position, on whichever branch it is met again."""

    block: Block
    factor: int | None
    liquidated: bool


@dataclass
class World:
    """A chain with reorgs, one position, an outbox with the store's rules, and a reader who believes what arrives."""

    health_at: Callable[[], int | None]
    random: random.Random
    liquidators: float = 0.05  # how often the position is liquidated in a block
    chain: list[tuple[Seen, Episode | None]] = field(default_factory=list)  # with the episode open after it
    outbox: list[Line] = field(default_factory=list)
    left: list[Seen] = field(default_factory=list)  # the branch that was left last
    blocks: int = 0
    events: Counter[str] = field(default_factory=Counter)

    def told(self) -> Told | None:
        heard = [line for line in self.outbox if line.status is not DeliveryStatus.DROPPED]
        if not heard:
            return None
        said, at = heard[-1].said, heard[-1].block
        return Told(POSITION, said.episode, said.event, said.depth.label, at.number, at.hash)

    def present(self) -> Episode | None:
        return self.chain[-1][1] if self.chain else None

    def mine(self) -> None:
        """A block that nobody has seen before."""
        self.blocks += 1
        at = block(len(self.chain) + 1, str(self.blocks))
        self.commit(Seen(at, self.health_at(), self.random.random() < self.liquidators))

    def commit(self, seen: Seen) -> None:
        found = UNPRICED if seen.factor == -1 else health(seen.factor)
        before = self.present()
        after = step(before, judged(found, liquidated=seen.liquidated), seen.block, RULES, "lab")
        opened = [after] if after is not None and after.is_open else []
        closed = [after] if after is not None and not after.is_open else []
        believed, unknown = self.told(), {POSITION} if seen.factor == -1 else set[str]()
        for said in due_all({POSITION: believed} if believed else {}, opened, closed, unknown, self.undone()):
            line = Line(said.id_at(seen.block.hash), said, seen.block)
            if all(known.id != line.id for known in self.outbox):
                self.outbox.append(line)
                self.events[said.event.value] += 1
        self.chain.append((seen, opened[0] if opened else None))

    def undone(self) -> set[str]:
        """The position, when its last told liquidation is not of this chain."""
        believed = self.told()
        if believed is None or believed.event is not NoticeEvent.LIQUIDATED:
            return set()
        return set() if any(seen.block.hash == believed.block_hash for seen, _ in self.chain) else {POSITION}

    def fork(self, depth: int) -> None:
        """Versions above the ancestor go, and so do the notices judged there that nobody may have seen."""
        orphaned = [seen for seen, _ in self.chain[len(self.chain) - depth :]]
        del self.chain[len(self.chain) - depth :]
        gone = {seen.block.hash for seen in orphaned}
        for line in self.outbox:
            if line.block.hash in gone and line.status is DeliveryStatus.PENDING:
                line.status = DeliveryStatus.DROPPED
        self.left = orphaned

    def go_back(self) -> None:
        """The chain returns to the branch it had left: the same blocks, with the same content."""
        ancestor = self.left[0].block.number - 1 if self.left else len(self.chain) + 1
        if 0 < ancestor <= len(self.chain):
            back = self.left
            self.fork(len(self.chain) - ancestor)
            for seen in back:
                self.commit(seen)

    def deliver(self) -> None:
        """The oldest unsettled notice goes out; sometimes a crash in the middle leaves nobody sure."""
        for line in self.outbox:
            if line.status not in SETTLED:
                crashed = line.status is DeliveryStatus.PENDING and self.random.random() < 0.2
                line.status = DeliveryStatus.SENDING if crashed else DeliveryStatus.SENT
                return

    def sent(self) -> list[Line]:
        return [line for line in self.outbox if line.status is DeliveryStatus.SENT]


def believes(sent: list[Line]) -> Band | None:
    """How deep a reader who believes every notice thinks the call is; None: no call."""
    return None if not sent or sent[-1].said.event.closes else sent[-1].said.depth


def wandering(chance: random.Random) -> Callable[[], int | None]:
    """A health that trembles about some line for a while, then jumps; at times nothing is owed, or nobody knows."""
    line = wad("1.2")

    def following() -> int | None:
        nonlocal line
        if chance.random() < 0.2:
            lines = (WAD, RULES.urgent_wad, RULES.call_wad, RULES.closes_wad, wad("1.12"), wad("1.05"), wad("1.4"))
            line = chance.choice(lines)
        if chance.random() < 0.06:
            return chance.choice((None, -1))
        return line + chance.randint(-(10**15), 10**15)

    return following


def test_readers_come_to_believe_what_is_true() -> None:
    """Any healths, any reorgs, any timing of deliveries: once everything is delivered, belief and truth agree.

    Nothing is said twice in a row, and nothing is closed that readers did not believe open, but for a loss that nobody
    could be called for in time."""
    events: Counter[str] = Counter()
    unheard = undone = 0
    for seed in range(150):
        chance = random.Random(seed)
        world = World(wandering(chance), chance)
        for _ in range(120):
            turn = chance.random()
            if turn < 0.55:
                world.mine()
            elif turn < 0.60 and len(world.chain) > 1:
                world.fork(chance.randint(1, min(6, len(world.chain) - 1)))
                world.mine()
            elif turn < 0.65:
                world.go_back()
            else:
                world.deliver()
        world.health_at = lambda: wad("1.15")  # in nobody's band: whatever is open stays open
        world.mine()
        while any(line.status not in SETTLED for line in world.outbox):
            world.deliver()
        sent, truth = world.sent(), world.present()
        belief = believes(sent)
        assert (belief is None) == (truth is None), seed
        if truth is not None and belief is not None:
            assert belief >= truth.deepest
        for number, line in enumerate(sent):
            before = believes(sent[:number])
            match line.said.event:
                case NoticeEvent.OPENED:
                    assert before is None
                case NoticeEvent.ESCALATED:
                    assert before is not None and line.said.depth > before
                case NoticeEvent.LIQUIDATED if before is None:
                    unheard += 1
                    last = sent[number - 1].said if number else None
                    assert last is None or (last.event, last.episode) != (line.said.event, line.said.episode)
                case NoticeEvent.WITHDRAWN | NoticeEvent.CURED | NoticeEvent.REPAID if before is None:
                    undone += 1
                    assert sent[number - 1].said.event is NoticeEvent.LIQUIDATED
                case _:
                    assert before is not None and line.said.depth is before
                    assert line.said.episode == sent[number - 1].said.episode
        if sent and sent[-1].said.event is NoticeEvent.LIQUIDATED:
            assert any(seen.liquidated for seen, _ in world.chain), "the last word is a loss that never was"
        assert len({line.id for line in sent}) == len(sent)
        events.update(world.events)
    of_positions = {event.value for event in NoticeEvent if event.of_episode}
    assert of_positions == {event for event, count in events.items() if count > 30}
    assert min(unheard, undone) > 30


def test_without_reorgs_an_episode_tells_at_most_four_times() -> None:
    """Opened, urgent, liquidatable, closed: however often a price crosses the lines in between."""
    for seed in range(50):
        chance = random.Random(seed)
        world = World(wandering(chance), chance)
        for _ in range(300):
            world.mine()
        per_episode = Counter(line.said.episode for line in world.outbox)
        assert max(per_episode.values(), default=0) <= 4


@pytest.mark.parametrize("line", [WAD, RULES.urgent_wad, RULES.call_wad])
def test_a_price_trembling_on_a_line_tells_once(line: int) -> None:
    """Five hundred blocks around a threshold, less than the hysteresis apart."""
    chance = random.Random(1)
    world = World(lambda: line + chance.randint(-(10**16), 10**16), chance, liquidators=0.0)
    for _ in range(500):
        world.mine()
    assert [said.said.event for said in world.outbox][1:] in ([], [NoticeEvent.ESCALATED])
