"""Pinned npm packages: fetched as single tarballs, checked against a committed sha512, unpacked into the cache.

No dependency of a package is installed and no script of one is run; `npm pack` is used only as a downloader, so that
the user's own npm settings (proxy, mirror, credentials) apply.

`python -m keeper.devnet.npm name@version …` prints the lines to add to npm.lock.json.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import IO

from keeper.devnet.cache import cache_root, locked, published
from keeper.devnet.errors import DevnetError, PackageRefused

_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Package:
    """spec: name@version. keep: path prefixes worth unpacking; empty keeps everything."""

    spec: str
    keep: tuple[str, ...] = ()


AAVE = Package("@aave-dao/aave-v3-origin@3.6.0", ("src/",))
BALANCER = Package("@balancer-labs/v2-deployments@3.2.0", ("dist/tasks/20210418-vault/artifact/",))
MORPHO = Package("@morpho-org/morpho-blue@1.0.0", ("src/",))
OPENZEPPELIN = Package("@openzeppelin/contracts@5.1.0")
SOLIDITY_UTILS = Package("@bgd-labs/solidity-utils@1.1.2", ("src/",))
SOLC = Package("solc@0.8.27", ("soljson.js",))
SOLC_0_8_19 = Package("solc@0.8.19", ("soljson.js",))
UNISWAP_CORE = Package("@uniswap/v3-core@1.0.1", ("artifacts/",))
UNISWAP_PERIPHERY = Package("@uniswap/v3-periphery@1.4.4", ("artifacts/",))
VENUS = Package(
    "@venusprotocol/isolated-pools@4.4.0",
    (
        "artifacts/@openzeppelin/contracts/proxy/",
        "artifacts/@venusprotocol/governance-contracts/contracts/Governance/",
        "artifacts/contracts/",
        "artifacts/hardhat-deploy/",
    ),
)
PERP = Package("@perp/curie-contract@2.8.4", ("artifacts/contracts/",))
PERP_ORACLE = Package("@perp/perp-oracle-contract@0.6.7", ("artifacts/contracts/",))
VIEM = Package("viem@2.57.20", ("constants/contracts.ts",))
PROTOCOL_PACKAGES = (
    AAVE,
    BALANCER,
    MORPHO,
    OPENZEPPELIN,
    SOLIDITY_UTILS,
    SOLC,
    SOLC_0_8_19,
    UNISWAP_CORE,
    UNISWAP_PERIPHERY,
    VENUS,
    PERP,
    PERP_ORACLE,
    VIEM,
)


def anvil_package() -> Package:
    """The Anvil build for this machine. Raises DevnetError where none is published."""
    system, machine = platform.system().lower(), platform.machine().lower()
    cpu = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine)
    if system not in ("linux", "darwin") or cpu is None:
        raise DevnetError(
            f"no Anvil package for {system}/{machine} (there are linux and darwin, amd64 and arm64); "
            "install Foundry and set KEEPER_ANVIL to its anvil binary"
        )
    return Package(f"@foundry-rs/anvil-{system}-{cpu}@1.7.1")


def locked_integrity(spec: str) -> str:
    """The sha512 this package must have (Subresource Integrity form). Raises PackageRefused when it is not locked."""
    lock: dict[str, str] = json.loads(files("keeper.devnet").joinpath("npm.lock.json").read_text())
    try:
        return lock[spec]
    except KeyError:
        raise PackageRefused(
            f"{spec} is not in keeper/devnet/npm.lock.json, so its content cannot be checked; "
            f"add the line that `python -m keeper.devnet.npm {spec}` prints once you trust it, "
            "or for Anvil set KEEPER_ANVIL to a binary you trust"
        ) from None


def anvil_binary() -> Path:
    """Path of Anvil itself: `$KEEPER_ANVIL` if set, else the locked package's binary."""
    if configured := os.environ.get("KEEPER_ANVIL"):
        binary = Path(configured).expanduser()
        if not os.access(binary, os.X_OK):
            raise DevnetError(f"KEEPER_ANVIL={configured} is not an executable file; unset it or correct it")
        return binary
    (home,) = fetch(anvil_package())
    return home / "bin" / "anvil"


