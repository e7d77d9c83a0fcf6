"""The Anvil process and the clock of its chain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from keeper.devnet.errors import DevnetError
from keeper.devnet.npm import anvil_binary
from keeper.devnet.rpc import Rpc

# A fork waits for its upstream inside the threads that answer requests (foundry-rs/foundry issues 1688 and 10452). Of
# these Anvil starts as many as there are cores: on two, two readers can leave it waiting for itself.
_THREADS = "16"
_START_S = 60.0  # a fork of a distant chain fetches its tip first
_STOP_S = 5.0
_PR_SET_PDEATHSIG = 1


class Anvil:
    """A running Anvil, stopped on leaving the context (and, on Linux, when the thread that started it ends).

        with Anvil.start(block_time_s=2) as anvil:
            anvil.rpc("eth_blockNumber")

    By default every transaction is mined at once into its own block. `no_mining` leaves mining to `mine()`,
    `block_time_s` to the clock.

    around_mining: entered while `mine` and `reorg` are at work. Whoever reads at the hash of the newest block meanwhile
    is told the state of the next one, since Anvil finds out which is meant before it waits for the miner.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self.port = port
        self.rpc = Rpc(port)
        self.around_mining: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext

    @classmethod
    def start(
        cls,
        *,
        port: int | None = None,
        chain_id: int = 31337,
        accounts: int = 10,
        block_time_s: float | None = None,
        no_mining: bool = False,
        gas_limit: int = 60_000_000,
        history: int = 20_000,
        slots_in_epoch: int = 32,
        code_size_limit: int | None = None,
        fork_url: str | None = None,
        fork_block: int | None = None,
        ipc: Path | None = None,
        extra: Sequence[str] = (),
    ) -> Self:
        """Start the binary and wait until it answers.

        port: None takes a free one. history: states kept in memory; a reorg can go no deeper (Anvil's own default keeps
        so few after a thousand blocks that a reorg loses the whole state). slots_in_epoch: `safe` and `finalized` are
        one and two epochs behind the tip. Raises DevnetError when it does not start, with the end of its log.
        """
        arguments = ["--host", "127.0.0.1", "--accounts", str(accounts), "--balance", "1000000000"]
        arguments += ["--gas-limit", str(gas_limit), "--prune-history", str(history)]
        arguments += ["--slots-in-an-epoch", str(slots_in_epoch)]
        if fork_url is None:
            arguments += ["--chain-id", str(chain_id)]
        else:
            arguments += ["--fork-url", fork_url, "--no-storage-caching"]
            arguments += [] if fork_block is None else ["--fork-block-number", str(fork_block)]
        arguments += [] if block_time_s is None else ["--block-time", str(block_time_s)]
        arguments += ["--no-mining"] if no_mining else []
        arguments += [] if code_size_limit is None else ["--code-size-limit", str(code_size_limit)]
        arguments += [] if ipc is None else ["--ipc", str(ipc)]
        command = [str(anvil_binary()), *arguments, *extra]
        if port is not None:
            return cls._launch(command, port)
        for _ in range(4):
            # Between our looking and Anvil's binding, somebody else may take the port; then it exits and we look again.
            with contextlib.suppress(_PortTaken):
                return cls._launch(command, _free_port())
        return cls._launch(command, _free_port())

    @classmethod
    def _launch(cls, command: Sequence[str], port: int) -> Self:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop(); it has no name, so nothing can be left behind
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            [*command, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C reaches us alone, and we stop it when we are done with it
            preexec_fn=_die_with_parent(),
            env={**os.environ, "TOKIO_WORKER_THREADS": _THREADS},
        )
        anvil = cls(process, port, log)
        try:
            anvil._wait_until_it_answers()
        except BaseException:
            anvil.stop()
            raise
        return anvil

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                said = self.log_tail()
                if "in use" in said.lower():
                    raise _PortTaken(f"port {self.port} is taken; --port names another, --port 0 takes a free one")
                raise DevnetError(f"Anvil exited with code {self._process.returncode} on port {self.port}: {said}")
            # Ours has the port once its log says so; before that, another process's Anvil might be answering there.
            if f"Listening on 127.0.0.1:{self.port}" in self.log_tail():
                self.rpc("anvil_setLoggingEnabled", False)
                return
            time.sleep(0.01)
        raise DevnetError(f"Anvil did not answer on port {self.port} within {_START_S:.0f} s: {self.log_tail()}")

    def check_alive(self) -> None:
        """Raises DevnetError with the end of its log when the process is gone."""
        if self._process.poll() is not None:
            raise DevnetError(f"Anvil exited with code {self._process.returncode}: {self.log_tail()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rpc_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def log_tail(self, size: int = 2000) -> str:
        # A positioned read: the file's own position is Anvil's, which writes through the same open file.
        end = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, max(0, end - size)).decode(errors="replace").strip()

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers, like a node that hangs."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Terminate, and kill after five seconds. Harmless when already stopped."""
        self.rpc.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_S)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the chain's clock

    def block_number(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def timestamp(self) -> int:
        """Unix seconds of the latest block."""
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def mine(self, blocks: int = 1, interval_s: int | None = None) -> None:
        """Mine blocks; interval_s is the time between them when there are several."""
        gap = [] if interval_s is None else [hex(interval_s)]
        with self.around_mining():
            self.rpc("anvil_mine", hex(blocks), *gap)

    def set_next_timestamp(self, timestamp: int) -> None:
        """Unix seconds of the next block; must be after the latest one's."""
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def warp(self, seconds: int) -> None:
        """Let time pass, and mine one block at its end."""
        self.set_next_timestamp(self.timestamp() + seconds)
        self.mine()

    def reorg(self, depth: int, transactions: Sequence[tuple[str | dict[str, str], int]] = ()) -> None:
        """Replace the last `depth` blocks by others, empty but for `transactions`.

        transactions: (signed hex, or a request of an unlocked sender; block offset from the first replaced) each.
        Transactions of the orphaned blocks vanish: no receipt, nonce rolled back, not in the pool.
        """
        with self.around_mining():
            self.rpc("anvil_reorg", depth, list(transactions))

    def snapshot(self) -> str:
        return str(self.rpc("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Back to a snapshot, which is used up. Subscribers are told nothing: only for chains that nobody follows."""
        if not self.rpc("evm_revert", snapshot):
            raise DevnetError(f"Anvil does not know the snapshot {snapshot}; a snapshot can be reverted to only once")
        self.rpc("anvil_dropAllTransactions")  # the last one undone goes back to the pool and would be mined again


class _PortTaken(DevnetError):
    """Another process got the port first."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before Anvil starts: ask Linux to kill it when the thread that started it ends: one that
    hangs would not listen."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return ask
