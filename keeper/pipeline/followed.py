"""Which protocols are followed: what is stored of these is as of the cursor, of others as of whenever it was read.

One that is taken out of the configuration is left behind with the first block that is kept without it, and how far it
came is written down in that very transaction. Put back, it is a newcomer that has been scanned to there: what it missed
is scanned as after an outage, and until then nothing of it is held.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from keeper.core.ports import Store, Transaction
from keeper.core.records import MARKET_KEY

_META = "followed"


class Followed:
    """names: of the configured protocols, those that are followed; none while no block is held."""

    def __init__(self, store: Store, configured: Iterable[str]) -> None:
        self._store = store
        self._configured = frozenset(configured)
        self._stored: frozenset[str] | None = None
        self.names: frozenset[str] = frozenset()

    def load(self) -> None:
        """Become what the store says. One that never said it was followed with everything that it has a market of."""
        said = self._store.meta(_META)
        self._stored = None if said is None else frozenset(json.loads(said))
        if self._store.cursor() is None:
            self.names = frozenset()
        elif self._stored is None:
            self.names = frozenset(filter(self._has_market, self._configured))
        else:
            self.names = self._stored & self._configured

    def _has_market(self, name: str) -> bool:
        return self._store.fact(name, "market", MARKET_KEY) is not None

    def keep(self, tx: Transaction, *, joining: Iterable[str] = ()) -> None:
        """In a transaction, before it moves the cursor: these join in, and whoever is not configured any more is left
        behind where the cursor is."""
        names = self.names | frozenset(joining)
        if names == self._stored:
            return
        cursor = self._store.cursor()
        if cursor is not None:
            for name in sorted((self._stored or frozenset()) - names):
                tx.add_touches(name, (), cursor.number)
        tx.set_meta(_META, json.dumps(sorted(names)))

    def kept(self, *, joined: Iterable[str] = ()) -> None:
        """That transaction is in the store."""
        self.names = self._stored = self.names | frozenset(joined)
