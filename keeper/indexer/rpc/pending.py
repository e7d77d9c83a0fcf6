"""Transactions that wait to be mined, as one endpoint's pool hears of them: in full where it pushes them so, else by
hash, and then asked for.

A pool can be flooded by anybody, so nothing here grows with it: what is not taken in time is dropped, oldest first, and
counted; in full, what is not wanted costs one look at its addressee. Of its own connection, so that no head waits
behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from keeper.core.errors import ConfigError, KeeperError
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.mux import Subscription, SubscriptionRefused
from keeper.indexer.rpc.transport import DuplexTransport
from keeper.indexer.rpc.wire import decode_as

log = structlog.get_logger(__name__)

_KIND = "newPendingTransactions"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_ASKED_AT_ONCE = 50
_BREATH = 64  # pushes after which others get their turn, however many more there are


class _Addressed(msgspec.Struct, gc=False):
    to: str | None = None


_pushed = msgspec.json.Decoder(_Addressed | str)

Take = Callable[[Mapping[str, Any]], None]


class PendingTransactions:
    """seen: pushes looked at. dropped: pushes that nobody had time for. wanted: whether a transaction to this address
    (lower-case hex) is of interest. take: receives every such transaction, as the node tells it."""

    def __init__(self, rpc: RpcClient, wanted: Callable[[str], bool], take: Take) -> None:
        self.seen = 0
        self.dropped = 0
        self._rpc = rpc
        self._wanted = wanted
        self._take = take
        self._said = ""
        self._pause_s = _FIRST_PAUSE_S

    async def run(self) -> None:
        """For ever. An endpoint that cannot do it, or no longer, is said once and tried again now and then."""
        while True:
            try:
                await self._follow(self._choose())
            except KeeperError as error:
                if self._said != type(error).__name__:
                    self._said = type(error).__name__
                    log.warning(
                        "pending_transactions_unavailable",
                        error=str(error),
                        remedy="going on without; price updates are acted on once they are mined",
                    )
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    async def catch_up(self) -> None:
        """Take what waited before anybody listened, as far as it is in the block that the node would build."""
        [answer] = await self._rpc.batch([("eth_getBlockByNumber", ["pending", True])])
        transactions = answer.get("transactions") if isinstance(answer, Mapping) else None
        for transaction in transactions if isinstance(transactions, list) else ():
            self._offer(transaction)

    def _choose(self) -> Endpoint:
        """The best endpoint that pushes. Raises ConfigError when there is none."""
        endpoint = next((endpoint for endpoint in self._rpc.ranked() if endpoint.can_push), None)
        if endpoint is None:
            raise ConfigError("no endpoint of chain.rpc pushes (websocket or IPC), so none tells what is pending")
        return endpoint

    async def probe(self) -> str:
        """What would be pushed, for `keeper check`. Raises ConfigError when nothing would."""
        try:
            transport, subscription, what = await self._subscribe(self._choose())
        except SubscriptionRefused as error:
            remedy = "ask its operator for newPendingTransactions, or set executor.pending_prices to off"
            raise ConfigError(f"{error}; {remedy}") from None
        await transport.unsubscribe(subscription, self._rpc.settings.call_timeout_s)
        return what

    async def _subscribe(self, endpoint: Endpoint) -> tuple[DuplexTransport, Subscription, str]:
        timeout_s = self._rpc.settings.call_timeout_s
        transport = await endpoint.ready(timeout_s)
        assert isinstance(transport, DuplexTransport)
        try:
            return transport, await transport.subscribe(_KIND, timeout_s, True, lossy=True), "whole transactions"
        except SubscriptionRefused:  # a node that knows hashes alone
            return transport, await transport.subscribe(_KIND, timeout_s, lossy=True), "their hashes"

    async def _follow(self, endpoint: Endpoint) -> None:
        transport, subscription, what = await self._subscribe(endpoint)
        log.info("pending_transactions_followed", endpoint=endpoint.name, pushed=what)
        self._said, self._pause_s = "", _FIRST_PAUSE_S
        try:
            await self.catch_up()
            await self._listen(subscription)
        finally:
            with suppress(KeeperError):
                await transport.unsubscribe(subscription, self._rpc.settings.call_timeout_s)

    async def _listen(self, subscription: Subscription) -> None:
        before = self.dropped
        while True:
            raws = [await subscription.get(), *subscription.waiting(_BREATH - 1)]
            self.seen += len(raws)
            hashes = [found for raw in raws if (found := self._look(raw)) is not None]
            await self._fetch(hashes)
            self._count(subscription, before)
            await asyncio.sleep(0)

    def _look(self, raw: msgspec.Raw) -> str | None:
        """Take a transaction that is of interest; a hash, where that is all that was pushed."""
        pushed = decode_as(_pushed, raw, _KIND)
        if isinstance(pushed, str):
            return pushed
        if pushed.to is not None and self._wanted(pushed.to.lower()):
            self._take(msgspec.json.decode(raw))
        return None

    async def _fetch(self, hashes: list[str]) -> None:
        for start in range(0, len(hashes), _ASKED_AT_ONCE):
            asked = hashes[start : start + _ASKED_AT_ONCE]
            for answer in await self._rpc.batch([("eth_getTransactionByHash", [one]) for one in asked]):
                self._offer(answer)

    def _offer(self, answer: Any) -> None:
        """Take a transaction that was asked for, if it is one and of interest."""
        to = answer.get("to") if isinstance(answer, Mapping) else None
        if isinstance(to, str) and self._wanted(to.lower()):
            self._take({**answer, "blockNumber": None})  # in a block that is only being built it is said to be of it

    def _count(self, subscription: Subscription, before: int) -> None:
        dropped = before + subscription.dropped
        if dropped // 1000 > self.dropped // 1000 or (dropped and not self.dropped):
            log.warning("pending_transactions_dropped", dropped=dropped, seen=self.seen)
        self.dropped = dropped
