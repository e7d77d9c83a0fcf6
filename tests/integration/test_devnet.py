"""The dev chain is what it says: the real contracts, and every fault that tests ask it for."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from eth_account import Account

from keeper.cli import main
from keeper.config.load import load_config
from keeper.devnet.aave import ReserveTerms
from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import DevChain
from keeper.devnet.cli import add_arguments
from keeper.devnet.configuration import write_config
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.market import BTC_ETH_EMODE
from keeper.devnet.protocols import kinds
from keeper.devnet.rpc import Rpc
from keeper.devnet.serve import OURS, _check_writable
from keeper.devnet.tokens import FeedMode

WAD = 10**18
NO_DEBT = 2**256 - 1


def open_position(chain: DevChain, who: str) -> None:
    """10 WETH at $2,000 against 14,000 USDC: health 10 * 2000 * 0.825 / 14000."""
    chain.aave.supply(who, "WETH", Decimal(10))
    chain.aave.borrow(who, "USDC", Decimal(14_000))


# --- the market -------------------------------------------------------------------------------------------------------


def test_rewound_a_transaction_that_bids_by_the_newest_block_is_mined(shared_chain: DevChain):
    """Whatever the next block's base fee became inside."""
    before = shared_chain.rpc("eth_getBlockByNumber", "pending", False)["baseFeePerGas"]
    with shared_chain.rewound():
        shared_chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**12))
        shared_chain.mine()
    assert shared_chain.rpc("eth_getBlockByNumber", "pending", False)["baseFeePerGas"] == before


def test_health_follows_the_price(shared_chain: DevChain):
    """Health is threshold-weighted collateral over debt, and moves with the feed."""
    alice = shared_chain.accounts[0]
    open_position(shared_chain, alice)
    assert shared_chain.aave.health(alice) == 10 * 2000 * 825 * WAD // (14_000 * 1000)
    shared_chain.set_price("WETH", Decimal(1_000))
    assert shared_chain.aave.health(alice) == 10 * 1000 * 825 * WAD // (14_000 * 1000)


def test_only_an_unhealthy_position_can_be_liquidated(shared_chain: DevChain):
    """The pool refuses with its own error above 1; below, half of the debt is repaid and the bonus paid."""
    alice, liquidator = shared_chain.accounts[:2]
    open_position(shared_chain, alice)
    with pytest.raises(Reverted, match="HealthFactorNotBelowThreshold"):
        shared_chain.aave.liquidate(liquidator, alice, "WETH", "USDC")
    shared_chain.set_price("WETH", Decimal(1_650))
    owed = shared_chain.aave.debt(alice, "USDC")
    shared_chain.aave.liquidate(liquidator, alice, "WETH", "USDC")
    repaid = owed - shared_chain.aave.debt(alice, "USDC")
    assert repaid == pytest.approx(owed / 2, rel=1e-6)
    received = shared_chain.balance(liquidator, "WETH") * 1_650 / WAD
    assert received == pytest.approx(repaid / 1e6 * 1.045, rel=1e-6)  # 5 % bonus, a tenth of it for the protocol


def test_account_without_debt_has_endless_health(shared_chain: DevChain):
    alice = shared_chain.accounts[0]
    open_position(shared_chain, alice)
    shared_chain.warp(3600)
    shared_chain.aave.repay(alice, "USDC")
    assert shared_chain.aave.debt(alice, "USDC") == 0
    assert shared_chain.aave.health(alice) == NO_DEBT
    shared_chain.aave.withdraw(alice, "WETH")
    assert shared_chain.aave.supplied(alice, "WETH") == 0


def test_interest_accrues_with_time(shared_chain: DevChain):
    alice = shared_chain.accounts[0]
    open_position(shared_chain, alice)
    before = shared_chain.aave.debt(alice, "USDC")
    shared_chain.warp(30 * 86400)
    assert shared_chain.aave.debt(alice, "USDC") > before


