"""What one endpoint said of a block, held against what another says, or where there is none, against its own receipts.

State at a block's hash never changes, so two who answer differently do not both tell the truth; and whoever answers the
same question differently when asked again lied one of the two times. That decides between two; a third decides else.
Logs need nobody else: receipts that make up the root which the header names are all that there were (`receipts`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from keeper.core.errors import KeeperError, RpcLied, RpcRefused, StateUnavailable
from keeper.core.types import Block, BlockRef, Call, CallResult, LogFilter
from keeper.indexer.bloom import Bloom
from keeper.indexer.fetch import HeadRead, head_requests
from keeper.indexer.logs import LogQuery
from keeper.indexer.receipts import prove
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.endpoint import Endpoint, is_endpoints_fault
from keeper.indexer.rpc.wire import WireLog, WireReceipt, result_reader, strict, to_hex

log = structlog.get_logger(__name__)

REMEMBERED = 64
"""Blocks that wait to be compared; the oldest are given up first."""

UNPROVEN_IN_A_ROW = 3
RECEIPTS_REST_S = 600.0
"""For how long no receipts are asked of an endpoint after so many blocks whose receipts proved nothing."""

_AGAIN_S = 0.05
_read_receipts = result_reader(list[WireReceipt] | None, "eth_getBlockReceipts result")
_read_logs = result_reader(list[WireLog], "eth_getLogs result")

Identity = tuple[str, str, tuple[str, ...], str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one endpoint said of a block, and what it was asked."""

    block: Block
    wanted: LogFilter
    calls: tuple[Call, ...]
    logs: tuple[WireLog, ...]
    results: tuple[CallResult, ...]
    source: Endpoint


@dataclass(frozen=True, slots=True)
class Contradiction:
    """other: who says otherwise; None where the block's receipts do. logs: those that only one of the two has.
    calls: indices of those that they answer differently. liar: who lied, where that could be told."""

    seen: Seen
    other: Endpoint | None
    logs: tuple[WireLog, ...]
    calls: tuple[int, ...]
    liar: Endpoint | None

    def __str__(self) -> str:
        parts = []
        if self.logs:
            parts.append(f"{len(self.logs)} logs that only one of them has")
        if self.calls:
            parts.append(f"{len(self.calls)} of {len(self.seen.calls)} calls answered differently")
        block, source = self.seen.block, self.seen.source.name
        other = "the block's receipts" if self.other is None else self.other.name
        return f"{source} and {other} contradict each other about block {block.number}: {', '.join(parts)}"


