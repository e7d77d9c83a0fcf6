"""The whole house liquidating on the real Aave with borrowed money: our contract sells on the real Uniswap."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from keeper.preflight import findings
from keeper.queries.views import liquidation_rows
from tests.support.contract_house import LENDERS, Contract, Running, running
from tests.support.relay import open_relay


@pytest.fixture
def contract() -> Iterator[Contract]:
    """Blocks are mined by hand, each action in its own."""
    with DevChain.start(manual_mining=True) as chain:
        yield Contract.deployed(chain)


def borrow(chain: DevChain, number: int, dollars: int = 15_500, ether: int | Decimal = 10) -> str:
    who = chain.make_account(number, Decimal(5))
    chain.aave.supply(who, "WETH", Decimal(ether))
    chain.aave.borrow(who, "USDC", Decimal(dollars))
    return who


def fall(chain: DevChain, dollars: int) -> None:
    """The pool first: the price that opens the position is the last thing that happens."""
    chain.move_pool("WETH", Decimal(dollars))
    chain.set_price("WETH", Decimal(dollars))


async def mine_as_planned(keeper: Running) -> None:
    """A block at the very second that plans were made for: with every second a whole debt is a little larger."""
    landing_at = max(intent.plan["judged_at"] for intent in keeper.liquidations())
    keeper.chain.rpc("evm_setNextBlockTimestamp", landing_at)
    await keeper.mine()


@pytest.mark.parametrize("lender", LENDERS)
async def test_each_lender_pays_a_liquidation_whose_profit_is_as_expected_to_the_wei(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lender: str
) -> None:
    """The wallet holds no token and approves none; when nothing else trades in between, what was expected is what the
    contract has more of in the end."""
    chain = contract.chain
    borrow(chain, 1)
    if lender == "own":
        chain.fund(contract.address, "USDC", Decimal(20_000))
    before = contract.holds("USDC")
    async with running(contract, tmp_path, monkeypatch, lenders=[lender]) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        await mine_as_planned(keeper)
        await keeper.mine(3)
        [intent] = keeper.liquidations()
        assert intent.status is IntentStatus.CONFIRMED
        financing = intent.plan["financing"]
        assert financing["funding"] == lender
        assert contract.holds("USDC") - before == int(financing["gain_assets"]) > 0
        assert contract.holds("WETH") == 0
        assert_as_expected(intent)
        brought = int(financing["gain_assets"]) * chain.price("USDC") // 10**6
        assert intent.profit_realized == pytest.approx(brought - gas_value(chain, intent), abs=1)
        assert {i.kind for i in keeper.store.intents()} == {"liquidation"}
        [row] = liquidation_rows(keeper.store)
        assert row["financing"] == financing


async def test_a_builder_is_paid_its_share_of_the_profit_and_that_counts(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In native coin sent along, by our contract, only when the plan succeeds; the rest of the profit is ours."""
    chain, builder = contract.chain, "0x" + "b1" * 20
    borrow(chain, 1)
    chain.rpc("anvil_setCoinbase", builder)
    with open_relay(chain.anvil) as relay:
        submitters = [{"kind": "bundle", "url": relay.url, "builder_tip": "0.25"}]
        async with running(contract, tmp_path, monkeypatch, lenders=["morpho"], submitters=submitters) as keeper:
            fall(chain, 1_780)
            await keeper.follow()
            before = int(chain.rpc("eth_getBalance", builder, "latest"), 16)
            chain.rpc("evm_setNextBlockTimestamp", keeper.liquidations()[0].plan["judged_at"])
            relay.build()
            await keeper.follow()
            [intent] = keeper.liquidations()
            assert_as_expected(intent)
            statement, [attempt] = intent.realized["statement"], intent.attempts
            tip_wei = int(statement["tip_wei"])
            earned = int(chain.rpc("eth_getBalance", builder, "latest"), 16) - before
            assert earned == tip_wei + (intent.gas_used or 0) * attempt.max_priority_fee_wei
            tip = tip_wei * chain.price("WETH") // 10**18
            assert intent.profit_realized is not None
            assert tip == pytest.approx((intent.profit_realized + tip) / 4, rel=0.01)
            assert contract.holds("USDC") == int(intent.plan["financing"]["gain_assets"])


