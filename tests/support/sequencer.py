"""A rollup's sequencer endpoint in front of an Anvil: it takes `eth_sendRawTransaction`, one by one, and nothing else.

First come, first served: a transaction whose nonce is not the next one is refused, as Arbitrum's does after a moment.
By tip: it is queued, as in any mempool.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from keeper.devnet.anvil import Anvil
from keeper.devnet.rpc import RpcError


@dataclass
class SequencerNode:
    """asked: methods, in order. nonces: of what it was handed, in the order of their arrival."""

    anvil: Anvil
    fcfs: bool
    url: str = ""
    asked: list[str] = field(default_factory=list)
    nonces: list[int] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: Any) -> dict[str, Any]:
        if isinstance(body, list):
            return _error(None, -32600, "batch requests are not supported")
        self.asked.append(body["method"])
        if body["method"] != "eth_sendRawTransaction":
            return _error(body["id"], -32601, "rpc method is not whitelisted")
        with self._lock:
            return self._take(body["id"], body["params"][0])

    def _take(self, request: int, raw: str) -> dict[str, Any]:
        nonce = int(TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["nonce"])
        self.nonces.append(nonce)
        expected = int(self.anvil.rpc("eth_getTransactionCount", Account.recover_transaction(raw), "pending"), 16)
        if self.fcfs and nonce > expected:
            return _error(request, -32000, f"nonce too high: address, tx: {nonce} state: {expected}")
        try:
            return {"jsonrpc": "2.0", "id": request, "result": self.anvil.rpc("eth_sendRawTransaction", raw)}
        except RpcError as error:
            return _error(request, -32000, str(error))


def _error(request: int | None, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request, "error": {"code": code, "message": message}}


@contextmanager
def open_sequencer(anvil: Anvil, *, fcfs: bool) -> Iterator[SequencerNode]:
    node = SequencerNode(anvil, fcfs)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps(node.answer(body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    node.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
