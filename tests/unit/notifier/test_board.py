"""What is put on chain for a number that no unsigned integer holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import decode

from keeper.notifier.board import POST, encode_post
from tests.support.notices import notice

TYPES = ["bytes32", "uint8", "address", "string", "uint8", "uint256", "uint256", "bytes32"]
TYPES += ["(bool,address,uint256,uint256)[]"]


@pytest.mark.parametrize(
    ("health_wad", "posted"), [("-1957700000000000000", 0), (None, 2**256 - 1), (str(2**300), 2**256 - 1), ("7", 7)]
)
def test_a_health_is_posted_as_the_nearest_that_the_contract_can_hold(health_wad: str | None, posted: int) -> None:
    """A perpetual account that owes more than it has is below zero: it is the call that matters most."""
    told = notice(1)
    told = replace(told, body={**told.body, "health_wad": health_wad})
    data = encode_post(told)
    assert data.startswith(POST)
    assert decode(TYPES, data[len(POST) :])[5] == posted
