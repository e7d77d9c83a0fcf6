"""The search finds the pair, amount, route and loan that leave most after gas, in a constant number of round trips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.reads import drive
from keeper.core.types import LiquidationPair, LiquidationPlan, Price, Skip
from keeper.executor.planning.search import Financed, Job, Purse, finance, search
from tests.support.model_exchange import Answering, ModelLender, ModelPool, ModelVenue, model_pair

USDC, DAI, WETH, WBTC = (bytes([n]) * 20 for n in (1, 2, 3, 4))
DECIMALS = {USDC: 6, DAI: 18, WETH: 18, WBTC: 8}
PRICES = {USDC: 1, DAI: 1, WETH: 2_000, WBTC: 60_000}
PURSE = Purse(
    {token: Price(dollars * 10**8, 8) for token, dollars in PRICES.items()},
    DECIMALS,
    8,
    Price(2_000 * 10**8, 8),
    10**9,
)


def unit(token: bytes) -> int:
    return 10 ** DECIMALS[token]


def pool(sold: bytes, bought: bytes, dollars: int, number: int = 1, fee_bps: int = 30) -> ModelPool:
    """So many dollars on each side, at the oracle's price."""
    reserves = [dollars * unit(token) // PRICES[token] for token in (sold, bought)]
    return ModelPool(bytes([0xD0 + number]) * 20, *reserves, fee_bps)


def pair(debt: bytes, collateral: bytes, dollars: int, bonus_bps: int = 10_500) -> LiquidationPair:
    """So many dollars of debt may be repaid; there is collateral for all of it."""
    most = dollars * unit(debt) // PRICES[debt]
    rate = (PRICES[debt] * unit(collateral), PRICES[collateral] * unit(debt))
    return model_pair(debt, collateral, most, owed=most, held=1 << 200, rate=rate, bonus_bps=bonus_bps)


async def found(
    jobs: Sequence[Job], venue: ModelVenue, lenders: Sequence[ModelLender], chain: Answering | None = None
) -> list[Financed | Skip]:
    [answers] = await drive([search(jobs, [venue], lenders, 0)], chain or Answering())
    return answers


async def one(job: Job, venue: ModelVenue, *lenders: ModelLender) -> Financed | Skip:
    return (await found([job], venue, lenders))[0]


RICH = ModelLender(USDC, 1 << 100)


async def test_everything_is_liquidated_where_the_pool_is_deep() -> None:
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 100_000_000)]})
    best = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, RICH)
    assert isinstance(best, Financed)
    assert best.plan.repay_assets == 10_000 * unit(USDC)
    assert best.gain_assets == best.bought_assets - best.plan.expected_repaid_assets


async def test_a_thin_pool_prefers_a_smaller_liquidation() -> None:
    """With $100,000 on each side selling $10,500 costs more than the bonus of $500; a part of it does not."""
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 100_000)]})
    best = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, RICH)
    assert isinstance(best, Financed)
    assert 0 < best.plan.repay_assets < 5_000 * unit(USDC)
    whole = pair(USDC, WETH, 10_000).plan(10_000 * unit(USDC))
    assert isinstance(whole, LiquidationPlan)
    thin = pool(WETH, USDC, 100_000)
    assert finance(whole, thin, RICH.loan, thin.pays(whole.expected_seized_assets), PURSE).gain_assets < 0


async def test_where_even_the_smallest_part_is_a_loss_the_numbers_say_so() -> None:
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 1_000_000, fee_bps=600)]})
    skip = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, RICH)
    assert isinstance(skip, Skip)
    assert skip.code == "price_impact"
    assert "pool d1" in skip.detail


async def test_of_two_routes_and_two_loans_the_cheaper_ones() -> None:
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 10**8, 1, 30), pool(WETH, USDC, 10**8, 2, 5)]})
    dear, cheap = ModelLender(USDC, 1 << 100, fee_bps=9, name="dear"), ModelLender(USDC, 1 << 100, 1, name="cheap")
    best = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, dear, cheap)
    assert isinstance(best, Financed)
    assert (best.route.pools, best.loan.name) == (frozenset({b"\xd2" * 20}), "cheap")
    assert best.fee_assets == 10_000 * unit(USDC) // 10_000


async def test_a_pool_that_lends_does_not_also_swap() -> None:
    """A Uniswap pool is locked while it lends: its own flash loan is refused for a swap through it, dear or not."""
    swap = pool(WETH, USDC, 10**8)
    itself = replace(RICH, lender=swap.address, name="itself")
    venue = ModelVenue({(WETH, USDC): [swap]})
    other = replace(RICH, fee_bps=30, name="other")
    best = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, itself, other)
    assert isinstance(best, Financed)
    assert best.loan.name == "other"
    skip = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, itself)
    assert isinstance(skip, Skip)
    assert skip.code == "no_funding"


async def test_the_loan_bounds_the_amount() -> None:
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 10**8)]})
    best = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, replace(RICH, available=5_000 * unit(USDC)))
    assert isinstance(best, Financed)
    assert 4_500 * unit(USDC) < best.plan.repay_assets <= 5_000 * unit(USDC)