def test_emode_raises_the_threshold_of_its_collateral(shared_chain: DevChain):
    """WBTC counts 78 % outside and 93 % inside the category; a debt outside the category keeps one out."""
    alice, bob = shared_chain.accounts[:2]
    shared_chain.aave.supply(alice, "WBTC", Decimal(1))
    assert shared_chain.aave.user_account_data(alice).liquidation_threshold_bps == 7800
    shared_chain.aave.set_emode(alice, BTC_ETH_EMODE)
    assert shared_chain.aave.user_account_data(alice).liquidation_threshold_bps == 9300
    open_position(shared_chain, bob)
    with pytest.raises(Reverted):
        shared_chain.aave.set_emode(bob, BTC_ETH_EMODE)


def test_collateral_can_be_switched_off_and_a_tokens_sent_away(shared_chain: DevChain):
    alice, bob = shared_chain.accounts[:2]
    shared_chain.aave.supply(alice, "WETH", Decimal(2))
    shared_chain.aave.transfer_a_token(alice, bob, "WETH", Decimal(1))
    assert shared_chain.aave.supplied(bob, "WETH") == WAD
    assert shared_chain.aave.user_account_data(bob).total_collateral_base == 0  # since 3.6 nobody is opted in
    shared_chain.aave.set_collateral(bob, "WETH", True)
    assert shared_chain.aave.user_account_data(bob).total_collateral_base == 2_000 * 10**8
    shared_chain.aave.set_collateral(alice, "WETH", False)
    assert shared_chain.aave.user_account_data(alice).total_collateral_base == 0


def test_governance_changes_take_effect(shared_chain: DevChain):
    """Threshold, e-mode, pause, freeze, price source, oracle and a new reserve: each is seen in the market."""
    aave, alice = shared_chain.aave, shared_chain.accounts[0]
    aave.supply(alice, "WETH", Decimal(1))
    aave.configure_collateral("WETH", 7000, 7500, 10600)
    assert aave.user_account_data(alice).liquidation_threshold_bps == 7500
    aave.set_emode_category(2, 9100, 9400, 10200, "ether")
    aave.set_emode_collateral("WETH", 2, True)
    aave.set_emode(alice, 2)
    assert aave.user_account_data(alice).liquidation_threshold_bps == 9400

    aave.set_pause("WETH", True)
    with pytest.raises(Reverted, match="ReservePaused"):
        aave.withdraw(alice, "WETH")
    aave.set_pause("WETH", False, grace_s=600)
    aave.set_freeze("WETH", True)
    with pytest.raises(Reverted, match="ReserveFrozen"):
        aave.supply(alice, "WETH", Decimal(1))

    aave.set_asset_source("WETH", shared_chain.tokens.new_feed("WETH", 3_000 * 10**8))
    assert aave.user_account_data(alice).total_collateral_base == 3_000 * 10**8
    former = aave.oracle
    assert aave.replace_oracle() == aave.oracle != former
    assert aave.user_account_data(alice).total_collateral_base == 2_000 * 10**8

    aave.init_reserve("LINK", 18, Decimal(20), ReserveTerms(5000, 6500, 10700, 2000, 1000, (4500, 0, 700, 30000)))
    aave.supply(alice, "LINK", Decimal(100))
    assert aave.user_account_data(alice).total_collateral_base == 4_000 * 10**8


# --- feeds and the exchange -------------------------------------------------------------------------------------------


def test_feed_can_be_old(shared_chain: DevChain):
    long_ago = shared_chain.timestamp - 86_400
    shared_chain.set_price_at("WETH", Decimal("1234.5"), long_ago)
    signature = "latestRoundData()(uint80,int256,uint256,uint256,uint80)"
    _, answer, _, updated_at, _ = shared_chain.call(shared_chain.tokens["WETH"].feed, signature)
    assert (answer, updated_at) == (123_450_000_000, long_ago)


@pytest.mark.parametrize("mode", [FeedMode.REVERTING, FeedMode.ZERO, FeedMode.NEGATIVE])
def test_broken_feed_breaks_the_market_until_repaired(shared_chain: DevChain, mode: FeedMode):
    """Without a usable price (and without a fallback oracle) Aave cannot value the account."""
    alice = shared_chain.accounts[0]
    open_position(shared_chain, alice)
    shared_chain.break_feed("WETH", mode)
    with pytest.raises(Reverted):
        shared_chain.aave.health(alice)
    shared_chain.break_feed("WETH", FeedMode.ANSWERING)
    assert shared_chain.aave.health(alice) > WAD


