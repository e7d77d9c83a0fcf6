"""A node that loses transactions, or says that it did: each liquidation is mined exactly once all the same."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.fault_node import Cut, Refuse
from tests.support.fault_proxy import FaultProxy, fault_proxy, refused, swallowed
from tests.support.onchain import liquidations_on_chain, transactions_on_chain

SEND = "eth_sendRawTransaction"


def swallow(proxy: FaultProxy) -> None:
    proxy.instead(SEND, swallowed, times=2)


def take_and_refuse(proxy: FaultProxy) -> None:
    proxy.tamper(SEND, refused, times=2)


def take_and_disconnect(proxy: FaultProxy) -> None:
    proxy.tamper(SEND, lambda _: Cut(), times=2)


def take_and_name_another_hash(proxy: FaultProxy) -> None:
    proxy.tamper(SEND, lambda _: "0x" + "5a" * 32, times=2)


def refuse_as(message: str) -> Callable[[FaultProxy], None]:
    return lambda proxy: proxy.instead(SEND, lambda _: Refuse(-32000, message), times=2)


LIES: dict[str, Callable[[FaultProxy], None]] = {
    "accepted and thrown away": swallow,
    "taken and called refused": take_and_refuse,
    "taken, and then silence": take_and_disconnect,
    "taken under another name": take_and_name_another_hash,
    "refused as too low a nonce": refuse_as("nonce too low: next nonce 7, tx nonce 0"),
    "refused as underpriced": refuse_as("replacement transaction underpriced"),
    "refused as known already": refuse_as("already known"),
}


@pytest.mark.parametrize("lie", LIES)
def test_liquidations_are_mined_exactly_once(dev_chain: DevChain, tmp_path: Path, lie: str):
    """The first two transactions are lied about: the approval and a liquidation."""
    owners = dev_chain.accounts[:2]
    for owner in owners:
        dev_chain.aave.supply(owner, "WETH", Decimal(10))
        dev_chain.aave.borrow(owner, "USDC", Decimal(14_000))
    dev_chain.fund_liquidator()
    with (
        fault_proxy(dev_chain) as proxy,
        deploy(tmp_path, dev_chain, mode="live", rpc=[proxy.ws], executor={"confirmations": 2}) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        LIES[lie](proxy)
        dev_chain.set_price("WETH", Decimal(1_600))
        keeper.until("both to be confirmed", lambda: blocks_pass(keeper) and confirmed(keeper) == set(owners))
        rows = keeper.liquidations()
        assert proxy.waiting == 0
        assert keeper.terminate() == 0
    assert sorted(owner for owner, _ in liquidations_on_chain(dev_chain)) == sorted(owners)
    mined = transactions_on_chain(dev_chain, dev_chain.liquidator.address)
    assert all(receipt["status"] == "0x1" for receipt in mined)
    recorded = {row["tx_hash"] for row in rows if row["status"] == "confirmed"}
    assert len(recorded) == 2
    assert recorded <= {receipt["transactionHash"] for receipt in mined}


def blocks_pass(keeper: Keeper) -> bool:
    """Another block, once the daemon has the last one."""
    if keeper.is_synced():
        keeper.chain.mine()
    return True


def confirmed(keeper: Keeper) -> set[Any]:
    return {row["account"] for row in keeper.liquidations() if row["status"] == "confirmed"}
