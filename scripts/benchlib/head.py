"""From the arrival of a head to a transaction the node has accepted.

Ours: the shipped daemon as its own process on the real Aave, with the position's transaction ready since the block
before (`executor.armed`): a price falls, one position opens, and the daemon reads the block, judges and sends.
The floor: a blocking socket that reads the position's health at the head's hash, signs a prepared transaction and sends
it. It knows nothing, keeps nothing and plans nothing.
The same, said blindly: a blocking socket that repeats the daemon's own messages. What we take beyond that is ours to
save; what that takes beyond the floor is the price of knowing what one does.
The crowd: many positions opened by one block, over as many prepared transactions sent one after the other.
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
from collections.abc import Iterator, Mapping
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
CROWD = 50
REASON = (
    "an event loop wakes up where a socket blocks, and what runs once per block finds the processor's caches full of "
    "something else: hearing and asking, proving the header, journal and store, exact judgement, writing"
)
HASH, TIME = "<hash>", "<time>"

Socket = RawWebSocket | RawIpc


def measure(rounds: int = 40) -> list[Row]:
    """Medians of alternating rounds on two chains that live through the same, so that other load on the machine meets
    all alike, and none of them another. First over a websocket, then over IPC."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # a disk, where /tmp may be memory
        rows = [row for kind in ("websocket", "IPC") for row in _over(kind, Path(folder), rounds)]
        return [*rows, _crowd(Path(folder) / "crowd", max(rounds // 8, 2))]


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
        floor = _Floor(floor_chain, node)
        floors, blind, ours, busy, left = [], [], [], [], []
        for number in range(rounds + WARM_UP):
            floors.append(floor.bare())
            sent = _ours(chain, said, number)
            ours.append(sent["seconds"])
            busy.append(sent["processor_s"])
            left.append(sent["left_s"])
            blind.append(floor.repeat(sent, number))
    floor_s, blind_s, ours_s, busy_s = (statistics.median(part[WARM_UP:]) for part in (floors, blind, ours, busy))
    spread = sorted(ours[WARM_UP:])
    what = f"{kind}: head to accepted transaction"
    left_s = statistics.median(left[WARM_UP:])
    remark = (
        f"sent after {left_s * 1e3:.2f} ms, {busy_s * 1e3:.2f} of them our own code; best round {spread[0] * 1e3:.2f}"
    )
    return [
        timed(f"{what}, over a blocking socket that judges nothing", floor_s, ours_s, 1.25, remark, REASON),
        timed(f"{what}, over the same messages said blindly", blind_s, ours_s, 3),
    ]


def _crowd(folder: Path, rounds: int) -> Row:
    """From a head that opens many positions to the last of their transactions accepted."""
    settings = {"armed": CROWD, "max_pending": CROWD}
    with (
        DevChain.start(manual_mining=True) as chain,
        DevChain.start(manual_mining=True) as floor_chain,
        RawWebSocket(floor_chain.anvil.port) as node,
        _daemon(chain, folder, chain.ws_url, settings) as said,
    ):
        chain.fund_liquidator(Decimal(10_000_000))
        _close_position(chain)
        floor, floors, ours, fired = _Floor(floor_chain, node), [], [], []
        for number in range(rounds + 1):  # the first one approves what the others need, and arms nothing
            floors.append(floor.sequence(CROWD))
            sent = _crowded(chain, said, CROWD if number else 1, number)
            ours.append(sent["seconds"])
            fired.append(sent["messages_sent"])
    remark = f"in {max(fired[1:])} messages; best round {min(ours[1:]) * 1e3:.1f} ms"
    what = f"{CROWD} positions liquidatable in one block: head to the last accepted, over as many raw sends in sequence"
    return timed(what, statistics.median(floors[1:]), statistics.median(ours[1:]), 2, remark)


def _crowded(chain: DevChain, said: Iterator[dict[str, Any]], count: int, number: int) -> dict[str, Any]:
    """Of a block that opens so many positions: when the last of their transactions was accepted."""
    owners = [chain.make_account(1_000 * (number + 1) + index) for index in range(count)]
    with chain.one_block():
        for owner in owners:
            chain.aave.supply(owner, "WETH", Decimal(10))
    with chain.one_block():
        for owner in owners:
            chain.aave.borrow(owner, "USDC", Decimal(15_900))
    _until(said, "armed", chain.block_number)
    chain.set_price("WETH", Decimal(1_700))
    left, messages = count, 0
    while left > 0:  # an approval beside the first one is one too many, and nobody minds
        sent = _until(said, "sent_block", chain.block_number)
        left, messages = left - sent["count"], messages + 1
    _close_position(chain)
    open_ = [owner for owner in owners if chain.aave.debt(owner, "USDC")]
    if open_:
        raise RuntimeError(f"round {number}: {len(open_)} of {count} were not liquidated")
    return {**sent, "messages_sent": messages}


# --- floor ------------------------------------------------------------------------------------------------------------


class _Floor:
    """A blocking socket on a chain of its own."""

    def __init__(self, chain: DevChain, node: Socket) -> None:
        self._chain = chain
        self._node = node
        self._signer = LocalSigner(b"\x42" * 32, chain_id=chain.chain_id)
        self._account = "0x" + self._signer.address.hex()
        chain.rpc("anvil_setBalance", self._account, hex(10**21))
        node.ask(_request("eth_subscribe", '["newHeads"]'))

    def bare(self) -> float:
        """Seconds from a head to the answer to a prepared transaction, with one read in between."""
        read = "0x" + encode_call("getUserAccountData(address)", [self._account]).hex()
        call = json.dumps({"to": self._chain.aave.pool, "data": read})
        nonce = int(self._chain.rpc("eth_getTransactionCount", self._account, "latest"), 16)
        self._chain.mine()
        head = self._newest()
        begin = time.perf_counter()
        block_hash = json.loads(head)["params"]["result"]["hash"]
        self._node.ask(_request("eth_call", f'[{call}, {{"blockHash": "{block_hash}"}}]'))
        raw = self._signed(nonce)
        answer = self._node.ask(_request("eth_sendRawTransaction", f'["0x{raw.hex()}"]'))
        took = time.perf_counter() - begin
        _check(answer)
        self._chain.mine()
        return took

    def sequence(self, count: int) -> float:
        """Seconds from a head to the answer to the last of so many prepared transactions, sent one after the other."""
        nonce = int(self._chain.rpc("eth_getTransactionCount", self._account, "latest"), 16)
        raws = [self._signed(nonce + index) for index in range(count)]
        requests = [_request("eth_sendRawTransaction", f'["0x{raw.hex()}"]') for raw in raws]
        self._chain.mine()
        self._newest()
        begin = time.perf_counter()
        for request in requests:
            answer = self._node.ask(request)
        took = time.perf_counter() - begin
        _check(answer)
        self._chain.mine()
        return took

    def _signed(self, nonce: int) -> bytes:
        """As many bytes as a liquidation, and worth nothing."""
        to_self, ours = TxCall(self._signer.address, bytes(164)), self._chain.chain_id
        policy = SigningPolicy(ours, self._signer.address, 100 * GWEI, exactly=frozenset({to_self}))
        return self._signer.sign(UnsignedTransaction(ours, nonce, GWEI, 100 * GWEI, 600_000, to_self), policy)

    def repeat(self, sent: dict[str, Any], number: int) -> float:
        """Seconds from a head to the answer to what the daemon sent, repeating all that it asked before."""
        messages = [_with_places(message, sent["hash"]) for message in sent["messages"]]
        _open_position(self._chain, number)
        self._chain.set_price("WETH", Decimal(1_700))
        head = self._newest()
        begin = time.perf_counter()
        block = json.loads(head)["params"]["result"]
        landing = hex(int(block["timestamp"], 16) + 1)
        for message in messages:
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
def _daemon(
    chain: DevChain, folder: Path, rpc: str, executor: Mapping[str, Any] | None = None, **tables: Any
) -> Iterator[Iterator[dict[str, Any]]]:
    """What the watched daemon says, while it runs. executor: settings of it. tables: others of the
    configuration, see `write_config`."""
    config = write_config(
        folder / "keeper.toml", chain, mode="live", rpc=[rpc], notifiers=[], executor=executor, **tables
    )
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