@pytest.mark.parametrize(("symbol", "dollars"), [("WETH", 2_000), ("WBTC", 60_000), ("DAI", 1)])
def test_uniswap_trades_near_the_feed(shared_chain: DevChain, symbol: str, dollars: int):
    """A small trade pays the feed's price less the fee of 0.3 % and a little slippage."""
    worth_a_thousand = Decimal(1_000) / dollars
    amount = worth_a_thousand.quantize(Decimal(10) ** -8)
    assert shared_chain.quote(symbol, "USDC", amount) == pytest.approx(997_000_000, rel=1e-3)


@pytest.mark.parametrize("price", [Decimal(1_500), Decimal(2_600)])
def test_pool_can_be_moved_to_a_price(shared_chain: DevChain, price: Decimal):
    shared_chain.move_pool("WETH", price)
    assert shared_chain.quote("WETH", "USDC", Decimal("0.01")) == pytest.approx(float(price) * 0.997 * 1e4, rel=1e-5)


def test_multicall_answers_many_calls_at_once(shared_chain: DevChain):
    """A failing call among them does not fail the others."""
    alice = shared_chain.accounts[0]
    shared_chain.fund(alice, "DAI", 5)
    good = bytes.fromhex("70a08231") + bytes(12) + bytes.fromhex(alice[2:])
    dai = shared_chain.tokens["DAI"].address
    (ok, balance), (failed, _) = shared_chain.call(
        shared_chain.multicall3,
        "aggregate3((address,bool,bytes)[])((bool,bytes)[])",
        [(dai, True, good), (dai, True, b"\xde\xad\xbe\xef")],
    )
    assert (ok, int.from_bytes(balance, "big"), failed) == (True, 5, False)


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_reorg_undoes_what_was_in_its_blocks(dev_chain: DevChain):
    """Same height, other hashes, and state as before; below the fork nothing changed."""
    alice = dev_chain.accounts[0]
    dev_chain.mine(2)
    kept, height = dev_chain.block_hash(dev_chain.block_number), dev_chain.block_number
    open_position(dev_chain, alice)
    tip, orphaned = dev_chain.block_number, dev_chain.block_hash(dev_chain.block_number)
    dev_chain.reorg(tip - height)
    assert dev_chain.block_number == tip
    assert dev_chain.block_hash(height) == kept
    assert dev_chain.block_hash(tip) != orphaned
    assert dev_chain.aave.health(alice) == NO_DEBT
    open_position(dev_chain, alice)
    assert dev_chain.aave.health(alice) < 2 * WAD


def test_reorg_can_put_something_else_in_place(dev_chain: DevChain):
    """Transactions given with a reorg are mined in the new branch, at their offset."""
    alice, bob = dev_chain.accounts[:2]
    before = int(dev_chain.rpc("eth_getBalance", bob, "latest"), 16)
    dev_chain.mine(3)
    tip = dev_chain.block_number
    dev_chain.reorg(3, [({"from": alice, "to": bob, "value": "0x7"}, 1)])
    assert int(dev_chain.rpc("eth_getBalance", bob, hex(tip - 1)), 16) == before + 7
    assert int(dev_chain.rpc("eth_getBalance", bob, hex(tip - 2)), 16) == before


def test_deep_reorg_after_many_blocks_keeps_the_state(dev_chain: DevChain):
    """Enough history is kept; with Anvil's default the whole state would be empty afterwards."""
    alice = dev_chain.accounts[0]
    open_position(dev_chain, alice)
    dev_chain.mine(1_500)
    dev_chain.reorg(100)
    assert dev_chain.aave.debt(alice, "USDC") >= 14_000 * 10**6


