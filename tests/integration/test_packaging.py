"""What is installed is whole: the wheel by itself, in an empty folder, with nothing of this checkout in reach."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from keeper.devnet.chain import DevChain
from tests.support.daemon import deploy

_ROOT = Path(__file__).parents[2]
_DOCKERFILE = "configs/docker/Dockerfile"
_HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel and its locked dependencies; the folder with its programs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(_ROOT)])
    [wheel] = folder.glob("keeper-*.whl")
    _run([sys.executable, "-m", "venv", str(folder / "venv")])
    fresh = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "-qq", "--disable-pip-version-check"]
    _run([*fresh, "install", "--require-hashes", "-r", str(_ROOT / "requirements-run.lock")])
    _run([*fresh, "install", "--no-deps", str(wheel)])
    return folder / "venv" / "bin"


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_wheel_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """Commands, shipped configurations, interfaces, migrations and the dev chain's sources are all in it."""
    assert "margin calls" in _run([str(installed / "keeper"), "--help"], tmp_path).lower()
    code = """
from pathlib import Path
import keeper
from keeper.abis import contract, protocol_abi
from keeper.config.load import load_config
from keeper.config.shipped import shipped
from keeper.store import open_store
from keeper.devnet.contracts import __name__ as contracts
from importlib.resources import files

assert Path.cwd() not in Path(keeper.__file__).parents
data = Path(keeper.__file__).parent / "_data"
assert {1, 8453, 42161} <= shipped().keys()
assert contract("keeper", "Liquidator")["bytecode"] and protocol_abi("aave_v3")
for file in sorted((data / "configs").glob("*.toml")):
    load_config(file, environment={"KEEPER_RPC_URL": "wss://node.example"})
    print(file.name)
open_store("sqlite:///fresh.db", chain_id=1).close()
assert (files(contracts) / "PriceFeed.sol").is_file()
"""
    shipped = _run([str(installed / "python"), "-c", code], tmp_path).split()
    assert shipped == sorted(file.name for file in (_ROOT / "configs").glob("*.toml"))


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    """The web page's scripts, styles and templates, migrations, sources of contracts, interfaces and configurations."""
    [wheel] = installed.parents[1].glob("keeper-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = _run(["git", "-C", str(_ROOT), "ls-files", "keeper", "abis", "configs"]).splitlines()
    wanted = {name if name.startswith("keeper/") else f"keeper/_data/{name}" for name in tracked}
    assert {"keeper/web/page/assets/app.js", "keeper/web/page/templates/positions.html"} <= wanted
    assert wanted - held == set()


def test_the_service_says_when_it_is_ready_and_that_it_lives(dev_chain: DevChain, tmp_path: Path) -> None:
    """As systemd runs it: READY once the head is followed, WATCHDOG from then on, STOPPING on SIGTERM."""
    name = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening,
        deploy(tmp_path, dev_chain) as keeper,
    ):
        listening.bind(name)
        listening.settimeout(60)
        keeper.environment |= {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}
        keeper.launch()
        heard = list(_until(listening, b"READY=1"))
        assert any(message.startswith(b"WATCHDOG=1") for message in heard)
        assert b"following chain" in heard[-1]
        assert keeper.terminate() == 0
        assert list(_until(listening, b"STOPPING=1"))


def _until(listening: socket.socket, wanted: bytes) -> Iterator[bytes]:
    while True:
        message = listening.recv(4096)
        yield message
        if message.startswith(wanted):
            return


