"""A PostgreSQL server of the campaign's own, and how servers fail: killed, restarted, cut off, silent, full, crowded.

The daemon reaches it through a gate, which can lose what the server answers or keep it back. Whoever looks into the
store meanwhile (the campaign itself) goes to the server directly.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from scripts.campaignlib.gate import Gate, open_gate
from scripts.campaignlib.machine import Disk

USER, CROWD, _ADMIN, _DATABASE = "keeper", "others", "admin", "keeper"
_STARTS_WITHIN_S = 60.0
_STOPS_WITHIN_S = 30.0
_CONNECTIONS, _RESERVED = 20, 3
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": _CONNECTIONS,
    "superuser_reserved_connections": _RESERVED,
    "shared_buffers": "32MB",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %u ",
}
_DISK_MIB = 320
_FULL = "No space left on device"
_CROWDED = ("connection slots are reserved", "too many clients already")
_PR_SET_PDEATHSIG = 1


class ServerError(Exception):
    """The campaign's own server does not do what it should."""


class ServerMissing(ServerError):
    """PostgreSQL's programs are not on this machine."""


class Server:
    """One cluster with one database. disk: where it lives; `is_own` when it can be full."""

    def __init__(self, gate: Gate, disk: Disk, programs: Path, log: Path, port: int) -> None:
        self.gate = gate
        self.disk = disk
        self.port = port
        self._programs = programs
        self._data = disk.folder / "data"
        self._log = log
        self._owner = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._crowd: list[psycopg.Connection[Any]] = []

    @property
    def url(self) -> str:
        """For the daemon: through the gate."""
        return f"postgresql://{USER}@127.0.0.1:{self.gate.port}/{_DATABASE}"

    @property
    def direct_url(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{_DATABASE}"

    # --- its life

    def create(self) -> None:
        """A new cluster that runs, with the daemon's role and its empty database."""
        self._data.mkdir()
        if self._owner is not None:
            os.chown(self._data, self._owner.pw_uid, self._owner.pw_gid)
        command = [self._programs / "initdb", "-D", self._data, "-U", _ADMIN, "-A", "trust", "-E", "UTF8"]
        made = subprocess.run([*command, "--no-locale", "--no-sync"], capture_output=True, text=True, **self._identity)
        if made.returncode:
            raise ServerError(f"initdb ended with {made.returncode}: {made.stderr[-500:]}")
        self.start()
        for name in (USER, CROWD):
            self.execute(f"CREATE ROLE {name} LOGIN", database="postgres")
        self.execute(f"CREATE DATABASE {_DATABASE} OWNER {USER}", database="postgres")

    def start(self) -> None:
        """Harmless when it runs. What was killed may leave its children for a moment, so this is tried again."""
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                self._process = self._launch()
            with contextlib.suppress(psycopg.Error):
                self.rows("SELECT 1", database="postgres")
                return
            time.sleep(0.1)
        raise ServerError(f"the PostgreSQL server does not start: {self._log.read_text()[-1_000:]}")

    def stop(self) -> None:
        """Fast: connections are ended, the cluster is whole."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """All its processes at once, as when its machine loses power (but for what its disk has not seen yet)."""
        if self._process is None or self._process.poll() is not None:
            return
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(_STOPS_WITHIN_S)

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = {**_SETTINGS, "port": self.port}
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        libc = ctypes.CDLL(None)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0),  # it does not outlive us
                **self._identity,
            )

    @property
    def _identity(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": [], "cwd": "/"}

    # --- what its administrator does

    @contextmanager
    def connected(self, database: str = _DATABASE) -> Iterator[psycopg.Connection[Any]]:
        """By a connection that is kept for administrators."""
        url = f"postgresql://{_ADMIN}@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            yield connection

    def rows(self, sql: str, database: str = _DATABASE) -> list[tuple[Any, ...]]:
        with self.connected(database) as connection:
            return connection.execute(sql).fetchall()  # type: ignore[call-overload, no-any-return]

    def execute(self, sql: str, *values: Any, database: str = _DATABASE) -> None:
        with self.connected(database) as connection:
            connection.execute(sql, values)  # type: ignore[call-overload]

    def disconnect(self) -> None:
        """End the sessions of the daemon."""
        self.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'")  # noqa: S608

    # --- what others do to it

    def crowd(self) -> None:
        """Others take every connection that is free."""
        with contextlib.suppress(psycopg.OperationalError):
            while len(self._crowd) < _CONNECTIONS:
                url = f"postgresql://{CROWD}@127.0.0.1:{self.port}/postgres"
                self._crowd.append(psycopg.connect(url, autocommit=True, connect_timeout=5))

    def disperse(self) -> None:
        for one in self._crowd:
            one.close()
        self._crowd.clear()

    def refused(self) -> int:
        """How often the daemon was sent away for want of a connection."""
        return self._said(_CROWDED, of=f" {USER} ")

    def full(self) -> int:
        """How often it had no room to write."""
        return self._said((_FULL,))

    def _said(self, words: Sequence[str], of: str = "") -> int:
        lines = self._log.read_text(errors="replace").splitlines()
        return sum(of in line and any(word in line for word in words) for line in lines)


@contextmanager
def open_server(log: Path) -> Iterator[Server]:
    """Raises ServerMissing where PostgreSQL's programs are."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="keeper-campaign-server-"))
    folder.chmod(0o755)  # its owner is another one than ours
    disk = Disk(folder / "disk", _DISK_MIB)
    port = _free_port()
    try:
        with open_gate(port) as gate:
            server = Server(gate, disk, programs, log, port)
            try:
                server.create()
                yield server
            finally:
                server.disperse()
                server.stop()
    finally:
        disk.close()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Where `initdb` and `postgres` are, the newest."""
    versions = [one for one in Path("/usr/lib/postgresql").glob("*/bin") if one.parent.name.isdigit()]
    installed = sorted(versions, key=lambda one: int(one.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for folder in (*installed, *([Path(on_path).resolve().parent] if on_path else [])):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServerMissing(
        "there is no PostgreSQL server on this machine (initdb and postgres, on PATH or in /usr/lib/postgresql): "
        "install the package postgresql, or use --store sqlite"
    )


def _unprivileged() -> pwd.struct_passwd | None:
    """Whose the server is when we are root; None: ours."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")


def _children(pid: int) -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(file.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(file.parent.name))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
