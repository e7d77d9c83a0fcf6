"""Breakers and pauses on the real daemon: nothing new is sent, owners are told all the same, resuming is deliberate."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import Inbox, open_inbox

BREACHED, HEALTHY = Decimal(1_600), Decimal(2_000)
COOLDOWN_BLOCKS = 1


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Three accounts with 10 WETH against 14,000 USDC, and a liquidator with money; blocks are mined by hand."""
    with DevChain.start(manual_mining=True) as chain:
        with chain.one_block():
            for account in chain.accounts[:3]:
                chain.aave.supply(account, "WETH", Decimal(10))
        with chain.one_block():
            for account in chain.accounts[:3]:
                chain.aave.borrow(account, "USDC", Decimal(14_000))
        chain.fund_liquidator()
        yield chain


def mined(keeper: Keeper, chain: DevChain, blocks: int = 1) -> None:
    """Blocks go by, and the daemon has taken each."""
    for _ in range(blocks):
        chain.mine()
        keeper.until_synced()


def sent(keeper: Keeper) -> int:
    return len(keeper.transactions())


def outbid(chain: DevChain, price: Decimal) -> None:
    """A price update that pays enough to be first in its block."""
    weth, tip = chain.tokens["WETH"], hex(10**11)
    chain.rpc(
        "eth_sendTransaction",
        {
            "from": chain.aave.market.admin,
            "to": weth.feed,
            "data": "0x" + (keccak(b"set(int256)")[:4] + weth.answer(price).to_bytes(32, "big")).hex(),
            "gas": hex(200_000),
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": tip,
        },
    )
    chain.mine()


def statuses(keeper: Keeper) -> list[str]:
    return sorted(row["status"] for row in keeper.liquidations())


def fail_three(keeper: Keeper, chain: DevChain) -> None:
    """The price falls, three more liquidations are sent, and before them in their block it recovers."""
    failed = statuses(keeper)
    chain.set_price("WETH", BREACHED)
    keeper.until("three on their way", lambda: statuses(keeper) == ["broadcast"] * 3 + failed)
    outbid(chain, HEALTHY)
    keeper.until("three failures", lambda: statuses(keeper) == ["failed"] * 3 + failed)


def test_a_streak_of_lost_races_stops_transactions_until_somebody_resumes(
    chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """They are no failures, of which one more would do: the first three count as such, since what approved them was in
    the same block. Through a restart, and while positions are open to be liquidated; `keeper check` says so, and every
    channel."""
    limits = {"max_failures": 4, "max_lost_races": 3}
    with deploy(
        tmp_path, chain, inbox, mode="live", breakers=limits, executor={"cooldown_blocks": COOLDOWN_BLOCKS}
    ) as keeper:
        keeper.start()
        keeper.until_synced()
        fail_three(keeper, chain)
        mined(keeper, chain, COOLDOWN_BLOCKS + 2)
        assert not keeper.said("breaker_tripped")
        fail_three(keeper, chain)
        mined(keeper, chain)
        [said] = keeper.until("the breaker to trip", lambda: keeper.said("breaker_tripped"))
        assert (said["breaker"], said["level"]) == ("lost_races", "error")
        [notice] = keeper.until("the notice of it", lambda: [n for n in inbox.notices() if n["event"] == "tripped"])
        assert notice["breaker"] == "lost_races"
        assert "keeper resume" in notice["text"]

        before = sent(keeper)
        chain.set_price("WETH", BREACHED)
        mined(keeper, chain, COOLDOWN_BLOCKS + 2)
        assert keeper.terminate() == 0
        keeper.start()
        mined(keeper, chain, 2)
        assert sent(keeper) == before
        assert [keeper.health()[account]["liquidatable"] for account in chain.accounts[:3]] == [True] * 3

        checked = keeper.run("check")
        assert checked.returncode == 1
        assert "lost_races tripped" in checked.stdout

        resumed = keeper.run("resume")
        assert resumed.returncode == 0
        assert "to be cleared: lost_races" in resumed.stdout
        chain.mine()
        keeper.until("three more liquidations", lambda: len(keeper.liquidations()) == 9)
        assert keeper.said("breakers_resumed")
        mined(keeper, chain, 4)
        keeper.until(
            "them to be confirmed", lambda: sum(row["status"] == "confirmed" for row in keeper.liquidations()) == 3
        )
        assert keeper.run("check").returncode == 0


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_pause_holds_transactions_but_not_alerts(by: str, chain: DevChain, inbox: Inbox, tmp_path: Path) -> None:
    with deploy(tmp_path, chain, inbox, mode="live") as keeper:
        keeper.start()
        keeper.until_synced()
        if by == "command":
            assert keeper.run("pause").returncode == 0
        else:
            os.kill(keeper.pid, signal.SIGUSR1)
            keeper.until("the pause file", lambda: list(tmp_path.rglob("*.pause")))
        chain.set_price("WETH", BREACHED)
        for account in chain.accounts[:3]:
            keeper.until_told(inbox, account, "opened")
        assert keeper.said("transactions_paused")
        mined(keeper, chain, 2)
        assert keeper.transactions() == []
        if by == "command":
            assert keeper.run("resume").returncode == 0
        else:
            os.kill(keeper.pid, signal.SIGUSR2)
            keeper.until("the pause to end", lambda: not list(tmp_path.rglob("*.pause")))
        chain.mine()
        keeper.until("three liquidations", lambda: len(keeper.liquidations()) == 3)
        assert keeper.said("transactions_unpaused")
