"""One endpoint: its connection, opened when needed and verified, and its health."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import structlog

from keeper.core.errors import (
    HeaderUnproven,
    KeeperError,
    LogRangeTooLarge,
    RpcLied,
    RpcMalformed,
    RpcRateLimited,
    RpcUnavailable,
    StateUnavailable,
    WrongChain,
)
from keeper.core.types import Block
from keeper.indexer.rpc.address import Address, Kind, parse_address
from keeper.indexer.rpc.faults import understand
from keeper.indexer.rpc.http import HttpTransport
from keeper.indexer.rpc.ipc import IpcTransport
from keeper.indexer.rpc.mux import Exchange, Replies, Then
from keeper.indexer.rpc.proof import HeaderProof
from keeper.indexer.rpc.quarantine import Quarantine
from keeper.indexer.rpc.transport import DuplexTransport, Transport
from keeper.indexer.rpc.websocket import WebSocketTransport
from keeper.indexer.rpc.wire import Request, decode_any, hex_int

log = structlog.get_logger(__name__)

_FIRST_COOL_DOWN_S = 0.25
_LONGEST_COOL_DOWN_S = 10.0
_MOST_DOUBLINGS = 16
_RATE_LIMIT_COOL_DOWN_S = 1.0
_HEADS_REMEMBERED = 16


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What `keeper check` and the status page tell of an endpoint. Times in seconds; `url` holds no secret.

    quarantined: the lie for which nobody asks it any more; quarantine_left_s: until it may prove itself.
    paroled: it did before, and is asked while nobody else is well.
    lies: that it was caught in, in all. headers_proven: whether its headers are the ones that their hashes name.
    """

    url: str
    kind: str
    connected: bool
    head_number: int | None
    head_age_s: float | None
    consecutive_errors: int
    cooling_s: float
    last_error: str | None
    excluded: bool
    quarantined: str | None = None
    quarantine_left_s: float = 0.0
    paroled: bool = False
    lies: int = 0
    headers_proven: bool = False


