"""A feed that answers zero, a negative number, or not at all: nothing is decided by it, and everything else goes on."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from keeper.devnet.tokens import FeedMode
from tests.support.daemon import deploy
from tests.support.inbox import open_inbox
from tests.support.onchain import assert_parity, liquidations_on_chain


def test_a_broken_feed_calls_nobody_and_liquidates_nobody(dev_chain: DevChain, tmp_path: Path):
    """Its holders are unknown, others are judged as ever; when it answers again, so is everybody."""
    alice, bob = dev_chain.accounts[:2]
    dev_chain.aave.supply(alice, "WETH", Decimal(10))
    dev_chain.aave.borrow(alice, "USDC", Decimal(10_000))
    dev_chain.aave.supply(bob, "WBTC", Decimal(1))
    dev_chain.aave.borrow(bob, "DAI", Decimal(30_000))
    dev_chain.fund_liquidator()
    with open_inbox() as inbox, deploy(tmp_path, dev_chain, inbox, mode="live") as keeper:
        keeper.start()
        keeper.until_synced()
        for mode in (FeedMode.ZERO, FeedMode.NEGATIVE, FeedMode.REVERTING):
            dev_chain.break_feed("WETH", mode)
            dev_chain.set_price("WBTC", dev_chain.price("WBTC") - 10**8)
            keeper.until_synced()
            rows = keeper.health()
            weth = dev_chain.tokens["WETH"].address
            assert (rows[alice]["band"], rows[alice]["health_wad"]) == ("unknown", None)
            assert (rows[alice]["liquidatable"], rows[alice]["unpriced_assets"]) == (False, [weth])
            assert_parity(dev_chain, {bob: rows[bob]})
        unhealthy = keeper.until("the feed to be named", lambda: keeper.said("feed_unhealthy"))
        assert unhealthy[0]["asset"].lower() == weth.lower()
        assert inbox.notices() == []
        assert keeper.transactions() == []

        dev_chain.break_feed("WETH", FeedMode.ANSWERING)
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())
        assert inbox.notices() == []  # she was safe all along

        dev_chain.set_price("WETH", Decimal(1_150))
        keeper.until_told(inbox, alice, "opened", "liquidated")
        assert [account for account, _ in liquidations_on_chain(dev_chain)] == [alice]
        assert keeper.terminate() == 0
