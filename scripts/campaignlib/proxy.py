"""A node between Keeper and Anvil that tells the truth unless told otherwise: JSON-RPC over HTTP and websocket.

It runs in a thread of its own and asks Anvil anew for every request, so whatever is not changed on purpose is what the
real contracts say. A `Fault` that is `put` on it sees every request before it is asked and every result before it is
told, heads included, until it is `taken` off again.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web
from eth_hash.auto import keccak

from scripts.campaignlib.turns import Turns

Params = list[Any]
HEADS = "newHeads"
SEND = "eth_sendRawTransaction"
_UPSTREAM_S = 60.0


# --- what an answer can be, other than a result -----------------------------------------------------------------------


@dataclass(frozen=True)
class Refuse:
    """A JSON-RPC error."""

    code: int
    message: str
    data: Any = None


@dataclass(frozen=True)
class Http:
    """An HTTP answer that is no JSON-RPC; on a websocket its body as a frame."""

    status: int
    body: str = "<html><body><h1>502 Bad Gateway</h1></body></html>"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Nothing, ever."""


@dataclass(frozen=True)
class Cut:
    """A disconnect: before the answer, or after this share of it."""

    share: float = 0.0


@dataclass(frozen=True)
class Truncate:
    """Half of the true answer as if it were whole."""


Whole = Http | Hang | Cut | Truncate
"""What spoils a whole message, however many requests it carries."""


class Fault:
    """One way of failing or lying, for as long as it is on an endpoint. hits: how often it did."""

    kind = "none"

    def __init__(self) -> None:
        self.hits = 0

    def before(self, method: str, params: Params) -> Any | None:
        """An answer in place of asking: a result in a 1-tuple, a Refuse or a Whole, or something that awaits it.
        None: ask."""
        return None

    def after(self, method: str, params: Params, result: Any) -> Any:
        """The result to tell, or a Refuse or a Whole in its place."""
        return result

    def heads(self, header: dict[str, Any]) -> list[Any]:
        """What to push in place of this head."""
        return [header]


