"""A relay and builder as searchers know them, in front of an Anvil that mines by hand: nothing it holds is public.

It verifies who signs a request, simulates bundles transaction by transaction, and builds blocks: a bundle whole, in its
order and in the block it named, or not at all; a private transaction in any block until its last. It can drop what it
took, answer late, or refuse.

It is a MEV-Share node as well: `share` keeps a transaction, tells of it in the event stream by a hash of its own, and
takes bundles that go behind that hash. A block takes transactions in the order they come, so bundles with transactions
of others need a chain that mines `first_come`.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.typed_transactions import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes

from keeper.devnet.anvil import Anvil

_NO_METHOD, _INVALID, _REFUSED = -32601, -32602, -32000


class Refusal(Exception):
    """A JSON-RPC error to answer with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Bundle:
    txs: tuple[str, ...]
    block: int


@dataclass(frozen=True)
class Shared:
    """A transaction that the relay keeps. known_by: its hash in hints, from which its own cannot be told."""

    tx: str
    known_by: str


@dataclass
class Relay:
    """drop: take everything and build without it. delay_s: before every answer. reject: the reason to refuse all with.
    missing: methods that it does not have. asked: every method that was called, in order. signers: who signed.
    withhold: shared transactions wait, with what is behind them. listeners: who follows the event stream."""

    anvil: Anvil
    url: str = ""
    drop: bool = False
    delay_s: float = 0.0
    reject: str | None = None
    missing: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    signers: set[str] = field(default_factory=set)
    bundles: list[Bundle] = field(default_factory=list)
    private: dict[str, int] = field(default_factory=dict)
    withhold: bool = False
    shared: dict[str, Shared] = field(default_factory=dict)
    listeners: list[queue.Queue[str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # --- answering

    def answer(self, body: bytes, signature: str | None) -> dict[str, Any]:
        request = json.loads(body)
        time.sleep(self.delay_s)
        try:
            with self._lock:
                self._identify(body, signature)
                result = self._answer(request["method"], request["params"])
        except Refusal as refusal:
            return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": refusal.code, "message": str(refusal)}}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    def _identify(self, body: bytes, signature: str | None) -> None:
        """The signer of the hex text of the body's hash, by another implementation than ours."""
        address, _, signed = (signature or "").partition(":")
        try:
            said = encode_defunct(text="0x" + keccak(body).hex())
            recovered = Account.recover_message(said, signature=bytes.fromhex(signed.removeprefix("0x")))
        except Exception as error:
            raise Refusal(_REFUSED, f"X-Flashbots-Signature is malformed: {error!r}") from error
        if recovered.lower() != address.lower():
            raise Refusal(_REFUSED, "X-Flashbots-Signature is not of the address it names")
        self.signers.add(recovered)

    def _answer(self, method: str, params: list[Any]) -> Any:
        self.asked.append(method)
        if method in self.missing:
            raise Refusal(_NO_METHOD, f"the method {method} does not exist/is not available")
        if self.reject is not None:
            raise Refusal(_REFUSED, self.reject)
        wish = params[0]
        if method == "mev_sendBundle":
            return self._take_shared(wish)
        if method == "eth_sendPrivateTransaction":
            self.private[wish["tx"]] = int(wish["maxBlockNumber"], 16)
            return _hash(wish["tx"])
        txs = tuple(wish["txs"])
        if not txs:
            raise Refusal(_INVALID, "a bundle needs transactions")
        if method == "eth_callBundle":
            return {"bundleHash": _bundle_hash(txs), "results": self._simulate(txs)}
        if method == "eth_sendBundle":
            self.bundles.append(Bundle(txs, int(wish["blockNumber"], 16)))
            return {"bundleHash": _bundle_hash(txs)}
        raise Refusal(_NO_METHOD, f"the method {method} does not exist/is not available")

    # --- sharing

    def share(self, tx: str, *, calldata: bool = True, logs: bool = True) -> Shared:
        """Keep a signed transaction, and hint at it: its call data, the logs that it would emit, or both."""
        shared = Shared(tx, "0x" + keccak(bytes.fromhex(_hash(tx)[2:])).hex())
        fields = _call(tx)
        call = {"to": fields["to"], "functionSelector": fields["input"][:10], "callData": fields["input"]}
        state = {"blockStateCalls": [{"calls": [_call(tx)]}], "validation": False}
        emitted = self.anvil.rpc("eth_simulateV1", state, "latest")[0]["calls"][0]["logs"]
        told = [{"address": log["address"], "topics": log["topics"], "data": log["data"]} for log in emitted]
        with self._lock:
            self.shared[shared.known_by] = shared
        self.tell({"hash": shared.known_by, "logs": told if logs else None, "txs": [call] if calldata else None})
        return shared

    def tell(self, event: object) -> None:
        for listener in self.listeners:
            listener.put(f"data: {json.dumps(event)}\n\n")

    def _take_shared(self, wish: dict[str, Any]) -> Any:
        """A bundle for each block of its range; refused when it is not for a coming block, or behind nothing known."""
        if wish.get("version") != "v0.1" or not wish.get("body"):
            raise Refusal(_INVALID, "a bundle needs version v0.1 and a body")
        first, last = (int(wish["inclusion"][key], 16) for key in ("block", "maxBlock"))
        if not self.anvil.block_number() < first <= last <= first + 30:
            raise Refusal(_INVALID, f"blocks {first}-{last} are not ahead")
        txs: list[str] = []
        for item in wish["body"]:
            if "hash" in item and item["hash"] not in self.shared:
                raise Refusal(_INVALID, f"nothing is known by {item['hash']}")
            if "tx" in item and item.get("canRevert") is not False:
                raise Refusal(_INVALID, "this relay takes nothing that may revert")
            txs.append(self.shared[item["hash"]].tx if "hash" in item else item["tx"])
        self.bundles += [Bundle(tuple(txs), block) for block in range(first, last + 1)]
        return {"bundleHash": _bundle_hash(txs)}

    # --- simulating

    def _simulate(self, txs: Sequence[str]) -> list[dict[str, Any]]:
        """Each as it would end in the next block, after those before it. Refuses a bundle with a gap of nonces."""
        self._check_nonces(txs)
        state = {"calls": [_call(tx) for tx in txs], "blockOverrides": {"time": hex(self._next_time())}}
        simulated = self.anvil.rpc("eth_simulateV1", {"blockStateCalls": [state], "validation": False}, "latest")
        results = []
        for tx, ended in zip(txs, simulated[0]["calls"], strict=True):
            result: dict[str, Any] = {"txHash": _hash(tx), "gasUsed": int(ended["gasUsed"], 16)}
            if int(ended["status"], 16) != 1:
                result |= {"error": "execution reverted", "revert": ended["returnData"]}
            results.append(result)
        return results

    def _check_nonces(self, txs: Sequence[str]) -> None:
        next_nonce: dict[str, int] = {}
        for tx in txs:
            sender, nonce = _sender(tx), _fields(tx)["nonce"]
            expected = next_nonce.get(sender)
            if expected is None:
                expected = int(self.anvil.rpc("eth_getTransactionCount", sender, "latest"), 16)
            if nonce != expected:
                raise Refusal(_REFUSED, f"err: nonce too {'low' if nonce < expected else 'high'}: tx {nonce}")
            next_nonce[sender] = expected + 1

    def _next_time(self) -> int:
        return self.anvil.timestamp() + 1

    # --- building

    def build(self) -> list[str]:
        """Mine the next block with what it may hold; hashes of what the relay put into it."""
        with self._lock:
            number = self.anvil.block_number() + 1
            chosen: list[str] = [] if self.drop else [*self._due_private(number), *self._best_bundle(number)]
            chosen += [] if self.withhold else [one.tx for one in self.shared.values() if one.tx not in chosen]
            for tx in dict.fromkeys(chosen):
                if self.anvil.rpc("eth_getTransactionByHash", _hash(tx)) is None:  # else it is public
                    self.anvil.rpc("eth_sendRawTransaction", tx)
            self.anvil.mine()
            self.bundles = [bundle for bundle in self.bundles if bundle.block > number]
            self.private = {tx: last for tx, last in self.private.items() if last > number and tx not in chosen}
            self.shared = {key: one for key, one in self.shared.items() if one.tx not in chosen}
            return [_hash(tx) for tx in chosen]

    def _due_private(self, number: int) -> list[str]:
        return sorted((tx for tx, last in self.private.items() if last >= number), key=lambda tx: _fields(tx)["nonce"])

    def _best_bundle(self, number: int) -> tuple[str, ...]:
        """The longest for this block of which nothing would fail."""
        for bundle in sorted(self.bundles, key=lambda bundle: -len(bundle.txs)):
            held = self.withhold and any(one.tx in bundle.txs for one in self.shared.values())
            if bundle.block == number and not held and self._would_succeed(bundle.txs):
                return bundle.txs
        return ()

    def _would_succeed(self, txs: Sequence[str]) -> bool:
        try:
            return all("error" not in result for result in self._simulate(txs))
        except Refusal:
            return False


@contextmanager
def open_relay(anvil: Anvil) -> Iterator[Relay]:
    """A relay on a free port."""
    relay = Relay(anvil)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = json.dumps(relay.answer(body, self.headers["X-Flashbots-Signature"])).encode()
            with suppress(ConnectionError):  # who asked may have given up
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        def do_GET(self) -> None:
            """The event stream."""
            events: queue.Queue[str] = queue.Queue()
            relay.listeners.append(events)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            said = ":ping\n\n"
            with suppress(ConnectionError):
                while relay.url:
                    self.wfile.write(said.encode())
                    self.wfile.flush()
                    try:
                        said = events.get(timeout=0.2)
                    except queue.Empty:
                        said = ":ping\n\n"
            relay.listeners.remove(events)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    relay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        relay.url = ""
        server.shutdown()
        server.server_close()


def _hash(tx: str) -> str:
    return "0x" + keccak(bytes.fromhex(tx[2:])).hex()


def _bundle_hash(txs: Sequence[str]) -> str:
    return "0x" + keccak(b"".join(bytes.fromhex(_hash(tx)[2:]) for tx in txs)).hex()


def _sender(tx: str) -> str:
    return str(Account.recover_transaction(tx))


def _fields(tx: str) -> dict[str, Any]:
    return dict(TypedTransaction.from_bytes(HexBytes(tx)).as_dict())


def _call(tx: str) -> dict[str, str]:
    fields = _fields(tx)
    return {
        "from": _sender(tx),
        "to": "0x" + bytes(fields["to"]).hex(),
        "input": "0x" + bytes(fields["data"]).hex(),
        "value": hex(fields["value"]),
        "gas": hex(fields["gas"]),
    }
