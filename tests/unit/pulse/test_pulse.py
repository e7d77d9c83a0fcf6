"""The pulse: what the daemon says of itself, and how a reader sees a daemon that is no more."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from keeper.core.chain import Committed, Reverted
from keeper.core.types import Block, BlockRef
from keeper.pulse import STALE_S, Board, HeadTally, JobTally, PulseWriter, read_pulse


def block(number: int, branch: int = 0) -> Block:
    def hash_of(height: int) -> bytes:
        return bytes([branch]) + height.to_bytes(31, "big")

    return Block(BlockRef(number, hash_of(number)), hash_of(number - 1), 1_000 + number)


class Clock:
    def __init__(self, now: float = 2_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


async def written(board: Board, path: Path, clock: Clock) -> None:
    await PulseWriter(board, path, 31337, clock).write()


async def test_what_is_written_is_what_the_sections_said(tmp_path: Path):
    board, path, clock = Board(), tmp_path / "k.db.pulse.json", Clock()
    board.register("mode", lambda: {"mode": "following", "since": 12.5})
    await written(board, path, clock)
    pulse = read_pulse(path)
    assert pulse is not None
    assert (pulse.at, pulse.chain_id, pulse.pid) == (2_000.0, 31337, os.getpid())
    assert pulse.section("mode") == {"mode": "following", "since": 12.5}
    assert pulse.section("latency") == {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path], "nothing half written is left beside it"


async def test_a_daemon_that_stopped_writing_is_seen_by_the_age_of_its_pulse(tmp_path: Path):
    path, clock = tmp_path / "pulse.json", Clock()
    await written(Board(), path, clock)
    pulse = read_pulse(path)
    assert pulse is not None
    assert not pulse.is_stale(clock.now + STALE_S)
    assert pulse.is_stale(clock.now + STALE_S + 0.001)
    assert pulse.age_s(clock.now - 5) == 0, "a clock that was set back makes nothing younger than new"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"at": "soon"}', b"\xff\xfe"])
def test_no_pulse_and_no_readable_pulse_are_the_same_fact(tmp_path: Path, content: bytes | None):
    path = tmp_path / "pulse.json"
    if content is not None:
        path.write_bytes(content)
    assert read_pulse(path) is None


async def test_a_section_that_fails_says_so_and_hides_no_other(tmp_path: Path):
    board, path = Board(), tmp_path / "pulse.json"

    def broken() -> dict[str, object]:
        raise LookupError("no wallet")

    board.register("balances", broken)
    board.register("heads", lambda: {"number": 7})
    await written(board, path, Clock())
    pulse = read_pulse(path)
    assert pulse is not None
    assert pulse.section("balances") == {"error": "LookupError: no wallet"}
    assert pulse.section("heads") == {"number": 7}


def test_two_parts_cannot_say_one_section():
    board = Board()
    board.register("mode", dict)
    with pytest.raises(ValueError, match="'mode' already"):
        board.register("mode", dict)


async def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path):
    writer = PulseWriter(Board(), tmp_path / "missing" / "pulse.json", 1, Clock())
    await writer.write()
    await writer.write()
    (tmp_path / "missing").mkdir()
    await writer.write()
    assert read_pulse(tmp_path / "missing" / "pulse.json") is not None


async def test_the_last_pulse_is_written_as_the_daemon_ends(tmp_path: Path):
    board, path, clock = Board(), tmp_path / "pulse.json", Clock()
    said = {"number": 1}
    board.register("heads", lambda: said)
    writer = PulseWriter(board, path, 1, clock)
    writer.start()
    while read_pulse(path) is None:
        await asyncio.sleep(0.01)
    said["number"] = 2
    await writer.stop()
    pulse = read_pulse(path)
    assert pulse is not None
    assert pulse.section("heads") == {"number": 2}


# --- what the daemon counts -------------------------------------------------------------------------------------------


def test_heads_are_counted_with_how_long_each_took_and_how_far_behind_we_are():
    wall, clock = Clock(1_015.0), Clock(0.0)
    tally = HeadTally(wall, clock)
    assert tally.read()["number"] is None
    tally.announced(block(10))
    clock.now = 0.25
    tally.took(Committed(block(10), tip=True))
    tally.announced(block(13))
    said = tally.read()
    assert (said["number"], said["announced_number"], said["behind_blocks"]) == (10, 13, 3)
    assert (said["took_s"], said["age_s"], said["blocks"]) == (0.25, 5.0, 1)
    wall.now = 1_017.0
    for number in (11, 12, 13):
        tally.took(Committed(block(number), tip=number == 13))
    assert tally.read()["behind_blocks"] == 0
    assert tally.read()["blocks_per_second"] == 1.5  # three more in two seconds


def test_reorgs_are_counted_by_number_and_depth():
    tally = HeadTally(Clock(1_000.0), Clock())
    ancestor = block(9).ref
    tally.took(Reverted(ancestor, (block(11).ref, block(10).ref)))
    tally.took(Reverted(ancestor, (block(10).ref,)))
    said = tally.read()
    assert (said["reorgs"], said["reverted_blocks"], said["deepest_reorg"]) == (2, 3, 2)
    assert said["last_reorg"] == {"at": 1_000.0, "depth": 1, "ancestor": 9}


def test_jobs_are_counted_with_their_failures():
    tally = JobTally(Clock(5.0), Clock())
    with tally.running("reconcile"):
        pass
    with pytest.raises(LookupError), tally.running("reconcile"):
        raise LookupError("no state")
    assert tally.read() == {"reconcile": {"runs": 2, "failures": 1, "last_at": 5.0, "last_s": 0.0, "error": "no state"}}