def test_many_actions_share_one_block(dev_chain: DevChain):
    """In the order sent; a failing one is told after all are mined."""
    users = [dev_chain.make_account(n) for n in range(20)]
    with dev_chain.one_block():
        receipts = [dev_chain.aave.supply(user, "USDC", Decimal(100)) for user in users]
        with pytest.raises(DevnetError, match="not mined yet"):
            _ = receipts[0].block_number
    assert {receipt.block_number for receipt in receipts} == {dev_chain.block_number}
    with pytest.raises(Reverted, match="borrow reverted"), dev_chain.one_block():
        dev_chain.aave.borrow(users[0], "WETH", Decimal(1))
        dev_chain.fund(users[1], "DAI", 7)
    assert dev_chain.balance(users[1], "DAI") == 7


def test_views_can_look_back(shared_chain: DevChain):
    """By number and by hash."""
    alice = shared_chain.accounts[0]
    open_position(shared_chain, alice)
    then = shared_chain.block_number
    shared_chain.set_price("WETH", Decimal(1_000))
    now = shared_chain.aave.health(alice)
    assert shared_chain.aave.health(alice, then) == shared_chain.aave.health(alice, shared_chain.block_hash(then)) > now


def test_mining_by_hand_and_by_the_clock(dev_chain: DevChain):
    alice = dev_chain.accounts[0]
    dev_chain.mine_by_hand()
    height = dev_chain.block_number
    raw = Account.sign_transaction(
        {
            "chainId": dev_chain.chain_id,
            "nonce": 0,
            "to": alice,
            "value": 1,
            "gas": 21_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 1,
        },
        dev_chain.liquidator.private_key,
    ).raw_transaction
    tx_hash = dev_chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    assert dev_chain.rpc("eth_getTransactionReceipt", tx_hash) is None
    assert dev_chain.fund(alice, "DAI", 1).block_number == height + 1  # an action of ours mines its own block
    assert int(dev_chain.rpc("eth_getTransactionReceipt", tx_hash)["blockNumber"], 16) == height + 1
    with pytest.raises(DevnetError, match="whole seconds"):
        dev_chain.mine_every(0.5)
    dev_chain.mine_every(1.0)
    assert dev_chain.fund(alice, "DAI", 1).block_number > height + 1


def test_rewinding_undoes_everything(shared_chain: DevChain):
    alice, height = shared_chain.accounts[0], shared_chain.block_number
    with shared_chain.rewound():
        open_position(shared_chain, alice)
        shared_chain.warp(86_400)
        shared_chain.aave.init_reserve("UNI", 18, 10**9, ReserveTerms(0, 0, 0, 2000, 0, (4500, 0, 700, 30000)))
    assert shared_chain.block_number == height
    assert shared_chain.aave.health(alice) == NO_DEBT
    assert "UNI" not in shared_chain.aave.reserves
    assert shared_chain.timestamp < time.time() + 3600


def test_fork_carries_the_contracts_and_goes_its_own_way(dev_chain: DevChain):
    """Positions are there; what happens on the fork stays on the fork."""
    alice = dev_chain.accounts[0]
    open_position(dev_chain, alice)
    health = dev_chain.aave.health(alice)
    with dev_chain.fork() as fork:
        assert fork.aave.debt(alice, "USDC") > 0
        fork.set_price("WETH", Decimal(1_600))
        fork.aave.liquidate(fork.accounts[1], alice, "WETH", "USDC")
        assert fork.aave.health(alice) != health
    assert dev_chain.aave.health(alice) == health


# --- the process ------------------------------------------------------------------------------------------------------


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return (
        Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    )


