"""Toward a block through the mempool of the node that we follow."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keeper.core.errors import KeeperError, RpcMalformed
from keeper.executor.ports import AtOnce, Node, RawSender
from keeper.executor.refusals import is_known


@dataclass(frozen=True)
class Options:
    """Nothing to configure."""


class PublicMempool:
    """`Submitter` and `Route` over a node's `eth_sendRawTransaction`."""

    def __init__(self, sender: RawSender, name: str = "public") -> None:
        self.name = name
        self.ordered_by_fee = True
        self._sender = sender
        self._at_once = sender if isinstance(sender, AtOnce) else None

    async def submit(self, raw: bytes) -> None:
        outcome = (await self.submit_many([raw]))[0]
        if outcome is not None:
            raise outcome

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """In one message, in this order: nonces follow one another."""
        outcomes = await self._sender.submit_many(raws)
        if len(outcomes) != len(raws):
            raise RpcMalformed(f"{len(outcomes)} answers to {len(raws)} transactions; some may have been accepted")
        return [None if is_known(outcome) else outcome for outcome in outcomes]

    def begin(self, raws: Sequence[bytes]) -> asyncio.Future[Sequence[KeeperError | None]] | None:
        return None if self._at_once is None else self._at_once.begin(raws)

    async def check(self) -> str:
        return "the mempool of chain.rpc, which everybody sees"

    async def close(self) -> None:
        """The node's connection is not ours."""


def build(config: Mapping[str, Any], node: Node, chain_id: int) -> PublicMempool:
    return PublicMempool(node, config["name"])
