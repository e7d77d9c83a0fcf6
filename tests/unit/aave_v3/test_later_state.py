"""A node that mines while it answers may answer for the block after the one it was asked about."""

from __future__ import annotations

import pytest

from keeper.core.errors import StateUnavailable
from keeper.core.types import Block, BlockRef, Update
from keeper.protocols.aave_v3.track import of_block
from tests.support.aave_market import NOW, market, reserve


def test_state_of_a_later_block_is_asked_for_again() -> None:
    """An interest index cannot have been updated after the block that it was read at."""
    block = Block(BlockRef(7, b"\x07" * 32), b"\x06" * 32, NOW)
    present = Update(market(reserve(0), reserve(1, updated_at=NOW)), {}, {})
    later = Update(market(reserve(0), reserve(1, updated_at=NOW + 12)), {}, {})
    assert of_block(present, block) is present
    assert of_block(Update(None, {}, {}), block).market is None
    with pytest.raises(StateUnavailable, match=f"T1 was updated at {NOW + 12}"):
        of_block(later, block)
