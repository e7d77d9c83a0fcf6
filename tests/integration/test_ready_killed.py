"""SIGKILL while what was ready leaves: nothing but the row of armed transactions tells of it, and the chain decides."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from keeper.executor.armory import META
from tests.support.daemon import Keeper, deploy
from tests.support.fault_node import Cut
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.onchain import liquidations_on_chain, transactions_on_chain

SEND = "eth_sendRawTransaction"
Strike = Callable[[FaultProxy, Callable[[Any], Cut]], None]


def before_it_arrives(proxy: FaultProxy, kill: Callable[[Any], Cut]) -> None:
    proxy.instead(SEND, kill)


def before_the_answer(proxy: FaultProxy, kill: Callable[[Any], Cut]) -> None:
    proxy.tamper(SEND, kill)


@pytest.mark.parametrize(
    ("strike", "left"), [(before_it_arrives, False), (before_the_answer, True)], ids=["unsent", "sent"]
)
def test_a_daemon_killed_while_what_was_ready_leaves(
    dev_chain: DevChain, tmp_path: Path, strike: Strike, left: bool
) -> None:
    """Liquidated once, on nonces without a gap, and not one transaction is spent on what never left."""
    owner, us = dev_chain.accounts[0], dev_chain.liquidator.address
    dev_chain.fund_liquidator()
    usdc = dev_chain.tokens["USDC"].address
    dev_chain.send(us, usdc, "approve(address,uint256)", dev_chain.aave.pool, 2**256 - 1)
    dev_chain.aave.supply(owner, "WETH", Decimal(10))
    dev_chain.aave.borrow(owner, "USDC", Decimal(15_900))
    before = len(transactions_on_chain(dev_chain, us))
    with (
        fault_proxy(dev_chain) as proxy,
        deploy(tmp_path, dev_chain, mode="live", rpc=[proxy.ws], executor={"confirmations": 2}) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        dev_chain.mine()
        keeper.until("a transaction to be ready", lambda: armed(keeper))
        killed = threading.Event()

        def kill(_: Any) -> Cut:
            os.kill(keeper.pid, signal.SIGKILL)
            killed.set()
            return Cut()

        strike(proxy, kill)
        dev_chain.set_price("WETH", Decimal(1_700))
        assert killed.wait(60), keeper.log_tail()
        keeper.wait()
        # The block is stored behind the sending, so whoever is slow to answer may be overtaken by that.
        assert [row["status"] for row in keeper.liquidations()] in ([], ["planned"], ["broadcast"])
        keeper.start()
        keeper.until("it to be confirmed", lambda: blocks_pass(keeper) and "confirmed" in statuses(keeper))
        rows = keeper.liquidations()
        assert keeper.terminate() == 0
    assert sorted(row["status"] for row in rows) == (["confirmed"] if left else ["abandoned", "confirmed"])
    assert [owned for owned, _ in liquidations_on_chain(dev_chain)] == [owner]
    assert len(transactions_on_chain(dev_chain, us)) == before + 1
    assert dev_chain.aave.debt(owner, "USDC") == 0


def armed(keeper: Keeper) -> bool:
    with keeper.reading() as store:
        return bool(store.meta(META))


def statuses(keeper: Keeper) -> set[str]:
    return {row["status"] for row in keeper.liquidations()}


def blocks_pass(keeper: Keeper) -> bool:
    if keeper.is_synced():
        keeper.chain.mine()
    return True
