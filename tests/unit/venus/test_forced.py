"""A market whose debts may be liquidated at any health, as governance does before it delists one: what cures that."""

from __future__ import annotations

from eth_utils.address import to_checksum_address

from keeper.core.types import Block, BlockRef, Book
from keeper.core.units import WAD
from keeper.evaluator.directory import Directory
from keeper.evaluator.judge import Judge
from keeper.evaluator.tell import tell
from keeper.protocols.venus.demand import minted, repaid
from keeper.protocols.venus.sheet import accrued_at, sheet
from keeper.protocols.venus.state import Account, Debt, Market
from tests.support.venus_market import ACCOUNT, BLOCK, NOW, adapter, asset, market, prices, vmarket, vtoken
from tests.unit.evaluator.builders import RULES

IDLE = vmarket(0)
TOKEN = (IDLE.cash + IDLE.total_borrows - IDLE.total_reserves) * WAD // IDLE.total_supply
TARGET = 5 * WAD // 4


def pool_of(*forced: bool) -> Market:
    """A collateral, and a market to owe in for each."""
    return market(IDLE, *(vmarket(1 + number, forced=one) for number, one in enumerate(forced)))


def owing(*dollars: int) -> Account:
    """Against 10,000 dollars."""
    debts = tuple(Debt(vtoken(1 + number), owed * WAD, WAD) for number, owed in enumerate(dollars))
    entered = tuple(vtoken(number) for number in range(1 + len(debts)))
    return Account(entered, ((vtoken(0), 10_000 * WAD * WAD // TOKEN),), debts)


def demanded(pool: Market, account: Account) -> list[tuple[str, bytes, int]]:
    """In whole units. Whoever obeys one is out of danger."""
    priced, judge = prices(pool, dict.fromkeys(range(len(pool.markets)), 1.0)), adapter()
    found = judge.demands(pool, priced, account, NOW, TARGET)
    for demand in found:
        line = sheet(pool, priced, account, accrued_at(pool, priced, NOW)).line(pool.by_asset[demand.asset].vtoken)
        act = repaid if demand.action == "repay" else minted
        after = sheet(pool, priced, account, accrued_at(pool, priced, NOW)).with_line(act(line, demand.amount))
        assert not after.short and not after.forced
        assert after.health_wad is None or after.health_wad >= TARGET
    return [(demand.action, demand.asset, demand.amount // WAD) for demand in found]


def test_only_all_of_a_forced_debt_is_asked_for() -> None:
    """However healthy the account is: a top-up, or a part of the debt, would keep nobody from liquidating the rest."""
    assert demanded(pool_of(True), owing(7_000)) == [("repay", asset(1), 7_000)]
    assert demanded(pool_of(True), owing(2_000)) == [("repay", asset(1), 2_000)]
    assert demanded(pool_of(True, False), owing(2_000, 3_000)) == [("repay", asset(1), 2_000)]


def test_nothing_is_asked_for_that_does_not_cure_alone() -> None:
    """Two forced debts; or another one beside, of which too much is owed."""
    assert demanded(pool_of(True, True), owing(2_000, 2_000)) == []
    assert demanded(pool_of(True, False), owing(1_000, 7_000)) == []
    assert len(demanded(pool_of(False, False), owing(1_500, 6_000))) == 3


def test_no_price_makes_a_forced_debt_safe() -> None:
    pool, priced = pool_of(True), prices(pool_of(True), {0: 1.0, 1: 1.0})
    assert adapter().breach_prices(pool, priced, owing(7_000), NOW) == ()
    assert len(adapter().breach_prices(pool_of(False), priced, owing(7_000), NOW)) == 1


def told(pool: Market, account: Account) -> str:
    book = Book(pool, prices(pool, dict.fromkeys(range(len(pool.markets)), 1.0)), {ACCOUNT: account})
    judge = Judge(adapter(), RULES)
    judge.reload(book, ())
    block = Block(BlockRef(BLOCK, b"\x01" * 32), b"\x00" * 32, NOW)
    ruling = judge.judge(book, block, changed={ACCOUNT: account}, also_at=NOW)
    [out] = tell(judge, book, ruling, {}, lambda due, who: ("hook",), Directory(to_checksum_address)).notices
    return out.notice.text


def test_owners_are_told_that_it_is_open_at_any_health_and_what_ends_that() -> None:
    one, two = told(pool_of(True), owing(2_000)), told(pool_of(True, True), owing(2_000, 2_000))
    assert "Open at any health until it is repaid in full, interest included:\n  - repay 2,000 T1" in one
    assert "No single deposit or repayment that the protocol takes now keeps it from being liquidated." in two
    for said in one, two:
        assert "restore" not in said and "No longer open" not in said
