"""Defences: what each promises, how it is taken out, and which test misses it. One module for each group.

The least edit that leaves the rest running, and the cheapest test that fails then. Written by hand: whoever adds a
defence adds it to its group.
"""

from __future__ import annotations

from scripts.undefendlib.defences import (
    channels,
    contracts,
    database,
    endpoints,
    limits,
    modes,
    nodes,
    one_key,
    second,
    secrets,
    signed,
    strangers,
    web,
    words,
)
from scripts.undefendlib.removal import Removal

_GROUPS = (
    nodes,
    endpoints,
    second,
    one_key,
    signed,
    contracts,
    limits,
    database,
    modes,
    secrets,
    strangers,
    words,
    channels,
    web,
)

DEFENCES: tuple[Removal, ...] = tuple(one for group in _GROUPS for one in group.DEFENCES)
