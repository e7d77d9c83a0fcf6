"""Encoded bytes: multicalls, transactions, our contract's plans, names, symbols, price updates of the mempool.

Where two readers of the same format exist, they agree.
"""

from __future__ import annotations

import importlib
from contextlib import suppress

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError

import keeper.executor.oracles
from keeper.config.table import kinds
from keeper.core.errors import KeeperError
from keeper.core.multicall import decode_aggregate3
from keeper.core.types import Log
from keeper.executor.liquidator_calls import (
    EXECUTE,
    EXECUTE_EACH,
    EXECUTED,
    PLAN_FAILED,
    Plan,
    Step,
    Watch,
    decode_execute,
    decode_execute_each,
    decode_steps,
    encode_execute,
    encode_execute_each,
    read_executed,
    split_logs,
)
from keeper.executor.oracles.written import Reader
from keeper.executor.transaction import decode_signature, decode_signed, encode_signed
from keeper.protocols import words
from keeper.upkeep import ens
from tests.fuzz.source import Source

ALLOWED = (KeeperError,)
_PLAN = encode_execute(Plan((Watch(b"\1" * 20, 5),), (Step(b"\2" * 20, b"\3\4\5\6" + bytes(32), amount_at=4),), 7))
_OUTCOMES = b"".join(word.to_bytes(32, "big") for word in (32, 2, 64, 160, 1, 64, 0, 0, 0, 64, 3, 1 << 255))
_SIGNED = bytes.fromhex(
    "02f86c827a6903018477359400825208943fab184622dc19b6109349b94811493bf21a45388080c080a0"
    + "11" * 32
    + "a0"
    + "22" * 32
)
SEEDS = [
    bytes([kind]) + body
    for kind, body in enumerate(
        (
            _OUTCOMES,
            _SIGNED,
            _PLAN,
            encode_execute_each([_PLAN]),
            (32).to_bytes(32, "big") + (3).to_bytes(32, "big") + b"abc",
            _PLAN,
        )
    )
]
_READER = Reader(
    [
        importlib.import_module(f"{keeper.executor.oracles.__name__}.{kind}").build()
        for kind in kinds(keeper.executor.oracles.__name__)
    ]
)
_CONTRACT = b"\x0c" * 20


def run(data: bytes) -> None:
    source = Source(data)
    kind, body = source.number(5), source.rest()
    (_multicall, _transaction, _plan, _plans, _text, _update)[kind](body)


def _multicall(body: bytes) -> None:
    """Ours reads what the general coder reads, and refuses some that it takes."""
    outcomes = decode_aggregate3(body, 2)
    with suppress(DecodingError, OverflowError):
        (theirs,) = abi_decode(("(bool,bytes)[]",), body)
        assert [tuple(one) for one in outcomes] == [(flag, data) for flag, data in theirs]


def _transaction(body: bytes) -> None:
    transaction, signature = decode_signed(body), decode_signature(body)
    again = encode_signed(transaction, *signature)
    assert decode_signed(again) == transaction


def _plan(body: bytes) -> None:
    for data in (body, EXECUTE + body):
        with suppress(KeeperError):
            decode_execute(data)
    decode_steps(body)


def _plans(body: bytes) -> None:
    logs = [
        Log("0x" + _CONTRACT.hex(), (topic,), "0x" + body[:200].hex())
        for topic in (EXECUTED, PLAN_FAILED)
        if len(body) > 96
    ]
    with suppress(KeeperError):
        split_logs([log for log in logs if log.topics[0] == PLAN_FAILED], _CONTRACT)
    for log in logs:
        with suppress(KeeperError):
            read_executed(Log(log.address, (log.topics[0], "0x" + bytes(32).hex()), log.data))
    for data in (body, EXECUTE_EACH + body):
        with suppress(KeeperError):
            decode_execute_each(data)


def _text(body: bytes) -> None:
    assert len(words.text(body)) <= 64
    assert len(ens._text(body)) <= 4 * ens.LONGEST
    words.maybe_address(body), words.maybe_uint(body)
    words.address_list(body, "list")


def _update(body: bytes) -> None:
    _READER.knows(body)
    _READER.updates(body[:20].ljust(20, b"\0"), body[20:])
