"""The same seed brings the same faults in the same order."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

from scripts.campaignlib.run import draw
from scripts.campaignlib.scene import Scene


def drawn(seed: int) -> list[tuple[str, int]]:
    scene = cast(Scene, SimpleNamespace(chance=random.Random(seed)))
    return [(one.kind, one.blocks) for one in draw(scene, None, 1_000, 2)]


def test_the_same_seed_draws_the_same_faults_and_another_seed_others():
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_kind_comes_once_before_any_comes_again():
    once = [kind for kind, _ in drawn(3)]
    half = len(once) // 2
    assert len(set(once[:half])) == half
    assert set(once[:half]) == set(once[half:])
