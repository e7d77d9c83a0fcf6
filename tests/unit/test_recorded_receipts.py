"""Receipts of live chains decode, in full and to whom they concern; nothing that is not ours disturbs."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import Log
from keeper.protocols.aave_v3 import abi as aave_abi
from keeper.protocols.aave_v3 import logs as aave_logs
from keeper.protocols.morpho_blue import abi as morpho_abi
from keeper.protocols.morpho_blue import build, logs
from keeper.protocols.morpho_blue.state import Market
from tests.support.aave_market import market, reserve
from tests.support.recorded import receipts

_POSITIONS = ("borrow", "repay", "collateral")


def test_morphos_receipts_decode() -> None:
    """Whoever borrows, repays, pledges or withdraws a pledge is touched; suppliers of loans only move the market."""
    found = receipts("test_morpho_blue__*.json")
    assert len(found) >= 9
    for name, recorded in found.items():
        ours = {log.address for log in recorded if log.topics and log.topics[0] in morpho_abi.SHAPES}
        assert len(ours) == 1, name
        address = bytes.fromhex(ours.pop()[2:])
        adapter = build({"name": "morpho", "start_block": 0, "morpho": address})
        touched = adapter.touches(Market(address, ()), recorded)
        assert touched, name
        assert any(len(key) == 52 for key in touched) == any(word in name for word in _POSITIONS), name
        assert adapter.liquidations(Market(address, ()), recorded) == ()


def test_aaves_receipts_decode() -> None:
    """Of whatever version: with the market made of the pool and tokens that the receipt itself names."""
    found = receipts("test_aave_v3__*.json")
    assert len(found) >= 20
    concerned = 0
    for name, recorded in found.items():
        known = market_of(recorded)
        if known is None:
            continue
        concerned += 1
        seen = aave_logs.fold(known, recorded)
        assert aave_logs.touch_keys(seen) or seen.reserves, name
    assert concerned >= 15


def market_of(recorded: list[Log]):  # type: ignore[no-untyped-def]
    """The pool that updated a reserve, and every token that moved as if it were a supply token of it."""
    pools = {log.address for log in recorded if log.topics and log.topics[0] == aave_abi.RESERVE_DATA_UPDATED}
    if not pools:
        return None
    pool = bytes.fromhex(pools.pop()[2:])
    tokens = sorted({log.address for log in recorded if len(log.topics) == 3 and log.topics[0] == aave_abi.TRANSFER})
    reserves = [reserve(i, a_token=bytes.fromhex(token[2:])) for i, token in enumerate(tokens)]
    return replace(market(*reserves), pool=pool)


def test_logs_of_everybody_else_are_passed_over() -> None:
    """Receipts of other protocols, fed to Morpho's decoder."""
    for recorded in (*receipts("test_compound_*.json").values(), *receipts("test_aave_v2__*.json").values()):
        assert logs.touch_keys(logs.fold(b"\xbb" * 20, frozenset(), recorded)) == []
