"""What a header's bloom proves about the logs one was given."""

from __future__ import annotations

from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import Log, LogFilter
from keeper.indexer.bloom import Absence, Bloom, item_mask, log_mask, suspect

POOL, TOKEN, STRANGER = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
SUPPLY, TRANSFER, APPROVAL = keccak(b"Supply"), keccak(b"Transfer"), keccak(b"Approval")
WANTED = LogFilter(frozenset({POOL, TOKEN}), frozenset({SUPPLY, TRANSFER}))

items = st.binary(min_size=20, max_size=32)


def a_log(address: bytes, *topics: bytes, index: int = 0) -> Log:
    return Log("0x" + address.hex(), tuple("0x" + topic.hex() for topic in topics), log_index=hex(index))


def bloom_of(*logs: Log) -> bytes:
    bits = 0
    for log in logs:
        bits |= log_mask(log)
    return bits.to_bytes(256, "big")


def test_an_item_sets_the_bits_that_its_hash_names() -> None:
    """Three byte pairs of the keccak, modulo 2048; bit 0 is the lowest bit of the last byte."""
    digest = keccak(POOL)
    expected = {int.from_bytes(digest[i : i + 2], "big") % 2048 for i in (0, 2, 4)}
    data = bloom_of(a_log(POOL))
    assert {bit for bit in range(2048) if data[255 - bit // 8] >> (bit % 8) & 1} == expected


@given(st.sets(items, max_size=30))
def test_what_was_put_in_is_always_admitted(members: set[bytes]) -> None:
    bits = 0
    for member in members:
        bits |= item_mask(member)
    bloom = Bloom(bits.to_bytes(256, "big"))
    assert all(bloom.admits(member) for member in members)


def test_a_complete_answer_raises_no_suspicion() -> None:
    logs = [a_log(POOL, SUPPLY), a_log(TOKEN, TRANSFER, index=1)]
    assert suspect(bloom_of(*logs, a_log(STRANGER, APPROVAL)), WANTED, logs) is None


def test_a_dropped_log_is_suspicious() -> None:
    """The bloom holds the token's address and no log of it was given."""
    kept, dropped = a_log(POOL, SUPPLY), a_log(TOKEN, TRANSFER, index=1)
    suspicion = suspect(bloom_of(kept, dropped), WANTED, [kept])
    assert suspicion is not None
    assert suspicion.addresses == (TOKEN,)
    assert suspicion.topics == (TRANSFER,)


def test_a_block_without_our_addresses_is_not_suspicious() -> None:
    """Transfers of other tokens are everywhere."""
    assert suspect(bloom_of(a_log(STRANGER, TRANSFER)), WANTED, []) is None


def test_our_address_without_any_of_our_topics_is_not_suspicious() -> None:
    """An approval of our token is an event we did not ask for."""
    assert suspect(bloom_of(a_log(TOKEN, APPROVAL)), WANTED, []) is None


def test_a_full_bloom_accuses_nobody() -> None:
    """In a crowded block any address seems present by accident."""
    crowd = [a_log(bytes([i]) * 20, keccak(bytes([i]))) for i in range(4, 254)]
    assert suspect(bloom_of(a_log(TOKEN, TRANSFER), *crowd), WANTED, []) is None


def test_a_chain_that_leaves_blooms_empty_is_not_accused() -> None:
    assert suspect(bytes(256), WANTED, [a_log(POOL, SUPPLY)]) is None
    assert suspect(b"", WANTED, [a_log(POOL, SUPPLY)]) is None


def test_a_log_that_the_bloom_excludes_is_suspicious() -> None:
    forged = a_log(TOKEN, TRANSFER)
    suspicion = suspect(bloom_of(a_log(STRANGER, APPROVAL)), WANTED, [forged])
    assert suspicion is not None
    assert suspicion.surplus == 1


def test_receipts_that_lack_a_log_do_not_make_up_the_bloom() -> None:
    logs = [a_log(POOL, SUPPLY), a_log(STRANGER, APPROVAL, b"\x05" * 32)]
    assert not Bloom(bloom_of(*logs)).unexplained_by(logs)
    assert Bloom(bloom_of(*logs)).unexplained_by(logs[:1])


@given(
    st.lists(st.tuples(st.sampled_from([POOL, TOKEN, STRANGER]), st.sampled_from([SUPPLY, TRANSFER, APPROVAL]), items))
)
def test_absence_is_never_proven_of_a_block_that_has_a_log_of_ours(logs: list[tuple[bytes, bytes, bytes]]) -> None:
    bloom = bloom_of(*(a_log(*log) for log in logs))
    ours = any(address in WANTED.addresses and topic in WANTED.topics for address, topic, _ in logs)
    assert not (ours and Absence(WANTED).proven_by(bloom))


def test_absence_is_proven_where_no_address_or_no_topic_of_ours_is_admitted() -> None:
    absence = Absence(WANTED)
    assert absence.proven_by(bytes(256))
    assert absence.proven_by(bloom_of(a_log(STRANGER, SUPPLY)))
    assert absence.proven_by(bloom_of(a_log(POOL, APPROVAL)))
    assert not absence.proven_by(bloom_of(a_log(POOL, SUPPLY)))
    assert not absence.proven_by(b"\xff" * 256)
