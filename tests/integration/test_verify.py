"""`keeper health --verify`: another client and the published ABI confirm, or contradict, what the store says."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.encoding import dump_prices, load_prices
from keeper.core.types import Price
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config


def keeper(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "keeper", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def indexed(dev_chain: DevChain, tmp_path: Path) -> Path:
    """A configuration whose store holds two positions."""
    for who, debt in zip(dev_chain.accounts[:2], (5_000, 14_000), strict=True):
        dev_chain.aave.supply(who, "WETH", Decimal(10))
        dev_chain.aave.borrow(who, "USDC", Decimal(debt))
    config = write_config(tmp_path / "keeper.toml", dev_chain)
    tip = str(dev_chain.block_number)
    assert keeper("backfill", "--to", tip, "--config", str(config)).returncode == 0
    return config


def test_a_true_store_is_confirmed(indexed: Path):
    answer = keeper("health", "--verify", "--json", "--config", str(indexed))
    assert answer.returncode == 0
    assert "0 differences" in answer.stderr
    assert len(answer.stdout.splitlines()) >= 2


def test_a_store_that_says_otherwise_than_the_contracts_is_contradicted(indexed: Path):
    """A price was tampered with: every position that rests on it is named with both numbers; the exit code is 1."""
    with sqlite3.connect(indexed.parent / "var" / "keeper.db") as database:
        [(payload,)] = database.execute("SELECT payload FROM facts WHERE kind = 'prices'").fetchall()
        prices = {
            asset: Price(one.value + 1, one.decimals, one.updated_at) for asset, one in load_prices(payload).items()
        }
        database.execute("UPDATE facts SET payload = ? WHERE kind = 'prices'", (dump_prices(prices),))
    database.close()
    answer = keeper("health", "--verify", "--config", str(indexed))
    assert answer.returncode == 1
    assert "totalCollateralBase is" in answer.stderr
