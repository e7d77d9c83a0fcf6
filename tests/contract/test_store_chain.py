"""What every store must know of the chain: facts by block, reverts, finality, and what a backfill saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keeper.core.errors import StoreError, UnrecoverableReorg
from keeper.core.records import CommittedBlock
from keeper.core.types import BlockRef
from keeper.store import SqlStore
from tests.support.store_work import (
    KEYS,
    block,
    commit,
    committed,
    finalize,
    position,
    revert,
)

FIRST, SECOND, THIRD = KEYS


def test_a_new_store_has_no_cursor(store):
    """Nothing indexed: no cursor, no blocks, no facts."""
    assert store.cursor() is None
    assert list(store.blocks()) == []
    assert list(store.facts("aave", "position")) == []


def test_headers_come_back_as_they_were(store):
    """Every field of a header survives, gas limits of 2**64 - 1 and absent base fees included."""
    first = replace(block(1), base_fee_wei=None, bloom=bytes(range(256)), gas_used=21_000)
    commit(store, CommittedBlock(first, ()), committed(2))
    assert list(store.blocks()) == [first, block(2)]
    assert store.cursor() == block(2).ref


def test_the_newest_version_is_current(store):
    """A fact is what the last block that mentions it says."""
    commit(store, committed(1, position(FIRST, b"one")), committed(2), committed(3, position(FIRST, b"three")))
    assert store.fact("aave", "position", FIRST) == b"three"
    assert list(store.facts("aave", "position")) == [(FIRST, b"three")]


def test_facts_of_other_kinds_and_protocols_do_not_mix(store):
    """A fact is found under its own protocol and kind only."""
    commit(store, committed(1, position(FIRST, b"p"), position(FIRST, b"m", kind="market", protocol="morpho")))
    assert list(store.facts("aave", "market")) == []
    assert list(store.facts("morpho", "market")) == [(FIRST, b"m")]


def test_a_closed_fact_is_not_listed(store):
    """A version without payload closes."""
    commit(store, committed(1, position(FIRST, b"one"), position(SECOND, b"")), committed(2, position(FIRST, None)))
    assert list(store.facts("aave", "position")) == [(SECOND, b"")]
    assert store.fact("aave", "position", FIRST) is None


@pytest.mark.parametrize(
    "wrong",
    [committed(4), committed(2), committed(1), committed(3, branch="other")],
    ids=["gap", "same height", "below", "other parent"],
)
def test_a_block_must_follow_the_cursor(store, wrong):
    """A block whose parent is not the cursor is refused and leaves nothing."""
    commit(store, committed(1), committed(2))
    with pytest.raises(StoreError, match="does not follow the cursor"):
        commit(store, wrong)
    assert store.cursor() == block(2).ref


def test_advancing_crosses_a_gap_and_forgets_older_headers(store):
    """After a scanned gap only the new header is left, and nothing below it can be reverted to."""
    commit(store, committed(1, position(FIRST, b"one"), position(SECOND, b"one")))
    with store.transaction() as transaction:
        transaction.advance(committed(50, position(FIRST, b"fifty")))
    assert list(store.blocks()) == [block(50)]
    assert dict(store.facts("aave", "position")) == {FIRST: b"fifty", SECOND: b"one"}
    with pytest.raises(UnrecoverableReorg):
        revert(store, 1)


def test_advancing_does_not_go_back(store):
    """The cursor moves over a gap upward only."""
    commit(store, committed(5))
    with pytest.raises(StoreError, match="already at block 5"), store.transaction() as transaction:
        transaction.advance(committed(5, branch="other"))


def test_sampling_crosses_a_gap_and_can_be_reverted(store):
    """Unlike advancing: what nobody read in between is no reason to forget what could be reverted to."""
    for one in (committed(1, position(FIRST, b"one")), committed(50, position(FIRST, b"fifty")), committed(90)):
        with store.transaction() as transaction:
            transaction.sample(one)
    assert list(store.blocks()) == [block(1), block(50), block(90)]
    revert(store, 1)
    assert (store.cursor(), store.fact("aave", "position", FIRST)) == (block(1).ref, b"one")
    with pytest.raises(StoreError, match="already at block 1"), store.transaction() as transaction:
        transaction.sample(committed(1, branch="other"))
    assert list(store.blocks()) == [block(1)]


def test_amending_replaces_what_the_block_at_the_cursor_says(store):
    """A repair: what it names is replaced or added, the rest of the block stays, and a revert undoes it."""
    commit(store, committed(1, position(FIRST, b"1")), committed(2, position(FIRST, b"2"), position(SECOND, b"2")))
    with store.transaction() as transaction:
        transaction.amend(committed(2, position(FIRST, None), position(THIRD, b"mended")))
    assert dict(store.facts("aave", "position")) == {SECOND: b"2", THIRD: b"mended"}
    revert(store, 1)
    assert dict(store.facts("aave", "position")) == {FIRST: b"1"}
    with pytest.raises(StoreError, match="the cursor is elsewhere"), store.transaction() as transaction:
        transaction.amend(committed(2))


def test_reverting_makes_older_versions_current_again(store):
    """What the orphaned blocks said is gone, closings included; what changed is told."""
    commit(
        store,
        committed(1, position(FIRST, b"one"), position(SECOND, b"one")),
        committed(2, position(FIRST, b"two")),
        committed(3, position(SECOND, None), position(THIRD, b"three")),
    )
    assert revert(store, 1) == {("aave", "position", key) for key in (FIRST, SECOND, THIRD)}
    assert dict(store.facts("aave", "position")) == {FIRST: b"one", SECOND: b"one"}
    assert store.cursor() == block(1).ref


def test_reverting_to_the_tip_changes_nothing(store):
    """The ancestor may be the cursor itself."""
    commit(store, committed(1, position(FIRST, b"one")))
    assert revert(store, 1) == frozenset()
    assert store.fact("aave", "position", FIRST) == b"one"


def test_a_branch_continues_where_the_other_was_cut(store):
    """Revert and commit in one transaction: the new branch replaces the old one."""
    commit(store, committed(1), committed(2, position(FIRST, b"old")), committed(3))
    with store.transaction() as transaction:
        transaction.revert_to(block(1).ref)
        transaction.commit_block(committed(2, position(FIRST, b"new"), branch="b", parent=block(1).ref))
    assert store.cursor() == block(2, "b").ref
    assert store.fact("aave", "position", FIRST) == b"new"


@pytest.mark.parametrize("ancestor", [block(1).ref, block(9).ref, block(4, "other").ref, BlockRef(4, b"")])
def test_an_ancestor_that_is_not_stored_is_unrecoverable(store, ancestor):
    """Below finality, above the tip, or another block of that height: halt, and change nothing."""
    commit(store, *(committed(number) for number in range(1, 6)))
    finalize(store, 3)
    with pytest.raises(UnrecoverableReorg, match="3 to 5"), store.transaction() as transaction:
        transaction.revert_to(ancestor)
    assert store.cursor() == block(5).ref


def test_finality_forgets_headers_and_superseded_versions(store, database):
    """Below finality one version of each fact is left, and none of what had closed."""
    commit(
        store,
        committed(1, position(FIRST, b"1"), position(SECOND, b"1"), position(THIRD, b"1")),
        committed(2, position(FIRST, b"2"), position(SECOND, None)),
        committed(3, position(FIRST, b"3")),
        committed(4, position(FIRST, b"4"), position(THIRD, b"4")),
    )
    finalize(store, 3)
    assert [one.number for one in store.blocks()] == [3, 4]
    assert versions(store) == {(FIRST, 3), (FIRST, 4), (THIRD, 1), (THIRD, 4)}
    revert(store, 3)
    assert dict(store.facts("aave", "position")) == {FIRST: b"3", THIRD: b"1"}


def test_finality_above_the_tip_keeps_the_tip(store):
    """Whatever is called final, one header is left to build on."""
    commit(store, committed(1, position(FIRST, b"1")), committed(2, position(FIRST, b"2")))
    finalize(store, 10)
    assert list(store.blocks()) == [block(2)]
    assert versions(store) == {(FIRST, 2)}
    commit(store, committed(3))


def test_advancing_leaves_no_superseded_versions(store):
    """Below a scanned gap nothing can be reverted to, so it is pruned like finality."""
    commit(store, committed(1, position(FIRST, b"1")), committed(2, position(FIRST, b"2"), position(SECOND, b"2")))
    with store.transaction() as transaction:
        transaction.advance(committed(9, position(SECOND, None)))
    assert versions(store) == {(FIRST, 2)}


def versions(store: SqlStore) -> set[tuple[bytes, int]]:
    return {(key, number) for key, number, _payload in store._versions("aave", "position")}


def test_what_an_episode_last_said_is_kept_for_ever(store):
    """A closed episode stays readable after finality, whether its closing has a payload or not."""
    commit(
        store,
        committed(1, position(b"e1", b"open", "episode"), position(b"e2", b"open", "episode")),
        committed(2, position(b"e1", b"cured", "episode"), position(b"e2", None, "episode")),
        *(committed(number) for number in range(3, 6)),
    )
    finalize(store, 5)
    assert list(store.episodes()) == [("aave", b"e1", b"cured", 2), ("aave", b"e2", b"open", 1)]
    assert list(store.episodes("morpho")) == []
    assert list(store.facts("aave", "episode")) == [(b"e1", b"cured")]


def test_many_facts_are_read_in_pages(store, monkeypatch):
    """Several versions of a key, split over two pages, are one fact."""
    keys = [number.to_bytes(20, "big") for number in range(25_000)]
    commit(store, committed(1, *(position(key, b"1") for key in keys)))
    commit(store, committed(2, *(position(key, b"2") for key in keys[9_990:10_010])))
    found = list(store.facts("aave", "position"))
    assert [key for key, _payload in found] == keys
    assert [key for key, payload in found if payload == b"2"] == keys[9_990:10_010]
    paged = [
        one for keys_, payloads in store.fact_pages("aave", "position") for one in zip(keys_, payloads, strict=True)
    ]
    assert paged == found


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_of_any_size_hold_the_newest_versions_of_what_has_not_closed(store, size):
    commit(
        store,
        committed(1, position(FIRST, b"1"), position(SECOND, b"1"), position(THIRD, b"1")),
        committed(2, position(FIRST, b"2"), position(SECOND, None)),
        committed(3, position(FIRST, b"3"), position(THIRD, b"3")),
    )
    for after, rest in zip([b"", FIRST, SECOND, THIRD], [[FIRST, THIRD], [THIRD], [THIRD], []], strict=True):
        pages = list(store.fact_pages("aave", "position", after=after, size=size))
        assert [key for keys, _ in pages for key in keys] == rest
        assert [payload for _, payloads in pages for payload in payloads] == [b"3"] * len(rest)


# --- backfill ---------------------------------------------------------------------------------------------------------


def test_touches_accumulate_until_cleared(store):
    """Each key once, however often it was seen; the mark is how far the scan came."""
    assert store.scanned_to("aave") is None
    with store.transaction() as transaction:
        transaction.add_touches("aave", [FIRST, SECOND, FIRST], 10)
        transaction.add_touches("aave", iter([SECOND, THIRD]), 20)
        transaction.add_touches("morpho", [], 5)
    assert set(store.touches("aave")) == {FIRST, SECOND, THIRD}
    assert (store.scanned_to("aave"), store.scanned_to("morpho")) == (20, 5)
    with store.transaction() as transaction:
        transaction.clear_touches("aave")
    assert list(store.touches("aave")) == []
    assert store.scanned_to("aave") == 20


def test_touches_of_any_size_and_bytes(store):
    """They go to the database packed by size, and come out as they were."""
    keys = {b"\x00", b"\x00\x00", b"\x00\x01", b"?", b"\xff" * 20, b"\x00" * 24, bytes(range(24)), b"a" * 52}
    with store.transaction() as transaction:
        transaction.add_touches("aave", keys, 1)
        transaction.add_touches("morpho", [b"\x00\x01"], 1)
    assert list(store.touches("aave")) == sorted(keys)
    assert list(store.touches("morpho")) == [b"\x00\x01"]


def test_reverting_pulls_back_how_far_was_scanned(store):
    """The new branch may hold logs that the scan of the old one did not see."""
    commit(store, committed(1), committed(2), committed(3))
    with store.transaction() as transaction:
        transaction.add_touches("aave", [FIRST], 3)
        transaction.add_touches("morpho", [FIRST], 1)
    revert(store, 2)
    assert (store.scanned_to("aave"), store.scanned_to("morpho")) == (2, 1)
