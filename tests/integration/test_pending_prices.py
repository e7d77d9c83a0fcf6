"""Price updates that are not mined yet, on the real Aave: the daemon is in their block, right behind them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Json, Keeper, deploy
from tests.support.updates import GWEI, Updater

SEND = {"pending_prices": "send"}


@pytest.fixture(scope="module")
def shared() -> Iterator[DevChain]:
    with DevChain.start(manual_mining=True) as chain:
        yield chain


@pytest.fixture
def chain(shared: DevChain) -> Iterator[DevChain]:
    """Blocks are mined by hand; one borrower of 14,000 USDC against 10 WETH at $2,000."""
    with shared.rewound():
        account = shared.accounts[0]
        shared.aave.supply(account, "WETH", Decimal(10))
        shared.aave.borrow(account, "USDC", Decimal(14_000))
        shared.fund_liquidator()
        shared.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        shared.mine()
        yield shared
        shared.rpc("anvil_dropAllTransactions")


def ready(keeper: Keeper) -> None:
    keeper.start()
    keeper.until_synced()
    keeper.until("the feeds to be watched", lambda: keeper.said("price_feeds_watched"))
    keeper.until("the pool to be followed", lambda: keeper.said("pending_transactions_followed"))


def statuses(keeper: Keeper) -> list[str]:
    return [row["status"] for row in keeper.liquidations()]


def until(keeper: Keeper, *expected: str) -> list[Json]:
    keeper.until(f"liquidations {expected}", lambda: statuses(keeper) == list(expected))
    return keeper.liquidations()


def pass_by(keeper: Keeper, *hashes: str) -> None:
    """A block whose base fee is above what these waiting transactions offer; they wait on, as every node's pool has it
    (Anvil would forget them). The daemon sleeps meanwhile, so that it sees nothing in between."""
    chain = keeper.chain
    raws = [chain.rpc("eth_getRawTransactionByHash", one) for one in hashes]
    os.kill(keeper.pid, signal.SIGSTOP)
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(6 * GWEI))
    chain.mine()
    chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    for raw in raws:
        chain.rpc("eth_sendRawTransaction", raw)
    os.kill(keeper.pid, signal.SIGCONT)
    keeper.until_synced()


def mine(keeper: Keeper, blocks: int = 1) -> None:
    """One after the other, each taken by the daemon."""
    for _ in range(blocks):
        keeper.chain.mine()
        keeper.until_synced()


def test_ours_is_mined_in_the_block_of_the_update_right_behind_it(chain: DevChain, tmp_path: Path) -> None:
    """By the mempool: what ours pays puts it behind, though others pay in between; it brings what was expected."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        [row] = until(keeper, "broadcast")
        assert row["behind"] == {"tx_hash": update, "for_block": None}
        chain.mine()
        [row] = until(keeper, "included")
        at, ours = updater.place(update), updater.place(row["tx_hash"])
        assert at is not None
        assert ours is not None
        assert ours[0] == at[0]
        assert ours[1] > at[1]
        assert int(row["seized"]) > 0
        expected, realized = int(row["profit_expected"]), int(row["profit_realized"])
        assert realized == pytest.approx(expected, rel=1e-6)
        assert sum(map(int, row["difference"].values())) == realized - expected
        mine(keeper, 3)
        until(keeper, "confirmed")


def test_an_update_that_opens_nothing_does_nothing(chain: DevChain, tmp_path: Path) -> None:
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        updater.send("WETH", 1_900)
        [seen] = keeper.until("the update to be judged", lambda: keeper.said("price_update_foreseen"))
        assert seen["open_to_liquidation"] == 0
        mine(keeper)
        assert keeper.transactions() == []


