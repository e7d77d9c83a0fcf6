"""A daemon killed again and again ends with the same records and the same results on chain as one left alone.

Both live through the same history on the same chain, one after the other: the chain is set back in between, and its
clock with it. While nothing of ours is mined the two chains are equal bit by bit, and so must be the records. Once
there are liquidations, a killed daemon's may be mined some blocks later, with other timestamps and so other interest;
from there on everything but amounts, hashes and heights must be equal.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import Inbox, open_inbox
from tests.support.interruption import Interrupted, Once, Undisturbed, WhileTelling
from tests.support.onchain import assert_parity, liquidations_on_chain, transactions_on_chain

SEED = int(os.environ.get("KEEPER_TWIN_SEED", "20261122"))
KILLS = max(13, int(os.environ.get("KEEPER_TWIN_KILLS", "13")))
EXTRA_BLOCKS = -((13 - KILLS) // 9)
"""After each of the nine steps before the liquidations, one more kill each; the story alone has thirteen."""

_BLOCK_TIME_S = 12
_BASE_FEE_WEI = 10**9
_GRACE_S = 1.0

Json = dict[str, Any]


@dataclass
class Life:
    """One daemon's, and what there is to compare at its end."""

    chain: DevChain
    keeper: Keeper
    inbox: Inbox
    fate: Undisturbed
    owners: dict[str, str]
    told: dict[str, list[str]] = field(default_factory=dict)
    before_liquidations: list[Json] = field(default_factory=list)
    after: list[Json] = field(default_factory=list)

    def live(self) -> None:
        self.keeper.start()
        self.keeper.until_synced()
        self.told = {name: [] for name in self.owners}
        self._calls()
        self.before_liquidations = self.keeper.calls()
        self._liquidations()
        self._reorg()
        self.after = self.keeper.calls()
        assert self.keeper.terminate() == 0

    # --- margin calls: nothing of ours is mined

    def _calls(self) -> None:
        chain, owners = self.chain, self.owners
        self._step(
            lambda: chain.set_price("WETH", Decimal(1_840)), ada="opened", bela="opened", cleo="opened", gus="opened"
        )
        self._step(lambda: chain.set_price("WBTC", Decimal(55_000)), dov="opened")
        self._step(lambda: chain.aave.repay(owners["ada"], "USDC", Decimal(2_200)), ada="cured")
        self._step(lambda: chain.set_price("WETH", Decimal(1_850)))
        self._step(lambda: chain.set_price("WETH", Decimal(1_835)))
        self._step(
            lambda: chain.set_price("WETH", Decimal(1_720)),
            bela="escalated",
            cleo="escalated",
            gus="escalated",
            eve="opened",
        )
        self._step(lambda: chain.aave.repay(owners["dov"], "USDC"), dov="repaid")
        self._step(lambda: chain.reorg(2 + EXTRA_BLOCKS), dov="opened")
        self._step(lambda: chain.aave.repay(owners["dov"], "USDC"), dov="repaid")

    def _step(self, action: Callable[[], object], **told: str) -> None:
        """Something happens, and some more blocks come; exactly this is told because of it."""
        self.fate.at_random(action)
        for _ in range(EXTRA_BLOCKS):
            self.keeper.until_synced()
            self.fate.at_random(self.chain.mine)
        self.keeper.until_synced()
        self.chain.mine()
        for name, event in told.items():
            self.told[name].append(event)
        for name, account in self.owners.items():
            self.keeper.until_told(self.inbox, account, *self.told[name])
        self.keeper.until_synced()

    # --- liquidations

    @property
    def doomed(self) -> list[str]:
        return [self.owners[name] for name in ("bela", "cleo", "gus")]

    def _liquidations(self) -> None:
        fall = Once("an intent in the journal", self.keeper.liquidations)
        self.fate.during(lambda: self.chain.set_price("WETH", Decimal(1_580)), fall)
        self.fate.during(self._mine_until_liquidated, WhileTelling(self.inbox, "liquidated"))

    def _reorg(self) -> None:
        """Every liquidation is orphaned, and made again."""
        first = min(number for _, number in liquidations_on_chain(self.chain))
        depth = self.chain.block_number - first + 1
        self.fate.during(lambda: self.chain.reorg(depth), Once("a transaction sent again", self._pool))
        self._mine_until_liquidated()
        self.fate.at_random(self.chain.mine)
        for _ in range(4):
            self.chain.mine()
            self.keeper.until_synced()
        self.keeper.until("confirmations", lambda: self._statuses() == {"confirmed"})
        self.keeper.until(
            "the last notices", lambda: all(self._events(who)[-1:] == ["liquidated"] for who in self.doomed)
        )
        self.keeper.until("an empty outbox", self.keeper.is_quiet)

    def _mine_until_liquidated(self) -> None:
        """Blocks come as they do elsewhere, whether or not the daemon is ready for them."""
        for _ in range(12):
            if not set(self.doomed) - {account for account, _ in liquidations_on_chain(self.chain)}:
                return
            self.keeper.until_synced()
            deadline = time.monotonic() + _GRACE_S
            while not self._pool() and time.monotonic() < deadline:
                time.sleep(0.01)
            self.chain.mine()
        raise AssertionError(f"twelve blocks were not enough:\n{self.keeper.log_tail()}")

    def _pool(self) -> bool:
        return int(self.chain.rpc("txpool_status")["pending"], 16) > 0

    def _statuses(self) -> set[str]:
        return {row["status"] for row in self.keeper.sent_liquidations()}

    def _events(self, account: str) -> list[str]:
        return self.inbox.events(account)