class Proxy:
    """One endpoint. `upstream` is the port of the Anvil that it asks, and can be changed at any time."""

    def __init__(self, name: str, upstream: int, loop: asyncio.AbstractEventLoop, turns: Turns) -> None:
        self.name = name
        self.upstream = upstream
        self.faults: list[Fault] = []
        self.sent: dict[str, str] = {}
        """Every transaction that was brought here, raw by hash, whatever was answered."""
        self.port = 0
        self.requests = 0
        self.turns = turns
        self._loop = loop
        self._sockets: dict[web.WebSocketResponse, tuple[web.Request, list[str]]] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._feed: asyncio.Task[None] | None = None

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _anvil(self) -> str:
        return f"http://127.0.0.1:{self.upstream}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    # --- what a campaign says, from its own thread

    def put(self, fault: Fault) -> None:
        self._loop.call_soon_threadsafe(self.faults.append, fault)

    def take(self, fault: Fault) -> None:
        def remove() -> None:
            with contextlib.suppress(ValueError):
                self.faults.remove(fault)

        self._loop.call_soon_threadsafe(remove)

    def down(self) -> None:
        """Refuse connections, and drop those there are."""
        self._run(self._close_server())

    def up(self) -> None:
        self._run(self._open_server())

    def drop(self) -> None:
        """Abort every connection there is; new ones are welcome."""
        self._run(self._drop())

    def move(self, upstream: int) -> None:
        """Speak for another Anvil from now on."""

        async def turn() -> None:
            self.upstream = upstream
            await self._follow()

        self._run(turn())

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # --- life, in the thread of the loop

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_UPSTREAM_S))
        await self._open_server()
        await self._follow()

    async def close(self) -> None:
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)
        await self._close_server()
        if self._session is not None:
            await self._session.close()

    async def _open_server(self) -> None:
        if self._runner is not None:
            return
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/{path:.*}", self._websocket)
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _close_server(self) -> None:
        await self._drop()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _drop(self) -> None:
        for request, _ in list(self._sockets.values()):
            if request.transport is not None:
                request.transport.abort()

    # --- heads

    async def _follow(self) -> None:
        if self._feed is not None:
            self._feed.cancel()
            await asyncio.gather(self._feed, return_exceptions=True)
        self._feed = self._loop.create_task(self._push_heads(), name=f"heads of {self.name}")

    async def _push_heads(self) -> None:
        assert self._session is not None
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with self._session.ws_connect(f"ws://127.0.0.1:{self.upstream}", max_msg_size=0) as socket:
                    await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": [HEADS]})
                    async for message in socket:
                        told = json.loads(message.data)
                        if told.get("method") == "eth_subscription":
                            await self._push(told["params"]["result"])
            await asyncio.sleep(0.2)

    async def _push(self, header: dict[str, Any]) -> None:
        heads: list[Any] = [header]
        for fault in list(self.faults):
            told = [each for head in heads for each in (fault.heads(head) if isinstance(head, dict) else [head])]
            if told != heads:
                fault.hits += 1
            heads = told
        for head in heads:
            for socket, (_, subscriptions) in list(self._sockets.items()):
                for subscription in subscriptions:
                    params = {"subscription": subscription, "result": head}
                    body = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                    with contextlib.suppress(ConnectionError, RuntimeError):
                        await socket.send_str(json.dumps(body))

    # --- requests

    async def _post(self, request: web.Request) -> web.StreamResponse:
        answer, spoiled = await self._answer(await request.json(), None)
        match spoiled:
            case Http(status, body, headers):
                return web.Response(status=status, text=body, headers=headers, content_type="text/html")
            case Hang():
                await asyncio.sleep(3600)
            case Cut(share):
                response = web.StreamResponse(headers={"Content-Length": str(len(answer) + 1)})
                if share:
                    await response.prepare(request)
                    await response.write(answer[: int(len(answer) * share)].encode())
                if request.transport is not None:
                    request.transport.abort()
                return response
            case Truncate():
                answer = answer[: len(answer) // 2]
        return web.Response(text=answer, content_type="application/json")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self._sockets[socket] = (request, [])
        answering: set[asyncio.Task[None]] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                    task = asyncio.create_task(self._on_message(request, socket, json.loads(message.data)))
                    answering.add(task)
                    task.add_done_callback(answering.discard)
        finally:
            self._sockets.pop(socket, None)
            for task in answering:
                task.cancel()
        return socket

    async def _on_message(self, request: web.Request, socket: web.WebSocketResponse, body: Any) -> None:
        answer, spoiled = await self._answer(body, socket)
        with contextlib.suppress(ConnectionError, RuntimeError):
            match spoiled:
                case Hang():
                    return
                case Http():
                    await socket.send_str(spoiled.body)
                case Cut(share):
                    if share:
                        await socket.send_str(answer[: int(len(answer) * share)])
                    if request.transport is not None:
                        request.transport.abort()
                case Truncate():
                    await socket.send_str(answer[: len(answer) // 2])
                case None:
                    await socket.send_str(answer)

    async def _answer(self, body: Any, socket: web.WebSocketResponse | None) -> tuple[str, Whole | None]:
        requests = body if isinstance(body, list) else [body]
        self.requests += len(requests)
        told = await asyncio.gather(*(self._reply(request, socket) for request in requests))
        spoiled = next((one for one in told if isinstance(one, Whole)), None)
        replies: list[dict[str, Any]] = []
        for request, reply in zip(requests, told, strict=True):
            whole = {"jsonrpc": "2.0", "id": request["id"]}
            if isinstance(reply, Refuse):
                error = {"code": reply.code, "message": reply.message}
                replies.append(whole | {"error": error if reply.data is None else error | {"data": reply.data}})
            else:
                replies.append(whole | {"result": None if isinstance(reply, Whole) else reply})
        return json.dumps(replies if isinstance(body, list) else replies[0]), spoiled

    async def _reply(self, request: dict[str, Any], socket: web.WebSocketResponse | None) -> Any:
        method, params = request["method"], request.get("params", [])
        if method == SEND:
            self.sent["0x" + keccak(bytes.fromhex(params[0][2:])).hex()] = params[0]
        faults = list(self.faults)
        for fault in faults:
            told = fault.before(method, params)
            if inspect.isawaitable(told):
                told = await told
            if told is not None:
                fault.hits += 1
                return told[0] if isinstance(told, tuple) else told
        if method == "eth_subscribe" and socket is not None:
            return self._subscribe(params, socket)
        if method == "eth_unsubscribe" and socket is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._sockets[socket][1].remove(params[0])
            return True
        result = await self.ask(method, params)
        for fault in faults:
            told = fault.after(method, params, result)
            if told is not result:
                fault.hits += 1
            if isinstance(told, Refuse | Whole):
                return told
            result = told
        return result

    def _subscribe(self, params: Params, socket: web.WebSocketResponse) -> Any:
        if params[:1] != [HEADS]:
            return Refuse(-32601, "the method eth_subscribe does not exist/is not available for this kind")
        _, subscriptions = self._sockets[socket]
        subscriptions.append(f"0x{id(socket):x}{len(subscriptions):02x}")
        return subscriptions[-1]

    async def ask(self, method: str, params: Params) -> Any:
        assert self._session is not None
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with self.turns.reading(), self._session.post(self._anvil, json=body) as response:
                answer = json.loads(await response.read())
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Refuse(-32603, f"upstream: {type(error).__name__}")
        if "error" in answer:
            error = answer["error"]
            return Refuse(error["code"], error["message"], error.get("data"))
        return answer["result"]


@contextmanager
def proxies(names: Sequence[str], upstream: int) -> Iterator[list[Proxy]]:
    """Endpoints that speak for one Anvil, all in one thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxies", daemon=True)
    thread.start()
    turns = Turns(loop)
    made = [Proxy(name, upstream, loop, turns) for name in names]
    try:
        for one in made:
            one._run(one.start())
        yield made
    finally:
        for one in made:
            one._run(one.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
