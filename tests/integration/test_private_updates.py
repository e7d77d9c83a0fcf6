"""Behind a price update by bundle: with it in its block, or at no cost. A real Aave, and a relay that builds blocks."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.integration.test_pending_prices import SEND, mine, pass_by, ready, until
from tests.support.daemon import Keeper, deploy
from tests.support.relay import Relay, open_relay
from tests.support.updates import GWEI, Updater


@pytest.fixture(scope="module")
def shared() -> Iterator[DevChain]:
    with DevChain.start(manual_mining=True, first_come=True) as chain:
        yield chain


@pytest.fixture
def chain(shared: DevChain) -> Iterator[DevChain]:
    """Blocks are mined by hand; one borrower of 14,000 USDC against 10 WETH at $2,000."""
    with shared.rewound():
        account = shared.accounts[0]
        shared.aave.supply(account, "WETH", Decimal(10))
        shared.aave.borrow(account, "USDC", Decimal(14_000))
        shared.fund_liquidator()
        yield shared
        shared.rpc("anvil_dropAllTransactions")


@pytest.fixture
def relay(chain: DevChain) -> Iterator[Relay]:
    with open_relay(chain.anvil) as relay:
        yield relay


def bundles(relay: Relay) -> dict[str, Any]:
    return {"kind": "bundle", "name": "builder", "url": relay.url}


def mev_share(relay: Relay) -> dict[str, Any]:
    return {"kind": "mev_share", "url": relay.url, "stream": relay.url}


def paid(chain: DevChain) -> int:
    """What the wallet has sent so far, in transactions."""
    return int(chain.rpc("eth_getTransactionCount", chain.liquidator.address, "latest"), 16)


def public(chain: DevChain) -> list[str]:
    """Senders of what waits in the mempool."""
    return [str(tx["from"]) for tx in chain.rpc("eth_getBlockByNumber", "pending", True)["transactions"]]


def listening(keeper: Keeper, relay: Relay) -> None:
    ready(keeper)
    keeper.until("the event stream to be followed", lambda: relay.listeners)


def test_ours_is_bundled_with_the_update_and_mined_behind_it(chain: DevChain, relay: Relay, tmp_path: Path) -> None:
    """Nobody sees it before; approval and liquidation in the update's own block, in order."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[bundles(relay)]) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        [row] = until(keeper, "broadcast")
        assert row["behind"] == {"tx_hash": update, "for_block": chain.block_number + 1}
        assert [sender.lower() for sender in public(chain)] == [updater.sender.lower()]
        assert len(relay.bundles[-1].txs) == 3
        relay.build()
        [row] = until(keeper, "included")
        at, ours = updater.place(update), updater.place(row["tx_hash"])
        assert at is not None
        assert ours == (at[0], at[1] + 2)
        mine(keeper, 3)
        until(keeper, "confirmed")


def test_an_update_that_never_comes_costs_nothing(chain: DevChain, relay: Relay, tmp_path: Path) -> None:
    """The block passes without the bundle: ours lapses, its nonce is free, and the next update finds us ready."""
    updater, before = Updater(chain), paid(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[bundles(relay)]) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        until(keeper, "broadcast")
        updater.cancel(update)
        relay.drop = True
        relay.build()
        keeper.until_synced()
        relay.build()
        keeper.until_synced()
        relay.drop = False
        [row] = until(keeper, "abandoned")
        assert "lapsed" in row["reason"]
        assert paid(chain) == before
        updater.send("WETH", 1_500)
        until(keeper, "abandoned", "broadcast")
        relay.build()
        lapsed, mined = until(keeper, "abandoned", "included")
        assert mined["attempts"][0]["nonce"] == lapsed["attempts"][0]["nonce"]
        assert not keeper.ever_said("nonces_missing")


def test_while_the_update_waits_it_is_followed_into_every_block(chain: DevChain, relay: Relay, tmp_path: Path) -> None:
    """Each offer is for one block; none but the last is mined, and the nonce is always the same."""
    updater = Updater(chain, max_fee_wei=5 * GWEI)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[bundles(relay)]) as keeper:
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
        chain.mine()
        ready(keeper)
        update = updater.send("WETH", 1_600)
        until(keeper, "broadcast")
        for _ in range(2):
            pass_by(keeper, update)
            keeper.until("the next offer", lambda: chain.block_number + 1 in [one.block for one in relay.bundles])
        assert updater.place(update) is None
        relay.build()
        rows = keeper.until(
            "the last to be mined",
            lambda: rows if (rows := keeper.liquidations())[-1]["status"] == "included" else None,
        )
        assert len(rows) == 3
        assert len({row["attempts"][0]["nonce"] for row in rows}) == 1
        assert len({attempt["tx_hash"] for row in rows for attempt in row["attempts"]}) == 3


