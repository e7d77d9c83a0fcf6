"""Two and three endpoints that do not say the same, on the real Aave: what is held, who is believed, what is mended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from keeper.indexer.witness import UNPROVEN_IN_A_ROW
from keeper.mode.crosscheck import PERIOD_S
from tests.support.daemon import Keeper, deploy
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.inbox import Inbox, open_inbox
from tests.support.onchain import assert_parity, liquidations_on_chain

USER_ACCOUNT_DATA = "0xbf92857c"


def about_an_account(params: list[Any]) -> bool:
    """Whether an eth_call asks Aave for an account's health, alone or among others."""
    return USER_ACCOUNT_DATA[2:] in params[0]["data"]


def healthier(answer: str) -> str:
    """The same with another last word: the health factor of an account."""
    return answer[:-8] + "0fffffff"


def doom(chain: DevChain) -> str:
    owner = chain.accounts[0]
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(14_000))
    chain.fund_liquidator()
    return owner


@contextmanager
def liquidating(
    chain: DevChain, folder: Path, proxies: int, endpoints: Callable[[list[FaultProxy]], list[str]]
) -> Iterator[tuple[Keeper, list[FaultProxy]]]:
    with fault_proxy(chain) as one, fault_proxy(chain) as two:
        used = [one, two][:proxies]
        more = {"defences": {"hold_blocks": 2, "max_block_ahead_minutes": 0, "quarantine_minutes": 60}}
        rpc = endpoints(used)
        with deploy(folder, chain, mode="live", rpc=rpc, executor={"confirmations": 2}, more=more) as keeper:
            keeper.start()
            keeper.until_synced()
            yield keeper, used


@contextmanager
def telling(
    chain: DevChain, folder: Path, *, alone: bool, **defences: bool
) -> Iterator[tuple[Keeper, FaultProxy, Inbox]]:
    """A daemon that sends nothing, an endpoint that may lie, alone or with an honest one, and who hears of calls."""
    with fault_proxy(chain) as liar, open_inbox() as inbox:
        rpc = [liar.ws] if alone else [liar.ws, chain.ws_url]
        more = {"defences": {"max_block_ahead_minutes": 0, **defences}}
        with deploy(folder, chain, inbox, rpc=rpc, more=more) as keeper:
            keeper.start()
            keeper.until_synced()
            yield keeper, liar, inbox


def blocks_pass(keeper: Keeper) -> bool:
    if keeper.is_synced():
        keeper.chain.mine()
    return True


def confirmed(keeper: Keeper) -> list[Any]:
    return [row["account"] for row in keeper.liquidations() if row["status"] == "confirmed"]


def test_a_contradicted_position_is_held_for_some_blocks(dev_chain: DevChain, tmp_path: Path):
    """Two endpoints are a tie; what nothing decides is acted on in the end, since the chain refuses what is wrong."""
    owner = doom(dev_chain)
    with liquidating(dev_chain, tmp_path, 1, lambda used: [dev_chain.ws_url, used[0].ws]) as (keeper, [liar]):
        liar.tamper("eth_call", healthier, times=1000, when=about_an_account)
        dev_chain.set_price("WETH", Decimal(1_600))
        keeper.until("the doubt", lambda: [s for s in keeper.said("liquidation_skipped") if s["code"] == "in_doubt"])
        keeper.until_synced()
        first = dev_chain.block_number
        assert keeper.liquidations() == []
        dev_chain.mine()
        keeper.until_synced()
        keeper.until("it to be held again", lambda: len(keeper.said("position_contradicted")) == 2)
        keeper.until("it to be read again", lambda: [a for a in keeper.said("positions_read_again") if a["positions"]])
        assert keeper.liquidations() == []
        keeper.until("it to be liquidated", lambda: blocks_pass(keeper) and confirmed(keeper) == [owner])
        assert len(keeper.said("acting_in_doubt")) == 1
        assert dev_chain.block_number > first
    assert [account for account, _ in liquidations_on_chain(dev_chain)] == [owner]


