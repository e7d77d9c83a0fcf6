"""A call made earlier, for another price and another moment, does what it is judged to do; held against the contract's
own arithmetic, written down here once more."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import event, given
from hypothesis import strategies as st

from keeper.core.types import LiquidationPlan, Price, Prices, Skip
from keeper.core.units import WAD, div_up
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.accrue import accrued
from keeper.protocols.morpho_blue.offers import Offer
from keeper.protocols.morpho_blue.state import Market, Position
from tests.support import morpho_market as build
from tests.support.morpho_market import COLLATERAL, ID, KEY, LOAN, MORPHO, NOW, OFFER

E36 = 10**36
ME = b"\x0e" * 20
RICH = {LOAN: 1 << 200}


@dataclass(frozen=True)
class Did:
    repaid: int
    seized: int


def morpho_does(market: Market, prices: Prices, position: Position, data: bytes) -> Did | None:
    """Morpho.liquidate, line by line; None where it reverts."""
    lending = market.by_id[ID]
    owed, price = accrued(lending, prices, NOW), prices[ID].value
    assert owed is not None
    assets, shares = owed.assets + 1, owed.shares + 10**6
    seized, repaid_shares = abi.amounts_of(data)
    borrowed = div_up(position.borrow_shares * assets, shares)
    if position.collateral_assets * price // E36 * lending.lltv_wad // WAD >= borrowed:
        return None  # HEALTHY_POSITION
    incentive = min(115 * WAD // 100, WAD * WAD // (WAD - 3 * WAD // 10 * (WAD - lending.lltv_wad) // WAD))
    if seized:
        repaid_shares = div_up(div_up(div_up(seized * price, E36) * WAD, incentive) * shares, assets)
    else:
        seized = repaid_shares * assets // shares * incentive // WAD * E36 // price
    if repaid_shares > position.borrow_shares or seized > position.collateral_assets:
        return None  # underflows
    return Did(div_up(repaid_shares * assets, shares), seized)


def offer_does(market: Market, prices: Prices, position: Position, offer: Offer, data: bytes) -> Did | None:
    """PreLiquidation.preLiquidate by shares, line by line; None where it reverts."""
    lending = market.by_id[ID]
    owed = accrued(lending, prices, NOW)
    price = prices[ID if offer.oracle == lending.oracle else b"pre" + OFFER].value
    assert owed is not None
    assets, shares = owed.assets + 1, owed.shares + 10**6
    quoted = position.collateral_assets * price // E36
    borrowed = div_up(position.borrow_shares * assets, shares)
    if not quoted * offer.pre_lltv_wad // WAD < borrowed <= quoted * lending.lltv_wad // WAD:
        return None  # NotPreLiquidatablePosition, LiquidatablePosition
    ltv = div_up(borrowed * WAD, quoted)
    along = (ltv - offer.pre_lltv_wad) * WAD // (lending.lltv_wad - offer.pre_lltv_wad)
    incentive = offer.incentive_1_wad + along * (offer.incentive_2_wad - offer.incentive_1_wad) // WAD
    close = offer.close_factor_1_wad + along * (offer.close_factor_2_wad - offer.close_factor_1_wad) // WAD
    _, repaid_shares = abi.amounts_of(data)
    if repaid_shares > min(position.borrow_shares * close // WAD, position.borrow_shares):
        return None  # PreLiquidationTooLarge, or an underflow
    seized = repaid_shares * assets // shares * incentive // WAD * E36 // price
    return Did(div_up(repaid_shares * assets, shares), seized) if seized <= position.collateral_assets else None


def at_price(prices: Prices, factor_bps: int) -> Prices:
    """Every oracle's answer, moved alike."""
    return {
        key: replace(price, value=max(price.value * factor_bps // 10_000, 1)) if key in (ID, b"pre" + OFFER) else price
        for key, price in prices.items()
    }


@st.composite
def sizeable(draw: st.DrawFn) -> tuple[Market, Prices, Position]:
    """Positions around their line that are worth more than dust, in a market with interest running."""
    lltv_bps = draw(st.sampled_from((3_850, 6_250, 8_600, 9_150, 9_450, 9_800)))
    borrow = draw(st.integers(10**8, 10**15))
    one = build.lending(
        lltv_wad=lltv_bps * WAD // 10_000,
        adaptive=True,
        borrow_assets=borrow,
        borrow_shares=draw(st.integers(borrow * 5 * 10**5, borrow * 10**6)),
        supply_assets=borrow + draw(st.integers(0, borrow)),
        updated_at=NOW - draw(st.integers(0, 10**6)),
        rate_at_target_wad=draw(st.integers(31_709_791, 63_419_583_967)),
    )
    priced = build.prices(draw(st.integers(10**26, 10**29)), None)
    owed = accrued(one, priced, NOW)
    assert owed is not None
    shares = draw(st.integers(one.borrow_shares // 100, one.borrow_shares))
    health_bps = draw(st.integers(8_000, 10_500))
    collateral = owed.by(shares) * health_bps // lltv_bps * E36 // priced[ID].value
    if draw(st.booleans()):
        return build.market(one), priced, Position(ID, shares, collateral)
    offer = replace(draw(build.offers(one)), pre_lltv_wad=one.lltv_wad * draw(st.integers(90, 99)) // 100)
    offer = replace(offer, oracle=draw(st.sampled_from((one.oracle, offer.oracle))))
    priced = {**priced, b"pre" + OFFER: Price(priced[ID].value * draw(st.integers(98, 102)) // 100, 24)}
    return build.market(one).with_offers({OFFER: offer}), priced, Position(ID, shares, collateral, (OFFER,))


@given(
    st.one_of(build.worlds(), sizeable(), sizeable(), sizeable()),
    st.integers(8_000, 10_200),
    st.integers(-1_800, 1_800),
    st.integers(1, 4),
)
def test_what_a_call_does_is_what_the_contract_would_do(
    world: tuple[Market, Prices, Position], factor_bps: int, later: int, part: int
) -> None:
    """Nothing is sent that would revert or be charged more than offered; what is not sent would do so, or brings
    nothing, or is within a hair of a collateral that does not cover it."""
    market, prices, position = world
    adapter = build.adapter()
    wallet = dict(RICH)
    made = adapter.plan(market, at_price(prices, factor_bps), KEY, position, NOW + later, wallet, ME)
    if isinstance(made, LiquidationPlan) and part > 1:
        wallet[LOAN] = made.repay_assets // part
        made = adapter.plan(market, at_price(prices, factor_bps), KEY, position, NOW + later, wallet, ME)
    if isinstance(made, Skip):
        event(f"not made: {made.code}")
        return
    if made.call.to == MORPHO:
        did = morpho_does(market, prices, position, made.call.data)
    else:
        did = offer_does(market, prices, position, market.by_contract[OFFER], made.call.data)
    now = adapter.rejudge(market, prices, KEY, position, NOW, made, ME)
    event(f"skip {now.code}" if isinstance(now, Skip) else "sent")
    if isinstance(now, LiquidationPlan):
        assert did == Did(now.expected_repaid_assets, now.expected_seized_assets)
        assert (now.call, now.repay_assets, now.approval) == (made.call, made.repay_assets, made.approval)
        assert now.expected_repaid_assets <= made.repay_assets
        assert now.profit_base > 0
    elif now.code == "charges_more":
        assert did is None or did.repaid + 2 > made.repay_assets
    elif now.code == "bad_debt":
        assert did is None or did.seized * 10_001 >= position.collateral_assets * 10_000 - 20_000
    elif now.code not in ("unprofitable", "dust", "worthless"):
        assert did is None, now


@given(st.one_of(build.worlds(), sizeable(), sizeable(), sizeable()), st.integers(1, 60))
def test_a_block_that_comes_sooner_than_expected_carries_a_plan_out(
    world: tuple[Market, Prices, Position], sooner_s: int
) -> None:
    """Made for a later second, it is accepted at this one, whatever interest adds meanwhile: to the part that an offer
    lets be repaid, or to what the collateral has to cover."""
    market, prices, position = world
    adapter = build.adapter()
    made = adapter.plan(market, prices, KEY, position, NOW + sooner_s, RICH, ME)
    now = adapter.plan(market, prices, KEY, position, NOW, RICH, ME)
    if isinstance(made, Skip) or isinstance(now, Skip) or now.call.to != made.call.to:
        event("not open the same way at both")
        return
    if made.call.to == MORPHO:
        seized, _ = abi.amounts_of(made.call.data)
        event("by collateral" if seized else "by shares")
        did = morpho_does(market, prices, position, made.call.data)
    else:
        event("by an offer")
        did = offer_does(market, prices, position, market.by_contract[OFFER], made.call.data)
    assert did is not None
    assert did.repaid <= made.repay_assets


def test_what_interest_adds_in_a_second_is_left_of_an_offer() -> None:
    """Between its thresholds the part that may be repaid grows with the debt; what a minute opened is planned for when
    it is open."""
    market = build.market(build.lending(adaptive=True, rate_at_target_wad=63_419_583_967, supply_assets=10**12))
    offer = Offer(OFFER, ID, 80 * WAD // 100, 0, WAD, 103 * WAD // 100, 105 * WAD // 100, b"\x0c" * 20, used=True)
    market, prices, adapter = market.with_offers({OFFER: offer}), build.prices(2_000 * 10**24, None), build.adapter()

    def planned(shares: int, at: int) -> LiquidationPlan | Skip:
        return adapter.plan(market, prices, KEY, Position(ID, shares, 10 * 10**18, (OFFER,)), at, RICH, ME)

    shares = 16_600 * 10**12
    now, later = planned(shares, NOW), planned(shares, NOW + 1)
    assert isinstance(now, LiquidationPlan) and isinstance(later, LiquidationPlan)
    assert abi.amounts_of(later.call.data) == abi.amounts_of(now.call.data)
    edge = 16_000 * 10**12
    assert isinstance(planned(edge, NOW), Skip)
    assert isinstance(planned(edge, NOW + 50), LiquidationPlan)


def test_a_collateral_that_just_covers_a_debt_is_taken_as_far_as_it_did_before() -> None:
    """Named is the collateral, since interest may outgrow it; a second earlier so much of it pays for more shares than
    there are."""
    market = build.market(build.lending(adaptive=True, rate_at_target_wad=63_419_583_967, supply_assets=10**12))
    prices, adapter, shares = build.prices(2_000 * 10**24, None), build.adapter(), 16_900 * 10**12
    whole = adapter.plan(market, prices, KEY, Position(ID, shares, 9 * 10**18), NOW + 1, RICH, ME)
    assert isinstance(whole, LiquidationPlan) and abi.amounts_of(whole.call.data) == (0, shares)
    for spare in -1, 0, 1:
        position = Position(ID, shares, whole.expected_seized_assets + spare)
        made = adapter.plan(market, prices, KEY, position, NOW + 1, RICH, ME)
        assert isinstance(made, LiquidationPlan) and abi.amounts_of(made.call.data)[1] == 0
        assert morpho_does(market, prices, position, made.call.data) is not None


def test_the_reverts_of_an_offer_are_told_in_words() -> None:
    said = build.adapter().explain_revert(bytes.fromhex("44bb1e75") + bytes(64))
    assert said == "PreLiquidationTooLarge: it repays more than the offer lets be repaid"


def test_all_of_a_debt_by_its_shares_is_right_at_any_price_that_the_collateral_covers() -> None:
    """Made deep below the line, it is sent at a hair below it, half an hour later; not above the line, and not where
    nothing would be left to seize."""
    shares, ether = 16_900 * 10**12, 10**18
    market, adapter = build.market(build.lending()), build.adapter()
    position = Position(ID, shares, 10 * ether)
    made = adapter.plan(market, build.prices(1_800 * 10**24), KEY, position, NOW + 1_800, RICH, ME)
    assert isinstance(made, LiquidationPlan)
    assert abi.amounts_of(made.call.data) == (0, shares)

    def judged(dollars: int) -> str:
        now = adapter.rejudge(market, build.prices(dollars * 10**24), KEY, position, NOW, made, ME)
        return now.code if isinstance(now, Skip) else "sent"

    assert [judged(dollars) for dollars in (1_970, 1_965, 1_800, 1_770, 1_760)] == [
        "healthy",
        "sent",
        "sent",
        "sent",
        "bad_debt",
    ]


def test_a_call_for_all_of_a_collateral_is_not_sent_where_it_takes_more_than_is_owed() -> None:
    """Made for a price at which the collateral does not cover the debt; above it, so many shares do not exist."""
    shares, ether = 16_900 * 10**12, 10**18
    market, adapter = build.market(build.lending()), build.adapter()
    position = Position(ID, shares, 10 * ether)
    made = adapter.plan(market, build.prices(1_600 * 10**24), KEY, position, NOW, RICH, ME)
    assert isinstance(made, LiquidationPlan)
    assert made.expected_seized_assets == 10 * ether
    assert made.collateral_asset == COLLATERAL

    def judged(dollars: int) -> LiquidationPlan | Skip:
        return adapter.rejudge(market, build.prices(dollars * 10**24), KEY, position, NOW, made, ME)

    lower, higher, far = judged(1_599), judged(1_601), judged(1_800)
    assert isinstance(lower, LiquidationPlan)
    assert lower.expected_repaid_assets < made.expected_repaid_assets
    assert isinstance(higher, Skip) and higher.code == "charges_more"
    assert isinstance(far, Skip) and far.code == "too_much"


def test_a_market_whose_loan_token_nobody_knows_the_worth_of_is_left_alone() -> None:
    market, adapter = build.market(build.lending()), build.adapter()
    position = Position(ID, 16_900 * 10**12, 10**19)
    made = adapter.plan(market, build.prices(1_900 * 10**24), KEY, position, NOW, RICH, ME)
    assert isinstance(made, LiquidationPlan)
    worthless = {k: v for k, v in build.prices(1_900 * 10**24).items() if k != LOAN}
    now = adapter.rejudge(market, worthless, KEY, position, NOW, made, ME)
    assert isinstance(now, Skip) and now.code == "unreferenced"
