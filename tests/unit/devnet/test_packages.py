"""What is downloaded is what was locked, or it is refused."""

from __future__ import annotations

import io
import json
import platform
import tarfile
from importlib.resources import files
from pathlib import Path

import pytest

from keeper.devnet import npm
from keeper.devnet.errors import DevnetError, PackageRefused
from keeper.devnet.npm import Package

PACKAGE = Package("example@1.0.0", ("src/",))


def tarball(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def test_locked_package_is_unpacked_without_its_wrapping_folder(tmp_path: Path):
    """npm wraps content in `package/`; only the wanted prefixes are kept."""
    file = tarball(tmp_path / "a.tgz", {"package/src/A.sol": "contract A {}", "package/README.md": "hello"})
    npm.unpack(file, PACKAGE, npm.integrity_of(file), tmp_path / "home")
    assert [p.relative_to(tmp_path).as_posix() for p in (tmp_path / "home").rglob("*.*")] == ["home/src/A.sol"]
    assert (tmp_path / "home/src/A.sol").read_text() == "contract A {}"


def test_tampered_package_is_refused_and_leaves_nothing(tmp_path: Path):
    """The message names the package, both hashes and what to do."""
    honest = tarball(tmp_path / "a.tgz", {"package/src/A.sol": "contract A {}"})
    tampered = tarball(tmp_path / "b.tgz", {"package/src/A.sol": "contract B {}"})
    locked, found = npm.integrity_of(honest), npm.integrity_of(tampered)
    with pytest.raises(PackageRefused) as refusal:
        npm.unpack(tampered, PACKAGE, locked, tmp_path / "home")
    for part in ("example@1.0.0", locked, found, "npm cache clean"):
        assert part in str(refusal.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tgz", "b.tgz"]


def test_package_cannot_write_outside_its_home(tmp_path: Path):
    """A path that climbs out is refused by the extraction filter, and nothing half-unpacked stays."""
    file = tarball(tmp_path / "a.tgz", {"package/src/A.sol": "", "package/src/../../evil.sol": "x"})
    with pytest.raises(tarfile.FilterError):
        npm.unpack(file, PACKAGE, npm.integrity_of(file), tmp_path / "home")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tgz"]


def test_package_without_a_lock_is_refused():
    """Nothing is fetched on trust."""
    with pytest.raises(PackageRefused, match=r"left-pad@1\.3\.0 is not in .*npm\.lock\.json"):
        npm.locked_integrity("left-pad@1.3.0")


def test_lock_is_sha512_and_names_no_host():
    """The lock says what, never from where: the user's npm settings decide that."""
    lock = json.loads(files("keeper.devnet").joinpath("npm.lock.json").read_text())
    assert lock
    assert all(value.startswith("sha512-") and len(value) == 95 for value in lock.values())
    assert "://" not in json.dumps(lock)


def test_missing_npm_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevnetError, match=r"npm is not on PATH.*node 20"):
        npm.pack(["example@1.0.0"], tmp_path)


@pytest.mark.parametrize(
    ("system", "machine", "spec"),
    [
        ("Linux", "x86_64", "@foundry-rs/anvil-linux-amd64@1.7.1"),
        ("Linux", "aarch64", "@foundry-rs/anvil-linux-arm64@1.7.1"),
        ("Darwin", "arm64", "@foundry-rs/anvil-darwin-arm64@1.7.1"),
        ("Darwin", "x86_64", "@foundry-rs/anvil-darwin-amd64@1.7.1"),
    ],
)
def test_anvil_is_chosen_by_platform(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, spec: str):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert npm.anvil_package().spec == spec


def test_unknown_platform_says_how_to_bring_ones_own_anvil(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(DevnetError, match=r"riscv64.*KEEPER_ANVIL"):
        npm.anvil_package()


def test_own_anvil_must_be_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """$KEEPER_ANVIL replaces the package, where none is published or another build is wanted."""
    binary = tmp_path / "anvil"
    binary.write_text("#!/bin/sh\n")
    monkeypatch.setenv("KEEPER_ANVIL", str(binary))
    with pytest.raises(DevnetError, match=r"KEEPER_ANVIL=.* is not an executable file"):
        npm.anvil_binary()
    binary.chmod(0o755)
    assert npm.anvil_binary() == binary