def test_of_three_endpoints_the_odd_one_out_lied(dev_chain: DevChain, tmp_path: Path):
    """Nothing is held, and it is asked nothing more."""
    owner = doom(dev_chain)
    with liquidating(dev_chain, tmp_path, 2, lambda used: [dev_chain.ws_url, used[0].ws, used[1].ws]) as (
        keeper,
        [liar, honest],
    ):
        liar.tamper("eth_call", healthier, times=1000, when=about_an_account)
        dev_chain.set_price("WETH", Decimal(1_600))
        keeper.until("it to be liquidated", lambda: blocks_pass(keeper) and confirmed(keeper) == [owner])
        lies = keeper.said("rpc_endpoint_lied")
        assert {lie["endpoint"] for lie in lies} == {liar.ws}
        assert f"{honest.ws} says what we have" in lies[0]["error"]
        assert not [s for s in keeper.said("liquidation_skipped") if s["code"] == "in_doubt"]


def leave_out(liar: FaultProxy, chain: DevChain, account: str, *, times: int = 1) -> Callable[[Any], Any]:
    """Logs that name an account, from the next answers that have logs at all; what leaves them out."""
    topic = account[2:].lower()
    without = lambda logs: [log for log in logs if topic not in "".join(log["topics"])]  # noqa: E731
    liar.tamper("eth_getLogs", without, times=times, when=lambda params: bool(chain.rpc("eth_getLogs", params[0])))
    return without


@pytest.mark.parametrize("alone", [False, True])
def test_logs_that_the_bloom_does_not_miss_are_found(dev_chain: DevChain, tmp_path: Path, alone: bool):
    """The first leaves out one of two accounts that did the same in one block: the other endpoint has them, and where
    there is none, the receipts. What was touched is read again."""
    lost, kept = dev_chain.accounts[:2]
    for account in (lost, kept):
        dev_chain.aave.supply(account, "WETH", Decimal(10))
    with (
        fault_proxy(dev_chain) as liar,
        deploy(tmp_path, dev_chain, rpc=[liar.ws] if alone else [liar.ws, dev_chain.ws_url]) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        leave_out(liar, dev_chain, lost)
        with dev_chain.one_block():
            for account in (lost, kept):
                dev_chain.aave.borrow(account, "USDC", Decimal(5_000))
        keeper.until("what was touched to be read again", lambda: keeper.said("positions_read_again"))
        keeper.until_synced()
        assert liar.waiting == 0
        assert_parity(dev_chain, keeper.health())
        [lie] = keeper.said("rpc_endpoint_lied")
        assert lie["endpoint"] == liar.ws
        assert ("and the block's receipts contradict each other" in lie["error"]) is alone
        assert not keeper.said("retrying"), "the bloom found it first, so nothing was shown"


def without_repeats(logs: list[Any], told: set[Any]) -> list[Any]:
    """Of logs of one contract with the same topics the first alone: no bloom misses the others."""
    names = [(log["address"], *log["topics"]) for log in logs]
    return [log for log, name in zip(logs, names, strict=True) if not (name in told or told.add(name))]


def test_who_leaves_logs_out_of_receipts_as_well_is_found_by_the_headers_root(dev_chain: DevChain, tmp_path: Path):
    """It stands by what it said, and its receipts make up the bloom; but the other's are those of the header."""
    owner = dev_chain.accounts[0]
    dev_chain.aave.supply(owner, "WETH", Decimal(10))
    with (
        fault_proxy(dev_chain) as liar,
        deploy(tmp_path, dev_chain, rpc=[liar.ws, dev_chain.ws_url]) as keeper,
    ):
        keeper.start()
        keeper.until_synced()

        def shortened(receipts: list[Any]) -> list[Any]:
            told: set[Any] = set()
            return [one | {"logs": without_repeats(one["logs"], told)} for one in receipts]

        liar.tamper("eth_getLogs", lambda logs: without_repeats(logs, set()), times=1000)
        liar.tamper("eth_getBlockReceipts", shortened, times=1000)
        with dev_chain.one_block():
            for _ in range(2):
                dev_chain.aave.borrow(owner, "USDC", Decimal(1_000))
        keeper.until("the contradiction", lambda: keeper.said("endpoints_contradict"))
        assert keeper.said("endpoints_contradict")[0]["liar"] == liar.ws
        assert [lie["endpoint"] for lie in keeper.said("rpc_endpoint_lied")] == [liar.ws]
        keeper.until("what was touched to be read again", lambda: keeper.said("positions_read_again"))
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())


