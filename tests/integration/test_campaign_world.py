"""What a campaign stands on: perpetuals that are liquidated as its views say, and a database server of its own that
fails as servers do."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from keeper.core.errors import StoreError
from keeper.store import open_store
from scripts.campaignlib.inbox import Inbox
from scripts.campaignlib.ledger import Beat, Ledger
from scripts.campaignlib.server import Server, ServerMissing, open_server
from scripts.campaignlib.world import World

CHAIN_ID = 31337
SIXTEEN_S = 16
ASKS_FOR_TLS = bytes.fromhex("0000000804d2162f")
"""The server has none, and says N."""


def test_leverage_falls_below_its_margin_and_what_is_taken_over_is_known_to_the_ledger() -> None:
    """A fall opens at least two to liquidation within a minute of the chain's time, by the contract's own view. Whoever
    takes one over is found."""
    chance = random.Random(4)
    with World.begin(chance, Inbox(chance), ("perp_v2",), size=8) as world:
        chain, ledger = world.chain, Ledger(world.chain, world)
        open_ones: list[str] = []
        for number in range(12):
            if number == 3:
                world.fall()
            world.beat()
            chain.warp(SIXTEEN_S)
            height = chain.block_number
            ledger.beats.append(Beat(height, "0x" + chain.block_hash(height).hex(), time.monotonic(), fair=True))
            ledger.judge()
            open_ones = [name for name, view in world.views.items() if view.liquidatable and view.worth_it]
            if len(open_ones) >= 2:
                break
        assert len(open_ones) >= 2, world.views
        taken = world.positions[open_ones[0]]
        world.markets["perp"].rival(taken)
        before, after = world.views[taken.id], ledger.views([taken], chain.block_number)[taken.id]
        assert before.health_wad is not None
        assert before.health_wad < 10**18
        assert not after.liquidatable
        receipts = chain.rpc("eth_getBlockReceipts", hex(chain.block_number))
        found = ledger._liquidated({one["transactionHash"] for one in receipts})
        assert found == {chain.block_number: {taken.id}}


def test_falls_open_positions_however_many_there_were_before() -> None:
    """Prices that have fallen to their floor rise again, and whom no fall reaches makes room: else what waits for a
    transaction waits in vain once an hour is over."""
    chance = random.Random(3)
    opened: list[bool] = []
    with World.begin(chance, Inbox(chance), ("aave_v3",), size=8) as world:
        ledger = Ledger(world.chain, world)
        for _ in range(24):
            world.fall()
            opened.append(False)
            for _ in range(6):
                world.beat()
                world.views = ledger.views(list(world.open.values()), world.chain.block_number)
                below = [name for name, view in world.views.items() if view.liquidatable and view.worth_it]
                opened[-1] |= bool(below)
                for name in below:
                    world.markets["aave"].rival(world.positions[name])
    assert sum(opened[12:]) >= 8, opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        with open_server(tmp_path_factory.mktemp("server") / "server.log") as server:
            yield server
    except ServerMissing as error:
        pytest.skip(str(error))


def gone(server: Server, user: str) -> None:
    """Wait until this user has no session."""
    deadline = time.monotonic() + 10
    while server.rows(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{user}'") != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def noted(server: Server, key: str, value: str | None = None) -> str | None:
    """What a store through the gate says of a key; written first, if there is a value. Ends when the session has: the
    server ends one, and frees its lease, in its own time."""
    with closing(open_store(server.url, chain_id=CHAIN_ID)) as store:
        if value is not None:
            with store.transaction() as transaction:
                transaction.set_meta(key, value)
        said = store.meta(key)
    gone(server, "keeper")
    return said


def test_what_was_committed_outlives_the_servers_death(server: Server) -> None:
    assert noted(server, "kill", "kept") == "kept"
    server.kill()
    with pytest.raises(StoreError, match="check that the server runs"):
        noted(server, "kill")
    server.start()
    assert noted(server, "kill") == "kept"


def test_a_commit_can_be_durable_and_unanswered(server: Server) -> None:
    noted(server, "first", "so that nothing is left to migrate")
    with closing(open_store(server.url, chain_id=CHAIN_ID)) as store:
        before = server.gate.lost
        server.gate.lose = 1.0
        with pytest.raises(StoreError), store.transaction() as transaction:
            transaction.set_meta("lost", "kept")
        server.gate.lose = 0.0
    assert server.gate.lost == before + 1
    gone(server, "keeper")
    assert noted(server, "lost") == "kept"


def test_a_crowd_leaves_no_connection(server: Server) -> None:
    before = server.refused()
    server.crowd()
    with pytest.raises(StoreError, match="reserved"):
        noted(server, "crowd")
    assert server.refused() > before
    server.disperse()
    gone(server, "others")
    noted(server, "crowd")


def test_nothing_passes_while_it_is_silent_and_everything_does_afterwards(server: Server) -> None:
    held = server.gate.held
    server.gate.silent = True
    with socket.create_connection(("127.0.0.1", server.gate.port), timeout=10) as opened:
        opened.sendall(ASKS_FOR_TLS)
        opened.settimeout(0.2)
        with pytest.raises(TimeoutError):
            opened.recv(1)
        assert server.gate.held == held + 1
        server.gate.silent = False
        opened.settimeout(10)
        assert opened.recv(1) == b"N"
