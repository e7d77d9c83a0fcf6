"""What is made of answers that do not decode."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from keeper.core.errors import DecodeError
from keeper.core.ports import Reads
from keeper.core.types import BlockRef, Call, CallResult
from keeper.indexer.decoding import Asking, decoded, read_state
from keeper.indexer.rpc.endpoint import Endpoint


class TwoEndpoints:
    """The one that is not to be avoided answers: bytes that decode, or an error."""

    def __init__(self, *answers: str | DecodeError) -> None:
        self.endpoints = [Endpoint(f"ws://127.0.0.1:{port}", 1) for port in (1, 2)]
        self.answers = dict(zip(self.endpoints, answers, strict=True))
        self.read: list[Endpoint] = []

    async def __call__(self, asking: Asking) -> str:
        endpoint = next(one for one in self.endpoints if one is not asking.avoid)
        asking.heard(endpoint)
        self.read.append(endpoint)
        answer = self.answers[endpoint]
        if isinstance(answer, DecodeError):
            raise answer
        return answer


async def test_what_decodes_is_read_once():
    node = TwoEndpoints("first", "second")
    assert await decoded(node) == "first"
    assert node.read == node.endpoints[:1]


async def test_where_another_endpoints_answer_decodes_the_first_is_to_blame():
    node = TwoEndpoints(DecodeError("price() returned 1 bytes"), "second")
    assert await decoded(node) == "second"
    odd, other = (one.status() for one in node.endpoints)
    assert (odd.consecutive_errors, other.consecutive_errors) == (1, 0)
    assert "price() returned 1 bytes" in (odd.last_error or "")


async def test_what_no_endpoint_says_in_a_form_that_decodes_is_nobodys_fault():
    """The contract speaks otherwise than it is understood: what it was first said to say is raised."""
    node = TwoEndpoints(DecodeError("first"), DecodeError("second"))
    with pytest.raises(DecodeError, match="first") as raised:
        await decoded(node)
    assert raised.value.__notes__ == ["read once more: second"]
    assert all(one.status().consecutive_errors == 0 for one in node.endpoints)


async def test_a_state_is_read_once_more_from_its_beginning_elsewhere():
    """Every round of it, since what one endpoint said first may be what does not decode later."""
    node, told, rounds = TwoEndpoints("odd", "even"), list[int](), 0

    class Node:
        async def read_calls(
            self, calls: Sequence[Call], block: BlockRef, *, avoid: Endpoint | None = None
        ) -> tuple[list[CallResult], Endpoint | None]:
            said = await node(asking := Asking(avoid))
            return [said.encode() for _ in calls], asking.answered

    def reading() -> Reads[str]:
        nonlocal rounds
        rounds += 1
        first = yield [Call(b"\x01" * 20, b"")]
        second = yield [Call(b"\x01" * 20, b"")] * 2
        if first != [b"even"]:
            raise DecodeError("it is odd")
        return str([*first, *second])

    block = BlockRef(1, b"\x01" * 32)
    assert await read_state(Node(), block, lambda: [reading()], told.append) == [str([b"even"] * 3)]
    assert (rounds, told) == (2, [1, 2, 1, 2])
    assert "it is odd; read once more" in (node.endpoints[0].status().last_error or "")


async def test_what_does_not_decode_before_anybody_was_asked_is_not_read_again():
    tries = 0

    async def reading(asking: Asking) -> None:
        nonlocal tries
        tries += 1
        asking.heard(None)
        raise DecodeError("stored bytes")

    with pytest.raises(DecodeError, match="stored"):
        await decoded(reading)
    assert tries == 1
