"""Material for tests of a store: builders that state only what matters, a view of all its answers, and random work."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from keeper.core.ports import Store, Transaction
from keeper.core.records import Attempt, CommittedBlock, DeliveryStatus, Fact, Intent, IntentStatus, Notice, NoticeEvent
from keeper.core.types import Block, BlockRef
from keeper.store import SqlStore
from tests.support.store_model import UNSEEN, ModelStore

PROTOCOLS = ("aave", "morpho")
KINDS = ("position", "market", "episode")
CHANNELS = ("hook", "chat")
KEYS = (b"\x01" * 20, b"\x02" * 20, b"\x03" * 20)


def view(store: Any, now: float = 1e9) -> dict[str, Any]:
    """Everything a store answers, in a form in which two stores can be compared."""
    audited = store.audited() if isinstance(store, ModelStore) else _audited(store)
    pairs = [(protocol, kind) for protocol in PROTOCOLS for kind in KINDS]
    facts = {pair: dict(store.facts(*pair)) for pair in pairs}
    return {
        "cursor": store.cursor(),
        "blocks": list(store.blocks()),
        "facts": facts,
        "fact": {(*pair, key): store.fact(*pair, key) for pair in pairs for key in KEYS},
        "episodes": sorted(store.episodes()),
        "scans": [store.scanned_to(protocol) for protocol in PROTOCOLS],
        "touches": [set(store.touches(protocol)) for protocol in PROTOCOLS],
        "told": dict(store.told()),
        "outbox": list(store.outbox(now)),
        "due": [list(store.outbox(now / 2, limit=2, channel=channel)) for channel in CHANNELS],
        "again": [store.repetitions(channel, now / 2, 9) for channel in CHANNELS],
        "next_due": [store.next_due(channel, now=now / 2) for channel in (None, *CHANNELS)],
        "waiting": [store.waiting(channel, f"aave:0x0{n}") for channel in CHANNELS for n in (1, 2, 3)],
        "heard": [store.heard(channel, f"aave:0x0{n}") for channel in CHANNELS for n in (1, 2, 3)],
        "messages": [store.messages(channel, 50.0, 500.0) for channel in CHANNELS],
        "deliveries": list(store.deliveries()),
        "channels": [store.channels_of(one.notice.episode) for one in store.deliveries()],
        "hearers": [store.hearers_of(one.notice.episode) for one in store.deliveries()],
        "intents": list(store.intents()),
        "unsettled": list(store.intents(unsettled=True)),
        "audit": audited,
    }


def _audited(store: Store) -> list[tuple[float, str, str | None, str]]:
    return [(entry.at, entry.subject, entry.before, entry.event) for entry in store.audit()]


# --- builders ---------------------------------------------------------------------------------------------------------

KEYS = (b"\x01" * 20, b"\x02" * 20, b"\x03" * 20)


def block(number: int, branch: str = "", parent: BlockRef | None = None) -> Block:
    """A header whose hash tells its number and branch; its parent is the same branch's unless said."""
    parent_hash = parent.hash if parent else _hash(number - 1, branch)
    return Block(
        BlockRef(number, _hash(number, branch)), parent_hash, 1_700_000_000 + number, 10**20 + number, 2**64 - 1
    )


def _hash(number: int, branch: str) -> bytes:
    return f"{number}:{branch}".encode().rjust(32, b".")


def committed(number: int, *facts: Fact, branch: str = "", parent: BlockRef | None = None) -> CommittedBlock:
    return CommittedBlock(block(number, branch, parent), facts)


def position(key: bytes, payload: bytes | None, kind: str = "position", protocol: str = "aave") -> Fact:
    return Fact(protocol, kind, key, payload)


def notice(name: str, at: int, event: NoticeEvent = NoticeEvent.OPENED, of: str = "aave:0x01", **more: Any) -> Notice:
    values: dict[str, Any] = {
        "id": name,
        "position": of,
        "account": KEYS[0],
        "protocol": "aave",
        "episode": f"episode of {of}",
        "event": event,
        "band": "call",
        "block_number": at,
        "block_hash": _hash(at, ""),
        "body": {"z": "last letter first", "health_wad": str(10**30), "a": [1, None, True]},
        "text": "Health 1.0423 ↓",
        "markdown": "**Health** 1.0423",
        "title": "Margin call",
        "html": "<b>Health</b> 1.0423",
    }
    return Notice(**{**values, **more})


def intent(name: str, status: IntentStatus = IntentStatus.PLANNED, attempts: int = 1, **more: Any) -> Intent:
    values: dict[str, Any] = {
        "id": name,
        "kind": "liquidation",
        "cause": f"cause of {name}",
        "protocol": "aave",
        "position": "aave:0x01",
        "account": KEYS[0],
        "status": status,
        "judged_number": 7,
        "judged_hash": _hash(7, ""),
        "created_at": 100.5,
        "updated_at": 101.25,
        "plan": {"repay_assets": str(2**200), "health_wad": "987654321098765432"},
        "profit_expected": 2**90,
        "attempts": tuple(attempt(name, number) for number in range(attempts)),
    }
    return Intent(**{**values, **more})


def attempt(name: str, number: int) -> Attempt:
    return Attempt(
        tx_hash=f"{name}/{number}".encode().rjust(32, b"."),
        intent_id=name,
        nonce=3,
        raw=b"\x02signed" * 30,
        max_fee_wei=2**70 + number,
        max_priority_fee_wei=10**9,
        gas_limit=500_000,
        purpose="act",
        status="signed",
        created_at=100.5,
    )


# --- one transaction each ---------------------------------------------------------------------------------------------


def commit(store: SqlStore, *blocks: CommittedBlock) -> None:
    for one in blocks:
        with store.transaction() as transaction:
            transaction.commit_block(one)


