"""Morpho's own SDK on the same states: equal integers. Needs npm's registry once; skipped, with the reason, without."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from keeper.core.units import WAD
from keeper.devnet.cache import cache_root, locked
from keeper.protocols.morpho_blue.accrue import accrued
from keeper.protocols.morpho_blue.arithmetic import liquidation_incentive
from keeper.protocols.morpho_blue.state import Lending, Position
from tests.support.morpho_market import ID, NOW, adapter, lending, market, prices

NODE = Path(__file__).parents[1] / "support" / "node"
SCRIPT = "blue_sdk.cjs"
STATES = 2_000
_NEVER = 2**256 - 1


@pytest.fixture(scope="module")
def sdk() -> Path:
    """A folder with the script and the SDK, installed once into the cache by npm, which checks the locked hashes."""
    digest = hashlib.sha256((NODE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = cache_root() / "sdk" / digest
    with locked("sdk"):
        if not (folder / "node_modules" / ".package-lock.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
            except (OSError, subprocess.TimeoutExpired) as error:
                pytest.skip(f"npm cannot fetch the SDK here: {error}")
            if done.returncode:
                pytest.skip(f"npm cannot fetch the SDK here: {done.stderr.strip()[-300:]}")
    shutil.copy(NODE / SCRIPT, folder)
    return folder


def random_state(chance: random.Random) -> tuple[Lending, int, Position, int]:
    """A market of the adaptive curve at any utilization and age, and a position in it of a health around one."""
    borrow = int(10 ** chance.uniform(3, 27))
    one = lending(
        adaptive=True,
        lltv_wad=chance.choice((385, 625, 770, 860, 915, 945, 965, 980)) * WAD // 1000,
        borrow_assets=borrow,
        borrow_shares=int(borrow * 10**6 * chance.uniform(0.5, 1)),
        supply_assets=int(borrow / chance.choice((chance.uniform(0.01, 0.9), chance.uniform(0.9, 1.0), 0.9))) + 1,
        updated_at=NOW - int(10 ** chance.uniform(0, 8)),
        rate_at_target_wad=chance.choice((0, int(10 ** chance.uniform(7.6, 10.7)))),
    )
    price = int(10 ** chance.uniform(20, 40))
    owed = accrued(one, prices(price), NOW)
    assert owed is not None
    shares = chance.randint(1, one.borrow_shares)
    collateral = int(owed.by(shares) * chance.uniform(0.5, 1.5)) * WAD // one.lltv_wad * 10**36 // price
    return one, price, Position(ID, shares, min(collateral, 2**127)), NOW


def ours(one: Lending, price: int, position: Position, now: int) -> dict[str, Any]:
    morpho, priced = adapter(), prices(price, None)
    native = morpho.assess(market(one), priced, position, now).native
    owed = accrued(one, priced, now)
    assert owed is not None
    factor = morpho.health(market(one), priced, position, now).factor_wad
    return {
        "totalBorrowAssets": str(owed.assets),
        "borrowAssets": str(native["borrowAssets"]),
        "maxBorrowAssets": str(native["maxBorrow"]),
        "healthFactor": str(_NEVER if factor is None else factor),
        "isHealthy": native["isHealthy"],
        "liquidationIncentiveFactor": str(liquidation_incentive(one.lltv_wad)),
    }


def test_equal_integers_on_random_states(sdk: Path) -> None:
    """Interest of the adaptive curve from a second to three years, debts, limits, health factors, incentives."""
    chance = random.Random(20261126)
    states = [random_state(chance) for _ in range(STATES)]
    lines = "\n".join(json.dumps(asked(*state)) for state in states)
    command = ["node", SCRIPT]
    answer = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, cwd=sdk)
    assert answer.returncode == 0, answer.stderr
    said = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(said) == STATES
    for state, theirs in zip(states, said, strict=True):
        mine = ours(*state)
        assert {name: theirs[name] for name in mine} == mine, state
    healthy = sum(one["isHealthy"] for one in said)
    assert STATES // 5 < healthy < STATES * 4 // 5


def asked(one: Lending, price: int, position: Position, now: int) -> dict[str, Any]:
    return {
        "lltv": str(one.lltv_wad),
        "totals": [str(value) for value in one.totals],
        "price": str(price),
        "rateAtTarget": str(one.rate_at_target_wad),
        "borrowShares": str(position.borrow_shares),
        "collateral": str(position.collateral_assets),
        "timestamp": str(now),
    }
