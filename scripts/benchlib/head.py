"""From the arrival of a head to a transaction the node has accepted.

Ours: the shipped daemon as its own process on the real Aave: a price falls, one position can be liquidated, and the
daemon reads the block, judges, stores, simulates, signs, journals and sends.
The floor: a blocking socket that reads the position's health at the head's hash, signs a prepared transaction and sends
it. It knows nothing, keeps nothing and simulates nothing.
The same, said blindly: a blocking socket that repeats the daemon's own messages and syncs as many bytes to the disk.
What we take beyond that is ours to save; what that takes beyond the floor is the price of knowing what one does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from keeper.core.policy import SigningPolicy
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.executor.signer import LocalSigner

from .rawsocket import RawIpc, RawWebSocket
from .row import Row, timed

WARM_UP = 3
PATIENCE_S = 30.0
GWEI = 10**9
RECORD = bytes(2048)  # about what a block and an intent each write
HASH, TIME = "<hash>", "<time>"

Socket = RawWebSocket | RawIpc


def measure(rounds: int = 40) -> list[Row]:
    """Medians of alternating rounds on two chains that live through the same, so that other load on the machine meets
    all alike, and none of them another. First over a websocket, then over IPC."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # a disk, where /tmp may be memory
        return [row for kind in ("websocket", "IPC") for row in _over(kind, Path(folder), rounds)]


def _over(kind: str, folder: Path, rounds: int) -> list[Row]:
    own, floors_own = folder / "own.ipc", folder / "floor.ipc"
    with (
        DevChain.start(manual_mining=True, ipc=own) as chain,
        DevChain.start(manual_mining=True, ipc=floors_own) as floor_chain,
        RawIpc(floors_own) if kind == "IPC" else RawWebSocket(floor_chain.anvil.port) as node,
        _daemon(chain, folder / kind, str(own) if kind == "IPC" else chain.ws_url) as said,
    ):
        chain.fund_liquidator()
        floor_chain.fund_liquidator()
        floor = _Floor(floor_chain, node, folder / "record")
        floors, blind, ours, busy = [], [], [], []
        for number in range(rounds + WARM_UP):
            floors.append(floor.bare())
            sent = _ours(chain, said, number)
            ours.append(sent["seconds"])
            busy.append(sent["processor_s"])
            blind.append(floor.repeat(sent, number))
    floor_s, blind_s, ours_s, busy_s = (statistics.median(part[WARM_UP:]) for part in (floors, blind, ours, busy))
    spread = sorted(ours[WARM_UP:])
    what = f"{kind}: head to accepted transaction"
    remark = f"{busy_s * 1e3:.1f} ms of ours is our own code; best round {spread[0] * 1e3:.1f} ms"
    return [
        timed(f"{what}, over a blocking socket that judges nothing", floor_s, ours_s, 8, remark),
        timed(f"{what}, over the same messages and syncs said blindly", blind_s, ours_s, 3),
    ]


# --- floor ------------------------------------------------------------------------------------------------------------


