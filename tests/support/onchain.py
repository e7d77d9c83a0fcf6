"""What the chain itself says about positions and liquidations, to hold Keeper's records against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth_utils.address import to_checksum_address

from keeper.devnet.chain import DevChain

Json = dict[str, Any]

LIQUIDATION_CALL = "0xe413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286"


def assert_parity(chain: DevChain, rows: Mapping[str, Json]) -> None:
    """Each row's native view is what the pool itself returns at the row's block."""
    assert rows
    for account, row in rows.items():
        data = chain.aave.user_account_data(account, bytes.fromhex(row["block_hash"][2:]))
        theirs = {
            "totalCollateralBase": data.total_collateral_base,
            "totalDebtBase": data.total_debt_base,
            "currentLiquidationThreshold": data.liquidation_threshold_bps,
            "healthFactor": data.health_factor_wad,
        }
        assert {name: int(value) for name, value in row["native"].items()} == theirs, account


def liquidations_on_chain(chain: DevChain) -> list[tuple[str, int]]:
    """(account, block number) of every LiquidationCall of the canonical chain, in order."""
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [LIQUIDATION_CALL]})
    return [(to_checksum_address("0x" + log["topics"][3][-40:]), int(log["blockNumber"], 16)) for log in logs]


def transactions_on_chain(chain: DevChain, sender: str) -> list[Json]:
    """Receipts of everything a wallet sent in the canonical chain, in order."""
    count = int(chain.rpc("eth_getTransactionCount", sender, "latest"), 16)
    found: list[Json] = []
    for number in range(chain.block_number, -1, -1):
        if len(found) == count:
            break
        receipts = chain.rpc("eth_getBlockReceipts", hex(number))
        found += [one for one in reversed(receipts) if one["from"].lower() == sender.lower()]
    return found[::-1]
