"""Messages, headers and logs as the node writes them, and the checks that make them ours.

Everything is decoded by msgspec straight into these structs; no dictionary is built on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import UnionType
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from keeper.core.errors import KeeperError, RpcMalformed
from keeper.core.types import Block, BlockRef

T = TypeVar("T")

Text: TypeAlias = msgspec.Raw | bytes | memoryview
"""JSON, as it came."""

Request: TypeAlias = tuple[str, Sequence[Any]]
"""A method and its positional parameters, ready for JSON."""

ABSENT = msgspec.Raw(b"")
HASH_CHARS = 66  # 0x and 32 bytes
ADDRESS_CHARS = 42

WordText: TypeAlias = Annotated[str, msgspec.Meta(min_length=HASH_CHARS, max_length=HASH_CHARS)]
"""Of the length of a word; whether it is hex is for others to say."""


class Fault(msgspec.Struct, gc=False):
    """The `error` member of a reply. Providers are loose with its types."""

    code: int | float | str | None = None
    message: str | None = None
    data: Any = None


class Message(msgspec.Struct, gc=False):
    """Anything a node sends: a reply (id and result or error) or a push (method and params)."""

    id: int | str | None = None
    result: msgspec.Raw = ABSENT
    error: Fault | None = None
    method: str | None = None
    params: msgspec.Raw = ABSENT


class Push(msgspec.Struct, gc=False):
    """The params of an `eth_subscription` message."""

    subscription: str
    result: msgspec.Raw


class WireHeader(msgspec.Struct, rename="camel", frozen=True, gc=False):
    number: str
    hash: str
    parent_hash: str
    timestamp: str
    base_fee_per_gas: str | None = None
    gas_limit: str = "0x0"
    gas_used: str = "0x0"
    logs_bloom: str | None = None
    # of no use but to prove the hash (`proof`)
    sha3_uncles: str | None = None
    miner: str | None = None
    state_root: str | None = None
    transactions_root: str | None = None
    receipts_root: str | None = None
    difficulty: str | None = None
    extra_data: str | None = None
    mix_hash: str | None = None
    nonce: str | None = None
    withdrawals_root: str | None = None
    blob_gas_used: str | None = None
    excess_blob_gas: str | None = None
    parent_beacon_block_root: str | None = None
    requests_hash: str | None = None


class WireLog(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """A log whose strings are left as they came (`keeper.core.types.RawLog`): lower-case hex with 0x."""

    address: str
    topics: tuple[WordText, ...]
    data: str
    block_number: str
    block_hash: WordText
    transaction_hash: WordText
    log_index: str
    removed: bool = False


class WireReceipt(msgspec.Struct, rename="camel", frozen=True, gc=False):
    block_hash: str
    logs: list[WireLog]
    # of no use but to prove the block's root of receipts (`keeper.indexer.receipts`)
    cumulative_gas_used: str = "0x0"
    logs_bloom: str | None = None
    status: str | None = None
    root: str = "0x"
    type: str = "0x0"
    deposit_nonce: str | None = None
    deposit_receipt_version: str | None = None


_messages = msgspec.json.Decoder(list[Message])
_message = msgspec.json.Decoder(Message)
_push = msgspec.json.Decoder(Push)
_encoder = msgspec.json.Encoder()


def encode_call(request_id: int, request: Request) -> bytes:
    method, params = request
    return _encoder.encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def encode_batch(first_id: int, requests: Sequence[Request]) -> bytes:
    return b"[" + b",".join(encode_call(first_id + i, request) for i, request in enumerate(requests)) + b"]"


def decode_messages(payload: bytes | str) -> tuple[list[Message], bool]:
    """The messages of one frame or body, and whether it was a batch. Raises RpcMalformed when it is no JSON-RPC."""
    try:
        opening = payload.lstrip()[:1]
        if opening in (b"[", "["):
            return _messages.decode(payload), True
        return [_message.decode(payload)], False
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RpcMalformed(f"answer of {len(payload)} bytes is no JSON-RPC message: {error}") from None


def decode_push(message: Message) -> Push | None:
    """The push in a message, or None when it is a notification of another kind."""
    if message.method != "eth_subscription":
        return None
    return decode_as(_push, message.params, "eth_subscription")


def decode_as(decoder: msgspec.json.Decoder[T], raw: Text, what: str) -> T:
    """Decode a result; raises RpcMalformed naming what it should have been."""
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RpcMalformed(f"{what}: {error}") from None


_any = msgspec.json.Decoder()


def decode_any(raw: msgspec.Raw, what: str) -> Any:
    return decode_as(_any, raw, what)


def result_reader(type_: type[T] | UnionType, what: str) -> Callable[[Text], T]:
    """A function that decodes a result to this type, or raises RpcMalformed naming `what` it should have been."""
    decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(type_)
    return lambda raw: decode_as(decoder, raw, what)


def strict(answer: msgspec.Raw | KeeperError) -> msgspec.Raw:
    """The result, or its error raised."""
    if isinstance(answer, KeeperError):
        raise answer
    return answer


# --- hex --------------------------------------------------------------------------------------------------------------


def hex_bytes(text: str, what: str, size: int | None = None) -> bytes:
    """Bytes of 0x-prefixed hex; raises RpcMalformed when truncated, odd, no hex, or not `size` bytes long."""
    try:
        value = bytes.fromhex(text[2:])
    except ValueError:
        value = None
    # fromhex skips blanks, hence the comparison of lengths
    if value is None or not text.startswith("0x") or 2 * len(value) + 2 != len(text):
        raise RpcMalformed(f"{what} is no even hex: {clip(text)}")
    if size is not None and len(value) != size:
        raise RpcMalformed(f"{what} has {len(value)} bytes instead of {size}: {clip(text)}")
    return value


def hex_int(text: str, what: str) -> int:
    """A 0x-prefixed quantity; raises RpcMalformed when it is none."""
    try:
        if text.startswith("0x") and len(text) <= HASH_CHARS and "_" not in text:
            return int(text, 16)
    except ValueError:
        pass
    raise RpcMalformed(f"{what} is no hex quantity: {clip(text)}")


def to_hex(value: bytes) -> str:
    return "0x" + value.hex()


def clip(text: str, limit: int = 80) -> str:
    """Text from outside, short enough and safe for a message."""
    return repr(text if len(text) <= limit else text[:limit] + "…")


# --- headers ----------------------------------------------------------------------------------------------------------

_header: msgspec.json.Decoder[WireHeader | None] = msgspec.json.Decoder(WireHeader | None)


Prove = Callable[[WireHeader, str], None]
"""Raises RpcLied where a header is not the one that its hash names."""


def read_wire_header(raw: msgspec.Raw, what: str) -> WireHeader | None:
    """A header as it was written, or None for `null`. Raises RpcMalformed."""
    return decode_as(_header, raw, what)


def read_header(raw: msgspec.Raw, what: str, prove: Prove | None = None) -> Block | None:
    """A header, or None for `null`. Raises RpcMalformed on anything that cannot be a header, and what `prove` does."""
    wire = read_wire_header(raw, what)
    if wire is None:
        return None
    fee = wire.base_fee_per_gas
    block = Block(
        ref=BlockRef(hex_int(wire.number, f"{what}: number"), hex_bytes(wire.hash, f"{what}: hash", 32)),
        parent_hash=hex_bytes(wire.parent_hash, f"{what}: parentHash", 32),
        timestamp=hex_int(wire.timestamp, f"{what}: timestamp"),
        base_fee_wei=None if fee is None else hex_int(fee, f"{what}: baseFeePerGas"),
        gas_limit=hex_int(wire.gas_limit, f"{what}: gasLimit"),
        gas_used=hex_int(wire.gas_used, f"{what}: gasUsed"),
        bloom=b"" if wire.logs_bloom is None else hex_bytes(wire.logs_bloom, f"{what}: logsBloom", 256),
    )
    if prove is not None:
        prove(wire, what)
    return block