def fetch(*packages: Package) -> tuple[Path, ...]:
    """Directories with the unpacked packages, downloading the missing ones in one go.

    Raises PackageRefused when a tarball is not the locked one, DevnetError when npm is missing or fails.
    """
    homes = [_home(package) for package in packages]
    if not all(home.is_dir() for home in homes):
        with locked("npm"):
            missing = [p for p, home in zip(packages, homes, strict=True) if not home.is_dir()]
            if missing:
                _download(missing)
    return tuple(homes)


def unpack(tarball: Path, package: Package, integrity: str, destination: Path) -> None:
    """Check the tarball and put its content at `destination`, atomically. Raises PackageRefused on another hash."""
    found = integrity_of(tarball)
    if found != integrity:
        raise PackageRefused(
            f"{package.spec} is not the package that was locked: expected {integrity}, got {found}; "
            "do not use it: clear npm's cache (`npm cache clean --force`), check the registry, and only if the change "
            "is understood update keeper/devnet/npm.lock.json"
        )
    with published(destination) as scratch, tarfile.open(tarball) as archive:
        for member in archive:
            _, _, inner = member.name.partition("/")
            if member.isfile() and inner.startswith(package.keep or ""):
                archive.extract(member.replace(name=inner, deep=False), scratch, filter="data")


def integrity_of(tarball: Path) -> str:
    """Subresource Integrity string of a file, as npm writes it."""
    with tarball.open("rb") as content:
        return "sha512-" + base64.b64encode(_sha512(content)).decode()


def pack(specs: Sequence[str], directory: Path) -> dict[str, Path]:
    """Download tarballs with npm, unchecked. Returns the file of each spec."""
    npm = shutil.which("npm")
    if npm is None:
        raise DevnetError("npm is not on PATH; the dev chain needs node 20 with npm to fetch the protocols' packages")
    command = [npm, "pack", "--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", str(directory)]
    try:
        done = subprocess.run(  # noqa: S603  (arguments are our own constants)
            [*command, *specs], cwd=directory, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DevnetError(
            f"npm pack took longer than {_TIMEOUT_S} s for {', '.join(specs)}; check the network"
        ) from None
    if done.returncode:
        raise DevnetError(f"npm pack failed for {', '.join(specs)}: {done.stderr.strip() or done.stdout.strip()}")
    answer = json.loads(done.stdout)
    found = {}
    for entry in answer.values() if isinstance(answer, dict) else answer:
        # npm says "@scope/name-1.tgz" or "scope-name-1.tgz" for the same file, depending on its version.
        name = entry["filename"].replace("@", "").replace("/", "-")
        found[f"{entry['name']}@{entry['version']}"] = directory / name
    return found


def _home(package: Package) -> Path:
    """Named by content, so that a changed lock or a changed selection of files never meets an old directory."""
    identity = json.dumps([locked_integrity(package.spec), package.keep]).encode()
    digest = hashlib.sha256(identity).hexdigest()[:12]
    return cache_root() / "npm" / f"{package.spec.replace('/', '__')}-{digest}"


def _download(packages: Sequence[Package]) -> None:
    with tempfile.TemporaryDirectory(prefix="keeper-npm-") as scratch:
        tarballs = pack([package.spec for package in packages], Path(scratch))
        for package in packages:
            unpack(tarballs[package.spec], package, locked_integrity(package.spec), _home(package))


def _sha512(content: IO[bytes]) -> bytes:
    digest = hashlib.sha512()
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.digest()


def _print_lock_lines(specs: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="keeper-npm-") as scratch:
        for spec, tarball in pack(specs, Path(scratch)).items():
            sys.stdout.write(f'  "{spec}": "{integrity_of(tarball)}",\n')


if __name__ == "__main__":
    _print_lock_lines(sys.argv[1:])
