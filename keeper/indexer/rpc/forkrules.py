"""Headers that no endpoint can prove any more: a hard fork changed what is hashed, and nobody lied.

One endpoint may forge headers; every one of them, at as many heights as make the proof waived, does not. All of them
are back at once then, as if they had never been caught.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from keeper.indexer.rpc.proof import GIVES_UP_AFTER

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint

log = structlog.get_logger(__name__)


def may_have_changed(endpoints: Sequence[Endpoint]) -> bool:
    """Whether all are in quarantine for nothing but headers that could not be proven."""
    return bool(endpoints) and all(endpoint.only_unproven for endpoint in endpoints)


def accept_changed(endpoints: Sequence[Endpoint]) -> bool:
    """Have all back where every one failed at enough heights; whether they are."""
    if not may_have_changed(endpoints) or not all(map(_gave_up, endpoints)):
        return False
    number = min(min(endpoint.unproven) for endpoint in endpoints)
    for endpoint in endpoints:
        endpoint.forgive_unproven(number)
    log.error(
        "header_rules_changed",
        from_block=number,
        endpoints=[endpoint.name for endpoint in endpoints],
        remedy="headers from this block on are taken on trust, and every endpoint is asked again; the chain has most "
        "likely had a hard fork: update Keeper",
    )
    return True


def _gave_up(endpoint: Endpoint) -> bool:
    """The last of them is taken on trust, so that it is no lie."""
    return (endpoint.asked.gave_up or endpoint.pushed.gave_up) and len(endpoint.unproven) >= GIVES_UP_AFTER - 1
