"""The supply chain: what the lock may say, what becomes of advisories, and what the bill of materials lists."""

from __future__ import annotations

import datetime
import importlib.machinery
import importlib.util
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TODAY = datetime.date(2026, 11, 26)
PIN = (
    "thing==1.2 ; sys_platform == 'linux' \\\n    --hash=sha256:"
    + "ab" * 32
    + "\n    # via\n    #   keeper (pyproject.toml)\n"
)


def script(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(f"script_{name}", str(ROOT / "scripts" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    return script("audit")


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    return script("sbom")


def read(tmp_path: Path, text: str) -> Any:
    from supplylib.lockfile import read_lock

    file = tmp_path / "some.lock"
    file.write_text(text)
    return read_lock(file)


def test_a_lock_pins_by_hash_and_by_nothing_else(audit: ModuleType, tmp_path: Path) -> None:
    [pin] = read(tmp_path, PIN)
    assert (pin.name, pin.version, pin.marker, pin.asked_by) == ("thing", "1.2", "sys_platform == 'linux'", ["keeper"])
    assert pin.hashes == ["ab" * 32]
    for line in (
        "other @ https://evil.example/other.whl",
        "git+https://evil.example/x",
        "other>=1",
        "--index-url https://evil.example",
        "./other",
    ):
        with pytest.raises(ValueError, match=r"line 5: .* pins no package"):
            read(tmp_path, PIN + line)
    with pytest.raises(ValueError, match="without a hash: pkg:pypi/other@2"):
        read(tmp_path, PIN + "other==2\n")
    for lock in ("requirements.lock", "requirements-run.lock"):
        assert len(audit.read_lock(ROOT / lock)) > 50


VULNERABLE = {
    "name": "thing",
    "version": "1.2",
    "vulns": [{"id": "PYSEC-1", "aliases": ["GHSA-1"], "fix_versions": []}],
}
FINE = {"name": "other", "version": "2", "vulns": []}
SKIPPED = {"name": "other", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("said", "accepted", "strict", "code", "words"),
    [
        ([VULNERABLE, FINE], {}, False, 1, "PYSEC-1, mended in none yet"),
        ([VULNERABLE, FINE], {"GHSA-1": "not run"}, True, 0, "GHSA-1 is accepted: not run"),
        ([FINE, {**VULNERABLE, "vulns": []}], {}, True, 0, "2 of 2 packages looked up, 0 open"),
        ([{**VULNERABLE, "vulns": []}, SKIPPED], {}, False, 1, "not looked up: other"),
        ([SKIPPED, {**SKIPPED, "name": "thing"}], {}, False, 0, "NOT AUDITED"),
        ([SKIPPED, {**SKIPPED, "name": "thing"}], {}, True, 1, "NOT AUDITED"),
        ([], {}, True, 1, "NOT AUDITED"),
    ],
)
def test_an_advisory_fails_unless_it_is_accepted_and_silence_is_no_answer(
    audit: ModuleType, said: list[Any], accepted: dict[str, str], strict: bool, code: int, words: str
) -> None:
    found, lines = audit.verdict(said, accepted, {"thing", "other"}, strict=strict, reason="no network")
    assert (found, words in "\n".join(lines)) == (code, True)


def test_what_is_accepted_has_a_reason_and_an_end(audit: ModuleType) -> None:
    entry = '[[accepted]]\nid = "GHSA-1"\nreason = "not run"\nuntil = {}\n'
    assert audit.read_policy(entry.format("2026-11-26"), TODAY) == {"GHSA-1": "not run"}
    with pytest.raises(ValueError, match="accepted until 2026-11-25; look at it again"):
        audit.read_policy(entry.format("2026-11-25"), TODAY)
    with pytest.raises(ValueError, match="needs an id, a reason"):
        audit.read_policy(entry.format("2026-11-26").replace("not run", ""), TODAY)
    audit.read_policy((ROOT / ".ci" / "audit.toml").read_text(), TODAY)


def test_the_bill_of_materials_is_the_lock(sbom: ModuleType) -> None:
    """Every package that runs, each with its hashes; we ask for what pyproject.toml does; always the same."""
    pins = sbom.read_lock(sbom.LOCK)
    text = sbom.sbom(pins)
    assert text == sbom.sbom(sbom.read_lock(sbom.LOCK))
    bill = json.loads(text)
    assert bill["specVersion"] == "1.6"
    assert {one["purl"] for one in bill["components"]} == {pin.purl for pin in pins}
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])
    asked = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    ours = {ref.partition("@")[0].removeprefix("pkg:pypi/") for ref in asked[bill["metadata"]["component"]["bom-ref"]]}
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {line.partition(";")[0].split("[")[0].split(">")[0].split("=")[0].strip() for line in wanted} <= ours
    reached, left = set(), [bill["metadata"]["component"]["bom-ref"]]
    while left:
        ref = left.pop()
        if ref not in reached:
            reached.add(ref)
            left += asked.get(ref, [])
    assert {pin.purl for pin in pins} <= reached, "a package that nobody asks for"


@pytest.fixture(autouse=True)
def _as_it_was() -> Any:
    before = list(sys.path)
    yield
    sys.path[:] = before
