"""A node that knows nothing but logs, over HTTP: `python canned_node.py FILE`, with a JSON list of logs in it.

They are in the order of the chain. Prints its port. Answers are slices of bytes made before, so moving them is all.
"""

from __future__ import annotations

import json
import sys
from bisect import bisect_left
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Logs:
    def __init__(self, file: Path) -> None:
        rows = json.loads(file.read_bytes())
        texts = [json.dumps(row, separators=(",", ":")).encode() for row in rows]
        self.bytes = b",".join(texts)
        self._blocks = [int(row["blockNumber"], 16) for row in rows]
        self._ends = [0]
        for text in texts:
            self._ends.append(self._ends[-1] + len(text) + 1)
        self.tip = self._blocks[-1]

    def between(self, first: int, last: int) -> bytes:
        """The JSON list of the logs of these blocks, both included."""
        begin, end = bisect_left(self._blocks, first), bisect_left(self._blocks, last + 1)
        return b"[" + self.bytes[self._ends[begin] : max(self._ends[end] - 1, self._ends[begin])] + b"]"


def serve(logs: Logs) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = asked if isinstance(asked, list) else [asked]
            answers = [b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (one["id"], answer(logs, one)) for one in many]
            body = b"[" + b",".join(answers) + b"]" if isinstance(asked, list) else answers[0]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def answer(logs: Logs, request: dict[str, Any]) -> bytes:
    match request["method"]:
        case "eth_chainId":
            return b'"0x7a69"'
        case "eth_blockNumber":
            return b'"%s"' % hex(logs.tip).encode()
        case "eth_getLogs":
            where = request["params"][0]
            return logs.between(int(where["fromBlock"], 16), int(where["toBlock"], 16))
        case _:
            return b"null"


if __name__ == "__main__":
    serve(Logs(Path(sys.argv[1])))
