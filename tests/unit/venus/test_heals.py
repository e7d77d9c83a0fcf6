"""What one transaction's logs say of a heal: which of them belong to it, and what is told of several assets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import Log
from keeper.protocols.venus import abi, logs
from tests.support.cases import data, topic
from tests.support.venus_market import ACCOUNT, asset, market, vmarket, vtoken

HEALER, OTHER = b"\x12" * 20, b"\x13" * 20
POOL = market(*(vmarket(number, cash=10**16, total_borrows=0, total_reserves=0) for number in range(4)))
"""A vToken is worth one raw unit."""


def written(*parts: Log) -> list[Log]:
    """One after the other, in one transaction."""
    return [
        Log(one.address, one.topics, one.data, "0x1", transaction_hash="0x" + "01" * 32, log_index=hex(place))
        for place, one in enumerate(parts)
    ]


def moved(number: int, tokens: int, giver: bytes = ACCOUNT, taker: bytes = HEALER) -> Log:
    return Log("0x" + vtoken(number).hex(), (abi.TRANSFER, topic(giver), topic(taker)), data(tokens))


def healed(number: int, repaid: int, healer: bytes = HEALER, account: bytes = ACCOUNT) -> Log:
    return Log("0x" + vtoken(number).hex(), (abi.HEALED, topic(healer), topic(account)), data(repaid))


def liquidated(number: int, repaid: int, collateral: int, tokens: int) -> Log:
    topics = (abi.LIQUIDATED, topic(HEALER), topic(ACCOUNT), topic(vtoken(collateral)))
    return Log("0x" + vtoken(number).hex(), topics, data(repaid, tokens))


def told(*parts: Log) -> list[tuple[bytes, int, bytes, int]]:
    return [
        (one.debt_asset, one.repaid_assets, one.collateral_asset, one.seized_assets)
        for one in logs.fold(POOL, written(*parts)).liquidations
    ]


def test_what_is_seized_may_be_logged_before_the_debt_or_after_it() -> None:
    """As the account entered its markets."""
    expected = [(asset(1), 50, asset(0), 9)]
    assert told(moved(0, 9), healed(1, 50)) == told(healed(1, 50), moved(0, 9)) == expected


def test_what_others_move_in_the_same_transaction_is_no_part_of_it() -> None:
    """To somebody else, of somebody else, or redeemed by the healer right afterwards."""
    strange = moved(0, 1, taker=OTHER), moved(0, 2, giver=OTHER), moved(0, 9, giver=HEALER, taker=vtoken(0))
    assert told(*strange, moved(0, 9), healed(1, 50), *strange) == [(asset(1), 50, asset(0), 9)]


def test_what_was_liquidated_before_is_told_once() -> None:
    """One collateral is seized for a debt, and then the rest is healed by the same healer in the same transaction."""
    parts = (moved(0, 96), liquidated(1, 50, 0, 100), moved(0, 9), healed(1, 5))
    assert told(*parts) == [(asset(1), 50, asset(0), 96), (asset(1), 5, asset(0), 9)]


def test_two_accounts_healed_in_one_transaction_are_two() -> None:
    parts = (moved(0, 9), healed(1, 50), moved(0, 8, giver=OTHER), healed(1, 40, account=OTHER))
    seen = logs.fold(POOL, written(*parts)).liquidations
    assert [(one.account, one.repaid_assets, one.seized_assets) for one in seen] == [(ACCOUNT, 50, 9), (OTHER, 40, 8)]


def test_whoever_had_nothing_pledged_lost_nothing() -> None:
    """The debt was written off: it is a heal all the same, and nobody repaid anything."""
    assert told(healed(1, 0)) == [(asset(1), 0, asset(1), 0)]


def test_a_transfer_alone_is_none() -> None:
    assert told(moved(0, 9)) == []


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99)), min_size=1, max_size=4, unique_by=lambda one: one[0]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99)), max_size=4, unique_by=lambda one: one[0]),
    st.randoms(use_true_random=False),
)
def test_of_each_asset_the_sum_is_what_was_repaid_and_what_was_seized(debts, pledged, random) -> None:
    """However many there are of either, in whatever order; and no two are told by the same log."""
    parts = [healed(*debt) for debt in debts] + [moved(*one) for one in pledged]
    random.shuffle(parts)
    seen = logs.fold(POOL, written(*parts)).liquidations
    repaid, seized = dict[bytes, int](), dict[bytes, int]()
    for one in seen:
        repaid[one.debt_asset] = repaid.get(one.debt_asset, 0) + one.repaid_assets
        seized[one.collateral_asset] = seized.get(one.collateral_asset, 0) + one.seized_assets
    assert {key: amount for key, amount in repaid.items() if amount} == {asset(n): amount for n, amount in debts}
    assert {key: amount for key, amount in seized.items() if amount} == {asset(n): amount for n, amount in pledged}
    assert len({one.log_index for one in seen}) == len(seen) == max(len(debts), len(pledged))
    assert [one.log_index for one in seen] == sorted(one.log_index for one in seen)
