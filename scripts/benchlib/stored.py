"""A deployment whose database holds many positions, on a chain whose market is real: for measuring what a start costs,
and a daemon that has nothing to do.

The positions are of accounts that never were: an index says of them what the chain does not, which nobody asks it
about as long as nothing touches them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain as joined
from itertools import islice
from pathlib import Path

from keeper.config.load import load_config
from keeper.core.encoding import load_prices
from keeper.core.records import MARKET_KEY, CommittedBlock, Fact
from keeper.daemon import Daemon
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.wire import House

from . import aave_book
from .profiling import shares

PATIENCE_S = 120.0


async def index(house: House, block: int) -> None:
    """Arrive at a block, in the store of the house."""
    rpc = await house.connect()
    try:
        with closing(house.open_store()) as store:
            pipeline = house.pipeline(rpc, store, (), lambda: None)
            await Daemon(house, rpc, store, pipeline, lambda _: None).index(block)
    finally:
        await rpc.close()


def fill(house: House, positions: int, *, at_once: int = 100_000) -> None:
    """Store so many accounts of its Aave, of which the chain knows nothing, none nearer than 30 % to liquidation."""
    adapter = next(one for one in house.adapters() if one.kind == "aave_v3")
    with closing(house.open_store()) as store:
        tip = store.blocks()[-1]
        stored, prices = (store.fact(adapter.name, kind, MARKET_KEY) for kind in ("market", "prices"))
        assert stored is not None
        assert prices is not None
        accounts = aave_book.accounts(adapter.load_market(stored), load_prices(prices), positions, spare=0.3)
        facts = (Fact(adapter.name, "position", key, adapter.dump_position(one)) for key, one in accounts)
        while some := tuple(islice(facts, at_once)):
            with store.transaction() as tx:
                tx.amend(CommittedBlock(tip, some))


class Deployment:
    """At the tip of a chain, with this many positions."""

    def __init__(self, chain: DevChain, folder: Path, positions: int) -> None:
        self.chain = chain
        # nobody asks the chain about positions that it does not know
        self.config = write_config(
            folder / "keeper.toml",
            chain,
            notifiers=[],
            jobs={"reconcile_minutes": 100_000},
        )
        self.database = folder / "var" / "keeper.db"
        self._log = folder / "keeper.log"
        house = House(self.config, load_config(self.config))
        asyncio.run(index(house, chain.block_number))
        fill(house, positions)
        with closing(sqlite3.connect(self.database)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def loading(self) -> str:
        """The functions that loading the books takes most of its time in."""

        async def load() -> str:
            house = House(self.config, load_config(self.config))
            rpc = await house.connect()
            try:
                with closing(house.open_store()) as store:
                    return shares(house.pipeline(rpc, store, (), lambda: None).load)
            finally:
                await rpc.close()

        return asyncio.run(load())

    def height(self) -> int:
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            return int(database.execute("SELECT max(number) FROM blocks").fetchone()[0])

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """The shipped command, until the context ends."""
        command = [sys.executable, "-m", "keeper", "run", "--config", str(self.config), "--log-format", "json"]
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            if process.wait(PATIENCE_S) != 0:
                raise RuntimeError(f"the daemon ended with {process.returncode}: {self._tail()}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def wait(self, process: subprocess.Popen[bytes], block: int) -> None:
        """Until the daemon has stored this block."""
        deadline = time.monotonic() + PATIENCE_S
        while self.height() < block:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the daemon did not reach block {block}: {self._tail()}")
            time.sleep(0.002)

    def forget_cached(self) -> None:
        """Let the next reader of the database find none of it in memory, as after a restart of the machine."""
        for file in joined([self.database], self.database.parent.glob(f"{self.database.name}-*")):
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2_000:]
