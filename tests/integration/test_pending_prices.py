"""Price updates that are not mined yet, on the real Aave: the daemon is in their block, right behind them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.updates import Updater


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
        yield shared


def ready(keeper: Keeper) -> None:
    keeper.start()
    keeper.until_synced()
    keeper.until("the feeds to be watched", lambda: keeper.said("price_feeds_watched"))
    keeper.until("the pool to be followed", lambda: keeper.said("pending_transactions_followed"))


def statuses(keeper: Keeper) -> list[str]:
    return [row["status"] for row in keeper.liquidations()]


def test_ours_is_mined_in_the_block_of_the_update_right_behind_it(chain: DevChain, tmp_path: Path) -> None:
    """By the mempool: what ours pays puts it behind. The profit is what was expected, to the unit."""
    updater = Updater(chain)
    with deploy(tmp_path, chain, mode="live", executor={"pending_prices": "send"}) as keeper:
        ready(keeper)
        update = updater.send("WETH", 1_600)
        keeper.until("ours to follow", lambda: statuses(keeper) == ["broadcast"])
        chain.mine()
        keeper.until("the liquidation", lambda: statuses(keeper) == ["included"])
        [row] = keeper.liquidations()
        (block, place), ours = updater.places(update, row["tx_hash"])
        assert ours is not None
        assert (ours[0], ours[1] > place) == (block, True)
