"""The web server's process: where it may listen, and that neither it nor the daemon takes the other along."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.errors import StoreError
from keeper.devnet.chain import DevChain
from keeper.queries.live.desk import Desk
from keeper.queries.live.history import History
from keeper.wire import House
from tests.support.daemon import PATIENCE_S, Keeper, deploy
from tests.support.web import of_daemon


def child_of(keeper: Keeper) -> int | None:
    """The server that the daemon keeps."""
    found = Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()
    return int(found[0]) if found else None


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_server_that_dies_is_started_again_and_the_daemon_goes_on(dev_chain: DevChain, tmp_path: Path) -> None:
    """Killed, it is back within seconds; and a daemon that is killed leaves no server behind."""
    dev_chain.mine()
    with deploy(tmp_path, dev_chain) as keeper:
        keeper.start("--web", "127.0.0.1:0")
        web = of_daemon(keeper)
        first = keeper.until("the server", lambda: child_of(keeper))
        assert web.get("/healthz") == {"alive": True}
        assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, keeper.pid)
        os.kill(first, signal.SIGKILL)
        dev_chain.mine()
        keeper.until_synced()
        keeper.until("another server", lambda: len(keeper.said("web_listening")) == 2)
        assert [line["exit_code"] for line in keeper.said("web_server_ended")] == [-signal.SIGKILL]
        again = of_daemon(keeper)
        assert again.get("/api/v1/status")["block"]["number"] == dev_chain.block_number
        second = keeper.until("the server", lambda: child_of(keeper))
        assert second is not None
        keeper.kill()
        deadline = time.monotonic() + PATIENCE_S
        while lives(second) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not lives(second)


@pytest.mark.parametrize("command", [("web", "--listen"), ("run", "--web")])
def test_beyond_this_machine_it_listens_only_with_a_token(
    dev_chain: DevChain, tmp_path: Path, command: tuple[str, str]
) -> None:
    with deploy(tmp_path, dev_chain) as keeper:
        said = keeper.run(command[0], command[1], "0.0.0.0:0")
    assert said.returncode == 1
    assert "0.0.0.0:0 can be reached from other machines" in said.stderr
    assert 'token = "env:KEEPER_WEB_TOKEN"' in said.stderr


def test_what_is_wrong_is_said_before_anything_listens(dev_chain: DevChain, tmp_path: Path) -> None:
    """No database, an address that is taken, a token in plain sight."""
    with deploy(tmp_path, dev_chain) as keeper, closing(socket.create_server(("127.0.0.1", 0))) as taken:
        assert "start `keeper run` or `keeper backfill` first" in keeper.run("web").stderr
        assert keeper.run("backfill").returncode == 0
        port = taken.getsockname()[1]
        for arguments, told in (
            (("--listen", f"127.0.0.1:{port}"), "give another --listen"),
            (("--token", "in-plain-sight-0123456789"), "give --token env:NAME"),
            (("--token", "env:NOT_THERE"), "NOT_THERE is not set"),
        ):
            said = keeper.run("web", *arguments)
            assert (said.returncode, told in said.stderr) == (1, True), said.stderr
            assert "in-plain-sight" not in said.stderr


def test_a_database_that_a_repair_put_in_place_is_the_one_that_is_shown(dev_chain: DevChain, tmp_path: Path) -> None:
    """Not the one whose file is gone, although it is still open; and while there is none, what there was."""
    owner = dev_chain.accounts[0]
    dev_chain.aave.supply(owner, "WETH", Decimal(1))
    with deploy(tmp_path, dev_chain) as keeper:
        assert keeper.run("backfill", "--to", str(dev_chain.block_number)).returncode == 0
        house = House(keeper.config, keeper.settings)
        desk = Desk(house, History(tmp_path / "h.db", every_s=60, keep_s=60, positions=1))
        desk.open()
        desk.look()
        assert desk.positions(account=owner)["total"] == 1
        file = house.files.database
        other = file.with_name("other.db")
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(other)) as copy:
            source.backup(copy)
            copy.execute("DELETE FROM facts WHERE kind = 'position'")
            copy.commit()
        file.unlink()
        with pytest.raises(StoreError):
            desk.look()
        assert desk.positions(account=owner)["total"] == 1
        other.replace(file)
        desk.look()
        assert desk.positions(account=owner)["total"] == 0
        desk.close()