def test_receipts_that_prove_nothing_are_said_and_no_longer_asked_for(dev_chain: DevChain, tmp_path: Path):
    """As on chains with receipts of their own."""
    owner = dev_chain.accounts[0]
    with fault_proxy(dev_chain) as node, deploy(tmp_path, dev_chain, rpc=[node.ws]) as keeper:
        of_their_own = lambda receipts: [one | {"type": "0x7b"} for one in receipts] or None  # noqa: E731
        node.tamper("eth_getBlockReceipts", of_their_own, times=1000)
        keeper.start()
        keeper.until_synced()

        def another_block() -> bool:
            dev_chain.aave.supply(owner, "WETH", Decimal(1))
            keeper.until_synced()
            return bool(keeper.said("receipts_prove_nothing"))

        keeper.until("it to be said", another_block)
        asked = node.count("eth_getBlockReceipts")
        deadline = time.monotonic() + 2.5 * PERIOD_S
        while time.monotonic() < deadline:
            another_block()
        [said] = keeper.said("receipts_prove_nothing")
        assert (said["blocks"], node.count("eth_getBlockReceipts")) == (UNPROVEN_IN_A_ROW, asked)
        assert not keeper.said("rpc_endpoint_lied")
        assert_parity(dev_chain, keeper.health())


def test_state_that_one_endpoint_takes_back_was_a_lie(dev_chain: DevChain, tmp_path: Path):
    """Of two who answer differently the one lied that answers differently when asked again."""
    doom(dev_chain)
    with (
        fault_proxy(dev_chain) as liar,
        deploy(tmp_path, dev_chain, rpc=[liar.ws, dev_chain.ws_url]) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        price = int(dev_chain.price("WETH"))
        lied: list[str] = []

        def lie_once(answer: str) -> str:
            changed = answer.replace(f"{price:064x}", f"{price - 1:064x}")
            if lied or changed == answer:
                return answer
            lied.append(changed)
            return changed

        liar.tamper("eth_call", lie_once, times=1000)
        dev_chain.mine()
        keeper.until("the lie to be found", lambda: keeper.said("endpoints_contradict"))
        assert keeper.said("endpoints_contradict")[0]["liar"] == liar.ws
        dev_chain.mine()
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())


@pytest.mark.parametrize("alone", [False, True])
def test_an_owner_hears_nothing_of_a_block_whose_logs_were_left_out(dev_chain: DevChain, tmp_path: Path, alone: bool):
    """What the first endpoint leaves out, and the bloom does not miss, would have owners told of a health that is not
    theirs. Who is seen otherwise, by the other one or, where there is none, by the contract itself, hears in the next
    block, and right; everybody else at once."""
    repaid, called = dev_chain.accounts[:2]
    for account in (repaid, called):
        dev_chain.aave.supply(account, "WETH", Decimal(10))
        dev_chain.aave.borrow(account, "USDC", Decimal(14_000))
    with telling(dev_chain, tmp_path, alone=alone, prove_logs=alone) as (keeper, liar, inbox):
        leave_out(liar, dev_chain, repaid)
        with dev_chain.one_block():
            dev_chain.set_price("WETH", Decimal(1_750))
            dev_chain.aave.repay(repaid, "USDC", Decimal(100))
            dev_chain.aave.repay(called, "USDC", Decimal(1))
        lied_about = dev_chain.block_number
        keeper.until("the other to be told", lambda: inbox.events(called) == ["opened"])
        keeper.until("it to be read again", lambda: keeper.said("positions_read_again"))
        assert inbox.events(repaid) == []
        dev_chain.mine()
        keeper.until("it to be told", lambda: inbox.events(repaid) == ["opened"])
        told = {notice["account"]: notice for notice in inbox.notices()}
        assert told[called]["block_number"] == lied_about
        assert told[repaid]["block_number"] == lied_about + 1
        for account, notice in told.items():
            assert int(notice["health_wad"]) == dev_chain.aave.health(account, notice["block_number"])
        assert [one["position"] for one in keeper.said("position_contradicted")] == [told[repaid]["position"]]


