"""A node that lies now and then: it stands between Keeper and Anvil, over HTTP and websocket, in a thread of its own.

    with fault_proxy(chain) as proxy, deploy(folder, chain, rpc=[proxy.ws]) as keeper:
        proxy.tamper("eth_getLogs", lambda logs: [])          # the next answer; times=3: the next three
        proxy.instead("eth_sendRawTransaction", swallowed)    # never reaches Anvil

Everything else passes through unchanged, heads included.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from eth_hash.auto import keccak

from keeper.devnet.chain import DevChain
from tests.support.fault_node import FaultNode, Params, Refuse

HEADS = "newHeads"
"""The method under which pushed headers are tampered with."""

_LOOK_S = 0.01


@dataclass
class _Rule:
    method: str
    answer: Callable[[Params, Callable[[], Any]], Any]
    when: Callable[[Params], bool]
    left: int


class FaultProxy(FaultNode):
    def __init__(self, port: int) -> None:
        super().__init__()
        self.answers.clear()
        self.fired: list[str] = []
        self._anvil = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._rules: list[_Rule] = []
        self._loop = asyncio.new_event_loop()
        self._pushed: str | None = None

    # --- what a test says

    def tamper(
        self,
        method: str,
        change: Callable[[Any], Any],
        *,
        times: int = 1,
        when: Callable[[Params], bool] = lambda params: True,
    ) -> None:
        """Anvil is asked, and its result changed, or replaced by a fault. when: only requests with such parameters."""
        self._rules.append(_Rule(method, lambda _, ask: change(ask()), when, times))

    def instead(
        self,
        method: str,
        answer: Callable[[Params], Any],
        *,
        times: int = 1,
        when: Callable[[Params], bool] = lambda params: True,
    ) -> None:
        """Anvil is not asked at all."""
        self._rules.append(_Rule(method, lambda params, _: answer(params), when, times))

    @property
    def waiting(self) -> int:
        """Faults that nothing has met yet."""
        return sum(rule.left for rule in self._rules)

    def forget(self) -> None:
        """From now on, tell the truth."""
        self._rules.clear()

    def down(self) -> None:
        """Refuse connections and drop those there are."""
        self.run(self.stop())

    def up(self) -> None:
        self.run(self.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # --- inside

    def serve(self) -> None:
        """The thread."""
        asyncio.set_event_loop(self._loop)
        watching = self._loop.create_task(self._watch())
        self._loop.run_forever()
        watching.cancel()
        self._loop.run_until_complete(asyncio.gather(watching, return_exceptions=True))

    async def close(self) -> None:
        await self.stop()
        self._anvil.close()
        self._loop.stop()

    async def _watch(self) -> None:
        while True:
            if self._runner is not None and self.subscribers:
                await self._push_newest()
            await asyncio.sleep(_LOOK_S)

    async def _push_newest(self) -> None:
        header = self._ask("eth_getBlockByNumber", ["latest", False])
        if isinstance(header, dict) and header["hash"] != self._pushed:
            self._pushed = header["hash"]
            await self.push(self._apply(HEADS, [], lambda: header))

    def _reply(self, request: dict[str, Any], socket: web.WebSocketResponse | None) -> Any:
        method, params = request["method"], request["params"]
        if method == "eth_subscribe" or self._script[method]:
            return super()._reply(request, socket)
        self.asked.append((method, params))
        return self._apply(method, params, lambda: self._ask(method, params))

    def _apply(self, method: str, params: Params, ask: Callable[[], Any]) -> Any:
        for rule in self._rules:
            if rule.left and rule.method == method and rule.when(params):
                rule.left -= 1
                self.fired.append(method)
                return rule.answer(params, ask)
        return ask()

    def _ask(self, method: str, params: Params) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._anvil.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = json.loads(self._anvil.getresponse().read())
        if "error" in answer:
            error = answer["error"]
            return Refuse(error["code"], error["message"], error.get("data"))
        return answer["result"]


@contextmanager
def fault_proxy(chain: DevChain) -> Iterator[FaultProxy]:
    proxy = FaultProxy(chain.anvil.port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    proxy.up()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), proxy._loop)
        thread.join(10)
        proxy._loop.close()


# --- ways to lie ------------------------------------------------------------------------------------------------------


def swallowed(params: Params) -> str:
    """A transaction that is accepted and thrown away."""
    return "0x" + keccak(bytes.fromhex(params[0][2:])).hex()


def refused(_: Any) -> Refuse:
    """A transaction that is taken and said not to be."""
    return Refuse(-32000, "transaction rejected by the pool's policy")
