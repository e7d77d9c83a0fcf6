"""What each lender lends and asks for it, read from what its contracts answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import ConfigError
from keeper.core.reads import drive
from keeper.core.types import Call, CallResult
from keeper.executor.funding import aave_v3, balancer_v2, morpho, own, uniswap_v3
from keeper.executor.planning.ports import Funding, Loan
from keeper.executor.planning.words import words
from keeper.executor.venues import inventory
from keeper.executor.venues import uniswap_v3 as exchange

USDC, WETH, DAI, CONTRACT, LENDER, OTHER = (bytes([n]) * 20 for n in (1, 2, 3, 4, 5, 6))
BALANCE, ALLOWED = "70a08231", "03637b2e"


class Answers:
    """Results by target and selector; everything else reverts."""

    def __init__(self, results: Mapping[tuple[bytes, str], bytes]) -> None:
        self.results = dict(results)
        self.round_trips = 0

    async def __call__(self, calls: Sequence[Call]) -> Sequence[CallResult]:
        self.round_trips += 1
        return [self.results.get((call.target, call.data[:4].hex())) for call in calls]


async def lent(funding: Funding, chain: Answers, *tokens: bytes) -> list[Loan]:
    [loans] = await drive([funding.loans(tokens, 0)], chain)
    return list(loans)


async def test_morpho_and_our_own_balance_cost_nothing() -> None:
    chain = Answers({(USDC, BALANCE): words(700)})
    for funding in (morpho.build({"name": "m", "morpho": LENDER}, CONTRACT), own.build({"name": "o"}, CONTRACT)):
        [loan] = await lent(funding, chain, USDC, WETH)
        assert (loan.token, loan.available_assets, loan.fee(10**30)) == (USDC, 700, 0)


@given(st.integers(1, 10**30), st.integers(0, 10**16))
async def test_balancers_fee_rounds_up(assets: int, fee_wad: int) -> None:
    chain = Answers(
        {(LENDER, "d2946c2b"): words(OTHER), (OTHER, "d877845c"): words(fee_wad), (USDC, BALANCE): words(700)}
    )
    funding = balancer_v2.build({"name": "b", "vault": LENDER}, CONTRACT)
    [loan] = await lent(funding, chain, USDC)
    fee = loan.fee(assets)
    assert (fee - 1) * 10**18 < assets * fee_wad <= fee * 10**18
    await lent(funding, chain, USDC)
    assert chain.round_trips == 3  # where its fees are kept is asked once


ACTIVE, PAUSED, LENDS = 1 << 56, 1 << 60, 1 << 63


@pytest.mark.parametrize(
    ("flags", "lends"), [(ACTIVE | LENDS, True), (ACTIVE, False), (LENDS, False), (ACTIVE | PAUSED | LENDS, False)]
)
async def test_aave_lends_what_is_active_not_paused_and_open_to_flash_loans(flags: int, lends: bool) -> None:
    chain = Answers(
        {
            (LENDER, "35ea6a75"): words(*range(8), OTHER, *range(6)),
            (LENDER, "074b2e43"): words(5),
            (LENDER, "c44b11f7"): words(flags),
            (USDC, BALANCE): words(10**12),
        }
    )
    loans = await lent(aave_v3.build({"name": "a", "pool": LENDER}, CONTRACT), chain, USDC)
    assert [(loan.available_assets, loan.fee(10_001)) for loan in loans] == ([(10**12, 6)] if lends else [])


async def test_a_uniswap_pool_lends_only_when_our_contract_may_call_it() -> None:
    """A call that is not allowed would make every plan revert that borrows there."""
    config = {"name": "u", "factory": LENDER, "partners": (WETH,), "fees": (500,)}
    known = {(LENDER, "1698ee82"): words(OTHER), (USDC, BALANCE): words(900)}
    forbidden = uniswap_v3.build(config, CONTRACT)
    assert await lent(forbidden, Answers(known), USDC) == []
    [loan] = await lent(uniswap_v3.build(config, CONTRACT), Answers({**known, (CONTRACT, ALLOWED): words(1)}), USDC)
    assert (loan.lender, loan.fee(1_000_001)) == (OTHER, 501)


async def test_what_was_found_missing_is_asked_again_after_an_hour() -> None:
    funding = uniswap_v3.build({"name": "u", "factory": LENDER, "partners": (WETH,), "fees": (500,)}, CONTRACT)
    chain = Answers({(LENDER, "1698ee82"): words(0)})
    for now, round_trips in ((10_000, 1), (13_599, 1), (13_600, 2)):
        assert (await drive([funding.loans([USDC], now)], chain)) == [[]]
        assert chain.round_trips == round_trips


# --- exchanges --------------------------------------------------------------------------------------------------------

UNISWAP = {
    "name": "uni",
    "factory": LENDER,
    "quoter": OTHER,
    "router": OTHER,
    "fees": (500, 3000),
    "intermediates": (DAI,),
}


async def test_direct_paths_and_paths_over_an_intermediate_over_pools_that_exist() -> None:
    venue = exchange.build(UNISWAP)
    chain = Answers({(LENDER, "1698ee82"): words(LENDER)})
    [routes] = await drive([venue.routes([(WETH, USDC), (USDC, USDC), (DAI, USDC)], 0)], chain)
    assert len(routes[WETH, USDC]) == 2 + 4
    assert len(routes[DAI, USDC]) == 2
    assert routes[USDC, USDC] == []
    assert len({route.name for route in routes[WETH, USDC]}) == 6
    assert chain.round_trips == 1


async def test_a_path_is_encoded_as_the_router_reads_it() -> None:
    path = exchange.Path("uni", exchange.Options(LENDER, OTHER, OTHER), (WETH, DAI, USDC), (500, 3000), frozenset())
    assert path.encoded == WETH + b"\x00\x01\xf4" + DAI + b"\x00\x0b\xb8" + USDC


@pytest.mark.parametrize("router02", [False, True])
def test_the_amount_of_a_sale_is_where_the_contract_will_write_it(router02: bool) -> None:
    options = exchange.Options(LENDER, OTHER, OTHER, router02=router02)
    sale = exchange.Path("uni", options, (WETH, USDC), (500,), frozenset()).sale(12_345, 678, CONTRACT, 9)
    assert sale.data[sale.amount_at : sale.amount_at + 32] == words(12_345)
    assert sale.data[sale.amount_at + 32 : sale.amount_at + 64] == words(678)


def test_fees_and_haircuts_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="fee 0 is out of range"):
        exchange.build({**UNISWAP, "fees": (0,)})
    with pytest.raises(ConfigError, match="haircut_bps is 10000"):
        inventory.build({"haircut_bps": 10_000})