async def test_of_all_lenders_the_one_that_leaves_most(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Morpho lends for nothing and costs the least gas to ask; what the contract holds itself is cheaper still."""
    chain = contract.chain
    borrow(chain, 1)
    borrow(chain, 2)
    async with running(contract, tmp_path, monkeypatch) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        assert {i.plan["financing"]["funding"] for i in keeper.liquidations()} == {"morpho"}
        await keeper.mine(2)
        chain.fund(contract.address, "USDC", Decimal(20_000))
        borrow(chain, 3, 13_500)
        await keeper.follow()
        fall(chain, 1_600)
        await keeper.follow()
        newest = max(keeper.liquidations(), key=lambda intent: intent.judged_number)
        assert newest.plan["financing"]["funding"] == "own"


async def test_where_liquidity_is_thin_the_part_that_earns_most_is_liquidated(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of $15.5 million would move a pool of $20 million by far more than the bonus; no other amount, quoted by the
    real pool, earns a thousandth more than the chosen one."""
    chain = contract.chain
    borrow(chain, 1, 15_500_000, 10_000)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        [planned] = keeper.liquidations()
        financing = planned.plan["financing"]
        repaid, seized = (int(planned.plan[f"expected_{what}_assets"]) for what in ("repaid", "seized"))
        gain = int(financing["gain_assets"])
        assert 0 < repaid < 1_000_000 * 10**6
        for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99, 101, 105, 110, 125, 150, 200, 400, 1_000):
            other = chain.quote("WETH", "USDC", seized * percent // 100) - repaid * percent // 100
            assert other <= gain + gain // 1_000
        await mine_as_planned(keeper)
        assert contract.holds("USDC") == gain


async def test_a_sale_that_would_eat_the_bonus_is_never_sent(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle says $1,780, the pool pays $1,600: the loss is named, with its numbers, and nothing is sent until the
    pool follows."""
    chain = contract.chain
    borrow(chain, 1)
    async with running(contract, tmp_path, monkeypatch) as keeper:
        chain.move_pool("WETH", Decimal(1_600))
        chain.set_price("WETH", Decimal(1_780))
        with capture_logs() as logs:
            await keeper.follow()
        [skip] = [entry for entry in logs if entry["event"] == "liquidation_skipped"]
        assert skip["code"] == "price_impact"
        assert "uniswap_v3 3000" in skip["detail"]
        assert keeper.store.intents() == []
        chain.move_pool("WETH", Decimal(1_780))
        await keeper.follow()
        await keeper.mine(2)
        assert contract.holds("USDC") > 0


async def test_fifty_in_one_block_take_what_the_pool_gives_and_the_rest_when_it_recovers(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is planned and simulated at the price that those before it leave; who would lose waits until somebody has
    traded the pool back. In the end all are done, none twice, and together they gained to the wei what was expected."""
    chain = contract.chain
    accounts = [chain.make_account(number, Decimal(5)) for number in range(50)]
    with chain.one_block():
        for who in accounts:
            chain.aave.supply(who, "WETH", Decimal(10))
    with chain.one_block():
        for number, who in enumerate(accounts):
            chain.aave.borrow(who, "USDC", Decimal(15_500) + number)
    async with running(contract, tmp_path, monkeypatch) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        at_first = keeper.liquidations()
        assert 10 < len(at_first) < 50
        await mine_as_planned(keeper)
        assert {intent.status for intent in keeper.liquidations()} == {IntentStatus.INCLUDED}
        while len(keeper.liquidations()) < 50:
            chain.move_pool("WETH", Decimal(1_780))
            await keeper.follow()
            await mine_as_planned(keeper)
        await keeper.mine(3)
        intents = keeper.liquidations()
        assert {intent.status for intent in intents} == {IntentStatus.CONFIRMED}
        assert len(intents) == len({intent.account for intent in intents}) == 50
        gains = [int(intent.plan["financing"]["gain_assets"]) for intent in intents]
        assert 0 < min(gains) < max(gains)
        assert contract.holds("USDC") == sum(gains)


async def test_a_pool_that_somebody_emptied_first_costs_gas_at_most(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between plan and block the price falls by more than the bonus: nothing is sold at a loss."""
    chain = contract.chain
    borrow(chain, 1)
    async with running(contract, tmp_path, monkeypatch) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        [planned] = keeper.liquidations()
        assert planned.status is IntentStatus.BROADCAST
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))  # ours waits while others trade
        chain.move_pool("WETH", Decimal(1_500))
        chain.mine()
        await keeper.mine(2)
        [intent] = keeper.liquidations()
        assert intent.status in (IntentStatus.FAILED, IntentStatus.ABANDONED)
        assert contract.holds("USDC") == contract.holds("WETH") == 0


async def test_a_reorg_under_them_is_settled_again_without_help(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes are mined again, once each, and the books say what the contract then holds."""
    chain = contract.chain
    for number in range(6):
        borrow(chain, number)
    async with running(contract, tmp_path, monkeypatch, lenders=["morpho"]) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        await keeper.mine()
        hashes = {intent.tx_hash for intent in keeper.liquidations()}
        assert contract.holds("USDC") > 0
        chain.reorg(1)
        assert contract.holds("USDC") == 0
        await keeper.follow()
        await keeper.mine(4)
        intents = keeper.liquidations()
        assert {intent.status for intent in intents} == {IntentStatus.CONFIRMED}
        assert {intent.tx_hash for intent in intents} == hashes
        worth = sum(int(i.profit_realized or 0) + gas_value(chain, i) for i in intents)
        assert worth == pytest.approx(contract.holds("USDC") * chain.price("USDC") // 10**6, abs=2 * len(intents))


def assert_as_expected(intent: Intent) -> None:
    """Amounts, fee, gas and profit, each to the last unit; nothing is left to be explained."""
    assert intent.realized["statement"] == intent.plan["expected"]
    assert intent.profit_realized == intent.profit_expected == int(intent.plan["expected"]["profit"])
    assert set(intent.realized["difference"].values()) == {"0"}


def gas_value(chain: DevChain, intent: Intent) -> int:
    """What its gas cost, in dollars with 8 decimals."""
    return int(intent.gas_cost_wei or 0) * chain.price("WETH") // 10**18


async def test_the_wallet_pays_where_that_leaves_more(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inventory beside the contract: with USDC in the wallet no sale and no fee is needed, and less gas."""
    chain = contract.chain
    borrow(chain, 1)
    chain.fund(chain.liquidator.address, "USDC", Decimal(20_000))
    async with running(contract, tmp_path, monkeypatch, inventory=True) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        await keeper.mine(2)
        [intent] = keeper.liquidations()
        assert "financing" not in intent.plan
        assert chain.balance(chain.liquidator.address, "WETH") == intent.seized_assets


@pytest.mark.parametrize("lender", LENDERS)
async def test_collateral_that_is_kept_is_the_profit_to_the_wei(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lender: str
) -> None:
    """Only what repays the loan is sold; a millionth of the debt is bought too much, in case that it grows."""
    chain = contract.chain
    borrow(chain, 1)
    if lender == "own":
        chain.fund(contract.address, "USDC", Decimal(20_000))
    before = contract.holds("USDC")
    async with running(contract, tmp_path, monkeypatch, lenders=[lender], keep_haircut_bps=0) as keeper:
        fall(chain, 1_780)
        await keeper.follow()
        await mine_as_planned(keeper)
        [intent] = keeper.liquidations()
        financing = intent.plan["financing"]
        spare = contract.holds("USDC") - before
        assert contract.holds("WETH") == int(financing["gain_assets"]) > 0
        assert 0 <= spare <= 20_000
        assert_as_expected(intent)
        brought = int(financing["gain_assets"]) * chain.price("WETH") // 10**18 + spare * chain.price("USDC") // 10**6
        assert intent.profit_realized == pytest.approx(brought - gas_value(chain, intent), abs=1)


async def test_what_would_have_to_be_sold_at_a_great_discount_is_sold_at_once(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    borrow(contract.chain, 1)
    async with running(contract, tmp_path, monkeypatch, keep_haircut_bps=1_000) as keeper:
        fall(contract.chain, 1_780)
        await keeper.follow()
        await keeper.mine()
        assert (contract.holds("USDC") > 0, contract.holds("WETH")) == (True, 0)


async def test_check_says_what_our_contract_may_not_do_yet(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is ready once the owner has allowed it; a wallet without tokens is no fault of a borrower."""
    async with running(contract, tmp_path, monkeypatch) as keeper:
        ready = [finding async for finding in findings(keeper.house)]
        assert [finding for finding in ready if not finding.ok] == []
        assert {"liquidator", "liquidator to aave", "liquidator to morpho"} <= {finding.what for finding in ready}
        contract.dismiss()
        faults = [finding async for finding in findings(keeper.house) if not finding.ok]
        assert {finding.what for finding in faults} == {"liquidator", "liquidator to morpho"}
        assert all("let " in finding.detail for finding in faults)
