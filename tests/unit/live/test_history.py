"""Healths as they were: bounded, forgotten in time, written by one process, and never in anybody's way."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from keeper.queries.live.history import History


def history(path: Path, **more: float) -> History:
    found = History(path, every_s=more.get("every_s", 60), keep_s=more.get("keep_s", 3_600), positions=10)
    found.open()
    return found


def test_what_was_kept_is_there_after_a_restart_oldest_first(tmp_path: Path):
    path = tmp_path / "h.db"
    with closing(history(path)) as kept:
        kept.keep(1_000, 10, [("lab:0x01", 3 * 10**18), ("lab:0x02", None)])
        kept.keep(1_060, 11, [("lab:0x01", 2 * 10**18)])
    with closing(history(path)) as again:
        assert again.of("lab:0x01") == [
            {"block_number": 10, "timestamp": 1_000, "health_wad": str(3 * 10**18)},
            {"block_number": 11, "timestamp": 1_060, "health_wad": str(2 * 10**18)},
        ]
        assert again.of("lab:0x02") == [{"block_number": 10, "timestamp": 1_000, "health_wad": None}]
        assert again.of("lab:0x03") == []


def test_a_sample_is_due_once_its_time_has_come(tmp_path: Path):
    with closing(history(tmp_path / "h.db")) as kept:
        assert kept.is_due(1_000)
        kept.keep(1_000, 10, [])
        assert not kept.is_due(1_059)
        assert kept.is_due(1_060)
        assert kept.is_due(900), "a chain that was set back is another chain"


def test_what_is_too_old_is_forgotten(tmp_path: Path):
    with closing(history(tmp_path / "h.db", keep_s=100)) as kept:
        for now in (1_000, 1_060, 1_120):
            kept.keep(now, now, [("lab:0x01", 10**18)])
        assert [point["timestamp"] for point in kept.of("lab:0x01")] == [1_060, 1_120]


def test_one_process_writes_and_a_second_reads(tmp_path: Path):
    path = tmp_path / "h.db"
    with closing(history(path)) as writer, closing(history(path)) as reader:
        writer.keep(1_000, 10, [("lab:0x01", 10**18)])
        assert not reader.is_due(10_000)
        assert len(reader.of("lab:0x01")) == 1
    with closing(history(path)) as heir:
        assert heir.is_due(10_000)


def test_a_file_that_cannot_be_used_is_done_without(tmp_path: Path):
    damaged = tmp_path / "h.db"
    damaged.write_bytes(b"no database at all" * 400)
    for path in (damaged, tmp_path / "missing" / "h.db"):
        with closing(history(path)) as kept:
            assert not kept.is_due(1_000)
            kept.keep(1_000, 10, [("lab:0x01", 10**18)])
            assert kept.of("lab:0x01") == []
