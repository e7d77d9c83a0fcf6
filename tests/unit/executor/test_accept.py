"""What is sent of what was tried out, and what it offers for a place in a block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from keeper.core.types import LiquidationPlan, Skip
from keeper.executor.accept import accept
from keeper.executor.choose import Chosen
from keeper.executor.compose import Draft
from keeper.executor.fees import Fees
from keeper.executor.ports import Opportunity, Venue
from keeper.executor.questions import Wallet
from keeper.executor.simulate import Verdict
from keeper.executor.trial import Outcome, Trial
from keeper.executor.upkeep import Market
from tests.support.model_chain import COLLATERAL, GWEI, TOKEN, Account, ModelProtocol, book_at, key_of
from tests.support.model_pipeline import SETTINGS

BASE = 10**8
GAS = 200_000
MARKET = Market(
    needed_fee_wei=11 * GWEI,
    fresh=Fees(40 * GWEI, GWEI),
    cap_wei=500 * GWEI,
    first_cap_wei=500 * GWEI,
    tip_cap_wei=20 * GWEI,
    base_fee_wei=10 * GWEI,
    typical_tip_wei=GWEI,
)
WALLET = Wallet({TOKEN: 10**6}, {}, {TOKEN: 0, COLLATERAL: 0}, 10**20)
VENUE = Venue(cast(Any, ModelProtocol()), book_at(Account(open={1})))
OPPORTUNITY = Opportunity(VENUE, key_of(1))


def plan() -> LiquidationPlan:
    """It brings $1,001."""
    found = ModelProtocol().plan(None, {}, key_of(1), None, 0, {TOKEN: 100}, b"")
    assert isinstance(found, LiquidationPlan)
    return replace(found, approval=None)


def sent(one: LiquidationPlan, least: int = BASE, settings: Any = SETTINGS, market: Market = MARKET) -> Draft | Skip:
    trial = Trial([], [], [Chosen(OPPORTUNITY, one, least)])
    outcome = Outcome([], [], [Verdict(True, GAS)], in_sequence=True)
    drafts, refused = accept(trial, outcome, market, Fees(40 * GWEI, GWEI), WALLET, 10**20, settings)
    return drafts[0] if drafts else refused[0].skip


def test_what_a_plan_takes_off_for_later_counts_against_it() -> None:
    """The transaction brings $1,001, but the protocol plans with $3: leaving what it inherits costs the rest."""
    assert isinstance(sent(plan()), Draft)
    skip = sent(replace(plan(), profit_base=3 * BASE))
    assert isinstance(skip, Skip)
    assert skip.code == "unprofitable"


def test_a_tenth_of_the_profit_is_offered_on_top_of_what_others_pay() -> None:
    """$996.60 are left at the typical price, of which a tenth is 0.04983 ether over 200,000 gas; the cap is lower,
    and two replacements have to fit below it."""
    dear = replace(SETTINGS, max_tip_wei=10**12)
    draft = sent(plan(), settings=dear)
    assert isinstance(draft, Draft)
    assert draft.fees is not None
    assert draft.fees.tip_wei == GWEI + 249_150_000_000
    capped = sent(plan())
    assert isinstance(capped, Draft)
    assert capped.fees is not None
    assert capped.fees.tip_wei == SETTINGS.max_tip_wei * 64 // 81


def test_what_must_remain_is_never_offered() -> None:
    """At $996 of $996.60 at least, sixty cents can be given away; and the expected profit counts what is."""
    settings = replace(SETTINGS, max_tip_wei=10**12, tip_share_bps=10_000)
    draft = sent(plan(), least=996 * BASE, settings=settings)
    assert isinstance(draft, Draft)
    assert draft.profit_expected is not None
    assert 996 * BASE <= draft.profit_expected < 996 * BASE + BASE // 100
    assert draft.expected is not None
    assert draft.expected.profit == draft.profit_expected
