"""A relay and builder as searchers know them, in front of an Anvil that mines by hand: nothing it holds is public.

It verifies who signs a request, simulates bundles transaction by transaction, and builds blocks: a bundle whole, in its
order and in the block it named, or not at all; a private transaction in any block until its last. It can drop what it
took, answer late, or refuse.
"""

from __future__ import annotations

import json
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


@dataclass
class Relay:
    """drop: take everything and build without it. delay_s: before every answer. reject: the reason to refuse all with.
    missing: methods that it does not have. asked: every method that was called, in order. signers: who signed."""

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
            for tx in dict.fromkeys(chosen):
                self.anvil.rpc("eth_sendRawTransaction", tx)
            self.anvil.mine()
            self.bundles = [bundle for bundle in self.bundles if bundle.block > number]
            self.private = {tx: last for tx, last in self.private.items() if last > number and tx not in chosen}
            return [_hash(tx) for tx in chosen]

    def _due_private(self, number: int) -> list[str]:
        return sorted((tx for tx, last in self.private.items() if last >= number), key=lambda tx: _fields(tx)["nonce"])

    def _best_bundle(self, number: int) -> tuple[str, ...]:
        """The longest for this block of which nothing would fail."""
        for bundle in sorted(self.bundles, key=lambda bundle: -len(bundle.txs)):
            if bundle.block == number and self._would_succeed(bundle.txs):
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

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    relay.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
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
