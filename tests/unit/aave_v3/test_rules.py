"""Which arithmetic a pool uses is told by its own totals; its functions decide only where the totals tell nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.units import RAY
from keeper.protocols.aave_v3 import arithmetic
from keeper.protocols.aave_v3.rules import Evidence, Features, Rules, contradicts, detect
from tests.support import aave_market as build

OLD = Features(deficit=False, common_strategy=False, ltvzero_bitmap=False, isolated_emode=False)
V33 = replace(OLD, deficit=True)
V34 = replace(V33, common_strategy=True)
V36 = replace(V34, ltvzero_bitmap=True)
V37 = replace(V36, isolated_emode=True)


def evidence(rules: Rules, scaled: int, index_ray: int, rate_ray: int = RAY // 20, elapsed_s: int = 10**6) -> Evidence:
    """What a pool with these rules says of a reserve."""
    debt_index = arithmetic.ray_mul_half_up(rules.compounded_interest(rate_ray, elapsed_s), index_ray)
    return Evidence(
        income_index_ray=index_ray,
        debt_index_ray=debt_index,
        scaled_supply=scaled,
        supply=rules.balance(scaled, index_ray),
        scaled_debt=scaled,
        debt=rules.debt(scaled, debt_index),
        stored_debt_index_ray=index_ray,
        debt_rate_ray=rate_ray,
        elapsed_s=elapsed_s,
    )


@given(build.rules, st.lists(st.integers(1, 10**24), min_size=20, max_size=20), st.integers(RAY + 1, 2 * RAY))
def test_totals_tell_the_rounding_and_the_interest(rules: Rules, scaled: list[int], index: int) -> None:
    """A supply with a fraction of a half or more, or a debt with less, tells; with twenty of each one is among them."""
    seen = [evidence(rules, each, index + each % RAY) for each in scaled]
    tells = [e for e in seen if e.supply != rules_other(rules).balance(e.scaled_supply or 0, e.income_index_ray or 0)]
    for features in (V34, V36) if tells else ():
        found = detect(features, seen)
        assert found.directed_rounding == rules.directed_rounding
        assert found.taylor_interest == rules.taylor_interest


def rules_other(rules: Rules) -> Rules:
    return replace(rules, directed_rounding=not rules.directed_rounding)


@pytest.mark.parametrize(
    ("features", "rules"), [(OLD, build.V30), (V33, build.V33), (V36, build.V36), (V37, build.V37)]
)
def test_a_market_without_interest_falls_back_on_its_functions(features: Features, rules: Rules) -> None:
    """At an index of one ray every rounding says the same."""
    silent = evidence(rules, 10**18, RAY, rate_ray=0, elapsed_s=0)
    assert detect(features, [silent]) == rules
    assert detect(features, []) == rules


def test_tokens_that_do_not_answer_tell_nothing() -> None:
    mute = Evidence(None, None, None, None, None, None, RAY, 0, None)
    assert detect(V36, [mute]) == build.V36


@given(build.rules, st.integers(0, 10**24), st.integers(RAY, 3 * RAY))
def test_least_assets_is_the_least_that_mints_so_much(rules: Rules, scaled: int, index: int) -> None:
    assets = rules.least_assets(scaled, index)
    assert rules.scaled_in(assets, index) >= scaled
    assert assets <= 0 or rules.scaled_in(assets - 1, index) < scaled


@given(build.rules, st.integers(1, 10**24), st.integers(RAY, 3 * RAY))
def test_repaying_what_is_owed_burns_exactly_all(rules: Rules, scaled: int, index: int) -> None:
    assert rules.scaled_in(rules.debt(scaled, index), index) == scaled


@given(build.rules, st.integers(1, 10**24), st.integers(RAY, 3 * RAY))
def test_a_reserve_that_keeps_the_rules_does_not_contradict_them(rules: Rules, scaled: int, index: int) -> None:
    assert not contradicts(rules, evidence(rules, scaled, index))


def test_a_reserve_that_counts_otherwise_contradicts_the_rules() -> None:
    """One unit more of debt or supply, or interest by another formula, is enough."""
    seen = evidence(build.V36, 10**20, 2 * RAY)
    for other in (
        replace(seen, debt=(seen.debt or 0) + 1),
        replace(seen, supply=(seen.supply or 0) - 1),
        replace(seen, debt_index_ray=(seen.debt_index_ray or 0) + 1),
    ):
        assert contradicts(build.V36, other)
    assert not contradicts(build.V36, Evidence(None, None, None, None, None, None, RAY, 0, None))
