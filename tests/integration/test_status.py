"""`keeper status` beside a real daemon: what it says is what the other commands say, and what the daemon is like."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from keeper.store import open_store
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox

Json = dict[str, Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    """A daemon that has liquidated one owner and has another one's call open."""
    with DevChain.start() as chain, open_inbox() as inbox:
        folder = tmp_path_factory.mktemp("status")
        with deploy(folder, chain, inbox, mode="live", executor={"confirmations": 1}) as daemon:
            bela, cleo = chain.accounts[:2]
            for owner, debt in ((bela, 14_200), (cleo, 12_900)):
                chain.aave.supply(owner, "WETH", Decimal(10))
                chain.aave.borrow(owner, "USDC", Decimal(debt))
            chain.fund_liquidator()
            daemon.start()
            daemon.until_synced()
            chain.set_price("WETH", Decimal(1_700))
            daemon.until("her loss to be told", lambda: inbox.events(bela)[-1:] == ["liquidated"])
            chain.mine(2)
            daemon.until("confirmation", lambda: [row["status"] for row in daemon.liquidations()] == ["confirmed"])
            daemon.until("quiet", daemon.is_quiet)
            daemon.until_synced()
            yield daemon


def status(keeper: Keeper) -> Json:
    (row,) = keeper.ask("status")
    return row


def test_it_says_what_the_other_commands_say(running: Keeper):
    row = status(running)
    health = running.ask("health")
    tip = running.chain.block_number
    assert row["block"]["number"] == tip
    assert row["block"]["hash"] == "0x" + running.chain.block_hash(tip).hex()
    assert {band: count for band, count in row["positions"]["aave"].items() if count} == Counter(
        one["band"] for one in health
    )
    shown = [{name: one[name] for name in health[0]} for one in row["nearest"] if one["health_wad"] is not None]
    assert shown == [one for one in health if one["health_wad"] is not None][: len(shown)]
    assert [one["health_wad"] for one in row["nearest"]][:1] == [health[0]["health_wad"]]
    assert sum(row["open_calls"].values()) == sum(call["status"] == "open" for call in running.ask("calls")) == 1
    assert [one["tx_hash"] for one in row["transactions"]] == [
        one["tx_hash"] for one in running.ask("transactions")[::-1]
    ]
    (daily,) = (json.loads(line) for line in running.run("liquidations", "--daily", "--json").stdout.splitlines())
    assert row["today"] == daily
    assert int(row["today"]["net_wad"]) > 0
    assert row["undelivered"] == {}


def _until_pulse_at_tip(keeper: Keeper) -> None:
    tip = keeper.chain.block_number
    keeper.until("a pulse at the tip", lambda: _pulse(keeper)["sections"].get("heads", {}).get("number") == tip)


def test_it_says_how_the_daemon_is(running: Keeper):
    _until_pulse_at_tip(running)
    row = status(running)
    assert (row["pulse"]["state"], row["mode"]["mode"], row["executor"]) == ("live", "following", "live")
    assert row["ready"] == {"ready": True, "checks": row["ready"]["checks"]}
    for check in ("ready", "alive"):
        asked = running.run("status", "--check", check)
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")


def test_a_person_sees_it_on_one_screen(running: Keeper):
    _until_pulse_at_tip(running)
    told = running.run("status")
    assert (told.returncode, told.stderr) == (0, "")
    lines = told.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for words in (
        "daemon    runs",
        "mode      following",
        "calls     1 open",
        "notices   all delivered",
        "executor  live",
    ):
        assert words in told.stdout
    assert "1 liquidation, net" in told.stdout


def test_watching_goes_on_with_the_chain_until_it_is_interrupted(running: Keeper):
    """Elsewhere than on a terminal one answer follows the other; Ctrl-C is the way out and no failure."""
    command = [sys.executable, "-m", "keeper", "status", "--config", str(running.config), "--json", "--watch", "0.1"]
    with subprocess.Popen(command, env=running.environment, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            before = json.loads(watching.stdout.readline())["block"]["number"]
            running.chain.mine(1)
            heights = (json.loads(line)["block"]["number"] for line in watching.stdout)
            assert next(height for height in heights if height > before) == before + 1
        finally:
            watching.send_signal(signal.SIGINT)
        assert watching.wait(20) == 0


def test_a_daemon_that_is_no_more_is_seen(running: Keeper):
    """Killed, and a minute later: positions and records are shown all the same, and health checks fail with why."""
    running.kill()
    made = _pulse(running)
    running.pulse_file.write_text(json.dumps(made | {"at": made["at"] - 60}))
    told = running.run("status")
    assert told.returncode == 0
    assert "daemon    does not run, or hangs: its last pulse is 6" in told.stdout
    assert "following when it was last heard" in told.stdout
    assert " behind" not in told.stdout  # nobody knows any more
    for check, words in (("ready", "it hangs, or has ended"), ("alive", "it does not run, or hangs")):
        asked = running.run("status", "--check", check)
        assert asked.returncode == 1
        assert words in asked.stderr
        assert len(asked.stderr.splitlines()) == 1  # neither how far behind it is nor who answers is known any more


def test_before_the_first_start_it_says_so(tmp_path: Path, running: Keeper):
    with deploy(tmp_path, running.chain) as fresh:
        open_store(fresh.settings.store.url.reveal(), chain_id=running.chain.chain_id).close()
        told = fresh.run("status")
        assert told.returncode == 0
        assert "does not run (it never wrote a pulse); start `keeper run`" in told.stdout
        assert "nothing is indexed yet" in told.stdout


def _pulse(keeper: Keeper) -> Json:
    found: Json = json.loads(keeper.pulse_file.read_bytes())
    return found
