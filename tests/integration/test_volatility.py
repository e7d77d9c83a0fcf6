"""A daemon on a real market whose lines follow volatility: seeded from the feeds' own rounds, and the same however it
came to where it is."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path

from keeper.core.units import WAD
from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox

BY_BOTH = {"by": "both", "call": "1.09"}
HOUR = 3_600


def remember_days(chain: DevChain, symbol: str, days: int, move: float) -> None:
    """Rounds of the last days, every four hours, each a step up or down from a price that it ends at."""
    chance, price, now = random.Random(1), Decimal(chain.price(symbol)) / 10**8, chain.timestamp
    for hours in range(24 * days, 0, -4):
        step = Decimal(1 + chance.choice((-move, move)))
        chain.set_price_at(symbol, round(price * step, 8), now - hours * HOUR)
    chain.set_price(symbol, price)
    chain.mine(70)  # what is read at a start is final


def call_line(keeper: Keeper, account: str) -> int:
    keeper.until_synced()
    return int(keeper.health()[account]["call_wad"])


def test_lines_follow_the_rounds_that_feeds_remember(dev_chain: DevChain, tmp_path: Path) -> None:
    """After weeks of moves of 2 to 4 % within hours an owner at 1.18 is called, though nothing falls. A quiet night
    lowers the line; whatever a reorg makes of it, a restart finds the line of the daemon that lived through it."""
    alice = dev_chain.accounts[0]
    dev_chain.aave.supply(alice, "WETH", Decimal(10))
    dev_chain.aave.borrow(alice, "USDC", Decimal(14_000))
    remember_days(dev_chain, "WETH", 14, 0.018)
    remember_days(dev_chain, "USDC", 14, 0.0)
    with open_inbox() as inbox, deploy(tmp_path, dev_chain, inbox, margin_calls=BY_BOTH) as keeper:
        keeper.start()
        first = call_line(keeper, alice)
        assert keeper.said("price_history_read")
        assert first > 118 * WAD // 100
        keeper.until_told(inbox, alice, "opened")
        outlook = keeper.health()[alice]["outlook"]
        assert outlook["breach_probability"] > outlook["called_at_probability"] == 0.08
        assert 0 < outlook["hours_until_then"] < outlook["horizon_hours"] == 84
        dev_chain.warp(8 * HOUR)
        dev_chain.mine(2)
        quieter = call_line(keeper, alice)
        assert quieter < first
        dev_chain.reorg(2)
        lived = call_line(keeper, alice)
        assert keeper.terminate() == 0
        keeper.start()
        assert call_line(keeper, alice) == lived
        assert not keeper.said("price_history_read")
        assert inbox.events(alice) == ["opened"]
