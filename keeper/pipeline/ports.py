"""What the pipeline asks of the node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from keeper.core.types import Block, BlockRef, Call, CallResult, LogFilter, RawLog

Request = tuple[str, Sequence[Any]]
R = TypeVar("R")


class HeadRead(Protocol):
    """What one round trip says about a block, in the order it was asked."""

    @property
    def logs(self) -> Sequence[RawLog]: ...
    @property
    def results(self) -> Sequence[CallResult]: ...
    @property
    def extra(self) -> Sequence[Any]: ...


class Chain(Protocol):
    """What the pipeline asks of the node: always about one block, by its hash."""

    async def read_head(
        self, block: Block, filter_: LogFilter, calls: Sequence[Call], extra: Sequence[Request]
    ) -> HeadRead: ...

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> Sequence[CallResult]: ...

    async def decoded(self, reading: Callable[[Chain], Awaitable[R]]) -> R:
        """What a reading of this chain makes of one node's answers or, where these do not decode, of another's. It may
        be done twice. Raises DecodeError where none of them decodes."""
