"""The only part that holds a key: what is ours to sign at a block, on which nonces, and never outside the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from keeper.core.policy import SigningPolicy
from keeper.core.ports import Signer
from keeper.core.records import Intent
from keeper.core.types import BlockRef
from keeper.executor.compose import Composer, Draft, draft_filler
from keeper.executor.fees import Fees
from keeper.executor.foreign import Foreign
from keeper.executor.guard import Guard
from keeper.executor.journal import Journal
from keeper.executor.lifecycle import nonce_of
from keeper.executor.nonces import allocate, gaps
from keeper.executor.policy import policy_of
from keeper.executor.ports import Settings, Venue

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Signatory:
    """guard: stopped by whatever the policy objects to."""

    signer: Signer
    settings: Settings
    journal: Journal
    foreign: Foreign
    guard: Guard | None
    clock: Callable[[], float]

    @property
    def account(self) -> bytes:
        return self.signer.address

    def composer(self, venues: Sequence[Venue], orders: Sequence[Draft] = ()) -> Composer:
        """Signs what is ours to sign at this block."""
        ordered = [draft.call for draft in orders]
        return Composer(self.signer, policy_of(self.settings, self.account, venues, ordered))

    def permitted(self, policy: SigningPolicy, drafts: list[Draft], block: int) -> list[Draft]:
        """The drafts; none when one of them is outside the policy: what else was decided is not to be trusted either,
        and what comes behind it may need it."""
        objections = [(draft, policy.objection(draft.call)) for draft in drafts]
        refused = [(draft, reason) for draft, reason in objections if reason is not None]
        for draft, reason in refused:
            log.error("signature_refused", cause=draft.cause, reason=reason, block=block)
            if self.guard is not None:
                self.guard.stop("signing_policy", f"{draft.cause}: {reason}", block)
        return [] if refused else drafts

    def compose(
        self, composer: Composer, drafts: list[Draft], nonce: int, fees: Fees | None, judged: BlockRef
    ) -> list[Intent]:
        """Drafts on the lowest free nonces; what then still misses below a waiting nonce becomes an empty transfer."""
        if fees is None:
            return []
        drafts = self.permitted(composer.policy, drafts, judged.number)
        owned = [nonce_of(intent) for intent in self.journal.unspent()]
        most = len(drafts) + self.settings.max_pending
        missing = gaps(nonce, owned, self.foreign.waiting, most=most)[len(drafts) :]
        if missing:
            log.error("nonces_missing", nonces=missing, remedy="filling them; let nobody else use this key")
        drafts = [*drafts, *(draft_filler(self.account, n) for n in missing)]
        nonces = allocate(nonce, owned, len(drafts), self.foreign.waiting)
        now = self.clock()
        known = self.journal.hashes()
        return [
            composer.intent(draft, number, draft.fees or fees, judged, now, known=known)
            for draft, number in zip(drafts, nonces, strict=True)
        ]

    def compose_behind(
        self, drafts: list[Draft], nonce: int, fees: Fees, judged: BlockRef, venues: Sequence[Venue]
    ) -> list[Intent]:
        return self.compose(self.composer(venues), drafts, nonce, fees, judged)
