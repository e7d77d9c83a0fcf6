"""What opens a healthy account on a fork: the least that does, in the pool's own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import decode
from hypothesis import given

from keeper.core.ports import Reads, Stressable
from keeper.core.stress import CodeSet, Lever, Override, SentAs
from keeper.core.types import Call, Price, Skip
from keeper.core.units import WAD
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.adapter import AaveV3
from keeper.protocols.aave_v3.options import Options
from keeper.protocols.aave_v3.sheet import sheet
from keeper.protocols.aave_v3.state import Account, EMode, Market
from tests.support import aave_market as build
from tests.support.aave_market import NOW

ETHER = 10**18
BONUS_AND_DECIMALS = 10_500 << 32 | 18 << 48
DOLLARS = build.prices(T0=1_00000000, T1=1_00000000, T2=1_00000000)
ADAPTER = AaveV3("aave", 0, Options(pool_addresses_provider=b"\x02" * 20))


def run(reads: Reads[Sequence[Override] | Skip], answer: Callable[[Call], bytes]) -> Sequence[Override] | Skip:
    results = None
    try:
        calls = next(reads)
        while True:
            results = [answer(call) for call in calls]
            calls = reads.send(results)
    except StopIteration as stop:
        found: Sequence[Override] | Skip = stop.value
        return found


def of_pool(market: Market) -> Callable[[Call], bytes]:
    """A pool that tells each reserve's bitmap, and an oracle whose feeds are the assets' addresses reversed."""

    def answer(call: Call) -> bytes:
        reserve = market.by_asset[call.data[16:36]]
        if call.data[:4] == abi.GET_SOURCE_OF_ASSET:
            return reserve.asset[::-1].rjust(32, b"\0")
        bits = reserve.liquidation_threshold_bps << 16 | 8_000 | BONUS_AND_DECIMALS
        return b"".join(word.to_bytes(32, "big") for word in (bits, *[0] * 14))

    return answer


def stressed(
    market: Market, prices: dict[bytes, Price], account: Account, lever: Lever = Lever.THRESHOLD
) -> Sequence[Override] | Skip:
    return run(ADAPTER.stress(market, prices, b"\x0e" * 20, account, NOW, lever), of_pool(market))


def applied(market: Market, prices: dict[bytes, Price], overrides: Sequence[Override]) -> Market:
    """The market after the overrides of thresholds; prices are changed in place by those of feeds."""
    for one in overrides:
        if isinstance(one, CodeSet):
            asset = one.account[::-1]
            prices[asset] = replace(prices[asset], value=int.from_bytes(one.code[1:33], "big"))
            continue
        assert isinstance(one, SentAs)
        assert (one.sender, one.call.to) == (market.configurator, market.pool)
        body = one.call.data[4:]
        if one.call.data[:4] == abi.SET_CONFIGURATION:
            asset, (bits,) = decode(["address", "(uint256)"], body)
            key = bytes.fromhex(asset[2:])
            assert bits >> 32 == BONUS_AND_DECIMALS >> 32
            assert bits & 0xFFFF <= bits >> 16 & 0xFFFF
            lowered = replace(market.by_asset[key], liquidation_threshold_bps=bits >> 16 & 0xFFFF)
            market = market.with_reserves({key: lowered})
        else:
            number, (_, threshold, bonus, *_) = decode(["uint8", "(uint16,uint16,uint16,string)"], body)
            emodes = [
                replace(e, liquidation_threshold_bps=threshold, liquidation_bonus_bps=bonus) if e.id == number else e
                for e in market.emodes
            ]
            market = replace(market, emodes=tuple(emodes))
    return market


def test_the_adapter_offers_it() -> None:
    assert isinstance(ADAPTER, Stressable)


@pytest.mark.parametrize("lever", list(Lever))
def test_a_healthy_account_is_just_below_the_line_afterwards(lever: Lever) -> None:
    """Half of the pledged dollars are owed: 5000 bps would still be healthy."""
    market = build.market(build.reserve(0), build.reserve(1))
    account, prices = build.account({0: 10_000 * ETHER}, {1: 5_000 * ETHER}), dict(DOLLARS)
    overrides = stressed(market, prices, account, lever)
    assert not isinstance(overrides, Skip)
    health = sheet(applied(market, prices, overrides), prices, account, NOW).health_wad
    assert WAD * 9_990 // 10_000 < health < WAD


@pytest.mark.parametrize("lever", list(Lever))
@given(world=build.near_health(1.0, 5.0))
def test_whatever_can_be_stressed_is_open_afterwards(
    lever: Lever, world: tuple[Market, dict[bytes, Price], Account]
) -> None:
    """Or there is a reason why nothing can open it; and what is open already is left as it is."""
    market, prices, account = world
    before = sheet(market, prices, account, NOW)
    overrides = stressed(market, prices, account, lever)
    if isinstance(overrides, Skip):
        assert overrides.code in ("no_debt", "owes_too_little", "same_assets", "other_collateral")
        return
    assert bool(overrides) is not before.liquidatable
    assert sheet(applied(market, prices, overrides), prices, account, NOW).liquidatable


def test_an_account_in_an_e_mode_is_opened_by_its_category() -> None:
    """With its own bonus; collateral that the category does not cover is lowered by the same factor."""
    emode = EMode(1, 9_300, 10_100, 0b01)
    market = build.market(build.reserve(0), build.reserve(1), build.reserve(2), emodes=(emode,))
    account = build.account({0: 10_000 * ETHER, 2: 1_000 * ETHER}, {1: 5_000 * ETHER}, emode=1)
    overrides = stressed(market, DOLLARS, account)
    assert not isinstance(overrides, Skip)
    after = applied(market, DOLLARS, overrides)
    assert after.emodes[0].liquidation_bonus_bps == 10_100
    assert after.by_id[0].liquidation_threshold_bps == 8_250 > after.by_id[2].liquidation_threshold_bps
    assert sheet(after, DOLLARS, account, NOW).liquidatable


def test_an_old_pool_has_a_price_source_in_its_categories() -> None:
    """Until v3.1 the struct has one more word, which stays as it is."""
    emode, dollar = EMode(2, 9_700, 10_100, 0b11, build.asset(1)), {"emode": 2}
    market = build.market(build.reserve(0, **dollar), build.reserve(1, **dollar), rules=build.V30, emodes=(emode,))
    account = build.account({0: 10_000 * ETHER}, {1: 5_000 * ETHER}, emode=2)
    [override] = stressed(market, DOLLARS, account)  # type: ignore[misc]
    assert isinstance(override, SentAs)
    assert override.call.data[:4] == abi.CONFIGURE_EMODE_WITH_SOURCE
    number, terms = decode(["uint8", "(uint16,uint16,uint16,address,string)"], override.call.data[4:])
    assert (number, terms[1] < 5_000, terms[2:]) == (2, True, (10_100, "0x" + build.asset(1).hex(), ""))


def skip(account: Account, lever: Lever, **by_symbol: Any) -> str:
    market = build.market(build.reserve(0), build.reserve(1))
    found = stressed(market, build.prices(**by_symbol), account, lever)
    assert isinstance(found, Skip)
    return found.code


def test_nothing_opens_an_account_that_owes_nothing_or_has_no_price() -> None:
    both = {"T0": 1_00000000, "T1": 1_00000000}
    assert skip(build.account({0: ETHER}, {}), Lever.PRICE, **both) == "no_debt"
    assert skip(build.account({0: 2 * ETHER}, {1: ETHER}), Lever.THRESHOLD, T0=1_00000000) == "unpriced"


def test_each_lever_says_what_it_cannot_do() -> None:
    """A debt below a ten-thousandth of the collateral is healthy at any threshold; a loop is breached by no price."""
    both = {"T0": 1_00000000, "T1": 1_00000000}
    assert skip(build.account({0: 10**6 * ETHER}, {1: ETHER}), Lever.THRESHOLD, **both) == "owes_too_little"
    assert skip(build.account({0: 2 * ETHER}, {0: ETHER}), Lever.PRICE, **both) == "same_assets"
    loop = build.account({0: 2 * ETHER, 1: ETHER}, {0: ETHER})
    assert skip(loop, Lever.PRICE, **both) == "other_collateral"
