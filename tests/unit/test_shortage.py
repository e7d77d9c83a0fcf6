"""A machine that has no more of something is named as that, with its limit and the remedy, and not as our defect."""

from __future__ import annotations

import errno
import resource

import pytest

from keeper import cli
from keeper.core.errors import RpcUnavailable
from keeper.shortage import shortage


def raised(error: Exception, of: Exception | None = None) -> Exception:
    try:
        if of is None:
            raise error
        raise error from of
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (RuntimeError("can't start new thread"), "out of memory or threads"),
        (OSError(errno.EMFILE, "Too many open files"), "out of file descriptors"),
        (OSError(errno.ENOSPC, "No space left on device", "/var/keeper.db"), "no room left on a disk"),
    ],
)
def test_what_is_missing_is_named(error: Exception, words: str):
    told = shortage(raised(error))
    assert told is not None
    assert words in told
    assert "a start goes on where this one stopped" in told


def test_it_is_found_under_what_came_of_it():
    """As when a loop that runs out of memory cannot start the thread that would end it."""
    assert shortage(raised(RpcUnavailable("no answer"), of=raised(ValueError("?"), of=MemoryError()))) is not None
    assert shortage(ExceptionGroup("tasks", [ValueError("?"), MemoryError()])) is not None


def test_the_limit_is_told():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = shortage(OSError(errno.EMFILE, "Too many open files"))
    assert told is not None
    assert f"the limit of descriptors is {soft}" in told


def test_a_command_that_runs_out_says_so_and_blames_nobody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One line with the remedy: neither a traceback nor a defect to report."""

    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("keeper.wire.open_house", full)
    assert cli.main(["backfill"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("keeper: out of file descriptors") and said.count("\n") == 1
    assert "defect" not in said


@pytest.mark.parametrize("error", [ValueError("no"), OSError(errno.EPERM, "no"), RuntimeError("no"), KeyError("no")])
def test_anything_else_is_none(error: Exception):
    assert shortage(raised(error)) is None
