"""The whole house liquidating on the real Morpho: from the wallet, with borrowed money, and with nobody's money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from keeper.config.load import load_config
from keeper.core.records import Intent, IntentStatus
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.devnet.morpho import MorphoMarket
from keeper.preflight import findings
from keeper.protocols.addresses import checksummed
from keeper.wire import House
from tests.support.contract_house import Contract, Running, running

_BURNS = "0x5b600056"  # a loop without end
PROTOCOLS = ("aave_v3", "morpho_blue")


@pytest.fixture
def contract() -> Iterator[Contract]:
    """Blocks are mined by hand, each action in its own."""
    with DevChain.start(manual_mining=True) as chain:
        contract = Contract.deployed(chain)
        contract.allow_morpho()
        yield contract


def borrow(market: MorphoMarket, number: int, debt: int, collateral: int = 10) -> str:
    who = market_account(market, number)
    market.supply_collateral(who, Decimal(collateral))
    market.borrow(who, Decimal(debt))
    return who


def market_account(market: MorphoMarket, number: int) -> str:
    who = f"0x{number + 0xB0B0000:040x}"
    market.client.rpc("anvil_setBalance", who, hex(10**19))
    return who


def fall(chain: DevChain, dollars: int) -> None:
    """The pool first: the price that opens the position is the last thing that happens."""
    chain.move_pool("WETH", Decimal(dollars))
    chain.set_price("WETH", Decimal(dollars))


async def settled(keeper: Running) -> list[Intent]:
    """At the very second that plans were made for, and three blocks on."""
    landing_at = max(intent.plan["judged_at"] for intent in keeper.liquidations())
    keeper.chain.rpc("evm_setNextBlockTimestamp", landing_at)
    await keeper.mine(4)
    assert {intent.status for intent in keeper.liquidations()} == {IntentStatus.CONFIRMED}
    return keeper.liquidations()


@pytest.mark.parametrize("lenders", [["own"], ["aave_v3", "morpho"]])
async def test_a_callback_pays_a_liquidation_that_nobody_lends_for(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenders: Sequence[str]
) -> None:
    """What is seized is sold before anything is repaid: the wallet and the contract hold no token before, nobody is
    paid a fee, and the profit is as expected to the wei. Free loans cost more gas, so it is preferred to them."""
    chain, market = contract.chain, contract.chain.morpho.main
    who = borrow(market, 1, 16_900)
    async with running(contract, tmp_path, monkeypatch, lenders=lenders, protocols=PROTOCOLS) as keeper:
        fall(chain, 1_940)
        await keeper.follow()
        [intent] = await settled(keeper)
        financing = intent.plan["financing"]
        assert (financing["funding"], financing["fee_assets"]) == ("callback", "0")
        assert contract.holds("USDC") == int(financing["gain_assets"]) > 0
        assert contract.holds("WETH") == 0
        assert intent.position == f"morpho:{checksummed(bytes.fromhex(who[2:]))}:0x{market.id.hex()}"
        assert market.position(who).borrow_shares == 0
        assert {one.kind for one in keeper.store.intents()} == {"liquidation"}
        assert intent.repaid_assets == int(intent.plan["expected_repaid_assets"])
        assert intent.seized_assets == int(intent.plan["expected_seized_assets"])
        causes = {cause for cause, amount in intent.realized["difference"].items() if amount != "0"}
        assert causes <= {"gas"}, "nothing but the gas of a block differs"
        assert intent.realized["statement"]["proceeds"] == intent.plan["expected"]["proceeds"]


async def test_bad_debt_is_liquidated_for_all_of_its_collateral(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the collateral no longer covers the debt with the incentive, what is left of it is the suppliers'."""
    chain, market = contract.chain, contract.chain.morpho.main
    who = borrow(market, 1, 16_900)
    async with running(contract, tmp_path, monkeypatch, lenders=["own"], protocols=PROTOCOLS) as keeper:
        fall(chain, 1_500)
        await keeper.follow()
        [intent] = await settled(keeper)
        assert intent.seized_assets == 10 * 10**18
        assert intent.repaid_assets is not None
        assert intent.repaid_assets < 15_000 * 10**6
        position = market.position(who)
        assert (position.borrow_shares, position.collateral_assets) == (0, 0)


