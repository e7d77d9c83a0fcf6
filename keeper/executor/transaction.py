"""EIP-1559 transactions as bytes, and back: the raw bytes are the one truth about what an attempt does.

Source: EIP-2718, EIP-1559; RLP as in the Yellow Paper, appendix B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from eth_hash.auto import keccak

from keeper.core.errors import DecodeError
from keeper.core.types import TxCall, UnsignedTransaction

Rlp: TypeAlias = "bytes | list[Rlp]"

_TYPE = b"\x02"
_NO_ACCESS_LIST = b"\xc0"
_SIGNED_FIELDS = 12
_DEEPEST = 4  # fields, access list, entry, keys


def signing_hash(transaction: UnsignedTransaction) -> bytes:
    """The 32 bytes that are signed."""
    return _hash_of(b"".join(_fields(transaction)))


def encode_signed(transaction: UnsignedTransaction, y_parity: int, r: int, s: int) -> bytes:
    """The raw transaction, as `eth_sendRawTransaction` takes it."""
    return _signed(b"".join(_fields(transaction)), y_parity, r, s)


def sign_with(transaction: UnsignedTransaction, sign: Callable[[bytes], bytes]) -> bytes:
    """The raw transaction, encoded once. sign: of a hash, 65 bytes: r, s and the parity of y."""
    fields = b"".join(_fields(transaction))
    signature = sign(_hash_of(fields))
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
    return _signed(fields, signature[64], r, s)


def _hash_of(fields: bytes) -> bytes:
    return keccak(_TYPE + _prefix(len(fields), 0xC0) + fields)


def _signed(fields: bytes, y_parity: int, r: int, s: int) -> bytes:
    body = fields + _encode_int(y_parity) + _encode_int(r) + _encode_int(s)
    return _TYPE + _prefix(len(body), 0xC0) + body


def transaction_hash(raw: bytes) -> bytes:
    return keccak(raw)


def decode_signed(raw: bytes) -> UnsignedTransaction:
    """What a raw transaction says, without its signature.

    Raises DecodeError when the bytes are no signed EIP-1559 transaction, or one with an access list.
    """
    chain_id, nonce, priority, max_fee, gas, to, value, data, access_list, *_ = _signed_fields(raw)
    if access_list != []:
        raise DecodeError("transaction carries an access list; ours never do")
    return UnsignedTransaction(
        chain_id=_int(chain_id),
        nonce=_int(nonce),
        max_priority_fee_wei=_int(priority),
        max_fee_wei=_int(max_fee),
        gas_limit=_int(gas),
        call=TxCall(to=_bytes(to), data=_bytes(data), value_wei=_int(value)),
    )


def decode_signature(raw: bytes) -> tuple[int, int, int]:
    """y parity, r and s of a raw transaction. Raises DecodeError as `decode_signed` does."""
    y_parity, r, s = _signed_fields(raw)[9:]
    return _int(y_parity), _int(r), _int(s)


def _fields(transaction: UnsignedTransaction) -> list[bytes]:
    call = transaction.call
    return [
        _encode_int(transaction.chain_id),
        _encode_int(transaction.nonce),
        _encode_int(transaction.max_priority_fee_wei),
        _encode_int(transaction.max_fee_wei),
        _encode_int(transaction.gas_limit),
        _encode_bytes(call.to),
        _encode_int(call.value_wei),
        _encode_bytes(call.data),
        _NO_ACCESS_LIST,
    ]


def _signed_fields(raw: bytes) -> list[Rlp]:
    if raw[:1] != _TYPE:
        raise DecodeError(f"transaction begins with 0x{raw[:1].hex()}; an EIP-1559 transaction begins with 0x02")
    fields, end = _decode(raw, 1)
    if end != len(raw) or not isinstance(fields, list) or len(fields) != _SIGNED_FIELDS:
        raise DecodeError(f"{len(raw)} bytes are no signed EIP-1559 transaction of {_SIGNED_FIELDS} fields")
    return fields


def _encode_int(value: int) -> bytes:
    if 0 < value < 0x80:
        return bytes((value,))
    size = (value.bit_length() + 7) // 8
    return bytes((0x80 + size,)) + value.to_bytes(size, "big")  # at most 32 bytes, so never a long string


def _encode_bytes(value: bytes) -> bytes:
    if len(value) == 1 and value[0] < 0x80:
        return value
    return _prefix(len(value), 0x80) + value


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = (length.bit_length() + 7) // 8
    return bytes([offset + 55 + size]) + length.to_bytes(size, "big")


def _decode(raw: bytes, at: int, depth: int = 0) -> tuple[Rlp, int]:
    """One item beginning at `at`, and where it ends."""
    if depth > _DEEPEST:
        raise DecodeError(f"RLP nested deeper than the {_DEEPEST} lists of a transaction")
    if at >= len(raw):
        raise DecodeError(f"RLP ends at byte {len(raw)}, where an item should begin")
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    offset = 0xC0 if first >= 0xC0 else 0x80
    start, length = at + 1, first - offset
    if length > 55:
        size = length - 55
        length = int.from_bytes(raw[start : start + size], "big")
        start += size
    end = start + length
    if end > len(raw):
        raise DecodeError(f"RLP item at byte {at} says it ends at {end}, beyond the {len(raw)} bytes there are")
    if offset == 0x80:
        return raw[start:end], end
    items: list[Rlp] = []
    while start < end:
        item, start = _decode(raw, start, depth + 1)
        items.append(item)
    if start != end:
        raise DecodeError(f"RLP list at byte {at} should end at {end}, but its items end at {start}")
    return items, end


def _bytes(item: Rlp) -> bytes:
    if isinstance(item, list):
        raise DecodeError("RLP list where a transaction has bytes")
    return item


def _int(item: Rlp) -> int:
    return int.from_bytes(_bytes(item), "big")
