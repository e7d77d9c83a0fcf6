"""What is asked of a block, and what its answers are taken to mean: anything that cannot be true is a "don't know"."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import DecodeError, RpcUnavailable
from keeper.core.types import BlockRef
from keeper.executor.questions import Questions, ask, read_receipt

ACCOUNT, TOKEN, POOL = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
HASH = b"\x0a" * 32
BLOCK = BlockRef(9, b"\x09" * 32)
LOG: dict[str, Any] = {
    "address": "0x" + "0C" * 20,
    "topics": ["0x" + "AB" * 32],
    "data": "0x",
    "blockNumber": "0x9",
    "blockHash": "0x" + BLOCK.hash.hex(),
    "transactionHash": "0x" + HASH.hex(),
    "logIndex": "0x0",
}
TRUE_RECEIPT: dict[str, Any] = {
    "transactionHash": "0x" + HASH.hex(),
    "blockHash": "0x" + BLOCK.hash.hex(),
    "blockNumber": "0x9",
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x2",
    "logs": [],
}


def questions(**more: Any) -> Questions:
    usual: dict[str, Any] = {
        "percentile": 60,
        "approvals": [(TOKEN, POOL)],
        "unknown_decimals": [TOKEN],
        "receipts": [HASH],
        "presence": [HASH],
    }
    return ask(BLOCK, ACCOUNT, **{**usual, **more})


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


ANSWERS: list[Any] = [
    "0x7",
    "0x64",
    {"reward": [["0x5"], ["0x9"]], "gasUsedRatio": [0.0, 0.4]},
    TRUE_RECEIPT,
    {"hash": "0x" + HASH.hex()},
    "0x9",
]


def test_everything_is_read_in_one_go_and_pinned_to_the_block() -> None:
    asked = questions()
    pinned = {"blockHash": "0x" + BLOCK.hash.hex()}
    assert [method for method, _ in asked.requests] == [
        "eth_getTransactionCount",
        "eth_getBalance",
        "eth_feeHistory",
        "eth_getTransactionReceipt",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
    ]
    assert asked.requests[-1][1][1] == "pending"
    assert asked.requests[0][1][1] == asked.requests[1][1][1] == pinned
    answers = asked.read([word(50), word(40), word(6)], ANSWERS, {})
    assert answers.wallet.tokens == {TOKEN: 50}
    assert answers.wallet.allowances == {(TOKEN, POOL): 40}
    assert answers.wallet.decimals == {TOKEN: 6}
    assert answers.wallet.native_wei == 100
    assert answers.sight.nonce == 7
    assert answers.sight.pending_nonce == 9
    assert answers.sight.receipts[HASH].cost_wei == 42_000
    assert answers.sight.known == {HASH: True}
    assert answers.tips_wei == (9,)  # an empty block says nothing about tips


def test_a_token_is_asked_for_its_decimals_once() -> None:
    asked = questions(unknown_decimals=[])
    assert asked.read([word(1), word(1)], ANSWERS, {TOKEN: 18}).wallet.decimals == {TOKEN: 18}


def test_a_read_that_failed_is_not_a_zero() -> None:
    failed = [RpcUnavailable("timed out")] * 6
    answers = questions().read([None, None, b""], failed, {})
    assert answers.wallet.tokens == {}
    assert answers.wallet.native_wei is None
    assert answers.sight.nonce is None
    assert answers.sight.receipts == {}
    assert answers.sight.known == {}
    assert answers.sight.pending_nonce is None
    assert answers.tips_wei == ()


def test_a_transaction_the_node_does_not_have_is_told_from_one_it_did_not_speak_of() -> None:
    assert questions().read([word(1)] * 3, [*ANSWERS[:3], None, None, None], {}).sight.known == {HASH: False}


@pytest.mark.parametrize("lie", ["-0x1", hex(2**63), hex(2**64 - 1), hex(2**256)])
def test_a_nonce_that_no_account_can_have_is_not_known(lie: str) -> None:
    sight = questions().read([word(1)] * 3, [lie, *ANSWERS[1:5], lie], {}).sight
    assert (sight.nonce, sight.pending_nonce) == (None, None)


def test_answers_that_do_not_match_the_questions_are_refused() -> None:
    with pytest.raises(DecodeError, match=r"asked 3 calls and 6 requests, but got 2 and 6"):
        questions().read([word(1)] * 2, ANSWERS, {})


def test_a_rollups_data_fee_counts() -> None:
    receipt = read_receipt(HASH, {**TRUE_RECEIPT, "l1Fee": "0x3e8"})
    assert receipt is not None
    assert receipt.cost_wei == 43_000


@pytest.mark.parametrize(
    "lie",
    [
        {"transactionHash": "0x" + "0b" * 32},
        {"blockHash": "0x0909"},
        {"blockNumber": None},
        {"blockNumber": "-0x1"},
        {"gasUsed": "-0x5208"},
        {"gasUsed": "0x52_08"},
        {"gasUsed": "0x" + "f" * 17},
        {"effectiveGasPrice": "-0x2"},
        {"l1Fee": "-0x1"},
        {"status": "0x2"},
        {"gasUsed": "0xzz"},
        {"status": None},
        {"logs": None},
        {"logs": [{"address": "0x"}]},
        {"logs": [{**LOG, "data": None}]},
        {"logs": [{**LOG, "data": "0x1"}]},
        {"logs": [{**LOG, "topics": [1]}]},
        {"logs": [{**LOG, "logIndex": "-0x1"}]},
    ],
)
def test_a_receipt_that_cannot_be_true_is_none(lie: dict[str, Any]) -> None:
    assert read_receipt(HASH, {**TRUE_RECEIPT, **lie}) is None


def test_logs_are_read_in_lower_case() -> None:
    receipt = read_receipt(HASH, {**TRUE_RECEIPT, "logs": [LOG]})
    assert receipt is not None
    [log] = receipt.logs
    assert (log.address, log.topics) == ("0x" + "0c" * 20, ("0x" + "ab" * 32,))


def test_no_balance_and_no_tip_is_negative() -> None:
    tips = {"reward": [["-0x5"], ["0x9"]], "gasUsedRatio": [0.5, 0.4]}
    answers = questions().read([word(1)] * 3, ["0x7", "-0x64", tips, *ANSWERS[3:]], {})
    assert (answers.wallet.native_wei, answers.tips_wei) == (None, ())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*TRUE_RECEIPT, "reward"]), inner),
    max_leaves=8,
)


@given(answers=st.lists(json_values, min_size=6, max_size=6))
def test_no_answer_however_wrong_stops_the_block(answers: list[Any]) -> None:
    """At worst nothing is known: then nothing is concluded and nothing is done."""
    read = questions().read([word(1)] * 3, answers, {})
    assert read.sight.receipts == {} or set(read.sight.receipts) == {HASH}
