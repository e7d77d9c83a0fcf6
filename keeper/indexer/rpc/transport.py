"""What every connection offers, and what the two-way ones share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from keeper.core.errors import KeeperError, RpcMalformed, RpcUnavailable
from keeper.indexer.rpc.address import Address
from keeper.indexer.rpc.mux import Exchange, Mux, Replies, Subscription, SubscriptionRefused, Then
from keeper.indexer.rpc.wire import Request, encode_batch, encode_call

MAX_MESSAGE_BYTES = 512 * 2**20
SUBSCRIPTION_LIMIT = 1024


class Transport(ABC):
    """One connection to one endpoint, used once: when it is `closed` a new one is made.

    Nothing here retries. A message is written at most once.
    """

    pushes = False

    def __init__(self, address: Address) -> None:
        self.address = address
        self.closed = False

    @abstractmethod
    async def open(self, timeout_s: float) -> None:
        """Connect. Raises RpcUnavailable."""

    @abstractmethod
    async def exchange(self, requests: Sequence[Request], timeout_s: float) -> Replies:
        """Send one message (a batch when there are several requests) and wait for its replies.

        Raises RpcUnavailable (timeout, disconnect), RpcRateLimited (HTTP 429), RpcMalformed.
        """

    @abstractmethod
    async def close(self) -> None: ...

    def encode(self, first_id: int, requests: Sequence[Request]) -> bytes:
        return encode_call(first_id, requests[0]) if len(requests) == 1 else encode_batch(first_id, requests)

    def describe(self, requests: Sequence[Request]) -> str:
        more = f" and {len(requests) - 1} more" if len(requests) > 1 else ""
        return f"{requests[0][0]}{more} at {self.address.shown}"


class DuplexTransport(Transport):
    """A connection on which the node may speak at any time: replies by id, subscriptions by push."""

    pushes = True

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self.mux = Mux()

    @abstractmethod
    async def write(self, payload: bytes) -> None: ...

    @abstractmethod
    def write_now(self, payload: bytes) -> None:
        """The same without a turn of the event loop: it is with the operating system, or in the connection's own queue,
        when this returns. Raises RpcUnavailable; nothing has left then."""

    def ask_now(self, size: int, payload: Callable[[int], bytes], then: Then) -> Exchange:
        """Send one message of so many requests at once. payload: of the first one's id. then: see Exchange; nobody
        waits for it but the caller. Raises RpcUnavailable when nothing was sent."""
        if self.closed:
            raise RpcUnavailable(f"{self.address.shown}: not sent, the connection is closed")
        exchange = self.mux.expect(size, then)
        try:
            self.write_now(payload(exchange.first_id))
        except RpcUnavailable:
            self.mux.forget(exchange)
            raise
        return exchange

    async def exchange(self, requests: Sequence[Request], timeout_s: float) -> Replies:
        if self.closed:
            raise RpcUnavailable(f"{self.describe(requests)}: not sent, the connection is closed")
        exchange = self.mux.expect(len(requests))
        try:
            async with asyncio.timeout(timeout_s):
                await self.write(self.encode(exchange.first_id, requests))
                return await exchange.future
        except TimeoutError:
            raise RpcUnavailable(f"{self.describe(requests)}: no answer within {timeout_s:g} s") from None
        finally:
            self.mux.forget(exchange)

    async def subscribe(self, kind: str, timeout_s: float, *options: object, lossy: bool = False) -> Subscription:
        """Open an `eth_subscribe`. Raises RpcUnavailable; RpcMalformed when the node gives no id. options: parameters
        of this kind. lossy: see Subscription."""
        [reply] = await self.exchange([("eth_subscribe", [kind, *options])], timeout_s)
        if reply is None or reply.error is not None:
            reason = reply.error.message if reply is not None and reply.error else "no reply"
            raise SubscriptionRefused(f"eth_subscribe {kind} at {self.address.shown}: {reason}; poll instead")
        subscription_id = bytes(reply.result).decode().strip('"')
        if not subscription_id or subscription_id == "null":
            raise RpcMalformed(f"eth_subscribe {kind} at {self.address.shown} gave no subscription id")
        return self.mux.subscribed(subscription_id, SUBSCRIPTION_LIMIT, lossy=lossy)

    async def unsubscribe(self, subscription: Subscription, timeout_s: float) -> None:
        subscription_id = self.mux.unsubscribed(subscription)
        if subscription_id is not None and not self.closed:
            await self.exchange([("eth_unsubscribe", [subscription_id])], timeout_s)

    def lost(self, error: KeeperError) -> None:
        """The connection ended, for whatever reason: nothing waits on it any longer."""
        if not self.closed:
            self.closed = True
            self.mux.fail(error)
