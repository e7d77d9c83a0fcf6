"""Disks that fail to sync, or take their time: by the kernel, not by a changed library.

A seccomp filter hands each fsync and fdatasync of the daemon to us (SECCOMP_RET_USER_NOTIF, Linux 5.5 and later), and
we let it pass, let it wait, or make it fail. Nothing in the daemon can tell that from a disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import struct
import threading
import time
from pathlib import Path

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP, _PIDFD_GETFD = {"x86_64": (317, 438), "aarch64": (277, 438)}.get(platform.machine(), (0, 0))
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(platform.machine(), 0)
_SYNCS = {"x86_64": (74, 75), "aarch64": (82, 83)}.get(platform.machine(), ())
_SET_MODE_FILTER, _NEW_LISTENER = 1, 1 << 3
_ALLOW, _USER_NOTIF = 0x7FFF0000, 0x7FC00000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
LISTENER = 199
"""The descriptor under which a child leaves the filter's listener for us."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _filter() -> bytes:
    def step(code: int, yes: int, no: int, value: int) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    return b"".join(
        (
            step(_LOAD, 0, 0, 4),  # the architecture
            step(_EQUAL, 0, 3, _ARCH),
            step(_LOAD, 0, 0, 0),  # the number of the call
            step(_EQUAL, 2, 0, _SYNCS[0]),
            step(_EQUAL, 1, 0, _SYNCS[1]),
            step(_RETURN, 0, 0, _ALLOW),
            step(_RETURN, 0, 0, _USER_NOTIF),
        )
    )


def is_possible() -> bool:
    return bool(_SYNCS) and hasattr(os, "pidfd_open")


class Syncs:
    """delay_s: before each sync. failing: none succeeds (EIO). seen, failed: how many there were."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.failing = False
        self.seen = 0
        self.failed = 0
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._code = _filter()
        self._buffer = ctypes.create_string_buffer(self._code, len(self._code))
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), LISTENER)  # what a child may keep open has to be open here as well
        self._program = _Program(len(self._code) // 8, ctypes.cast(self._buffer, ctypes.c_void_p).value)

    def prepare(self) -> None:
        """In the child, before it becomes the daemon."""
        self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        listener = self._libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(self._program))
        if listener < 0:
            os._exit(99)
        os.dup2(listener, LISTENER, inheritable=True)

    def born(self, pid: int) -> None:
        """In the parent: answer for this child until it is gone."""
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                listener = self._libc.syscall(_PIDFD_GETFD, handle, LISTENER, 0)
            finally:
                os.close(handle)
            if listener >= 0:
                threading.Thread(target=self._answer, args=(listener,), name="syncs", daemon=True).start()

    def _answer(self, listener: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                notice = bytearray(80)
                fcntl.ioctl(listener, _RECEIVE, notice, True)
                (identity,) = struct.unpack_from("Q", notice)
                self.seen += 1
                if self.delay_s:
                    time.sleep(self.delay_s)
                failing = self.failing
                self.failed += failing
                answer = struct.pack("QqiI", identity, 0, -errno.EIO if failing else 0, 0 if failing else _CONTINUE)
                with contextlib.suppress(FileNotFoundError):  # it was killed meanwhile
                    fcntl.ioctl(listener, _SEND, answer)
        with contextlib.suppress(OSError):
            os.close(listener)
