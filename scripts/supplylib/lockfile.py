"""A lock file of uv, read: every package with its version, the hashes of its files, and who asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)(?: *; *(?P<marker>[^\\]*[^\\\s]))? *\\?"
)
_HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64}) *\\?")
US = "keeper"


@dataclass
class Pin:
    """marker: where it is installed; empty for everywhere. asked_by: packages, or `US`."""

    name: str
    version: str
    marker: str = ""
    hashes: list[str] = field(default_factory=list)
    asked_by: list[str] = field(default_factory=list)

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def read_lock(file: Path) -> list[Pin]:
    """Raises ValueError for a line that pins nothing: a URL, a path, an option, a package without hash."""
    pins: list[Pin] = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if found := _PIN.fullmatch(text):
            pins.append(Pin(canonicalize_name(found["name"]), found["version"], found["marker"] or ""))
        elif (found := _HASH.fullmatch(text)) and pins:
            pins[-1].hashes.append(found["digest"])
        elif text.startswith("#"):
            who = text.lstrip("# ").removeprefix("via").strip()
            if who and pins:
                pins[-1].asked_by.append(US if who.startswith(f"{US} (") else canonicalize_name(who.partition(" ")[0]))
        elif text:
            raise ValueError(f"{file.name}, line {number}: {text!r} pins no package of the registry by its hash")
    if bare := [pin.purl for pin in pins if not pin.hashes]:
        raise ValueError(f"{file.name}: without a hash: {', '.join(bare)}")
    if not pins:
        raise ValueError(f"{file.name} pins nothing")
    return pins
