"""Price updates read from call data, held against eth-abi's own encoding of what Chainlink's contracts take."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector as selector
from hypothesis import given
from hypothesis import strategies as st

from keeper.config.table import kinds
from keeper.core.errors import DecodeError
from keeper.core.types import Log
from keeper.executor.oracles import chainlink_ocr1, chainlink_ocr2, forwarder, settable
from keeper.executor.oracles.arguments import MOST_BYTES, median
from keeper.executor.oracles.ports import Written
from keeper.executor.oracles.written import ANSWER_UPDATED, Reader, announced

AGGREGATOR, FORWARDER = b"\xa1" * 20, b"\xf0" * 20
READER = Reader([chainlink_ocr1.build(), chainlink_ocr2.build(), forwarder.build(), settable.build()])

INT192 = st.integers(-(2**191), 2**191 - 1)
OBSERVATIONS = st.lists(INT192, min_size=1, max_size=31).map(sorted)
WORDS = st.lists(st.binary(min_size=32, max_size=32), max_size=11)
WORD = st.binary(min_size=32, max_size=32)

OCR1 = "transmit(bytes,bytes32[],bytes32[],bytes32)"
OCR2 = "transmit(bytes32[3],bytes,bytes32[],bytes32[],bytes32)"
OCR2_SECONDARY = "transmitSecondary(bytes32[3],bytes,bytes32[],bytes32[],bytes32)"


def call(signature: str, *values: object) -> bytes:
    inside = signature[signature.index("(") + 1 : -1]
    return selector(signature) + encode(inside.split(",") if inside else (), values)


def ocr1(observations: Sequence[int], rs: Sequence[bytes] = (), word: bytes = bytes(32)) -> bytes:
    report = encode(("bytes32", "bytes32", "int192[]"), (word, word, observations))
    return call(OCR1, report, rs, rs, word)


def ocr2(
    observations: Sequence[int], rs: Sequence[bytes] = (), word: bytes = bytes(32), function: str = OCR2, at: int = 0
) -> bytes:
    report = encode(("uint32", "bytes32", "int192[]", "int192"), (at, word, observations, 1))
    return call(function, [word] * 3, report, rs, rs, word)


@given(OBSERVATIONS, WORDS, WORD)
def test_ocr1_answers_the_upper_median_of_its_report(observations: list[int], rs: list[bytes], word: bytes) -> None:
    answer = observations[len(observations) // 2]
    assert READER.updates(AGGREGATOR, ocr1(observations, rs, word)) == [Written(AGGREGATOR, answer)]


@given(OBSERVATIONS, WORDS, WORD, st.sampled_from([OCR2, OCR2_SECONDARY]), st.integers(0, 2**32 - 1))
def test_ocr2_answers_the_upper_median_of_its_report(
    observations: list[int], rs: list[bytes], word: bytes, function: str, at: int
) -> None:
    answer = observations[len(observations) // 2]
    data = ocr2(observations, rs, word, function, at)
    assert READER.updates(AGGREGATOR, data) == [Written(AGGREGATOR, answer)]


@given(st.integers(-(2**255), 2**255 - 1), st.integers(0, 2**256 - 1))
def test_a_settable_feed_answers_what_it_is_set_to(answer: int, at: int) -> None:
    expected = [Written(AGGREGATOR, answer)]
    assert READER.updates(AGGREGATOR, call("set(int256)", answer)) == expected
    assert READER.updates(AGGREGATOR, call("setAt(int256,uint256)", answer, at)) == expected


@pytest.mark.parametrize("function", ["forward(address,bytes)", "ownerForward(address,bytes)"])
@given(observations=OBSERVATIONS)
def test_a_forwarder_passes_the_update_on(function: str, observations: list[int]) -> None:
    data = call(function, "0x" + AGGREGATOR.hex(), ocr2(observations))
    expected = [Written(AGGREGATOR, observations[len(observations) // 2])]
    assert READER.updates(FORWARDER, data) == expected
    twice = call(function, "0x" + FORWARDER.hex(), data)
    assert READER.updates(FORWARDER, twice) == expected


def test_a_forwarder_may_pass_several_on_at_once() -> None:
    other = b"\xa2" * 20
    targets = ["0x" + AGGREGATOR.hex(), "0x" + other.hex(), "0x" + other.hex()]
    data = call("multiForward(address[],bytes[])", targets, [ocr1([1, 2, 3]), ocr2([5]), b"whatever"])
    assert sorted(READER.updates(FORWARDER, data), key=lambda one: one.answer) == [
        Written(AGGREGATOR, 2),
        Written(other, 5),
    ]


@given(st.sampled_from(sorted(READER._kinds)), st.binary(max_size=700))
def test_garbage_is_no_update_and_no_error(first: bytes, garbage: bytes) -> None:
    """Whatever anybody puts behind a selector."""
    for written in READER.updates(AGGREGATOR, first + garbage):
        assert -(2**255) <= written.answer < 2**255


@given(OBSERVATIONS, st.data())
def test_a_damaged_report_is_read_as_the_contract_would_or_not_at_all(
    observations: list[int], data: st.DataObject
) -> None:
    """One changed byte anywhere never makes an error of another kind."""
    raw = bytearray(ocr2(observations))
    raw[data.draw(st.integers(4, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert len(READER.updates(AGGREGATOR, bytes(raw))) <= 1


@pytest.mark.parametrize("observations", [[], [3, 2, 1]])
def test_what_an_aggregator_reverts_on_is_no_update(observations: list[int]) -> None:
    assert READER.updates(AGGREGATOR, ocr1(observations)) == []
    with pytest.raises(DecodeError, match="observations"):
        median(observations)


def test_nobody_keeps_the_decoder_busy() -> None:
    """Lengths that nothing backs, nesting without end, and more than any update can be."""
    huge = selector(OCR1) + (2**255).to_bytes(32, "big") * 4
    assert READER.updates(AGGREGATOR, huge) == []
    assert READER.updates(AGGREGATOR, call("forward(address,bytes)", "0x" + "11" * 20, bytes(MOST_BYTES))) == []
    nested = ocr1([1])
    for _ in range(20):
        nested = call("forward(address,bytes)", "0x" + FORWARDER.hex(), nested)
    assert READER.updates(FORWARDER, nested) == []


@given(st.integers(-(2**255), 2**255 - 1))
def test_the_answer_of_a_log_is_signed(answer: int) -> None:
    topics = (ANSWER_UPDATED, "0x" + (answer % 2**256).to_bytes(32, "big").hex(), "0x" + "00" * 32)
    log = Log("0x" + AGGREGATOR.hex(), topics, "0x" + "00" * 32)
    other = Log("0x" + AGGREGATOR.hex(), ("0x" + "11" * 32,))
    assert announced([other, log]) == [Written(AGGREGATOR, answer)]


def test_every_kind_is_found_by_its_module() -> None:
    assert kinds("keeper.executor.oracles") == ["chainlink_ocr1", "chainlink_ocr2", "forwarder", "settable"]
    assert READER.knows(ocr1([1]))
    assert not READER.knows(b"\0\0\0\0")
