"""`keeper init`: what it writes passes `keeper check`, keeps secrets to itself, and overwrites nothing."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.config.load import load_config
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from tests.support.daemon import Keeper
from tests.support.inbox import SECRET, Inbox, open_inbox

KEEPER = (sys.executable, "-m", "keeper")


@pytest.fixture
def source(tmp_path: Path, shared_chain: DevChain) -> Path:
    """Nothing is shipped for a dev chain, so a file of its own takes that place."""
    return write_config(tmp_path / "source" / "devnet.toml", shared_chain)


def init(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a folder of its own, with nobody to ask."""
    folder.mkdir(exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEEPER_RPC")}
    return subprocess.run(
        [*KEEPER, "init", *arguments],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(Path.cwd()), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_it_writes_passes_check_and_runs(tmp_path: Path, dev_chain: DevChain) -> None:
    """From flags alone: checked at once, then the daemon follows the chain with it and calls the account listed."""
    source = write_config(tmp_path / "source" / "devnet.toml", dev_chain)
    ada = dev_chain.accounts[0]
    dev_chain.aave.supply(ada, "WETH", Decimal(10))
    dev_chain.aave.borrow(ada, "USDC", Decimal(13_000))
    folder = tmp_path / "new"
    done = init(folder, "--from", str(source), "--rpc", dev_chain.ws_url, "--account", ada)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "Next: keeper run" in done.stderr
    written = tomllib.loads((folder / "keeper.toml").read_text())
    assert written["margin_calls"]["accounts"] == [ada]
    assert written["executor"]["mode"] == "off"
    os.environ["KEEPER_RPC_URL"] = dev_chain.ws_url
    try:
        daemon = Keeper(dev_chain, folder / "keeper.toml", folder / "keeper.log")
    finally:
        del os.environ["KEEPER_RPC_URL"]
    daemon.environment.pop("KEEPER_RPC_URL", None)  # it is in .env
    try:
        daemon.start()
        dev_chain.set_price("WETH", Decimal(1_700))
        daemon.until("the call", lambda: [row["status"] for row in daemon.calls(ada)] == ["open"])
        assert daemon.terminate() == 0
    finally:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.process.kill()


def test_secrets_go_to_a_file_for_the_owner_alone(tmp_path: Path, shared_chain: DevChain, source: Path) -> None:
    """URLs and a signing secret are in .env, 0600, by name in the configuration, and in no output."""
    folder = tmp_path / "new"
    token = "bot-token-that-nobody-must-see"
    done = init(
        folder,
        *("--from", str(source), "--rpc", shared_chain.rpc_url + "/?key=key-that-nobody-must-see", "--no-check"),
        *("--notify", f"ntfy://{token}", "--notify", "https://hooks.example/path-that-nobody-must-see"),
        *("--notify", "ntfy://another-topic"),
    )
    assert done.returncode == 0, done.stderr
    text, env_file = (folder / "keeper.toml").read_text(), folder / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    said = text + done.stdout + done.stderr
    assert "nobody-must-see" not in said
    assert env_file.read_text().count("nobody-must-see") == 3
    assert [one.name for one in load_config(folder / "keeper.toml").notifiers] == [
        *("console", "apprise", "webhook", "apprise-2"),
    ]
    notifiers = tomllib.loads(text)["notifiers"]
    assert notifiers[1:] == [
        {"kind": "apprise", "url": "env:KEEPER_NOTIFY_URL"},
        {"kind": "webhook", "url": "env:KEEPER_NOTIFY_URL_2", "secret": "env:KEEPER_WEBHOOK_SECRET"},
        {"kind": "apprise", "name": "apprise-2", "url": "env:KEEPER_NOTIFY_URL_3"},
    ]


def test_nothing_is_overwritten(tmp_path: Path, shared_chain: DevChain, source: Path) -> None:
    """Not the file without --force; and variables that mean something else never."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "keeper.toml").write_text("mine")
    (folder / ".env").write_text("KEEPER_RPC_URL=https://other.example\nMINE=1\n")
    arguments = ("--from", str(source), "--rpc", shared_chain.rpc_url, "--no-check")
    refused = init(folder, *arguments)
    assert refused.returncode == 1
    assert "keeper.toml is there already; --force replaces it" in refused.stderr
    assert (folder / "keeper.toml").read_text() == "mine"
    assert init(folder, *arguments, "--force").returncode == 0
    assert tomllib.loads((folder / "keeper.toml").read_text())["chain"]["rpc"] == ["env:KEEPER_RPC_URL_2"]
    lines = (folder / ".env").read_text().splitlines()
    assert {"KEEPER_RPC_URL=https://other.example", "MINE=1"} <= set(lines)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


def test_a_person_is_asked_and_may_correct_an_answer(
    tmp_path: Path, shared_chain: DevChain, source: Path, inbox: Inbox
) -> None:
    """On a terminal: a wrong node, a wrong account, a webhook with a signed test message, then a file that checks."""
    folder = tmp_path / "new"
    folder.mkdir()
    answers = [
        "http://127.0.0.1:1",
        shared_chain.ws_url,
        "aave",
        "0x1234",
        shared_chain.accounts[0],
        inbox.url,
        "off",
        "y",
    ]
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KEEPER_RPC")}
    process = subprocess.Popen(
        [*KEEPER, "init", "--from", str(source)],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(Path.cwd()), "KEEPER_WEBHOOK_SECRET": SECRET},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    out, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0, out + err
    assert "no rpc endpoint can be used" in err
    assert "'0x1234' is no address" in err
    assert "sent to webhook" in err
    assert [notice["event"] for notice in inbox.notices()] == ["test"]  # and signed, or the inbox complains
    assert "FAIL" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no node to ask; give --rpc URL, or set KEEPER_RPC_URL"),
        (["--rpc", "URL"], "no protocol is shipped for chain 31337"),
        (
            ["--rpc", "URL", "--from", "SOURCE", "--protocol", "maker"],
            "'maker' is not shipped for devnet; there are aave",
        ),
        (["--rpc", "URL", "--from", "SOURCE", "--notify", "nonsense://x"], "no service understands this URL"),
        (["--rpc", "URL", "--from", "SOURCE", "--mode", "live"], "mode live needs KEEPER_PRIVATE_KEY"),
        (["--rpc", "URL", "--from", "SOURCE", "--account", "ada.eth"], "chain 31337 has no ENS registry"),
    ],
)
def test_what_cannot_work_is_said_and_nothing_written(
    tmp_path: Path, shared_chain: DevChain, source: Path, arguments: list[str], said: str
) -> None:
    given = {"URL": shared_chain.rpc_url, "SOURCE": str(source)}
    done = init(tmp_path / "new", *(given.get(argument, argument) for argument in arguments))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "new").iterdir()) == []
