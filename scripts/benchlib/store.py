"""A durable intent with its signed transaction, against writing as many bytes to a file and syncing it."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from keeper.core.records import Attempt, Intent, IntentStatus
from keeper.store import open_store

from .row import Row, timed

FLOOR_FILE = 4 * 2**20  # bytes, as large as SQLite lets its log become before it starts over

PLAN = {
    "account": "0x" + "11" * 20,
    "debt_asset": "0x" + "22" * 20,
    "repay_assets": "123456789012345678901",
    "collateral_asset": "0x" + "33" * 20,
    "expected_repaid_assets": "123456789012345678900",
    "expected_seized_assets": "130864197530864197529",
    "profit_base": "740740733",
    "judged_at": 1_795_000_000,
    "health_wad": "998765432109876543",
}


def measure(rounds: int = 400) -> list[Row]:
    """Medians of alternating rounds, so that whatever else the disk does befalls both alike."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:  # a disk, where /tmp may be memory
        store = open_store(f"sqlite:///{directory}/bench.db", chain_id=31337)
        descriptor = os.open(Path(directory) / "floor", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, bytes(FLOOR_FILE))  # overwritten below: a file that grows costs more to sync
        os.fsync(descriptor)
        floors, ours = [], []
        for number in range(rounds):
            wanted = intent(number)
            record = repr(wanted).encode()
            started = time.perf_counter()
            os.pwrite(descriptor, record, number * 4096 % FLOOR_FILE)
            os.fdatasync(descriptor)
            synced = time.perf_counter()
            with store.transaction() as transaction:
                transaction.put_intent(wanted)
            ours.append(time.perf_counter() - synced)
            floors.append(synced - started)
        os.close(descriptor)
        store.close()
    return [timed("durable intent over write and fdatasync", statistics.median(floors), statistics.median(ours), 2.5)]


def intent(number: int) -> Intent:
    account = number.to_bytes(20, "big")
    tx_hash = os.urandom(32)
    intent_id = f"liquidation-{tx_hash.hex()[:24]}"
    attempt = Attempt(
        tx_hash=tx_hash,
        intent_id=intent_id,
        nonce=number,
        raw=os.urandom(280),
        max_fee_wei=60 * 10**9,
        max_priority_fee_wei=10**9,
        gas_limit=600_000,
        purpose="act",
        status="signed",
        created_at=1_795_000_000.0,
    )
    return Intent(
        id=intent_id,
        kind="liquidation",
        cause=f"aave:0x{account.hex()}",
        protocol="aave",
        position=f"aave:0x{account.hex()}",
        account=account,
        status=IntentStatus.PLANNED,
        judged_number=number,
        judged_hash=os.urandom(32),
        created_at=1_795_000_000.0,
        updated_at=1_795_000_000.0,
        plan=PLAN,
        tx_hash=tx_hash,
        debt_asset=b"\x22" * 20,
        collateral_asset=b"\x33" * 20,
        profit_expected=740_740_733,
        attempts=(attempt,),
    )