@pytest.mark.parametrize("alone", [False, True])
def test_on_a_quick_chain_nobody_hears_what_was_not_read_again(dev_chain: DevChain, tmp_path: Path, alone: bool):
    """Blocks come faster than anything is read again, and say nothing of a position that was held: it is asked about in
    each of them."""
    owner, other = dev_chain.accounts[:2]
    for account in (owner, other):
        dev_chain.aave.supply(account, "WETH", Decimal(10))
        dev_chain.aave.borrow(account, "USDC", Decimal(14_000))
    with telling(dev_chain, tmp_path, alone=alone) as (keeper, liar, inbox):
        leave_out(liar, dev_chain, owner)
        with dev_chain.one_block():
            dev_chain.set_price("WETH", Decimal(1_750))
            dev_chain.aave.repay(owner, "USDC", Decimal(1_000))
            dev_chain.aave.repay(other, "USDC", Decimal(1))
        dev_chain.mine(2)

        def heard() -> bool:
            dev_chain.mine()
            keeper.until_synced()
            return inbox.events(owner) == ["opened"]

        keeper.until("it to be told", heard)
        [notice] = inbox.notices(owner)
        assert int(notice["health_wad"]) == dev_chain.aave.health(owner, notice["block_number"])


@pytest.mark.parametrize("alone", [False, True])
def test_whose_liquidation_was_left_out_hears_of_a_loss_and_of_no_repayment(
    dev_chain: DevChain, tmp_path: Path, alone: bool
):
    """State read again shows no debt; the log that was left out, proven by the receipts, shows why."""
    lost, kept, liquidator = dev_chain.accounts[:3]
    for account in (lost, kept):
        dev_chain.aave.supply(account, "WETH", Decimal(10))
        dev_chain.aave.borrow(account, "USDC", Decimal(14_000))
    dev_chain.fund(liquidator, "USDC", Decimal(100_000))
    with telling(dev_chain, tmp_path, alone=alone) as (keeper, liar, inbox):
        dev_chain.set_price("WETH", Decimal(1_600))
        keeper.until("both to be called", lambda: inbox.events(lost) and inbox.events(kept))
        keeper.until_synced()
        leave_out(liar, dev_chain, lost)
        with dev_chain.one_block():
            for account in (lost, kept):
                dev_chain.aave.liquidate(liquidator, account, "WETH", "USDC", Decimal(20_000))

        def ended() -> bool:
            dev_chain.mine()
            keeper.until_synced()
            return len(inbox.events(lost)) > 1

        keeper.until("its end to be told", ended)
        assert inbox.events(lost) == inbox.events(kept) == ["opened", "liquidated"]


def test_receipts_that_are_no_hex_end_nothing(dev_chain: DevChain, tmp_path: Path):
    """Neither where the bloom shows that logs were left out, nor where they are only compared."""
    accounts = dev_chain.accounts[:2]
    spoilt = lambda receipts: [  # noqa: E731
        one | {"logs": [log | {"address": "0xzz"} for log in one["logs"]]} for one in receipts
    ]
    with fault_proxy(dev_chain) as node, deploy(tmp_path, dev_chain, rpc=[node.ws]) as keeper:
        keeper.start()
        keeper.until_synced()
        node.tamper("eth_getBlockReceipts", spoilt, times=4)
        node.tamper("eth_getLogs", lambda logs: [], when=lambda params: bool(dev_chain.rpc("eth_getLogs", params[0])))
        for account in accounts:
            dev_chain.aave.supply(account, "WETH", Decimal(10))
        keeper.until("all of it to be met", lambda: blocks_pass(keeper) and not node.waiting)
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())
        assert keeper.terminate() == 0
