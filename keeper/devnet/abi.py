"""Contract calls by signature text, and reverts in words.

A signature is the Solidity form without names: "supply(address,uint256,address,uint16)", with the outputs behind it
where an answer is read: "balanceOf(address)(uint256)". Addresses come back as checksummed text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

Address = str | bytes
"""20 bytes, or their hex text with 0x."""

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")


def checksummed(address: Address) -> str:
    """EIP-55 text of an address."""
    return str(to_checksum_address(address))


@cache
def split_signature(signature: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(canonical "name(types)", input types, output types).

    >>> split_signature("f((uint256,bool)[],bytes)(uint256)")
    ('f((uint256,bool)[],bytes)', ('(uint256,bool)[]', 'bytes'), ('uint256',))
    """
    end = _first_group_end(signature)
    head, outputs = signature[:end], signature[end:]
    return head, _types(head[head.index("(") :]), _types(outputs) if outputs else ()


def _first_group_end(signature: str) -> int:
    depth = 0
    for position, letter in enumerate(signature, start=1):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and depth == 0:
            return position
    raise ValueError(f"{signature!r} is not a signature like 'name(types)' or 'name(types)(types)'")


def _types(group: str) -> tuple[str, ...]:
    """Top-level members of a parenthesised list of types."""
    members, depth, current = [], 0, ""
    for letter in group[1:-1]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            members.append(current)
            current = ""
        else:
            current += letter
    return (*members, current) if current else ()


def selector(signature: str) -> bytes:
    return bytes(keccak(text=split_signature(signature)[0])[:4])


def encode_call(signature: str, args: Sequence[object]) -> bytes:
    """Call data: selector and ABI-encoded arguments."""
    _, inputs, _ = split_signature(signature)
    return selector(signature) + encode(inputs, args)


def decode_answer(signature: str, data: bytes) -> Any:
    """A single output as itself, several as a tuple, none as None."""
    _, _, outputs = split_signature(signature)
    values = tuple(_readable(kind, value) for kind, value in zip(outputs, decode(outputs, data), strict=True))
    return values if len(values) > 1 else values[0] if values else None


def _readable(kind: str, value: Any) -> Any:
    if kind == "address":
        return checksummed(value)
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return tuple(_readable(inner, member) for member in value)
    if kind.startswith("("):
        return tuple(_readable(inner, member) for inner, member in zip(_types(kind), value, strict=True))
    return value


class RevertReasons:
    """Words for revert data, from the error definitions of the ABIs it was told about."""

    def __init__(self) -> None:
        self._errors: dict[bytes, tuple[str, tuple[str, ...]]] = {}

    def learn(self, abi: Iterable[Mapping[str, Any]]) -> None:
        for entry in abi:
            if entry["type"] == "error":
                types = tuple(_canonical(field) for field in entry["inputs"])
                self._errors[bytes(keccak(text=signature_of(entry))[:4])] = (entry["name"], types)

    def explain(self, data: bytes) -> str:
        """The error and its arguments; the hex itself when nothing known matches."""
        if not data:
            return "no reason given"
        kind = data[:4]
        name, types = (
            ("Error", ("string",))
            if kind == _ERROR_STRING
            else ("Panic", ("uint256",))
            if kind == _PANIC
            else self._errors.get(kind, ("", ()))
        )
        if not name:
            return f"unknown error 0x{data.hex()}"
        try:
            values = decode(types, data[4:])
        except DecodingError:
            return f"{name} with undecodable arguments 0x{data[4:].hex()}"
        return f"{name}({', '.join(repr(_readable(t, v)) for t, v in zip(types, values, strict=True))})"


def signature_of(entry: Mapping[str, Any]) -> str:
    """Of a function, event or error in a contract's ABI."""
    return f"{entry['name']}({','.join(_canonical(field) for field in entry['inputs'])})"


def _canonical(field: Mapping[str, Any]) -> str:
    kind: str = field["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_canonical(part) for part in field['components'])}){kind.removeprefix('tuple')}"
