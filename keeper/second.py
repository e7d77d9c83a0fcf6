"""Positions about to be acted on or told of, as other endpoints see them: asked at the moment at which the node
simulates.

What a contract itself says of a position at a block is held against what we judged, number by number. With two
endpoints a contradiction is a tie, and the position is held for a few blocks; with three, the odd one out has lied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

import structlog

from keeper.core.errors import DecodeError, RpcLied
from keeper.core.types import Block, Call
from keeper.executor.ports import Opinion, Opinions, Opportunity
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.witness import Witness

log = structlog.get_logger(__name__)

ASKED = 2
"""Most endpoints that are asked besides the one that a block was read from."""


class OtherEndpoints:
    """deadline_s: how long they may take; who is later has no say. What others see otherwise is to be read again."""

    def __init__(self, witness: Witness, deadline_s: float) -> None:
        self._witness = witness
        self._deadline_s = deadline_s
        self._weighed: tuple[bytes, dict[str, Opinion | None]] = (b"", {})  # of one block: whoever lied lied once

    def ask(self, block: Block, opportunities: Sequence[Opportunity]) -> Awaitable[Opinions] | None:
        asked = self._whom()
        if not asked or not opportunities:
            return None
        return asyncio.create_task(self._ask(block, opportunities, asked), name="ask others")

    def _whom(self) -> Sequence[Endpoint]:
        return self._witness.others()[:ASKED]

    async def _ask(self, block: Block, opportunities: Sequence[Opportunity], others: Sequence[Endpoint]) -> Opinions:
        calls: list[Call] = []
        slices: dict[str, slice] = {}
        for one in opportunities:
            wanted = one.venue.adapter.confirm_calls(one.venue.book.market, one.key)
            slices[one.cause] = slice(len(calls), len(calls) + len(wanted))
            calls += wanted
        told = await asyncio.gather(*(self._witness.call(e, calls, block.ref, self._deadline_s) for e in others))
        answered = [(other, results) for other, results in zip(others, told, strict=True) if results is not None]

        def opinion(one: Opportunity) -> Opinion | None:
            if self._weighed[0] != block.hash:
                self._weighed = (block.hash, {})
            _, weighed = self._weighed
            if weighed.get(one.cause) is None:
                weighed[one.cause] = weigh(one)
            return weighed[one.cause]

        def weigh(one: Opportunity) -> Opinion | None:
            part, book = slices.get(one.cause), one.venue.book
            position = book.positions.get(one.key)
            if part is None or position is None:
                return None
            views = {other: view for other, results in answered if (view := _view(one, results[part])) is not None}
            if not views:
                return None
            ours = dict(one.venue.adapter.assess(book.market, book.prices, position, block.timestamp).native)
            return self._weigh(one, block, ours, views)

        return opinion

    def _weigh(
        self, one: Opportunity, block: Block, ours: Mapping[str, Any], views: Mapping[Endpoint, Mapping[str, Any]]
    ) -> Opinion:
        confirming = [endpoint for endpoint, view in views.items() if view == ours]
        denying = [endpoint for endpoint in views if endpoint not in confirming]
        if not denying:
            return Opinion(confirms=True)
        view = views[denying[0]]
        differing = [name for name in view if view[name] != ours.get(name)]
        differs = ", ".join(f"{name} {ours.get(name)} / {view[name]}" for name in differing)
        said = f"{one.position} at block {block.number}: {differs} (as we have it / as {denying[0].name} does)"
        log.warning("position_contradicted", position=one.position, block=block.number, difference=differs)
        if confirming:  # two against one
            for endpoint in denying:
                endpoint.failed(RpcLied(f"{said}; {confirming[0].name} says what we have"))
            return Opinion(confirms=True)
        self._witness.distrust(one.venue.name, one.key)
        source = self._witness.source
        if len(denying) > 1 and all(views[other] == view for other in denying) and source is not None:
            source.failed(RpcLied(f"{said}, and so do {len(denying) - 1} others"))
        return Opinion(contradicts=said)


class SameEndpoint(OtherEndpoints):
    """The endpoint that told of the block, where there is no other: what its contracts say does not follow from the
    logs that it gave, so logs that were left out show."""

    def _whom(self) -> Sequence[Endpoint]:
        source = self._witness.source
        return [] if source is None else [source]


def _view(one: Opportunity, results: Sequence[Any]) -> Mapping[str, Any] | None:
    try:
        return dict(one.venue.adapter.native_view(results))
    except DecodeError:
        return None
