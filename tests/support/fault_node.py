"""A JSON-RPC server over HTTP and websocket whose every answer, and every way of failing to answer, a test decides."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSMsgType, web

Params = list[Any]


@dataclass(frozen=True)
class Refuse:
    """A JSON-RPC error."""

    code: int
    message: str
    data: Any = None


@dataclass(frozen=True)
class Http:
    """An HTTP answer that is no JSON-RPC; on a websocket, a closed connection."""

    status: int
    body: str = "<html>try later</html>"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Nothing, ever."""


@dataclass(frozen=True)
class Cut:
    """A disconnect: before the answer, or after that many of its bytes."""

    after: int = 0


@dataclass(frozen=True)
class Text:
    """This text as the whole answer."""

    text: str


@dataclass(frozen=True)
class Omit:
    """No answer to this request, where the others of its batch have one."""


Fault = Refuse | Http | Hang | Cut | Text | Omit


class FaultNode:
    """Counts what it is asked; answers from `answers` unless a fault is scripted for the method."""

    def __init__(self, chain_id: int = 31337) -> None:
        self.answers: dict[str, Callable[..., Any]] = {"eth_chainId": lambda: hex(chain_id)}
        self.asked: list[tuple[str, Params]] = []
        self.messages = 0
        self.reversed = False
        self.deaf = False  # confirms subscriptions and pushes nothing
        self._script: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._sockets: dict[web.WebSocketResponse, list[str]] = {}
        self._held: list[tuple[web.WebSocketResponse, str]] = []
        self._holding = 0
        self._bugs: list[Exception] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    # --- what a test says

    def on(self, method: str, answer: Callable[..., Any]) -> None:
        self.answers[method] = answer

    def fail(self, method: str, *faults: Fault) -> None:
        """Answer the next requests of this method with these faults, one each."""
        self._script[method].extend(faults)

    def forgive(self) -> None:
        """No fault is left."""
        self._script.clear()

    def hold(self, count: int) -> None:
        """Keep the next `count` websocket answers and then send them last first."""
        self._holding = count

    def count(self, method: str) -> int:
        return sum(1 for asked, _ in self.asked if asked == method)

    async def push(self, header: Any) -> None:
        """Tell every subscriber of a head."""
        if self.deaf:
            return
        for socket, subscriptions in list(self._sockets.items()):
            for subscription in subscriptions:
                params = {"subscription": subscription, "result": header}
                await socket.send_str(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))

    async def drop_connections(self) -> None:
        for socket in list(self._sockets):
            _abort(socket)

    @property
    def subscribers(self) -> int:
        return sum(map(len, self._sockets.values()))

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    # --- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        if self._bugs:
            raise self._bugs[0]  # an answer that raised is a mistake of the test, not a fault to survive

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/{path:.*}", self._websocket)
        app.router.add_post("/{path:.*}", self._post)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self.drop_connections()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- serving

    async def _post(self, request: web.Request) -> web.StreamResponse:
        answer = self._answer(await request.json())
        match answer:
            case Http(status, body, headers):
                return web.Response(status=status, text=body, headers=headers, content_type="text/html")
            case Hang():
                await asyncio.sleep(3600)
            case Cut(after):
                response = web.StreamResponse(headers={"Content-Length": "100000"})
                if after:
                    await response.prepare(request)
                    await response.write(b'{"jsonrpc":"2.0","id":1,"result":"0x'[:after])
                if request.transport is not None:
                    request.transport.abort()
                return response
        return web.Response(text=str(answer), content_type="application/json")

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = []
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                    await self._on_message(request, socket, json.loads(message.data))
        finally:
            self._sockets.pop(socket, None)
        return socket

    async def _on_message(self, request: web.Request, socket: web.WebSocketResponse, body: Any) -> None:
        match self._answer(body, socket):
            case Hang():
                return
            case Http():
                await socket.close()
            case Cut(after):
                if after:
                    await socket.send_str('{"jsonrpc":"2.0","id":1,"result":"0x'[:after])
                _abort(socket)
            case text:
                self._held.append((socket, str(text)))
                if len(self._held) >= self._holding:
                    held, self._held, self._holding = self._held[::-1], [], 0
                    for receiver, each in held:
                        await receiver.send_str(each)

    def _answer(self, body: Any, socket: web.WebSocketResponse | None = None) -> str | Http | Hang | Cut:
        self.messages += 1
        replies = []
        for request in body if isinstance(body, list) else [body]:
            reply = self._reply(request, socket)
            match reply:
                case Http() | Hang() | Cut():
                    return reply
                case Text(text):
                    return text
                case Omit():
                    continue
                case Refuse(code, message, data):
                    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
                    replies.append({"jsonrpc": "2.0", "id": request["id"], "error": error})
                case _:
                    replies.append({"jsonrpc": "2.0", "id": request["id"], "result": reply})
        if self.reversed:
            replies.reverse()
        return json.dumps(replies if isinstance(body, list) else replies[0])

    def _reply(self, request: dict[str, Any], socket: web.WebSocketResponse | None) -> Any:
        method, params = request["method"], request["params"]
        self.asked.append((method, params))
        if self._script[method]:
            return self._script[method].popleft()
        if method == "eth_subscribe" and socket is not None and method not in self.answers:
            subscription = f"0x{len(self._sockets)}{len(self._sockets[socket])}"
            self._sockets[socket].append(subscription)
            return subscription
        if method not in self.answers:
            return Refuse(-32601, f"the method {method} does not exist/is not available")
        try:
            return self.answers[method](*params)
        except Exception as bug:
            self._bugs.append(bug)
            raise


