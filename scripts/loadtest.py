"""A dev chain whose blocks come steadily, the daemon with its web server on it, and a load of clients now and then.

The daemon's own figure is compared: from the announcement of a head until it is stored, acted on and told, as its pulse
says. Quiet and loaded stretches alternate, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from loadlib.load import Load, load

from keeper.config.load import load_config
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.pulse import read_pulse
from keeper.wire import House

OWNERS = 16
ROUNDS = 3


@dataclass
class Watch:
    """Follows the pulse. took_s: by block, per kind of stretch; resident: bytes of daemon and server over time."""

    house: House
    daemon: int
    loaded: bool | None = None
    ended: bool = False
    took_s: dict[bool, dict[int, float]] = field(default_factory=lambda: {True: {}, False: {}})
    resident: dict[str, list[int]] = field(default_factory=lambda: {"daemon": [], "server": []})

    def run(self) -> None:
        while not self.ended:
            pulse = read_pulse(self.house.files.pulse)
            heads = {} if pulse is None else pulse.section("heads")
            if self.loaded is not None and heads.get("took_s") is not None:
                self.took_s[self.loaded].setdefault(heads["number"], heads["took_s"])
            for name, pid in (("daemon", self.daemon), ("server", _child_of(self.daemon))):
                if pid is not None and (size := _resident(pid)) is not None:
                    self.resident[name].append(size)
            time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200, help="who listen to live events (200)")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (50)")
    parser.add_argument("--seconds", type=float, default=60.0, help="under load, in all; as long again without (60)")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between blocks (1)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, DevChain.start(accounts=OWNERS + 4) as chain:
        found = measure(Path(folder), chain, args)
    print(json.dumps(found) if args.json else _table(found))
    return 0 if not found["errors"] else 1


def measure(folder: Path, chain: DevChain, args: argparse.Namespace) -> dict[str, Any]:
    for owner in chain.accounts[:OWNERS]:
        chain.aave.supply(owner, "WETH", Decimal(10))
        chain.aave.borrow(owner, "USDC", Decimal(14_000))
    config = write_config(folder / "keeper.toml", chain)
    house = House(config, load_config(config))
    log = folder / "keeper.log"
    command = [sys.executable, "-m", "keeper", "run", "--config", str(config), "--log-format", "json"]
    with log.open("wb") as out:
        daemon = subprocess.Popen([*command, "--web", "127.0.0.1:0"], stderr=out, stdin=subprocess.DEVNULL)
    watch = Watch(house, daemon.pid)
    stop = threading.Event()
    try:
        url = _url(log, daemon)
        threading.Thread(target=watch.run, daemon=True).start()
        mining = threading.Thread(target=_mine, args=(chain, args.interval, stop), daemon=True)
        mining.start()
        os.nice(10)  # who asks has a machine of their own elsewhere; here they stand back
        time.sleep(3)
        loads = [_round(watch, url, args) for _ in range(ROUNDS)]
        stop.set()
        mining.join(10)
    finally:
        watch.ended = True
        daemon.terminate()
        code = daemon.wait(30)
    return _result(watch, loads, args, code)


def _round(watch: Watch, url: str, args: argparse.Namespace) -> Load:
    """A quiet stretch, then one under load."""
    seconds = args.seconds / ROUNDS
    watch.loaded = False
    time.sleep(seconds)
    watch.loaded = True
    found = asyncio.run(load(url, seconds=seconds, clients=args.clients, rate=args.rate))
    watch.loaded = None
    time.sleep(1)
    return found


def _result(watch: Watch, loads: list[Load], args: argparse.Namespace, code: int) -> dict[str, Any]:
    quiet, loaded = (sorted(watch.took_s[kind].values()) for kind in (False, True))
    times = Load(times_s=[one for found in loads for one in found.times_s])
    errors = sum((found.errors for found in loads), start=loads[0].errors.__class__())
    if code != 0:
        errors[f"the daemon ended with {code}"] += 1
    deaf = sum(1 for found in loads for blocks in found.heard if not blocks)
    if deaf:
        errors["clients that heard no block"] += deaf
    memory = {
        name: {"first_mib": _mib(sizes[: len(sizes) // 4]), "last_mib": _mib(sizes[-len(sizes) // 4 :])}
        for name, sizes in watch.resident.items()
        if len(sizes) >= 4
    }
    return {
        "clients": args.clients,
        "requests_per_s": args.rate,
        "seconds": args.seconds,
        "requests": sum(found.requests for found in loads),
        "not_modified": sum(found.not_modified for found in loads),
        "blocks_heard": sum(len(blocks) for found in loads for blocks in found.heard),
        "errors": dict(errors),
        "answer_ms": {"median": _ms(times.slowest(0.5)), "p99": _ms(times.slowest(0.99))},
        "head_ms": {
            "quiet": {"blocks": len(quiet), "median": _ms(_median(quiet)), "p90": _ms(_at(quiet, 0.9))},
            "loaded": {"blocks": len(loaded), "median": _ms(_median(loaded)), "p90": _ms(_at(loaded, 0.9))},
        },
        "head_change": round(_median(loaded) / _median(quiet) - 1, 4) if quiet and loaded else None,
        "memory": memory,
    }


def _table(found: dict[str, Any]) -> str:
    heads, answers = found["head_ms"], found["answer_ms"]
    change = "?" if found["head_change"] is None else f"{found['head_change']:+.1%}"
    lines = [
        f"{found['clients']} clients on the live events, {found['requests_per_s']:g} requests a second, "
        f"{found['seconds']:g} s",
        f"requests          {found['requests']} ({found['not_modified']} not modified), "
        f"median {answers['median']} ms, 99 % within {answers['p99']} ms",
        f"blocks heard      {found['blocks_heard']}",
        f"errors            {found['errors'] or 'none'}",
    ]
    lines += [
        f"head, {kind:7}     median {one['median']} ms, 90 % within {one['p90']} ms ({one['blocks']} blocks)"
        for kind, one in heads.items()
    ]
    lines.append(f"change of median  {change}")
    lines += [
        f"memory, {name:7}   {one['first_mib']} MiB at first, {one['last_mib']} MiB at last"
        for name, one in found["memory"].items()
    ]
    return "\n".join(lines)


def _mine(chain: DevChain, interval_s: float, stop: threading.Event) -> None:
    """A block now and then; every fifth moves a price, so that there is something to tell."""
    number = 0
    while not stop.wait(interval_s):
        number += 1
        if number % 5:
            chain.mine()
        else:
            chain.set_price("WETH", Decimal(2_000 - 160 * (number // 5 % 2)))


def _url(log: Path, daemon: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and daemon.poll() is None:
        for line in log.read_text().splitlines():
            if '"web_listening"' in line:
                return str(json.loads(line)["url"])
        time.sleep(0.1)
    raise SystemExit(f"loadtest: the daemon did not come up:\n{log.read_text()[-2_000:]}")


def _child_of(parent: int) -> int | None:
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def _resident(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return None


def _mib(sizes: list[int]) -> float:
    return round(statistics.median(sizes) / 2**20, 1)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 2)


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


if __name__ == "__main__":
    sys.exit(main())
