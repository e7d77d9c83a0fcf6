"""ENS names of accounts, and accounts of names, as reads (`keeper.core.reads`): the caller executes them at the edge.

A name that an account claims is believed only if it resolves back to that account: anybody may claim any name. Names
are normalized by ENSIP-15; one that is not normalized, that does not end in .eth or that is longer than a line is
nobody's name here, since a chat would turn "claim.example.com" into a link. Names that need a gateway outside the
chain (CCIP read, ENSIP-10) are not followed: a stranger's resolver must not choose whom we ask.
Sources: EIP-137, EIP-181, ENSIP-15.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from eth_hash.auto import keccak

from keeper.core.errors import ConfigError
from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult

REGISTRY = bytes.fromhex("00000000000C2E074eC69A0dFb2997BA6C7d2e1e")
CHAINS = frozenset({1, 11_155_111})
"""Where that registry is; elsewhere there are no names, unless the configuration names a registry."""

LONGEST = 64
_RESOLVER, _ADDR, _NAME = (keccak(f"{name}(bytes32)".encode())[:4] for name in ("resolver", "addr", "name"))
_SHOWN = re.compile(r"[^\W_]([\w-]*[^\W_])?(\.[^\W_]([\w-]*[^\W_])?)*\.eth")


def registry_of(chain_id: int, configured: bytes | None = None) -> bytes | None:
    """The registry to ask; None where there is none."""
    return configured or (REGISTRY if chain_id in CHAINS else None)


def names(registry: bytes, accounts: Sequence[bytes]) -> Reads[Mapping[bytes, str | None]]:
    """The verified primary name of each account, None for one without. Four round trips, whatever their number."""
    reverse = {account: namehash(f"{account.hex()}.addr.reverse") for account in accounts}
    resolvers = yield from _resolvers(registry, reverse)
    answers = yield [Call(resolver, _NAME + reverse[account]) for account, resolver in resolvers.items()]
    claimed = {
        account: name
        for account, answer in zip(resolvers, answers, strict=True)
        if (name := _presentable(_text(answer))) is not None
    }
    forward = {account: namehash(name) for account, name in claimed.items()}
    resolvers = yield from _resolvers(registry, forward)
    answers = yield [Call(resolver, _ADDR + forward[account]) for account, resolver in resolvers.items()]
    true = {account for account, answer in zip(resolvers, answers, strict=True) if _address(answer) == account}
    return {account: claimed[account] if account in true else None for account in accounts}


def account_of(registry: bytes, name: str) -> Reads[bytes]:
    """The account that a name stands for. Raises ConfigError when it is no name or stands for none."""
    normalized = normalize(name)
    if normalized is None:
        raise ConfigError(f"{name!r} is no valid ENS name (ENSIP-15); check its spelling, or give the address")
    node = namehash(normalized)
    resolvers = yield from _resolvers(registry, {node: node})
    if node not in resolvers:
        raise ConfigError(
            f"{normalized} has no resolver of its own in the ENS registry; check its spelling, or give the address"
        )
    (answer,) = yield [Call(resolvers[node], _ADDR + node)]
    account = _address(answer)
    if account is None:
        raise ConfigError(
            f"{normalized} stands for no address on chain (some names are kept by gateways, which are not asked); "
            "give the address"
        )
    return account


def namehash(name: str) -> bytes:
    """EIP-137, of a normalized name."""
    node = bytes(32)
    for label in reversed(name.split(".") if name else ()):
        node = keccak(node + keccak(label.encode()))
    return node


def normalize(name: str) -> str | None:
    """By ENSIP-15; None for what is no name."""
    from ens.utils import normalize_name  # takes a tenth of a second to import, with half of web3.py

    try:
        return normalize_name(name) or None
    except ValueError:  # InvalidName is one
        return None


def _presentable(claim: str) -> str | None:
    fit = len(claim) <= LONGEST and _SHOWN.fullmatch(claim) is not None
    return claim if fit and normalize(claim) == claim else None


def _resolvers(registry: bytes, nodes: Mapping[bytes, bytes]) -> Reads[dict[bytes, bytes]]:
    """The resolver of each node that has one, by the node's key."""
    answers = yield [Call(registry, _RESOLVER + node) for node in nodes.values()]
    found = ((key, _address(answer)) for key, answer in zip(nodes, answers, strict=True))
    return {key: resolver for key, resolver in found if resolver is not None}


def _address(answer: CallResult) -> bytes | None:
    """An ABI address; None for the zero address and for what is none."""
    if answer is None or len(answer) < 32 or any(answer[:12]) or not any(answer[12:32]):
        return None
    return answer[12:32]


def _text(answer: CallResult) -> str:
    """An ABI string, whatever a stranger's contract answered; empty when it is none."""
    if answer is None or len(answer) < 64:
        return ""
    start = int.from_bytes(answer[:32], "big")
    if start + 32 > len(answer):
        return ""
    size = int.from_bytes(answer[start : start + 32], "big")
    raw = answer[start + 32 : start + 32 + size] if size <= 4 * LONGEST else b""
    try:
        return raw.decode() if len(raw) == size else ""
    except UnicodeDecodeError:
        return ""
