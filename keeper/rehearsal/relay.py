"""The configured node, for a fork to read from and for nothing else.

Anvil takes its upstream as an address on its command line, which every user of the machine can read, and knows one. So
it is given a local one behind which the real endpoints are, with their tokens and their failover. Only reads pass:
whatever happens on a fork, nothing of it can leave.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from keeper.core.errors import KeeperError, RetryableError, RpcRefused
from keeper.indexer.rpc.client import RpcClient
from keeper.wire import House

_READS = ("eth_get", "eth_call", "eth_chainId", "eth_blockNumber", "eth_gasPrice", "eth_feeHistory", "eth_maxPriority")
_MORE_READS = ("eth_syncing", "eth_estimateGas", "eth_createAccessList", "net_", "web3_")
_SERVER_ERROR, _NO_SUCH_METHOD = -32000, -32601
_LARGEST_BODY = 64 * 1024 * 1024
_STOP_S = 10.0
_PAUSES_S = (0.5, 2.0, 8.0)
"""Anvil takes a failed read for a failed transaction, so what can pass is waited for here."""


class Relay:
    """In a thread of its own, since Anvil asks while we wait for it to start. `url` is where."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream of the fork", daemon=True)
        self._rpc: RpcClient | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    def __enter__(self) -> Self:
        """Raises as connecting does."""
        self._thread.start()
        try:
            self.url = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)
        self._loop.close()

    async def _open(self) -> str:
        self._rpc = await self._house.connect()
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{port}"

    async def _shut(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._rpc is not None:
            await self._rpc.close()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if isinstance(asked, dict):
            return web.json_response((await self._ask([asked]))[0])
        return web.json_response(await self._ask(asked))

    async def _ask(self, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        allowed = [one for one in asked if str(one.get("method", "")).startswith(_READS + _MORE_READS)]
        answers = iter(await self._read([(one["method"], one.get("params") or []) for one in allowed]))
        return [_reply(one, next(answers) if one in allowed else _forbidden(one)) for one in asked]

    async def _read(self, requests: Sequence[tuple[str, Sequence[Any]]]) -> Sequence[Any]:
        if self._rpc is None or not requests:
            return []
        answers: Sequence[Any] = []
        for pause_s in (*_PAUSES_S, None):
            try:
                answers = await self._rpc.batch(requests)
            except KeeperError as error:
                answers = [error] * len(requests)
            if pause_s is None or not any(isinstance(answer, RetryableError) for answer in answers):
                break
            await asyncio.sleep(pause_s)
        return answers


def _forbidden(request: dict[str, Any]) -> RpcRefused:
    return RpcRefused(f"{request.get('method')} is no read; a rehearsal sends nothing upstream", _NO_SUCH_METHOD)


def _reply(request: dict[str, Any], answer: Any) -> dict[str, Any]:
    reply = {"jsonrpc": "2.0", "id": request.get("id")}
    if not isinstance(answer, KeeperError):
        return {**reply, "result": answer}
    error: dict[str, Any] = {"code": _SERVER_ERROR, "message": str(answer)}
    if isinstance(answer, RpcRefused):
        error["code"] = _SERVER_ERROR if answer.code is None else answer.code
        if answer.data is not None:
            error["data"] = "0x" + answer.data.hex()
    return {**reply, "error": error}
