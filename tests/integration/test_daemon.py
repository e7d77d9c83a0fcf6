"""The daemon as its users run it: its own process on the real Aave, stopped, cut off, lied to and reorganized."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.aave import ReserveTerms
from keeper.devnet.chain import DevChain
from keeper.devnet.client import Receipt
from keeper.devnet.tokens import FeedMode
from keeper.pulse import read_pulse
from tests.support.daemon import deploy
from tests.support.inbox import Inbox, open_inbox
from tests.support.onchain import assert_parity, liquidations_on_chain
from tests.support.registry import Registry

CALLED, URGENT, BREACHED = Decimal(1_840), Decimal(1_720), Decimal(1_600)
"""Prices of ether, from 2000 down, at which `borrow_against_ether` is called, urgent, open to liquidation."""


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


def borrow_against_ether(chain: DevChain, *accounts: str) -> None:
    """10 WETH against 14,000 USDC: a health of 1.18."""
    for account in accounts:
        chain.aave.supply(account, "WETH", Decimal(10))
        chain.aave.borrow(account, "USDC", Decimal(14_000))


def again(chain: DevChain, receipt: Receipt) -> dict[str, str]:
    """The transaction of a receipt as a request, for a branch where it is mined again."""
    sent = chain.rpc("eth_getTransactionByHash", receipt.tx_hash)
    return {name: sent[field] for name, field in (("from", "from"), ("to", "to"), ("data", "input"), ("gas", "gas"))}


def our_nonce(chain: DevChain) -> int:
    return int(chain.rpc("eth_getTransactionCount", chain.liquidator.address, "pending"), 16)


# --- starting and stopping --------------------------------------------------------------------------------------------


def test_sigterm_finishes_the_block_in_hand_and_the_next_start_resumes_there(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """Exit code 0, the last block whole in the store, and after the restart nobody hears anything twice."""
    alice, bob = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice, bob)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        keeper.until_told(inbox, bob, "opened")
        dev_chain.mine(3)
        assert keeper.terminate() == 0
        cursor = keeper.cursor()
        assert cursor is not None
        assert [line["block"] for line in keeper.said("stopped")] == [cursor.number]
        assert dev_chain.block_hash(cursor.number) == cursor.hash
        dev_chain.mine(10)
        keeper.start()
        keeper.until_synced()
        assert not keeper.said("catching_up")
        dev_chain.set_price("WETH", URGENT)
        keeper.until_told(inbox, alice, "opened", "escalated")
        keeper.until_told(inbox, bob, "opened", "escalated")
        assert len(inbox.requests) == 4
        assert keeper.terminate() == 0


def test_until_block_ends_with_exit_code_zero_at_that_very_block(dev_chain: DevChain, tmp_path: Path) -> None:
    target = dev_chain.block_number + 3
    with deploy(tmp_path, dev_chain) as keeper:
        keeper.start("--until-block", str(target))
        dev_chain.mine(6)
        assert keeper.wait() == 0
        cursor = keeper.cursor()
        assert cursor is not None
        assert (cursor.number, cursor.hash) == (target, dev_chain.block_hash(target))


def test_a_second_daemon_on_the_same_store_refuses_and_names_the_first(dev_chain: DevChain, tmp_path: Path) -> None:
    with deploy(tmp_path, dev_chain) as keeper:
        keeper.start()
        second = keeper.run("run")
        assert second.returncode == 1
        assert f"in use by process {keeper.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        dev_chain.mine()
        keeper.until_synced()


# --- what it may do ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--alert-only", "--dry-run"])
def test_a_live_deployment_told_to_look_only_sends_nothing(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path, flag: str
) -> None:
    """Its owner is told that the position can be liquidated; a dry run also simulates that; nothing is signed."""
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    dev_chain.fund_liquidator()
    with deploy(tmp_path, dev_chain, inbox, mode="live") as keeper:
        keeper.start(flag)
        keeper.until_synced()
        dev_chain.set_price("WETH", BREACHED)
        keeper.until_told(inbox, alice, "opened")
        assert inbox.notices(alice)[0]["band"] == "liquidatable"
        if flag == "--dry-run":
            keeper.until("a simulation", lambda: keeper.said("liquidation_simulated"))
        for _ in range(3):
            dev_chain.mine()
            keeper.until_synced()
        assert keeper.terminate() == 0
        assert keeper.ask("health", alice)[0]["liquidatable"] is True
        assert keeper.ask("transactions") == []
        assert our_nonce(dev_chain) == 0
        assert liquidations_on_chain(dev_chain) == []


@pytest.mark.parametrize("endpoint", ["http", "ws", "ipc"])
def test_heads_come_by_polling_as_well_as_by_subscription(endpoint: str, inbox: Inbox, tmp_path: Path) -> None:
    """Over each transport: a call, an escalation, a liquidation, its confirmation; parity at the end."""
    socket = tmp_path / "anvil.ipc"
    with DevChain.start(ipc=socket) as chain:
        alice, bob = chain.accounts[:2]
        borrow_against_ether(chain, alice, bob)
        chain.fund_liquidator()
        rpc = {"http": chain.rpc_url, "ws": chain.ws_url, "ipc": str(socket)}[endpoint]
        with deploy(tmp_path, chain, inbox, mode="live", rpc=[rpc], node={"poll_interval_s": 0.05}) as keeper:
            keeper.start()
            keeper.until_synced()
            chain.set_price("WETH", CALLED)
            keeper.until_told(inbox, alice, "opened")
            chain.set_price("WETH", BREACHED)
            keeper.until("both liquidations", lambda: len(liquidations_on_chain(chain)) == 2)
            chain.mine(4)
            keeper.until_synced()
            assert {row["status"] for row in keeper.liquidations()} == {"confirmed"}
            assert_parity(chain, keeper.health())
            assert keeper.terminate() == 0


# --- outages ----------------------------------------------------------------------------------------------------------


def test_an_outage_is_caught_up_with_and_judged_at_the_present(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """150 blocks in the dark. Who fell and rose again meanwhile hears nothing; who is below now hears it once, of now.
    Who had been called before and was liquidated by somebody else is told how it ended."""
    alice, bob, carol, other = dev_chain.accounts[:4]
    borrow_against_ether(dev_chain, alice, carol)
    dev_chain.aave.supply(bob, "WBTC", Decimal(1))
    dev_chain.aave.borrow(bob, "DAI", Decimal(38_000))
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        keeper.until_told(inbox, carol, "opened")
        assert keeper.terminate() == 0
        dev_chain.set_price("WBTC", Decimal(50_000))  # bob falls, and rises again
        dev_chain.mine(40)
        dev_chain.set_price("WBTC", Decimal(60_000))
        dev_chain.set_price("WETH", BREACHED)
        dev_chain.aave.liquidate(other, carol, "WETH", "USDC")
        dev_chain.mine(40)
        dev_chain.set_price("WETH", URGENT)
        dev_chain.mine(70)
        dave = dev_chain.accounts[4]
        dev_chain.set_price("WETH", Decimal(2_000))
        borrow_against_ether(dev_chain, dave)
        dev_chain.set_price("WETH", URGENT)
        tip = dev_chain.block_number
        keeper.start()
        keeper.until_told(inbox, alice, "opened", "escalated")
        keeper.until_told(inbox, dave, "opened")
        keeper.until("carol to hear of her liquidation", lambda: inbox.events(carol)[:2] == ["opened", "liquidated"])
        keeper.until_synced()
        assert keeper.said("catching_up")
        assert inbox.events(bob) == []
        (notice,) = inbox.notices(dave)
        assert (notice["block_number"], notice["band"]) == (tip, "urgent")
        assert_parity(dev_chain, keeper.health())


def test_a_node_that_hangs_is_reported_and_waited_for(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    """The watchdog says that heads stopped; when the node comes back, so does everything else."""
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox, node={"stale_after_s": 1, "request_timeout_s": 1}) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.anvil.pause()
        try:
            keeper.until("the watchdog", lambda: keeper.said("heads_stopped"))
        finally:
            dev_chain.anvil.resume()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        keeper.until("the watchdog's relief", lambda: keeper.said("heads_resumed"))
        keeper.until("the operator's relief", lambda: of_keeper(inbox) == ["unhealthy", "recovered"])


def test_a_daemon_that_finds_no_node_says_so(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    """Somebody must hear of it, and once: also of a daemon that its supervisor starts again and again."""
    borrow_against_ether(dev_chain, dev_chain.accounts[0])
    with deploy(tmp_path, dev_chain, inbox, node={"stale_after_s": 1, "request_timeout_s": 1}) as keeper:
        dev_chain.anvil.pause()
        try:
            keeper.launch()
            keeper.until("the notice", lambda: of_keeper(inbox) == ["unhealthy"])
            keeper.kill()
            keeper.launch()
            keeper.until("the watchdog", lambda: keeper.said("heads_stopped"))
        finally:
            dev_chain.anvil.resume()
        keeper.until("the all-clear", lambda: of_keeper(inbox) == ["unhealthy", "recovered"])
        keeper.until_synced()


def of_keeper(inbox: Inbox) -> list[str]:
    """What was told of Keeper itself, in order."""
    return [notice["event"] for notice in inbox.notices() if notice["protocol"] == "keeper"]


# --- reorgs -----------------------------------------------------------------------------------------------------------


def test_a_reorg_that_removes_the_reason_of_a_call_withdraws_it_once(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        dev_chain.reorg(1)
        keeper.until_told(inbox, alice, "opened", "withdrawn")
        opened, withdrawn = inbox.notices(alice)
        assert withdrawn["episode"] == opened["episode"]
        for _ in range(3):
            dev_chain.mine()
            keeper.until_synced()
        assert [(call["id"], call["status"]) for call in keeper.calls()] == [(opened["episode"], "withdrawn")]
        dev_chain.set_price("WETH", URGENT)
        keeper.until_told(inbox, alice, "opened", "withdrawn", "opened")
        assert keeper.terminate() == 0
        pulse = read_pulse(keeper.pulse_file)
        assert pulse is not None
        heads, tip = pulse.section("heads"), keeper.cursor()
        assert tip is not None
        assert (heads["number"], heads["hash"], heads["behind_blocks"]) == (tip.number, "0x" + tip.hash.hex(), 0)
        assert (heads["reorgs"], heads["deepest_reorg"], heads["reverted_blocks"]) == (1, 1, 1)
        assert pulse.section("notices")["outcomes"] == [{"channel": "webhook", "outcome": "sent", "count": 3}]
        assert pulse.section("memory")["positions"] == {"aave": len(keeper.health())}
        assert pulse.section("round_trips")["total"] > heads["blocks"] > 3
        assert not [section for section in pulse.sections.values() if "error" in section]
        assert len(inbox.requests) == 3


def test_a_reorg_that_keeps_the_reason_of_a_call_is_silent(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    """The same fall of the price is in another block now; whoever was told of it hears nothing, and escalation goes on
    from there under the episode they know."""
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        fall = dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        dev_chain.mine(2)
        keeper.until_synced()
        dev_chain.reorg(3, [(again(dev_chain, fall), 1)])
        keeper.until_synced()
        assert dev_chain.price("WETH") == 1_840 * 10**8
        dev_chain.mine()
        keeper.until_synced()
        (call,) = [call for call in keeper.calls() if call["status"] == "open"]
        assert call["opened_block_hash"] != inbox.notices(alice)[0]["block_hash"]
        dev_chain.set_price("WETH", URGENT)
        keeper.until_told(inbox, alice, "opened", "escalated")
        assert len({notice["episode"] for notice in inbox.notices(alice)}) == 1


def test_a_reorg_that_removes_a_cure_calls_again(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    """Told to be cured, then not to be; and cured once more by the same payment on the new branch."""
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        (demand,) = [one for one in inbox.notices(alice)[0]["demands"] if one["action"] == "repay"]
        dev_chain.aave.repay(alice, "USDC", int(demand["amount"]))
        keeper.until_told(inbox, alice, "opened", "cured")
        dev_chain.reorg(1)
        keeper.until_told(inbox, alice, "opened", "cured", "opened")
        dev_chain.aave.repay(alice, "USDC", int(demand["amount"]))
        keeper.until_told(inbox, alice, "opened", "cured", "opened", "cured")
        assert_parity(dev_chain, keeper.health())


def test_reorgs_of_an_escalation_and_of_a_liquidation_end_true(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """An escalation that is undone and happens again says nothing new; a liquidation that is undone calls again, and is
    told again, with what was lost, when it happens for good."""
    alice, other = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        dev_chain.set_price("WETH", URGENT)
        keeper.until_told(inbox, alice, "opened", "escalated")
        dev_chain.reorg(1)
        keeper.until_synced()
        dev_chain.set_price("WETH", URGENT)
        keeper.until_synced()
        dev_chain.set_price("WETH", BREACHED)
        keeper.until_told(inbox, alice, "opened", "escalated", "escalated")
        lost = dev_chain.aave.liquidate(other, alice, "WETH", "USDC")
        keeper.until_told(inbox, alice, "opened", "escalated", "escalated", "liquidated")
        dev_chain.reorg(1)
        keeper.until_told(inbox, alice, "opened", "escalated", "escalated", "liquidated", "opened")
        for_good = dev_chain.aave.liquidate(other, alice, "WETH", "USDC")
        keeper.until_told(inbox, alice, "opened", "escalated", "escalated", "liquidated", "opened", "liquidated")
        assert [call["status"] for call in keeper.calls() if call["status"] == "open"] == []
        for notice, receipt in zip(
            [one for one in inbox.notices(alice) if one["event"] == "liquidated"], (lost, for_good), strict=True
        ):
            (loss,) = notice["losses"]
            assert (loss["transaction"], loss["liquidator"], loss["ours"]) == (receipt.tx_hash, other, False)
            assert 0 < int(loss["penalty_value"]) < int(loss["repaid_value"]) // 10
            assert f"by {other}" in notice["text"]
            assert "a penalty of" in notice["text"]


def test_a_deep_reorg_leaves_what_a_fresh_index_finds(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    """60 blocks with new users, payments, terms and prices in them are replaced by others."""
    alice, bob, carol, dave = dev_chain.accounts[:4]
    borrow_against_ether(dev_chain, alice, bob)
    dev_chain.mine(60)
    aave = dev_chain.aave
    with deploy(tmp_path / "followed", dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        base = dev_chain.block_number
        borrow_against_ether(dev_chain, carol)
        aave.repay(bob, "USDC")
        aave.configure_collateral("WETH", 7000, 7500, 11000)
        kept = aave.supply(dave, "WBTC", Decimal(1))
        fall = dev_chain.set_price("WETH", CALLED)
        dev_chain.mine(60 - (dev_chain.block_number - base))
        keeper.until_told(inbox, alice, "opened")
        keeper.until_synced()
        dev_chain.reorg(60, [(again(dev_chain, fall), 3), (again(dev_chain, kept), 7)])
        keeper.until_synced()
        keeper.until("the reorg", lambda: [line["depth"] for line in keeper.said("chain_reorganized")] == [60])
        assert keeper.terminate() == 0
        followed = keeper.ask("health")
        with deploy(tmp_path / "fresh", dev_chain) as fresh:
            assert fresh.run("backfill", "--to", str(dev_chain.block_number)).returncode == 0
            assert fresh.ask("health") == followed
        accounts = {row["account"] for row in followed}
        assert alice in accounts
        assert bob in accounts
        assert carol not in accounts
        assert_parity(dev_chain, {row["account"]: row for row in followed})


def test_a_reorg_while_it_was_down_is_reverted_before_anything_else(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """The cursor's block is no longer there; what was told because of it is taken back."""
    alice, bob = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice, bob)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.aave.repay(bob, "USDC")
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        assert keeper.terminate() == 0
        dev_chain.reorg(3)
        dev_chain.mine(2)
        keeper.start()
        keeper.until_told(inbox, alice, "opened", "withdrawn")
        keeper.until_synced()
        assert len(keeper.said("chain_reorganized")) == 1
        assert_parity(dev_chain, keeper.health())
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened", "withdrawn", "opened")
        keeper.until_told(inbox, bob, "opened")


