"""A daemon's insides whose executor liquidates through our contract, on a dev chain with every lender."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.config.load import load_config
from keeper.core.ports import Store
from keeper.core.records import Intent
from keeper.daemon import Daemon
from keeper.devnet.abi import selector
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.devnet.liquidator import Liquidator
from keeper.indexer.follow import steps_to
from keeper.indexer.rpc.client import RpcClient
from keeper.pipeline import Pipeline
from keeper.wire import House
from tests.support.liquidations import AAVE_FLASH, BALANCER_FLASH, LIQUIDATION_CALL, MORPHO_FLASH, UNISWAP_FLASH

EXACT_INPUT = "exactInput((bytes,address,uint256,uint256,uint256))"
EXACT_OUTPUT = "exactOutput((bytes,address,uint256,uint256,uint256))"
MORPHO_LIQUIDATE = "liquidate((address,address,address,address,uint256),address,uint256,uint256,bytes)"
VENUS_LIQUIDATE = "liquidateBorrow(address,uint256,address)"
VENUS_REDEEM = "redeem(uint256)"
LENDERS = ("own", "aave_v3", "morpho", "balancer_v2", "uniswap_v3")


@dataclass
class Contract:
    """Our Liquidator, owned by somebody else, run by Keeper's wallet, and allowed what plans call."""

    chain: DevChain
    liquidator: Liquidator

    @classmethod
    def deployed(cls, chain: DevChain) -> Contract:
        liquidator = Liquidator.deployed(chain.client, chain.accounts[0], chain.tokens["WETH"].address)
        liquidator.allow_operator(chain.liquidator.address)
        liquidator.allow_call(chain.aave.pool, LIQUIDATION_CALL, AAVE_FLASH)
        liquidator.allow_call(chain.uniswap.router, EXACT_INPUT, EXACT_OUTPUT)
        for pool in chain.uniswap.pools.values():
            liquidator.allow_call(pool, UNISWAP_FLASH)
        liquidator.allow_call(chain.morpho.address, MORPHO_FLASH)
        liquidator.allow_call(chain.balancer.vault, BALANCER_FLASH)
        chain.morpho.supply(chain.accounts[2], Decimal(10_000_000))
        chain.balancer.fill("USDC", Decimal(10_000_000))
        return cls(chain, liquidator)

    def allow_everything(self) -> None:
        """Plans may liquidate wherever a contract can."""
        self.allow_morpho()
        vtokens = self.chain.venus.vtokens
        self.liquidator.allow_call(vtokens["USDC"], VENUS_LIQUIDATE)
        self.liquidator.allow_call(vtokens["WETH"], VENUS_REDEEM)

    def allow_morpho(self) -> None:
        """Plans may liquidate on Morpho as well."""
        self.liquidator.allow_call(self.chain.morpho.address, MORPHO_LIQUIDATE)

    def dismiss(self) -> None:
        """The owner no longer lets Keeper's wallet run plans, nor plans borrow of Morpho."""
        owner, at, send = self.liquidator.owner, self.address, self.chain.client.send
        send(owner, at, "allow_operator(address,bool)", self.chain.liquidator.address, False)
        send(owner, at, "allow_call(address,bytes4,bool)", self.chain.morpho.address, selector(MORPHO_FLASH), False)

    @property
    def address(self) -> str:
        return self.liquidator.address

    def holds(self, symbol: str) -> int:
        return self.chain.balance(self.address, symbol)

    def venue(self) -> Mapping[str, Any]:
        uniswap, tokens = self.chain.uniswap, self.chain.tokens
        return {
            "kind": "uniswap_v3",
            "factory": uniswap.factory,
            "quoter": uniswap.quoter,
            "router": uniswap.router,
            "intermediates": [tokens["USDC"].address, tokens["WETH"].address],
        }

    def lender(self, kind: str) -> Mapping[str, Any]:
        chain = self.chain
        keys: dict[str, dict[str, Any]] = {
            "own": {},
            "aave_v3": {"pool": chain.aave.pool},
            "morpho": {"morpho": chain.morpho.address},
            "balancer_v2": {"vault": chain.balancer.vault},
            "uniswap_v3": {
                "factory": chain.uniswap.factory,
                "partners": [chain.tokens[symbol].address for symbol in ("WETH", "DAI")],
            },
        }
        return {"kind": kind, **keys[kind]}


class Running:
    """Block by block."""

    def __init__(self, chain: DevChain, house: House, rpc: RpcClient, store: Store, pipeline: Pipeline) -> None:
        self.chain = chain
        self.house = house
        self.rpc = rpc
        self.store = store
        self.pipeline = pipeline

    async def follow(self) -> None:
        head = await self.rpc.block_by_number("latest")
        assert head is not None
        for step in await steps_to(self.pipeline.window, head, self.rpc):
            await self.pipeline.apply(step)

    async def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.chain.mine()
            await self.follow()

    def liquidations(self) -> list[Intent]:
        return [intent for intent in self.store.intents() if intent.kind == "liquidation"]


@asynccontextmanager
async def running(
    contract: Contract,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    lenders: Sequence[str] = LENDERS,
    inventory: bool = False,
    keep_haircut_bps: int | None = None,
    submitters: Sequence[Mapping[str, Any]] = (),
    breakers: Mapping[str, Any] | None = None,
    protocols: Sequence[str] = ("aave_v3",),
    **executor: Any,
) -> AsyncIterator[Running]:
    async with following(
        contract.chain,
        path,
        monkeypatch,
        executor={"max_pending": 64, "liquidator": contract.address, **executor},
        venues=[
            contract.venue(),
            *([{"kind": "inventory"}] if inventory else []),
            *([{"kind": "keep", "haircut_bps": keep_haircut_bps}] if keep_haircut_bps is not None else []),
        ],
        funding=[contract.lender(kind) for kind in lenders],
        submitters=submitters,
        breakers=breakers,
        protocols=protocols,
    ) as keeper:
        yield keeper


@asynccontextmanager
async def following(
    chain: DevChain, path: Path, monkeypatch: pytest.MonkeyPatch, **tables: Any
) -> AsyncIterator[Running]:
    """A daemon's insides at the tip, live. tables: of the configuration, see `write_config`."""
    monkeypatch.setenv("KEEPER_PRIVATE_KEY", chain.liquidator.private_key)
    file = write_config(path / "keeper.toml", chain, mode="live", notifiers=(), **tables)
    house = House(file, load_config(file))
    store, rpc = house.open_store(), await house.connect()
    pipeline = house.pipeline(rpc, store, [], lambda: None)
    try:
        await Daemon(house, rpc, store, pipeline, lambda step: None).index(chain.block_number)
        yield Running(chain, house, rpc, store, pipeline)
    finally:
        await pipeline.close()
        await rpc.close()
        store.close()
