"""A hard fork after which no endpoint's headers can be proven: nobody lied, and all are back at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from keeper.core.errors import HeaderUnproven, RpcLied
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.pool import RpcSettings
from keeper.indexer.rpc.proof import GIVES_UP_AFTER
from tests.support.fault_node import FakeChain, FaultNode
from tests.unit.indexer.test_proof import proven_at

BEFORE = 6


def header(number: int, *, forked: bool = False) -> dict[str, Any]:
    """One that hashes by the rules that Keeper knows, or by others."""
    made: dict[str, Any] = msgspec.to_builtins(proven_at(number))
    return {**made, "hash": "0x" + hashlib.sha256(b"%d" % number).hexdigest()} if forked else made


class Case:
    def __init__(self, rpc: RpcClient, chain: FakeChain) -> None:
        self.rpc, self.chain = rpc, chain

    async def looks(self, *endpoints: Endpoint) -> None:
        for endpoint in endpoints:
            try:
                await self.rpc.latest_of(endpoint)
            except HeaderUnproven as error:
                endpoint.failed(error)

    async def forked_block(self, *endpoints: Endpoint) -> None:
        self.chain.blocks.append(header(len(self.chain.blocks), forked=True))
        for _ in range(3):
            await self.looks(*endpoints)


@asynccontextmanager
async def connected(nodes: int = 2) -> AsyncIterator[Case]:
    chain = FakeChain(0)
    chain.blocks = [header(number) for number in range(BEFORE)]
    settings = RpcSettings(call_timeout_s=0.5, quarantine_s=60, probe_interval_s=0.05)
    async with chain.serve(FaultNode()) as one, chain.serve(FaultNode()) as two:
        rpc = await RpcClient.connect([node.ws for node in (one, two)[:nodes]], 31337, settings=settings)
        case = Case(rpc, chain)
        try:
            await case.looks(*rpc.endpoints)
            assert all(status.headers_proven for status in rpc.status())
            yield case
        finally:
            await rpc.close()


@pytest.mark.parametrize("nodes", [1, 2])
async def test_all_are_back_once_none_can_prove_its_headers(nodes: int) -> None:
    """Without that, each would be in quarantine for most of an hour, and nothing sent meanwhile."""
    async with connected(nodes) as case:
        with capture_logs() as said:
            for block in range(1, GIVES_UP_AFTER + 1):
                await case.forked_block(*case.rpc.endpoints)
                if block < GIVES_UP_AFTER:
                    assert [status.lies for status in case.rpc.status()] == [block] * nodes, "one height counts once"
                    assert all(status.quarantined for status in case.rpc.status())
            async with asyncio.timeout(5):
                while any(status.quarantined for status in case.rpc.status()):
                    await asyncio.sleep(0.01)
            for _ in range(2 * GIVES_UP_AFTER):
                await case.forked_block(*case.rpc.endpoints)
            await asyncio.sleep(0.2)
        told = [line for line in said if line["event"] == "header_rules_changed"]
        assert [line["from_block"] for line in told] == [BEFORE]
        assert not any(status.quarantined or status.lies or status.cooling_s for status in case.rpc.status())
        case.chain.blocks[2] = {**case.chain.blocks[2], "timestamp": "0x9"}
        with pytest.raises(RpcLied, match="block 2 do not hash"):
            await case.rpc.block_by_number(2)


async def test_one_of_two_that_cannot_prove_its_headers_lied() -> None:
    """The other one is no party to it, so that no rule has changed."""
    async with connected() as case:
        liar, honest = case.rpc.endpoints
        for _ in range(2 * GIVES_UP_AFTER):
            await case.forked_block(liar)
            case.chain.blocks.pop()
            case.chain.blocks.append(header(len(case.chain.blocks)))
            await case.looks(honest)
        await asyncio.sleep(0.2)
        assert liar.quarantine.active and not honest.quarantine.active
