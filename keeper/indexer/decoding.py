"""What does not decode is read once more, elsewhere: only where nobody says better it is the contract's fault, or ours.

What a contract holds at a block's hash never changes, so where one endpoint's answers decode, whoever gave others is at
fault.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from keeper.core.errors import DecodeError, RpcMalformed
from keeper.core.ports import Reads
from keeper.core.reads import drive
from keeper.core.types import BlockRef, Call, CallResult
from keeper.indexer.rpc.endpoint import Endpoint

R = TypeVar("R")


@dataclass(slots=True)
class Asking:
    """Of one reading: whom it asks last, and who answered it last."""

    avoid: Endpoint | None = None
    answered: Endpoint | None = None

    def heard(self, endpoint: Endpoint | None) -> None:
        """It answered; None: nobody was asked."""
        self.answered = endpoint or self.answered


async def decoded(reading: Callable[[Asking], Awaitable[R]]) -> R:
    """What a reading makes of the answers it gets or, where these do not decode, of another endpoint's.

    The first endpoint is blamed once another reading decoded. Raises the first DecodeError where none does.
    """
    first = Asking()
    try:
        return await reading(first)
    except DecodeError as error:
        source, undecodable = first.answered, error
    if source is None:
        raise undecodable
    try:
        result = await reading(Asking(avoid=source))
    except DecodeError as error:
        undecodable.add_note(f"read once more: {error}")
        raise undecodable from None
    source.failed(RpcMalformed(f"{source.name}: {undecodable}; read once more, it decodes"))
    return result


class StateReader(Protocol):
    async def read_calls(
        self, calls: Sequence[Call], block: BlockRef, *, avoid: Endpoint | None = None
    ) -> tuple[Sequence[CallResult], Endpoint | None]: ...


async def read_state(
    chain: StateReader,
    block: BlockRef,
    reads: Callable[[], Sequence[Reads[Any]]],
    report: Callable[[int], None] = lambda calls: None,
) -> list[Any]:
    """What these reads make of the state at a block, each round in one round trip. reads: begins them, maybe twice.

    report: hears of how many calls were answered, round by round.
    """

    async def reading(asking: Asking) -> list[Any]:
        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            results, source = await chain.read_calls(calls, block, avoid=asking.avoid)
            asking.heard(source)
            report(len(calls))
            return results

        return await drive(reads(), execute)

    return await decoded(reading)
