"""One daemon, one wallet and every protocol: what is open to liquidation at once is settled, whatever comes between."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from scripts.benchlib.round_trips import Follower, following
from tests.support.daemon import Keeper, deploy
from tests.support.doomed import PROTOCOLS, fall, liquidated
from tests.support.inbox import Inbox, open_inbox
from tests.support.onchain import transactions_on_chain

KINDS = tuple(PROTOCOLS)
POSITIONS = 50
_GRACE_S = 1.5
SEED = int(os.environ.get("KEEPER_TWIN_SEED", "20261126"))


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Blocks are mined by hand, so that they hold many transactions."""
    with DevChain.start(manual_mining=True) as chain:
        for protocol in PROTOCOLS.values():
            protocol.ready(chain)
        yield chain


def open_positions(chain: DevChain, count: int) -> list[str]:
    """At least so many, about as many in each protocol, some of the same accounts in several."""
    share = -(-count // len(PROTOCOLS))
    accounts = [chain.make_account(number, Decimal(5)) for number in range(2 * share)]
    return [
        position
        for number, protocol in enumerate(PROTOCOLS.values())
        for position in protocol.open(chain, accounts[number * share // 2 :][:share])
    ]


def waiting(chain: DevChain, positions: list[str]) -> set[str]:
    return set(positions) - {position for position, _ in liquidated(chain)}


def settle(chain: DevChain, keeper: Keeper, positions: list[str], most_blocks: int) -> None:
    """Mine block by block, each once the daemon has sent what it may have on the way at a time; or a second later,
    for one that was killed goes on only with the next block."""
    for _ in range(most_blocks):
        left = waiting(chain, positions)
        if not left:
            return
        keeper.until_synced()
        deadline = time.monotonic() + _GRACE_S
        while not sent(keeper, left) and time.monotonic() < deadline:
            time.sleep(0.05)
        chain.mine()
        keeper.until_synced()
    assert waiting(chain, positions) == set()


def sent(keeper: Keeper, left: set[str]) -> bool:
    on_their_way = {row["position"] for row in keeper.liquidations() if row["status"] == "broadcast"}
    signed = [row for row in keeper.transactions() if row["broadcast_at"] is None]
    return not signed and len(on_their_way & left) >= min(len(left), keeper.settings.executor.max_pending)


def assert_sound(chain: DevChain, keeper: Keeper, positions: list[str]) -> None:
    """Each position once, each transaction ours and journalled, none failed, nonces without a gap."""
    assert Counter(position for position, _ in liquidated(chain)) == Counter(positions)
    mined = transactions_on_chain(chain, chain.liquidator.address)
    assert {receipt["status"] for receipt in mined} == {"0x1"}
    journal = {row["tx_hash"]: row for row in keeper.transactions()}
    assert [journal[receipt["transactionHash"]]["nonce"] for receipt in mined] == list(range(len(mined)))
    assert set(Counter(journal[receipt["transactionHash"]]["cause"] for receipt in mined).values()) == {1}


@pytest.mark.timeout(240)
def test_fifty_positions_of_all_protocols_are_settled_and_again_after_a_reorg(chain: DevChain, tmp_path: Path) -> None:
    """By a daemon that is killed at eight moments on the way: nobody twice, nobody left, and every owner hears it."""
    positions = open_positions(chain, POSITIONS)
    assert len(positions) >= POSITIONS
    assert len({position.split(":")[0] for position in positions}) == len(PROTOCOLS)
    chain.fund_liquidator(Decimal(5_000_000))
    chain.mine(5)
    chance = random.Random(SEED)
    with open_inbox() as inbox, deploy(tmp_path, chain, inbox, mode="live", protocols=KINDS) as keeper:
        keeper.start()
        keeper.until_synced()

        def interrupt(moment: Callable[[], object]) -> None:
            keeper.until("a moment to kill at", moment)
            keeper.kill()
            keeper.start()

        fallen = fall(chain)
        interrupt(keeper.liquidations)
        interrupt(lambda: len(keeper.transactions()) > chance.randrange(20, 40))
        settle(chain, keeper, positions, most_blocks=8)
        assert max(number for _, number in liquidated(chain)) <= fallen + 8
        interrupt(lambda: any(row["status"] == "included" for row in keeper.liquidations()))
        assert_sound(chain, keeper, positions)

        chain.mine()
        keeper.until_synced()
        chain.reorg(chain.block_number - max(number for _, number in liquidated(chain)) + 1)
        assert waiting(chain, positions)
        interrupt(lambda: keeper.ever_said("chain_reorganized"))
        settle(chain, keeper, positions, most_blocks=8)
        for _ in range(4):
            chain.mine()
            interrupt(lambda: chance.random() < 0.2)
            keeper.until_synced()
        assert_sound(chain, keeper, positions)
        chain.mine()  # what was ready as the daemon was killed is decided about by the next block
        keeper.until("confirmations", lambda: {row["status"] for row in keeper.sent_liquidations()} == {"confirmed"})
        keeper.until("owners to hear it", lambda: heard(inbox) >= set(positions))
        verified = keeper.run("health", "--verify")
        assert (verified.returncode, "0 differences" in verified.stderr) == (0, True), verified.stderr


def test_an_isolated_position_is_called_for_margin_and_cured_by_exactly_what_was_asked(
    chain: DevChain, tmp_path: Path
) -> None:
    """The notice names the market, and the same account's position in another is nobody's concern."""
    owner, (weak, strong) = chain.accounts[0], chain.morpho.markets.values()
    for market, debt in ((weak, 15_000), (strong, 5_000)):
        market.supply_collateral(owner, Decimal(10))
        market.borrow(owner, Decimal(debt))
    with open_inbox() as inbox, deploy(tmp_path, chain, inbox, protocols=["morpho_blue"]) as keeper:
        keeper.start()
        keeper.until_synced()
        chain.set_price("WETH", Decimal(1_850))
        keeper.until_told(inbox, owner, "opened")
        [notice] = inbox.notices()
        assert notice["position"] == f"morpho:{owner}:0x{weak.id.hex()}"
        assert "WETH/USDC 86%" in notice["text"]
        [breach] = notice["breach_prices"]
        assert (breach["asset"], 1_700 < Decimal(breach["price"]) < 1_750) == (weak.params[1], True)
        [pledge] = [demand for demand in notice["demands"] if demand["action"] == "add_collateral"]
        weak.supply_collateral(owner, int(pledge["amount"]))
        keeper.until_told(inbox, owner, "opened", "cured")
        rows = {row["position"]: row for row in keeper.ask("health")}
        assert rows[notice["position"]]["market"] == f"0x{weak.id.hex()}"
        assert rows[notice["position"]]["market_name"] == "WETH/USDC 86%"
        assert abs(int(rows[notice["position"]]["health_wad"]) - 125 * 10**16) < 10**13
        assert set(rows[notice["position"]]["native"]) == {"borrowAssets", "collateral", "maxBorrow", "isHealthy"}
        [call] = keeper.ask("calls")
        assert (call["position"], call["status"]) == (notice["position"], "cured")
        assert keeper.terminate() == 0


def heard(inbox: Inbox) -> set[str]:
    """Positions of which the last word about being liquidated is that they were."""
    said = {
        notice["position"]: notice["event"]
        for notice in inbox.notices()
        if notice["event"] in ("liquidated", "withdrawn")
    }
    return {position for position, event in said.items() if event == "liquidated"}


# --- what a block costs -----------------------------------------------------------------------------------------------


@pytest.fixture
async def follower(
    chain: DevChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Follower, list[str]]]:
    monkeypatch.setenv("KEEPER_PRIVATE_KEY", chain.liquidator.private_key)
    chain.fund_liquidator()
    positions = open_positions(chain, 12)
    async with following(chain, tmp_path, KINDS) as follower:
        yield follower, positions


async def test_a_block_costs_as_many_round_trips_as_with_one_protocol(follower: tuple[Follower, list[str]]) -> None:
    """One for a block with nothing of ours, two for one that touches every protocol, and one each to simulate and to
    submit when positions of all of them are liquidated together."""
    following, positions = follower
    chain = following.chain
    await following.take()
    chain.mine()
    assert await following.take() == {"read": 1}
    with chain.one_block():
        chain.aave.supply(chain.accounts[0], "USDC", Decimal(5))
        chain.morpho.main.supply_collateral(chain.accounts[0], Decimal(1))
        chain.venus.repay(
            chain.accounts[0],
            "USDC",
            Decimal(1),
            of=next(one for one in positions if one.startswith("venus:")).split(":")[1],
        )
        chain.perp.deposit(chain.accounts[0], Decimal(5))
    assert await following.take() == {"read": 2}
    fall(chain)
    taken = await following.take()
    assert (taken["read"], taken["simulate"], taken["submit"]) == (1, 1, 1)
    chain.mine()
    await following.take()
    assert {position for position, _ in liquidated(chain)} == set(positions)


# --- a protocol that joins --------------------------------------------------------------------------------------------


def test_a_protocol_added_to_the_configuration_is_indexed_beside_what_is_followed_already(
    chain: DevChain, tmp_path: Path
) -> None:
    """From its own beginning, at the last final block: what was open before is found, nothing is told twice, and a
    reorg of what is not final yet is followed by both."""
    positions = open_positions(chain, 6)
    chain.mine(3)
    with open_inbox() as inbox, deploy(tmp_path, chain, inbox, protocols=["aave_v3"], finality=5) as keeper:
        keeper.start()
        chain.set_price("WETH", Decimal(1_990))
        keeper.until_synced()
        ours = [position.split(":")[1] for position in positions if position.startswith("aave:")]
        keeper.until("calls", lambda: all(inbox.events(who) == ["opened"] for who in ours))
        assert keeper.terminate() == 0
    with open_inbox() as inbox, deploy(tmp_path, chain, inbox, protocols=KINDS, finality=5) as keeper:
        assert keeper.run("check").returncode == 0
        assert {row["protocol"] for row in keeper.ask("health")} == {"aave"}
        keeper.start()
        chain.mine()
        keeper.until_synced()
        assert keeper.said("admitting_protocols")
        assert set(keeper.positions()) >= set(positions)
        calls = {row["position"] for row in keeper.calls()}
        assert calls >= {position for position in positions if position.startswith("aave:")}
        chain.reorg(2)
        chain.mine(3)
        keeper.until_synced()
        verified = keeper.run("health", "--verify")
        assert (verified.returncode, "0 differences" in verified.stderr) == (0, True), verified.stderr
        for who in ours:
            told = [notice for notice in inbox.notices() if notice["position"] == f"aave:{who}"]
            assert told == [], "it was told before"
