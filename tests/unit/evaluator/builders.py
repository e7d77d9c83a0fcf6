"""Values for the evaluator's tests, stating only what matters."""

from __future__ import annotations

import hashlib

from keeper.core.types import Band, Block, BlockRef, Health
from keeper.core.units import WAD, scale_decimal
from keeper.evaluator.bands import BandRules
from keeper.evaluator.judgement import Judgement

RULES = BandRules(
    watch_wad=1250 * WAD // 1000,
    call_wad=1100 * WAD // 1000,
    urgent_wad=1030 * WAD // 1000,
    hysteresis_wad=20 * WAD // 1000,
    target_wad=1250 * WAD // 1000,
)
ALICE = bytes.fromhex("a11ce0" + "00" * 17)
POSITION = "lab:0x" + ALICE.hex()


def wad(text: str) -> int:
    return scale_decimal(text, 18)


def health(factor: str | int | None, *, liquidatable: bool | None = None, stale: tuple[bytes, ...] = ()) -> Health:
    """A health of this factor (decimal text or wad), liquidatable below 1; None: nothing is owed."""
    factor_wad = wad(factor) if isinstance(factor, str) else factor
    if liquidatable is None:
        liquidatable = factor_wad is not None and factor_wad < WAD
    return Health(factor_wad, liquidatable, 1, 1, stale_assets=stale)


UNPRICED = Health(None, False, 0, 0, unpriced_assets=(b"\xa0" * 20,))


def judged(found: Health | None, *, liquidated: bool = False) -> Judgement:
    band = Band.SAFE if found is None else RULES.band(found)
    return Judgement(ALICE, POSITION, ALICE, found, None, band, liquidated)


def block(number: int, branch: str = "") -> Block:
    """Blocks of the same number on different branches have different hashes."""
    return Block(BlockRef(number, _hash(number, branch)), _hash(number - 1, branch), 1_700_000_000 + 12 * number)


def _hash(number: int, branch: str) -> bytes:
    return hashlib.sha256(f"{number}{branch}".encode()).digest()
