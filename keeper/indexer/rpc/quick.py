"""A question about the next block, put together before it, and asked in the very turn in which its head comes.

    head ─▶ a child of the block it was made for? ─▶ ask ─▶ prove the header meanwhile ─▶ answer ─▶ whoever asked acts
                                                                                           └▶ the head goes its way

No task is switched to in between. The head is held back until the answer is there, so that nothing else keeps this
process, or the node, busy; of a node whose last answer took longer than `PATIENCE_S` none is held back, and it
answers beside everything else. Whatever is odd (an error, a header that is not proven, an endpoint in disgrace) is
left to the ordinary way, which finds it too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from keeper.core.errors import KeeperError, RpcMalformed
from keeper.core.types import Block, BlockRef, Call, CallResult
from keeper.indexer.rpc.calls import CallPlan
from keeper.indexer.rpc.faults import understand
from keeper.indexer.rpc.mux import Replies, Subscription
from keeper.indexer.rpc.transport import DuplexTransport
from keeper.indexer.rpc.wire import ABSENT, decode_as, encode_call, hex_bytes, read_header, to_hex

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.rpc.pool import EndpointPool

log = structlog.get_logger(__name__)

PATIENCE_S = 0.005
"""A node on this machine, or beside it, answers sooner even where it is busy."""

_PLACE = BlockRef(0, bytes(31) + b"\x01")
_ID = 1_234_567_890


class _Ancestry(msgspec.Struct, rename="camel", gc=False):
    hash: str
    parent_hash: str


_ancestry = msgspec.json.Decoder(_Ancestry)


class QuickQuestion:
    """View calls to be made at the child of a block, as bytes with places for its hash and for the message's id.

    announced: told of the child, proven, right after the question left, and when its head came (time.perf_counter_ns);
    whether the answer is still wanted. answered: given the child and the results, in order; returns what the head had
    better wait for, as long again. Neither may raise.
    """

    def __init__(
        self,
        parent: BlockRef,
        calls: Sequence[Call],
        announced: Callable[[Block, int], bool],
        answered: Callable[[Block, Sequence[CallResult]], Sequence[asyncio.Future[Any]]],
    ) -> None:
        """Raises ValueError where the calls do not fit one request."""
        self.parent = to_hex(parent.hash)
        self.announced = announced
        self.answered = answered
        self._plan = CallPlan(calls, _PLACE, len(calls), 1 << 20)
        [request] = self._plan.requests
        before, after = encode_call(_ID, request).split(to_hex(_PLACE.hash).encode())
        self._before = before.split(str(_ID).encode())
        self._after = after

    def payload(self, block_hash: str, first_id: int) -> bytes:
        return b"".join((self._before[0], b"%d" % first_id, self._before[1], block_hash.encode(), self._after))

    def read(self, replies: Replies, where: str) -> list[CallResult]:
        """Raises what the node answered, and RpcMalformed where a call's failure proves nothing (see CallPlan.read)."""
        [reply] = replies
        if reply is None or (reply.error is None and reply.result is ABSENT):
            raise RpcMalformed(f"eth_call at {where}: no result")
        if reply.error is not None:
            raise understand(reply.error, "eth_call", where)
        results, alone = self._plan.read([reply.result])
        if alone:
            raise RpcMalformed(f"eth_call at {where}: {len(alone)} calls failed without a reason")
        return results


@dataclass(slots=True)
class _Asked:
    """block: once its header was proven. until: when its head goes its way without an answer."""

    push: msgspec.Raw
    question: QuickQuestion
    came_at_ns: int
    block: Block | None = None
    until: asyncio.TimerHandle | None = None


class Reflex:
    """Of one subscription to heads: `holds` each push while what the pool has ready to ask about it is asked."""

    def __init__(
        self, pool: EndpointPool, endpoint: Endpoint, transport: DuplexTransport, subscription: Subscription
    ) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._transport = transport
        self._subscription = subscription
        self._last: _Asked | None = None
        self._is_prompt = True

    def taken(self, push: msgspec.Raw) -> tuple[Block, int] | None:
        """The proven block of a push that was held, and when it came (time.perf_counter_ns)."""
        last = self._last
        return None if last is None or last.block is None or last.push is not push else (last.block, last.came_at_ns)

    def holds(self, push: msgspec.Raw) -> bool:
        """Ask what is ready to be asked of this head. False where nothing is, or anything is odd."""
        question = self._pool.quick
        if question is None or self._endpoint.errors or self._endpoint.quarantine.active:
            return False
        asked = self._last = _Asked(push, question, time.perf_counter_ns())
        try:
            head = decode_as(_ancestry, push, "newHeads")
            if head.parent_hash != question.parent:
                return False
            hex_bytes(head.hash, "newHeads: hash", 32)
            self._pool.quick = None  # of two children one is asked about
            exchange = self._transport.ask_now(1, partial(question.payload, head.hash), partial(self._answered, asked))
            self._endpoint.count(1)
            block = read_header(push, f"newHeads at {self._endpoint.name}", self._endpoint.pushed.check)
        except KeeperError as error:
            log.debug("head_not_asked_about_at_once", endpoint=self._endpoint.name, error=str(error))
            return False
        if block is None or not self._endpoint.pushed.proven or not question.announced(block, asked.came_at_ns):
            self._transport.mux.forget(exchange)
            return False
        asked.block = block
        asked.until = asyncio.get_running_loop().call_later(PATIENCE_S, self._release, asked)
        return self._is_prompt

    def _answered(self, asked: _Asked, replies: Replies | KeeperError) -> None:
        if asked.block is None or asked.until is None:
            return  # its header was not what it should be
        asked.until.cancel()
        self._is_prompt = time.perf_counter_ns() - asked.came_at_ns <= PATIENCE_S * 1e9
        try:
            if isinstance(replies, KeeperError):
                raise replies
            results = asked.question.read(replies, self._endpoint.name)
        except KeeperError as error:
            log.debug("head_not_answered_at_once", endpoint=self._endpoint.name, error=str(error))
        else:
            left = {one for one in asked.question.answered(asked.block, results) if not one.done()}
            if left and self._last is asked:
                self._wait_for(asked, left)
                return
        self._release(asked)

    def _wait_for(self, asked: _Asked, left: set[asyncio.Future[Any]]) -> None:
        """What was sent is the node's to take in before it is asked everything else about the block."""
        until = asyncio.get_running_loop().call_later(PATIENCE_S * len(left), self._release, asked)

        def done(one: asyncio.Future[Any]) -> None:
            left.discard(one)
            if not left:
                until.cancel()
                self._release(asked)

        for one in tuple(left):
            one.add_done_callback(done)

    def _release(self, asked: _Asked) -> None:
        if self._last is asked:
            self._subscription.release()
