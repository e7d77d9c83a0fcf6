"""Learning from blocks what became of our transactions and what the wallet holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog

from keeper.core.ports import Transaction
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import BlockRef, CallResult
from keeper.executor.ahead import offered_until, update_of
from keeper.executor.journal import Journal
from keeper.executor.legs import legs_of
from keeper.executor.lifecycle import is_contradictory, is_open, is_spent, nonce_of, observe, orphan
from keeper.executor.ports import Settings, Venue
from keeper.executor.questions import Answers, Questions, ask
from keeper.executor.settle import settle

log = structlog.get_logger(__name__)


class Watch:
    """answers: of the last block observed, None before the first and after a revert.
    A transaction that was found reverted stays unexplained until somebody takes it to ask the node why."""

    def __init__(
        self,
        journal: Journal,
        account: bytes,
        settings: Settings,
        clock: Callable[[], float],
        is_far: Callable[[int], bool] = lambda nonce: False,
        has_signed: Callable[[bytes], bool] = lambda raw: True,
    ) -> None:
        """is_far: whether a count of our account's transactions is too high to conclude anything from. has_signed:
        whether a raw transaction is our account's, which is asked where that count contradicts its receipt."""
        self._journal = journal
        self._account = account
        self._settings = settings
        self._clock = clock
        self._is_far = is_far
        self._has_signed = has_signed
        self._decimals: Mapping[bytes, int] = {}
        self.answers: Answers | None = None
        self._unexplained: set[str] = set()
        self._markets: list[tuple[Any, Any]] = []
        self._approvals: list[tuple[bytes, bytes]] = []

    def questions(self, block: BlockRef, venues: Iterable[Venue]) -> Questions:
        markets = [(venue.adapter, venue.book.market) for venue in venues if venue.book.market is not None]
        if not _are_same(markets, self._markets):
            self._markets = markets
            self._approvals = [
                (token, spender)
                for adapter, market in markets
                for token in adapter.wallet_tokens(market)
                for spender in adapter.spenders(market)
            ]
        approvals = self._approvals
        tokens = dict.fromkeys(token for token, _ in approvals)
        held = (leg.collateral_asset for intent in self._journal for leg in legs_of(intent))
        tokens.update(dict.fromkeys(asset for asset in held if asset is not None))
        return ask(
            block,
            self._account,
            percentile=self._settings.tip_percentile,
            approvals=approvals,
            unknown_decimals=[token for token in tokens if token not in self._decimals],
            receipts=[a.tx_hash for i in self._journal if i.tx_hash is None for a in i.attempts],
            presence=[a.tx_hash for i in self._journal if is_open(i) for a in i.attempts],
            updates=[update for i in self._journal.unspent() if (update := update_of(i)) and offered_until(i) is None],
        )

    def observe(
        self,
        questions: Questions,
        results: Sequence[CallResult],
        answers: Sequence[Any],
        venues: Iterable[Venue],
        finalized: int,
    ) -> list[Intent]:
        """Bring every intent to the state after `questions.block`. Returns those that changed, for the transaction that
        commits that block."""
        now = self._clock()
        block = questions.block
        self.answers = questions.read(results, answers, self._decimals)
        self._decimals = self.answers.wallet.decimals
        self._journal.extend(block)
        sight = self.answers.sight
        if sight.nonce is not None and self._is_far(sight.nonce):
            sight = replace(sight, nonce=None)
        by_name = {venue.name: venue for venue in venues}
        changed = []
        for intent in self._journal:
            after = observe(
                intent,
                sight,
                is_canonical=self._journal.is_canonical,
                confirmations=self._settings.confirmations,
                finalized=finalized,
                now=now,
                is_counted=not is_contradictory(intent, sight) or self._has_signed(intent.attempts[0].raw),
            )
            if after is not intent:
                changed.append(self._account_for(intent, after, by_name))
        self._journal.hold(changed)
        self._journal.forget(finalized, block.number, now)
        return changed

    def reverted(self, transaction: Transaction, ancestor: BlockRef) -> None:
        """Take back what blocks above the ancestor said, in the transaction that reverts them."""
        now = self._clock()
        self.answers = None
        self._journal.cut(ancestor)
        changed = []
        for intent in self._journal:
            after = orphan(intent, ancestor, now)
            if after is not intent:
                self._unexplained.discard(intent.id)
                log.warning("transaction_reorged", **_facts(intent), orphaned_block=intent.included_number)
                changed.append(after)
        self._journal.put(transaction, changed)

    def unexplained(self) -> Collection[str]:
        """Ids of intents that were found reverted and not taken yet."""
        return self._unexplained

    def take_unexplained(self) -> list[Intent]:
        """Each reverted intent once."""
        taken = [self._journal.get(intent_id) for intent_id in sorted(self._unexplained)]
        self._unexplained.clear()
        return [intent for intent in taken if intent is not None]

    def _account_for(self, before: Intent, after: Intent, venues: Mapping[str, Venue]) -> Intent:
        if self.answers is not None and after.tx_hash is not None and before.tx_hash is None:
            receipt = self.answers.sight.receipts[after.tx_hash]
            after = settle(after, receipt, venues, self._decimals, self._settings.native_asset, self._clock())
            if after.status is IntentStatus.FAILED:
                self._unexplained.add(after.id)
        if before.tx_hash is not None and after.tx_hash is None:
            self._unexplained.discard(after.id)
            log.warning("inclusion_disproven", **_facts(before), block=before.included_number, reason=after.reason)
        if after.status is not before.status or is_spent(after) is not is_spent(before):
            _tell(after)
        return after


def _are_same(markets: Sequence[tuple[Any, Any]], others: Sequence[tuple[Any, Any]]) -> bool:
    """The very same objects: to compare the values of large markets would take longer than what it spares."""
    return len(markets) == len(others) and all(
        a is c and b is d for (a, b), (c, d) in zip(markets, others, strict=True)
    )


def _tell(intent: Intent) -> None:
    level = log.warning if intent.status in (IntentStatus.FAILED, IntentStatus.ABANDONED) else log.info
    level(
        f"{intent.kind}_{intent.status.value}",
        **_facts(intent),
        block=intent.included_number,
        repaid=intent.repaid_assets,
        seized=intent.seized_assets,
        profit=intent.profit_realized,
        gas_cost_wei=intent.gas_cost_wei,
        reason=intent.reason,
    )


def _facts(intent: Intent) -> Mapping[str, Any]:
    return {
        "intent": intent.id,
        "cause": intent.cause,
        "nonce": nonce_of(intent),
        "tx_hash": None if intent.tx_hash is None else "0x" + intent.tx_hash.hex(),
    }
