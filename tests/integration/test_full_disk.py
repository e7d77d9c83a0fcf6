"""A store that cannot grow any more, as on a full disk: a clear end, nothing sent, and a start that goes on."""

from __future__ import annotations

import resource
from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from tests.support.daemon import deploy
from tests.support.onchain import assert_parity, liquidations_on_chain


def test_what_cannot_be_journalled_is_not_sent(dev_chain: DevChain, tmp_path: Path):
    """The block that opens a position is the one that cannot be stored: the daemon ends, names its disk and the remedy;
    with room again the position is liquidated once."""
    owner = dev_chain.accounts[0]
    dev_chain.aave.supply(owner, "WETH", Decimal(10))
    dev_chain.aave.borrow(owner, "USDC", Decimal(14_000))
    dev_chain.fund_liquidator()
    with deploy(tmp_path, dev_chain, mode="live", executor={"confirmations": 2}) as keeper:
        keeper.start()
        keeper.until_synced()
        resource.prlimit(keeper.pid, resource.RLIMIT_FSIZE, (4_096, 4_096))
        dev_chain.set_price("WETH", Decimal(1_600))
        assert keeper.wait() == 1
        log = keeper.log_tail()
        assert "keeper.db" in log and "check the disk" in log, log
        assert liquidations_on_chain(dev_chain) == []
        assert dev_chain.rpc("eth_getTransactionCount", dev_chain.liquidator.address, "pending") == "0x0"
        keeper.start()

        def liquidated() -> bool:
            if keeper.is_synced():
                dev_chain.mine()
            return [row["status"] for row in keeper.liquidations()] == ["confirmed"]

        keeper.until("it to be liquidated", liquidated)
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())
        assert keeper.terminate() == 0
    assert [account for account, _ in liquidations_on_chain(dev_chain)] == [owner]
