"""What nodes say when they refuse a transaction, in their own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from keeper.core.errors import KeeperError, RpcMalformed, RpcRefused, RpcUnavailable
from keeper.executor.refusals import Refusal, classify
from keeper.executor.submitters.public import PublicMempool
from keeper.executor.submitters.sequencer import Sequencer


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("already known", Refusal.KNOWN),
        ("ALREADY_EXISTS: already known", Refusal.KNOWN),
        ("AlreadyKnown", Refusal.KNOWN),
        ("transaction already imported", Refusal.KNOWN),
        ("nonce too low: next nonce 7, tx nonce 5", Refusal.NONCE_TOO_LOW),
        ("OldNonce, Current nonce: 7, nonce of rejected tx: 5", Refusal.NONCE_TOO_LOW),
        ("replacement transaction underpriced", Refusal.UNDERPRICED),
        ("transaction underpriced: tip needed 1, tip permitted 0", Refusal.UNDERPRICED),
        ("max fee per gas less than block base fee: address 0x, maxFeePerGas: 1", Refusal.UNDERPRICED),
        ("FeeTooLow, MaxFeePerGas too low", Refusal.UNDERPRICED),
        ("insufficient funds for gas * price + value: balance 0, tx cost 1", Refusal.NO_FUNDS),
        ("Insufficient funds for gas * price + value", Refusal.NO_FUNDS),
        ("Upfront cost exceeds account balance", Refusal.NO_FUNDS),
        ("intrinsic gas too low", Refusal.OTHER),
        ("", Refusal.OTHER),
    ],
)
def test_refusals_are_told_apart_by_their_words(words: str, refusal: Refusal) -> None:
    assert classify(words) is refusal


class Answering:
    def __init__(self, *outcomes: KeeperError | None) -> None:
        self.outcomes = outcomes

    async def submit_many(self, raws: Sequence[bytes]) -> Sequence[KeeperError | None]:
        return self.outcomes


async def test_a_transaction_the_node_already_has_is_accepted() -> None:
    node = PublicMempool(Answering(RpcRefused("already known"), None))
    assert await node.submit_many([b"a", b"b"]) == [None, None]


async def test_one_submission_raises_what_the_node_said() -> None:
    with pytest.raises(RpcRefused, match="nonce too low"):
        await PublicMempool(Answering(RpcRefused("nonce too low"))).submit(b"a")
    with pytest.raises(RpcUnavailable):
        await PublicMempool(Answering(RpcUnavailable("timed out"))).submit(b"a")


async def test_fewer_answers_than_transactions_cannot_be_true() -> None:
    with pytest.raises(RpcMalformed, match="1 answers to 2 transactions"):
        await PublicMempool(Answering(None)).submit_many([b"a", b"b"])


class Endpoint:
    name = "sequencer"

    async def call(self, method: str, params: object) -> str:
        raise RpcRefused("max fee per gas less than block base fee", -32000)


async def test_what_was_not_sent_behind_a_refusal_was_refused_for_no_reason_of_its_own() -> None:
    """Of a sequencer that takes one after the other: else each would be paid an eighth more with every block."""
    sequencer = Sequencer(cast(Any, Endpoint()), "fcfs")
    outcomes = await sequencer.submit_many([b"\1", b"\2", b"\3"])
    assert [classify(str(one)) for one in outcomes] == [Refusal.UNDERPRICED, Refusal.OTHER, Refusal.OTHER]
    assert all(isinstance(one, RpcRefused) for one in outcomes)
