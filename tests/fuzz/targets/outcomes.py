"""What a node says that our transactions would do, or did: simulations in sequence and one by one, receipts.

Nothing of it may raise: a verdict is unknown then, a receipt not there, an amount not told. And what is known can be
signed, and stored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from eth_hash.auto import keccak

from keeper.core.errors import RpcRefused
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import BlockRef, Book, LiquidationPlan, Price, UnsignedTransaction
from keeper.executor.compose import dump_plan
from keeper.executor.explain import is_lost_race
from keeper.executor.liquidator_calls import EXECUTED, PLAN_FAILED, split_logs
from keeper.executor.offer import padded_gas
from keeper.executor.planning.assemble import assemble
from keeper.executor.planning.search import Purse, finance
from keeper.executor.ports import Request, Venue
from keeper.executor.questions import read_receipt
from keeper.executor.settle import as_simulated, as_tried, settle
from keeper.executor.simulate import Simulator
from keeper.executor.transaction import signing_hash
from keeper.executor.trial import Trial, try_out
from keeper.store.encoding import intent_row
from tests.fuzz.source import Source, bend_json
from tests.support.model_exchange import ModelLender, ModelPool, model_pair

ALLOWED = ()
USDC, WETH, CONTRACT, HASH = b"\1" * 20, b"\2" * 20, b"\x0c" * 20, b"\xab" * 32
DOLLAR, BLOCK = 10**6, BlockRef(7, b"\xab" * 32)
PRICES = {USDC: Price(10**8, 8), WETH: Price(2_000 * 10**8, 8)}
DECIMALS = {USDC: 6, WETH: 18}


class Protocol:
    """Whose liquidations are not what is looked at here: `adapters` does that."""

    name = "pool"

    def base_decimals(self, market: object) -> int:
        return 8

    def position_id(self, key: bytes) -> str:
        return "a"

    def liquidations(self, market: object, logs: object) -> tuple[()]:
        return ()


class Node:
    def __init__(self, *batches: Sequence[Any]) -> None:
        self.batches = list(batches)

    async def batch(self, requests: Sequence[Request]) -> Sequence[Any]:
        return self.batches.pop(0)


def _planned() -> LiquidationPlan:
    pool, purse = (
        ModelPool(b"\xd0" * 20, 10**9 * 10**18 // 2_000, 10**9 * DOLLAR),
        Purse(PRICES, DECIMALS, 8, PRICES[WETH], 1),
    )
    most = 10_000 * DOLLAR
    pair = model_pair(USDC, WETH, most, owed=most, held=1 << 200, rate=(10**18, 2_000 * DOLLAR), bonus_bps=10_500)
    plan = pair.plan(most)
    assert isinstance(plan, LiquidationPlan)
    bought = pool.pays(plan.expected_seized_assets)
    return assemble(finance(plan, pool, ModelLender(USDC, 1 << 100).loan, bought, purse), CONTRACT, purse, 5_000)


VENUE = Venue(cast(Any, Protocol()), Book(market=object(), prices=PRICES))
PLAN = _planned()
INTENT = Intent(
    id="a",
    kind="liquidation",
    cause="a",
    protocol="pool",
    position="a",
    account=PLAN.account,
    status=IntentStatus.INCLUDED,
    judged_number=1,
    judged_hash=b"",
    created_at=0.0,
    updated_at=0.0,
    plan=dump_plan(PLAN),
    debt_asset=USDC,
    collateral_asset=WETH,
)


def _hex(value: bytes, size: int = 32) -> str:
    return "0x" + value.rjust(size, b"\0").hex()


def _log(address: bytes, topics: Sequence[str], data: bytes) -> dict[str, Any]:
    where = {"blockNumber": "0x7", "blockHash": _hex(HASH), "transactionHash": _hex(HASH), "logIndex": "0x0"}
    return {"address": _hex(address, 20), "topics": topics, "data": "0x" + data.hex(), **where}


_TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
_LOGS = [
    _log(CONTRACT, [EXECUTED, _hex(USDC)], (200 * DOLLAR).to_bytes(32, "big") + bytes(32)),
    _log(WETH, [_TRANSFER, _hex(b"\7"), _hex(CONTRACT)], bytes(32)),
    _log(CONTRACT, [PLAN_FAILED, _hex(b"")], (32).to_bytes(32, "big") + bytes(32)),
]
_DONE = {"status": "0x1", "gasUsed": "0x30d40", "returnData": "0x", "logs": _LOGS}
_FAILED = {"status": "0x0", "gasUsed": "0x30d40", "returnData": "0x", "error": {"data": "0x776879"}}
_RECEIPT = {
    **{"transactionHash": _hex(HASH), "blockHash": _hex(HASH), "blockNumber": "0x7", "status": "0x1"},
    **{"gasUsed": "0x30d40", "effectiveGasPrice": "0x3b9aca00", "l1Fee": "0x0", "logs": _LOGS},
}
_WHOLE = [json.dumps(one) for one in ([{"calls": [_DONE]}], [{"calls": [_FAILED]}], "0x01", _RECEIPT)]
SEEDS = [text.encode() for text in _WHOLE]
SEEDS += [bytes([seed, 2, 1, 3, 5, 9, 7, 1]) for seed in range(len(_WHOLE))]


def run(data: bytes) -> None:
    """JSON as it is, or the number of a seed and how it is bent."""
    if data[:1] not in (b"{", b"[", b'"'):
        source = Source(data)
        data = bend_json(source, source.pick(_WHOLE))
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return  # the client says so
    asyncio.run(_simulated(answer))
    is_lost_race(None, answer, answer)
    receipt = read_receipt(HASH, answer)
    if receipt is not None:
        after = settle(INTENT, receipt, {"pool": VENUE}, DECIMALS, WETH, 1.0)
        intent_row(after)
        split_logs(receipt.logs, CONTRACT)


async def _simulated(answer: Any) -> None:
    chosen = cast(Any, SimpleNamespace(plan=PLAN))
    alone = RpcRefused("no", -32000)
    for batches in ([answer],), ([alone], [answer]), ([alone], [alone]):
        outcome = await try_out(Simulator(Node(*batches), CONTRACT), Trial([], [], [chosen]), BLOCK, 100, 1.0)
        [verdict] = outcome.chosen
        if verdict is None or not verdict.succeeded:
            continue
        as_simulated(PLAN, verdict.logs, VENUE)
        as_tried(PLAN, verdict.logs, b"", VENUE, PRICES[WETH])
        split_logs(verdict.logs, CONTRACT)
        if verdict.gas_used is not None:
            signing_hash(UnsignedTransaction(1, 0, 1, 2, padded_gas(verdict.gas_used), PLAN.call))
    assert Simulator(Node(), CONTRACT).read(answer, 2) is not None
