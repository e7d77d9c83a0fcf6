"""The stored form gives back what was stored, and refuses what was not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import DecodeError
from keeper.core.types import Price
from keeper.protocols.aave_v3 import state, weights
from keeper.protocols.aave_v3.health import linear
from keeper.protocols.aave_v3.state import Account, EMode, Market, StableDebt
from tests.support import aave_market as build


@given(build.worlds())
def test_market_and_account_survive_storage(world: tuple[Market, dict[bytes, Price], Account]) -> None:
    market, _, account = world
    assert state.load_market(state.dump_market(market)) == market
    assert state.load_account(state.dump_account(account)) == account


def test_fixed_rate_debts_survive_storage() -> None:
    account = build.account({0: 5}, {}, stables=(StableDebt(1, 10**20, 10**25, build.NOW),))
    assert state.load_account(state.dump_account(account)) == account


def test_accounts_that_an_older_release_stored_as_json_read_as_well_also_beside_packed_ones() -> None:
    market = build.market(build.reserve(0), build.reserve(1))
    accounts = [build.account({0: 5 * n}, {1: 7}) for n in range(1, 4)]
    payloads = [state.dump_account(account) for account in accounts]
    payloads[1] = json.dumps([accounts[1].flags, 0, [[0, 10]], [[1, 7]], []]).encode()
    assert [state.load_account(payload) for payload in payloads] == accounts
    found = weights.linears(market, payloads)
    assert list(found.collateral_weights) == [linear(market, one).collateral[0][1] for one in accounts]


@pytest.mark.parametrize("account", [build.account({300: 1}, {}), build.account({0: 1 << 128}, {})])
def test_what_does_not_fit_the_packed_form_is_stored_as_json(account: Account) -> None:
    assert state.dump_account(account).startswith(b"[")
    assert state.load_account(state.dump_account(account)) == account


@given(st.binary(max_size=80))
def test_garbage_is_refused_with_the_remedy(payload: bytes) -> None:
    for load in (state.load_market, state.load_account):
        with pytest.raises(DecodeError, match="index again from start_block"):
            load(payload)


def test_a_market_of_another_shape_is_refused() -> None:
    rows = json.loads(state.dump_market(build.market(build.reserve(0))))
    required, whole = 23, rows["reserves"][0]
    for count in (required - 1, len(whole) + 1):
        rows["reserves"] = [[*whole, 0][:count]]
        with pytest.raises(DecodeError, match=f"Reserve has {len(whole)} fields, {count} were stored"):
            state.load_market(json.dumps(rows).encode())


def test_what_an_older_release_stored_lacks_the_newest_fields_and_reads_all_the_same() -> None:
    market = build.market(build.reserve(0), emodes=(EMode(1, 9000, 10100, 1),))
    rows = json.loads(state.dump_market(market))
    rows["reserves"] = [row[:23] for row in rows["reserves"]]
    rows["emodes"] = [row[:-2] for row in rows["emodes"]]
    assert state.load_market(json.dumps(rows).encode()) == market


def test_an_account_without_balances_is_empty() -> None:
    assert Account(0, 1, (), ()).empty
    assert not build.account({0: 1}, {}).empty


def test_flags_tell_collateral_from_debt() -> None:
    account = build.account({1: 5}, {2: 7})
    assert [account.pledges(i) for i in range(3)] == [False, True, False]
    assert [account.owes(i) for i in range(3)] == [False, False, True]
