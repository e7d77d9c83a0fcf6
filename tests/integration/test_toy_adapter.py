"""A protocol is added by one file: a toy in a temporary folder, tracked and liquidated by the unchanged house."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from keeper.devnet.solc import compile_sources

ROOT = Path(__file__).parent.parent.parent
TOY = ROOT / "tests" / "support" / "toy"
CONFIG = """
[chain]
id = 31337
rpc = ["{rpc}"]
finality = 2
wrapped_native = "{weth}"

[[protocols]]
kind = "pawnshop"
name = "pawn"
shop = "{shop}"
start_block = 0

[[notifiers]]
kind = "console"

[executor]
mode = "live"
private_key = "env:KEEPER_PRIVATE_KEY"
min_profit = "1"
confirmations = 1

[store]
url = "sqlite:///keeper.db"
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else's, with nothing but the adapter's file."""
    folder = tmp_path / "elsewhere"
    (folder / "keeper" / "protocols").mkdir(parents=True)
    shutil.copy(TOY / "pawnshop.py", folder / "keeper" / "protocols")
    return folder


class Toy:
    """A shop on a dev chain, and Keeper as a user runs it, who only set PYTHONPATH."""

    def __init__(self, chain: DevChain, elsewhere: Path, folder: Path) -> None:
        self.chain = chain
        artifacts = compile_sources("toy", ["toy/Pawnshop.sol"], {"toy/": TOY})
        weth, usdc = chain.tokens["WETH"], chain.tokens["USDC"]
        deployer = chain.accounts[0]
        self.shop = chain.client.deploy(deployer, artifacts["Pawnshop"], (weth.address, usdc.address, weth.feed))
        chain.fund(self.shop, "USDC", Decimal(1_000_000))
        self.config = folder / "keeper.toml"
        self.config.write_text(CONFIG.format(rpc=chain.ws_url, weth=weth.address, shop=self.shop))
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(elsewhere),
            "KEEPER_PRIVATE_KEY": chain.liquidator.private_key,
        }

    def pledge(self, who: str, collateral: Decimal, borrowed: Decimal) -> None:
        weth, usdc = self.chain.tokens["WETH"], self.chain.tokens["USDC"]
        self.chain.tokens.provide(who, "WETH", weth.units(collateral), self.shop)
        amounts = weth.units(collateral), usdc.units(borrowed)
        self.chain.send(who, self.shop, "pledge(uint128,uint128)", *amounts)

    def command(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "keeper", name, "--config", str(self.config), *arguments]
        return subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=60)

    def rows(self, name: str, *arguments: str) -> list[dict[str, object]]:
        answer = self.command(name, "--json", *arguments)
        assert answer.returncode == 0, answer.stderr
        return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture
def toy(dev_chain: DevChain, elsewhere: Path, tmp_path: Path) -> Iterator[Toy]:
    yield Toy(dev_chain, elsewhere, tmp_path)


def test_an_adapter_in_a_folder_of_its_own_is_run_end_to_end(toy: Toy) -> None:
    """Checked, indexed, judged as its contract judges, called for margin, liquidated and accounted for to the unit."""
    chain = toy.chain
    weak, strong = chain.accounts[1:3]
    toy.pledge(weak, Decimal(10), Decimal(15_000))
    toy.pledge(strong, Decimal(10), Decimal(5_000))
    chain.fund_liquidator()
    assert toy.command("check").returncode == 0
    assert toy.command("backfill", "--to", str(chain.block_number)).returncode == 0
    rows = {row["account"]: row for row in toy.rows("health", "--verify")}
    assert {who: row["health_wad"] for who, row in rows.items()} == {
        weak: str(16_000 * 10**18 // 15_000),
        strong: str(32 * 10**17),
    }
    assert rows[weak]["position"] == f"pawn:{weak}"
    daemon = subprocess.Popen(
        [sys.executable, "-m", "keeper", "run", "--config", str(toy.config)],
        env=toy.environment,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        chain.set_price("WETH", Decimal(1_800))
        deadline = time.monotonic() + 60
        liquidations: list[dict[str, object]] = []
        while not any(one["status"] == "confirmed" for one in liquidations):
            assert daemon.poll() is None
            assert time.monotonic() < deadline, liquidations
            chain.mine()
            liquidations = toy.rows("liquidations")
    finally:
        daemon.terminate()
    assert daemon.wait(30) == 0
    [done] = liquidations
    seized = 15_000 * 10**18 * 105 // 100 // 1_800
    assert (done["position"], done["repaid"], done["seized"]) == (f"pawn:{weak}", str(15_000 * 10**6), str(seized))
    [call] = toy.rows("calls")
    assert (call["position"], call["status"]) == (f"pawn:{weak}", "liquidated")


def test_it_is_put_to_the_contract_suite_like_every_other(elsewhere: Path) -> None:
    answer = suite(elsewhere, "pawnshop")
    assert answer.returncode == 0, answer.stdout[-4_000:]
    assert "passed" in answer.stdout


def test_an_adapter_without_a_case_fails_the_contract_suite(elsewhere: Path) -> None:
    folder = elsewhere / "keeper" / "protocols"
    (folder / "pawnshop.py").rename(folder / "orphan.py")
    answer = suite(elsewhere, "orphan")
    assert answer.returncode == 1
    assert "write tests/support/cases/orphan.py" in answer.stdout


def suite(elsewhere: Path, kind: str) -> subprocess.CompletedProcess[str]:
    """The contract suite's tests of one kind, in a process that finds adapters in that folder."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/contract/test_adapters.py",
        "-k",
        kind,
    ]
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
