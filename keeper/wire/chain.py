"""The node: the connection to it, and what of it the pipeline asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from keeper.config.deployment import Config
from keeper.core.types import Block, BlockRef, Call, CallResult, LogFilter

if TYPE_CHECKING:
    from keeper.indexer.decoding import Asking
    from keeper.indexer.fetch import HeadRead
    from keeper.indexer.rpc.client import RpcClient
    from keeper.indexer.rpc.endpoint import Endpoint
    from keeper.indexer.witness import Witness
    from keeper.pipeline import Chain, Request

R = TypeVar("R")


async def connect(config: Config) -> RpcClient:
    from keeper.indexer.rpc.client import RpcClient
    from keeper.indexer.rpc.pool import RpcSettings

    chain = config.chain
    settings = RpcSettings(
        call_timeout_s=chain.request_timeout_s,
        poll_interval_s=chain.poll_interval_s,
        quarantine_s=config.defences.quarantine_minutes * 60,
    )
    return await RpcClient.connect([url.reveal() for url in chain.rpc], chain.id, settings=settings)


@dataclass(frozen=True, slots=True)
class HeadChain:
    """The node as the pipeline asks it. witness: remembers what was said, to be compared. asking: of
    one reading, whom it asks last, and who answered."""

    rpc: RpcClient
    witness: Witness | None = None
    asking: Asking | None = None

    async def read_head(
        self, block: Block, filter_: LogFilter, calls: Sequence[Call], extra: Sequence[Request]
    ) -> HeadRead:
        from keeper.indexer.fetch import read_head

        read = await read_head(self.rpc, block, filter_, calls, extra, avoid=self._avoid)
        self._heard(read.source)
        if self.witness is not None:
            self.witness.note(block, filter_, calls, read)
        return read

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]:
        results, source = await self.rpc.read_calls(calls, block, avoid=self._avoid)
        self._heard(source)
        return results

    async def decoded(self, reading: Callable[[Chain], Awaitable[R]]) -> R:
        from keeper.indexer.decoding import decoded

        return await decoded(lambda asking: reading(replace(self, asking=asking)))

    @property
    def _avoid(self) -> Endpoint | None:
        return None if self.asking is None else self.asking.avoid

    def _heard(self, source: Endpoint | None) -> None:
        if self.asking is not None:
            self.asking.heard(source)
