"""Every protocol under keeper/protocols, found by its module, keeps these promises.

They are what the rest of the house relies on without looking: that a stored form reads back, that nothing but a
DecodeError comes of a log that is not what it should be, that the float screen never misses what the integers find,
that a cure cures and one unit less does not, that a plan stays within its limits.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import keeper.protocols
from keeper.config.table import kinds, plugin
from keeper.core.encoding import dump_prices, load_prices
from keeper.core.errors import DecodeError
from keeper.core.ports import Rejudges, Watchable, Weighable
from keeper.core.types import Block, BlockRef, Book, Call, Health, LiquidationPlan, Log, Skip, Token
from keeper.core.units import WAD
from keeper.evaluator.columns import Columns, vector_of
from keeper.evaluator.screen import maybe_below, surely_below
from tests.support.cases import Case, Situation

KINDS = kinds(keeper.protocols.__name__)
RECEIVER = b"\x77" * 20
_REPOSITORY = Path(__file__).resolve().parents[2]
THRESHOLDS = (1.0, 1.03, 1.1, 1.25)


@cache
def case_of(kind: str) -> Case:
    try:
        module = importlib.import_module(f"tests.support.cases.{kind}")
    except ModuleNotFoundError as error:
        if error.name != f"tests.support.cases.{kind}":
            raise
        pytest.fail(f"keeper/protocols/{kind} has no case: write tests/support/cases/{kind}.py, and it is tested here")
    built: Case = module.case()
    return built


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


def every(test: Callable[[Case, Situation], None]) -> Callable[[str], None]:
    """A property of every situation of every protocol."""

    @pytest.mark.parametrize("kind", KINDS)
    def run(kind: str) -> None:
        found = case_of(kind)

        @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
        @given(found.situations)
        def check(situation: Situation) -> None:
            test(found, situation)

        check()

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def health_of(case: Case, s: Situation) -> Health:
    return case.adapter.health(s.market, s.prices, s.position, s.now)


# --- names and options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_describes_its_options(kind: str) -> None:
    """The configuration reference is made of these words."""
    for field in dataclasses.fields(plugin("keeper.protocols", kind).Options):
        assert field.metadata["doc"], field.name


def test_is_found_by_its_kind(case: Case) -> None:
    assert case.adapter.kind in KINDS
    assert all(len(address) == 20 for address in case.adapter.addresses().values())


@every
def test_a_position_id_leads_back_to_its_key(case: Case, s: Situation) -> None:
    """ "<name>:<account>[:<market>]", of which the key is market and account."""
    name, account, *market = case.adapter.position_id(s.key).split(":")
    assert name == case.adapter.name
    assert bytes.fromhex(account[2:]) == case.adapter.account(s.key)
    assert b"".join(bytes.fromhex(part[2:]) for part in (*market, account)) == s.key
    assert bool(market) == bool(case.adapter.assess(s.market, s.prices, s.position, s.now).market_name)


# --- stored form ------------------------------------------------------------------------------------------------------


@every
def test_stored_forms_read_back(case: Case, s: Situation) -> None:
    """And equal values are stored as equal bytes, so that an unchanged block writes nothing."""
    adapter = case.adapter
    market, position = adapter.dump_market(s.market), adapter.dump_position(s.position)
    assert adapter.load_market(market) == s.market
    assert adapter.load_position(position) == s.position
    assert adapter.dump_market(adapter.load_market(market)) == market
    assert adapter.dump_position(adapter.load_position(position)) == position
    assert load_prices(dump_prices(s.prices)) == s.prices


@every
def test_many_stored_positions_weigh_as_much_as_each_of_them(case: Case, s: Situation) -> None:
    """To the rounding of a float, in the same order and slots, whoever is beside it."""
    adapter = case.adapter
    if not isinstance(adapter, Weighable):
        return
    payload = adapter.dump_position(s.position)
    for count in (0, 1, 3):
        found = adapter.linears(s.market, [payload] * count)
        for side, counts, slots, weights in (
            ("collateral", found.collateral_counts, found.collateral_slots, found.collateral_weights),
            ("requirement", found.requirement_counts, found.requirement_slots, found.requirement_weights),
        ):
            entries = getattr(adapter.linear(s.market, s.position), side)
            assert list(counts) == [len(entries)] * count
            assert list(slots) == [slot for slot, _ in entries] * count
            assert list(weights) == pytest.approx([weight for _, weight in entries] * count, rel=1e-14, abs=0)
    with pytest.raises(DecodeError):
        adapter.linears(s.market, [payload, b"nonsense"])


def test_a_corrupt_stored_form_is_a_decode_error(case: Case) -> None:
    for load in (case.adapter.load_market, case.adapter.load_position):
        for payload in (b"", b"{}", b"[]", b"\xff", b"[1]", b'{"pool": 1}', b"null"):
            with pytest.raises(DecodeError):
                load(payload)


# --- purity -----------------------------------------------------------------------------------------------------------


@every
def test_judging_changes_nothing_and_remembers_nothing(case: Case, s: Situation) -> None:
    """The same question in between others about another moment gives the same answer; the values asked about stay."""
    adapter = case.adapter
    before = adapter.dump_market(s.market), adapter.dump_position(s.position), dump_prices(s.prices)

    def everything(now: int) -> list[Any]:
        return [
            adapter.health(s.market, s.prices, s.position, now),
            adapter.assess(s.market, s.prices, s.position, now),
            adapter.demands(s.market, s.prices, s.position, now, 5 * WAD // 4),
            adapter.breach_prices(s.market, s.prices, s.position, now),
            repr(list(adapter.factors(s.market, s.prices, now))),
            repr(adapter.linear(s.market, s.position)),
            adapter.plan(s.market, s.prices, s.key, s.position, now, s.rich, RECEIVER),
        ]

    first = everything(s.now)
    everything(s.now + 100)
    assert everything(s.now) == first
    assert (adapter.dump_market(s.market), adapter.dump_position(s.position), dump_prices(s.prices)) == before
    assert first[1].health == first[0]


# --- logs -------------------------------------------------------------------------------------------------------------


def fold(case: Case, logs: Sequence[Log]) -> None:
    """Everything that looks at logs, as far as it goes without the chain."""
    adapter, market = case.adapter, case.log_market
    list(adapter.touches(market, logs))
    list(adapter.liquidations(market, logs))
    block = Block(BlockRef(1, b"\x01" * 32), b"", 1_800_000_000)
    calls: list[Call] = [*adapter.head_calls(market)]
    reads = adapter.sync(Book(market), block, logs, [bytes(32)] * len(calls))
    with suppress(StopIteration):
        next(reads)


def test_liquidations_are_told_by_the_logs_that_are_asked_for_them(case: Case) -> None:
    """Whoever follows a few accounts by state alone asks for no others."""
    adapter, market = case.adapter, case.log_market
    if isinstance(adapter, Watchable):
        asked = adapter.liquidation_filter(market)
        needed = [
            log
            for log in case.logs
            if bytes.fromhex(log.address[2:]) in asked.addresses and bytes.fromhex(log.topics[0][2:]) in asked.topics
        ]
        assert 0 < len(needed) < len(case.logs)
        assert adapter.liquidations(market, needed) == adapter.liquidations(market, case.logs)


def test_every_event_passes_the_filter_and_says_something(case: Case) -> None:
    """Each example touches a position, or makes a block read something again, or is a liquidation."""
    adapter, market = case.adapter, case.log_market
    wanted = adapter.filter(market)
    assert wanted.addresses
    assert all(len(address) == 20 for address in wanted.addresses)
    assert all(len(word) == 32 for word in wanted.topics)
    for log in case.logs:
        assert bytes.fromhex(log.address[2:]) in wanted.addresses
        assert bytes.fromhex(log.topics[0][2:]) in wanted.topics
        fold(case, [log])
    assert list(adapter.touches(market, case.logs))
    assert len(adapter.liquidations(market, case.logs)) >= 1
    for seen in adapter.liquidations(market, case.logs):
        assert adapter.account(seen.key) == seen.account


def mangled(log: Log, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Log:
    """The log with something missing, too much, or not what it should be."""
    topics, data = list(log.topics), log.data
    kind = draw(st.integers(0, 6))
    if kind == 0:
        topics = topics[: draw(st.integers(0, len(topics)))]
    elif kind == 1:
        topics.append(draw(st.sampled_from(topics)))
    elif kind == 2:
        data = data[: draw(st.integers(0, len(data)))]
    elif kind == 3:
        data += draw(st.text("0123456789abcdef", max_size=130))
    elif kind == 4 and len(topics) > 1:
        place = draw(st.integers(1, len(topics) - 1))
        topics[place] = draw(
            st.one_of(st.text(max_size=70), st.binary(min_size=32, max_size=32).map(lambda b: "0x" + b.hex()))
        )
    elif kind == 5 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.characters()) + data[at + 1 :]
    else:
        data = "0x" + draw(st.binary(max_size=len(data))).hex()
    return dataclasses.replace(log, topics=tuple(topics), data=data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_that_is_not_what_it_should_be_is_a_decode_error_and_nothing_else(kind: str) -> None:
    found = case_of(kind)

    @settings(max_examples=600)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        log = data.draw(st.sampled_from(found.logs))
        with suppress(DecodeError):
            fold(found, [mangled(log, data.draw)])

    check()


# --- the screen -------------------------------------------------------------------------------------------------------


def columns_of(case: Case, s: Situation) -> Columns:
    columns = Columns()
    columns.put(s.key, case.adapter.linear(s.market, s.position))
    return columns


@every
def test_the_screen_never_misses_what_the_integers_find(case: Case, s: Situation) -> None:
    """Nor does it ever hold for surely below what is not. Both at the moment of the block and an hour later."""
    adapter = case.adapter
    columns, slack = columns_of(case, s), adapter.slack(s.market)
    if columns.row(s.key) is None:  # nothing required: never looked at
        assert health_of(case, s).factor_wad is None
        return
    for now in (s.now, s.now + 3600):
        health = adapter.health(s.market, s.prices, s.position, now)
        vector = vector_of(adapter.factors(s.market, s.prices, now))
        collateral, requirement = columns.totals(vector)
        for threshold in THRESHOLDS:
            factor = health.factor_wad
            below = factor is not None and factor < round(threshold * 100) * WAD // 100
            candidate = bool(maybe_below(collateral, requirement, threshold, slack)[0])
            if below or health.unpriced_assets or (threshold == 1.0 and health.liquidatable):
                assert candidate, health
            limits = vector_of([threshold] * len(collateral))[2:]
            if bool(surely_below(collateral, requirement, limits, vector, slack)[0]):
                assert below, health


@every
def test_without_a_price_nothing_is_concluded(case: Case, s: Situation) -> None:
    """Health is unknown, the screen sends the position to exact judgement, and nobody is liquidated for it."""
    adapter = case.adapter
    health = adapter.health(s.market, {}, s.position, s.now)
    assume(health.unpriced_assets)
    assert health.factor_wad is None
    assert not health.liquidatable
    assert adapter.demands(s.market, {}, s.position, s.now, 2 * WAD) == ()
    assert adapter.breach_prices(s.market, {}, s.position, s.now) == ()
    assert isinstance(adapter.plan(s.market, {}, s.key, s.position, s.now, s.rich, RECEIVER), Skip)
    columns = columns_of(case, s)
    assume(columns.row(s.key) is not None)
    totals = columns.totals(vector_of(adapter.factors(s.market, {}, s.now)))
    assert maybe_below(*totals, 1.0, adapter.slack(s.market))[0]


@every
def test_a_factor_is_proportional_to_the_price_it_follows_and_to_no_other(case: Case, s: Situation) -> None:
    adapter, now = case.adapter, s.now
    follows, before = adapter.follows(s.market), adapter.factors(s.market, s.prices, now)
    assert len(follows) == len(before)
    for asset in {one for one in follows if one in s.prices}:
        price = s.prices[asset]
        doubled = {**s.prices, asset: dataclasses.replace(price, value=2 * price.value)}
        for followed, old, new in zip(follows, before, adapter.factors(s.market, doubled, now), strict=True):
            if not math.isnan(old):
                assert math.isclose(new, 2 * old if followed == asset else old, rel_tol=1e-9, abs_tol=1e-30)


def test_the_same_market_has_the_same_weights(case: Case) -> None:
    assert case.adapter.same_weights(case.log_market, case.log_market)


# --- cures ------------------------------------------------------------------------------------------------------------


def is_restored(health: Health, target_wad: int) -> bool:
    """It reaches the target, and is not open to liquidation for another reason than its health either."""
    factor = health.factor_wad
    return not health.liquidatable and (factor is None or factor >= target_wad)


@every
def test_a_demand_cures_and_one_unit_less_does_not(case: Case, s: Situation) -> None:
    target = 5 * WAD // 4
    for demand in case.adapter.demands(s.market, s.prices, s.position, s.now, target):
        cured = health_of(case, case.obeyed(s, demand, demand.amount))
        assert cured.factor_wad == demand.resulting_health_wad
        assert is_restored(cured, target)
        if demand.amount > 1:
            short = health_of(case, case.obeyed(s, demand, demand.amount - 1))
            worthless = short.factor_wad is None and cured.factor_wad is None  # the last unit of all that is owed
            assert worthless or not is_restored(short, target)


@pytest.mark.parametrize("kind", KINDS)
def test_its_demands_are_proven_on_chain(kind: str) -> None:
    """The property above asks our own integers; what restores the target on the real contracts, and that one unit less
    does not, is shown by a test of this name in tests/integration/test_<protocol>_*.py."""
    if not Path(plugin(keeper.protocols.__name__, kind).__file__ or "").is_relative_to(_REPOSITORY / "keeper"):
        pytest.skip("a protocol from outside, which is proven where it is at home")
    prefix = kind.partition("_")[0]
    found = [
        node.name
        for path in sorted((_REPOSITORY / "tests" / "integration").glob(f"test_{prefix}*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert [name for name in found if "demand" in name and name.endswith("on_chain_and_one_unit_less_does_not")], found


@every
def test_every_asset_of_a_position_is_known_by_name(case: Case, s: Situation) -> None:
    """Also when no position has it any more: what a liquidation took is told after it is gone."""
    assessment = case.adapter.assess(s.market, s.prices, s.position, s.now)
    for holding in (*assessment.collaterals, *assessment.debts):
        token = case.adapter.token(s.market, holding.asset)
        assert token == Token(holding.symbol, holding.decimals)
    assert case.adapter.token(s.market, b"\x00" * 19 + b"\x01") is None
    assert isinstance(case.adapter.currency(s.market), str)


@every
def test_a_healthy_position_has_no_demand(case: Case, s: Situation) -> None:
    health = health_of(case, s)
    if (factor := health.factor_wad) is not None and is_restored(health, factor):
        assert case.adapter.demands(s.market, s.prices, s.position, s.now, factor) == ()


# --- liquidations -----------------------------------------------------------------------------------------------------


@every
def test_only_what_is_liquidatable_is_planned_and_within_its_limits(case: Case, s: Situation) -> None:
    """By the wallet, whose every unit is counted, and by whoever pays for a pair."""
    adapter, health = case.adapter, health_of(case, s)
    view = adapter.assess(s.market, s.prices, s.position, s.now)
    held = {one.asset: one.amount for one in view.collaterals}
    owed = {one.asset: one.amount for one in view.debts}

    def check(plan: LiquidationPlan, most: int) -> None:
        assert health.liquidatable
        assert plan.repay_assets <= most
        assert plan.expected_repaid_assets <= plan.repay_assets
        assert plan.expected_repaid_assets <= owed.get(plan.debt_asset, 0)
        assert plan.expected_seized_assets <= held[plan.collateral_asset]
        assert plan.account == adapter.account(s.key)
        assert (plan.call.to, plan.call.data[:4]) in adapter.entry_points(s.market)
        assert plan.debt_asset in adapter.wallet_tokens(s.market)
        if plan.approval is not None:
            token, spender, amount = plan.approval
            assert token == plan.debt_asset
            assert spender in adapter.spenders(s.market)
            assert plan.expected_repaid_assets <= amount <= most

    for part in (1, 2, 1000):
        wallet = {token: amount // part for token, amount in s.rich.items()}
        plan = adapter.plan(s.market, s.prices, s.key, s.position, s.now, wallet, RECEIVER)
        if isinstance(plan, LiquidationPlan):
            check(plan, wallet[plan.debt_asset])
    pairs = adapter.pairs(s.market, s.prices, s.key, s.position, s.now, RECEIVER)
    for pair in () if isinstance(pairs, Skip) else pairs:
        for part in (1, 3, 1000):
            most = math.ceil(pair.most_assets / part)
            sized = pair.plan(most)
            if isinstance(sized, LiquidationPlan):
                assert (sized.debt_asset, sized.collateral_asset) == (pair.debt_asset, pair.collateral_asset)
                check(sized, most)
    if not health.liquidatable:
        assert isinstance(pairs, Skip)


@every
def test_a_plan_judged_again_at_its_own_moment_is_itself(case: Case, s: Situation) -> None:
    """Where an adapter says what an earlier call does now. What is within a hair of failing it may hold back."""
    adapter = case.adapter
    plan = adapter.plan(s.market, s.prices, s.key, s.position, s.now, s.rich, RECEIVER)
    if not isinstance(adapter, Rejudges) or isinstance(plan, Skip):
        return
    again = adapter.rejudge(s.market, s.prices, s.key, s.position, s.now, plan, RECEIVER)
    assert again == plan or (isinstance(again, Skip) and again.code != "healthy")


def test_an_empty_wallet_liquidates_nothing(case: Case) -> None:
    """Where a liquidation costs it tokens: margin that it keeps elsewhere is the simulation's to find missing."""
    if not case.wallet_pays:
        return

    @settings(max_examples=20)
    @given(case.situations)
    def check(s: Situation) -> None:
        assert isinstance(case.adapter.plan(s.market, s.prices, s.key, s.position, s.now, {}, RECEIVER), Skip)

    check()