# --- comparing --------------------------------------------------------------------------------------------------------


def assert_sound(life: Life) -> None:
    """What must be true of any life, whatever interrupted it."""
    chain, keeper, inbox = life.chain, life.keeper, life.inbox
    assert Counter(account for account, _ in liquidations_on_chain(chain)) == Counter(life.doomed)
    mined = transactions_on_chain(chain, chain.liquidator.address)
    journal = {row["tx_hash"]: row for row in keeper.transactions()}
    assert {receipt["transactionHash"] for receipt in mined} <= journal.keys()
    assert {receipt["status"] for receipt in mined} == {"0x1"}
    causes = Counter(journal[receipt["transactionHash"]]["cause"] for receipt in mined)
    assert set(causes.values()) == {1}, "no cause is acted on twice"
    assert [journal[receipt["transactionHash"]]["nonce"] for receipt in mined] == list(range(len(mined)))
    deliveries = {notice["id"]: notice["status"] for call in life.after for notice in call["notices"]}
    assert set(deliveries.values()) <= {"sent", "dropped"}
    assert {key for key, status in deliveries.items() if status == "sent"} == {one["id"] for one in inbox.notices()}
    assert_parity(chain, keeper.health())


def calls_exactly(life: Life) -> list[Json]:
    """Every call before anything of ours was mined, to the last digit; only its notices may come a block later."""
    return [{key: value for key, value in call.items() if key != "notices"} for call in life.before_liquidations]


def calls_in_kind(life: Life) -> list[tuple[Any, ...]]:
    """Every call at the end, without what depends on when a liquidation was mined."""
    return sorted(
        (
            call["id"],
            call["position"],
            call["status"],
            call["deepest_band"],
            *((s["event"], s["band"]) for s in call["steps"]),
        )
        for call in life.after
    )


def told_in_kind(life: Life) -> dict[str, object]:
    """What each owner heard. Of those who were liquidated: how it began, and all ways in which it ended.

    A call that was over again before a killed daemon could tell of it is not told of, by design.
    """
    heard: dict[str, object] = {}
    for name, account in life.owners.items():
        events = life.inbox.events(account)
        told = len(life.told[name])
        heard[name] = (
            events if account not in life.doomed else (events[:told], set(events[told:]) - {"opened", "escalated"})
        )
    return heard


def liquidated_in_kind(life: Life) -> dict[str, tuple[str, str, str]]:
    rows = [row for row in life.keeper.liquidations() if row["status"] == "confirmed"]
    return {row["account"]: (row["debt_asset"], row["collateral_asset"], row["position"]) for row in rows}


# --- the chain --------------------------------------------------------------------------------------------------------


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Blocks are mined by hand, and each is twelve seconds after its parent."""
    with DevChain.start(manual_mining=True) as chain:
        chain.rpc("anvil_setBlockTimestampInterval", _BLOCK_TIME_S)
        yield chain


def open_positions(chain: DevChain) -> dict[str, str]:
    """Owners by name. Whoever will repay has approved that before, so that repaying is one transaction."""
    owners = dict(zip(("ada", "bela", "cleo", "dov", "eve", "fay", "gus"), chain.accounts, strict=False))
    for name, collateral, supplied, debt, borrowed in (
        ("ada", "WETH", 10, "USDC", 14_000),
        ("bela", "WETH", 10, "DAI", 14_000),
        ("cleo", "WETH", 10, "USDC", 13_900),
        ("dov", "WBTC", 1, "USDC", 40_000),
        ("eve", "WETH", 10, "USDC", 12_950),
        ("fay", "WETH", 10, "USDC", 5_000),
        ("gus", "WETH", 5, "DAI", 7_000),
    ):
        chain.aave.supply(owners[name], collateral, Decimal(supplied))
        chain.aave.borrow(owners[name], debt, Decimal(borrowed))
    for name in ("ada", "dov"):
        chain.tokens.provide(owners[name], "USDC", 50_000 * 10**6, chain.aave.pool)
    return owners


@pytest.mark.timeout(240 + 10 * KILLS)
def test_a_daemon_killed_at_any_moment_ends_like_one_left_alone(chain: DevChain, tmp_path: Path) -> None:
    owners = open_positions(chain)
    chain.fund_liquidator()
    chain.mine(10)
    lives: list[Life] = []
    for name in ("stable", "killed"):
        with chain.rewound(), open_inbox() as inbox, deploy(tmp_path / name, chain, inbox, mode="live") as keeper:
            # Setting a chain back sets back neither its clock nor its base fee.
            chain.anvil.set_next_timestamp(chain.timestamp + _BLOCK_TIME_S)
            chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(_BASE_FEE_WEI))
            fate = Undisturbed() if name == "stable" else Interrupted(keeper, random.Random(SEED))
            life = Life(chain, keeper, inbox, fate, owners)
            life.live()
            assert_sound(life)
            lives.append(life)
    stable, killed = lives
    assert (stable.fate.kills, killed.fate.kills >= KILLS) == (0, True)
    assert calls_exactly(killed) == calls_exactly(stable)
    assert calls_in_kind(killed) == calls_in_kind(stable)
    assert told_in_kind(killed) == told_in_kind(stable)
    assert liquidated_in_kind(killed) == liquidated_in_kind(stable)