def test_a_reorg_below_finality_stops_the_daemon_loudly(dev_chain: DevChain, tmp_path: Path) -> None:
    """What was final was pruned, so nothing could be undone: exit code 1 and the remedy, no guess."""
    dev_chain.mine(20)
    with deploy(tmp_path, dev_chain, finality=5) as keeper:
        keeper.start()
        keeper.until_synced()
        for _ in range(3):
            dev_chain.mine()
            keeper.until_synced()
        dev_chain.reorg(15)
        assert keeper.wait() == 1
        assert "re-index with `keeper repair`" in keeper.log_tail()


# --- prices -----------------------------------------------------------------------------------------------------------


def test_a_broken_feed_makes_positions_unknown_and_nothing_else(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """Whether it reverts, says zero or something negative: no band, no notice, no transaction; then on as before."""
    alice, bob = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice)
    dev_chain.aave.supply(bob, "WBTC", Decimal(1))
    dev_chain.aave.borrow(bob, "DAI", Decimal(38_000))
    dev_chain.fund_liquidator()
    with deploy(tmp_path, dev_chain, inbox, mode="live") as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        for mode in (FeedMode.REVERTING, FeedMode.ZERO, FeedMode.NEGATIVE):
            dev_chain.break_feed("WETH", mode)
            keeper.until_synced()
            row = keeper.health()[alice]
            assert (row["band"], row["health_wad"], row["liquidatable"]) == ("unknown", None, False)
            assert row["unpriced_assets"] == [dev_chain.tokens["WETH"].address]
            assert keeper.health()[bob]["band"] == "watch"
            dev_chain.break_feed("WETH", FeedMode.ANSWERING)
            keeper.until_synced()
            assert keeper.health()[alice]["band"] == "call"
        dev_chain.break_feed("WETH", FeedMode.ZERO)
        dev_chain.set_price("WETH", BREACHED)
        dev_chain.mine()
        keeper.until_synced()
        assert our_nonce(dev_chain) == 0
        assert inbox.events(alice) == ["opened"]
        dev_chain.break_feed("WETH", FeedMode.ANSWERING)
        keeper.until("her liquidation", lambda: [who for who, _ in liquidations_on_chain(dev_chain)] == [alice])
        keeper.until("the end of the call", lambda: inbox.events(alice) == ["opened", "escalated", "liquidated"])
        assert inbox.events(bob) == []


