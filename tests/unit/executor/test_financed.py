"""Plans for our contract from the search to the books: what is encoded, simulated, chosen and realized."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import DecodeError
from keeper.core.reads import drive
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import BlockRef, Book, LiquidationPlan, Log, Price, Skip
from keeper.executor.choose import Offers, choose
from keeper.executor.compose import dump_plan
from keeper.executor.lifecycle import Receipt
from keeper.executor.liquidator_calls import EVERYTHING, EXECUTED, decode_execute
from keeper.executor.planning.assemble import assemble
from keeper.executor.planning.keeping import keep_the_rest, keeping
from keeper.executor.planning.search import Financed, Job, Purse, finance
from keeper.executor.planning.sequence import in_sequence
from keeper.executor.ports import Opportunity, Venue
from keeper.executor.settle import as_simulated, realize
from keeper.executor.venues.inventory import Inventory
from tests.support.model_exchange import Answering, ModelLender, ModelPool, model_pair

USDC, WETH, CONTRACT = b"\x01" * 20, b"\x02" * 20, b"\x0c" * 20
PRICES = {USDC: Price(10**8, 8), WETH: Price(2_000 * 10**8, 8)}
PURSE = Purse(PRICES, {USDC: 6, WETH: 18}, 8, PRICES[WETH], 10**9)
DOLLAR = 10**6
_TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()


def pool(dollars: int = 10**9) -> ModelPool:
    return ModelPool(b"\xd0" * 20, dollars * 10**18 // 2_000, dollars * DOLLAR)


def financed(dollars: int = 10_000, sold_in: ModelPool | None = None) -> Financed:
    exchange = sold_in or pool()
    most = dollars * DOLLAR
    pair = model_pair(USDC, WETH, most, owed=most, held=1 << 200, rate=(10**18, 2_000 * DOLLAR), bonus_bps=10_500)
    plan = pair.plan(most)
    assert isinstance(plan, LiquidationPlan)
    bought = exchange.pays(plan.expected_seized_assets)
    return finance(plan, exchange, ModelLender(USDC, 1 << 100).loan, bought, PURSE)


def planned(dollars: int = 10_000, least_gain_bps: int = 5_000) -> LiquidationPlan:
    return assemble(financed(dollars), CONTRACT, PURSE, least_gain_bps)


# --- the call ---------------------------------------------------------------------------------------------------------


def test_the_contract_liquidates_then_sells_all_that_it_gained_of_the_collateral() -> None:
    one = financed()
    call = decode_execute(assemble(one, CONTRACT, PURSE, 5_000).call.data)
    liquidate, sell = call.steps
    assert (liquidate.token, liquidate.amount) == (USDC, one.plan.repay_assets)
    assert liquidate.data == one.plan.call.data
    assert (sell.token, sell.amount, sell.spender) == (WETH, EVERYTHING, sell.target)


@pytest.mark.parametrize(("bps", "least"), [(10_000, 1.0), (5_000, 0.5), (0, 0.0)])
def test_the_contract_demands_the_configured_share_of_the_expected_gain(bps: int, least: float) -> None:
    one = financed()
    watched = decode_execute(assemble(one, CONTRACT, PURSE, bps).call.data).watches
    assert [(watch.token, watch.least_gain) for watch in watched] == [
        (USDC, pytest.approx(one.gain_assets * least, abs=1)),
        (WETH, 0),
    ]


def test_the_wallet_pays_and_approves_nothing() -> None:
    plan = planned()
    assert (plan.repay_assets, plan.approval, plan.call.to) == (0, None, CONTRACT)


def test_a_plan_without_a_gain_is_never_encoded() -> None:
    with pytest.raises(ValueError, match="not worth a transaction"):
        assemble(replace(financed(), gain_assets=0), CONTRACT, PURSE, 5_000)


# --- one after the other ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(100, 20_000), min_size=2, max_size=8), st.integers(10**5, 10**8))
async def test_together_they_are_promised_no_more_than_the_pool_pays(sizes: list[int], depth: int) -> None:
    """What the sales bring one after the other is what the sum of them brings at once."""
    exchange = pool(depth)
    found = [financed(dollars, exchange) for dollars in sizes]
    chain = Answering()
    [placed] = await drive([in_sequence([Job([], PURSE)] * len(found), found)], chain)
    assert chain.round_trips == 1
    kept = [one for one in placed if isinstance(one, Financed)]
    sold = sum(one.plan.expected_seized_assets for one in found)
    assert sum(one.bought_assets for one in kept) <= exchange.pays(sold) + len(found)
    if len(kept) == len(found):
        assert sum(one.bought_assets for one in kept) == exchange.pays(sold)
    assert all(one.gain_assets > 0 for one in kept[1:])


async def test_one_alone_asks_nothing_more() -> None:
    chain = Answering()
    only = financed()
    assert await drive([in_sequence([Job([], PURSE)], [only])], chain) == [[only]]
    assert chain.round_trips == 0


# --- keeping the rest -------------------------------------------------------------------------------------------------


def job_of(dollars: int) -> Job:
    most = dollars * DOLLAR
    pair = model_pair(USDC, WETH, most, owed=most, held=1 << 200, rate=(10**18, 2_000 * DOLLAR), bonus_bps=10_500)
    return Job([pair], PURSE)


@given(st.integers(100, 100_000), st.integers(10**5, 10**9), st.integers(0, 2_000))
async def test_keeping_the_rest_is_chosen_only_when_it_leaves_more(size: int, depth: int, haircut_bps: int) -> None:
    sold_all = financed(size, pool(depth))
    chain = Answering()
    [[best]] = await drive([keep_the_rest([job_of(size)], [sold_all], haircut_bps)], chain)
    assert chain.round_trips == 1
    assert isinstance(best, Financed)
    assert best.net_base >= sold_all.net_base
    if best.gain_token == WETH:
        assert best.sold_assets + best.gain_assets == best.plan.expected_seized_assets
        assert pool(depth).pays(best.sold_assets) >= best.bought_assets >= best.plan.expected_repaid_assets


async def test_what_is_kept_counts_less_by_its_haircut() -> None:
    [[whole]] = await drive([keep_the_rest([job_of(10_000)], [financed()], 0)], Answering())
    [[less]] = await drive([keep_the_rest([job_of(10_000)], [replace(financed(), net_base=0)], 100)], Answering())
    assert isinstance(whole, Financed)
    assert isinstance(less, Financed)
    assert (whole.gain_token, whole.gain_assets) == (less.gain_token, less.gain_assets)
    assert less.profit_base == whole.profit_base * 99 // 100


async def test_what_cannot_be_financed_cannot_be_kept_either() -> None:
    skip = Skip("price_impact", "")
    assert await drive([keep_the_rest([job_of(1)], [skip], 0)], Answering()) == [[skip]]


def test_a_kept_gain_is_what_the_contract_announces() -> None:
    plan = assemble(keeping(financed(), 4 * 10**18, job_of(10_000), 0), CONTRACT, PURSE, 5_000)
    call = decode_execute(plan.call.data)
    assert call.watches[0].token == WETH
    assert plan.financing is not None
    leeway = plan.financing.gain_assets - call.watches[0].least_gain
    assert call.steps[1].amount == 4 * 10**18 + leeway


# --- the better of two ------------------------------------------------------------------------------------------------


class Lender:
    name = "lender"

    def __init__(self, own: LiquidationPlan | Skip) -> None:
        self.own = own

    def position_id(self, key: bytes) -> str:
        return "lender:a"

    def base_decimals(self, market: object) -> int:
        return 8

    def plan(self, *_: object) -> LiquidationPlan | Skip:
        return self.own


def own_plan(profit_base: int) -> LiquidationPlan:
    return replace(planned(), financing=None, repay_assets=1, approval=(USDC, b"", 1), profit_base=profit_base)


def chosen(own: LiquidationPlan | Skip, of_contract: LiquidationPlan | Skip, **offers: Any) -> LiquidationPlan | str:
    venue = Venue(cast(Any, Lender(own)), Book(market=object(), prices=PRICES, positions=cast(Any, {b"": None})))
    opportunity = Opportunity(venue, b"")
    plans, refused = choose(
        [opportunity],
        {USDC: 10},
        b"",
        0,
        limit=1,
        least_base={opportunity.cause: 1},
        offers=Offers({opportunity.cause: of_contract}, **offers),
    )
    return plans[0].plan if plans else refused[0].skip.code


def test_the_plan_that_leaves_more_after_gas_is_chosen() -> None:
    contract = planned()
    cheap, dear = own_plan(contract.profit_base - 10), own_plan(contract.profit_base + 10)
    assert chosen(dear, contract) == dear
    assert chosen(cheap, contract) == contract
    assert chosen(cheap, contract, gas_base=lambda _, plan: 0 if plan.financing is None else 11) == cheap


def test_a_wallet_that_never_pays_leaves_it_to_the_contract() -> None:
    contract = planned()
    assert chosen(own_plan(contract.profit_base * 2), contract, kept=None) == contract
    assert chosen(own_plan(1), Skip("no_route", ""), kept=None) == "no_route"


def test_where_the_contract_cannot_the_wallet_does_and_the_other_way_round() -> None:
    contract, own = planned(), own_plan(5)
    assert chosen(own, Skip("no_funding", "")) == own
    assert chosen(Skip("no_balance", ""), contract) == contract
    assert chosen(Skip("no_balance", ""), Skip("price_impact", "")) == "price_impact"


def test_kept_collateral_counts_less_by_its_haircut() -> None:
    kept = Inventory(100).value(own_plan(500), 10_000)
    assert isinstance(kept, LiquidationPlan)
    assert kept.profit_base == 400
    assert isinstance(Inventory(500).value(own_plan(500), 10_000), Skip)


# --- what came of it --------------------------------------------------------------------------------------------------


class Protocol:
    name = "pool"

    def base_decimals(self, market: object) -> int:
        return 8

    def liquidations(self, market: object, logs: object) -> tuple[()]:
        return ()


VENUE = Venue(cast(Any, Protocol()), Book(market=object(), prices=PRICES))


def executed(gain: int, contract: bytes = CONTRACT, token: bytes = USDC) -> Log:
    data = (gain % 2**256).to_bytes(32, "big") + bytes(32)
    return Log("0x" + contract.hex(), (EXECUTED, "0x" + token.rjust(32, b"\0").hex()), "0x" + data.hex())


def test_the_simulation_says_what_is_gained_after_all_before_it() -> None:
    simulated = as_simulated(planned(), [executed(200 * DOLLAR)], VENUE)
    assert simulated.profit_base == 200 * 10**8
    assert simulated.financing is not None
    assert simulated.financing.gain_assets == 200 * DOLLAR


@pytest.mark.parametrize("log", [executed(7, contract=b"\x0d" * 20), executed(7, token=WETH)])
def test_what_others_say_or_of_other_tokens_does_not_count(log: Log) -> None:
    assert as_simulated(planned(), [log], VENUE) == planned()


def moved(token: bytes, source: bytes, target: bytes, data: str) -> Log:
    return Log("0x" + token.hex(), (_TRANSFER, *("0x" + one.rjust(32, b"\0").hex() for one in (source, target))), data)


def realized(*logs: Log, venue: Venue = VENUE) -> int | None:
    plan = planned()
    intent = Intent(
        id="a",
        kind="liquidation",
        cause="a",
        protocol="pool",
        position="a",
        account=plan.account,
        status=IntentStatus.INCLUDED,
        judged_number=1,
        judged_hash=b"",
        created_at=0.0,
        updated_at=0.0,
        plan=dump_plan(plan),
        debt_asset=USDC,
        collateral_asset=WETH,
    )
    receipt = Receipt(b"\x09" * 32, BlockRef(1, b""), True, 500_000, 10**15, logs)  # gas for $2
    return realize(intent, receipt, venue, {USDC: 6, WETH: 18}, WETH).profit_realized


def test_the_profit_is_what_the_contract_gained_less_the_gas() -> None:
    assert realized(executed(200 * DOLLAR)) == 198 * 10**8


@pytest.mark.parametrize("data", ["0x", "0x01", "0x" + "00" * 31, "0x" + "ff" * 33])
@pytest.mark.parametrize("token", [USDC, WETH])
def test_a_transfer_that_tells_no_amount_moves_nothing_that_is_counted(token: bytes, data: str) -> None:
    """A token may log what it likes, in the midst of our own liquidation: the profit is what our contract says."""
    odd = [moved(token, b"\x07" * 20, CONTRACT, data), moved(token, CONTRACT, b"\x07" * 20, data)]
    assert realized(*odd, executed(200 * DOLLAR)) == realized(executed(200 * DOLLAR)) == 198 * 10**8


def test_a_log_without_topics_is_nobodys_word_about_a_liquidation() -> None:
    """Protocols are not asked about it; to some it would be a log that cannot be decoded."""

    class Strict(Protocol):
        def liquidations(self, market: object, logs: Any) -> tuple[()]:
            if not all(one.topics for one in logs):
                raise DecodeError("a log has no topic")
            return ()

    venue = replace(VENUE, adapter=cast(Any, Strict()))
    logs = [Log("0x" + WETH.hex(), ()), executed(200 * DOLLAR)]
    assert realized(*logs, venue=venue) == 198 * 10**8


@pytest.mark.parametrize("data", ["0x", "0x" + "00" * 63, "0x" + "00" * 65])
def test_the_contracts_word_in_another_shape_says_nothing(data: str) -> None:
    said = replace(executed(200 * DOLLAR), data=data)
    assert realized(said) is None
    assert realized(replace(executed(200 * DOLLAR), topics=(EXECUTED,))) is None
    assert as_simulated(planned(), [said], VENUE) == planned()


def test_without_the_contracts_word_the_profit_is_unknown() -> None:
    assert realized() is None
