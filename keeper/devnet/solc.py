"""Compile Solidity with npm's solc into a cache keyed by the whole input, and link libraries."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from keeper.devnet.cache import cache_root, locked
from keeper.devnet.errors import DevnetError
from keeper.devnet.npm import SOLC, Package, fetch

_TIMEOUT_S = 300
_IMPORT = re.compile(r"""^\s*(?:import|export)\b[^;'"]*['"]([^'"]+)['"]\s*;""", re.MULTILINE)
_OUTPUTS = ["abi", "evm.bytecode.object", "evm.bytecode.linkReferences"]


@dataclass(frozen=True, slots=True)
class Compiler:
    package: Package = SOLC
    evm_version: str = "shanghai"

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "optimizer": {"enabled": True, "runs": 200},
            "evmVersion": self.evm_version,
            "metadata": {"bytecodeHash": "none"},
        }


_DEFAULT = Compiler()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract. bytecode is hex without 0x, with holes at `links`: library name -> byte offsets."""

    name: str
    abi: tuple[Mapping[str, Any], ...]
    bytecode: str
    links: Mapping[str, tuple[int, ...]]

    def linked(self, libraries: Mapping[str, str]) -> bytes:
        """Init code with every library's address filled in. Raises DevnetError when one is missing."""
        code = self.bytecode
        for library, offsets in self.links.items():
            if library not in libraries:
                raise DevnetError(f"{self.name} links {library}, which is not deployed yet; deploy it first")
            address = libraries[library].removeprefix("0x").lower()
            for offset in offsets:
                code = code[: offset * 2] + address + code[offset * 2 + 40 :]
        return bytes.fromhex(code)


def compile_sources(
    name: str, entries: Iterable[str], roots: Mapping[str, Path], compiler: Compiler = _DEFAULT
) -> dict[str, Artifact]:
    """Artifacts of every contract defined in the entry files, by contract name.

    entries: source unit names, like "src/contracts/misc/AaveOracle.sol". roots: directory of each unit name prefix.
    The first compilation of Aave takes 15-20 s; afterwards it is a file read. Raises DevnetError with solc's messages.
    """
    wanted = sorted(entries)
    sources = _with_imports(wanted, roots)
    request = json.dumps(
        {
            "language": "Solidity",
            "sources": {unit: {"content": sources[unit]} for unit in sorted(sources)},
            "settings": {**compiler.settings, "outputSelection": {unit: {"*": _OUTPUTS} for unit in wanted}},
        }
    )
    key = hashlib.sha256(f"{compiler.package.spec}\n{request}".encode()).hexdigest()[:16]
    built = cache_root() / "build" / f"{name}-{key}.json"
    if not built.is_file():
        with locked(f"build-{name}"):
            if not built.is_file():
                _write(built, _solc(request, compiler.package))
    return {row["name"]: _artifact(row) for row in json.loads(built.read_text())}


def hardhat_artifact(path: Path) -> Artifact:
    """A published Hardhat artifact without unlinked libraries."""
    row = json.loads(path.read_text())
    return Artifact(path.stem, tuple(row["abi"]), row["bytecode"].removeprefix("0x"), {})


def _with_imports(entries: Iterable[str], roots: Mapping[str, Path]) -> dict[str, str]:
    """Text of the entries and of everything they import, by source unit name."""
    sources: dict[str, str] = {}
    pending = list(entries)
    while pending:
        unit = pending.pop()
        if unit in sources:
            continue
        sources[unit] = text = _file(unit, roots).read_text()
        for target in _IMPORT.findall(text):
            relative = target.startswith(".")
            pending.append(posixpath.normpath(posixpath.join(posixpath.dirname(unit), target)) if relative else target)
    return sources


def _file(unit: str, roots: Mapping[str, Path]) -> Path:
    for prefix in sorted(roots, key=len, reverse=True):
        if unit.startswith(prefix):
            return roots[prefix] / unit.removeprefix(prefix)
    raise DevnetError(f"no directory is known for the Solidity import {unit!r}; known prefixes: {sorted(roots)}")


def _solc(request: str, package: Package) -> list[dict[str, Any]]:
    node = shutil.which("node")
    if node is None:
        raise DevnetError("node is not on PATH; the dev chain needs node 20 with npm to compile the protocols' sources")
    (home,) = fetch(package)
    with as_file(files("keeper.devnet").joinpath("solc.cjs")) as driver:
        command = [node, "--max-old-space-size=4096", str(driver), str(home / "soljson.js")]
        try:
            done = subprocess.run(  # noqa: S603  (arguments are our own constants)
                command, input=request.encode(), capture_output=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise DevnetError(
                f"solc took longer than {_TIMEOUT_S} s; free some memory or processor and retry"
            ) from None
    if done.returncode:
        raise DevnetError(f"solc stopped with exit code {done.returncode}: {done.stderr.decode()[-2000:]}")
    answer = json.loads(done.stdout)
    failures = [note["formattedMessage"] for note in answer.get("errors", []) if note["severity"] == "error"]
    if failures:
        raise DevnetError("solc refused the sources:\n" + "\n".join(failures[:5]))
    return [
        {"name": contract, "abi": out["abi"], **_bytecode(out["evm"]["bytecode"])}
        for unit in answer["contracts"].values()
        for contract, out in unit.items()
    ]


def _bytecode(compiled: Mapping[str, Any]) -> dict[str, Any]:
    links = {
        library: [place["start"] for place in places]
        for libraries in compiled["linkReferences"].values()
        for library, places in libraries.items()
    }
    return {"bytecode": compiled["object"], "links": links}


def _artifact(row: Mapping[str, Any]) -> Artifact:
    links = {library: tuple(offsets) for library, offsets in row["links"].items()}
    return Artifact(row["name"], tuple(row["abi"]), row["bytecode"], links)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".partial")
    scratch.write_text(json.dumps(rows))
    scratch.rename(path)
