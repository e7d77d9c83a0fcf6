"""Whose positions: addresses, and ENS names where the chain has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.config.types import Problem, parse_address
from keeper.core.errors import ConfigError
from keeper.core.reads import Execute, drive
from keeper.upkeep import ens


@dataclass(frozen=True, slots=True)
class Owner:
    """name: the ENS name under which it was given; empty for an address."""

    account: bytes
    name: str = ""


def check_accounts(texts: Sequence[str]) -> None:
    """What can be said before anybody is asked. Raises ConfigError for what is neither an address nor a name."""
    for text in texts:
        if not _is_name(text):
            _address(text)


async def resolve_accounts(texts: Sequence[str], chain_id: int, execute: Execute) -> list[Owner]:
    """Each owner once, in the order given. Raises ConfigError, with the remedy, for what stands for no account."""
    names = [text for text in texts if _is_name(text)]
    registry = ens.registry_of(chain_id)
    if names and registry is None:
        raise ConfigError(f"{names[0]!r} is a name, and chain {chain_id} has no ENS registry; give the address (0x…)")
    found: dict[str, bytes] = {}
    if registry is not None and names:
        accounts = await drive([ens.account_of(registry, name) for name in names], execute)
        found = dict(zip(names, accounts, strict=True))
    owners: dict[bytes, Owner] = {}
    for text in texts:
        owner = Owner(found[text], text) if text in found else Owner(_address(text))
        owners.setdefault(owner.account, owner)
    return list(owners.values())


def _is_name(text: str) -> bool:
    return "." in text and not text.startswith("0x")


def _address(text: str) -> bytes:
    try:
        return parse_address(text)
    except Problem as problem:
        raise ConfigError(f"account: {problem}; an ENS name ends in .eth") from None
