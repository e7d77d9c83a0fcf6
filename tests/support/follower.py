"""Drives an adapter over a dev chain, blocking: the smallest shell that an adapter's generators need."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Generic, TypeVar

from eth_abi.abi import decode, encode

from keeper.core.ports import ProtocolAdapter
from keeper.core.types import Block, BlockRef, Book, Call, CallResult, Liquidated, Log
from keeper.devnet.chain import DevChain

R = TypeVar("R")
M = TypeVar("M")
A = TypeVar("A")

_MULTICALL3 = "0xca11bde05977b3631167028862be2a173976ca11"
_AGGREGATE3 = bytes.fromhex("82ad56cb")
_CALLS_PER_REQUEST = 1_000


class Follower(Generic[M, A]):
    """A book that follows a chain block by block. `round_trips` counts reads, the head's own not included."""

    def __init__(self, chain: DevChain, adapter: ProtocolAdapter[M, A]) -> None:
        self.chain = chain
        self.adapter = adapter
        self.book: Book[M, A] = Book()
        self.tip: Block | None = None
        self.liquidations: list[Liquidated] = []
        self.round_trips = 0
        self.last_round_trips = 0

    @property
    def market(self) -> M:
        assert self.book.market is not None
        return self.book.market

    def index(self, number: int | None = None, first: int = 0) -> None:
        """A fresh book at this block (the tip by default): bootstrap, scan, snapshot."""
        block = self.block(self.chain.block_number if number is None else number)
        market = self.run(self.adapter.bootstrap(), block)
        keys = self.adapter.touches(market, self.logs(market, first, block.number))
        head = self.read(self.adapter.head_calls(market), block)
        update = self.run(self.adapter.snapshot(market, keys, block, head), block)
        self.book = Book(update.market, update.prices, {k: v for k, v in update.positions.items() if v is not None})
        self.tip = block

    def follow(self, to: int | None = None) -> None:
        """Every block after the tip, one by one."""
        assert self.tip is not None
        last = self.chain.block_number if to is None else to
        for number in range(self.tip.number + 1, last + 1):
            self.step(self.block(number))

    def step(self, block: Block) -> None:
        market = self.market
        head = self.read(self.adapter.head_calls(market), block)
        logs = self.logs(market, block.number, block.number)
        before = self.round_trips
        update = self.run(self.adapter.sync(self.book, block, logs, head), block)
        if update.market is not None and self.adapter.filter(update.market) != self.adapter.filter(market):
            logs = self.logs(update.market, block.number, block.number)
            update = self.run(self.adapter.sync(self.book, block, logs, head), block)
        self.last_round_trips = self.round_trips - before
        self.book.market = update.market or market
        self.book.prices = update.prices
        for key, position in update.positions.items():
            if position is None:
                self.book.positions.pop(key, None)
            else:
                self.book.positions[key] = position
        self.liquidations += update.liquidations
        self.tip = block

    def copy(self) -> Book[M, A]:
        return Book(self.book.market, self.book.prices, dict(self.book.positions))

    # --- the chain

    def block(self, number: int) -> Block:
        raw = self.chain.rpc("eth_getBlockByNumber", hex(number), False)
        ref = BlockRef(int(raw["number"], 16), bytes.fromhex(raw["hash"][2:]))
        return Block(ref, bytes.fromhex(raw["parentHash"][2:]), int(raw["timestamp"], 16))

    def logs(self, market: M, first: int, last: int) -> list[Log]:
        wanted = self.adapter.filter(market)
        found = self.chain.rpc(
            "eth_getLogs",
            {
                "fromBlock": hex(first),
                "toBlock": hex(last),
                "address": [f"0x{a.hex()}" for a in wanted.addresses],
                "topics": [[f"0x{t.hex()}" for t in wanted.topics]],
            },
        )
        return [
            Log(
                raw["address"],
                tuple(raw["topics"]),
                raw["data"],
                raw["blockNumber"],
                raw["blockHash"],
                raw["transactionHash"],
                raw["logIndex"],
            )
            for raw in found
        ]

    def run(self, reads: Generator[Sequence[Call], Sequence[CallResult], R], block: Block) -> R:
        try:
            calls = next(reads)
            while True:
                self.round_trips += 1
                calls = reads.send(self.read(calls, block))
        except StopIteration as done:
            result: R = done.value
            return result

    def read(self, calls: Sequence[Call], block: Block) -> list[CallResult]:
        """The calls through Multicall3, pinned to the block's hash."""
        results: list[CallResult] = []
        for start in range(0, len(calls), _CALLS_PER_REQUEST):
            results += self._aggregate(calls[start : start + _CALLS_PER_REQUEST], block)
        return results

    def _aggregate(self, calls: Sequence[Call], block: Block) -> Iterable[CallResult]:
        data = _AGGREGATE3 + encode(["(address,bool,bytes)[]"], [[(c.target, True, c.data) for c in calls]])
        answer = self.chain.rpc(
            "eth_call",
            {"to": _MULTICALL3, "data": f"0x{data.hex()}", "gas": hex(2_000_000_000)},
            {"blockHash": f"0x{block.hash.hex()}"},
        )
        ((returned,)) = decode(["(bool,bytes)[]"], bytes.fromhex(answer[2:]))
        return [body if ok and body else None for ok, body in returned]
