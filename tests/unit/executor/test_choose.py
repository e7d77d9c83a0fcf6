"""Which liquidations a wallet pays for, and what it must approve first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import Book, LiquidationPlan, Skip, TxCall
from keeper.core.units import UINT256_MAX
from keeper.executor.choose import Approval, approvals_for, approved_pair, choose
from keeper.executor.ports import Opportunity, Venue

A, B, POOL = b"\xaa" * 20, b"\xbb" * 20, b"\xcc" * 20


@dataclass(frozen=True)
class Debt:
    """A position with one debt: paid as far as the wallet goes, at 10 % profit. floor: least that is accepted."""

    token: bytes
    owed: int
    floor: int = 1


@dataclass(frozen=True)
class Lender:
    """decimals: of the base-currency units that it counts in."""

    name: str = "lender"
    decimals: int = 0

    def position_id(self, key: bytes) -> str:
        return f"{self.name}:{key.hex()}"

    def base_decimals(self, market: Any) -> int:
        return self.decimals

    def plan(
        self, market: Any, prices: Any, key: bytes, debt: Debt, now: int, wallet: Mapping[bytes, int], receiver: bytes
    ) -> LiquidationPlan | Skip:
        paid = min(debt.owed, wallet.get(debt.token, 0))
        if paid < debt.floor:
            return Skip("no_balance", "not enough")
        found = plan(debt.token, paid)
        return replace(found, profit_base=found.profit_base * 10**self.decimals)


def plan(token: bytes, paid: int) -> LiquidationPlan:
    return LiquidationPlan(
        account=b"\x01" * 20,
        debt_asset=token,
        repay_assets=paid,
        collateral_asset=B,
        expected_repaid_assets=paid,
        expected_seized_assets=paid,
        profit_base=paid // 10,
        judged_at=0,
        health_wad=None,
        call=TxCall(POOL, b""),
        approval=(token, POOL, paid),
        gas_limit_hint=1,
    )


def opportunities(*debts: Debt, lender: Lender = Lender()) -> list[Opportunity]:
    positions = {bytes([number]): debt for number, debt in enumerate(debts)}
    venue = Venue(cast(Any, lender), Book(market=object(), positions=cast(Any, positions)))
    return [Opportunity(venue, key) for key in positions]


def chosen(
    wallet: dict[bytes, int], *debts: Debt, limit: int = 10, least: int = 0
) -> tuple[list[tuple[int, int]], list[str]]:
    """(position, paid) of what is chosen, in order, and the codes of what is refused."""
    found = opportunities(*debts)
    leasts = {one.cause: least for one in found}
    plans, refused = choose(found, wallet, b"", 0, limit=limit, least_base=leasts)
    return [(c.opportunity.key[0], c.plan.repay_assets) for c in plans], [r.skip.code for r in refused]


def test_the_most_profitable_come_first_and_leave_less_for_the_others() -> None:
    assert chosen({A: 1_000}, Debt(A, 100), Debt(A, 700), Debt(A, 300)) == ([(1, 700), (2, 300)], ["no_balance"])


def test_what_remains_is_planned_again_rather_than_overspent() -> None:
    assert chosen({A: 1_000}, Debt(A, 600), Debt(A, 550)) == ([(0, 600), (1, 400)], [])


def test_tokens_do_not_mix() -> None:
    assert chosen({A: 100, B: 50}, Debt(A, 100), Debt(B, 60)) == ([(0, 100), (1, 50)], [])


def test_what_brings_too_little_is_refused_also_when_only_little_remains() -> None:
    assert chosen({A: 1_000}, Debt(A, 900), Debt(A, 800), least=20) == ([(0, 900)], ["unprofitable"])
    assert chosen({A: 1_000}, Debt(A, 100), least=20) == ([], ["unprofitable"])


def test_no_more_than_may_be_on_their_way() -> None:
    assert chosen({A: 1_000}, Debt(A, 100), Debt(A, 200), Debt(A, 300), limit=2) == (
        [(2, 300), (1, 200)],
        ["max_pending"],
    )


def test_protocols_are_ranked_by_value_whatever_the_size_of_their_units() -> None:
    """Aave counts in units of 8 decimals, Venus in units of 18: ranked by units, a crumb there hides a fortune here."""
    large = opportunities(Debt(A, 1_000, floor=1_000), lender=Lender("aave", 8))
    small = opportunities(Debt(A, 10), Debt(A, 20), lender=Lender("venus", 18))
    every = [*small, *large]
    leasts = dict.fromkeys((one.cause for one in every), 0)
    plans, _ = choose(every, {A: 1_000}, b"", 0, limit=10, least_base=leasts)
    assert [c.opportunity.position for c in plans] == ["aave:00"]
    plans, _ = choose(every, {A: 10_000}, b"", 0, limit=2, least_base=leasts)
    assert [c.opportunity.position for c in plans] == ["aave:00", "venus:01"]


def test_what_was_tried_out_in_vain_comes_behind_all_others_the_longest_ago_first() -> None:
    found = opportunities(Debt(A, 300), Debt(A, 200), Debt(A, 100))
    best, second, third = (one.cause for one in found)

    def order(limit: int = 3, held: int = 1_000, **turned_down: int) -> list[int]:
        by_cause = {{"best": best, "second": second, "third": third}[name]: at for name, at in turned_down.items()}
        leasts = dict.fromkeys((best, second, third), 0)
        plans, _ = choose(found, {A: held}, b"", 0, limit=limit, least_base=leasts, turned_down=by_cause)
        return [c.plan.repay_assets for c in plans]

    assert order() == [300, 200, 100]
    assert order(best=7) == [200, 100, 300]
    assert order(best=7, second=6) == [100, 200, 300]
    assert order(limit=1, best=7, second=7) == [100]
    assert order(held=300, best=7) == [200, 100]  # nor do they keep the wallet's money from what succeeds


debts = st.lists(
    st.builds(Debt, st.sampled_from([A, B]), st.integers(1, 1_000), st.integers(1, 500)), min_size=1, max_size=12
)


@given(debts=debts, held=st.integers(0, 3_000), limit=st.integers(0, 6))
def test_never_spends_more_than_the_wallet_holds_and_answers_for_every_position(
    debts: list[Debt], held: int, limit: int
) -> None:
    found = opportunities(*debts)
    plans, refused = choose(
        found, {A: held, B: held // 2}, b"", 0, limit=limit, least_base={one.cause: 3 for one in found}
    )
    for token, balance in ((A, held), (B, held // 2)):
        assert sum(c.plan.repay_assets for c in plans if c.plan.debt_asset == token) <= balance
    assert len(plans) <= limit
    answered = [c.opportunity.key for c in plans] + [r.opportunity.key for r in refused]
    assert sorted(answered) == sorted(bytes([n]) for n in range(len(debts)))


# --- approvals --------------------------------------------------------------------------------------------------------


def approvals(allowed: int, *plans: LiquidationPlan, committed: int = 0, **more: Any) -> list[Approval]:
    usual: dict[str, Any] = {"in_flight": frozenset(), "exactly": False}
    return approvals_for(plans, {(A, POOL): allowed}, {A: committed}, **{**usual, **more})


def test_one_approval_for_all_plans_and_none_when_enough_is_allowed() -> None:
    assert approvals(0, plan(A, 60), plan(A, 50)) == [Approval(A, POOL, UINT256_MAX)]
    assert approvals(110, plan(A, 60), plan(A, 50)) == []


def test_what_is_on_its_way_uses_up_the_allowance_first() -> None:
    assert approvals(110, plan(A, 60), committed=50) == []
    assert approvals(109, plan(A, 60), committed=50)[-1] == Approval(A, POOL, UINT256_MAX)


def test_an_allowance_that_is_not_zero_is_reset_first() -> None:
    """USDT refuses to change one into another."""
    first, then = approvals(10, plan(A, 60))
    assert (first.amount, first.reset, then.amount) == (0, True, UINT256_MAX)
    assert first.cause != then.cause


def test_exactly_what_is_needed_when_asked_for() -> None:
    assert approvals(0, plan(A, 60), plan(A, 50), committed=5, exactly=True) == [Approval(A, POOL, 115)]


def test_an_approval_on_its_way_is_not_repeated() -> None:
    assert approvals(0, plan(A, 60), in_flight=frozenset({(A, POOL)})) == []


def test_an_approvals_call_names_its_pair() -> None:
    call = Approval(A, POOL, 7).call
    assert call.data.hex() == "095ea7b3" + "00" * 12 + POOL.hex() + f"{7:064x}"
    assert approved_pair(call) == (A, POOL)
    assert approved_pair(replace(Approval(A, POOL, 0), reset=True).call) == (A, POOL)