class Endpoint:
    """One configured endpoint.

    An error counts against it and makes it rest for a while that doubles with each one in a row; an answer clears that,
    but where there are others the next error within `remembers_s` goes on doubling: one may answer some questions only.
    An endpoint of another chain is excluded for good; one that was caught lying is in quarantine. chain_id None:
    whatever it serves when first connected. behind: how far its head was below the highest when it was last seen.
    on_change: is called with it when it failed, and when it is well again. asked, pushed: what is known of the headers
    it tells when asked, and by itself. unproven: heights whose headers it told while in quarantine, and that could not
    be proven.
    """

    def __init__(self, text: str, chain_id: int | None, quarantine_s: float = 60.0) -> None:
        self.address: Address = parse_address(text)
        self.chain_id = chain_id
        self.round_trips = 0
        self.requests = 0
        self.head_number: int | None = None
        self.head_seen_at: float | None = None
        self._told: deque[bytes] = deque(maxlen=_HEADS_REMEMBERED)
        self.errors = 0
        self.excluded: WrongChain | None = None
        self.rate_limited = False
        self.quarantine = Quarantine(quarantine_s)
        self.lies = 0
        self.unproven: set[int] = set()
        self._lied_otherwise = False
        self.asked = HeaderProof()
        self.pushed = HeaderProof()
        self._cooling_until = 0.0
        self._failed_at = 0.0
        self._last_error: str | None = None
        self._transport: Transport | None = None
        self._opening: asyncio.Task[Transport] | None = None
        self._aside: Transport | None = None
        self._closed = False
        self.behind = 0
        self.remembers_s = 0.0
        self.on_change: Callable[[Endpoint], None] = lambda _: None
        self._strikes = 0
        self._remembered_until = 0.0

    @property
    def name(self) -> str:
        return self.address.shown

    @property
    def can_push(self) -> bool:
        return self.address.kind is not Kind.HTTP

    @property
    def cooling_s(self) -> float:
        """How long this endpoint should still be left alone."""
        return max(0.0, self._cooling_until - time.monotonic())

    async def ready(self, timeout_s: float) -> Transport:
        """The open, verified connection. Raises WrongChain, RpcUnavailable, RpcRateLimited, RpcMalformed."""
        if self.excluded is not None:
            raise self.excluded
        if self._closed:
            raise RpcUnavailable(f"{self.name}: not asked, the client is closed")
        if self._transport is not None and not self._transport.closed:
            return self._transport
        if self._opening is None:
            # one attempt for all who wait: a dead endpoint costs everybody one time-out, not one after the other
            self._opening = asyncio.create_task(self._open(timeout_s), name=f"open {self.name}")
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    async def ready_aside(self, timeout_s: float) -> Transport:
        """A connection for answers of megabytes, so that no head waits behind them; for one user at a time. Over HTTP,
        which has a connection for each, the same."""
        transport = await self.ready(timeout_s)
        if not isinstance(transport, DuplexTransport):
            return transport
        if self._aside is None or self._aside.closed:
            if self._aside is not None:
                await self._aside.close()
            self._aside = await self._connected(timeout_s)
        return self._aside

    async def _open(self, timeout_s: float) -> Transport:
        if self._transport is not None:
            await self._transport.close()
            self._transport = None
        self._transport = await self._connected(timeout_s)
        return self._transport

    async def _connected(self, timeout_s: float) -> Transport:
        transport = self._connection()
        try:
            await transport.open(timeout_s)
            await self._verify(transport, timeout_s)
        except BaseException:
            await transport.close()
            raise
        return transport

    def _opened(self, task: asyncio.Task[Transport]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # marks it as seen: whoever waited for it may have been cancelled meanwhile

    async def exchange(self, requests: Sequence[Request], timeout_s: float) -> Replies:
        """One message and its replies; connects first when need be."""
        transport = await self.ready(timeout_s)
        return await self.send(transport, requests, timeout_s)

    async def send(self, transport: Transport, requests: Sequence[Request], timeout_s: float) -> Replies:
        """One message over a connection that is open."""
        self.count(len(requests))
        return await transport.exchange(requests, timeout_s)

    def send_now(self, transport: DuplexTransport, requests: Sequence[Request], then: Then) -> Exchange:
        """The same without a turn of the event loop. Raises as `DuplexTransport.ask_now` does."""
        exchange = transport.ask_now(len(requests), partial(transport.encode, requests=requests), then)
        self.count(len(requests))
        return exchange

    def count(self, requests: int) -> None:
        """One message of so many requests was sent."""
        self.round_trips += 1
        self.requests += requests

    @property
    def duplex(self) -> DuplexTransport | None:
        """The open connection, where it is one over which anything can be sent at once."""
        transport = self._transport
        return transport if isinstance(transport, DuplexTransport) and not transport.closed else None

    def succeeded(self, asked_at: float | None = None) -> None:
        """It is well, as far as it was asked at that time (time.monotonic): of what failed since, that says nothing."""
        if asked_at is not None and asked_at < self._failed_at:
            return
        if self.errors:
            log.info("rpc_endpoint_recovered", endpoint=self.name, after_errors=self.errors)
            self._remembered_until = time.monotonic() + self.remembers_s
        changed = self.errors > 0
        self.errors = 0
        self.rate_limited = False
        self._cooling_until = 0.0
        if changed:
            self.on_change(self)

    def failed(self, error: KeeperError) -> None:
        """Count an error that is the endpoint's own; several within one rest, as of one disconnect, count once."""
        if isinstance(error, WrongChain):
            return
        if isinstance(error, RpcLied):
            self._caught(error)
        self._last_error = str(error)
        limited = isinstance(error, RpcRateLimited)
        if self.cooling_s and (self.rate_limited or not limited):
            return
        now = time.monotonic()
        self._strikes = self._strikes + 1 if self.errors or now < self._remembered_until else 1
        self.errors += 1
        rest = min(_FIRST_COOL_DOWN_S * 2 ** min(self._strikes - 1, _MOST_DOUBLINGS), _LONGEST_COOL_DOWN_S)
        if isinstance(error, RpcRateLimited):
            asked = error.retry_after_s
            rest = max(rest, _RATE_LIMIT_COOL_DOWN_S if asked is None else asked)
        self.rate_limited = limited
        self._failed_at = now
        self._cooling_until = now + rest
        log.warning(
            "rpc_endpoint_failed", endpoint=self.name, errors=self.errors, rest_s=round(rest, 2), error=str(error)
        )
        self.on_change(self)

    def _caught(self, error: RpcLied) -> None:
        if not isinstance(error, HeaderUnproven):
            self._lied_otherwise = True
        elif error.number in self.unproven:
            return  # one height is one lie, however often it is asked for
        else:
            self.unproven.add(error.number)
        lie = self.quarantine.begin(str(error))
        self.lies += 1
        log.error(
            "rpc_endpoint_lied",
            endpoint=self.name,
            lies=lie.count,
            quarantine_s=round(self.quarantine.left_s),
            error=str(error),
        )

    def parole(self) -> None:
        """It proved itself before its time was over, and nobody else is well."""
        self.quarantine.paroled = True
        log.warning("rpc_endpoint_paroled", endpoint=self.name, quarantine_s=round(self.quarantine.left_s))

    def readmit(self) -> None:
        """It proved itself."""
        if (lie := self.quarantine.lie) is not None:
            self.quarantine.end()
            self._forget_lies()
            log.info("rpc_endpoint_readmitted", endpoint=self.name, lies=lie.count, reason=lie.reason)

    @property
    def only_unproven(self) -> bool:
        """Whether it is in quarantine for nothing but headers that could not be proven."""
        return self.quarantine.active and bool(self.unproven) and not self._lied_otherwise

    def forgive_unproven(self, number: int) -> None:
        """The rules changed at this block, so that it did not lie."""
        self.asked.trust_from(number)
        self.pushed.trust_from(number)
        self.quarantine.forgive()
        self.lies -= len(self.unproven)
        self._forget_lies()
        self.succeeded()

    def _forget_lies(self) -> None:
        self.unproven.clear()
        self._lied_otherwise = False

    def saw_head(self, block: Block) -> None:
        """Remember how far this endpoint is; a reorg may bring it back."""
        self.head_number = block.number
        self.head_seen_at = time.monotonic()
        if block.hash not in self._told:
            self._told.append(block.hash)

    def told_of(self, head_hash: bytes) -> bool:
        """Whether this was one of its newest heads."""
        return head_hash in self._told

    def status(self) -> EndpointStatus:
        return EndpointStatus(
            url=self.name,
            kind=self.address.kind.value,
            connected=self._transport is not None and not self._transport.closed,
            head_number=self.head_number,
            head_age_s=None if self.head_seen_at is None else time.monotonic() - self.head_seen_at,
            consecutive_errors=self.errors,
            cooling_s=self.cooling_s,
            last_error=self._last_error,
            excluded=self.excluded is not None,
            quarantined=None if self.quarantine.lie is None else self.quarantine.lie.reason,
            quarantine_left_s=self.quarantine.left_s,
            paroled=self.quarantine.paroled,
            lies=self.lies,
            headers_proven=self.asked.proven,
        )

    async def close(self) -> None:
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        for transport in (self._transport, self._aside):
            if transport is not None:
                await transport.close()

    def _connection(self) -> Transport:
        match self.address.kind:
            case Kind.WEBSOCKET:
                return WebSocketTransport(self.address)
            case Kind.HTTP:
                return HttpTransport(self.address)
            case Kind.IPC:
                return IpcTransport(self.address)
            case _ as never:
                assert_never(never)

    async def _verify(self, transport: Transport, timeout_s: float) -> None:
        """Ask the chain id: an endpoint may come back as another chain."""
        [reply] = await self.send(transport, [("eth_chainId", [])], timeout_s)
        if reply is not None and reply.error is not None:
            raise understand(reply.error, "eth_chainId", self.name)
        answer = decode_any(reply.result, f"eth_chainId at {self.name}") if reply is not None else None
        if not isinstance(answer, str):
            raise RpcMalformed(f"eth_chainId at {self.name}: {answer!r} instead of a hex quantity")
        served = hex_int(answer, f"eth_chainId at {self.name}")
        if self.chain_id is None:
            self.chain_id = served
        if served != self.chain_id:
            self.excluded = WrongChain(
                f"{self.name} serves chain {served}, but chain {self.chain_id} is configured; correct [chain] id or rpc"
            )
            log.error("rpc_endpoint_excluded", endpoint=self.name, served=served, configured=self.chain_id)
            raise self.excluded


def is_endpoints_fault(error: KeeperError) -> bool:
    """Whether an error speaks against the endpoint (and not of the question, or of a block it does not have)."""
    return isinstance(error, RpcUnavailable | RpcRateLimited | RpcMalformed)


def is_worth_asking_elsewhere(error: KeeperError) -> bool:
    """Whether another endpoint may know better. A refusal or a too large range is the same everywhere."""
    return isinstance(error, RpcUnavailable | RpcRateLimited | RpcMalformed | StateUnavailable | WrongChain) and not (
        isinstance(error, LogRangeTooLarge)
    )
