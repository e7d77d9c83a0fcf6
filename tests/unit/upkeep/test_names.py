"""What accounts are called, from labels and from a cache that expires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from keeper.core.errors import RpcUnavailable
from keeper.core.types import Call, CallResult
from keeper.store import open_store
from keeper.store.sql import SqlStore
from keeper.upkeep import ens
from keeper.upkeep.names import AT_ONCE, Names

ALICE, BOB = b"\xa1" * 20, b"\xb0" * 20
REGISTRY = b"\x0e" * 20


@pytest.fixture
def store() -> Iterator[SqlStore]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        yield store


class Chain:
    """A registry that knows these names, both ways."""

    def __init__(self, **accounts: bytes) -> None:
        self.accounts = {f"{name}.eth": account for name, account in accounts.items()}
        self.asked = 0

    async def execute(self, calls: Sequence[Call]) -> Sequence[CallResult]:
        self.asked += bool(calls)
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> CallResult:
        selector, node = call.data[:4], call.data[4:]
        for name, account in self.accounts.items():
            if node == ens.namehash(f"{account.hex()}.addr.reverse") and selector == ens._NAME:
                return (32).to_bytes(32, "big") + len(name).to_bytes(32, "big") + name.encode().ljust(32, b"\0")
            if node == ens.namehash(name) and selector == ens._ADDR:
                return bytes(12) + account
        return bytes(12) + REGISTRY if selector == ens._RESOLVER else None


async def test_a_name_is_shown_until_it_expires_and_looked_up_again_before(store: SqlStore) -> None:
    """Its absence is remembered as well, so that nobody is asked at every block."""
    now, chain = 1000.0, Chain(alice=ALICE)
    names = Names({}, store, REGISTRY, 100.0, lambda: now)
    assert names.of(ALICE) is None and names.wanting([ALICE, BOB, ALICE]) == [ALICE, BOB]
    await names.look_up([ALICE, BOB], chain.execute)
    assert (names.of(ALICE), names.of(BOB), names.wanting([ALICE, BOB])) == ("alice.eth", None, [])
    now = 1051.0
    assert names.wanting([ALICE, BOB]) == [ALICE, BOB] and names.of(ALICE) == "alice.eth"
    now = 1100.0
    assert names.of(ALICE) is None
    restarted = Names({}, store, REGISTRY, 101.0, lambda: now)
    assert restarted.of(ALICE) == "alice.eth"


async def test_a_name_that_was_sold_is_forgotten_with_the_next_look(store: SqlStore) -> None:
    names = Names({}, store, REGISTRY, 100.0, lambda: 1000.0)
    await names.look_up([ALICE], Chain(alice=ALICE).execute)
    await names.look_up([ALICE], Chain(bob=BOB).execute)
    assert names.of(ALICE) is None


async def test_a_node_that_does_not_answer_changes_nothing(store: SqlStore) -> None:
    """The name that is known stays known until it expires."""

    async def nobody(calls: Sequence[Call]) -> Sequence[CallResult]:
        raise RpcUnavailable("no endpoint answered")

    names = Names({}, store, REGISTRY, 100.0, lambda: 1000.0)
    await names.look_up([ALICE], Chain(alice=ALICE).execute)
    with pytest.raises(RpcUnavailable):
        await names.look_up([ALICE], nobody)
    assert names.of(ALICE) == "alice.eth"


async def test_labels_come_first_and_need_no_registry(store: SqlStore) -> None:
    """Where there is no ENS nobody is asked, and what another chain's Keeper remembered does not count."""
    chain = Chain(alice=ALICE, bob=BOB)
    await Names({}, store, REGISTRY, 100.0, lambda: 1000.0).look_up([ALICE, BOB], chain.execute)
    labelled = Names({ALICE: "Treasury"}, store, REGISTRY, 100.0, lambda: 1000.0)
    assert (labelled.of(ALICE), labelled.of(BOB)) == ("Treasury", "bob.eth")
    without = Names({ALICE: "Treasury"}, store, None, 100.0, lambda: 1000.0)
    assert (without.of(ALICE), without.of(BOB), without.wanting([ALICE, BOB])) == ("Treasury", None, [])
    asked = chain.asked
    await without.look_up([BOB], chain.execute)
    assert chain.asked == asked


def test_many_accounts_are_looked_up_a_part_at_a_time(store: SqlStore) -> None:
    names = Names({}, store, REGISTRY, 100.0, lambda: 1000.0)
    assert len(names.wanting([number.to_bytes(20, "big") for number in range(500)])) == AT_ONCE
