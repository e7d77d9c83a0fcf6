"""A hundred reads of a contract: in one multicall, one after the other, and as web3.py makes them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from keeper.core.types import Block, Call
from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain
from keeper.indexer.rpc.client import RpcClient

from .row import Row, timed

READS = 100


def measure(rounds: int = 10) -> list[Row]:
    with DevChain.start() as chain:
        return asyncio.run(_measure(chain, rounds))


async def _measure(chain: DevChain, rounds: int) -> list[Row]:
    from web3 import AsyncWeb3, WebSocketProvider

    pool, owner = bytes.fromhex(chain.aave.pool[2:]), chain.accounts[0]
    calls = [Call(pool, encode_call("getUserConfiguration(address)", [owner]))] * READS
    transaction = {"to": chain.aave.pool, "data": "0x" + calls[0].data.hex()}
    rpc = await RpcClient.connect([chain.ws_url], chain.chain_id)
    block = await rpc.block_by_number("latest")
    assert isinstance(block, Block)
    ref = block.ref

    async def one_by_one() -> None:
        for call in calls:
            await rpc.call_many([call], ref)

    async def together() -> None:
        await rpc.call_many(calls, ref)

    async with AsyncWeb3(WebSocketProvider(chain.ws_url)) as web3:

        async def with_web3() -> None:
            for _ in range(READS):
                await web3.eth.call(transaction, ref.number)

        theirs_s = await _median(with_web3, max(rounds // 5, 2))
    single_s, ours_s = await _median(one_by_one, rounds), await _median(together, rounds)
    await rpc.close()
    return [
        timed(f"{READS} reads in one multicall, over one after the other", single_s, ours_s, 0.1),
        timed(f"{READS} reads one after the other, over web3.py", theirs_s, single_s, 0.25),
    ]


async def _median(run: Callable[[], Awaitable[None]], rounds: int) -> float:
    took = []
    for _ in range(rounds):
        begin = time.perf_counter()
        await run()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)
