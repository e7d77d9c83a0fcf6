"""Transactions from our wallet that are not ours: noticed, made room for, never fought.

Somebody else holds the key: a person with a wallet, or a second Keeper on another store. Whoever finds that out stands
by for a while after the last such transaction, so of two that share a key the one goes on that sent first, and the
other takes over once it has been silent for as long. Nonces that others use, or have waiting, are left to them.

    mined      a nonce that a block shows used, and that no transaction of ours used
    waiting    a nonce below the pool's count of us that none of ours is known to have: neither taken, nor bid for

An endpoint that counts wrong is not believed. A count far from the last one, or that takes back what was accounted for,
is not acted on until every block up to finality said the same, or a person resumes: two wrong ones in a row may agree.
One that takes back no more than what a stranger was accused of is believed with the next block, and the accusation
withdrawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from keeper.core.errors import StoreError
from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.executor.halt import Halt
from keeper.executor.lifecycle import Sight, nonce_of
from keeper.executor.switch import answers

log = structlog.get_logger(__name__)

SUBJECT = "foreign"
COUNT = "count"
_MOST_WAITING = 1_024  # nonces that a node is believed to have something waiting for, or to have mined at once


@dataclass(frozen=True, slots=True)
class _Seen:
    """below: every nonce below is accounted for. at: unix seconds of the last foreign transaction. accused: nonces for
    which that was said, until one of ours turns out to have used them."""

    below: int = 0
    at: float | None = None
    accused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unconfirmed:
    """A count that is not believed yet. since: the first block that said it; count: what the newest one did. at: unix
    seconds."""

    since: int
    count: int
    at: float


class Foreign:
    """yield_s: how long to stand by after the last one. resumed_at: when somebody asked to go on all the same."""

    def __init__(
        self,
        store: Store,
        halt: Halt,
        clock: Callable[[], float],
        *,
        yield_s: float,
        resumed_at: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._store = store
        self._halt = halt
        self._clock = clock
        self._yield_s = yield_s
        self._resumed_at = resumed_at
        self._seen = _Seen()
        self._known = False  # whether any nonce was accounted for yet
        self._open: set[int] = set()
        self._unconfirmed: _Unconfirmed | None = None
        self.waiting: frozenset[int] = frozenset()

    def load(self) -> None:
        """Become what the store says: below the newest nonce that a transaction of ours used, all is accounted for."""
        seen, ours = _read(self._store), self._used()
        self._known = bool(ours) or self._store.meta(SUBJECT) is not None
        self._seen = replace(seen, below=max(seen.below, max(ours, default=-1) + 1))
        self._open = set()
        self._unconfirmed = None
        self.waiting = frozenset()

    def is_far(self, nonce: int) -> bool:
        """Whether a block's count is so far above what is accounted for that nothing is concluded from it yet."""
        return self._known and nonce > self._seen.below + _MOST_WAITING

    def look(self, sight: Sight, intents: Collection[Intent], block: int, finalized: int = -1) -> bool:
        """Every block that is acted on: what of our account's nonces is not our doing. Returns whether the block's
        count of them may be acted on. finalized: number of the newest final block."""
        if sight.nonce is None:
            return False
        owned = {nonce_of(intent): intent for intent in sorted(intents, key=_counts)}
        mined = self._mined(sight.nonce, owned, block, finalized)
        if self._unconfirmed is not None:
            log.warning(
                "nonce_not_believed",
                nonce=sight.nonce,
                expected=self._seen.below,
                block=block,
                since_block=self._unconfirmed.since,
                finalized=finalized,
            )
            self._tell_unconfirmed(self._unconfirmed, sight.nonce, block)
            self._yield(())
            return False
        self._halt.set(COUNT, None)
        self._withdraw(sight.nonce)
        self._look_at_waiting(sight, sight.nonce, intents)
        strangers = self.waiting - set(owned)
        if mined:
            self._remember(sight.nonce, mined, block)
        elif strangers:  # on a nonce of ours it may be a node that does not find what it has
            self._seen = replace(self._seen, at=self._clock(), accused=())
        else:
            self._exonerate(owned)
        self._yield(strangers)
        return True

    def _tell_unconfirmed(self, doubt: _Unconfirmed, nonce: int, block: int) -> None:
        """People hear of it where it lasts: by itself it ends at finality only."""
        said = (
            f"since block {doubt.since} our account is said to have sent {nonce} transactions, where "
            f"{self._seen.below} are accounted for: believed once that block is final, or after `keeper resume`"
        )
        self._halt.set(COUNT, said if block > doubt.since else None)

    def _mined(self, nonce: int, owned: dict[int, Intent], block: int, finalized: int) -> list[int]:
        """Nonces used since the last look by somebody else, the last of them where there are many. One of ours whose
        receipt is not there yet stays open."""
        if not self._known:
            self._seen, self._known = replace(self._seen, below=nonce), True
            return []
        below = self._believed_from(nonce, owned, block, finalized)
        if below is None:
            return []
        found = []
        candidates = {*self._open, *range(max(below, nonce - _MOST_WAITING), nonce)}
        self._open = set()
        for used in sorted(number for number in candidates if number < nonce):
            intent = owned.get(used)
            if intent is None:
                found.append(used)  # or of ours and final, if a gap was caught up with
            elif intent.tx_hash is None:
                if intent.status is IntentStatus.ABANDONED:
                    found.append(used)
                else:
                    self._open.add(used)
        self._seen = replace(self._seen, below=nonce)
        return sorted(set(found) - self._used()) if found else []

    def _believed_from(self, nonce: int, owned: Collection[int], block: int, finalized: int) -> int | None:
        """Below what all is accounted for, given that a block counts so many; None while that is not believed."""
        said, self._unconfirmed = self._unconfirmed, None
        below = self._seen.below
        while nonce < below and below - 1 in owned:  # a reorg may have given these back
            below -= 1
        if below <= nonce <= below + _MOST_WAITING:
            return below
        if said is None or abs(said.count - nonce) > _MOST_WAITING:
            self._unconfirmed = _Unconfirmed(block, nonce, self._clock())
            return None
        resumed_at = self._resumed_at()
        is_sure = said.since <= finalized or (resumed_at is not None and answers(resumed_at, said.at, self._clock()))
        if block > said.since and (is_sure or self._only_takes_back(nonce, below, owned)):
            return min(below, nonce)
        self._unconfirmed = replace(said, count=nonce)
        return None

    def _only_takes_back(self, nonce: int, below: int, owned: Collection[int]) -> bool:
        """Whether what this count takes back are nonces that strangers were accused of, and our own."""
        explained = {*owned, *self._seen.accused}
        taken_back = range(max(nonce, below - _MOST_WAITING - 1), below)
        return nonce < below and all(number in explained for number in taken_back)

    def _withdraw(self, nonce: int) -> None:
        """Nobody used what is not used: an endpoint counted wrong, or a reorg took a stranger's transactions out. Those
        it still has waiting are found in the pool."""
        accused = self._seen.accused
        left = tuple(number for number in accused if number < nonce)
        if left != accused:
            self._seen = _Seen(self._seen.below, self._seen.at if left else None, left)
            self._put("withdrawn", {"nonces": [number for number in accused if number >= nonce]})
            log.warning("foreign_transactions_not_mined", nonces=accused[len(left) :], nonce=nonce)

    def _used(self) -> set[int]:
        """Nonces that a transaction of ours used, ever."""
        return {nonce_of(intent) for intent in self._store.each_intent() if intent.tx_hash is not None}

    def _look_at_waiting(self, sight: Sight, nonce: int, intents: Collection[Intent]) -> None:
        """Nonces that the pool has something for, which is none of ours as far as the node knows."""
        ours = {
            nonce_of(intent)
            for intent in intents
            if any(sight.known.get(attempt.tx_hash, True) for attempt in intent.attempts)
        }
        pending = min(sight.pending_nonce or nonce, nonce + _MOST_WAITING)
        self.waiting = frozenset(range(nonce, max(nonce, pending))) - ours

    def _remember(self, below: int, nonces: list[int], block: int) -> None:
        now = self._clock()
        fresh = self._seen.at is None
        self._seen = _Seen(below, now, tuple(nonces) if fresh else (*self._seen.accused, *nonces))
        self._put("mined", {"nonces": nonces, "block": block})
        log.error(
            "foreign_transactions_mined",
            nonces=nonces,
            block=block,
            remedy="let nobody else use this key; transactions are held back for a while",
        )

    def _exonerate(self, owned: Mapping[int, Intent]) -> None:
        """A node that hides a receipt for some blocks makes a transaction of ours look like somebody else's: once it is
        found, nobody is stood by for."""
        accused = self._seen.accused
        if not accused or any((one := owned.get(nonce)) is None or one.tx_hash is None for nonce in accused):
            return
        self._seen = _Seen(self._seen.below)
        self._put("withdrawn", {"nonces": accused})
        log.warning("foreign_transactions_were_ours", nonces=accused)

    def _yield(self, strangers: Collection[int]) -> None:
        """Stand by while others send, and for some time after."""
        at, resumed_at, now = self._seen.at, self._resumed_at(), self._clock()
        if at is not None and resumed_at is not None and answers(resumed_at, at, now):
            self._seen = _Seen(self._seen.below)  # what comes after the request counts
            self._put("resumed", {})
        elif at is not None and at > now:  # by a clock that was set back since
            at = now
            self._seen = replace(self._seen, at=at)
        if self._seen.at is None or at is None or now - at >= self._yield_s:
            self._halt.set(SUBJECT, None)
            return
        said = "something else sends transactions with our key"
        if strangers:
            said += f" (nonce {', '.join(map(str, sorted(strangers)[:5]))} waits to be mined)"
        self._halt.set(SUBJECT, f"{said}; standing by until it has been silent for {self._yield_s / 60:g} minutes")

    def _put(self, event: str, evidence: Mapping[str, Any]) -> None:
        with self._store.transaction() as tx:
            tx.set_meta(SUBJECT, json.dumps(asdict(self._seen)))
            tx.audit(SUBJECT, event, evidence, at=self._clock())


def _counts(intent: Intent) -> tuple[bool, bool]:
    """Of several on one nonce the one that was mined counts, else the one that still may be."""
    return intent.tx_hash is not None, intent.status is not IntentStatus.ABANDONED


def _read(store: Store) -> _Seen:
    stored = store.meta(SUBJECT)
    if stored is None:
        return _Seen()
    try:
        found = json.loads(stored)
        at = None if found["at"] is None else float(found["at"])
        return _Seen(int(found["below"]), at, tuple(map(int, found.get("accused", ()))))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"the stored state of foreign transactions is not readable ({error!r}); restore a backup"
        ) from error