def test_a_stale_feed_is_named_in_the_notice_and_in_the_records(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    ether = dev_chain.tokens["WETH"].address
    with deploy(tmp_path, dev_chain, inbox, protocol={"default_heartbeat_s": 86_400}) as keeper:
        keeper.start()
        keeper.until_synced()
        assert keeper.health()[alice]["stale_assets"] == []
        dev_chain.set_price_at("WETH", CALLED, dev_chain.timestamp - 90_000)
        keeper.until_told(inbox, alice, "opened")
        (notice,) = inbox.notices(alice)
        assert notice["stale_assets"] == [ether]
        assert "stale" in notice["text"]
        assert "WETH" in notice["text"]
        keeper.until_synced()
        assert keeper.health()[alice]["stale_assets"] == [ether]
        keeper.until("the feed to be named", lambda: keeper.said("feed_unhealthy"))
        keeper.until("the notice of it", lambda: of_prices(inbox) == ["stale_price"])
        (stale,) = [one for one in inbox.notices() if one["event"] == "stale_price"]
        assert (stale["asset"], stale["positions"]) == (ether, [f"aave:{alice}"])
        assert stale["price_updated_at"] < dev_chain.timestamp - 86_400
        dev_chain.set_price("WETH", CALLED)
        keeper.until("its end", lambda: of_prices(inbox) == ["stale_price", "price_recovered"])
        assert inbox.events(alice) == ["opened"]


def of_prices(inbox: Inbox) -> list[str]:
    return [notice["event"] for notice in inbox.notices() if "price" in notice["event"]]


# --- what governance changes ------------------------------------------------------------------------------------------


def test_a_reserve_listed_while_running_is_followed(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    """Deposits in it count at once, and its price calls."""
    alice = dev_chain.accounts[0]
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        terms = ReserveTerms(6800, 7300, 10700, 2000, 1000, (4500, 0, 700, 30000))
        dev_chain.aave.init_reserve("LINK", 18, Decimal(20), terms)
        dev_chain.aave.supply(alice, "LINK", Decimal(1_000))
        dev_chain.aave.borrow(alice, "USDC", Decimal(12_000))
        keeper.until_synced()
        assert [one["symbol"] for one in keeper.health()[alice]["collaterals"]] == ["LINK"]
        assert_parity(dev_chain, keeper.health())
        dev_chain.set_price("LINK", Decimal(17))
        keeper.until_told(inbox, alice, "opened")
        assert_parity(dev_chain, keeper.health())


def test_another_price_source_and_another_oracle_are_followed(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """A feed exchanged for one that says less calls; an oracle with the old feeds cures; then those are read."""
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox, margin_calls={"target": "1.18", "watch": "1.15"}) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.aave.set_asset_source("WETH", dev_chain.tokens.new_feed("WETH", 1_840 * 10**8))
        keeper.until_told(inbox, alice, "opened")
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())
        dev_chain.aave.replace_oracle()
        keeper.until_told(inbox, alice, "opened", "cured")
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened", "cured", "opened")
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())


