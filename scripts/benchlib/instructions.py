"""How many bytecode instructions the parts of a block's way take: the same on every machine, whatever else runs on it.

They are counted by the interpreter's own tracing, ours and those of the libraries below us that are written in Python.
What numpy, msgspec or SQLite do inside counts as one call.
"""

from __future__ import annotations

import gc
import json
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from types import FrameType
from typing import Any

import msgspec

from keeper.core.policy import SigningPolicy
from keeper.core.types import Block, BlockRef, Book, TxCall, UnsignedTransaction
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.evaluator.judge import Judge
from keeper.executor.signer import LocalSigner
from keeper.indexer.digest import digest
from keeper.indexer.logs import LogQuery, read_logs
from keeper.store import open_store

from . import aave_book, decode, store

LOGS = 1_000
ACCOUNTS = 2_000
_LINES = BandRules(*(hundredths * WAD // 100 for hundredths in (125, 110, 103, 2, 125)))


def count(run: Callable[[], Any]) -> int:
    """Bytecode instructions of one run; a first one, not counted, fills what is kept between runs."""
    run()
    total = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal total
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        if event == "opcode":
            total += 1
        return trace

    gc.collect()
    gc.disable()  # a collection may run finalizers, now or later
    try:
        sys.settrace(trace)
        run()
    finally:
        sys.settrace(None)
        gc.enable()
    return total


def counts() -> Iterator[tuple[str, int]]:
    """What, and how many instructions it takes."""
    yield from _reading()
    yield from _judging()
    yield from _keeping()


def _reading() -> Iterator[tuple[str, int]]:
    chance = random.Random(1)  # noqa: S311  the same logs every time
    market = decode.market(chance)
    body = msgspec.Raw(json.dumps(decode.rows(chance, market, LOGS)).encode())
    adapter = aave_book.adapter(market)
    query = LogQuery(adapter.filter(market))
    logs = read_logs(body)
    last = int(logs[-1].block_number, 16)
    drain = deque[Any](maxlen=0).extend
    yield f"decode and prove {LOGS:,} logs", count(lambda: digest(query, [body], "logs", 0, last, drain))
    yield f"fold {LOGS:,} logs", count(lambda: adapter.touches(market, logs))


def _judging() -> Iterator[tuple[str, int]]:
    book = aave_book.book(60, ACCOUNTS)
    assert book.market is not None
    adapter, market = aave_book.adapter(book.market), book.market
    judge = Judge(adapter, _LINES)
    judge.reload(book, ())
    judge.sort(book, aave_book.NOW)
    block = Block(BlockRef(1, b"\x01" * 32), b"\x00" * 32, aave_book.NOW)
    moved = Book(market, aave_book.moved(book.prices, 0.001), book.positions)
    safe = Book(market, moved.prices, {key: book.positions[key] for key in _safest(adapter, book)})
    quiet = Judge(adapter, _LINES)
    quiet.reload(safe, ())
    quiet.sort(safe, aave_book.NOW)
    keys = list(book.positions)[:100]
    payloads = [adapter.dump_position(position) for position in book.positions.values()]
    yield (
        f"judge a block that concerns nobody of {len(safe.positions):,}",
        count(lambda: quiet.judge(safe, block, also_at=aave_book.NOW + 12)),
    )
    yield "judge 100 positions in exact integers", count(lambda: judge.judge_these(moved, block, keys))
    yield f"weigh {ACCOUNTS:,} stored positions", count(lambda: adapter.linears(market, payloads))
    yield "read 100 stored positions", count(lambda: [adapter.load_position(one) for one in payloads[:100]])


def _safest(adapter: Any, book: Book[Any, Any]) -> list[bytes]:
    """Keys of the half of a book that is farthest from liquidation."""
    health = {
        key: adapter.health(book.market, book.prices, position, aave_book.NOW).factor_wad or 0
        for key, position in book.positions.items()
    }
    return sorted(health, key=lambda key: (-health[key], key))[: len(health) // 2]


def _keeping() -> Iterator[tuple[str, int]]:
    signer = LocalSigner(b"\x42" * 32, chain_id=1)
    to_self = TxCall(signer.address, bytes(164))
    unsigned = UnsignedTransaction(1, 7, 10**9, 10**11, 600_000, to_self)
    policy = SigningPolicy(1, signer.address, 10**12, exactly=frozenset({to_self}))
    yield "sign a transaction", count(lambda: signer.sign(unsigned, policy))
    with closing(open_store("sqlite://", chain_id=1)) as kept:
        numbers = iter(range(10))

        def put() -> None:
            with kept.transaction() as tx:
                tx.put_intent(store.intent(next(numbers)))

        yield "journal an intent", count(put)