class _Floor:
    """A blocking socket on a chain of its own."""

    def __init__(self, chain: DevChain, node: Socket, file: Path) -> None:
        self._chain = chain
        self._node = node
        self._signer = LocalSigner(b"\x42" * 32, chain_id=chain.chain_id)
        self._account = "0x" + self._signer.address.hex()
        chain.rpc("anvil_setBalance", self._account, hex(10**21))
        node.ask(_request("eth_subscribe", '["newHeads"]'))
        file.write_bytes(bytes(1 << 20))
        self._file = os.open(file, os.O_WRONLY)
        os.fsync(self._file)

    def bare(self) -> float:
        """Seconds from a head to the answer to a prepared transaction, with one read in between."""
        read = "0x" + encode_call("getUserAccountData(address)", [self._account]).hex()
        call = json.dumps({"to": self._chain.aave.pool, "data": read})
        nonce = int(self._chain.rpc("eth_getTransactionCount", self._account, "latest"), 16)
        to_self = TxCall(self._signer.address, bytes(164))
        prepared = UnsignedTransaction(self._chain.chain_id, nonce, GWEI, 100 * GWEI, 600_000, to_self)
        policy = SigningPolicy(self._chain.chain_id, self._signer.address, 100 * GWEI, exactly=frozenset({to_self}))
        self._chain.mine()
        head = self._newest()
        begin = time.perf_counter()
        block_hash = json.loads(head)["params"]["result"]["hash"]
        self._node.ask(_request("eth_call", f'[{call}, {{"blockHash": "{block_hash}"}}]'))
        raw = self._signer.sign(prepared, policy)
        answer = self._node.ask(_request("eth_sendRawTransaction", f'["0x{raw.hex()}"]'))
        took = time.perf_counter() - begin
        _check(answer)
        self._chain.mine()
        return took

    def repeat(self, sent: dict[str, Any], number: int) -> float:
        """Seconds from a head to the answer to what the daemon sent, repeating all that it asked before."""
        messages = [_with_places(message, sent["hash"]) for message in sent["messages"]]
        _open_position(self._chain, number)
        self._chain.set_price("WETH", Decimal(1_700))
        head = self._newest()
        begin = time.perf_counter()
        block = json.loads(head)["params"]["result"]
        landing = hex(int(block["timestamp"], 16) + 1)
        for place, message in enumerate(messages):
            if place:  # the block is kept before it is acted on, the intent before it is sent
                os.pwrite(self._file, RECORD, 0)
                os.fdatasync(self._file)
            answer = self._node.ask(message.replace(HASH, block["hash"]).replace(TIME, landing).encode())
        took = time.perf_counter() - begin
        _check(answer)
        _close_position(self._chain)
        return took

    def _newest(self) -> bytes:
        """The pushed head of the chain's tip."""
        newest = hex(self._chain.block_number).encode()
        while True:
            head = self._node.read()
            if b'"number":"' + newest + b'"' in head:
                return head


def _with_places(requests: list[Any], block_hash: str) -> str:
    """A message of the daemon as text, with places for what differs on another chain."""
    calls = [{"jsonrpc": "2.0", "id": 1 + n, "method": m, "params": p} for n, (m, p) in enumerate(requests)]
    text = json.dumps(calls if len(calls) > 1 else calls[0]).replace(block_hash, HASH)
    return re.sub('"time": "0x[0-9a-f]+"', f'"time": "{TIME}"', text)


def _check(answer: bytes) -> None:
    if b'"error"' in answer:
        raise RuntimeError(f"the floor's transaction was refused: {answer!r}")


def _request(method: str, params: str) -> bytes:
    return f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}'.encode()


# --- ours -------------------------------------------------------------------------------------------------------------


def _ours(chain: DevChain, said: Iterator[dict[str, Any]], number: int) -> dict[str, Any]:
    """What the daemon said when it had liquidated one position."""
    owner = _open_position(chain, number)
    _until(said, "armed", chain.block_number)
    chain.set_price("WETH", Decimal(1_700))
    sent = _until(said, "sent_block", chain.block_number)
    _close_position(chain)
    if chain.aave.debt(owner, "USDC"):
        raise RuntimeError(f"round {number}: {owner} was not liquidated in full")
    return sent


def _open_position(chain: DevChain, number: int) -> str:
    owner = chain.make_account(number)
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_900))
    return owner


def _close_position(chain: DevChain) -> None:
    """Mine what was sent, and bring the price back."""
    chain.mine()
    chain.set_price("WETH", Decimal(2_000))


@contextmanager
def _daemon(chain: DevChain, folder: Path, rpc: str) -> Iterator[Iterator[dict[str, Any]]]:
    """What the watched daemon says, while it runs."""
    config = write_config(folder / "keeper.toml", chain, mode="live", rpc=[rpc], notifiers=[])
    environment = {**os.environ, "KEEPER_PRIVATE_KEY": chain.liquidator.private_key}
    log = folder / "keeper.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("watched.py")), str(config)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        yield (json.loads(line) for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        if process.wait(PATIENCE_S) != 0:
            raise RuntimeError("the daemon did not end well")
    except BaseException:
        process.terminate()
        process.wait(PATIENCE_S)
        sys.stderr.write(log.read_text()[-4000:])
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _until(said: Iterator[dict[str, Any]], key: str, number: int) -> dict[str, Any]:
    """The daemon's first word of this kind about this block."""
    for line in said:
        if line.get(key) == number:
            return line
    raise RuntimeError(f"the daemon ended before it said {key} {number}")
