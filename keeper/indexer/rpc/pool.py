"""The configured endpoints together: which to ask, and asking another one when it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from keeper.core.errors import (
    ConfigError,
    KeeperError,
    RpcMalformed,
    RpcRateLimited,
    RpcUnavailable,
    StateUnavailable,
    WrongChain,
)
from keeper.core.types import Block
from keeper.indexer.rpc.disbelief import Dispute
from keeper.indexer.rpc.endpoint import Endpoint, EndpointStatus, is_endpoints_fault, is_worth_asking_elsewhere
from keeper.indexer.rpc.faults import missing_answer, understand
from keeper.indexer.rpc.hedge import HEDGED_AFTER, hedged
from keeper.indexer.rpc.looks import Looks
from keeper.indexer.rpc.mux import Replies
from keeper.indexer.rpc.quick import QuickQuestion
from keeper.indexer.rpc.standing import Standing
from keeper.indexer.rpc.transport import Transport
from keeper.indexer.rpc.wire import ABSENT, Request, read_header, strict

R = TypeVar("R")

_LONGEST_PAUSE_S = 1.0
_WORST_FIRST = (StateUnavailable, RpcMalformed, RpcRateLimited, RpcUnavailable, WrongChain)
_READS = ("eth_get", "eth_call", "eth_estimate", "eth_blockNumber", "eth_chainId", "eth_gasPrice", "eth_feeHistory")
_MORE_READS = ("eth_maxPriority", "eth_simulate", "eth_syncing", "eth_createAccessList", "net_", "web3_", "txpool_")


@dataclass(frozen=True, slots=True)
class RpcSettings:
    """Bounds of what is sent and how long is waited.

    call_timeout_s: for one answer of one endpoint. max_batch: requests in one message; more become several.
    multicall_calls, multicall_bytes: of one eth_call. prove_multicall_gas: fewer requests for a slower multicall (see
    `gasproof`). poll_interval_s: between polls where heads are not pushed.
    silence_s: without a pushed head before it is polled whether there is one. probe_interval_s: between looks at the
    head of every endpoint. max_lag_blocks: an endpoint further behind than this is asked last. quarantine_s: how long
    one that lied is not asked, the first time.
    """

    call_timeout_s: float = 10.0
    max_batch: int = 100
    multicall_calls: int = 250
    multicall_bytes: int = 128 * 1024
    prove_multicall_gas: bool = False
    poll_interval_s: float = 1.0
    silence_s: float = 20.0
    probe_interval_s: float = 15.0
    max_lag_blocks: int = 3
    quarantine_s: float = 60.0


class Answer(NamedTuple):
    """What one endpoint said to a list of requests, in their order."""

    endpoint: Endpoint
    results: list[msgspec.Raw | KeeperError]


class EndpointPool(Standing):
    """All configured endpoints as one.

    Reads go to the first endpoint that is well (see Standing). When it fails another one is asked within the same call,
    and when it takes long, beside it. One that was caught lying is asked where there is no other, once it proved
    itself, or on parole (see Looks). Nothing else in Keeper repeats a read.
    """

    def __init__(self, endpoints: Sequence[Endpoint], settings: RpcSettings) -> None:
        super().__init__(endpoints, settings.max_lag_blocks)
        self.settings = settings
        self.head_at_ns = 0  # when the newest head came, by time.perf_counter_ns
        self.dispute: Dispute | None = None
        self.quick: QuickQuestion | None = None  # about the next block, to be asked as its head comes
        self._looks = Looks(self)

    @classmethod
    async def connect(
        cls,
        urls: Sequence[str],
        chain_id: int | None,
        *,
        call_timeout_s: float | None = None,
        settings: RpcSettings | None = None,
    ) -> Self:
        """Open every endpoint; one that answers with the right chain id is enough. None: the one that they serve.

        Raises ConfigError for an address that is none, WrongChain when every endpoint that answered serves another
        chain, RpcUnavailable when none answered.
        """
        if not urls:
            raise ConfigError("no rpc endpoint is configured; give at least one in [chain] rpc")
        settings = settings or RpcSettings()
        if call_timeout_s is not None:
            settings = replace(settings, call_timeout_s=call_timeout_s)
        client = cls([Endpoint(url, chain_id, settings.quarantine_s) for url in urls], settings)
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
        self._agree()
        self._looks.start()

    def _agree(self) -> None:
        """One chain for all: those that did not answer yet have to serve what the others do."""
        served = {endpoint.name: endpoint.chain_id for endpoint in self.usable() if endpoint.chain_id is not None}
        if len(set(served.values())) > 1:
            told = ", ".join(f"{name} serves {chain_id}" for name, chain_id in served.items())
            raise WrongChain(f"the rpc endpoints serve different chains ({told}); give endpoints of one chain")
        for endpoint in self.endpoints:
            endpoint.chain_id = endpoint.chain_id or next(iter(served.values()))

    @property
    def chain_id(self) -> int:
        """The chain that all endpoints serve."""
        chain_id = self.endpoints[0].chain_id
        assert chain_id is not None  # `_agree` saw to it
        return chain_id

    async def close(self) -> None:
        await self._looks.close()
        for endpoint in self.endpoints:
            await endpoint.close()

    @property
    def requests(self) -> int:
        """Requests sent so far, as providers count them: every part of a batch is one, chain id checks included."""
        return sum(endpoint.requests for endpoint in self.endpoints)

    @property
    def round_trips(self) -> int:
        """Messages exchanged so far, chain id checks included, pushes excluded."""
        return sum(endpoint.round_trips for endpoint in self.endpoints)

    def status(self) -> list[EndpointStatus]:
        return [endpoint.status() for endpoint in self.endpoints]

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
        for again, endpoint in self._attempts(avoid):
            # a second try is for trouble that passes; after a time-out it would only double the wait
            if (once and errors) or (again and time.monotonic() - started > timeout_s):
                break
            try:
                if again or endpoint.rate_limited:
                    await self._let_rest(endpoint, timeout_s)
                hedge = len(self.endpoints) > 1 and not (once or again)
                return await self._accepted(endpoint, requests, parse, timeout_s, hedge, avoid)
            except KeeperError as error:
                if not is_worth_asking_elsewhere(error):
                    raise
                errors.append(error)
                if len(errors) == len(self.trusted()) and all(isinstance(e, StateUnavailable) for e in errors):
                    break
        raise self._worst(errors)

    async def _accepted(
        self,
        endpoint: Endpoint,
        requests: Sequence[Request],
        parse: Callable[[Answer], R],
        timeout_s: float,
        hedge: bool,
        avoid: Endpoint | None,
    ) -> R:
        """What `parse` makes of this endpoint's answer or, where that takes long, of another one's."""

        async def ask(whom: Endpoint) -> R:
            asked_at = time.monotonic()
            try:
                result = parse(await self.ask(whom, requests, timeout_s))
            except KeeperError as error:
                if is_endpoints_fault(error):
                    whom.failed(error)
                raise
            whom.succeeded(asked_at)
            return result

        async def ask_instead(other: Endpoint) -> R:
            result = await ask(other)
            late = (
                f"{requests[0][0]} at {endpoint.name}: no answer within {after_s:g} s, {other.name} was asked and did"
            )
            endpoint.failed(RpcUnavailable(late))
            return result

        def stand_in() -> Coroutine[Any, Any, R] | None:
            other = next((one for one in self.well_beside(endpoint) if one is not avoid), None)
            return None if other is None else ask_instead(other)

        if not hedge:
            return await ask(endpoint)
        after_s = timeout_s * HEDGED_AFTER
        return await hedged(ask(endpoint), stand_in, after_s)

    def _attempts(self, avoid: Endpoint | None) -> Iterator[tuple[bool, Endpoint]]:
        """Endpoints in the order to ask them, twice; whether it is the second time, and the endpoint."""
        for again in (False, True):
            ranked = self.ranked()
            if avoid is not None:
                ranked.sort(key=lambda endpoint: endpoint is avoid)
            for endpoint in ranked:
                yield again, endpoint

    async def _let_rest(self, endpoint: Endpoint, timeout_s: float) -> None:
        """Wait for an endpoint that asked for it, or a moment for one that just failed.

        Raises RpcRateLimited when what it asked for is longer than the call may take.
        """
        rest = endpoint.cooling_s
        if not endpoint.rate_limited:
            rest = min(rest, _LONGEST_PAUSE_S)
        elif rest > timeout_s:
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

    async def ask(self, endpoint: Endpoint, requests: Sequence[Request], timeout_s: float | None = None) -> Answer:
        """What this one endpoint says; nobody else is asked."""
        timeout_s = timeout_s or self.settings.call_timeout_s
        transport = await endpoint.ready(timeout_s)
        return await self.send(endpoint, transport, requests, timeout_s)

    async def ask_aside(self, endpoint: Endpoint, requests: Sequence[Request]) -> Answer:
        """The same for answers of megabytes, which no head should wait behind; one at a time."""
        timeout_s = self.settings.call_timeout_s
        transport = await endpoint.ready_aside(timeout_s)
        return await self.send(endpoint, transport, requests, timeout_s)

    async def send(
        self, endpoint: Endpoint, transport: Transport, requests: Sequence[Request], timeout_s: float
    ) -> Answer:
        size = self.settings.max_batch
        if len(requests) <= size:
            replies = await endpoint.send(transport, requests, timeout_s)
        else:
            parts = [requests[start : start + size] for start in range(0, len(requests), size)]
            answered = await asyncio.gather(*(endpoint.send(transport, part, timeout_s) for part in parts))
            replies = [reply for part in answered for reply in part]
        return Answer(endpoint, results_of(requests, replies, endpoint.name))

    async def open_endpoint(self) -> tuple[Endpoint, Transport]:
        errors: list[KeeperError] = []
        for endpoint in self.ranked():
            try:
                return endpoint, await endpoint.ready(self.settings.call_timeout_s)
            except KeeperError as error:
                endpoint.failed(error)
                errors.append(error)
        raise self._worst(errors)

    async def latest_of(self, endpoint: Endpoint, timeout_s: float | None = None) -> Block:
        """The head as this one endpoint sees it."""
        method = "eth_getBlockByNumber"
        what = f"{method} latest at {endpoint.name}"
        answer = await self.ask(endpoint, [(method, ["latest", False])], timeout_s)
        block = read_header(strict(answer.results[0]), what, endpoint.asked.check)
        if block is None:
            raise RpcMalformed(f"{what}: null, but every chain has a latest block")
        self.saw_head(endpoint, block)
        return block


def results_of(requests: Sequence[Request], replies: Replies, where: str) -> list[msgspec.Raw | KeeperError]:
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
