"""Small accounts that are healed: all of their collateral for a part of what they owe, on the real pool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.core.records import IntentStatus
from keeper.core.types import Liquidated
from keeper.core.units import WAD
from keeper.devnet.chain import DevChain
from keeper.devnet.client import Receipt
from keeper.executor.breakers import Scale, loss_wad, outcome_of
from tests.support.contract_house import VENUS_REDEEM, Contract, following, running
from tests.support.daemon import deploy
from tests.support.inbox import open_inbox
from tests.support.venus_world import Follower

HEAL = "healAccount(address)"


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Blocks are mined by hand, each action in its own."""
    with DevChain.start(manual_mining=True) as chain:
        yield chain


def small(chain: DevChain) -> str:
    """Owes 55 USDC against 0.04 WETH, which a fall to 1,300 leaves worth 52 dollars."""
    who = chain.make_account(2)
    chain.venus.supply(chain.make_account(1), "USDC", Decimal(1_000_000))
    chain.venus.supply(who, "WETH", Decimal("0.04"))
    chain.venus.borrow(who, "USDC", Decimal(55))
    return who


def fall(chain: DevChain) -> None:
    chain.move_pool("WETH", Decimal(1_300))
    chain.set_price("WETH", Decimal(1_300))


def healed(chain: DevChain, healer: str, who: str) -> Receipt:
    """By somebody else, who has whatever is owed."""
    for symbol, vtoken in chain.venus.vtokens.items():
        chain.tokens.provide(healer, symbol, 10**24, vtoken)
    return chain.send(healer, chain.venus.comptroller, HEAL, who)


def asset(chain: DevChain, symbol: str) -> bytes:
    return bytes.fromhex(chain.tokens[symbol].address[2:])


def summed(events: list[Liquidated]) -> tuple[Counter[bytes], Counter[bytes]]:
    """What was repaid and what was seized of each asset."""
    repaid, seized = Counter[bytes](), Counter[bytes]()
    for one in events:
        repaid[one.debt_asset] += one.repaid_assets
        seized[one.collateral_asset] += one.seized_assets
    return repaid, seized


def test_a_heal_of_several_assets_is_told_with_all_that_it_took_and_paid(chain: DevChain) -> None:
    """Two debts, two collaterals, and one market that is both: of each asset what the healer paid, and what the vTokens
    that the healer received are worth; by whom, and of whom."""
    who, healer = small(chain), chain.accounts[3]
    chain.venus.supply(chain.make_account(1), "DAI", Decimal(1_000))
    chain.venus.supply(who, "WBTC", Decimal("0.0004"))
    chain.venus.supply(who, "DAI", Decimal(3))
    chain.venus.borrow(who, "DAI", Decimal(20))
    chain.set_price("WBTC", chain.price("WBTC") // 2)
    fall(chain)
    paid = {symbol: chain.balance(healer, symbol) for symbol in ("USDC", "DAI")}
    receipt = healed(chain, healer, who)
    paid = {symbol: held + 10**24 - chain.balance(healer, symbol) for symbol, held in paid.items()}
    follower = Follower(chain)
    follower.index()
    logs = follower.logs(follower.market, receipt.block_number, receipt.block_number)
    events = list(follower.adapter.liquidations(follower.market, logs))
    asked = follower.adapter.liquidation_filter(follower.market)
    needed = [log for log in logs if bytes.fromhex(log.topics[0][2:]) in asked.topics]
    assert list(follower.adapter.liquidations(follower.market, needed)) == events
    repaid, seized = summed(events)
    assert repaid == {asset(chain, symbol): amount for symbol, amount in paid.items()}
    assert min(paid.values()) > 0
    received = {}
    for symbol in ("WETH", "WBTC", "DAI"):
        vtoken = chain.venus.vtokens[symbol]
        tokens = chain.call(vtoken, "balanceOf(address)(uint256)", healer)
        received[asset(chain, symbol)] = tokens * chain.call(vtoken, "exchangeRateStored()(uint256)") // WAD
    assert seized == received
    assert min(received.values()) > 0
    key, by = bytes.fromhex(who[2:]), bytes.fromhex(healer[2:])
    assert {(one.key, one.account, one.liquidator) for one in events} == {(key, key, by)}


@pytest.mark.parametrize("by_contract", [False, True])
async def test_a_heal_brings_what_was_expected_of_it(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_contract: bool
) -> None:
    """By the wallet and by our contract: the receipt is accounted for to the last unit, and the gain is no loss."""
    who, us = small(chain), chain.liquidator.address
    contract = Contract.deployed(chain)
    contract.liquidator.allow_call(chain.venus.comptroller, HEAL)
    contract.liquidator.allow_spender(chain.venus.vtokens["USDC"])
    contract.liquidator.allow_call(chain.venus.vtokens["WETH"], VENUS_REDEEM)
    if not by_contract:
        chain.tokens.provide(us, "USDC", 10**12, chain.venus.vtokens["USDC"])
    executor: dict[str, Any] = {"min_profit": "0.01"}
    house = (
        running(contract, tmp_path, monkeypatch, lenders=["morpho"], protocols=["venus"], **executor)
        if by_contract
        else following(chain, tmp_path, monkeypatch, protocols=["venus"], executor=executor)
    )
    async with house as keeper:
        fall(chain)
        await keeper.follow()
        await keeper.mine(4)
        [intent] = keeper.liquidations()
    assert intent.status is IntentStatus.CONFIRMED, intent.reason
    assert intent.position.lower() == f"venus:{who}".lower()
    assert (intent.plan.get("financing") is not None) == by_contract
    assert intent.repaid_assets and intent.seized_assets
    assert intent.realized["statement"] == intent.plan["expected"]
    assert set(intent.realized["difference"].values()) == {"0"}
    assert intent.profit_realized == intent.profit_expected
    outcome = outcome_of(intent)
    assert outcome is not None and outcome.realized is not None and outcome.realized > 0
    assert loss_wad(outcome, {"venus": Scale(18, None)}) == 0


@pytest.mark.parametrize("mode", ["live", "off"])
def test_whoever_is_healed_hears_what_was_taken(chain: DevChain, tmp_path: Path, mode: str) -> None:
    """By this Keeper or by somebody else: liquidated, not repaid, and everything that was pledged is gone."""
    who, healer = small(chain), chain.accounts[3]
    chain.tokens.provide(chain.liquidator.address, "USDC", 10**12, chain.venus.vtokens["USDC"])
    executor = {"min_profit": "0.01"}
    with (
        open_inbox() as inbox,
        deploy(tmp_path, chain, inbox, mode=mode, protocols=["venus"], executor=executor) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        fall(chain)
        if mode == "live":
            keeper.until("our transaction", keeper.sent_liquidations)
            chain.mine()
        else:
            keeper.until_told(inbox, who, "opened")
            healed(chain, healer, who)
        keeper.until_told(inbox, who, "opened", "liquidated")
        notice = inbox.notices(who)[-1]
        [loss] = notice["losses"]
        assert chain.venus.owed(who, "USDC") == 0
        assert chain.call(chain.venus.vtokens["WETH"], "balanceOf(address)(uint256)", who) == 0
        assert "seized for" in notice["text"]
        assert ("by this Keeper" in notice["text"]) == (mode == "live")
        assert 0 < int(loss["repaid"]) < 55 * 10**6
        assert 0 < int(loss["seized"]) < 4 * 10**16
        shown = keeper.run("calls", "show", who).stdout
        assert "liquidated" in shown.splitlines()[0]
