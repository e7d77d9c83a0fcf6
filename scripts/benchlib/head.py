"""From the arrival of a head to a transaction the node has accepted.

Ours: the shipped daemon as its own process over a websocket, on the real Aave: a price falls, one position can be
liquidated, and the daemon reads the block, judges, stores, simulates, signs, journals and sends.
Floor: a blocking socket that reads the position's health at the head's hash, signs a prepared transaction and sends it.
"""

from __future__ import annotations

import json
import os
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

from keeper.core.secret import Secret
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.executor.signer import LocalSigner

from .rawsocket import RawIpc, RawWebSocket
from .row import Row, timed

WARM_UP = 3
TARGET = 8
PATIENCE_S = 30.0
GWEI = 10**9


def measure(rounds: int = 40) -> list[Row]:
    """Medians of alternating rounds on two chains, so that other load on the machine meets both alike, and neither
    meets the other. Then the same over IPC."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # a disk, where /tmp may be memory
        return [_over("websocket", Path(folder), rounds), _over("IPC", Path(folder), rounds)]


def _over(kind: str, folder: Path, rounds: int) -> Row:
    own, floors_own = folder / "own.ipc", folder / "floor.ipc"
    with (
        DevChain.start(manual_mining=True, ipc=own) as chain,
        DevChain.start(manual_mining=True, ipc=floors_own) as floor_chain,
        RawIpc(floors_own) if kind == "IPC" else RawWebSocket(floor_chain.anvil.port) as node,
        _daemon(chain, folder / kind, str(own) if kind == "IPC" else chain.ws_url) as said,
    ):
        chain.fund_liquidator()
        node.ask(_request("eth_subscribe", '["newHeads"]'))
        pairs = [(_floor(floor_chain, node), *_ours(chain, said, number)) for number in range(rounds + WARM_UP)]
    floors, ours, busy = (sorted(side) for side in zip(*pairs[WARM_UP:], strict=True))
    what = f"{kind}: head to accepted transaction, over a blocking socket that judges nothing"
    spread = (
        f"our own processor time {statistics.median(busy) * 1e3:.1f} ms, the rest is the node and the disk; "
        f"best round {ours[0] * 1e3:.1f} ms, nine in ten within {ours[len(ours) * 9 // 10] * 1e3:.1f} ms"
    )
    return timed(what, statistics.median(floors), statistics.median(ours), TARGET, spread)


# --- floor ------------------------------------------------------------------------------------------------------------


def _floor(chain: DevChain, node: RawWebSocket | RawIpc) -> float:
    signer = LocalSigner.from_hex(Secret(chain.liquidator.private_key), chain_id=chain.chain_id)
    account = "0x" + signer.address.hex()
    read = "0x" + encode_call("getUserAccountData(address)", [account]).hex()
    call = json.dumps({"to": chain.aave.pool, "data": read})
    nonce = int(chain.rpc("eth_getTransactionCount", account, "latest"), 16)
    to_self = TxCall(signer.address, bytes(164))
    prepared = UnsignedTransaction(chain.chain_id, nonce, GWEI, 100 * GWEI, 600_000, to_self)
    chain.mine()
    head = node.read()
    begin = time.perf_counter()
    block_hash = json.loads(head)["params"]["result"]["hash"]
    node.ask(_request("eth_call", f'[{call}, {{"blockHash": "{block_hash}"}}]'))
    answer = node.ask(_request("eth_sendRawTransaction", f'["0x{signer.sign(prepared).hex()}"]'))
    took = time.perf_counter() - begin
    if b"result" not in answer:
        raise RuntimeError(f"the floor's transaction was refused: {answer!r}")
    chain.mine()
    node.read()
    return took


def _request(method: str, params: str) -> bytes:
    return f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}'.encode()


# --- ours -------------------------------------------------------------------------------------------------------------


def _ours(chain: DevChain, said: Iterator[dict[str, Any]], number: int) -> tuple[float, float]:
    owner = chain.make_account(number)
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_900))
    _until(said, "block", chain.block_number)
    chain.set_price("WETH", Decimal(1_700))
    sent = _until(said, "sent_block", chain.block_number)
    chain.mine()
    if chain.aave.debt(owner, "USDC"):
        raise RuntimeError(f"round {number}: {owner} was not liquidated in full")
    chain.set_price("WETH", Decimal(2_000))
    return sent["seconds"], sent["processor_s"]


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
