"""Every fuzz target over the inputs that were kept, and over new ones, for a few seconds in all.

`scripts/fuzz` does the same by coverage and for longer. What either finds is kept in `corpus`, and right from then on.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets

CORPUS = Path(__file__).parent / "corpus"
NAMES = [module.name for module in pkgutil.iter_modules(targets.__path__)]
EXAMPLES = 200
SLOWEST_S = 3.0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())


def target_of(name: str) -> ModuleType:
    return importlib.import_module(f"tests.fuzz.targets.{name}")


def tried(target: ModuleType, data: bytes) -> None:
    """One input: nothing but what is allowed, and in time."""
    began = time.perf_counter()
    with suppress(*target.ALLOWED):
        target.run(data)
    assert time.perf_counter() - began < SLOWEST_S, f"{len(data)} bytes took too long: {data[:80]!r}"


def kept(name: str) -> list[Path]:
    return sorted((CORPUS / name).iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_target_keeps_its_finds(name: str) -> None:
    """And they are right now."""
    assert kept(name), f"keep at least one input under {CORPUS / name}"
    for file in kept(name):
        tried(target_of(name), file.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_whatever_comes_is_refused_in_so_many_words(name: str) -> None:
    """Random bytes, and right inputs with some bytes changed, left out or repeated."""
    target = target_of(name)
    seeds = [*target.SEEDS, *(file.read_bytes() for file in kept(name) if file.stat().st_size < 20_000)]

    @settings(max_examples=EXAMPLES)
    @given(data=st.one_of(st.binary(max_size=300), st.sampled_from(seeds).flatmap(partial(bent))))
    def check(data: bytes) -> None:
        tried(target, data)

    check()


def bent(seed: bytes) -> st.SearchStrategy[bytes]:
    """Right but for a few places."""
    place = st.integers(0, max(len(seed), 1))
    change = st.tuples(place, place, st.binary(max_size=8))
    return st.lists(change, max_size=4).map(lambda changes: _bend(seed, changes))


def _bend(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for first, last, put in changes:
        seed = seed[:first] + put + seed[min(first + last % 9, len(seed)) :]
    return seed
