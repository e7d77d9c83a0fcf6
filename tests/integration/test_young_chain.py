"""A chain on which the protocol is younger than finality: a fresh dev chain, a new rollup, a fork."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from tests.support.daemon import deploy
from tests.support.onchain import assert_parity


def test_a_reorg_below_the_head_of_the_first_start_is_survived(tmp_path: Path):
    """Nothing is final yet, so the daemon begins where the market is whole, not at the head it happened to meet."""
    with DevChain.start(slots_in_epoch=100) as chain:
        owner = chain.accounts[0]
        chain.aave.supply(owner, "WETH", Decimal(10))
        chain.mine(3)
        chain.aave.borrow(owner, "USDC", Decimal(14_000))
        with deploy(tmp_path, chain) as keeper:
            keeper.start()
            keeper.until_synced()
            before = chain.block_number
            chain.reorg(4)  # the debt is gone with its block, which was mined before the daemon was started
            chain.mine()
            assert chain.block_number == before + 1
            keeper.until_synced()
            row = keeper.health()[owner]
            assert row["debts"] == []
            assert_parity(chain, keeper.health())
            assert keeper.terminate() == 0
