"""Every way in which an endpoint fails or lies in a campaign, by kind."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from eth_hash.auto import keccak

from scripts.campaignlib.proxy import SEND, Cut, Fault, Hang, Http, Params, Proxy, Refuse, Truncate

BY_NUMBER, BY_HASH, LOGS = "eth_getBlockByNumber", "eth_getBlockByHash", "eth_getLogs"
_READS_OF_BLOCKS = (BY_NUMBER, BY_HASH)
NOWHERE = "0x" + "5a" * 32


class Spoil(Fault):
    """A share of the messages is answered with something else, or nothing."""

    def __init__(self, chance: random.Random, kind: str, answers: tuple[Any, ...], share: float = 0.5) -> None:
        super().__init__()
        self.kind = kind
        self._chance = chance
        self._answers = answers
        self._share = share

    def after(self, method: str, params: Params, result: Any) -> Any:
        if method != SEND and self._chance.random() < self._share:
            return self._chance.choice(self._answers)
        return result


class Refusing(Fault):
    """Every request but a transaction is refused before anybody is asked."""

    def __init__(self, kind: str, answer: Any, only: Callable[[str, Params], bool] = lambda method, _: True) -> None:
        super().__init__()
        self.kind = kind
        self._answer = answer
        self._only = only

    def before(self, method: str, params: Params) -> Any | None:
        return self._answer if method != SEND and self._only(method, params) else None


class Stopped(Fault):
    """As a process that was stopped, or a network that swallows packets: connections stand, and nothing comes."""

    kind = "stopped"

    def before(self, method: str, params: Params) -> Any | None:
        return Hang()

    def heads(self, header: dict[str, Any]) -> list[Any]:
        return []


class Changing(Fault):
    """Some results are changed."""

    def __init__(self, kind: str, change: Callable[[str, Params, Any], Any]) -> None:
        super().__init__()
        self.kind = kind
        self._change = change

    def after(self, method: str, params: Params, result: Any) -> Any:
        return result if isinstance(result, Refuse) else self._change(method, params, result)


class LateHeads(Fault):
    """Its newest block is an old one: frozen where it was, or so many blocks behind for ever."""

    def __init__(self, kind: str, lag: int | None, proxy: Proxy) -> None:
        super().__init__()
        self.kind = kind
        self._lag = lag
        self._proxy = proxy
        self._frozen: str | None = None
        self._behind: list[dict[str, Any]] = []

    def before(self, method: str, params: Params) -> Any | None:
        if method == "eth_blockNumber" or (method == BY_NUMBER and params[0] in ("latest", "pending")):
            return self._late(method)
        return None

    async def _late(self, method: str) -> tuple[Any]:
        newest = await self._proxy.ask("eth_blockNumber", [])
        if self._frozen is None:
            self._frozen = newest
        height = self._frozen if self._lag is None else hex(max(0, int(newest, 16) - self._lag))
        return (height if method == "eth_blockNumber" else await self._proxy.ask(BY_NUMBER, [height, False]),)

    def heads(self, header: dict[str, Any]) -> list[Any]:
        if self._lag is None:
            return []
        self._behind.append(header)
        return [self._behind.pop(0)] if len(self._behind) > self._lag else []


class Heads(Fault):
    """What is pushed is another thing than what happened; what is asked is answered truly."""

    def __init__(self, kind: str, change: Callable[[dict[str, Any]], list[Any]]) -> None:
        super().__init__()
        self.kind = kind
        self._change = change

    def heads(self, header: dict[str, Any]) -> list[Any]:
        return self._change(header)


class Sends(Fault):
    """What becomes of transactions, and what is said about it. forward: whether Anvil gets them."""

    def __init__(self, kind: str, forward: bool, answer: Callable[[Params], Any]) -> None:
        super().__init__()
        self.kind = kind
        self._forward = forward
        self._answer = answer

    def before(self, method: str, params: Params) -> Any | None:
        return self._answer(params) if method == SEND and not self._forward else None

    def after(self, method: str, params: Params, result: Any) -> Any:
        if method != SEND:
            return result
        told = self._answer(params)
        return told[0] if isinstance(told, tuple) else told


class OldState(Fault):
    """Contracts answer as they would have some blocks ago, under the hash of the block that was asked for."""

    def __init__(self, kind: str, blocks: int, proxy: Proxy) -> None:
        super().__init__()
        self.kind = kind
        self._blocks = blocks
        self._proxy = proxy

    def before(self, method: str, params: Params) -> Any | None:
        pinned = method == "eth_call" and len(params) > 1 and isinstance(params[1], dict)
        return self._old(params) if pinned else None

    async def _old(self, params: Params) -> tuple[Any] | Refuse:
        block = await self._proxy.ask(BY_HASH, [params[1]["blockHash"], False])
        if not isinstance(block, dict):
            return Refuse(-32000, "header for hash not found")
        height = hex(max(0, int(block["number"], 16) - self._blocks))
        told = await self._proxy.ask("eth_call", [params[0], height, *params[2:]])
        return told if isinstance(told, Refuse) else (told,)


class Trap(Fault):
    """Calls somebody at a chosen request, once: before it is asked, or once the answer is known but not told."""

    def __init__(self, kind: str, spring: Callable[[], None], before: bool, when: Callable[[str, Any], bool]) -> None:
        super().__init__()
        self.kind = kind
        self.sprung = False
        self._spring = spring
        self._before = before
        self._when = when

    def before(self, method: str, params: Params) -> Any | None:
        return self._fire() if self._before and self._when(method, None) and not self.sprung else None

    def after(self, method: str, params: Params, result: Any) -> Any:
        if self._before or self.sprung or not self._when(method, result):
            return result
        return self._fire()

    def _fire(self) -> Cut:
        self.sprung = True
        self._spring()
        return Cut()


# --- what they say ----------------------------------------------------------------------------------------------------


def _another_hash(method: str, params: Params, block: Any) -> Any:
    if method in _READS_OF_BLOCKS and isinstance(block, dict):
        return block | {"hash": "0x" + keccak(bytes.fromhex(block["hash"][2:])).hex()}
    return block


def _null(method: str, params: Params, block: Any) -> Any:
    return None if method in _READS_OF_BLOCKS else block


def _no_logs(chance: random.Random) -> Callable[[str, Params, Any], Any]:
    def drop(method: str, params: Params, logs: Any) -> Any:
        if method != LOGS or not isinstance(logs, list) or not logs:
            return logs
        kept = chance.choice(("none", "some"))
        return [] if kept == "none" else [log for log in logs if log["address"] != logs[0]["address"]]

    return drop


def _foreign_logs(method: str, params: Params, logs: Any) -> Any:
    if method != LOGS or not isinstance(logs, list) or not logs:
        return logs
    return [logs[0] | {"blockHash": NOWHERE}, *logs[1:]]


def _flickering(chance: random.Random) -> Callable[[str, Params, Any], Any]:
    def vanish(method: str, params: Params, receipt: Any) -> Any:
        return None if method == "eth_getTransactionReceipt" and chance.random() < 0.5 else receipt

    return vanish


def _swallowed(params: Params) -> tuple[str]:
    return ("0x" + keccak(bytes.fromhex(params[0][2:])).hex(),)


def is_range(method: str, params: Params) -> bool:
    """Whether logs of more than a few blocks are asked."""
    if method != LOGS or "fromBlock" not in params[0]:
        return False
    ends = [params[0]["fromBlock"], params[0].get("toBlock", "latest")]
    return all(end.startswith("0x") for end in ends) and int(ends[1], 16) - int(ends[0], 16) > 8


class _Memory:
    """Heads again, or in the wrong order."""

    def __init__(self) -> None:
        self._before: list[dict[str, Any]] = []

    def twice(self, header: dict[str, Any]) -> list[Any]:
        return [header, header, header]

    def swapped(self, header: dict[str, Any]) -> list[Any]:
        self._before.append(header)
        if len(self._before) < 3:
            return []
        first, second, third = self._before
        self._before = []
        return [third, first, second]


Make = Callable[[random.Random, Proxy], Fault]

TOO_MANY_LOGS = Refuse(-32005, "query returned more than 10000 results")
RATE_LIMIT = Refuse(-32005, "daily request count exceeded, request rate limited")
NONCE_TOO_LOW = Refuse(-32000, "nonce too low: next nonce 4711, tx nonce 0")

KINDS: dict[str, Make] = {
    "http 429": lambda chance, _: Spoil(chance, "http 429", (Http(429, "slow down", {"Retry-After": "1"}),), 0.8),
    "rate limit -32005": lambda chance, _: Refusing("rate limit -32005", RATE_LIMIT),
    "hang": lambda chance, _: Spoil(chance, "hang", (Hang(),), 1.0),
    "stopped": lambda chance, _: Stopped(),
    "disconnect": lambda chance, _: Spoil(chance, "disconnect", (Cut(),)),
    "disconnect in mid-answer": lambda chance, _: Spoil(chance, "disconnect in mid-answer", (Cut(0.3), Cut(0.9))),
    "truncated JSON": lambda chance, _: Spoil(chance, "truncated JSON", (Truncate(),)),
    "html 5xx": lambda chance, _: Spoil(chance, "html 5xx", (Http(502), Http(503), Http(504)), 0.8),
    "head frozen": lambda chance, proxy: LateHeads("head frozen", None, proxy),
    "head lagging": lambda chance, proxy: LateHeads("head lagging", 6, proxy),
    "wrong chain id": lambda chance, _: Refusing("wrong chain id", ("0x1",), lambda method, _: method == "eth_chainId"),
    "null blocks": lambda chance, _: Changing("null blocks", _null),
    "block with another hash": lambda chance, _: Changing("block with another hash", _another_hash),
    "pushed head with another hash": lambda chance, _: Heads(
        "pushed head with another hash", lambda header: [header | {"hash": NOWHERE}]
    ),
    "logs dropped": lambda chance, _: Changing("logs dropped", _no_logs(chance)),
    "logs of another block": lambda chance, _: Changing("logs of another block", _foreign_logs),
    "heads repeated": lambda chance, _: Heads("heads repeated", _Memory().twice),
    "heads out of order": lambda chance, _: Heads("heads out of order", _Memory().swapped),
    "subscription silent": lambda chance, _: Heads("subscription silent", lambda header: []),
    "transaction swallowed": lambda chance, _: Sends("transaction swallowed", False, _swallowed),
    "transaction taken, error told": lambda chance, _: Sends(
        "transaction taken, error told", True, lambda _: Refuse(-32000, "transaction rejected by the pool's policy")
    ),
    "transaction taken, no answer": lambda chance, _: Sends("transaction taken, no answer", True, lambda _: Hang()),
    "transaction lost, no answer": lambda chance, _: Sends("transaction lost, no answer", False, lambda _: Hang()),
    "already known, and is not": lambda chance, _: Sends(
        "already known, and is not", False, lambda _: Refuse(-32000, "already known")
    ),
    "nonce too low, and is not": lambda chance, _: Sends("nonce too low, and is not", False, lambda _: NONCE_TOO_LOW),
    "receipts appear and vanish": lambda chance, _: Changing("receipts appear and vanish", _flickering(chance)),
}
"""Of one endpoint, by kind. What concerns more than one, or the daemon as well, is in `incidents.node`."""

ON_DEMAND: dict[str, Make] = {
    "state of an older block": lambda chance, proxy: OldState("state of an older block", 15, proxy),
}
"""Drawn only when they are named: lies that only a third endpoint can decide, see docs/campaign.md."""