def test_changed_terms_call_without_any_price_moving(dev_chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    alice = dev_chain.accounts[0]
    borrow_against_ether(dev_chain, alice)
    with deploy(tmp_path, dev_chain, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.aave.configure_collateral("WETH", 7000, 7500, 10500)
        keeper.until_told(inbox, alice, "opened")
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())


# --- repairing itself -------------------------------------------------------------------------------------------------


def test_reconciliation_repairs_what_differs_from_the_chain_and_says_so(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """A row exchanged for another account's by hand is logged as an error, read afresh, and right again."""
    alice, bob = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice)
    dev_chain.aave.supply(bob, "WBTC", Decimal(1))
    with deploy(tmp_path, dev_chain, inbox, jobs={"reconcile_minutes": 0.01}) as keeper:
        keeper.start()
        keeper.until_synced()
        assert keeper.terminate() == 0
        sound = keeper.health()[alice]
        with closing(sqlite3.connect(tmp_path / "var" / "keeper.db")) as database, database:
            ours, theirs = (bytes.fromhex(account[2:]) for account in (alice, bob))
            newest = "SELECT payload FROM facts WHERE kind = 'position' AND key = ? ORDER BY block_number DESC LIMIT 1"
            (payload,) = database.execute(newest, (theirs,)).fetchone()
            database.execute("UPDATE facts SET payload = ? WHERE kind = 'position' AND key = ?", (payload, ours))
        assert keeper.health()[alice] != sound
        keeper.start()
        keeper.until("the repair", lambda: any(line["repaired"] for line in keeper.said("positions_reconciled")))
        keeper.until("the operator to hear", lambda: of_keeper(inbox) == ["unhealthy", "recovered"])
        assert alice in next(one for one in inbox.notices() if one["event"] == "unhealthy")["text"]
        (difference, *_) = keeper.said("position_differs_from_chain")
        assert difference["level"] == "error"
        assert alice.lower() in difference["position"].lower()
        assert keeper.health()[alice] == sound
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        assert_parity(dev_chain, keeper.health())


# --- names and the day ------------------------------------------------------------------------------------------------


def test_accounts_are_called_by_their_names_and_a_day_is_told_once(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """By ENS, looked up beside the blocks; and the digest of a day comes once, whatever restarts."""
    alice, bob = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice, bob)
    registry = Registry(dev_chain)
    registry.named(bytes.fromhex(alice[2:]), "alice.eth")
    registry.claims(bytes.fromhex(bob[2:]), "alice.eth")
    names = {"ens_registry": "0x" + registry.address.hex()}
    margin_calls = {"accounts": [alice, bob]}
    with deploy(tmp_path, dev_chain, inbox, margin_calls=margin_calls, more={"names": names}) as keeper:
        asking = keeper.config.read_text().replace('kind = "webhook"', 'kind = "webhook"\ndigest = true')
        keeper.config.write_text(asking)
        keeper.start()
        keeper.until_synced()
        keeper.until("the names", lambda: keeper.said("names_looked_up"))
        dev_chain.set_price("WETH", CALLED)
        keeper.until_told(inbox, alice, "opened")
        keeper.until_told(inbox, bob, "opened")
        (notice,) = inbox.notices(alice)
        assert notice["name"] == "alice.eth"
        assert notice["text"].startswith("Margin call: alice.eth (0x")
        assert inbox.notices(bob)[0]["name"] is None
        keeper.until("the digest's first day to be noted", lambda: day_of(tmp_path))
        keeper.terminate()
        with closing(sqlite3.connect(tmp_path / "var" / "keeper.db")) as database, database:
            database.execute("UPDATE meta SET value = replace(value, ?, '2020-01-01')", (day_of(tmp_path),))
        for _ in range(2):
            keeper.start()
            keeper.until("the digest", lambda: [one for one in inbox.notices() if one["event"] == "digest"])
            keeper.until("the digest to be noted", lambda: day_of(tmp_path) != "2020-01-01")
            keeper.terminate()
        (digest,) = [one for one in inbox.notices() if one["event"] == "digest"]
        assert (digest["watched"], {call["account"] for call in digest["open_calls"]}) == (2, {alice, bob})
        assert "(alice.eth) on aave: health" in digest["text"]


def day_of(folder: Path) -> str | None:
    """The day whose digest was told last."""
    with closing(sqlite3.connect(folder / "var" / "keeper.db")) as database:
        row = database.execute("SELECT value FROM meta WHERE key = 'digest:webhook'").fetchone()
    return None if row is None else str(json.loads(row[0])["day"])