@pytest.mark.parametrize(("venue", "code"), [(ModelVenue({}), "no_route")])
async def test_what_cannot_be_sold_is_skipped(venue: ModelVenue, code: str) -> None:
    skip = await one(Job([pair(USDC, WETH, 10_000)], PURSE), venue, RICH)
    assert isinstance(skip, Skip)
    assert skip.code == code


async def test_a_token_without_a_price_is_skipped() -> None:
    purse = replace(PURSE, prices={USDC: PURSE.prices[USDC]})
    skip = await one(Job([pair(USDC, WETH, 10_000)], purse), ModelVenue({(WETH, USDC): []}), RICH)
    assert isinstance(skip, Skip)
    assert skip.code == "unpriced"


@pytest.mark.parametrize("positions", [1, 60])
async def test_any_number_of_positions_costs_three_round_trips_and_one_less_once_pools_are_known(
    positions: int,
) -> None:
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 300_000)], (WBTC, USDC): [pool(WBTC, USDC, 250_000)]})
    jobs = [Job([pair(USDC, WETH, 9_000 + n), pair(USDC, WBTC, 8_000 + n)], PURSE) for n in range(positions)]
    first, second = Answering(), Answering()
    assert all(isinstance(answer, Financed) for answer in await found(jobs, venue, [RICH], first))
    await found(jobs, venue, [RICH], second)
    assert (first.round_trips, second.round_trips) == (3, 2)


async def test_a_deep_pool_needs_no_second_look() -> None:
    venue = ModelVenue({(WETH, USDC): [pool(WETH, USDC, 10**9)]})
    chain = Answering()
    await found([Job([pair(USDC, WETH, 10_000)], PURSE)], venue, [RICH], chain)
    assert chain.round_trips == 2  # pools; ladder


# --- against brute force ----------------------------------------------------------------------------------------------

_debts, _collaterals = st.sampled_from([USDC, DAI]), st.sampled_from([WETH, WBTC])
_worlds = st.fixed_dictionaries(
    {
        "pairs": st.lists(
            st.tuples(_debts, _collaterals, st.integers(100, 10**7), st.integers(10_050, 11_500)),
            min_size=1,
            max_size=3,
            unique_by=lambda p: p[:2],
        ),
        "pools": st.lists(
            st.tuples(_collaterals, _debts, st.integers(10**3, 10**9), st.sampled_from([1, 5, 30, 100])),
            min_size=1,
            max_size=5,
        ),
        "loans": st.lists(
            st.tuples(_debts, st.integers(0, 10**8), st.integers(0, 30), st.integers(0, 150_000), st.booleans()),
            min_size=1,
            max_size=4,
        ),
        "gas_price": st.sampled_from([0, 10**8, 10**9, 30 * 10**9]),
    }
)


@given(_worlds)
async def test_no_alternative_found_by_brute_force_is_better(world: dict[str, object]) -> None:
    """Every pair, route and loan at each of 260 amounts, small and large: of those worth their gas none beats the
    chosen one by more than a five-hundredth of its gain, two hundredths of a cent, and a raw unit of what is sold:
    amounts are whole units, and a satoshi alone is six hundredths of a cent."""
    pairs = [pair(debt, collateral, dollars, bonus) for debt, collateral, dollars, bonus in world["pairs"]]
    pools: dict[tuple[bytes, bytes], list[ModelPool]] = {}
    for number, (sold, bought, dollars, fee) in enumerate(world["pools"]):
        pools.setdefault((sold, bought), []).append(pool(sold, bought, dollars, number, fee))
    lenders = [
        ModelLender(
            token,
            dollars * unit(token),
            fee,
            gas,
            lender=bytes([0xD0 + number]) * 20 if of_pool else bytes([0xE0 + number]) * 20,
            name=f"lender {number}",
        )
        for number, (token, dollars, fee, gas, of_pool) in enumerate(world["loans"])
    ]
    purse = replace(PURSE, gas_price_wei=world["gas_price"])
    chosen = await one(Job(pairs, purse), ModelVenue(pools), *lenders)
    for alternative in brute_force(pairs, pools, lenders, purse):
        if isinstance(chosen, Financed):
            slack = alternative.profit_base // 500 + 2 * 10**4 + purse.gained(alternative.plan.collateral_asset, 1)
            assert alternative.net_base <= max(chosen.net_base, 0) + slack
        else:
            assert alternative.gain_assets <= unit(alternative.plan.debt_asset) // 10


def brute_force(pairs, pools, lenders, purse):
    for one_pair in pairs:
        amounts = {one_pair.most_assets * step // 200 for step in range(1, 201)}
        amounts |= {int(one_pair.most_assets * 0.95**step) for step in range(60)}
        for amount in sorted(amounts):
            plan = one_pair.plan(amount) if amount else Skip("", "")
            if isinstance(plan, Skip):
                continue
            for route in pools.get((plan.collateral_asset, plan.debt_asset), ()):
                bought = route.pays(plan.expected_seized_assets)
                for lender in lenders:
                    loan = lender.loan
                    fits = loan.token == plan.debt_asset and loan.available_assets >= amount
                    if fits and bought and loan.lender not in route.pools:
                        yield finance(plan, route, loan, bought, purse)
