"""Whom to ask first: endpoints by whether they lied, failed, or are behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keeper.core.types import Block

if TYPE_CHECKING:
    from keeper.indexer.rpc.endpoint import Endpoint


class Standing:
    """The endpoints of one chain, in the order of their configuration, and what is known of each.

    max_lag_blocks: one further behind than this is asked last.
    """

    def __init__(self, endpoints: Sequence[Endpoint], max_lag_blocks: int) -> None:
        self.endpoints = tuple(endpoints)
        self._max_lag = max_lag_blocks

    def usable(self) -> list[Endpoint]:
        """Those of the right chain."""
        return [endpoint for endpoint in self.endpoints if endpoint.excluded is None]

    def lying(self) -> list[Endpoint]:
        """Those in quarantine."""
        return [endpoint for endpoint in self.usable() if endpoint.quarantine.active]

    def trusted(self) -> list[Endpoint]:
        """Those that are in no quarantine; while all of these fail, those on parole, too. Where every one lied: those
        on parole, else all."""
        usable = self.usable()
        honest = [endpoint for endpoint in usable if not endpoint.quarantine.active]
        if honest and not all(endpoint.errors for endpoint in honest):
            return honest
        paroled = [endpoint for endpoint in usable if endpoint.quarantine.paroled]
        return honest + paroled or usable

    def ranked(self) -> list[Endpoint]:
        """Endpoints that may be asked, the one to ask first, first."""
        trusted = self.trusted()
        if len(trusted) == 1:
            return trusted
        return sorted(trusted, key=lambda one: (one.errors > 0, one.cooling_s > 0, self.is_behind(one)))

    def well_beside(self, endpoint: Endpoint) -> list[Endpoint]:
        """The others that are well, the one to ask first, first."""
        if len(self.endpoints) == 1:
            return []
        return [one for one in self.ranked() if one is not endpoint and not one.errors and not self.is_behind(one)]

    def is_behind(self, endpoint: Endpoint) -> bool:
        """Whether its head was too far below the highest of all when it was last seen.

        What others told since says nothing: an endpoint whose heads nobody follows is only looked at now and then.
        """
        return endpoint.behind > self._max_lag

    def saw_head(self, endpoint: Endpoint, block: Block) -> None:
        """It told of this head; a reorg may bring it back."""
        endpoint.saw_head(block)
        if len(self.endpoints) > 1:
            heads = [one.head_number for one in self.trusted() if one.head_number is not None]
            endpoint.behind = max(0, max(heads, default=0) - block.number)

    def disbelieve_head(self, head_hash: bytes) -> list[Endpoint]:
        """Nobody is behind this head; who told of it."""
        told = [endpoint for endpoint in self.endpoints if endpoint.told_of(head_hash)]
        for endpoint in told:
            endpoint.head_number = endpoint.head_seen_at = None
        if told:
            for endpoint in self.endpoints:
                endpoint.behind = 0
        return told
