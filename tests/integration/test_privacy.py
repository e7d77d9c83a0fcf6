"""What other processes and users of the machine learn of a Keeper that knows secrets: nothing.

Attacked for real: with a debugger's system call, through /proc, by a crash that leaves a core file, by file modes.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from keeper.config.load import load_config
from keeper.core.errors import ConfigError
from keeper.devnet.chain import DevChain
from keeper.privacy import exposures, refuse_exposed
from keeper.store import open_store
from keeper.wire.files import Files
from tests.support.daemon import Keeper, deploy

AS_SOMEBODY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if os.getuid() == 0:  # root may read everything, so both attacker and victim become somebody else
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which a change of user took away
"""
ATTACK = (
    AS_SOMEBODY
    + """
pid = int(sys.argv[1])
for name in ("environ", "mem"):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            file.read(1)
        print("read", name)
    except PermissionError:
        pass
    except OSError as error:
        print("read", name, error)
if libc.ptrace(16, pid, None, None) == 0:  # PTRACE_ATTACH
    print("attached")
"""
)
VICTIM = (
    "from keeper import privacy\n"
    + AS_SOMEBODY
    + """
if sys.argv[1] == "withdrawn":
    privacy.withdraw()
print("ready", flush=True)
sys.stdin.read()
"""
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and prctl are Linux's")


def found_by_an_attacker(state: str) -> list[str]:
    """What another process of the same user gets out of one in this state."""
    root = Path(__file__).parents[2]
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, state],
        env={"SECRET": "x" * 32, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    try:
        assert victim.stdout.readline() == "ready\n"
        attack = [sys.executable, "-c", ATTACK, str(victim.pid)]
        done = subprocess.run(attack, capture_output=True, text=True, timeout=30)
        return done.stdout.splitlines()
    finally:
        victim.kill()
        victim.communicate()


@linux
def test_another_process_of_the_same_user_reads_neither_memory_nor_environment():
    """The same attack gets at both of a process that did not withdraw."""
    assert found_by_an_attacker("withdrawn") == []
    if "read environ" not in found_by_an_attacker("open"):
        pytest.skip("this machine forbids it anyway")


def crash(folder: Path, keeper: Keeper) -> bool:
    """Whether a daemon that is aborted, and may dump core as far as its parent is concerned, does."""
    log, unlimited = folder / "crash.log", (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    process = subprocess.Popen(
        [sys.executable, "-m", "keeper", "run", "--config", str(keeper.config)],
        cwd=folder,
        env=keeper.environment,
        stderr=log.open("ab"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited),
    )
    keeper.process = process
    keeper.until("the daemon to start", lambda: b"started" in log.read_bytes())
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -signal.SIGABRT
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


@linux
def test_a_daemon_that_crashes_leaves_no_core_file(dev_chain: DevChain, tmp_path: Path):
    """Though its parent set no limit; and everything that it wrote is its owner's alone, whatever the umask was."""
    with deploy(tmp_path, dev_chain) as keeper:
        before = os.umask(0o000)
        try:
            dumped = crash(tmp_path, keeper)
        finally:
            os.umask(before)
    assert not dumped
    assert not [path for path in tmp_path.rglob("core*") if path.is_file()]
    written = [path for path in (tmp_path / "var").rglob("*") if path.is_file()]
    assert {"keeper.db", "keeper.db-wal", "keeper.db.lock"} <= {path.name for path in written}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in written} == {"0o600"}


def test_files_of_an_earlier_time_are_taken_back(tmp_path: Path):
    """A database that was copied with other modes is its owner's alone once it is opened for writing."""
    database = tmp_path / "keeper.db"
    open_store(f"sqlite:///{database}", chain_id=1).close()
    database.chmod(0o664)
    with closing(open_store(f"sqlite:///{database}", chain_id=1)):
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


WITHDRAWN = """
import os, resource, sys
from keeper import privacy
os.umask(0)
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
privacy.withdraw()
os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o666))
print(hard, resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_that_withdrew_may_dump_no_core(tmp_path: Path):
    """However large its parent let cores be; and what it writes is its owner's, whatever the umask was."""
    root, file = Path(__file__).parents[2], tmp_path / "new"
    command = [sys.executable, "-c", WITHDRAWN, str(file)]
    done = subprocess.run(command, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=30)
    hard, limits = done.stdout.split(maxsplit=1)
    assert limits.strip() == "(0, 0)"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    if hard == "0":
        pytest.skip("this machine lets nobody dump core anyway")


# --- files with secrets -----------------------------------------------------------------------------------------------


@pytest.fixture
def keeper(shared_chain: DevChain, tmp_path: Path) -> Keeper:
    with deploy(tmp_path, shared_chain) as keeper:
        return keeper


def test_secrets_that_others_can_read_are_told_of(keeper: Keeper):
    """A warning of a run, a failed line of `check`, each with the remedy."""
    env_file = keeper.config.parent / ".env"
    env_file.write_text("SOMETHING=secret\n")
    env_file.chmod(0o640)
    done = keeper.run("calls", "--log-format", "json")
    assert '"event":"file_exposed"' in done.stderr.replace(" ", "") and f"chmod 600 {env_file}" in done.stderr
    checked = keeper.run("check")
    assert checked.returncode == 1
    assert f"FAIL  files                        {env_file} has mode 0640" in checked.stdout


def test_a_configuration_that_others_can_read_holds_no_secret(keeper: Keeper):
    """Told where a key, a password or a URL with a token is written out in it; a node's bare address is none, nor is a
    reference to a variable."""
    bare = keeper.config.read_text()
    keeper.config.chmod(0o644)
    secrets = {
        "key": ('"env:KEEPER_PRIVATE_KEY"', f'"{keeper.chain.liquidator.private_key}"'),
        "token": (f'"{keeper.chain.ws_url}"', f'"{keeper.chain.ws_url}", "wss://node.example/v2/a-token-of-ours-1234"'),
    }
    said = f"{keeper.config} has mode 0644, so others can read it; chmod 600 {keeper.config}"
    for reference, written in secrets.values():
        assert bare.count(reference) == 1
        keeper.config.write_text(bare.replace(reference, written))
        keeper.settings = load_config(keeper.config, environment=keeper.environment)
        assert [str(one) for one in exposures(Files(keeper.config, keeper.settings).secrets)] == [said]
    checked = keeper.run("check")
    assert checked.returncode == 1 and f"FAIL  files                        {said}" in checked.stdout
    keeper.config.write_text(bare)
    assert "ok    files" in keeper.run("check").stdout


@pytest.mark.parametrize("name", [".env", "keeper.toml"])
def test_what_everybody_can_change_is_not_followed(keeper: Keeper, name: str):
    """Whoever writes these decides what is signed and whom it pays."""
    file = keeper.config.parent / name
    file.touch()
    file.chmod(0o602)
    done = keeper.run("run")
    assert done.returncode == 1
    assert f"{file} has mode 0602, so everybody can change it; chmod 600 {file}" in done.stderr
    assert "Traceback" not in done.stderr


def test_exposures_are_named_by_what_can_be_done(tmp_path: Path):
    modes = {"mine": 0o600, "group": 0o640, "world": 0o604, "open": 0o666, "read_only": 0o400}
    for name, mode in modes.items():
        (tmp_path / name).touch(mode)
        (tmp_path / name).chmod(mode)
    found = {one.path.name: one.is_writable for one in exposures([*tmp_path.iterdir(), tmp_path / "absent"])}
    assert found == {"group": False, "world": False, "open": True}
    refuse_exposed([tmp_path / "group", tmp_path / "absent"], [tmp_path / "world"])
    with pytest.raises(ConfigError, match=r"open has mode 0666.*chmod 600"):
        refuse_exposed([], [tmp_path / "open"])
