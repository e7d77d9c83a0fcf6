"""What one endpoint said of a block, held against what another says, or where there is none, against its own receipts.

State at a block's hash never changes, so two who answer differently do not both tell the truth; and whoever answers the
same question differently when asked again lied one of the two times. That decides between two; a third decides else.
Logs need nobody else: receipts that make up the root which the header names are all that there were (`receipts`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from keeper.core.errors import KeeperError, RetryableError, RpcLied, RpcRefused, StateUnavailable
from keeper.core.types import Block, BlockRef, Call, CallResult, LogFilter
from keeper.indexer.bloom import Bloom
from keeper.indexer.fetch import HeadRead, head_requests
from keeper.indexer.logs import LogQuery, read_every_log
from keeper.indexer.receipts import logs_of, prove, read_receipts
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.endpoint import Endpoint, is_endpoints_fault
from keeper.indexer.rpc.wire import Request, Text, WireLog, read_wire_header, strict, to_hex

log = structlog.get_logger(__name__)

REMEMBERED = 64
"""Blocks that wait to be compared; the oldest are given up first."""

UNPROVEN_IN_A_ROW = 3
RECEIPTS_REST_S = 600.0
"""For how long no receipts are asked of an endpoint that never proved a block, after so many that it did not."""

_AGAIN_S = 0.05
Identity = tuple[str, str, tuple[str, ...], str]
Content = tuple[str, tuple[str, ...], str]


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
    missed: of these, those that are proven, and that we were not given. calls: indices of those that they answer
    differently. liar: who lied, where that could be told."""

    seen: Seen
    other: Endpoint | None
    logs: tuple[WireLog, ...]
    calls: tuple[int, ...]
    liar: Endpoint | None
    missed: tuple[WireLog, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.logs:
            parts.append(f"{len(self.logs)} logs that only one of them has")
        if self.calls:
            parts.append(f"{len(self.calls)} of {len(self.seen.calls)} calls answered differently")
        block, source = self.seen.block, self.seen.source.name
        other = "the block's receipts" if self.other is None else self.other.name
        return f"{source} and {other} contradict each other about block {block.number}: {', '.join(parts)}"


class Unproven(RetryableError):
    """A block's receipts prove nothing, or were not told."""


class Witness:
    """asks_others: whether other endpoints are asked where there are some. doubt: set when something is to be read
    again."""

    def __init__(self, rpc: RpcClient, *, asks_others: bool = True) -> None:
        self._rpc = rpc
        self._asks_others = asks_others
        self._waiting: dict[bytes, Seen] = {}
        self._source: Endpoint | None = None
        self._distrusted: dict[str, set[bytes]] = {}
        self._has_proven: set[Endpoint] = set()
        self._in_a_row: dict[Endpoint, int] = {}
        self._receipts_rest_until: dict[Endpoint, float] = {}
        self.doubt = asyncio.Event()
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
        """The blocks to compare next: the newest, and those before it that may have touched what we hold, the oldest
        first. Of these, what is more waits for the next time."""
        *earlier, newest = self._waiting.values() or [None]
        if newest is None:
            return []
        touched = [seen for seen in earlier if seen is not None and _may_touch(seen)]
        self._waiting = {seen.block.hash: seen for seen in touched[most - 1 :]}
        return [*touched[: most - 1], newest]

    def distrust(self, protocol: str, key: bytes, *, at_once: bool = True) -> None:
        """Somebody sees this position otherwise: it is to be read again."""
        self._distrusted.setdefault(protocol, set()).add(key)
        if at_once:
            self.doubt.set()

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
                if is_endpoints_fault(error) and endpoint is not self._source:
                    endpoint.failed(error)  # whoever told of the block is well: nothing more may hold up the next one
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
        truth = await self._proven_by_either(seen, other) if differing_logs else None
        missed = () if truth is None else _unlike(seen.logs, truth)[0]
        if liar is None and differing_logs:
            liar = await self._liar_of_logs(seen, other, logs, truth)
        found = Contradiction(seen, other, differing_logs, differing, liar, missed)
        if liar is not None:
            proof = "the block's receipts say who is right" if truth is not None and not differing else "asked again"
            liar.failed(RpcLied(f"{found}; {proof}, {liar.name} does not stand by what it said"))
        return found

    async def prove(self, seen: Seen) -> Contradiction | None:
        """Hold the logs that were seen against the block's receipts, as the same endpoint has them; None where they
        agree, where no log of ours can be in the block, and while it is not asked.

        Raises Unproven when they prove nothing, and KeeperError when it does not say.
        """
        if not _may_touch(seen) or self._receipts_rest_until.get(seen.source, 0.0) > time.monotonic():
            return None
        truth = await self._proven_logs(seen, seen.source)
        self.proven += 1
        self._has_proven.add(seen.source)
        self._in_a_row.pop(seen.source, None)
        missed, surplus = _unlike(seen.logs, truth)
        if not missed and not surplus:
            return None
        found = Contradiction(seen, None, (*missed, *surplus), (), seen.source, missed)
        seen.source.failed(RpcLied(str(found)))
        return found

    def not_proven(self, seen: Seen, error: KeeperError) -> None:
        """A block that is still ours could not be proven, for this reason. It is said where it could be before, and
        after some in a row; where it never could, it is not asked for again for a while: some chains have receipts of
        their own."""
        self.unproven += 1
        before, in_a_row = seen.source in self._has_proven, self._in_a_row.get(seen.source, 0) + 1
        self._in_a_row[seen.source] = in_a_row
        if not before and in_a_row % UNPROVEN_IN_A_ROW == 0:
            self._receipts_rest_until[seen.source] = time.monotonic() + RECEIPTS_REST_S
        if in_a_row == (1 if before else UNPROVEN_IN_A_ROW):
            log.warning(
                "receipts_prove_nothing",
                endpoint=seen.source.name,
                block=seen.block.number,
                blocks=in_a_row,
                error=str(error),
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

    async def _liar_of_logs(
        self, seen: Seen, other: Endpoint, theirs: Sequence[WireLog], truth: Sequence[WireLog] | None
    ) -> Endpoint | None:
        """Whose logs are not the proven ones; where nobody can prove any, whose logs do not follow from the block's
        whole set of logs, which the header's bloom must admit."""
        said = ((seen.source, seen.logs), (other, theirs))
        if truth is not None:
            return next((endpoint for endpoint, logs in said if any(_unlike(logs, truth))), None)
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
        return not any(_unlike(said, _matching(seen, every)))

    async def _proven_by_either(self, seen: Seen, other: Endpoint) -> list[WireLog] | None:
        for endpoint in (seen.source, other):
            with suppress(KeeperError):
                return await self._proven_logs(seen, endpoint)
        return None

    async def _proven_logs(self, seen: Seen, endpoint: Endpoint) -> list[WireLog]:
        """All logs of the block that were asked for, in their order, proven by its receipts as this endpoint has them.

        Raises Unproven when they prove nothing, and KeeperError when it does not say.
        """
        block_hash, what = to_hex(seen.block.hash), f"block {seen.block.number} at {endpoint.name}"
        requests: list[Request] = [("eth_getBlockByHash", [block_hash, False]), ("eth_getBlockReceipts", [block_hash])]
        answer = await self._rpc.ask_aside(endpoint, requests)
        header = read_wire_header(strict(answer.results[0]), f"header of {what}")
        receipts = await asyncio.to_thread(read_receipts, strict(answer.results[1]))
        if header is None or receipts is None:
            raise Unproven(f"no receipts of {what}")
        if not await asyncio.to_thread(prove, receipts, header, seen.block.hash):
            raise Unproven(f"receipts of {what} do not make up the root that its hash commits to")
        return _matching(seen, logs_of(receipts))

    async def _every_log(self, block: Block, endpoint: Endpoint) -> list[WireLog] | None:
        """All logs of the block, from its receipts or, where these are not served, without a filter. None: no say."""
        block_hash = to_hex(block.hash)
        for request, read in (
            (("eth_getBlockReceipts", [block_hash]), _logs_of_receipts),
            (("eth_getLogs", [{"blockHash": block_hash}]), read_every_log),
        ):
            try:
                return read(strict((await self._rpc.ask_aside(endpoint, [request])).results[0]))
            except RpcRefused:
                continue
            except KeeperError as error:
                log.debug("logs_not_proven", block=block.number, endpoint=endpoint.name, error=str(error))
                return None
        return None


def _may_touch(seen: Seen) -> bool:
    """Whether the block has logs of ours, or its bloom does not exclude some."""
    if seen.logs or not seen.block.bloom:
        return True
    bloom = Bloom(seen.block.bloom)
    return not bloom.bits or (
        any(map(bloom.admits, seen.wanted.addresses)) and any(map(bloom.admits, seen.wanted.topics))
    )


def _logs_of_receipts(raw: Text) -> list[WireLog] | None:
    receipts = read_receipts(raw)
    return None if receipts is None else logs_of(receipts)


def _matching(seen: Seen, every: Sequence[WireLog]) -> list[WireLog]:
    """Of all logs of the block, those that were asked for."""
    query = LogQuery(seen.wanted)
    return [entry for entry in every if query.matches(entry)]


def _unlike(ours: Sequence[WireLog], truth: Sequence[WireLog]) -> tuple[tuple[WireLog, ...], tuple[WireLog, ...]]:
    """Logs of the block that we were not given, and given ones that are none of its, by what they say and their order
    alone; where only the order is another, all that were given."""
    said, true = [_content(entry) for entry in ours], [_content(entry) for entry in truth]
    if said == true:
        return (), ()
    missed, surplus = _beyond(truth, said), _beyond(ours, true)
    return missed, surplus if missed or surplus else tuple(ours)


def _beyond(logs: Sequence[WireLog], known: Sequence[Content]) -> tuple[WireLog, ...]:
    """Those that come more often than there."""
    left, found = Counter(known), list[WireLog]()
    for entry in logs:
        content = _content(entry)
        if left[content]:
            left[content] -= 1
        else:
            found.append(entry)
    return tuple(found)


def _content(entry: WireLog) -> Content:
    return entry.address, entry.topics, entry.data


def _differing(ours: Sequence[WireLog], theirs: Sequence[WireLog]) -> tuple[WireLog, ...]:
    """Logs that only one of two has."""
    mine, other = {_identity(entry): entry for entry in ours}, {_identity(entry): entry for entry in theirs}
    return tuple(entry for key, entry in {**mine, **other}.items() if (key in mine) is not (key in other))


def _identity(entry: WireLog) -> Identity:
    return entry.log_index, entry.address, entry.topics, entry.data
