"""A position at the block at which something is said of it: all that a notice of it rests on."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.types import Band, Block, Health
from keeper.core.units import WAD
from keeper.evaluator import wording as words
from keeper.evaluator.bands import BandRules
from keeper.evaluator.directory import Directory
from keeper.evaluator.judgement import Dossier
from keeper.evaluator.metrics import Metrics, metrics_of
from keeper.evaluator.notices import Due


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the same position's health was at an earlier block; None: nothing was owed."""

    health_wad: int | None
    timestamp: int


@dataclass(frozen=True, slots=True)
class Situation:
    """A position at the block at which something is said of it.

    health: None when the position no longer exists. earlier: None where nothing earlier is known.
    """

    due: Due
    account: bytes
    protocol: str
    block: Block
    health: Health | None
    dossier: Dossier
    rules: BandRules
    directory: Directory
    earlier: Earlier | None = None

    @property
    def factor_wad(self) -> int | None:
        return None if self.health is None else self.health.factor_wad

    @property
    def open_at_any_health(self) -> bool:
        """Whether it may be liquidated although its health does not say so: for what it owes, as Venus forces it."""
        health = self.health
        return health is not None and health.liquidatable and health.factor_wad is not None and health.factor_wad >= WAD

    @property
    def band(self) -> Band:
        """Where the position stands now; of an open episode with its memory."""
        if not self.due.event.closes and self.due.truth is not None:
            return self.due.truth.band
        return Band.SAFE if self.health is None else self.rules.band(self.health) or Band.SAFE

    @property
    def compared(self) -> Earlier | None:
        """What its health is compared with: what it was earlier, or, where it is the same again, at the last step since
        then at which it was not."""
        earlier, truth = self.earlier, self.due.truth
        if earlier is None or truth is None or not words.is_same(self.factor_wad, earlier.health_wad):
            return earlier
        between = (mark for mark in reversed(truth.marks) if earlier.timestamp < mark.timestamp < self.block.timestamp)
        turn = next((mark for mark in between if not words.is_same(self.factor_wad, mark.health_wad)), None)
        return earlier if turn is None else Earlier(turn.health_wad, turn.timestamp)

    @property
    def metrics(self) -> Metrics | None:
        return None if self.dossier.assessment is None else metrics_of(self.dossier.assessment)

    def symbol(self, asset: bytes) -> str:
        token = dict(self.dossier.tokens).get(asset)
        return self.directory.show(asset) if token is None else words.clean_symbol(token.symbol)

    def amount(self, asset: bytes, assets: int) -> str:
        token = dict(self.dossier.tokens).get(asset)
        if token is None:
            return f"{assets} units of {self.directory.show(asset)}"
        return words.amount(assets, token.decimals, token.symbol)

    def value(self, units: int | None) -> str | None:
        return None if units is None else words.value(units, self.dossier.currency_decimals, self.dossier.currency)
