"""Blocking JSON-RPC over one kept-alive HTTP connection: small and fast, for driving a local chain in tests.

Not for production: it trusts the node and does not retry.
"""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

from keeper.devnet.errors import DevnetError


class RpcError(DevnetError):
    """The node answered with an error. data: revert data, empty when there is none."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('message')} (code {error.get('code')})")
        self.method = method
        self.message = str(error.get("message"))
        data = error.get("data")
        self.data = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""


class Rpc:
    """One connection; calls from several threads take turns."""

    def __init__(self, port: int, timeout_s: float = 60) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self._turn = threading.Lock()

    def __call__(self, method: str, *params: object) -> Any:
        """The result. Raises RpcError on an error answer, DevnetError when the node is gone."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        with self._turn:
            try:
                self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
                answer = json.loads(self._connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._connection.close()
                raise DevnetError(
                    f"{method}: no answer from Anvil on port {self._connection.port}: {error!r}"
                ) from error
        if "error" in answer:
            raise RpcError(method, answer["error"])
        return answer["result"]

    def close(self) -> None:
        self._connection.close()
