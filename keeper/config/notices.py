"""How notices name accounts and pages, who hears of Keeper itself, and the daily digest."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PlainSerializer, PlainValidator

from keeper.config.table import Table
from keeper.config.types import Address, Problem, Written, describe, shown

_FIELDS = ("account", "market", "chain_id")

EXPLORERS: Mapping[int, str] = {
    1: "https://etherscan.io",
    10: "https://optimistic.etherscan.io",
    56: "https://bscscan.com",
    100: "https://gnosisscan.io",
    137: "https://polygonscan.com",
    8453: "https://basescan.org",
    42161: "https://arbiscan.io",
    43114: "https://snowtrace.io",
    59144: "https://lineascan.build",
    534352: "https://scrollscan.com",
    11155111: "https://sepolia.etherscan.io",
}


def _web_address(value: object) -> str:
    if not isinstance(value, str):
        raise Problem(f"a web address is text in quotes, not {describe(value)}")
    if value and urlsplit(value).scheme not in ("http", "https"):
        raise Problem(f"{shown(value)} is no web address; it must begin with https:// (or be empty for none)")
    if any(char.isspace() or char in "<>\"'`" for char in value):
        raise Problem(f"{shown(value)} is no web address: it has spaces or quotes; escape them as %20 and the like")
    return value


def _explorer(value: object) -> str:
    return _web_address(value).rstrip("/")


def _template(value: object) -> str:
    text = _web_address(value)
    try:
        fields = [name for _, name, spec, conversion in string.Formatter().parse(text) if name is not None]
        plain = text.format(**dict.fromkeys(_FIELDS, ""))
    except (ValueError, KeyError, IndexError, AttributeError):
        fields, plain = [""], ""
    unknown = [name for name in fields if name not in _FIELDS]
    if unknown or (text and not plain):
        raise Problem(
            f"{shown(text)} has a placeholder that is not filled in; known are {{account}}, {{market}}, {{chain_id}}"
        )
    return text


def _label(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Problem(f"a label is text in quotes, not {describe(value)}")
    if len(value) > 64:
        raise Problem(f"the label {shown(value)} has {len(value)} characters; 64 fit into a notice")
    return value.strip()


_text = PlainSerializer(str)
_quoted = Written("text", lambda value: f'"{value}"')
Explorer = Annotated[str, PlainValidator(_explorer), _text, Written("URL", lambda value: f'"{value}"')]
PageTemplate = Annotated[str, PlainValidator(_template), _text, Written("URL", lambda value: f'"{value}"')]
Label = Annotated[str, PlainValidator(_label), _text, _quoted]


class Names(Table):
    """What accounts are called in notices and tables."""

    labels: Mapping[Address, Label] = Field(
        default_factory=dict, description='Names by address: `"0x…" = "treasury"`; they come before ENS names.'
    )
    ens: bool = Field(
        True, description="Look accounts up in ENS, on chains that have it; a name must lead back to its account."
    )
    ens_registry: Address | None = Field(None, description="Another registry than the chain's well-known one.")
    ens_hours: float = Field(24.0, gt=0, le=8760, description="How long a looked-up name, or its absence, is kept.")


class Digest(Table):
    """Once a day, to the channels that have `digest = true`: open calls, closest positions, what happened."""

    hour_utc: int = Field(7, ge=0, le=23, description="From this hour on (UTC) the day's digest is told.")
    closest: int = Field(5, ge=0, le=100, description="How many of the positions closest to liquidation it lists.")


class Operator(Table):
    """Who hears of Keeper itself: no new blocks, positions that differed from the chain, notices that were refused."""

    channels: tuple[str, ...] = Field((), description="Names of notifiers; empty means every one.")
    owners_after_minutes: float | None = Field(
        30.0,
        gt=0,
        description="When no block could be taken for this long, every channel hears of it: nobody is being watched. "
        "With `operator.channels` empty they have heard already.",
    )
