"""A chain on which the protocol is younger than finality: a fresh dev chain, a new rollup, a fork."""

from __future__ import annotations

import re
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


def test_a_protocol_that_begins_beyond_the_head_is_waited_for_loudly(tmp_path: Path):
    """A slip in start_block, or a node that still syncs: nothing is indexed and nothing is said to be followed, since
    nobody would be watched. Once the chain is there, everybody is."""
    with DevChain.start() as chain:
        owner = chain.accounts[0]
        chain.mine(3)
        start = chain.block_number + 4
        with deploy(tmp_path, chain) as keeper:
            text = keeper.config.read_text()
            keeper.config.write_text(re.sub(r"^start_block = .*", f"start_block = {start}", text, flags=re.MULTILINE))
            checked = keeper.run("check")
            said = f"start_block {start} of aave is beyond the newest block, {chain.block_number}"
            assert (checked.returncode, checked.stdout.count(f"FAIL  aave start_block             {said}")) == (1, 1)
            keeper.start()
            (warning, *_) = keeper.until("a warning", lambda: keeper.said("retrying"))
            assert said in warning["error"] and "correct start_block" in warning["error"]
            (status,) = keeper.ask("status")
            assert (status["mode"]["mode"], keeper.cursor()) == ("catching_up", None)
            chain.mine(5)
            chain.aave.supply(owner, "WETH", Decimal(10))
            keeper.until_synced()
            keeper.until("the owner's position", lambda: owner in keeper.health())
            assert keeper.run("check").returncode == 0
            assert keeper.terminate() == 0
