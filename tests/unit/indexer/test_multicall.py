"""The hand-written aggregate3 coder against the general one."""

from __future__ import annotations

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import KeeperError, RpcMalformed
from keeper.core.multicall import Outcome, decode_aggregate3, encode_aggregate3
from keeper.core.types import Call

calls = st.lists(st.builds(Call, st.binary(min_size=20, max_size=20), st.binary(max_size=100)), max_size=20)
outcomes = st.lists(st.builds(Outcome, st.booleans(), st.binary(max_size=100)), max_size=20)


@given(calls)
def test_encoding_equals_the_general_coder(batch: list[Call]) -> None:
    expected = encode(["(address,bool,bytes)[]"], [[(call.target, True, call.data) for call in batch]])
    assert encode_aggregate3(batch) == bytes.fromhex("82ad56cb") + expected


@given(outcomes)
def test_decoding_inverts_the_general_coder(results: list[Outcome]) -> None:
    data = encode(["(bool,bytes)[]"], [results])
    assert decode_aggregate3(data, len(results)) == results


@given(st.lists(st.builds(Outcome, st.booleans(), st.binary(max_size=100)), min_size=1, max_size=5), st.data())
def test_a_truncated_answer_is_never_read(results: list[Outcome], data: st.DataObject) -> None:
    """Cutting off more than the last padding is always noticed."""
    whole = encode(["(bool,bytes)[]"], [results])
    padding = -len(results[-1].data) % 32
    cut = whole[: data.draw(st.integers(0, len(whole) - padding - 1))]
    with pytest.raises(RpcMalformed):
        decode_aggregate3(cut, len(results))


@given(st.binary(max_size=400), st.integers(0, 4))
def test_arbitrary_bytes_either_decode_or_are_malformed(data: bytes, count: int) -> None:
    """Never anything else, such as an IndexError from an absurd offset."""
    try:
        assert len(decode_aggregate3(data, count)) == count
    except KeeperError as error:
        assert isinstance(error, RpcMalformed)


def test_an_answer_to_another_number_of_calls_is_malformed() -> None:
    data = encode(["(bool,bytes)[]"], [[(True, b"x")]])
    assert decode(["(bool,bytes)[]"], data) == (((True, b"x"),),)
    with pytest.raises(RpcMalformed, match="holds 1 results, 2 calls"):
        decode_aggregate3(data, 2)
