"""A book with every kind of position that a rehearsal meets, and a stage to play it on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from keeper.config.load import load_config
from keeper.core.stress import Lever
from keeper.daemon import Daemon
from keeper.devnet.aave import ReserveTerms
from keeper.devnet.anvil import Anvil
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import aave_loans, uniswap, write_config
from keeper.devnet.tokens import FeedMode
from keeper.queries.views import load_book
from keeper.rehearsal.fork import Fork
from keeper.rehearsal.relay import Relay
from keeper.rehearsal.stage import Stage
from keeper.wire import House

_TERMS = ReserveTerms(8000, 8250, 10500, 1500, 1000, (9200, 0, 270, 8000))


@dataclass
class Book:
    """accounts: by what is special about each."""

    chain: DevChain
    accounts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def opened(cls, chain: DevChain) -> Book:
        """On Aave, borrowed in USDC unless said otherwise; Uniswap's pools hold $20 million a side."""
        book = cls(chain)
        for symbol in ("ODD", "DIM"):
            chain.aave.init_reserve(symbol, 18, Decimal(100), _TERMS)
        book.borrow("healthy", "WETH", Decimal(10), Decimal(9_000))
        book.borrow("thin", "WETH", Decimal(10_000), Decimal(15_500_000))
        book.borrow("no route", "ODD", Decimal(200), Decimal(10_000))
        book.borrow("under water", "WBTC", Decimal(1), Decimal(40_000), "DAI")
        book.borrow("unpriced", "DIM", Decimal(200), Decimal(10_000))
        book.accounts["supplier"] = chain.make_account(99, Decimal(5))
        chain.aave.supply(book.accounts["supplier"], "WETH", Decimal(1))
        chain.move_pool("WBTC", Decimal(36_000))
        chain.set_price("WBTC", Decimal(36_000))
        chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(30 * 10**9))
        chain.break_feed("DIM", FeedMode.REVERTING)
        return book

    def borrow(self, name: str, collateral: str, amount: Decimal, owed: Decimal, debt: str = "USDC") -> str:
        who = self.chain.make_account(len(self.accounts), Decimal(5))
        self.chain.aave.supply(who, collateral, amount)
        self.chain.aave.borrow(who, debt, owed)
        self.accounts[name] = who
        return who

    def key(self, name: str) -> bytes:
        return bytes.fromhex(self.accounts[name][2:])

    def configuration(
        self, path: Path, *, rpc: Sequence[str] = (), protocols: Sequence[str] = ("aave_v3",), **executor: Any
    ) -> Path:
        return write_config(
            path / "keeper.toml",
            self.chain,
            rpc=rpc,
            protocols=protocols,
            notifiers=(),
            venues=[uniswap(self.chain)],
            funding=[aave_loans(self.chain)],
            executor=executor,
        )


async def index(file: Path, block: int) -> House:
    """The deployment of a configuration file, indexed up to a block."""
    house = House(file, load_config(file, mode="off", environment={}))
    rpc = await house.connect()
    try:
        with closing(house.open_store()) as store:
            pipeline = house.pipeline(rpc, store, [], lambda: None)
            await Daemon(house, rpc, store, pipeline, lambda step: None).index(block)
            await pipeline.close()
    finally:
        await rpc.close()
    return house


@asynccontextmanager
async def staged(house: House, lever: Lever = Lever.THRESHOLD) -> AsyncIterator[Stage]:
    with closing(house.open_store(read_only=True)) as store:
        known = {adapter.name: load_book(store, adapter).market for adapter in house.adapters()}
    with Relay(house) as relay, Anvil.start(fork_url=relay.url) as anvil:
        fork = await Fork.connect(anvil.ws_url, house.config.chain.id)
        try:
            yield await Stage.set_up(house, fork, lever, known)
        finally:
            await fork.close()
