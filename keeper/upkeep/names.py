"""What accounts are called: configured labels, and ENS names that the store remembers for a while.

Asked when a notice is written, which may be on the way of a block, so it only reads what is there; looking names up is
a job of its own, at the edge. What was looked up is kept with its time, the absence of a name too, and shown until it
expires: a name can be sold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from keeper.core.ports import Store
from keeper.core.reads import Execute, drive
from keeper.upkeep import ens

log = structlog.get_logger(__name__)

AT_ONCE = 100
"""Accounts looked up in one go: four multicalls."""


@dataclass(frozen=True, slots=True)
class Names:
    """registry: None where there is no ENS. clock: unix seconds."""

    labels: Mapping[bytes, str]
    store: Store
    registry: bytes | None
    keep_s: float
    clock: Callable[[], float]

    def of(self, account: bytes) -> str | None:
        return self.labels.get(account) or (self._remembered(account) if self.registry is not None else None)

    def wanting(self, accounts: Iterable[bytes]) -> list[bytes]:
        """Those of these accounts that should be looked up now: unlabelled, unknown, or half expired."""
        if self.registry is None:
            return []
        freshest = self.clock() - self.keep_s / 2
        found = dict.fromkeys(account for account in accounts if account not in self.labels)
        return [account for account in found if (self._kept(account) or (0.0, None))[0] < freshest][:AT_ONCE]

    async def look_up(self, accounts: list[bytes], execute: Execute) -> None:
        """Ask the registry for these accounts and remember the answers. Raises RetryableError when nobody answered."""
        if self.registry is None or not accounts:
            return
        (found,) = await drive([ens.names(self.registry, accounts)], execute)
        now = self.clock()
        with self.store.transaction() as tx:
            for account, name in found.items():
                tx.set_meta(_key(account), json.dumps({"at": now, "name": name}))
        log.info("names_looked_up", accounts=len(accounts), named=sum(name is not None for name in found.values()))

    def _remembered(self, account: bytes) -> str | None:
        at, name = self._kept(account) or (0.0, None)
        return name if self.clock() - at < self.keep_s else None

    def _kept(self, account: bytes) -> tuple[float, str | None] | None:
        text = self.store.meta(_key(account))
        if text is None:
            return None
        row = json.loads(text)
        return float(row["at"]), row["name"]


def _key(account: bytes) -> str:
    return f"ens:{account.hex()}"