@pytest.mark.parametrize("told", [{"calldata": True, "logs": False}, {"calldata": False, "logs": True}])
def test_a_hint_of_mev_share_is_enough(chain: DevChain, relay: Relay, tmp_path: Path, told: dict[str, bool]) -> None:
    """From the call data, or the logs alone: ours goes behind the hash, without anybody having seen the update."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[mev_share(relay)]) as keeper:
        listening(keeper, relay)
        relay.tell("no hint at all")
        relay.tell({"hash": "0x" + "ab" * 32, "logs": None, "txs": [{"to": "0x1", "callData": "0x"}]})
        update = relay.share(updater.signed("WETH", 1_600), **told)
        [row] = until(keeper, "broadcast")
        assert row["behind"] == {"tx_hash": update.known_by, "for_block": chain.block_number + 1}
        assert public(chain) == []
        mined = relay.build()
        [row] = until(keeper, "included")
        assert mined[0] != update.known_by
        assert mined[-1] == row["tx_hash"]
        at, ours = updater.place(mined[0]), updater.place(row["tx_hash"])
        assert at is not None
        assert ours == (at[0], at[1] + 2)
        assert relay.asked[-1] == "mev_sendBundle"


def test_what_loses_the_auction_of_mev_share_costs_nothing(chain: DevChain, relay: Relay, tmp_path: Path) -> None:
    """The update is mined without ours: ours lapses, and the position is liquidated in the open instead."""
    updater, before = Updater(chain), paid(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[mev_share(relay)]) as keeper:
        listening(keeper, relay)
        relay.share(updater.signed("WETH", 1_600))
        until(keeper, "broadcast")
        relay.bundles.clear()
        relay.build()
        keeper.until("the open liquidation", lambda: len(keeper.liquidations()) == 2)
        assert paid(chain) == before
        relay.build()
        keeper.until("it to be mined", lambda: keeper.liquidations()[-1]["status"] == "included")
        until(keeper, "abandoned", "included")


def test_killed_between_journal_and_network_nothing_is_lost_or_sent_twice(
    chain: DevChain, relay: Relay, tmp_path: Path
) -> None:
    """Started again, it finds the update still waiting and follows it into the next block."""
    updater = Updater(chain, max_fee_wei=5 * GWEI)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[bundles(relay)]) as keeper:
        ready(keeper)
        relay.delay_s = 1.5
        update = updater.send("WETH", 1_600)
        until(keeper, "planned")
        keeper.kill()
        assert relay.bundles == []
        relay.delay_s = 0.0
        ready(keeper)
        pass_by(keeper, update)
        keeper.until("the second offer", lambda: relay.bundles)
        keeper.until("it to be journalled", lambda: len(keeper.liquidations()) == 2)
        relay.build()
        keeper.until("it to be mined", lambda: keeper.liquidations()[-1]["status"] == "included")
        assert updater.place(update) is not None
        mine(keeper, 2)
        until(keeper, "abandoned", "confirmed")
        assert chain.aave.debt(chain.accounts[0], "USDC") < 14_000 * 10**6


def test_a_reorg_under_a_followed_update_is_settled_without_help(chain: DevChain, relay: Relay, tmp_path: Path) -> None:
    """Update and liquidation vanish together; what was ours is given up, and the next update finds us ready."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=[bundles(relay)]) as keeper:
        ready(keeper)
        updater.send("WETH", 1_600)
        until(keeper, "broadcast")
        relay.build()
        until(keeper, "included")
        chain.reorg(1)
        keeper.until_synced()
        for _ in range(6):
            relay.build()
            keeper.until_synced()
        keeper.until("the first to be given up", lambda: keeper.liquidations()[0]["status"] == "abandoned")
        assert chain.aave.debt(chain.accounts[0], "USDC") >= 14_000 * 10**6
        update = updater.send("WETH", 1_500)
        keeper.until("the next to be followed", lambda: keeper.liquidations()[-1]["status"] == "broadcast")
        relay.build()
        keeper.until("it to be mined", lambda: keeper.liquidations()[-1]["status"] == "included")
        assert updater.place(update) is not None
        assert not keeper.ever_said("liquidation_failed")