def test_the_unit_is_hardened_and_waits_for_readiness() -> None:
    """systemd itself has no objection, where it is installed; the settings that matter are there in any case."""
    unit = _ROOT / "configs" / "systemd" / "keeper@.service"
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(unit)
    service = parsed["Service"]
    assert (service["Type"], service["ProtectSystem"], service["NoNewPrivileges"]) == ("notify", "strict", "yes")
    assert int(service["WatchdogSec"]) >= 30
    assert service["LimitCORE"] == "0"  # a core file would hold the key
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed; the settings were checked, not the unit as a whole")
    run = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=25", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_image_runs_as_nobody_from_locked_packages() -> None:
    """No engine builds it here: hadolint looks for mistakes, and what makes it safe is read from the file."""
    instructions = (_ROOT / _DOCKERFILE).read_text().replace("\\\n", " ")
    stages = instructions.split("\nFROM ")
    assert len(stages) == 3, "a stage that builds and one that runs"
    final = stages[-1]
    assert re.search(r"^USER 10001:10001$", final, re.M)
    assert final.index("USER ") < final.index("ENTRYPOINT")
    assert "/opt/keeper/bin/pip install --require-hashes -r requirements-run.lock" in instructions
    assert "pip" not in final
    assert 'CMD ["keeper", "status", "--check", "alive"' in final
    lint = subprocess.run(
        [_HADOLINT, "--no-color", str(_ROOT / _DOCKERFILE)], capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout) == (0, "")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", instructions, re.M)
    assert all((_ROOT / name).exists() for line in copied for name in line.split())


def test_the_compose_file_is_as_hardened_as_the_image_and_names_only_what_is_there() -> None:
    """Nothing is reached from other machines, nothing runs with rights it does not need, every mounted file exists."""
    file = _ROOT / "configs" / "docker" / "compose.yaml"
    compose = yaml.safe_load(file.read_text())
    assert set(compose["services"]) == {"keeper", "prometheus", "grafana"}
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (file.parent / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name}: {source}"
            else:
                assert source in compose["volumes"] or source.startswith("${PWD}/"), f"{name}: {source}"
        assert name == "keeper" or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), f"{name} is not pinned"


def test_prometheus_and_grafana_are_provisioned_with_what_is_shipped() -> None:
    """The scrape carries the token that compose gives it; rules and dashboard are where the configurations look."""
    configs = _ROOT / "configs"
    compose = yaml.safe_load((configs / "docker" / "compose.yaml").read_text())
    prometheus = yaml.safe_load((configs / "prometheus" / "prometheus.yml").read_text())
    (scrape,) = prometheus["scrape_configs"]
    (secret,) = compose["services"]["prometheus"]["secrets"]
    assert scrape["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert compose["secrets"][secret] == {"environment": "KEEPER_WEB_TOKEN"}
    assert scrape["static_configs"] == [{"targets": ["keeper:8080"]}]
    for rules in prometheus["rule_files"]:
        assert yaml.safe_load((configs / "prometheus" / rules).read_text())["groups"]
    (provider,) = yaml.safe_load((configs / "grafana/provisioning/dashboards/keeper.yml").read_text())["providers"]
    mounted = compose["services"]["grafana"]["volumes"]
    assert f"../grafana/keeper.json:{provider['options']['path']}/keeper.json:ro" in mounted
    (source,) = yaml.safe_load((configs / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    json.loads((configs / "grafana" / "keeper.json").read_text())


def test_the_example_environment_names_everything_that_what_is_shipped_refers_to() -> None:
    shipped = [*(_ROOT / "configs").rglob("*.toml"), *(_ROOT / "configs").rglob("*.yaml")]
    text = "".join(file.read_text() for file in shipped)
    wanted = set(re.findall(r"env:([A-Z_]+)", text)) | set(re.findall(r"\$\{([A-Z_]+):\?", text))
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (_ROOT / ".env.example").read_text(), re.M))
    assert wanted
    assert wanted - named == set()


def test_a_release_is_a_tag_that_version_and_changelog_agree_with(tmp_path: Path) -> None:
    """`scripts/release` writes both; a tag that says anything else is refused."""
    copy = tmp_path / "copy"
    for name in ("CHANGELOG.md", "keeper/__init__.py", "scripts/release"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_ROOT / name, copy / name)
    release = [sys.executable, str(copy / "scripts" / "release")]
    _run([*release, "9.8.7"])
    _run([*release, "--check", "v9.8.7"])
    refused = subprocess.run([*release, "--check", "v9.8.8"], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "the tag must be v9.8.7" in refused.stderr
    changelog = (copy / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[([^]]+)\]", changelog, re.M)[:2] == ["Unreleased", "9.8.7"]
