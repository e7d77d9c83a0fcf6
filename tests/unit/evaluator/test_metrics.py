"""Account metrics against numbers worked out by hand, and what must hold for any account."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from keeper.core.types import Assessment, Health, Holding, Margin
from keeper.core.units import BPS, WAD
from keeper.evaluator.metrics import Metrics, metrics_json, metrics_of
from tests.unit.evaluator.builders import UNPRICED, wad

ETH, BTC, USD = (bytes([n]) * 20 for n in (1, 2, 3))
USD_8 = 10**8


def collateral(asset: bytes, value: int | None, *terms: int | None, counts: bool = True) -> Holding:
    """terms: liquidation threshold, loan to value, penalty; all in bps."""
    threshold, loan_to_value, penalty = terms
    return Holding(asset, "T", 18, 1, value, counts, threshold, loan_to_value, penalty)


def lending(*collaterals: Holding, debt: int) -> Assessment:
    held = sum(one.value or 0 for one in collaterals if one.counts)
    return Assessment(Health(None if debt == 0 else WAD, False, held, debt), collaterals, (), {})


def metrics(assessment: Assessment) -> Metrics:
    found = metrics_of(assessment)
    assert found is not None
    return found


def test_a_loan_against_two_collaterals() -> None:
    """$6,000 of ETH (83 % / 80.5 % / 5 %) and $4,000 of BTC (78 % / 73 % / 6 %), owing $5,000.

    Sustained 4,980 + 3,120 = 8,100; borrowable 4,830 + 2,920 = 7,750. A liquidator takes the BTC first: it covers
    4,000 / 1.06 of the debt at 6 %, the rest is taken in ETH at 5 %.
    """
    eth = collateral(ETH, 6_000 * USD_8, 8_300, 8_050, 500)
    found = metrics(lending(eth, collateral(BTC, 4_000 * USD_8, 7_800, 7_300, 600), debt=5_000 * USD_8))
    assert found.exposure_value == 10_000 * USD_8
    assert found.equity_value == 5_000 * USD_8
    assert found.initial_margin_value == 2_250 * USD_8
    assert found.maintenance_margin_value == 1_900 * USD_8
    assert found.margin_ratio_wad == wad("0.5")
    assert found.initial_margin_ratio_wad == wad("0.225")
    assert found.maintenance_margin_ratio_wad == wad("0.19")
    assert found.effective_leverage_wad == wad("2")
    assert found.equity_utilization_wad == -(-5_000 * WAD // 7_750)
    assert found.collateral_buffer_value == 3_100 * USD_8
    assert found.collateral_buffer_wad == wad("0.62")
    covered = 4_000 * USD_8 * 100 // 106
    assert found.liquidation_penalty_value == (4_000 * USD_8 - covered) + -(-(5_000 * USD_8 - covered) * 5 // 100)
    assert found.concentration_wad == wad("0.52")  # 0.6² + 0.4²
    assert (found.largest_asset, found.largest_share_wad) == (ETH, wad("0.6"))


def test_an_isolated_position_at_ten_times() -> None:
    """$1,000 against $900 at a threshold of 91.5 %: leverage 10, and 15 of the 100 of equity before liquidation."""
    found = metrics(lending(collateral(ETH, 1_000, 9_150, 9_150, 438), debt=900))
    assert found.effective_leverage_wad == wad("10")
    assert (found.collateral_buffer_value, found.collateral_buffer_wad) == (15, wad("0.15"))
    assert (found.concentration_wad, found.largest_share_wad) == (WAD, WAD)
    assert found.liquidation_penalty_value == 40  # 900 · 4.38 % = 39.42, rounded up


def test_who_owes_nothing_uses_nothing() -> None:
    found = metrics(lending(collateral(ETH, 1_000, 8_000, 7_500, 500), debt=0))
    assert (found.equity_utilization_wad, found.effective_leverage_wad) == (0, WAD)
    assert (found.liquidation_penalty_value, found.margin_ratio_wad) == (0, WAD)


def test_an_insolvent_account_has_no_leverage_and_loses_all_that_is_left() -> None:
    """$900 against $1,000: equity -100; liquidators get no more than 900, of which 900 / 1.05 repays."""
    found = metrics(lending(collateral(ETH, 900, 8_000, 7_500, 500), debt=1_000))
    assert found.equity_value == -100
    assert found.effective_leverage_wad is None
    assert found.collateral_buffer_wad is None
    assert found.collateral_buffer_value == 720 - 1_000
    assert found.liquidation_penalty_value == 900 - 857


def test_collateral_that_is_not_enabled_does_not_count() -> None:
    idle = collateral(BTC, 5_000, 7_800, 7_300, 600, counts=False)
    counted = collateral(ETH, 1_000, 8_000, 7_500, 500)
    assert metrics(lending(counted, idle, debt=400)) == metrics(lending(counted, debt=400))


def test_what_the_protocol_does_not_tell_is_none_and_nothing_else() -> None:
    found = metrics(lending(collateral(ETH, 1_000, 8_000, None, None), debt=400))
    unknown = {name for name in Metrics.__dataclass_fields__ if getattr(found, name) is None}
    assert unknown == {
        "initial_margin_value",
        "initial_margin_ratio_wad",
        "equity_utilization_wad",
        "liquidation_penalty_value",
    }


def test_without_a_price_nothing_is_said() -> None:
    assert metrics_of(Assessment(UNPRICED, (collateral(ETH, None, 8_000, 7_500, 500),), (), {})) is None


def test_perpetuals_state_their_margin() -> None:
    """$1,000 of equity with $4,000 long and $2,000 short, initial margin 10 %, maintenance 6.25 %, penalty 2.5 %."""
    margin = Margin(
        equity_value=1_000,
        initial_value=600,
        maintenance_value=375,
        used_value=600,
        capacity_value=1_000,
        penalty_value=150,
        exposures=((ETH, 4_000), (BTC, 2_000)),
    )
    found = metrics(Assessment(Health(wad("2.6"), False, 1_000, 375), (), (), {}, margin=margin))
    assert found.effective_leverage_wad == wad("6")
    assert found.equity_utilization_wad == wad("0.6")
    assert found.collateral_buffer_wad == wad("0.625")
    assert found.maintenance_margin_ratio_wad == wad("0.0625")


def test_json_writes_integers_as_text_and_names_the_scale() -> None:
    row = metrics_json(metrics(lending(collateral(ETH, 900, 8_000, 7_500, 500), debt=1_000)), 8, bytes.hex)
    assert (row["base_decimals"], row["equity_value"], row["effective_leverage_wad"]) == (8, "-100", None)
    assert row["largest_asset"] == ETH.hex()
    assert set(row) == {"base_decimals", *Metrics.__dataclass_fields__}


_terms = st.tuples(st.integers(0, BPS), st.integers(0, BPS), st.integers(0, 2_000))
_held = st.lists(st.tuples(st.integers(0, 10**20), _terms), max_size=5)


@given(_held, st.integers(0, 10**20))
def test_rounding_is_against_the_owner_and_never_by_more_than_a_unit(
    held: list[tuple[int, tuple[int, int, int]]], debt: int
) -> None:
    collaterals = [collateral(bytes([n]) * 20, value, *terms) for n, (value, terms) in enumerate(held)]
    found = metrics(lending(*collaterals, debt=debt))
    sustained = sum(Fraction(value * terms[0], BPS) for value, terms in held)
    assert found.collateral_buffer_value is not None
    assert 0 <= sustained - debt - found.collateral_buffer_value < 1
    assert found.liquidation_penalty_value is not None
    worst = max((terms[2] for _, terms in held), default=0)
    assert found.liquidation_penalty_value <= Fraction(debt * worst, BPS) + len(held)
    assert found.liquidation_penalty_value <= sum(value for value, _ in held)
    if found.concentration_wad is not None:
        assert Fraction(WAD, len(held)) <= found.concentration_wad <= WAD
