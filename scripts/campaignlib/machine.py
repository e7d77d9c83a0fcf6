"""The machine under the daemon, and how it fails: its disk, its limits, by the kernel; and its clock,
by `time.time` of the daemon's Python (dates that HTTP servers give are held against the true one)."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import struct
import subprocess
from pathlib import Path

_DISK_MIB = 256
_ROOM = 4096


class Disk:
    """A file system of its own for the daemon's files, which can be full or read-only. Needs a private mount namespace,
    which `scripts/campaign` asks for; `is_own` is False where there is none."""

    def __init__(self, folder: Path, mib: int = _DISK_MIB) -> None:
        self.folder = folder
        self.is_own = False
        folder.mkdir(parents=True, exist_ok=True)
        if os.environ.get("KEEPER_CAMPAIGN_NAMESPACE"):
            self.is_own = _mount("-t", "tmpfs", "-o", f"size={mib}m", "campaign", str(folder))

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Not a byte is left."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while True:
                ballast.write(bytes(_ROOM))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def read_only(self) -> bool:
        """Refused by the kernel while a file is open for writing there, unless by force."""
        return _mount("-o", "remount,ro,bind", str(self.folder)) or _mount("-o", "remount,ro", str(self.folder))

    def writable(self) -> None:
        if not (_mount("-o", "remount,rw,bind", str(self.folder)) or _mount("-o", "remount,rw", str(self.folder))):
            raise OSError(f"cannot make {self.folder} writable again")

    def close(self) -> None:
        if self.is_own:
            subprocess.run(["umount", "-l", str(self.folder)], check=False, capture_output=True)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


class Limit:
    """One resource limit of a running process, lowered and lifted."""

    def __init__(self, what: int) -> None:
        self._what = what
        self._pid = 0
        self._before = (0, 0)

    def lower(self, pid: int, to: int) -> None:
        self._before = resource.prlimit(pid, self._what)
        self._pid = pid
        resource.prlimit(pid, self._what, (to, self._before[1]))

    def lift(self) -> None:
        """Harmless when it was never lowered, or the process is gone."""
        if not self._pid:
            return  # to the kernel, 0 is ourselves
        with contextlib.suppress(OSError):  # it may be gone
            resource.prlimit(self._pid, self._what, self._before)


class Clock:
    """The daemon's time of day, beside the true one; see `clock/sitecustomize.py`."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(struct.pack("d", 0.0))
        with file.open("r+b") as opened:
            self._offset = mmap.mmap(opened.fileno(), 8)
        self.environment = {
            "KEEPER_CAMPAIGN_CLOCK": str(file),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "clock"), os.environ.get("PYTHONPATH", "")]),
        }

    def step(self, seconds: float) -> None:
        struct.pack_into("d", self._offset, 0, seconds)


def size_of(pid: int) -> int:
    """Bytes of address space."""
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[0]) * os.sysconf("SC_PAGE_SIZE")
