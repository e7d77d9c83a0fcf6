"""A rehearsal: the daemon on an Anvil fork of a market, from index to confirmed liquidation.

With KEEPER_FORK_URL set (Ethereum, Arbitrum or Base; an archive node is not needed) that chain is forked and configured
as in configs/. Without it a second Anvil forks a local one that carries the dev chain, so the path is always walked.

Only accounts that borrowed within the last few thousand blocks are indexed: the adapter reads an account that it meets
whole, wherever the scan began, so what it says of them is exact; a complete index would take hours on a public node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from keeper.devnet.chain import DevChain
from tests.fork.forked import Fork, upstream
from tests.support.daemon import Keeper
from tests.support.inbox import Inbox, open_inbox
from tests.support.onchain import LIQUIDATION_CALL

URL = os.environ.get("KEEPER_FORK_URL")
PATIENCE_S = 60.0 if URL is None else 900.0
"""A fork fetches each word of state that it has not seen yet from its upstream."""

Json = dict[str, Any]


@pytest.fixture
def fork() -> Iterator[Fork]:
    with upstream(URL) as (url, tables), Fork.of(url, tables) as fork:
        yield fork


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


@pytest.fixture
def keeper(fork: Fork, inbox: Inbox, tmp_path: Path) -> Iterator[Keeper]:
    webhook = {"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"}
    config = fork.write_config(tmp_path / "keeper.toml", webhook)
    keeper = Keeper(cast(DevChain, fork), config, tmp_path / "keeper.log")  # a fork has all that it asks of a chain
    try:
        yield keeper
    finally:
        if keeper.process is not None and keeper.process.poll() is None:
            keeper.process.kill()
            keeper.process.wait(30)


@pytest.mark.timeout(300 if URL is None else 3600)
def test_a_market_is_indexed_called_and_liquidated_on_a_fork(fork: Fork, inbox: Inbox, keeper: Keeper):
    """Health is the pool's own before and after; a fall of one price is called, liquidated and confirmed."""
    keeper.start()
    keeper.until("the index", keeper.is_synced, patience_s=PATIENCE_S)
    rows = keeper.health()
    assert_parity(fork, rows)

    victim = borrower_of_one_asset_against_another(rows)
    (collateral,), (debt,) = victim["collaterals"], victim["debts"]
    fork.fund(debt["asset"], int(debt["amount"]))
    fork.scale_price(collateral["asset"], Decimal("0.97") * 10**18 / int(victim["health_wad"]))
    account = victim["account"]
    keeper.until(
        "a confirmed liquidation",
        lambda: blocks_pass(fork, keeper) and confirmed(keeper, account),
        patience_s=PATIENCE_S,
    )
    keeper.until("the closing notice", lambda: "liquidated" in inbox.events(account), patience_s=PATIENCE_S)
    assert inbox.events(account)[0] == "opened"

    (row,) = confirmed(keeper, account)
    receipt = fork.anvil.rpc("eth_getTransactionReceipt", row["tx_hash"])
    assert (receipt["status"], receipt["blockHash"]) == ("0x1", row["block_hash"])
    assert receipt["from"].lower() == fork.liquidator.address.lower()
    (log,) = [log for log in receipt["logs"] if log["topics"][0] == LIQUIDATION_CALL]
    assert log["topics"][3][-40:] == account[2:].lower()
    assert_parity(fork, keeper.health())
    assert keeper.terminate() == 0


def assert_parity(fork: Fork, rows: dict[str, Json]) -> None:
    assert rows
    for account, row in rows.items():
        theirs = fork.account_data(account, bytes.fromhex(row["block_hash"][2:]))
        assert {name: int(value) for name, value in row["native"].items()} == theirs, account


def borrower_of_one_asset_against_another(rows: dict[str, Json]) -> Json:
    """Of the healthy ones worth liquidating, the nearest to it: its health follows the price of its one collateral."""
    fit = [
        row
        for row in rows.values()
        if len(row["collaterals"]) == len(row["debts"]) == 1
        and row["collaterals"][0]["asset"] != row["debts"][0]["asset"]
        and row["band"] in ("safe", "watch")
        and int(row["native"]["totalDebtBase"]) >= 500 * 10**8
    ]
    assert fit, "nobody who borrowed lately owes one asset against another; fork another block"
    return min(fit, key=lambda row: int(row["health_wad"]))


def blocks_pass(fork: Fork, keeper: Keeper) -> bool:
    if keeper.is_synced():
        fork.anvil.mine()
    return True


def confirmed(keeper: Keeper, account: str) -> list[Json]:
    return [row for row in keeper.liquidations() if row["account"] == account and row["status"] == "confirmed"]
