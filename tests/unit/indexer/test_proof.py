"""The hash of a header is that of its fields; once an endpoint's headers were proven, all of them must be."""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from keeper.core.errors import HeaderUnproven, RpcLied
from keeper.indexer.rpc.proof import GIVES_UP_AFTER, HeaderProof, header_hash
from keeper.indexer.rpc.wire import WireHeader, read_header

ZERO = "0x" + "00" * 32
GENESIS = WireHeader(  # of Ethereum
    number="0x0",
    hash="0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    parent_hash=ZERO,
    timestamp="0x0",
    gas_limit="0x1388",
    gas_used="0x0",
    logs_bloom="0x" + "00" * 256,
    sha3_uncles="0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    miner="0x" + "00" * 20,
    state_root="0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
    transactions_root="0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    receipts_root="0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    difficulty="0x400000000",
    extra_data="0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
    mix_hash=ZERO,
    nonce="0x0000000000000042",
)


def with_(**changes: object) -> WireHeader:
    return msgspec.structs.replace(GENESIS, **changes)


def test_the_hash_of_a_real_block():
    assert f"0x{(header_hash(GENESIS) or b'').hex()}" == GENESIS.hash


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": "0x1"},
        {"parent_hash": "0x" + "01" * 32},
        {"number": "0x1"},
        {"gas_used": "0x1"},
        {"logs_bloom": "0x01" + "00" * 255},
        {"base_fee_per_gas": "0x7"},
        {"hash": "0x" + "5a" * 32},
        {"state_root": None},
        {"extra_data": "0x1"},
    ],
)
def test_a_header_with_a_changed_field_is_a_lie(change: dict[str, object]):
    """Of an endpoint whose headers were proven before; leaving a field out is no way around it."""
    proof = HeaderProof()
    proof.check(GENESIS, "header")
    with pytest.raises(RpcLied, match="do not hash to its"):
        proof.check(with_(**change), "header")


def test_what_was_never_proven_is_taken_on_trust():
    """Some chains hash other fields than their nodes tell."""
    proof = HeaderProof()
    for number in range(10):
        proof.check(with_(number=hex(number), timestamp="0x5"), "header")
    assert not proof.proven


def test_a_hard_fork_that_adds_fields_does_not_blind_keeper_for_good():
    """After so many heights in a row nothing is proven any more; one lie told over and over is one height."""
    proof = HeaderProof()
    proof.check(GENESIS, "header")
    refused = 0
    for number in [1, 1, 1, *range(2, GIVES_UP_AFTER + 3)]:
        try:
            proof.check(with_(number=hex(number)), "header")
        except RpcLied:
            refused += 1
    assert refused == 2 + GIVES_UP_AFTER - 1
    assert not proof.proven


def proven_at(number: int) -> WireHeader:
    header = with_(number=hex(number))
    return msgspec.structs.replace(header, hash=f"0x{(header_hash(header) or b'').hex()}")


def test_lies_now_and_then_are_never_put_down_to_a_fork():
    """A header that is proven above them shows that none was at work."""
    proof = HeaderProof()
    for number in range(0, 6 * GIVES_UP_AFTER, 2):
        proof.check(proven_at(number), "header")
        with pytest.raises(HeaderUnproven) as unproven:
            proof.check(with_(number=hex(number + 1)), "header")
        assert unproven.value.number == number + 1
    assert proof.proven


def test_older_headers_say_nothing_about_a_fork_and_are_proven_after_it():
    """A final block is read again and again meanwhile; its header hashes by the old rules."""
    proof = HeaderProof()
    proof.check(proven_at(99), "header")
    for number in range(100, 100 + GIVES_UP_AFTER):
        with contextlib.suppress(HeaderUnproven):
            proof.check(with_(number=hex(number)), "header")
        proof.check(proven_at(50), "header")
    assert proof.gave_up and not proof.proven
    proof.check(with_(number="0x80"), "header")
    with pytest.raises(HeaderUnproven):
        proof.check(with_(number="0x10"), "header")
    proof.check(proven_at(130), "header")
    assert proof.proven, "a header above was proven after all"


def test_reading_a_header_proves_it():
    raw = msgspec.Raw(msgspec.json.encode(with_(timestamp="0x9")))
    proof = HeaderProof()
    proof.check(GENESIS, "header")
    with pytest.raises(RpcLied, match="newHeads: the fields of block 0 "):
        read_header(raw, "newHeads", proof.check)
