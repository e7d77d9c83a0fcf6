"""One defence taken out of a copy of the sources, and the one test that has to fail then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 240
_PARTS = ("keeper", "tests", "configs", "abis", "scripts", "docs", "pyproject.toml", "README.md", "CHANGELOG.md")
_COMPILED = "abis/keeper"
_BUILD = "scripts/build-contracts"
_FAILED = 1  # pytest's exit code where tests ran and some failed


@dataclass(frozen=True, slots=True)
class Removal:
    """defence: what is promised. file, text, without: where it stands exactly once, and what is there instead.
    test: that has to fail then, by its pytest node id. needs: the environment variable without which it is not run."""

    group: str
    defence: str
    file: str
    text: str
    without: str
    test: str
    needs: str | None = None

    @property
    def is_of_a_contract(self) -> bool:
        """It is compiled before it is tried."""
        return self.file.endswith(".vy")

    @property
    def can_be_tried(self) -> bool:
        return self.needs is None or self.needs in os.environ

    @property
    def objection(self) -> str | None:
        """Why it cannot be tried: the sources changed since it was written."""
        try:
            found = (ROOT / self.file).read_text("utf-8").count(self.text)
        except OSError as error:
            return f"{self.file}: {error.strerror}"
        if found != 1:
            return f"{self.file} has {found} times, instead of once: {self.text!r}"
        name = self.test.partition("::")[2].partition("[")[0].rpartition("::")[2]
        path = ROOT / self.test.partition("::")[0]
        if not path.is_file() or f"def {name}(" not in path.read_text("utf-8"):
            return f"there is no test {self.test}"
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """fails: whether the test noticed. said: its last words, where it did not."""

    removal: Removal
    fails: bool
    said: str = ""


class Copy:
    """A copy of what the tests need; the sources themselves are never touched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for part in _PARTS:
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "pictures", "screens")
                shutil.copytree(source, folder / part, ignore=ignored)
            else:
                shutil.copy(source, folder / part)

    def test(self, nodes: Iterable[str], longest_s: float = LONGEST_S) -> subprocess.CompletedProcess[str]:
        return self._run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", *nodes], longest_s
        )

    def _run(self, command: Sequence[str], longest_s: float) -> subprocess.CompletedProcess[str]:
        """Of the copy's own code: it comes before whatever is installed."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self._folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "KEEPER_CACHE": os.environ.get("KEEPER_CACHE", str(ROOT / ".cache")),
        }
        return subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=longest_s, check=False
        )

    def is_sound(self, removals: Iterable[Removal]) -> str | None:
        """None where all tests pass while nothing is taken out: one that fails anyway would notice nothing. Else what
        they said."""
        done = self.test(sorted({one.test for one in removals}), 1_800)
        return None if done.returncode == 0 else done.stdout[-2_000:] or done.stderr[-2_000:]

    @contextmanager
    def without(self, removal: Removal) -> Iterator[None]:
        path = self._folder / removal.file
        compiled = (self._folder / _COMPILED).glob("*.json") if removal.is_of_a_contract else ()
        before = {each: each.read_text("utf-8") for each in (path, *compiled)}
        path.write_text(before[path].replace(removal.text, removal.without), "utf-8")
        try:
            yield
        finally:
            for each, whole in before.items():
                each.write_text(whole, "utf-8")

    def try_it(self, removal: Removal) -> Verdict:
        """A test that does not end any more noticed too. One that could not even be collected did not: what was put
        in place is no code then."""
        with self.without(removal):
            try:
                if removal.is_of_a_contract:
                    self._run([sys.executable, _BUILD], LONGEST_S).check_returncode()
                done = self.test([removal.test])
            except subprocess.TimeoutExpired:
                return Verdict(removal, fails=True)
            except subprocess.CalledProcessError as error:
                return Verdict(removal, fails=False, said=f"it does not compile: {error.stderr[-300:]}")
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        return Verdict(removal, done.returncode == _FAILED, "\n".join(lines[-3:]) or done.stderr[-300:])
