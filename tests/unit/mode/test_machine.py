"""The mode of a daemon is a function of what is seen of it now."""

from __future__ import annotations

import pytest

from keeper.mode.machine import BEHIND_BLOCKS, Mode, Sight, judge

HALT = {"clock": "the clock is wrong"}


@pytest.mark.parametrize(
    ("sight", "mode"),
    [
        (Sight(0, 120, taken=10, announced=10), Mode.FOLLOWING),
        (Sight(120, 120, taken=10, announced=10), Mode.FOLLOWING),
        (Sight(120.1, 120, taken=10, announced=10), Mode.BLIND),
        (Sight(0, 120), Mode.CATCHING_UP),
        (Sight(121, 120), Mode.BLIND),
        (Sight(0, 120, taken=10, announced=10 + BEHIND_BLOCKS), Mode.FOLLOWING),
        (Sight(0, 120, taken=10, announced=11 + BEHIND_BLOCKS), Mode.CATCHING_UP),
        (Sight(0, 120, taken=12, announced=11), Mode.FOLLOWING),
        (Sight(0, 120, taken=10, announced=10, halts=HALT), Mode.DEGRADED),
        (Sight(0, 120, taken=10, announced=1000, halts=HALT), Mode.CATCHING_UP),
        (Sight(121, 120, taken=10, announced=10, halts=HALT), Mode.BLIND),
    ],
)
def test_modes(sight: Sight, mode: Mode):
    state = judge(sight)
    assert state.mode is mode
    assert bool(state.reasons) is (mode is not Mode.FOLLOWING)
    assert all(state.reasons[name] == said for name, said in sight.halts.items())


def test_only_who_takes_blocks_of_the_present_watches():
    assert [mode for mode in Mode if mode.watches] == [Mode.FOLLOWING, Mode.DEGRADED]