def test_any_revert_data_is_explained(case: Case) -> None:
    @given(st.binary(max_size=200))
    def check(revert: bytes) -> None:
        assert case.adapter.explain_revert(revert)

    check()


# --- parity -----------------------------------------------------------------------------------------------------------


def answers(count: int) -> Iterator[list[bytes | None]]:
    yield [None] * count
    yield [b"\x01"] * count
    yield [b"\xff" * 31] * count


@every
def test_it_can_be_held_against_the_contracts(case: Case, s: Situation) -> None:
    """The calls that confirm a position are answered under the names of its own view, or not at all."""
    adapter = case.adapter
    calls = adapter.confirm_calls(s.market, s.key)
    assert calls
    assert all(len(call.target) == 20 and len(call.data) >= 4 for call in calls)
    assert adapter.assess(s.market, s.prices, s.position, s.now).native
    for results in answers(len(calls)):
        with pytest.raises(DecodeError):
            adapter.native_view(results)


@every
def test_what_moves_its_prices_is_found_whatever_contracts_answer(case: Case, s: Situation) -> None:
    """Few round trips that end, contracts by address, and assets that each can be somebody's price."""
    for answer in (None, b"", bytes(32), b"\x11" * 20, (b"\x22" * 20).rjust(32, b"\0"), b"\xff" * 64):
        reads = case.adapter.feeds(s.market)
        try:
            calls = next(reads)
            for _ in range(16):
                calls = reads.send([answer] * len(calls))
            pytest.fail("the search for what prices stand on does not end")
        except StopIteration as done:
            found = done.value
        assert all(len(contract) == 20 and assets for contract, assets in found.items())
