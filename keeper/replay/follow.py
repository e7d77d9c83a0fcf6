"""One position while it is replayed: where it stands, and the record of what happened to it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from keeper.core.records import Told
from keeper.core.types import Band, Block, Health, Linear
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.evaluator.episodes import Episode
from keeper.evaluator.judgement import Judgement
from keeper.evaluator.notices import due_all
from keeper.replay.ahead import NOTHING_OWED
from keeper.replay.history import Floats
from keeper.replay.outcome import Call, Outcome
from keeper.replay.positions import Balances, Track


@dataclass
class Follow:
    """starts: the places from which each of its balances holds; rows, linears: of each, for the screen. end: the place
    after its last moment. version: which balances hold; -1 before the first. band: None while it cannot be judged.
    healths: floats of the present stretch of moments, which begins at the place `stretch`.
    """

    key: bytes
    track: Track
    starts: list[int]
    end: int
    rows: list[int]
    linears: list[Linear]
    outcome: Outcome
    version: int = -1
    band: Band | None = None
    stretch: int = 0
    healths: Floats = field(default_factory=lambda: np.zeros(0))
    _seen: int = 0  # up to which place the lowest health was taken
    _call: Call | None = None
    _told: Told | None = None
    _judged: bool = False

    @property
    def called(self) -> bool:
        return self._call is not None

    @property
    def row(self) -> int:
        return self.rows[max(self.version, 0)]

    def next_start(self) -> int | None:
        """The place at which its next balances begin to hold; None when there are no others."""
        return self.starts[self.version + 1] if self.version + 1 < len(self.starts) else None

    def balances_at(self, place: int) -> tuple[Balances, bool] | None:
        """The balances that begin to hold by this place, and whether others held before; None when nothing changes."""
        version = int(np.searchsorted(self.starts, place, side="right")) - 1
        if version == self.version:
            return None
        replaced, self.version = self.version >= 0, version
        return self.track.balances[version], replaced

    def see(self, end: int) -> None:
        """Take the lowest health of the moments before `end` that were not seen yet."""
        begin = max(self._seen, self.starts[0], self.stretch)
        if begin < end:
            healths = self.healths[begin - self.stretch : end - self.stretch]
            known = healths[healths < NOTHING_OWED]
            if len(known):
                self._note(float(known.min()))
        self._seen = max(self._seen, end)

    def judged(
        self,
        judgement: Judgement,
        episode: Episode | None,
        ended: Episode | None,
        acted: bool,
        block: Block,
        rules: BandRules,
    ) -> None:
        """Record one judgement. episode: the open one after it, if any; ended: the one it closed, if it did."""
        now, outcome, health = block.timestamp, self.outcome, judgement.health
        if self._call is not None:
            self._call.acted |= acted
        self.see(block.number)
        if ended is not None and self._call is not None:
            self._call.closed, self._call.reason = now, ended.status.value
            self._call = None
        elif episode is not None and self._call is None:
            self._call = Call(now)
            outcome.calls.append(self._call)
            outcome.began_low |= not self._judged
        if health is not None and health.factor_wad is not None:
            self._note(health.factor_wad / WAD)
        if (
            self._call is not None
            and self._call.urgent is None
            and episode is not None
            and episode.deepest >= Band.URGENT
        ):
            self._call.urgent = now
        if health is not None and health.liquidatable and outcome.liquidatable_at is None:
            outcome.liquidatable_at, outcome.in_force = now, self._call
        self._tell(episode, ended, block)
        self._stand(judgement, episode, now, rules)
        self._seen = block.number + 1
        self._judged |= not judgement.unknown

    def _note(self, health: float) -> None:
        self.outcome.low = min(self.outcome.low, health)
        if self._call is not None:
            self._call.low = min(self._call.low, health)

    def _tell(self, episode: Episode | None, ended: Episode | None, block: Block) -> None:
        """Hear what readers of every band are told."""
        told = {} if self._told is None else {self.track.position: self._told}
        opened, closed = [episode] if episode is not None else [], [ended] if ended is not None else []
        for due in due_all(told, opened, closed):
            self.outcome.notices.append(block.timestamp)
            self._told = Told(due.position, due.episode, due.event, due.depth.label, block.number, block.hash)

    def _stand(self, judgement: Judgement, episode: Episode | None, now: int, rules: BandRules) -> None:
        band = judgement.band
        if band is not None and episode is not None:
            band = episode.band
        elif band is Band.SAFE and self.band is Band.WATCH and _within(judgement.health, rules):
            band = Band.WATCH  # of what is only watched nobody is told: the hysteresis keeps the record short
        if (
            band is not self.band
            and band is not None
            and (not self.outcome.bands or self.outcome.bands[-1][1] != band.label)
        ):
            self.outcome.bands.append((now, band.label))
        self.band = band


def _within(health: Health | None, rules: BandRules) -> bool:
    factor = None if health is None else health.factor_wad
    return factor is not None and factor < rules.watch_wad + rules.hysteresis_wad
