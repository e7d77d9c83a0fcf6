"""The intents that blocks can still change, in memory as in the store.

Kept are those that are not settled, and those settled in a block that is not final yet: a reorg can undo these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from keeper.core.ports import Store, Transaction
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import Block, BlockRef
from keeper.executor.accounts import load_statement
from keeper.executor.legs import legs_of
from keeper.executor.lifecycle import is_cancelling, is_open, is_spent, most_wei, nonce_of, orphan
from keeper.executor.reverts import is_lasting


class Journal:
    def __init__(self, store: Store, cooldown_blocks: int = 0, lasting_cooldown_s: float = 0.0) -> None:
        """How long a cause is left alone after a transaction for it was mined and reverted: so many blocks, or so many
        seconds where the reason is one that lasts."""
        self._store = store
        self._cooldown_blocks = cooldown_blocks
        self._lasting_cooldown_s = lasting_cooldown_s
        self._intents: dict[str, Intent] = {}
        self._hashes: dict[int, bytes] = {}
        self.version = 0  # another one after every change
        self._reusable: dict[bytes, int] = {}  # nonces by hash, of what was never mined and is no longer held

    def load(self, blocks: Sequence[Block], finalized: int, now: float) -> None:
        """Take over what the store holds. Intents mined in a block that is no longer among the stored headers are
        reorged: a crash between the revert of their block and of them changes nothing."""
        self.version += 1
        self._hashes = {block.number: block.hash for block in blocks}
        tip = max(self._hashes, default=finalized)
        kept = [intent for intent in self._store.each_intent() if self._is_kept(intent, finalized, tip, now)]
        self._intents = {intent.id: intent for intent in sorted(kept, key=lambda one: (one.created_at, one.id))}
        self._reusable = {}
        self._keep_hashes(intent for intent in self._store.each_intent() if _is_final(intent, finalized))
        orphaned = []
        for intent in self._intents.values():
            number, block_hash = intent.included_number, intent.included_hash
            if number is not None and block_hash is not None and not self.is_canonical(BlockRef(number, block_hash)):
                orphaned.append(orphan(intent, BlockRef(number - 1, b""), now))
        if orphaned:
            self.record(orphaned)

    # --- writing

    def record(self, intents: Iterable[Intent]) -> None:
        """Durable when this returns."""
        with self._store.transaction() as transaction:
            self.put(transaction, intents)

    def put(self, transaction: Transaction, intents: Iterable[Intent]) -> None:
        self.version += 1
        for intent in intents:
            transaction.put_intent(intent)
            self._intents[intent.id] = intent

    def hold(self, intents: Iterable[Intent]) -> None:
        """In memory only: whoever calls this stores them, or loads the journal again."""
        self.version += 1
        self._intents |= {intent.id: intent for intent in intents}

    # --- reading

    def __getitem__(self, intent_id: str) -> Intent:
        return self._intents[intent_id]

    def get(self, intent_id: str) -> Intent | None:
        return self._intents.get(intent_id)

    def __iter__(self) -> Iterator[Intent]:
        return iter(list(self._intents.values()))

    def hashes(self) -> frozenset[bytes]:
        """Of every transaction that was signed for them, and of what was given up long ago on a nonce that may still be
        used: to sign it again gives the same bytes, and these belong to one intent for good."""
        held = (attempt.tx_hash for intent in self._intents.values() for attempt in intent.attempts)
        return frozenset(held) | self._reusable.keys()

    def unspent(self) -> list[Intent]:
        """Those whose nonce no block showed used, by nonce."""
        return sorted((i for i in self._intents.values() if not is_spent(i)), key=nonce_of)

    def committed(self, asset: bytes) -> int:
        """Raw units of a token that liquidations on their way may be charged."""
        return sum(
            int(i.plan["repay_assets"])
            for i in self._intents.values()
            if i.kind == "liquidation" and i.debt_asset == asset and is_open(i) and not is_cancelling(i)
        )

    def committed_wei(self, changed: Iterable[Intent] = ()) -> int:
        """The most that all on their way can cost in native coin: gas, and tips to builders. changed: some of them, as
        they will be once recorded."""
        waiting = [i for i in (self._intents | {i.id: i for i in changed}).values() if is_open(i)]
        return sum(most_wei(i) for i in waiting) + sum(_tip_wei(i) for i in waiting if not is_cancelling(i))

    def committed_loss_wad(self) -> int:
        """What those on their way are expected to lose, in whole units of the base currency scaled by 1e18."""
        waiting = (i for i in self._intents.values() if is_open(i) and not is_cancelling(i))
        stored = (leg.plan["expected"] for i in waiting for leg in legs_of(i) if "expected" in leg.plan)
        return sum(load_statement(one).loss_wad for one in stored if one["profit"].startswith("-"))

    def blocked_causes(self, block: int, now: float) -> frozenset[str]:
        """Causes with a transaction on its way, or with one that was mined and reverted so recently."""
        legs = (leg for intent in self._intents.values() for leg in legs_of(intent))
        return frozenset(leg.cause for leg in legs if is_open(leg) or self._cools(leg, block, now))

    def _is_kept(self, intent: Intent, finalized: int, block: int, now: float) -> bool:
        """Whether a block can still change it, or its cause has to be left alone at this one."""
        return not _is_final(intent, finalized) or any(self._cools(leg, block, now) for leg in legs_of(intent))

    def _cools(self, intent: Intent, block: int, now: float) -> bool:
        number = intent.included_number
        if intent.status is not IntentStatus.FAILED or number is None:
            return False
        return block < number + self._cooldown_blocks or self._rests(intent, now)

    def _rests(self, intent: Intent, now: float) -> bool:
        """Whether it failed for a reason that lasts, too recently to try again. What arose within its block does not:
        simulations say for how long it is so, and whoever wants us out of the way could make it up for one block."""
        if intent.status is not IntentStatus.FAILED or not is_lasting(intent.reason or ""):
            return False
        if intent.realized.get("succeeded_before"):
            return False
        return now < float(intent.realized.get("at", intent.updated_at)) + self._lasting_cooldown_s

    # --- the chain

    def is_canonical(self, block: BlockRef) -> bool:
        """Below the known headers, which reach back to finality, nothing can be orphaned."""
        if not self._hashes or block.number < min(self._hashes):
            return True
        return self._hashes.get(block.number) == block.hash

    def hash_of(self, number: int) -> bytes | None:
        return self._hashes.get(number)

    def extend(self, block: BlockRef) -> None:
        self._hashes[block.number] = block.hash

    def cut(self, ancestor: BlockRef) -> None:
        self._hashes = {number: h for number, h in self._hashes.items() if number <= ancestor.number}

    def forget(self, finalized: int, block: int, now: float) -> None:
        """Let go of what is final, and of headers below; what has to be left alone at this block stays in any case."""
        kept = [one for one in self._intents.values() if self._is_kept(one, finalized, block, now)]
        self.version += 1
        before, self._intents = self._intents, {i.id: i for i in kept}
        if len(self._intents) < len(before):
            self._keep_hashes(i for i in before.values() if _is_final(i, finalized))
        self._hashes = {number: h for number, h in self._hashes.items() if number >= finalized}

    def _keep_hashes(self, final: Iterable[Intent]) -> None:
        """Of those that no transaction of ours settled, on nonces above those that ours used for good."""
        used = -1
        for intent in final:
            if intent.tx_hash is not None:
                used = max(used, nonce_of(intent))
            else:
                self._reusable |= {attempt.tx_hash: attempt.nonce for attempt in intent.attempts}
        self._reusable = {tx_hash: nonce for tx_hash, nonce in self._reusable.items() if nonce > used}


def _tip_wei(intent: Intent) -> int:
    return int(intent.plan.get("financing", {}).get("tip_wei", 0))


def _is_final(intent: Intent, finalized: int) -> bool:
    return intent.status.settled and (intent.included_number is None or intent.included_number <= finalized)