def test_an_update_that_would_fail_is_not_followed(chain: DevChain, tmp_path: Path) -> None:
    """Here for want of gas."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        updater.send("WETH", 1_600, gas=40_000)
        keeper.until("the update to be judged", lambda: keeper.said("price_update_would_fail"))
        mine(keeper)
        assert keeper.transactions() == []


def test_an_update_behind_another_of_its_sender_is_followed_when_it_is_its_turn(
    chain: DevChain, tmp_path: Path
) -> None:
    """Nobody knows whether a block takes the one before it."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        first = updater.send("WBTC", 60_000, maxFeePerGas=5 * GWEI, maxPriorityFeePerGas=GWEI)
        second = updater.send("WETH", 1_600, nonce=updater.nonce + 1, maxFeePerGas=5 * GWEI)
        keeper.until("the second to be seen", lambda: keeper.said("price_update_waits_for_another"))
        assert keeper.transactions() == []
        pass_by(keeper, first, second)
        assert keeper.transactions() == []
        mine(keeper)
        assert updater.place(second) is not None
        [row] = until(keeper, "broadcast")
        assert row["behind"] is None


def test_when_the_update_is_replaced_ours_is_cancelled_and_never_reverts(chain: DevChain, tmp_path: Path) -> None:
    """In the mempool the most that it can cost is an empty transfer."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        until(keeper, "broadcast")
        updater.cancel(update)
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(updater.max_fee_wei))  # so that ours is not mined either
        mine(keeper)
        keeper.until("ours to be cancelled", lambda: "cancel" in [t["purpose"] for t in keeper.transactions()])
        mine(keeper, 4)
        [row] = until(keeper, "abandoned")
        assert "given up" in row["reason"]
        assert chain.aave.debt(chain.accounts[0], "USDC") >= 14_000 * 10**6
        assert not keeper.ever_said("liquidation_failed")


def test_ours_waits_as_long_as_the_update_and_never_overtakes_it(chain: DevChain, tmp_path: Path) -> None:
    """A base fee above what the update offers keeps both out of the block; when it has fallen both are in, in order."""
    updater = Updater(chain, max_fee_wei=5 * GWEI)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        until(keeper, "broadcast")
        pass_by(keeper, update, *(row["tx_hash"] for row in keeper.transactions()))
        assert updater.place(update) is None
        assert statuses(keeper) == ["broadcast"]
        mine(keeper)
        [row] = until(keeper, "included")
        at, ours = updater.place(update), updater.place(row["tx_hash"])
        assert at is not None
        assert ours is not None
        assert (ours[0], ours[1] > at[1]) == (at[0], True)
        assert [attempt["purpose"] for attempt in row["attempts"]] == ["act"]


def test_an_update_that_never_comes_is_not_waited_for(chain: DevChain, tmp_path: Path) -> None:
    """Nonces behind ours must not wait for ever: after a few blocks it is cancelled."""
    updater = Updater(chain, max_fee_wei=5 * GWEI)
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        until(keeper, "broadcast")
        ours = [row["tx_hash"] for row in keeper.transactions()]
        for _ in range(3):
            pass_by(keeper, update, *ours)
        keeper.until("ours to be cancelled", lambda: "cancel" in [t["purpose"] for t in keeper.transactions()])
        updater.cancel(update)
        mine(keeper, 3)
        [row] = until(keeper, "abandoned")
        assert "was not mined for 3 blocks" in row["reason"]


def test_a_daemon_whose_node_pushes_nothing_says_so_once_and_goes_on(chain: DevChain, tmp_path: Path) -> None:
    """It liquidates once the update is mined, as ever."""
    updater = Updater(chain)
    with deploy(
        tmp_path, chain, mode="live", executor=SEND, rpc=[chain.rpc_url], node={"poll_interval_s": 0.05}
    ) as keeper:
        keeper.start()
        keeper.until_synced()
        keeper.until("it to be said", lambda: keeper.said("pending_transactions_unavailable"))
        updater.send("WETH", 1_600)
        mine(keeper)
        until(keeper, "broadcast")
        mine(keeper)
        [row] = until(keeper, "included")
        assert row["behind"] is None
        assert len(keeper.said("pending_transactions_unavailable")) == 1


def test_off_follows_nothing(chain: DevChain, tmp_path: Path) -> None:
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live") as keeper:
        keeper.start()
        keeper.until_synced()
        updater.send("WETH", 1_600)
        mine(keeper)
        [row] = until(keeper, "broadcast")
        assert row["behind"] is None
        assert not keeper.said("pending_transactions_followed")
