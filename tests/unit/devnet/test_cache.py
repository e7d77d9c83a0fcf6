"""The cache is written once and never half."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import keeper
from keeper.devnet.cache import cache_root, published

CHECKOUT = Path(keeper.__file__).resolve().parents[1]


def test_place_is_configurable_and_inside_the_checkout_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("KEEPER_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("KEEPER_CACHE")
    assert cache_root() == CHECKOUT / ".cache"


def test_failure_while_writing_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError), published(tmp_path / "entry") as scratch:
        (scratch / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_lock_lets_one_process_in_at_a_time(tmp_path: Path):
    """Two processes that both find an entry missing: the second waits, and then finds it."""
    program = """
import os, sys, time
from pathlib import Path
from keeper.devnet.cache import cache_root, locked
log = cache_root() / "log"
with locked("x"):
    with log.open("a") as out: out.write("in ")
    time.sleep(0.3)
    with log.open("a") as out: out.write("out ")
"""
    environment = {"KEEPER_CACHE": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    both = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "in out in out "
