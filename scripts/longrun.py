"""Runs the shipped daemon over a long stretch of a busy chain, and compares the last quarter with the second.

What a daemon holds after a day must be what it held after an hour: memory, and of the chain in the database no more
than may still be reverted. What it keeps on purpose (calls with their notices and evidence, its own transactions; see
`store.keep_days`) grows with what happened, and is told per call.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchlib.row import Row, counted
from longrunlib.activity import Activity
from longrunlib.looking import Sample, as_json, height, look, quarters

from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config

FLAT = 1.05
SAMPLES = 200
PATIENCE_S = 120.0
QUIET_S = 5.0  # between two lines of progress
HISTORY = 300  # states that the node keeps; deeper than any reorg here
HEADERS = 160  # finality is 64 blocks behind, and moves by epochs of 32
PER_CALL_KIB = 48.0  # of the file; a call has notices, its evidence, and perhaps a liquidation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=20_000, help="how many blocks (default 20,000)")
    parser.add_argument("--borrowers", type=int, default=200, help="how many accounts with a loan (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=Path, help="write every sample to this file, as JSON Lines")
    parser.add_argument("--json", action="store_true", help="JSON Lines on stdout: what, ratio, target, met, remark")
    args = parser.parse_args()
    samples, activity = run(args.blocks, args.borrowers, args.seed)
    if args.samples:
        args.samples.write_text("".join(json.dumps(as_json(sample)) + "\n" for sample in samples))
    rows = judge(samples)
    for row in rows:
        print(json.dumps(row.as_json()) if args.json else _sentence(row))
    if not args.json:
        print(_summary(samples, activity))
    return 0 if all(row.met for row in rows) else 1


def run(blocks: int, borrowers: int, seed: int) -> tuple[list[Sample], Activity]:
    """The samples, a quarter of whose number must be at least two, and what happened."""
    samples: list[Sample] = []
    every = max(blocks // SAMPLES, 1)
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as name,  # a disk, where /tmp may be memory
        DevChain.start(manual_mining=True, gas_limit=500_000_000, history=HISTORY) as chain,
    ):
        folder = Path(name)
        activity = Activity(chain, borrowers, seed)
        with _daemon(chain, folder) as process:
            database, begun, said = folder / "var" / "keeper.db", time.monotonic(), 0.0
            _wait(process, database, chain.block_number, folder)
            for number in range(1, blocks + 1):
                activity.step()
                # Anvil answers at its newest block with a newer state while it mines: a block is mined when the one
                # before has been taken.
                _wait(process, database, chain.block_number, folder)
                if number % every == 0:
                    samples.append(look(number, time.monotonic() - begun, process.pid, database))
                    if number == blocks or time.monotonic() - said > QUIET_S:
                        said = time.monotonic()
                        _progress(samples[-1], blocks)
    return samples, activity


def judge(samples: Sequence[Sample]) -> list[Row]:
    """Last quarter over second quarter, of everything that must stay as it is."""
    rows = []
    for figure, name in (
        ("resident", "resident memory"),
        ("anonymous", "the part of it that no file backs, which the system cannot take back"),
        ("chain", "chain state in the database"),
    ):
        before, after = quarters(samples, figure)
        remark = f"{_size(before)} in the second quarter, {_size(after)} in the last"
        rows.append(counted(f"long run: {name}, last quarter over second", after / before, FLAT, remark))
    rows.append(counted("long run: headers kept at most", max(sample.headers for sample in samples), HEADERS))
    first, last = samples[len(samples) // 4], samples[-1]
    each = (last.file - first.file) / max(last.calls - first.calls, 1)
    remark = f"{last.calls - first.calls:,} calls"
    rows.append(
        counted("long run: growth of the file per margin call kept, in KiB", each / 2**10, PER_CALL_KIB, remark)
    )
    return rows


@contextmanager
def _daemon(chain: DevChain, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    chain.fund_liquidator()
    config = write_config(
        folder / "keeper.toml",
        chain,
        mode="live",
        notifiers=[{"kind": "console"}],
        jobs={"reconcile_minutes": 1},
        breakers={
            "max_failures": 1_000,
            "max_lost_races": 1_000,
        },  # prices recover as suddenly as they fall here: what came late reverts
    )
    command = [sys.executable, "-m", "keeper", "run", "--config", str(config), "--log-format", "json"]
    environment = {**os.environ, "KEEPER_PRIVATE_KEY": chain.liquidator.private_key}
    with (folder / "keeper.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        if process.wait(PATIENCE_S) != 0:
            raise RuntimeError(f"the daemon ended with {process.returncode}: {_tail(folder)}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], database: Path, block: int, folder: Path) -> None:
    """Until the daemon has stored this block."""
    deadline = time.monotonic() + PATIENCE_S
    while height(database) < block:
        if process.poll() is not None:
            raise RuntimeError(f"the daemon stopped by itself with {process.returncode}: {_tail(folder)}")
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"the daemon is at {height(database)} after {PATIENCE_S:.0f} s, not {block}: {_tail(folder)}"
            )
        time.sleep(0.001)


def _tail(folder: Path) -> str:
    return (folder / "keeper.log").read_text(errors="replace")[-6_000:]


def _progress(sample: Sample, blocks: int) -> None:
    left = sample.seconds / sample.block * (blocks - sample.block)
    print(
        f"block {sample.block:,} of {blocks:,}: {_size(sample.resident)} resident, {_size(sample.chain)} of the chain, "
        f"{sample.calls:,} calls, {sample.settled:,} liquidations confirmed; {left / 60:.0f} min left",
        file=sys.stderr,
        flush=True,
    )


def _summary(samples: Sequence[Sample], activity: Activity) -> str:
    last, tally = samples[-1], asdict(activity.tally)
    return (
        f"{tally['blocks']:,} blocks in {last.seconds / 60:.0f} min with {tally['transactions']:,} transactions, "
        f"{tally['crashes']} crashes of the price, {tally['reorgs']} reorgs and {last.settled} confirmed liquidations; "
        f"resident at the end {_size(last.resident)}, database {_size(last.file)}"
    )


def _sentence(row: Row) -> str:
    said = f"{row.what}: {row.ratio:.3f}, at most {row.target:g}" + (f" ({row.remark})" if row.remark else "")
    return f"{'ok  ' if row.met else 'GREW'} {said}"


def _size(octets: float) -> str:
    return f"{octets / 2**20:.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
