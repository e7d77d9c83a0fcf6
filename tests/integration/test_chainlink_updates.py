"""Reports of a Chainlink node, through its forwarder to the aggregator behind the proxy that the real Aave asks."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.integration.test_pending_prices import SEND, mine, ready, until
from tests.support.chainlink import ChainlinkFeed
from tests.support.daemon import deploy
from tests.support.relay import open_relay
from tests.support.updates import Updater


@pytest.fixture(scope="module")
def shared() -> Iterator[DevChain]:
    with DevChain.start(manual_mining=True, first_come=True) as chain:
        yield chain


@pytest.fixture
def chain(shared: DevChain) -> Iterator[DevChain]:
    """One borrower of 14,000 USDC against 10 WETH at $2,000."""
    with shared.rewound():
        account = shared.accounts[0]
        shared.aave.supply(account, "WETH", Decimal(10))
        shared.aave.borrow(account, "USDC", Decimal(14_000))
        shared.fund_liquidator()
        yield shared
        shared.rpc("anvil_dropAllTransactions")


def test_a_report_through_a_forwarder_is_followed(chain: DevChain, tmp_path: Path) -> None:
    """The price is the median of its observations; the transaction is to the forwarder, which only the aggregator
    names."""
    feed = ChainlinkFeed.install(chain, Updater(chain), "WETH")
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        update = feed.send(1_990, 1_580, 1_600, 100, 1_700)
        [row] = until(keeper, "broadcast")
        [seen] = keeper.said("price_update_foreseen")
        assert seen["answers"] == {feed.aggregator.lower(): 1_600 * 10**8}
        chain.mine()
        [row] = until(keeper, "included")
        at, ours = feed.node.place(update), feed.node.place(row["tx_hash"])
        assert at is not None
        assert ours is not None
        assert (ours[0], ours[1] > at[1]) == (at[0], True)


def test_a_report_that_the_aggregator_would_refuse_is_not_followed(chain: DevChain, tmp_path: Path) -> None:
    """Stale; and of somebody who is no transmitter not even judged."""
    feed = ChainlinkFeed.install(chain, Updater(chain), "WETH")
    with deploy(tmp_path, chain, mode="live", executor=SEND) as keeper:
        ready(keeper)
        stranger = {"from": chain.accounts[3], "to": feed.aggregator, "data": "0x" + feed.report([Decimal(9)]).hex()}
        chain.rpc("eth_sendTransaction", {**stranger, "gas": hex(500_000)})
        feed.send(1_600, epoch=0)
        keeper.until("it to be judged", lambda: keeper.said("price_update_would_fail"))
        mine(keeper)
        assert keeper.transactions() == []
        assert keeper.said("price_update_foreseen") == []
        assert len(keeper.said("price_update_would_fail")) == 1


@pytest.mark.parametrize("privately", [False, True])
def test_a_cap_above_the_feed_holds_for_what_is_foreseen(chain: DevChain, tmp_path: Path, privately: bool) -> None:
    """A dollar at $1.30 would open the position, but the market caps it at $1.04: computed by the adapter's own code,
    behind the transaction itself or with a stand-in for the aggregator."""
    feed = ChainlinkFeed.install(chain, Updater(chain), "USDC", cap=Decimal("1.04"))
    with open_relay(chain.anvil) as relay:
        submitters: list[Any] = [{"kind": "mev_share", "url": relay.url, "stream": relay.url}] if privately else []
        with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=submitters) as keeper:
            ready(keeper)
            if privately:
                keeper.until("the event stream to be followed", lambda: relay.listeners)
                relay.share(feed.signed("1.30"))
            else:
                feed.send("1.30")
            [seen] = keeper.until("it to be judged", lambda: keeper.said("price_update_foreseen"))
            assert seen["open_to_liquidation"] == 0
            assert seen["answers"] == {feed.aggregator.lower(): 130_000_000}
            assert keeper.transactions() == []


def test_an_auctioned_report_is_followed_behind_its_hash(chain: DevChain, tmp_path: Path) -> None:
    feed = ChainlinkFeed.install(chain, Updater(chain), "WETH")
    with open_relay(chain.anvil) as relay:
        submitters = [{"kind": "mev_share", "url": relay.url, "stream": relay.url}]
        with deploy(tmp_path, chain, mode="live", executor=SEND, submitters=submitters) as keeper:
            ready(keeper)
            keeper.until("the event stream to be followed", lambda: relay.listeners)
            relay.share(feed.signed(1_500, 1_600, 1_601), logs=False)
            until(keeper, "broadcast")
            mined = relay.build()
            [row] = until(keeper, "included")
            assert [mined.index(one) for one in (mined[0], row["tx_hash"])] == [0, 2]
            causes = {cause: int(value) for cause, value in row["difference"].items()}
            assert {cause for cause, value in causes.items() if value} <= {
                "profit",
                "gas",
            }  # the stand-in reads cheaper
            assert abs(causes["profit"]) < int(row["profit_expected"]) // 1_000
