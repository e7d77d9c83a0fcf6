"""Where no contract lists an account's positions, its own logs do: a few requests, resumed where they stopped.

A node that serves wide ranges tells everything at once, since the logs are asked by the account's topic. One that
serves narrow ones is asked for a few ranges at every look, the newest first, until the protocol's beginning is reached;
what was found is kept, so it is done once per account.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import structlog

from keeper.core.errors import LogRangeTooLarge, RetryableError, RpcMalformed, RpcRateLimited, RpcRefused
from keeper.core.ports import Traceable
from keeper.core.types import LogFilter, LogTrace
from keeper.indexer.logs import LogQuery, read_logs
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.faults import suggested_blocks
from keeper.indexer.rpc.wire import WireLog, strict, to_hex
from keeper.watch.look import Watched

log = structlog.get_logger(__name__)

REMEDY = "name the markets to look in with --market ID, or use another node"
TIMEOUT_S = 10.0
_ANYBODY = bytes(20)

OVERLAP_BLOCKS = 64
"""Asked again each time: what a reorg replaced near the head is found on the new branch."""


@dataclass(frozen=True, slots=True)
class Trail:
    """Blocks `low` to `high` were searched; touches: what was found there, for `snapshot`. high None: none were."""

    low: int = 0
    high: int | None = None
    touches: frozenset[bytes] = frozenset()

    def dump(self) -> str:
        return json.dumps([self.low, self.high, sorted(touch.hex() for touch in self.touches)])

    @classmethod
    def load(cls, text: str | None) -> Trail:
        if text is None:
            return cls()
        low, high, touches = json.loads(text)
        return cls(low, high, frozenset(map(bytes.fromhex, touches)))


def trace_of(adapter: Watched, account: bytes) -> LogTrace | None:
    """The logs to search; None where positions are found by state alone."""
    return adapter.trace(account) if isinstance(adapter, Traceable) else None


class Tracer:
    """Remembers how many blocks one request may span at this node. refused: it serves no such logs at all."""

    def __init__(self, rpc: RpcClient) -> None:
        self._rpc = rpc
        self._span = 1 << 62
        self.refused = False

    def is_complete(self, adapter: Watched, trail: Trail) -> bool:
        """Whether nothing older is left to search, where anything is searched at all."""
        nothing = self.refused or not isinstance(adapter, Traceable) or adapter.trace(_ANYBODY) is None
        return nothing or (trail.high is not None and trail.low <= adapter.start_block)

    async def extend(self, adapter: Watched, account: bytes, trail: Trail, head: int, most: int) -> Trail:
        """The trail up to this head, and further back, by at most so many requests; as it is when the node fails."""
        if not isinstance(adapter, Traceable) or self.refused or (trace := adapter.trace(account)) is None:
            return trail
        ahead = None if trail.high is None else max(adapter.start_block, trail.high + 1 - OVERLAP_BLOCKS)
        for _ in range(most):
            if trail.high is None:
                first, last = max(adapter.start_block, head - self._span + 1), head
            elif ahead is not None and ahead <= head:
                first, last = ahead, min(head, ahead + self._span - 1)
            elif trail.low > adapter.start_block:
                first, last = max(adapter.start_block, trail.low - self._span), trail.low - 1
            else:
                break
            try:
                logs = await self._ask(trace, first, last)
            except LogRangeTooLarge as error:
                self._span = min(suggested_blocks(error) or 1 << 62, max(1, (last - first + 1) // 4))
                continue
            except RetryableError as error:
                # wide ranges may simply take this node too long; an assessment must not wait for them
                if not isinstance(error, RpcRateLimited):
                    self._span = max(1, (last - first + 1) // 4)
                log.warning("account_logs_delayed", protocol=adapter.name, error=str(error))
                break
            except RpcRefused as error:
                self.refused = True
                log.warning("account_logs_refused", protocol=adapter.name, error=str(error), remedy=REMEDY)
                break
            touches = trail.touches | {adapter.touch_in(market, account) for market in adapter.traced(logs)}
            if trail.high is None:
                trail = Trail(first, last, touches)
            elif ahead is not None and first == ahead:
                trail, ahead = replace(trail, high=max(last, trail.high), touches=touches), last + 1
            else:
                trail = replace(trail, low=first, touches=touches)
        return trail

    async def _ask(self, trace: LogTrace, first: int, last: int) -> list[WireLog]:
        wanted = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": to_hex(trace.address),
            "topics": [None if topic is None else to_hex(topic) for topic in trace.topics],
        }
        event = trace.topics[0]
        assert event is not None
        query = LogQuery(LogFilter(frozenset({trace.address}), frozenset({event})))
        what = f"eth_getLogs of blocks {first} to {last}"
        found = await self._rpc.read(
            [("eth_getLogs", [wanted])],
            lambda answer: query.accept(read_logs(strict(answer.results[0])), what, first, last),
            timeout_s=TIMEOUT_S,
        )
        for one in found:
            for given, asked in zip(one.topics, trace.topics, strict=False):
                if asked is not None and given != to_hex(asked):
                    raise RpcMalformed(f"{what}: a log with topic {given[:70]}, which was not asked for")
        return found


async def trace_once(
    tracer: Tracer, adapters: Iterable[Watched], accounts: Collection[bytes], head: int, most: int
) -> tuple[dict[str, frozenset[bytes]], list[tuple[str, bytes]]]:
    """What a few requests find, by protocol; and the protocols and accounts of which they did not find everything."""
    found: dict[str, frozenset[bytes]] = {}
    unfinished: list[tuple[str, bytes]] = []
    for adapter in adapters:
        for account in accounts if isinstance(adapter, Traceable) else ():
            trail = await tracer.extend(adapter, account, Trail(), head, most)
            found[adapter.name] = found.get(adapter.name, frozenset()) | trail.touches
            if trace_of(adapter, account) is not None and (tracer.refused or not tracer.is_complete(adapter, trail)):
                unfinished.append((adapter.name, account))
    return found, unfinished
