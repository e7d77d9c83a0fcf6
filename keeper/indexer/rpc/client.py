"""What the rest of Keeper calls: reads with failover, transactions exactly once, heads for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import msgspec
import structlog
from eth_hash.auto import keccak

from keeper.core.errors import (
    ConfigError,
    KeeperError,
    RpcMalformed,
    RpcRateLimited,
    RpcUnavailable,
    StateUnavailable,
    WrongChain,
)
from keeper.core.types import Block, BlockRef, Call, CallResult
from keeper.indexer.rpc.calls import CallPlan, read_single, single_requests, strict
from keeper.indexer.rpc.endpoint import Endpoint, EndpointStatus, is_endpoints_fault, is_worth_asking_elsewhere
from keeper.indexer.rpc.faults import is_already_known, missing_answer, understand
from keeper.indexer.rpc.heads import follow_heads
from keeper.indexer.rpc.mux import Replies
from keeper.indexer.rpc.transport import Transport
from keeper.indexer.rpc.wire import ABSENT, Request, decode_any, read_header, to_hex

log = structlog.get_logger(__name__)

R = TypeVar("R")

_PASSES = 2
_WORST_FIRST = (StateUnavailable, RpcMalformed, RpcRateLimited, RpcUnavailable, WrongChain)
_READS = ("eth_get", "eth_call", "eth_estimate", "eth_blockNumber", "eth_chainId", "eth_gasPrice", "eth_feeHistory")
_MORE_READS = ("eth_maxPriority", "eth_simulate", "eth_syncing", "eth_createAccessList", "net_", "web3_", "txpool_")


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """Bounds of what is sent and how long is waited.

    call_timeout_s: for one answer of one endpoint. max_batch: requests in one message; more become several.
    multicall_calls, multicall_bytes: of one eth_call. poll_interval_s: between polls where heads are not pushed.
    silence_s: without a pushed head before it is polled whether there is one. probe_interval_s: between looks at the
    head of every endpoint. max_lag_blocks: an endpoint further behind than this is asked last.
    """

    call_timeout_s: float = 10.0
    max_batch: int = 100
    multicall_calls: int = 250
    multicall_bytes: int = 128 * 1024
    poll_interval_s: float = 1.0
    silence_s: float = 20.0
    probe_interval_s: float = 15.0
    max_lag_blocks: int = 3


class Answer(NamedTuple):
    """What one endpoint said to a list of requests, in their order."""

    endpoint: Endpoint
    results: list[msgspec.Raw | KeeperError]


class RpcClient:
    """All configured endpoints as one.

    Reads go to the first endpoint, in the order of configuration, that is well: not resting after errors, not behind
    the others. When it fails another one is asked within the same call. Nothing else in Keeper repeats a read.
    """

    def __init__(self, endpoints: Sequence[Endpoint], settings: RpcSettings) -> None:
        self.endpoints = tuple(endpoints)
        self.settings = settings
        self._probing: asyncio.Task[None] | None = None

    # --- life

    @classmethod
    async def connect(
        cls,
        urls: Sequence[str],
        chain_id: int,
        *,
        call_timeout_s: float | None = None,
        settings: RpcSettings | None = None,
    ) -> RpcClient:
        """Open every endpoint; one that answers with the right chain id is enough.

        Raises ConfigError for an address that is none, WrongChain when every endpoint that answered serves another
        chain, RpcUnavailable when none answered.
        """
        if not urls:
            raise ConfigError("no rpc endpoint is configured; give at least one in [chain] rpc")
        settings = settings or RpcSettings()
        if call_timeout_s is not None:
            settings = replace(settings, call_timeout_s=call_timeout_s)
        client = cls([Endpoint(url, chain_id) for url in urls], settings)
        try:
            await client._open()
        except BaseException:
            await client.close()
            raise
        return client

    async def _open(self) -> None:
        timeout_s = self.settings.call_timeout_s
        outcomes = await asyncio.gather(*(e.ready(timeout_s) for e in self.endpoints), return_exceptions=True)
        errors: list[KeeperError] = []
        for endpoint, outcome in zip(self.endpoints, outcomes, strict=True):
            if isinstance(outcome, KeeperError):
                endpoint.failed(outcome)
                errors.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        if len(errors) == len(self.endpoints):
            reasons = "; ".join(str(error) for error in errors)
            if all(isinstance(error, WrongChain) for error in errors):
                raise WrongChain(reasons)
            raise RpcUnavailable(f"no rpc endpoint can be used: {reasons}")
        if len(self.endpoints) > 1:
            self._probing = asyncio.create_task(self._probe(), name="probe rpc endpoints")

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        for endpoint in self.endpoints:
            await endpoint.close()

    @property
    def round_trips(self) -> int:
        """Messages exchanged so far, chain id checks included, pushes excluded."""
        return sum(endpoint.round_trips for endpoint in self.endpoints)

    def status(self) -> list[EndpointStatus]:
        return [endpoint.status() for endpoint in self.endpoints]

    # --- reads

    async def request(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """One request's result as plain JSON values. Raises the typed error of core.errors."""
        return await self.read(
            [(method, params)], lambda answer: decode_any(strict(answer.results[0]), method), timeout_s=timeout_s
        )

    async def batch(self, requests: Sequence[Request], timeout_s: float | None = None) -> list[Any | KeeperError]:
        """Results of these requests in their order, asked of one endpoint in one round trip; an error in its place.

        When one of them fails for a reason another endpoint may not have, all are asked there. Raises only when no
        endpoint answered at all.
        """
        last: list[Any | KeeperError] | None = None

        def parse(answer: Answer) -> list[Any | KeeperError]:
            nonlocal last
            last = [
                result if isinstance(result, KeeperError) else decode_any(result, method)
                for (method, _), result in zip(requests, answer.results, strict=True)
            ]
            for value in last:
                if isinstance(value, KeeperError) and is_worth_asking_elsewhere(value):
                    raise value
            return last

        try:
            return await self.read(requests, parse, timeout_s=timeout_s) if requests else []
        except KeeperError:
            if last is None:
                raise
            return last

    async def call_many(self, calls: Sequence[Call], block: BlockRef) -> list[CallResult]:
        """Results of view calls at exactly this block, in one round trip of one endpoint.

        A second round trip is made only for calls whose failure within a multicall proves nothing (see CallPlan.read)
        and where Multicall3 does not exist. Raises StateUnavailable when no endpoint has the block's state.
        """
        if not calls:
            return []
        plan = self.plan_calls(calls, block)
        results, alone = await self.read(plan.requests, lambda answer: plan.read(answer.results))
        await self.ask_alone(calls, block, results, alone)
        return results

    def plan_calls(self, calls: Sequence[Call], block: BlockRef) -> CallPlan:
        return CallPlan(calls, block, self.settings.multicall_calls, self.settings.multicall_bytes)

    async def ask_alone(
        self, calls: Sequence[Call], block: BlockRef, results: list[CallResult], alone: Sequence[int]
    ) -> None:
        """Ask the calls at these indices one by one (in one batch) and put their results in place."""
        if alone:
            requests = single_requests([calls[index] for index in alone], block)
            singles = await self.read(requests, lambda answer: [read_single(result) for result in answer.results])
            for index, result in zip(alone, singles, strict=True):
                results[index] = result

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        """The header with this hash, or None when no endpoint has it."""

        def check(block: Block) -> None:
            if block.hash != block_hash:
                raise RpcMalformed(f"asked for block {to_hex(block_hash)}, got {to_hex(block.hash)}")

        return await self._header("eth_getBlockByHash", to_hex(block_hash), check)

    async def block_by_number(self, number: int | str) -> Block | None:
        """The canonical header at this height or tag (latest, safe, finalized); None when no endpoint has it (yet)."""

        def check(block: Block) -> None:
            if isinstance(number, int) and block.number != number:
                raise RpcMalformed(f"asked for block {number}, got block {block.number}")

        return await self._header("eth_getBlockByNumber", hex(number) if isinstance(number, int) else number, check)

    async def _header(self, method: str, key: str, check: Callable[[Block], None]) -> Block | None:
        def parse(answer: Answer) -> Block:
            what = f"{method} {key} at {answer.endpoint.name}"
            block = read_header(strict(answer.results[0]), what)
            if block is None:
                raise StateUnavailable(f"{what}: no such block")
            try:
                check(block)
            except RpcMalformed as error:
                raise RpcMalformed(f"{what}: {error}") from None
            if key == "latest":
                answer.endpoint.saw_head(block)
            return block

        try:
            return await self.read([(method, [key, False])], parse)
        except StateUnavailable:
            return None

    async def read(
        self,
        requests: Sequence[Request],
        parse: Callable[[Answer], R],
        *,
        timeout_s: float | None = None,
        avoid: Endpoint | None = None,
    ) -> R:
        """Ask these requests of one endpoint after another until `parse` accepts an answer.

        `parse` raises RpcMalformed, StateUnavailable or another retryable error to say that a better answer may be had
        elsewhere; anything else ends the search. `avoid` is asked last. Requests that are no reads get one attempt.
        """
        timeout_s = timeout_s or self.settings.call_timeout_s
        started = time.monotonic()
        once = not all(method.startswith(_READS + _MORE_READS) for method, _ in requests)
        errors: list[KeeperError] = []
        for attempt, endpoint in enumerate(self._attempts(avoid)):
            # a second pass is for passing trouble; after a timeout it would only double the wait
            if attempt and (once or (attempt >= len(self._usable()) and time.monotonic() - started > timeout_s)):
                break
            try:
                if endpoint.rate_limited or attempt >= len(self._usable()):
                    await self._let_rest(endpoint, timeout_s)
                result = parse(await self._ask(endpoint, requests, timeout_s))
            except KeeperError as error:
                if is_endpoints_fault(error):
                    endpoint.failed(error)
                if not is_worth_asking_elsewhere(error):
                    raise
                errors.append(error)
                if all(isinstance(e, StateUnavailable) for e in errors) and len(errors) >= len(self._usable()):
                    break
            else:
                endpoint.succeeded()
                return result
        raise self._worst(errors)

    def _usable(self) -> list[Endpoint]:
        return [endpoint for endpoint in self.endpoints if endpoint.excluded is None]

    def ranked(self) -> list[Endpoint]:
        """Endpoints of the right chain, the one to ask first, first."""
        heads = [e.head_number for e in self._usable() if e.head_number is not None]
        newest = max(heads, default=0)

        def rank(endpoint: Endpoint) -> tuple[bool, bool]:
            lag = 0 if endpoint.head_number is None else newest - endpoint.head_number
            return endpoint.cooling_s > 0, lag > self.settings.max_lag_blocks

        return sorted(self._usable(), key=rank)

    def _attempts(self, avoid: Endpoint | None) -> Iterator[Endpoint]:
        for _ in range(_PASSES):
            yield from sorted(self.ranked(), key=lambda endpoint: endpoint is avoid)

    async def _let_rest(self, endpoint: Endpoint, timeout_s: float) -> None:
        """Wait until a resting endpoint may be asked again. Raises RpcRateLimited when that is too far off."""
        rest = endpoint.cooling_s
        if rest > timeout_s:
            raise RpcRateLimited(f"{endpoint.name} asked to be left alone for another {rest:.1f} s", rest)
        await asyncio.sleep(rest)

    def _worst(self, errors: Sequence[KeeperError]) -> KeeperError:
        """Of all endpoints' errors, the one that says most; the others become its notes."""
        if not errors:
            return WrongChain("; ".join(str(e.excluded) for e in self.endpoints) + "; correct [chain] id or rpc")
        chosen = min(
            errors, key=lambda error: next(i for i, kind in enumerate(_WORST_FIRST) if isinstance(error, kind))
        )
        for error in errors:
            if error is not chosen:
                chosen.add_note(str(error))
        return chosen

    async def _ask(self, endpoint: Endpoint, requests: Sequence[Request], timeout_s: float) -> Answer:
        transport = await endpoint.ready(timeout_s)
        return await self._send(endpoint, transport, requests, timeout_s)

    async def _send(
        self, endpoint: Endpoint, transport: Transport, requests: Sequence[Request], timeout_s: float
    ) -> Answer:
        size = self.settings.max_batch
        if len(requests) <= size:
            replies = await endpoint.send(transport, requests, timeout_s)
        else:
            parts = [requests[start : start + size] for start in range(0, len(requests), size)]
            answered = await asyncio.gather(*(endpoint.send(transport, part, timeout_s) for part in parts))
            replies = [reply for part in answered for reply in part]
        return Answer(endpoint, _results(requests, replies, endpoint.name))

    # --- transactions

    async def submit(self, raw: bytes) -> None:
        """Send one signed transaction, once, to one endpoint.

        Returns when the node accepted it or says that it has it. Raises RpcRefused on a definite refusal and a
        RetryableError when it may have been accepted: what then is the journal's decision, never ours.
        """
        [outcome] = await self.submit_many([raw])
        if outcome is not None:
            raise outcome

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """Send signed transactions, each once, in one message; per transaction None or its error as `submit` raises.

        An endpoint that cannot be connected to has been sent nothing, so the next one is taken. Once a byte may have
        left there is no second try.
        """
        if not raws:
            return []
        endpoint, transport = await self._open_endpoint()
        requests: list[Request] = [("eth_sendRawTransaction", [to_hex(raw)]) for raw in raws]
        try:
            answer = await self._send(endpoint, transport, requests, self.settings.call_timeout_s)
        except KeeperError as error:
            endpoint.failed(error)
            kind = RpcRateLimited if isinstance(error, RpcRateLimited) else RpcUnavailable
            return [kind(f"{error}; the transaction may have been accepted, ask the chain") for _ in raws]
        return [_acceptance(raw, result, endpoint) for raw, result in zip(raws, answer.results, strict=True)]

    async def _open_endpoint(self) -> tuple[Endpoint, Transport]:
        errors: list[KeeperError] = []
        for endpoint in self.ranked():
            try:
                return endpoint, await endpoint.ready(self.settings.call_timeout_s)
            except KeeperError as error:
                endpoint.failed(error)
                errors.append(error)
        raise self._worst(errors)

    # --- heads

    def heads(self) -> AsyncIterator[Block]:
        """The newest head whenever there is another one, for ever; see heads.follow_heads."""
        return follow_heads(self)

    async def latest_of(self, endpoint: Endpoint) -> Block:
        """The head as this one endpoint sees it."""
        method = "eth_getBlockByNumber"
        what = f"{method} latest at {endpoint.name}"
        answer = await self._ask(endpoint, [(method, ["latest", False])], self.settings.call_timeout_s)
        block = read_header(strict(answer.results[0]), what)
        if block is None:
            raise RpcMalformed(f"{what}: null, but every chain has a latest block")
        endpoint.saw_head(block)
        return block

    async def _probe(self) -> None:
        """Look at every endpoint's head now and then, so that one that stands still is noticed and a lost one found."""
        while True:
            await asyncio.sleep(self.settings.probe_interval_s)
            for endpoint in self._usable():
                if endpoint.cooling_s:
                    continue
                try:
                    await self.latest_of(endpoint)
                except KeeperError as error:
                    endpoint.failed(error)
                else:
                    endpoint.succeeded()


def _results(requests: Sequence[Request], replies: Replies, where: str) -> list[msgspec.Raw | KeeperError]:
    results: list[msgspec.Raw | KeeperError] = []
    for (method, _), reply in zip(requests, replies, strict=True):
        if reply is None:
            results.append(missing_answer(method, where))
        elif reply.error is not None:
            results.append(understand(reply.error, method, where))
        elif reply.result is ABSENT:
            results.append(RpcMalformed(f"{method} at {where}: an answer with neither result nor error"))
        else:
            results.append(reply.result)
    return results


def _acceptance(raw: bytes, result: msgspec.Raw | KeeperError, endpoint: Endpoint) -> KeeperError | None:
    """Whether an endpoint took a transaction: None, or why not (or why nobody can know)."""
    if isinstance(result, KeeperError):
        return None if is_already_known(result) else result
    said = bytes(result).strip(b'" ').lower()
    expected = to_hex(keccak(raw))
    if said == expected.encode():
        return None
    error = RpcMalformed(
        f"eth_sendRawTransaction at {endpoint.name}: answered {said[:80]!r} instead of the hash {expected}; "
        "the transaction may have been accepted, ask the chain"
    )
    endpoint.failed(error)
    return error
