"""From a pending price update to our transaction right behind it in the node's pool, as a third socket hears of both.

Ours: the shipped daemon as its own process on the real Aave: the update is read, run by the node in front of the price
reads, the book judged as if it were mined, and what it opens planned, simulated, signed, journalled and sent.
The floor: a blocking socket that sends a prepared transaction as soon as it hears of the update, whatever it says.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from keeper.core.policy import SigningPolicy
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.executor.signer import LocalSigner

from .head import GWEI, PATIENCE_S, WARM_UP, _close_position, _Floor, _open_position
from .rawsocket import RawWebSocket
from .row import Row, timed

_SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newPendingTransactions"]}'


def measure(rounds: int = 30) -> list[Row]:
    """Medians of alternating rounds on two chains that live through the same."""
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        DevChain.start(manual_mining=True) as chain,
        DevChain.start(manual_mining=True) as floor_chain,
        RawWebSocket(chain.anvil.port, PATIENCE_S) as ear,
        RawWebSocket(floor_chain.anvil.port, PATIENCE_S) as floor_ear,
    ):
        chain.fund_liquidator()
        for one in (ear, floor_ear):
            one.ask(_SUBSCRIBE)
        floors, ours = [], []
        ahead: list[bool] = []
        with _daemon(chain, Path(folder)) as log:
            for number in range(rounds + WARM_UP):
                floors.append(_floor(floor_chain, floor_ear))
                took, in_its_block = _ours(chain, ear, log, number)
                ours.append(took)
                ahead.append(in_its_block)
        bare = _Floor(floor_chain, floor_ear)
        blind_s = statistics.median([bare.bare() for _ in range(rounds)])
    floor_s, ours_s = (statistics.median(part[WARM_UP:]) for part in (floors, ours))
    remark = f"best round {min(ours[WARM_UP:]) * 1e3:.1f} ms; 2 round trips before sending"
    what = "pending update to ours accepted behind it, over a blocking socket that judges nothing"
    late = sum(not one for one in ahead)
    said = f"{len(ahead)} of {len(ahead)} were in the update's own block" if not late else f"{late} came late"
    predicted = "predicted position: head to accepted transaction, over a blocking socket that judges nothing"
    return [
        timed(what, floor_s, ours_s, 25, remark),
        timed(predicted, blind_s, blind_s * 2 if late else 0.0, 1, f"accepted before the head; {said}"),
    ]


def _floor(chain: DevChain, ear: RawWebSocket) -> float:
    signer = LocalSigner(bytes.fromhex(chain.liquidator.private_key[2:]), chain_id=chain.chain_id)
    nonce = int(chain.rpc("eth_getTransactionCount", chain.liquidator.address, "latest"), 16)
    call = TxCall(bytes.fromhex(chain.aave.pool[2:]), b"")
    policy = SigningPolicy(chain.chain_id, signer.address, 100 * GWEI, exactly=frozenset({call}))
    raw = signer.sign(UnsignedTransaction(chain.chain_id, nonce, GWEI, 100 * GWEI, 100_000, call), policy)
    message = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]})
    update = _update(chain, 1_700)
    _hear(ear, update)
    began = time.perf_counter()
    ear.send(message.encode())
    while b'"eth_subscription"' not in ear.read():  # its answer, then the push of it
        pass
    took = time.perf_counter() - began
    chain.mine()
    return took


def _ours(chain: DevChain, ear: RawWebSocket, log: Path, number: int) -> tuple[float, bool]:
    """Seconds from the update to ours, and whether the head that brought the update brought ours as well."""
    owner = _open_position(chain, number)
    _until_taken(log, chain.block_number)
    _drain(ear, chain)
    update = _update(chain, 1_700)
    _hear(ear, update)
    began = time.perf_counter()
    pushed = ear.read()
    took = time.perf_counter() - began
    told = chain.rpc("eth_getTransactionByHash", json.loads(pushed)["params"]["result"])
    if told["from"] != chain.liquidator.address.lower():
        raise RuntimeError(f"round {number}: the pool told of {told['hash']}, which is not ours")
    _close_position(chain)
    if chain.aave.debt(owner, "USDC"):
        raise RuntimeError(f"round {number}: {owner} was not liquidated behind the update")
    mined = [chain.rpc("eth_getTransactionReceipt", one)["blockHash"] for one in (update, told["hash"])]
    return took, mined[0] == mined[1]


def _update(chain: DevChain, price: int) -> str:
    token = chain.tokens["WETH"]
    data = "0x" + encode_call("set(int256)", (token.answer(Decimal(price)),)).hex()
    fees = {"maxFeePerGas": hex(200 * GWEI), "maxPriorityFeePerGas": hex(30 * GWEI), "gas": hex(200_000)}
    return str(chain.rpc("eth_sendTransaction", {"from": chain.accounts[5], "to": token.feed, "data": data, **fees}))


def _hear(ear: RawWebSocket, tx_hash: str) -> None:
    while tx_hash.encode() not in ear.read():
        pass


def _drain(ear: RawWebSocket, chain: DevChain) -> None:
    """Hear everything that came before now."""
    _hear(ear, str(chain.rpc("eth_sendTransaction", {"from": chain.accounts[6], "to": chain.accounts[6]})))


def _until_taken(log: Path, block: int) -> None:
    """Until the daemon has taken this block: it judges updates on top of nothing older."""
    deadline = time.monotonic() + PATIENCE_S
    wanted = f'{{"block": {block}}}'
    while wanted not in log.read_text():
        if time.monotonic() > deadline:
            raise RuntimeError(f"the daemon did not take block {block}")
        time.sleep(0.005)


@contextmanager
def _daemon(chain: DevChain, folder: Path) -> Iterator[Path]:
    """A file in which the daemon says which blocks it has taken, while it runs."""
    config = write_config(folder / "keeper.toml", chain, mode="live", notifiers=[], executor={"pending_prices": "send"})
    environment = {**os.environ, "KEEPER_PRIVATE_KEY": chain.liquidator.private_key}
    out = folder / "blocks"
    with out.open("wb") as said, (folder / "log").open("wb") as errors:
        command = [sys.executable, str(Path(__file__).with_name("watched.py")), str(config)]
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=errors)
        try:
            yield out
        except BaseException:
            sys.stderr.write((folder / "log").read_text()[-4000:])
            raise
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