async def test_an_account_is_liquidated_in_the_market_where_it_must_be_and_in_no_other(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions are isolated: the same account's other positions, on Morpho and on Aave, stay as they are."""
    chain, weak = contract.chain, contract.chain.morpho.main
    strong = chain.morpho.add_market("WETH", "USDC", lltv_wad=945 * 10**15)
    strong.supply(chain.accounts[3], Decimal(1_000_000))
    who = borrow(weak, 1, 16_900)
    borrow(strong, 1, 5_000)
    chain.aave.supply(who, "WETH", Decimal(10))
    chain.aave.borrow(who, "USDC", Decimal(5_000))
    async with running(contract, tmp_path, monkeypatch, protocols=PROTOCOLS) as keeper:
        fall(chain, 1_940)
        await keeper.follow()
        [intent] = await settled(keeper)
        assert intent.position.endswith(weak.id.hex())
        assert weak.position(who).borrow_shares == 0
        assert strong.position(who).borrow_shares > 0
        assert chain.aave.debt(who, "USDC") >= 5_000 * 10**6


async def test_the_wallet_pays_when_there_is_no_contract_to_sell(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It approves Morpho once, repays and keeps what is seized, where the exchange pays too little for it."""
    chain, market = contract.chain, contract.chain.morpho.main
    who = borrow(market, 1, 16_900)
    chain.fund_liquidator()
    async with running(contract, tmp_path, monkeypatch, inventory=True, protocols=PROTOCOLS) as keeper:
        chain.move_pool("WETH", Decimal(1_700))  # where selling loses
        chain.set_price("WETH", Decimal(1_940))
        await keeper.follow()
        [intent] = await settled(keeper)
        assert "financing" not in intent.plan
        assert {one.kind for one in keeper.store.intents()} == {"liquidation", "approval"}
        assert market.position(who).borrow_shares == 0


async def test_a_loan_token_without_a_reference_is_judged_and_not_liquidated(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it calls itself: nobody but the configuration says what a token is worth."""
    chain = contract.chain
    chain.tokens.add("FAKE", 6, Decimal(1))
    market = chain.morpho.add_market("WETH", "FAKE")
    market.supply(chain.accounts[3], Decimal(1_000_000))
    who = borrow(market, 1, 16_900)
    del chain.tokens.by_symbol["FAKE"]
    async with running(contract, tmp_path, monkeypatch, protocols=PROTOCOLS) as keeper:
        with capture_logs() as logs:
            fall(chain, 1_940)
            await keeper.follow()
        assert keeper.liquidations() == []
        refused = [entry for entry in logs if entry.get("reason") == "unreferenced" or "unreferenced" in str(entry)]
        assert refused, [entry["event"] for entry in logs]
        assert market.position(who).borrow_shares > 0


async def test_check_names_what_the_contract_may_not_call(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(contract, tmp_path, monkeypatch, protocols=PROTOCOLS) as keeper:
        lines = [finding async for finding in findings(keeper.house)]
        assert {line.what: line.detail for line in lines if not line.ok} == {}
        assert [line for line in lines if line.what == "liquidator to morpho"]
        assert any("morpho market" in line.what for line in lines)


async def test_a_position_is_liquidated_by_the_offer_that_its_owner_authorized(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With borrowed money, since an offer is paid at once: in part, before Morpho itself would, as expected."""
    chain, market = contract.chain, contract.chain.morpho.main
    who = borrow(market, 1, 15_000)
    offer = market.offer_pre_liquidation(80 * 10**16, (30 * 10**16, 90 * 10**16), (103 * 10**16, 105 * 10**16))
    market.authorize(who, offer)
    contract.liquidator.allow_call(offer, "preLiquidate(address,uint256,uint256,bytes)")
    async with running(contract, tmp_path, monkeypatch, lenders=["aave_v3", "morpho"], protocols=PROTOCOLS) as keeper:
        fall(chain, 1_800)
        await keeper.follow()
        intent = (await settled(keeper))[0]
        assert intent.plan["financing"]["funding"] == "morpho"
        assert intent.repaid_assets == int(intent.plan["expected_repaid_assets"])
        assert intent.seized_assets == int(intent.plan["expected_seized_assets"])
        assert 0 < market.position(who).owed_assets < 15_000 * 10**6
        assert contract.holds("USDC") >= int(intent.plan["financing"]["gain_assets"]) > 0


async def test_contracts_made_to_burn_gas_hinder_nobody_else(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can create a market with them, as oracle and as token: it is marked, and all the others go on."""
    chain, market = contract.chain, contract.chain.morpho.main
    hostile = chain.morpho.add_market("WETH", "USDC", oracle="0x" + "0e" * 20)
    token = chain.tokens["DAI"]
    hostile.supply_collateral(chain.accounts[4], Decimal(1))
    who = borrow(market, 1, 16_900)
    async with running(contract, tmp_path, monkeypatch, protocols=PROTOCOLS) as keeper:
        chain.rpc("anvil_setCode", "0x" + "0e" * 20, _BURNS)
        code = chain.rpc("eth_getCode", token.address, "latest")
        chain.rpc("anvil_setCode", token.address, _BURNS)
        chain.morpho.add_market("WETH", "DAI", oracle="0x" + "0e" * 20)
        chain.rpc("anvil_setCode", token.address, code)
        fall(chain, 1_940)
        await keeper.follow()
        [intent] = await settled(keeper)
        assert market.position(who).borrow_shares == 0
        [morpho] = [track for track in keeper.pipeline.tracks if track.name == "morpho"]
        assert hostile.id not in morpho.book.prices
        assert market.id in morpho.book.prices
        assert len(morpho.book.market.lendings) == 3
        assert intent.position.endswith(market.id.hex())


async def test_check_before_the_first_index_says_that_no_market_is_known_yet(
    dev_chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Morpho does not list its markets, so nothing can be said of them; that is no failure."""
    monkeypatch.setenv("KEEPER_PRIVATE_KEY", dev_chain.liquidator.private_key)
    file = write_config(tmp_path / "keeper.toml", dev_chain, mode="live", notifiers=(), protocols=["morpho_blue"])
    lines = {line.what: line async for line in findings(House(file, load_config(file)))}
    assert lines["morpho market"].ok
    assert lines["executor tokens"].ok
    assert "run `keeper backfill`" in lines["executor tokens"].detail
