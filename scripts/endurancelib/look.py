"""The daemon looked at from outside, once a second and before each new block."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.endurancelib.scene import Scene

_WAITING = "SELECT channel, count(*) FROM deliveries WHERE status IN ('pending', 'held', 'sending') GROUP BY channel"


@dataclass(frozen=True, slots=True)
class Sample:
    """Once a second. behind_blocks: mined and not stored. behind_s: since the oldest of these was mined. took_s: from
    the last head's announcement until it was acted on and told, as the daemon says. waiting: notices not told yet, by
    channel. open_calls: as the daemon says."""

    at_s: float
    block: int
    behind_blocks: int
    behind_s: float
    took_s: float | None
    resident: int
    waiting: Mapping[str, int]
    open_calls: int
    trouble: str


@dataclass(frozen=True, slots=True)
class Lag:
    """When a new block was due: how many were mined and not stored, and since when."""

    at_s: float
    blocks: int
    seconds: float
    trouble: str


class Looking:
    """Reads what the daemon stores and its pulse. Not thread-safe: of the one that mines."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._reader = sqlite3.connect(f"{scene.database.as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)

    def close(self) -> None:
        self._reader.close()

    def stored(self) -> int:
        return int(self._reader.execute("SELECT max(number) FROM blocks").fetchone()[0])

    def behind(self, tip: int, now: float) -> tuple[int, float]:
        stored, mined_at = self.stored(), self._scene.world.mined_at
        if stored >= tip:
            return 0, 0.0
        return tip - stored, now - mined_at.get(stored + 1, now)

    def waiting(self) -> dict[str, int]:
        return {channel: int(count) for channel, count in self._reader.execute(_WAITING)}

    def confirmed(self) -> int:
        row = self._reader.execute("SELECT count(*) FROM intents WHERE status = 'confirmed'").fetchone()
        return int(row[0])

    def sample(self, at_s: float, tip: int, now: float) -> Sample:
        blocks, seconds = self.behind(tip, now)
        pulse = self._pulse()
        heads, memory = pulse.get("heads", {}), pulse.get("memory", {})
        return Sample(
            at_s=round(at_s, 1),
            block=tip,
            behind_blocks=blocks,
            behind_s=round(seconds, 3),
            took_s=heads.get("took_s"),
            resident=self._resident(),
            waiting=self.waiting(),
            open_calls=sum(memory.get("open_episodes", {}).values()),
            trouble=self._scene.world.trouble,
        )

    def _pulse(self) -> dict[str, Any]:
        try:
            sections: dict[str, Any] = json.loads(self._scene.pulse.read_bytes())["sections"]
        except (OSError, ValueError, KeyError):
            return {}
        return sections

    def _resident(self) -> int:
        try:
            text = Path(f"/proc/{self._scene.keeper.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS:")), 0)