def _abort(socket: web.WebSocketResponse) -> None:
    transport = socket._req.transport if socket._req is not None else None  # aiohttp has no public way to it
    if transport is not None:
        transport.abort()


class FakeChain:
    """Headers, and what a node would say about them: enough chain for an RPC client."""

    def __init__(self, length: int = 3) -> None:
        self.blocks: list[dict[str, Any]] = []
        self.logs: dict[str, list[dict[str, Any]]] = {}
        for _ in range(length):
            self.mine()

    def mine(self, bloom: bytes = bytes(256), branch: int = 0) -> dict[str, Any]:
        number = len(self.blocks)
        header = {
            "number": hex(number),
            "hash": "0x" + (number + 1 + 1000 * branch).to_bytes(32, "big").hex(),
            "parentHash": self.blocks[-1]["hash"] if self.blocks else "0x" + "00" * 32,
            "timestamp": hex(1_700_000_000 + number),
            "baseFeePerGas": "0x7",
            "gasLimit": "0x1c9c380",
            "gasUsed": "0x0",
            "logsBloom": "0x" + bloom.hex(),
        }
        self.blocks.append(header)
        return header

    @property
    def tip(self) -> dict[str, Any]:
        return self.blocks[-1]

    def by_number(self, number: str, _full: bool) -> dict[str, Any] | None:
        if number == "latest":
            return self.tip
        index = int(number, 16)
        return self.blocks[index] if index < len(self.blocks) else None

    def by_hash(self, block_hash: str, _full: bool) -> dict[str, Any] | None:
        return next((block for block in self.blocks if block["hash"] == block_hash), None)

    def get_logs(self, query: dict[str, Any]) -> list[dict[str, Any]] | Refuse:
        if "blockHash" in query:
            if self.by_hash(query["blockHash"], False) is None:
                return Refuse(-32000, "unknown block")
            found = self.logs.get(query["blockHash"], [])
        else:
            first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
            found = [log for block in self.blocks[first : last + 1] for log in self.logs.get(block["hash"], [])]
        return [log for log in found if log["address"] in query["address"] and log["topics"][0] in query["topics"][0]]

    def receipts(self, block_hash: str) -> list[dict[str, Any]]:
        logs = self.logs.get(block_hash, [])
        return [{"blockHash": block_hash, "logs": logs}] if logs else []

    def serve(self, node: FaultNode) -> FaultNode:
        """Make a node answer for this chain."""
        node.on("eth_blockNumber", lambda: self.tip["number"])
        node.on("eth_getBlockByNumber", self.by_number)
        node.on("eth_getBlockByHash", self.by_hash)
        node.on("eth_getLogs", self.get_logs)
        node.on("eth_getBlockReceipts", self.receipts)
        return node