def test_anvil_ends_with_its_context_even_when_it_hangs():
    with Anvil.start() as anvil:
        anvil.pause()
    assert gone(anvil.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_anvil_does_not_outlive_a_killed_owner():
    """SIGKILL of the owner leaves no Anvil behind."""
    program = "import time\nfrom keeper.devnet.anvil import Anvil\nprint(Anvil.start().pid, flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    deadline = time.monotonic() + 10
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(pid)


def test_taken_port_is_told():
    with (
        Anvil.start() as anvil,
        pytest.raises(DevnetError, match=f"port {anvil.port} is taken; .*--port 0 takes a free one"),
    ):
        Anvil.start(port=anvil.port)


def test_unanswered_request_is_an_error_not_a_wait(dev_chain: DevChain):
    dev_chain.stop()
    with pytest.raises(DevnetError, match="no answer from Anvil"):
        dev_chain.mine()


def test_unlocked_accounts_and_the_liquidators_key_are_as_promised(shared_chain: DevChain):
    """The wallet's key is the published one of its address, and the wallet is nobody else's account."""
    wallet = shared_chain.liquidator
    assert Account.from_key(wallet.private_key).address == wallet.address
    assert wallet.address not in shared_chain.accounts
    shared_chain.fund_liquidator(Decimal(100_000))
    assert shared_chain.balance(wallet.address, "WETH") == 50 * WAD
    assert shared_chain.balance(wallet.address, "WBTC") == 166_666_666


def test_written_configuration_is_a_valid_one(shared_chain: DevChain, tmp_path: Path):
    """Keeper itself reads it, secrets from the environment."""
    key = {"KEEPER_PRIVATE_KEY": shared_chain.liquidator.private_key}
    written = write_config(tmp_path / "a.toml", shared_chain, mode="live", accounts=shared_chain.accounts[:1])
    config = load_config(written, environment=key)
    assert [url.reveal() for url in config.chain.rpc] == [shared_chain.ws_url]
    assert config.protocols[0].settings["pool_addresses_provider"].hex() == shared_chain.aave.provider[2:].lower()
    assert config.executor.private_key is not None
    assert config.executor.private_key.reveal() == shared_chain.liquidator.private_key


@pytest.mark.parametrize(
    "written", [["aave_v3,morpho_blue"], ["morpho_blue", "aave_v3"], ["morpho_blue", "morpho_blue"]]
)
def test_protocols_are_listed_with_commas_or_blanks_and_each_once(written: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Path)
    assert parser.parse_args(["--protocols", *written]).protocols == list(dict.fromkeys(",".join(written).split(",")))


def test_a_protocol_that_the_dev_chain_has_not_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, Path)
    with pytest.raises(SystemExit):
        parser.parse_args(["--protocols", "aave_v3,morpho"])
    assert "there is no 'morpho' on the dev chain; there are aave_v3, morpho_blue" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (".", "is a directory; name a file in it"),
        ("mispelt/devnet.toml", "there is no directory"),
    ],
)
def test_a_configuration_that_cannot_be_written_is_told_before_there_is_a_chain(
    where: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing is made in its place."""
    assert main(["devnet", "--port", "0", "--config-out", str(tmp_path / where)]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "starting Anvil" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_no_dev_chain_wrote_is_not_replaced_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be that of a real deployment. One of an earlier dev chain is, and any with --force."""
    config = tmp_path / "keeper.toml"
    config.write_text("# of a real deployment\n")
    assert main(["devnet", "--port", "0", "--config-out", str(config)]) == 1
    said = capsys.readouterr().err
    assert f"{config} is there already; --force replaces it, --config-out names another" in said
    assert "starting Anvil" not in said
    assert config.read_text() == "# of a real deployment\n"
    _check_writable(config, force=True)
    config.write_text(OURS + "\n\n[chain]\n")
    _check_writable(config, force=False)


def test_devnet_command_stands_until_told_to_stop(tmp_path: Path):
    """It prints where everything is, writes a configuration, and SIGTERM stops it and Anvil with exit code 0."""
    command = [sys.executable, "-c", "from keeper.cli import main; raise SystemExit(main())"]
    arguments = ["devnet", "--json", "--port", "0", "--config-out", str(tmp_path / "devnet.toml")]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            facts = json.loads(process.stdout.readline())
            text = (tmp_path / "devnet.toml").read_text()
            assert text.startswith(OURS)
            config = tomllib.loads(text)
            provider = facts["contracts"]["pool_addresses_provider"]
            assert config["chain"]["rpc"] == [facts["ws_url"]]
            assert config["protocols"][0]["pool_addresses_provider"] == provider
            rpc = Rpc(int(facts["rpc_url"].rpartition(":")[2]))
            assert rpc("eth_getCode", provider, "latest") != "0x"
            assert [table["kind"] for table in config["protocols"]] == kinds()
            assert len(facts["positions"]) > 7
        finally:
            process.terminate()
        assert process.wait(20) == 0
    with pytest.raises(DevnetError, match="no answer"):
        rpc("eth_blockNumber")
