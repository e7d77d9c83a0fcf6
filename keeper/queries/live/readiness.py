"""Whether this deployment does what people rely on: it follows the head, can write its store, and is answered."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keeper.core.types import Block
from keeper.pulse import Pulse

if TYPE_CHECKING:
    from keeper.wire import House

Check = tuple[str, bool, str]
"""What is checked, whether it holds, and why or why not."""

BEHIND = 3
"""Blocks announced and not taken, beyond which a head is not followed."""

LEAST_FREE_BYTES = 64 * 1024 * 1024


def readiness(house: House, pulse: Pulse | None, tip: Block | None, now: float) -> dict[str, Any]:
    """What is checked while the daemon runs; where it does not, only what is known all the same."""
    checks = [*_following(house, pulse, tip, now), *_writable(house, pulse, tip)]
    if pulse is not None and not pulse.is_stale(now):
        checks += _answered(pulse)
    return {
        "ready": all(ok for _, ok, _ in checks),
        "checks": [{"check": name, "ok": ok, "detail": detail} for name, ok, detail in checks],
    }


def _following(house: House, pulse: Pulse | None, tip: Block | None, now: float) -> Iterator[Check]:
    if pulse is None:
        yield "daemon", False, "there is no pulse: start `keeper run`"
        return
    pulsed = f"its last pulse is {pulse.age_s(now):.0f} s old"
    if pulse.is_stale(now):
        yield "daemon", False, f"{pulsed}: it hangs, or has ended"
        return
    yield "daemon", True, pulsed
    behind, limit_s = pulse.section("heads").get("behind_blocks"), house.config.chain.stale_after_s
    if tip is None or behind is None:
        yield "head", False, "no block was taken yet"
        return
    mode = pulse.section("mode").get("mode")
    old_s = now - tip.timestamp
    ok = behind <= BEHIND and old_s <= limit_s and mode not in ("blind", "catching_up")
    said = f"at block {tip.number}, {behind} behind, {max(0, old_s):.0f} s old (limits {BEHIND} and {limit_s:.0f} s)"
    yield "head", ok, said if mode is None else f"{said}, {mode}"


def _writable(house: House, pulse: Pulse | None, tip: Block | None) -> Iterator[Check]:
    """By what can be seen from beside: the file's rights and its disk, and that what the daemon took is stored."""
    url = house.config.store.url.reveal()
    taken = None if pulse is None else pulse.section("heads").get("number")
    kept = taken is None or (tip is not None and tip.number >= taken - BEHIND)
    if url.startswith("sqlite"):
        path = Path(url.partition("://")[2].removeprefix("/"))
        if not os.access(path, os.W_OK):
            yield "store", False, f"{path} is not writable: give the daemon's user write permission"
            return
        free = shutil.disk_usage(path.parent).free
        if free < LEAST_FREE_BYTES:
            yield "store", False, f"{free // 2**20} MiB are free on its disk, of at least {LEAST_FREE_BYTES // 2**20}"
            return
    yield "store", kept, "what was taken is stored" if kept else f"the daemon is at {taken}, the store is not"


def _answered(pulse: Pulse) -> Iterator[Check]:
    """More than half of the endpoints."""
    asked = pulse.section("round_trips").get("by_endpoint", [])
    well = [one for one in asked if one["well"]]
    ok = 2 * len(well) > len(asked)
    lost = ", ".join(one["endpoint"] for one in asked if not one["well"])
    yield "rpc", ok, f"{len(well)} of {len(asked)} endpoints answer" + (f"; not {lost}" if lost else "")
