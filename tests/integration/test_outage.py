"""The node is gone for over a thousand blocks: Keeper says that it is blind, and then tells what is true by now."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from tests.support.daemon import deploy
from tests.support.fault_proxy import fault_proxy
from tests.support.inbox import Inbox, open_inbox
from tests.support.onchain import assert_parity

MISSED = 1_100


def test_what_is_true_at_the_present_is_told_once_and_nothing_of_what_passed(dev_chain: DevChain, tmp_path: Path):
    """Called before and cured meanwhile, called before and liquidated meanwhile, fallen meanwhile, dipped meanwhile:
    three owners hear one thing each, the fourth nothing, however often prices crossed their lines."""
    cured, lost, fallen, dipped = dev_chain.accounts[:4]
    for owner, borrowed in ((cured, 15_300), (lost, 15_300), (fallen, 11_000), (dipped, 13_500)):
        dev_chain.aave.supply(owner, "WETH", Decimal(10))
        dev_chain.aave.borrow(owner, "USDC", Decimal(borrowed))
    more = {"operator": {"owners_after_minutes": 60}, "defences": {"max_block_ahead_minutes": 0}}
    node = {"stale_after_s": 2.0, "request_timeout_s": 1.0}
    with (
        fault_proxy(dev_chain) as proxy,
        open_inbox() as inbox,
        deploy(tmp_path, dev_chain, inbox, rpc=[proxy.ws], node=node, more=more) as keeper,
    ):
        keeper.start()
        keeper.until_told(inbox, cured, "opened")
        keeper.until_told(inbox, lost, "opened")
        keeper.until_synced()
        proxy.down()
        keeper.until("it to be blind", lambda: [m for m in keeper.said("mode_changed") if m["mode"] == "blind"])
        dev_chain.aave.repay(cured, "USDC", Decimal(8_000))
        for price in (1_700, 1_950, 1_600, 1_990, 1_700):
            dev_chain.set_price("WETH", Decimal(price))
            dev_chain.mine(MISSED // 5)
        dev_chain.aave.liquidate(dev_chain.accounts[8], lost, "WETH", "USDC")
        dev_chain.aave.supply(dipped, "WETH", Decimal(10))
        dev_chain.set_price("WETH", Decimal(1_450))
        dev_chain.mine(5)
        proxy.up()
        keeper.until_told(inbox, fallen, "opened")
        keeper.until_told(inbox, cured, "opened", "cured")
        keeper.until_told(inbox, lost, "opened", "liquidated")
        keeper.until_synced()
        assert inbox.events(dipped) == []
        assert_parity(dev_chain, keeper.health())
        modes = [mode["mode"] for mode in keeper.said("mode_changed")]
        assert "following" in modes[modes.index("blind") :]
        both = {("unhealthy", "heads"), ("recovered", "heads")}
        keeper.until("operators to hear of both", lambda: about_keeper(inbox) == both)
        of_positions = [notice for notice in inbox.notices() if notice["account"]]
        assert len(of_positions) == 5
        assert keeper.terminate() == 0


def about_keeper(inbox: Inbox) -> set[tuple[str, str]]:
    """What was told of Keeper itself: the event, and about which trouble."""
    return {(one["event"], one["trouble"]) for one in inbox.notices() if one["protocol"] == "keeper"}