def tell(store: SqlStore, *notices: Notice, channels: Sequence[str] = ("hook",), due_at: float = 1.0) -> None:
    with store.transaction() as transaction:
        for one in notices:
            transaction.add_notice(one, channels, due_at)


def settle(store: SqlStore, name: str, status: DeliveryStatus, channel: str = "hook", **more: Any) -> None:
    with store.transaction() as transaction:
        assert transaction.claim(name, channel)
        transaction.settle(name, channel, status, **{"at": 5.0, **more})


def revert(store: SqlStore, number: int, branch: str = "") -> frozenset[tuple[str, str, bytes]]:
    with store.transaction() as transaction:
        return transaction.revert_to(block(number, branch).ref)


def finalize(store: SqlStore, number: int) -> None:
    with store.transaction() as transaction:
        transaction.finalize(number)


def due(store: SqlStore, now: float = 1e6) -> list[tuple[str, str]]:
    return [(one.notice.id, one.channel) for one in store.outbox(now)]


# --- random work ------------------------------------------------------------------------------------------------------

Step = Callable[[Transaction], Any]


class Script:
    """An endless deterministic sequence of transactions; `model` is what they amount to so far."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.model = ModelStore()
        self.steps = 0

    def next(self) -> Step:
        """Draw a transaction, apply it to the model, and return it for another store."""
        self.steps += 1
        kinds = (self._block, self._block, self._reorg, self._tell, self._deliver, self._act, self._rule)
        draw = self.random.choice(kinds)
        step = draw()
        with self.model.transaction() as transaction:
            step(transaction)  # type: ignore[arg-type]  # the model is the transaction; it lacks audit and metadata
        return step

    def _facts(self, number: int) -> tuple[Fact, ...]:
        keys = self.random.sample(KEYS, self.random.randint(0, 3))
        return tuple(
            Fact("aave", self.random.choice(KINDS), key, self.random.choice((None, b"%d" % number))) for key in keys
        )

    def _block(self) -> Step:
        tip = self.model.cursor()
        number = tip.number + 1 if tip else 1
        new = committed(number, *self._facts(number), branch=str(self.steps), parent=tip)

        def step(transaction: Transaction) -> None:
            transaction.commit_block(new)
            transaction.finalize(number - 8)

        return step

    def _reorg(self) -> Step:
        held = self.model.blocks()
        if len(held) < 2:
            return self._block()
        ancestor = self.random.choice(held[:-1]).ref
        new = committed(ancestor.number + 1, *self._facts(self.steps), branch=str(self.steps), parent=ancestor)

        def step(transaction: Transaction) -> None:
            transaction.revert_to(ancestor)
            transaction.commit_block(new)

        return step

    def _tell(self) -> Step:
        tip = self.model.cursor()
        new = notice(
            f"notice {self.steps}",
            tip.number if tip else 0,
            self.random.choice([event for event in NoticeEvent if event is not NoticeEvent.SUMMARY]),
            of=f"aave:0x0{self.random.randint(1, 3)}",
        )
        channels = self.random.choice((CHANNELS, CHANNELS, ()))
        return lambda transaction: transaction.add_notice(new, channels, float(self.steps))

    def _deliver(self) -> Step:
        waiting = self.model.outbox(1e9)
        if not waiting:
            return self._tell()
        one = self.random.choice(waiting)
        name, channel, at = one.notice.id, one.channel, float(self.steps)
        if one.status in UNSEEN:
            return lambda transaction: transaction.claim(name, channel)
        if one.notice.event is NoticeEvent.SUMMARY and self.random.random() < 0.3:
            return lambda transaction: transaction.take_apart(name, channel, "too long", at=at)
        status = self.random.choice((DeliveryStatus.SENT, DeliveryStatus.PENDING, DeliveryStatus.DEAD))
        return lambda transaction: transaction.settle(name, channel, status, at=at, due_at=at + 1, error="or not")

    def _rule(self) -> Step:
        """What a channel's rules do to what waits: hold, let go, drop, or tell together."""
        channel = self.random.choice(CHANNELS)
        waiting = [one for n in (1, 2, 3) for one in self.model.waiting(channel, f"aave:0x0{n}")]
        unseen = [one for one in waiting if one.status in UNSEEN and one.notice.event is not NoticeEvent.SUMMARY]
        if not unseen:
            return self._tell()
        one, at = self.random.choice(unseen).notice.id, float(self.steps)
        together = [each.notice for each in self.random.sample(unseen, self.random.randint(1, len(unseen)))]
        number = max(each.block_number for each in together)
        whole = notice(f"summary {self.steps}", number, NoticeEvent.SUMMARY, of=f"summary:{channel}")
        until = at + self.random.choice((1.0, 1e9))
        steps: tuple[Step, ...] = (
            lambda transaction: transaction.hold(one, channel, until),
            lambda transaction: transaction.release(one, channel),
            lambda transaction: transaction.drop(one, channel, "over", at=at),
            lambda transaction: transaction.carry(whole, channel, [each.id for each in together], at=at),
        )
        return self.random.choice(steps)

    def _act(self) -> Step:
        names = [one.id for one in self.model.intents(unsettled=True)]
        if not names or self.random.random() < 0.3:
            names = [f"intent {self.steps}"]
        name = self.random.choice(names)
        old = self.model.journal.get(name)
        new = intent(
            name,
            IntentStatus.PLANNED if old is None else self.random.choice(list(IntentStatus)),
            attempts=1 if old is None else len(old.attempts) + self.random.randint(0, 1),
            updated_at=float(self.steps),
        )
        return lambda transaction: transaction.put_intent(new)
