"""Whoever may not read a deployment is told so, whose it is, and what to do; it is no defect of Keeper.

Asked as a user whom permissions bind, whoever runs the tests. What is imported late is imported before: the checkout
itself may be closed to that user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.store import open_store

CONFIG = """
[chain]
id = 1
rpc = ["ws://127.0.0.1:9"]

[store]
url = "sqlite:///state/keeper.db"

[[protocols]]
kind = "aave_v3"
name = "aave"
pool_addresses_provider = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
start_block = 1

[executor]
mode = "dry_run"
keystore = "keys/key.json"
password = "of-nobody"
"""

AS_NOBODY = """
import os, sys
import keeper.daemon, keeper.queries.status, keeper.shortage, keeper.store.opening, keeper.core.ownership
from keeper.cli import main
from keeper.config.load import load_config
from keeper.progress import progress
config, *asked = sys.argv[1:]
os.chdir("/")
load_config(config)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for line in asked:
    command, file = line.split()
    print("== exit code", main([command, "--config", file]), file=sys.stderr)
"""


def deploy(folder: Path) -> Path:
    """Everything of it may be read by everybody."""
    for place in (folder, folder / "state", folder / "keys"):
        place.mkdir()
        place.chmod(0o755)
    (folder / "keeper.toml").write_text(CONFIG)
    (folder / ".env").write_text("KEEPER_SOMETHING=1\n")
    (folder / "keys" / "key.json").write_text("{}")
    open_store(f"sqlite:///{folder}/state/keeper.db", chain_id=1).close()
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that others reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)


CLOSED = {
    "state": "state/keeper.db cannot be looked at (Permission denied)",
    ".env": ".env: cannot be read (Permission denied)",
    "keeper.toml": "keeper.toml: cannot be read (Permission denied)",
    "keys": "executor.keystore: 'keys/key.json' cannot be read (Permission denied)",
}


def test_what_may_not_be_read_or_written_is_named_with_its_owner(reachable: Path):
    """The folder of the database, what holds secrets, and a database that root made before the service's first start:
    for whoever asks and for the daemon alike."""
    whole = deploy(reachable / "whole") / "keeper.toml"
    asked: dict[str, tuple[str, Path]] = {}
    for number, (name, said) in enumerate(CLOSED.items()):
        folder = deploy(reachable / str(number))
        (folder / name).chmod(0o000)
        for command in ("status", "run"):
            asked[f"{command} {folder / 'keeper.toml'}"] = said, folder / name
    if os.getuid() == 0:
        folder = deploy(reachable / "made_by_root")
        (folder / "state").chmod(0o777)
        (folder / "state" / "keeper.db").chmod(0o000)
        asked[f"status {folder / 'keeper.toml'}"] = "unable to open database file", folder / "state" / "keeper.db"
        (folder / "state" / "keeper.db.lock").chmod(0o000)
        lock = folder / "state" / "keeper.db.lock"
        asked[f"run {folder / 'keeper.toml'}"] = "is not writable (Permission denied)", lock
    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(whole), *asked],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    owner = pwd.getpwuid(os.getuid()).pw_name
    *answers, rest = ended.stderr.split("== exit code 1\n")
    assert rest == ""
    for (line, (said, place)), answer in zip(asked.items(), answers, strict=True):
        assert said in answer, line
        assert f"{place} (mode 0000) belongs to {owner}" in answer, line
    assert "defect" not in ended.stderr and "Traceback" not in ended.stderr
