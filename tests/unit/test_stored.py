"""Positions that stay in the store are a mapping like any other, whatever was put and not stored yet."""

from __future__ import annotations

from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.records import CommittedBlock, Fact
from keeper.core.types import Block, BlockRef
from keeper.store import open_store
from keeper.stored import StoredPositions

KEYS = [bytes([n]) * 20 for n in range(6)]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.integers(0, 99)),
        st.tuples(st.just("delete"), st.sampled_from(KEYS)),
        st.tuples(st.just("keep")),
        st.tuples(st.just("read"), st.sampled_from(KEYS)),
    ),
    max_size=30,
)


@given(steps, st.integers(1, 8))
@settings(max_examples=60)
def test_a_book_in_the_store_is_the_book_in_memory(happening: list[tuple], kept: int) -> None:
    """Seen as a mapping, in pages, and in order behind any key; however few positions are kept as objects."""
    model: dict[bytes, int] = {}
    stored: dict[bytes, int] = {}
    with closing(open_store("sqlite://", chain_id=1)) as store:
        positions = StoredPositions(store, "aave", lambda payload: int(payload), kept)
        for number, (what, *of) in enumerate(happening, 1):
            if what == "put":
                positions[of[0]] = model[of[0]] = of[1]
            elif what == "delete":
                assert positions.pop(of[0], None) == model.pop(of[0], None)
            elif what == "read":
                assert positions.get(of[0]) == model.get(of[0])
            else:
                gone = {key: None for key in stored if key not in model}
                facts = [
                    Fact("aave", "position", key, None if value is None else str(value).encode())
                    for key, value in {**gone, **model}.items()
                ]
                header = Block(BlockRef(number, bytes([number]) * 32), b"", number)
                with store.transaction() as tx:
                    tx.advance(CommittedBlock(header, tuple(facts)))
                positions.settle()
                stored = dict(model)
        assert dict(positions) == dict(positions.items()) == model
        assert (len(positions), set(positions), sorted(positions.values())) == (
            len(model),
            set(model),
            sorted(model.values()),
        )
        paged = {
            key: int(payload)
            for keys, payloads in positions.pages()
            for key, payload in zip(keys, payloads, strict=True)
        }
        assert paged | {key: model[key] for key in positions.unstored()} == model
        for after in (b"", *KEYS):
            expected = sorted(key for key in stored if key in model and key > after)
            assert positions.behind(after, 2) == expected[:2]


def test_of_many_positions_few_stay_as_objects() -> None:
    """What was asked for longest ago goes first, and is read again when it is asked for again."""
    loaded: list[bytes] = []

    def load(payload: bytes) -> bytes:
        loaded.append(payload)
        return payload

    with closing(open_store("sqlite://", chain_id=1)) as store:
        facts = tuple(Fact("aave", "position", key, key) for key in KEYS)
        with store.transaction() as tx:
            tx.advance(CommittedBlock(Block(BlockRef(1, b"\x01" * 32), b"", 1), facts))
        positions = StoredPositions(store, "aave", load, 2)
        for key in (KEYS[0], KEYS[1], KEYS[1], KEYS[2], KEYS[1], KEYS[0]):
            assert positions[key] == key
        assert loaded == [KEYS[0], KEYS[1], KEYS[2], KEYS[0]]
