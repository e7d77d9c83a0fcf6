"""Backfilled logs, from JSON bytes to the accounts they touched, against parsing the same bytes and nothing else.

Ours are proven on the way, as those of a node are.
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from keeper.indexer.digest import digest
from keeper.indexer.logs import LogQuery
from keeper.protocols.aave_v3 import abi, build
from keeper.protocols.aave_v3.rules import Features, detect
from keeper.protocols.aave_v3.state import CloseFactor, Market, Reserve

from .profiling import shares
from .row import Row, timed

_RESERVES = 60
_HOLDERS = 20_000
_WEB3_SAMPLE = 5_000


def measure(logs: int = 200_000) -> list[Row]:
    """Aave's own mix: transfers of supply and debt tokens, indices, collateral switches, a few liquidations."""
    chance = random.Random(1)  # noqa: S311  the same logs every time
    pool = market(chance)
    wire = rows(chance, pool, logs)
    body = json.dumps(wire, separators=(",", ":")).encode()
    adapter = build({"name": "aave", "start_block": 0, "pool_addresses_provider": pool.provider})
    query, raw, tip = LogQuery(adapter.filter(pool)), msgspec.Raw(body), int(wire[-1]["blockNumber"], 16)

    def ours() -> None:
        digest(query, [raw], "logs", 0, tip, lambda found: adapter.touches(pool, found))

    floor_s, ours_s = _shortest(lambda: orjson.loads(body), ours)
    web3_s = _web3(wire[:_WEB3_SAMPLE]) * logs / _WEB3_SAMPLE

    def why() -> str:
        return shares(ours)

    return [
        timed(
            f"decode, prove and fold {logs:,} logs, against orjson.loads of the same bytes",
            floor_s,
            ours_s,
            1.0,
            reason=why,
        ),
        timed(
            f"decode, prove and fold {logs:,} logs, against web3.py's get_logs and process_log of the same bytes",
            web3_s,
            ours_s,
            1 / 120,
            f"{web3_s / ours_s:.0f} times as fast",
            reason=why,
        ),
    ]


def _shortest(*runs: Callable[[], Any], times: int = 9) -> list[float]:
    """Shortest time of each, taken in turns, so that a busy machine is busy for all of them.

    The collector is off: it would charge one with the other's garbage.
    """
    best = [float("inf")] * len(runs)
    for _ in range(times):
        for place, run in enumerate(runs):
            gc.collect()
            gc.disable()
            begin = time.perf_counter()
            run()
            best[place] = min(best[place], time.perf_counter() - begin)
            gc.enable()
    return best


def _web3(rows: list[dict[str, Any]]) -> float:
    """Seconds from the same bytes to decoded events, the way its documentation shows."""
    from web3 import Web3
    from web3.providers import BaseProvider

    body = json.dumps(rows)

    class Canned(BaseProvider):
        def make_request(self, method: Any, params: Any) -> Any:
            return {"jsonrpc": "2.0", "id": 1, "result": json.loads(body)}

    web3 = Web3(Canned())
    contract = web3.eth.contract(abi=[_event(*event) for event in _EVENTS])
    events = {web3.keccak(text=signature).to_0x_hex(): contract.events[name]() for name, signature, _ in _EVENTS}
    begin = time.perf_counter()
    for log in web3.eth.get_logs({}):
        events[log["topics"][0].to_0x_hex()].process_log(log)
    return time.perf_counter() - begin


_EVENTS = (
    ("Transfer", "Transfer(address,address,uint256)", 2),
    (
        "ReserveDataUpdated",
        "ReserveDataUpdated(address,uint256,uint256,uint256,uint256,uint256)",
        1,
    ),
    ("ReserveUsedAsCollateralEnabled", "ReserveUsedAsCollateralEnabled(address,address)", 2),
    ("LiquidationCall", "LiquidationCall(address,address,address,uint256,uint256,address,bool)", 3),
)
"""Name, signature, and how many of its values are indexed."""


def _event(name: str, signature: str, indexed: int) -> dict[str, Any]:
    types = signature.removeprefix(f"{name}(").removesuffix(")").split(",")
    inputs = [{"name": f"v{n}", "type": type_, "indexed": n < indexed} for n, type_ in enumerate(types)]
    return {"type": "event", "name": name, "anonymous": False, "inputs": inputs}


# --- a market and its logs --------------------------------------------------------------------------------------------


def market(chance: random.Random) -> Market:
    address = chance.randbytes
    reserves = tuple(
        Reserve(
            **dict.fromkeys(Reserve.__dataclass_fields__, 0)
            | {"id": i, "asset": address(20), "symbol": f"T{i}", "a_token": address(20), "v_token": address(20)}
            | {"s_token": b"", "clock": b""}
        )
        for i in range(_RESERVES)
    )
    rules = detect(Features(True, True, True, False), [])
    return Market(
        provider=address(20),
        pool=address(20),
        configurator=address(20),
        oracle=address(20),
        sentinel=b"",
        sentinel_open=True,
        base_decimals=8,
        flash_premium_bps=5,
        rules=rules,
        close_factor=CloseFactor(),
        reserves=reserves,
        emodes=(),
    )


def rows(chance: random.Random, market: Market, count: int) -> list[dict[str, Any]]:
    holders = [_topic(chance.randbytes(20)) for _ in range(_HOLDERS)]
    pool = f"0x{market.pool.hex()}"
    tokens = [f"0x{token.hex()}" for token in market.by_token]
    assets = [_topic(reserve.asset) for reserve in market.reserves]
    rows = []
    for number in range(count):
        kind = chance.random()
        if kind < 0.6:
            value = chance.getrandbits(96)
            place = int(_HOLDERS * chance.random() ** 2)  # some are busier than others, each in a few tokens
            ends = [holders[place], chance.choice(holders) if chance.random() < 0.1 else _topic(abi.ZERO)]
            topics = [abi.TRANSFER, *chance.sample(ends, 2)]
            address, data = tokens[(place + chance.randrange(3)) % len(tokens)], f"0x{value:064x}"
        elif kind < 0.9:
            topics, address = [abi.RESERVE_DATA_UPDATED, chance.choice(assets)], pool
            data = "0x" + "".join(f"{chance.getrandbits(90):064x}" for _ in range(5))
        elif kind < 0.99:
            topics = [abi.COLLATERAL_ENABLED, chance.choice(assets), chance.choice(holders)]
            address, data = pool, "0x"
        else:
            topics = [abi.LIQUIDATION_CALLED, chance.choice(assets), chance.choice(assets), chance.choice(holders)]
            data = f"0x{chance.getrandbits(90):064x}{chance.getrandbits(90):064x}{chance.choice(holders)[2:]}{0:064x}"
            address = pool
        rows.append(
            {
                "address": address,
                "topics": topics,
                "data": data,
                "blockNumber": hex(number // 8),
                "blockHash": f"0x{number // 8:064x}",
                "transactionHash": f"0x{number // 2:064x}",
                "transactionIndex": "0x1",
                "logIndex": hex(number % 8),
                "removed": False,
            }
        )
    return rows


def _topic(address: bytes) -> str:
    return f"0x{address.hex():0>64}"
