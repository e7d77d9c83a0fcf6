"""Reading a block: everything in one round trip and, if it touched anything of ours, a second one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import structlog

from keeper.core.errors import KeeperError, RpcMalformed
from keeper.core.types import Block, CallResult, LogFilter, Update
from keeper.executor.questions import Questions
from keeper.indexer.reads import drive
from keeper.pipeline.memory import Memory
from keeper.pipeline.ports import Chain, Request

log = structlog.get_logger(__name__)

_WIDENINGS = 4  # a filter that grows more often than this within one block is a defect of its adapter


@dataclass(frozen=True, slots=True)
class Read:
    """A block as read: each protocol's update, and the answers to the executor's questions and about finality."""

    updates: list[Update[Any, Any]]
    questions: Questions
    results: Sequence[CallResult]
    answers: Sequence[Any]
    finalized: int


class Reading:
    """finality: a block tag, or a number of confirmations."""

    def __init__(self, chain: Chain, memory: Memory, finality: str | int) -> None:
        self._chain = chain
        self._memory = memory
        self._finality = finality

    async def read(self, block: Block) -> Read:
        """Everything about a block, in one round trip and, if it touched anything of ours, a second one; once more from
        another node where what one says does not decode."""
        return await self._chain.decoded(lambda chain: self._read(chain, block))

    async def _read(self, chain: Chain, block: Block) -> Read:
        questions = self._memory.executor.questions(block.ref, self._memory.venues)
        extra: list[Request] = list(questions.requests)
        by_tag = isinstance(self._finality, str)
        if by_tag:
            extra.append(("eth_getBlockByNumber", [self._finality, False]))
        head_calls = [track.adapter.head_calls(track.book.market) for track in self._memory.tracks]
        calls = [call for group in (*head_calls, questions.calls) for call in group]
        filters = [track.filter for track in self._memory.tracks]
        for _ in range(_WIDENINGS):
            read = await chain.read_head(block, _union(filters), calls, extra)
            results = _split(read.results, [len(group) for group in (*head_calls, questions.calls)])
            syncs = [
                track.adapter.sync(track.book, block, read.logs, head)
                for track, head in zip(self._memory.tracks, results, strict=False)
            ]
            updates = await drive(syncs, lambda wanted: chain.call_many(wanted, block.ref))
            wider = [
                known if update.market is None else track.adapter.filter(update.market)
                for track, known, update in zip(self._memory.tracks, filters, updates, strict=True)
            ]
            if _union(wider).addresses <= _union(filters).addresses:
                answers = read.extra[: len(questions.requests)]
                finalized = self._final(block, read.extra[-1] if by_tag else None)
                return Read(updates, questions, results[-1], answers, finalized)
            filters = wider  # the block itself listed a market: its logs are to be read as well
        raise RpcMalformed(f"block {block.number} keeps naming new contracts after {_WIDENINGS} reads of its logs")

    def _final(self, block: Block, header: Any) -> int:
        """Height that can no longer be reorganized. Never falls; unchanged unless the node names a block of our chain.

        A height alone is not believed: one beyond the truth would make the next reorg unrecoverable.
        """
        if isinstance(self._finality, int):
            return max(self._memory.finalized, block.number - self._finality)
        if isinstance(header, KeeperError) or header is None:
            return self._memory.finalized
        try:
            number, said = int(header["number"], 16), bytes.fromhex(header["hash"][2:])
        except (KeyError, TypeError, ValueError):
            log.warning("finality_malformed", block=block.number, tag=self._finality, answer=str(header)[:120])
            return self._memory.finalized
        held = block if number == block.number else self._memory.window.at(number)
        return max(self._memory.finalized, number) if held is not None and held.hash == said else self._memory.finalized


def _union(filters: Sequence[LogFilter]) -> LogFilter:
    return reduce(LogFilter.union, filters) if filters else LogFilter(frozenset(), frozenset())


def _split(results: Sequence[CallResult], sizes: Sequence[int]) -> list[Sequence[CallResult]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(results[start : start + size])
        start += size
    return parts
