"""Straight to a rollup's sequencer, which takes one transaction at a time and answers nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.core.errors import ConfigError, RpcRefused
from keeper.core.secret import Secret
from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import DevChain
from keeper.executor.submitters import sequencer
from tests.integration.test_executor import CHAIN_ID
from tests.integration.test_submitters import NOWHERE, pending, signed
from tests.support.daemon import deploy
from tests.support.gate import install, open_gates
from tests.support.sequencer import open_sequencer


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    """Blocks are mined by hand."""
    with Anvil.start(no_mining=True) as anvil:
        install(anvil)
        open_gates(anvil, *range(1, 9))
        anvil.mine(1)
        yield anvil


def route(url: str, ordering: str) -> sequencer.Sequencer:
    node: Any = None  # never asked: a sequencer is told, not asked
    return sequencer.build({"name": "sequencer", "url": Secret(url), "ordering": ordering}, node, CHAIN_ID)


@pytest.mark.parametrize("ordering", sequencer.ORDERINGS)
async def test_several_are_taken_in_the_order_of_their_nonces(anvil: Anvil, ordering: str) -> None:
    """One request each, no other method, none twice."""
    with open_sequencer(anvil, fcfs=ordering == "fcfs") as node:
        to = route(node.url, ordering)
        assert await to.submit_many([signed(n, n + 1) for n in range(5)]) == [None] * 5
        assert ordering in ("priority",) or node.nonces == list(range(5))
        assert sorted(node.nonces) == list(range(5))
        assert "answers" in await to.check()
        await to.close()
        assert set(node.asked) == {"eth_sendRawTransaction"}
    assert pending(anvil) == 5


async def test_first_come_first_served_what_follows_a_refusal_is_not_even_sent(anvil: Anvil) -> None:
    with open_sequencer(anvil, fcfs=True) as node:
        to = route(node.url, "fcfs")
        first, second, third = await to.submit_many([signed(0, 1), signed(5, 2), signed(1, 3)])
        await to.close()
        assert node.nonces == [0, 5]
    assert first is None
    assert isinstance(second, RpcRefused)
    assert "nonce too high" in str(second)
    assert isinstance(third, RpcRefused)
    assert "not sent" in str(third)


async def test_what_it_has_already_is_as_good_as_taken(anvil: Anvil) -> None:
    with open_sequencer(anvil, fcfs=True) as node:
        to = route(node.url, "fcfs")
        assert await to.submit_many([signed(0, 1)]) == [None]
        assert await to.submit_many([signed(0, 1), signed(1, 2)]) == [None, None]
        await to.close()


async def test_one_that_is_not_there_is_found_by_check() -> None:
    to = route(NOWHERE.reveal(), "fcfs")
    with pytest.raises(ConfigError, match="does not answer"):
        await to.check()


def test_an_unknown_ordering_is_refused() -> None:
    with pytest.raises(ConfigError, match="'fifo'; it is one of fcfs, priority"):
        route("http://127.0.0.1:1", "fifo")


def test_only_where_fees_order_can_ours_be_put_behind_an_update() -> None:
    assert route("http://127.0.0.1:1", "priority").ordered_by_fee
    assert not route("http://127.0.0.1:1", "fcfs").ordered_by_fee


def test_a_daemon_liquidates_through_it(tmp_path: Path) -> None:
    """Approval and liquidation, one after the other; the node that is followed is never sent anything."""
    with DevChain.start(manual_mining=True) as chain, open_sequencer(chain.anvil, fcfs=True) as node:
        account = chain.accounts[0]
        chain.aave.supply(account, "WETH", Decimal(10))
        chain.aave.borrow(account, "USDC", Decimal(14_000))
        chain.fund_liquidator()
        submitters = [{"kind": "sequencer", "url": node.url, "ordering": "fcfs"}]
        with deploy(tmp_path, chain, mode="live", submitters=submitters) as keeper:
            keeper.start()
            keeper.until_synced()
            assert "first come, first served" in keeper.run("check").stdout
            chain.set_price("WETH", Decimal(1_600))
            keeper.until("both to be handed over", lambda: pending(chain.anvil) == 2)
            assert node.nonces == [0, 1]
            chain.mine()
            keeper.until("the liquidation", lambda: [row["status"] for row in keeper.liquidations()] == ["included"])