class Witness:
    """asks_others: whether other endpoints are asked where there are some."""

    def __init__(self, rpc: RpcClient, *, asks_others: bool = True) -> None:
        self._rpc = rpc
        self._asks_others = asks_others
        self._waiting: dict[bytes, Seen] = {}
        self._source: Endpoint | None = None
        self._distrusted: dict[str, set[bytes]] = {}
        self._unproven: dict[Endpoint, int] = {}
        self._receipts_rest_until: dict[Endpoint, float] = {}
        self.agreed = 0
        self.proven = 0
        self.unproven = 0

    # --- what is known

    def others(self) -> list[Endpoint]:
        """Endpoints to ask besides the one that the last block was read from; none where there is but one."""
        pool, source = self._rpc, self._source
        trusted = pool.trusted() if self._asks_others and len(pool.endpoints) > 1 else []
        return [
            one
            for one in trusted
            if one is not source and not one.cooling_s and not one.quarantine.active and not pool.is_behind(one)
        ]

    @property
    def source(self) -> Endpoint | None:
        """Who told of the last block."""
        return self._source

    def note(self, block: Block, wanted: LogFilter, calls: Sequence[Call], read: HeadRead) -> None:
        """A block was read. Compared later where somebody else can be asked; costs nothing else."""
        if read.source is None:
            return
        self._source = read.source
        self._waiting.pop(block.hash, None)
        self._waiting[block.hash] = Seen(
            block, wanted, tuple(calls), tuple(read.logs), tuple(read.results), read.source
        )
        while len(self._waiting) > REMEMBERED:
            del self._waiting[next(iter(self._waiting))]

    def take(self, most: int) -> list[Seen]:
        """The blocks to compare next: the newest, and those before it that may have touched what we hold."""
        waiting = list(self._waiting.values())
        touched = [seen for seen in waiting[:-1] if _may_touch(seen)][1 - most :] if most > 1 else []
        taken = [*touched, *waiting[-1:]]
        self._waiting.clear()
        return taken

    def distrust(self, protocol: str, key: bytes) -> None:
        """Somebody sees this position otherwise: it is to be read again."""
        self._distrusted.setdefault(protocol, set()).add(key)

    def take_distrusted(self, protocol: str) -> frozenset[bytes]:
        return frozenset(self._distrusted.pop(protocol, ()))

    # --- asking

    async def call(
        self, endpoint: Endpoint, calls: Sequence[Call], block: BlockRef, timeout_s: float
    ) -> list[CallResult] | None:
        """Calls at one endpoint, which may need a moment to have the block. None where it does not say, in time."""
        plan = self._rpc.plan_calls(calls, block)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(deadline - time.monotonic(), 0)):
                    results, alone = plan.read((await self._rpc.ask(endpoint, plan.requests, timeout_s)).results)
                return None if alone else results
            except StateUnavailable:
                if time.monotonic() + _AGAIN_S >= deadline:
                    return None
                await asyncio.sleep(_AGAIN_S)
            except TimeoutError:
                return None
            except KeeperError as error:
                if is_endpoints_fault(error):
                    endpoint.failed(error)
                return None

    async def compare(self, seen: Seen, other: Endpoint) -> Contradiction | None:
        """Hold what was seen against what another endpoint says; None where they agree.

        Raises KeeperError when that one does not say: StateUnavailable where it does not have the block.
        """
        logs, results = await self._told(seen, other)
        differing_logs = _differing(seen.logs, logs)
        pairs = enumerate(zip(seen.results, results, strict=True))
        differing = tuple(index for index, (ours, theirs) in pairs if ours != theirs)
        if not differing_logs and not differing:
            self.agreed += 1
            return None
        liar = await self._liar_of_calls(seen, other, results, differing) if differing else None
        if liar is None and differing_logs:
            liar = await self._liar_of_logs(seen, other, logs)
        found = Contradiction(seen, other, differing_logs, differing, liar)
        if liar is not None:
            liar.failed(RpcLied(f"{found}; asked again, {liar.name} does not stand by what it said"))
        return found

    async def prove(self, seen: Seen) -> Contradiction | None:
        """Hold the logs that were seen against the block's receipts, as the same endpoint has them; None where they
        agree, where no log of ours can be in the block, and where receipts prove nothing.

        Raises KeeperError when it does not say.
        """
        if not _may_touch(seen) or self._receipts_rest_until.get(seen.source, 0.0) > time.monotonic():
            return None
        proven = await self._proven_logs(seen.block, seen.source)
        self._count(seen, proven=proven is not None)
        if proven is None:
            return None
        differing = _differing(seen.logs, _matching(seen, proven))
        if not differing:
            return None
        found = Contradiction(seen, None, differing, (), seen.source)
        seen.source.failed(RpcLied(str(found)))
        return found

    def _count(self, seen: Seen, *, proven: bool) -> None:
        """Some chains have receipts of their own; nobody is asked for ever for what proves nothing there."""
        if proven:
            self.proven += 1
            self._unproven.pop(seen.source, None)
            return
        self.unproven += 1
        in_a_row = self._unproven[seen.source] = self._unproven.get(seen.source, 0) + 1
        if in_a_row % UNPROVEN_IN_A_ROW == 0:
            self._receipts_rest_until[seen.source] = time.monotonic() + RECEIPTS_REST_S
            log.warning(
                "receipts_prove_nothing",
                endpoint=seen.source.name,
                block=seen.block.number,
                blocks=in_a_row,
                next_try_s=RECEIPTS_REST_S,
                remedy="configure a second endpoint: logs that this one leaves out may go unnoticed until positions "
                "are reconciled",
            )

    async def _told(self, seen: Seen, endpoint: Endpoint) -> tuple[list[WireLog], list[CallResult]]:
        requests, parse = head_requests(self._rpc, seen.block, seen.wanted, seen.calls)
        if not requests:
            return [], []
        _, logs, results, alone, _ = parse(await self._rpc.ask(endpoint, requests))
        for index in alone:  # a failure that proves nothing contradicts nobody
            results[index] = seen.results[index]
        return logs, results

    # --- who lied

    async def _liar_of_calls(
        self, seen: Seen, other: Endpoint, theirs: Sequence[CallResult], differing: Sequence[int]
    ) -> Endpoint | None:
        """Whoever answers differently when asked again; else whom a third outvotes."""
        votes = {seen.source: [seen.results[i] for i in differing], other: [theirs[i] for i in differing]}
        for endpoint, said in votes.items():
            _, again = await self._told(seen, endpoint)
            if [again[i] for i in differing] != said:
                return endpoint
        return await self._outvoted(seen, votes, differing)

    async def _outvoted(
        self, seen: Seen, votes: dict[Endpoint, list[CallResult]], differing: Sequence[int]
    ) -> Endpoint | None:
        for third in self._rpc.trusted():
            if third in votes or third.cooling_s:
                continue
            try:
                _, results = await self._told(seen, third)
            except KeeperError:
                continue
            said = [results[i] for i in differing]
            wrong = [endpoint for endpoint, vote in votes.items() if vote != said]
            if len(wrong) == 1:
                return wrong[0]
        return None

    async def _liar_of_logs(self, seen: Seen, other: Endpoint, theirs: Sequence[WireLog]) -> Endpoint | None:
        """Whose logs are not those of the receipts that the header names; where neither can prove any, whose logs do
        not follow from the block's whole set of logs, which the header's bloom must admit."""
        said = ((seen.source, seen.logs), (other, theirs))
        for endpoint, _ in said:
            try:
                proven = await self._proven_logs(seen.block, endpoint)
            except KeeperError:
                continue
            if proven is not None:
                truth = _matching(seen, proven)
                return next((one for one, logs in said if _differing(logs, truth)), None)
        for endpoint, logs in said:
            if not await self._stands_by(seen, endpoint, logs):
                return endpoint
        return None

    async def _stands_by(self, seen: Seen, endpoint: Endpoint, said: Sequence[WireLog]) -> bool:
        every = await self._every_log(seen.block, endpoint)
        if every is None:
            return True
        if Bloom(seen.block.bloom).unexplained_by(every):
            return False
        return not _differing(said, _matching(seen, every))

    async def _proven_logs(self, block: Block, endpoint: Endpoint) -> list[WireLog] | None:
        """All logs of the block, proven by its receipts; None where they prove nothing, or are not served.

        Raises KeeperError when the endpoint fails.
        """
        receipts = await self._receipts(block, endpoint)
        if receipts is None or not await asyncio.to_thread(prove, receipts, block.receipts_root):
            return None
        return _logs_of(receipts)

    async def _receipts(self, block: Block, endpoint: Endpoint) -> list[WireReceipt] | None:
        """None where they are not served. Raises StateUnavailable where it does not have the block, and whatever else
        the endpoint fails with."""
        try:
            answer = await self._rpc.ask(endpoint, [("eth_getBlockReceipts", [to_hex(block.hash)])])
            receipts = await asyncio.to_thread(_read_receipts, strict(answer.results[0]))
        except RpcRefused:
            return None
        if receipts is None:
            raise StateUnavailable(f"no receipts of block {block.number} at {endpoint.name}")
        return receipts

    async def _every_log(self, block: Block, endpoint: Endpoint) -> list[WireLog] | None:
        """All logs of the block, from its receipts or, where these are not served, without a filter. None: no say."""
        try:
            receipts = await self._receipts(block, endpoint)
            if receipts is not None:
                return _logs_of(receipts)
            answer = await self._rpc.ask(endpoint, [("eth_getLogs", [{"blockHash": to_hex(block.hash)}])])
            return _read_logs(strict(answer.results[0]))
        except KeeperError as error:
            log.debug("logs_not_proven", block=block.number, endpoint=endpoint.name, error=str(error))
            return None


def _may_touch(seen: Seen) -> bool:
    """Whether the block has logs of ours, or its bloom does not exclude some."""
    if seen.logs or not seen.block.bloom:
        return True
    bloom = Bloom(seen.block.bloom)
    return not bloom.bits or (
        any(map(bloom.admits, seen.wanted.addresses)) and any(map(bloom.admits, seen.wanted.topics))
    )


def _logs_of(receipts: Sequence[WireReceipt]) -> list[WireLog]:
    return [entry for receipt in receipts for entry in receipt.logs]


def _matching(seen: Seen, every: Sequence[WireLog]) -> list[WireLog]:
    """Of all logs of the block, those that were asked for."""
    query = LogQuery(seen.wanted)
    return [entry for entry in every if query.matches(entry)]


def _differing(ours: Sequence[WireLog], theirs: Sequence[WireLog]) -> tuple[WireLog, ...]:
    """Logs that only one of two has."""
    mine, other = {_identity(entry): entry for entry in ours}, {_identity(entry): entry for entry in theirs}
    return tuple(entry for key, entry in {**mine, **other}.items() if (key in mine) is not (key in other))


def _identity(entry: WireLog) -> Identity:
    return entry.log_index, entry.address, entry.topics, entry.data
