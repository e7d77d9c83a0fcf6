"""Transactions that say something rather than earn: asked for by a channel, sent with the executor's own.

    channel ─▶ post ─▶ simulated ─▶ waits for the next block ─▶ act: on the nonces after the liquidations'
                  ◀── confirmed, refused, or still on its way when patience ends

They are intents like any other: journalled before they leave, replaced when stuck, reorged and confirmed. Of a cause
one at most is on its way, and the contract itself takes each once. Which are still worth sending after a reorg is a
matter of truth: what was judged in a block that is no longer there, and is no longer believed either, is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from keeper.core.errors import KeeperError, NoticeDelayed, NoticeObsolete, RpcRefused
from keeper.core.ports import Store
from keeper.core.records import DeliveryStatus, Intent, IntentStatus
from keeper.core.types import BlockRef, Posting
from keeper.executor.compose import Draft
from keeper.executor.fees import Fees
from keeper.executor.journal import Journal
from keeper.executor.lifecycle import is_cancelling, is_spent
from keeper.executor.ports import Rpc, Settings
from keeper.executor.simulate import call_object
from keeper.executor.upkeep import Judgement

KIND = "notice"
PATIENCE_S = 55.0
HOUR_S, DAY_S = 3_600.0, 86_400.0

log = structlog.get_logger(__name__)


class Postings:
    """`post` runs beside the blocks; everything else is called by the executor, block by block."""

    def __init__(
        self, store: Store, journal: Journal, rpc: Rpc, account: bytes, settings: Settings, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._journal = journal
        self._rpc = rpc
        self._account = account
        self._settings = settings
        self._clock = clock
        self._wanted: dict[str, Posting] = {}
        self._made: dict[str, Intent] = {}
        self._news = asyncio.Event()
        self._waits_for = "the next block"
        self._untrue: dict[str, str] = {}
        # In the first block acted on after a revert readers have not been told yet what is true now.
        self._in_doubt = True
        self._doubted_at: int | None = None

    # --- beside the blocks

    async def post(self, posting: Posting) -> None:
        """Return once it is confirmed, by us or by anybody.

        Raises NoticeDelayed when it is not yet (perhaps_seen: a transaction of it may be mined), NoticeObsolete when it
        was given up because it is no longer true.
        """
        earlier = [intent for intent in self._of(posting.cause) if intent.status is not IntentStatus.CONFIRMED]
        failed_before = {intent.id for intent in earlier if intent.status.settled}
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._post(posting, failed_before)
        except TimeoutError:
            sent = any(not intent.status.settled for intent in self._of(posting.cause))
            state = "its transaction is not confirmed yet" if sent else f"it waits for {self._waits_for}"
            raise NoticeDelayed(f"{posting.cause}: {state}", perhaps_seen=sent) from None
        finally:
            self._wanted.pop(posting.cause, None)
            self._untrue.pop(posting.cause, None)

    async def _post(self, posting: Posting, failed_before: set[str]) -> None:
        while True:
            news = self._news
            made = [intent for intent in self._of(posting.cause) if intent.id not in failed_before]
            if any(intent.status is IntentStatus.CONFIRMED for intent in made):
                return
            if given_up := next((i for i in made if i.status is IntentStatus.ABANDONED and is_cancelling(i)), None):
                raise NoticeObsolete(given_up.reason or "given up")
            if posting.cause in self._untrue:
                raise NoticeObsolete(self._untrue[posting.cause])
            if broken := next((intent for intent in made if intent.status.settled), None):
                raise NoticeDelayed(f"{posting.cause}: {broken.reason or broken.status.value}", perhaps_seen=False)
            if not made and posting.cause not in self._wanted:
                if await self._is_done(posting):
                    return
                self._wanted[posting.cause] = posting
                continue
            await news.wait()

    async def _is_done(self, posting: Posting) -> bool:
        """Whether it is on chain already. Raises NoticeDelayed when it would revert, or nobody knows."""
        call = {**call_object("0x" + self._account.hex(), posting.call), "gas": hex(posting.gas_limit)}
        (answer,) = await self._rpc.batch([("eth_call", (call, "latest"))])
        if not isinstance(answer, KeeperError):
            return False
        if isinstance(answer, RpcRefused) and posting.done_when in _reason(answer):
            return True
        raise NoticeDelayed(f"{posting.cause} would fail: {_reason(answer)}", perhaps_seen=False)

    def _of(self, cause: str) -> list[Intent]:
        return [intent for intent in self._journal if intent.cause == cause]

    # --- block by block

    def adopt(self) -> None:
        """The journal was loaded: recall what was spent."""
        since = self._clock() - DAY_S
        self._made = {i.id: i for i in self._store.each_intent() if i.kind == KIND and i.created_at > since}
        self.reverted()

    def reverted(self) -> None:
        self._in_doubt, self._doubted_at = True, None

    def begin(self, block_number: int) -> None:
        """A block at the tip is about to be acted on."""
        if self._in_doubt and self._doubted_at is None:
            self._doubted_at = block_number
        elif block_number != self._doubted_at:
            self._in_doubt = False

    def learned(self) -> None:
        """A block was observed or acted on: whoever waits looks again."""
        self._news.set()
        self._news = asyncio.Event()

    def due(self, fees: Fees | None) -> list[Draft]:
        """What to send now, within the limits. fees: what a new transaction would pay."""
        if not self._wanted:
            return []
        if fees is None:
            self._hold_back("gas below executor.max_fee_gwei")
            return []
        now = self._clock()
        self._made |= {intent.id: intent for intent in self._journal if intent.kind == KIND}
        self._made = {i.id: i for i in self._made.values() if i.created_at > now - DAY_S}
        last_hour = sum(intent.created_at > now - HOUR_S for intent in self._made.values())
        spent_wei = sum(_cost_wei(intent) for intent in self._made.values())
        taken = {intent.cause for intent in self._journal if not intent.status.settled}
        drafts: list[Draft] = []
        for posting in self._wanted.values():
            if posting.cause in taken or not self._is_wanted(posting.cause):
                continue
            cost_wei = posting.gas_limit * fees.max_fee_wei
            if last_hour >= self._settings.posts_per_hour:
                self._hold_back(f"room within its {self._settings.posts_per_hour} postings an hour")
                break
            if spent_wei + cost_wei > self._settings.post_spend_wei_per_day:
                self._hold_back(f"room within its {self._settings.post_spend_wei_per_day} wei a day")
                break
            last_hour, spent_wei = last_hour + 1, spent_wei + cost_wei
            drafts.append(
                Draft(KIND, posting.cause, posting.call, posting.gas_limit, "", posting.position, posting.account)
            )
        return drafts

    def payable(
        self, said: list[Draft], before: Sequence[Draft], fees: Fees | None, native_wei: int | None
    ) -> list[Draft]:
        """Of what is due, from the first, what the wallet can pay for at its most, after what is on its way and what
        comes before: a transaction without money would hold up everything behind it.

        native_wei: what the wallet holds; None when that is not known.
        """
        if fees is None:
            return []
        free_wei = (native_wei or 0) - self._journal.committed_wei()
        free_wei -= sum(draft.most_wei(fees) for draft in before)
        payable = []
        for draft in said:
            free_wei -= draft.most_wei(fees)
            if free_wei < 0:
                self._hold_back("native coin in the wallet")
                break
            payable.append(draft)
        return payable

    def judge(self, waiting: Sequence[Intent]) -> Mapping[str, Judgement]:
        """Whether what an earlier block left on its way is still worth saying."""
        said = (intent for intent in waiting if intent.kind == KIND and not is_cancelling(intent))
        return {intent.id: self._truth(intent.cause) for intent in said}

    def _is_wanted(self, cause: str) -> bool:
        truth = self._truth(cause)
        if truth.wanted is False:
            self._untrue[cause] = truth.reason
        return truth.wanted is True

    def _truth(self, cause: str) -> Judgement:
        """cause: "notice:<channel>:<notice id>"."""
        _, channel, notice_id = cause.split(":", 2)
        delivery = self._store.delivery(notice_id, channel)
        if delivery is None or delivery.status is DeliveryStatus.DROPPED:
            return Judgement(wanted=False, reason="its notice was dropped")
        notice = delivery.notice
        if self._journal.is_canonical(BlockRef(notice.block_number, notice.block_hash)):
            return Judgement(wanted=True)
        if self._in_doubt:
            return Judgement(wanted=None)
        believed = self._store.told().get(notice.position)
        if believed is None or believed.episode != notice.episode or believed.event.closes != notice.event.closes:
            return Judgement(wanted=False, reason="a reorg took away its reason")
        return Judgement(wanted=True)

    def _hold_back(self, waits_for: str) -> None:
        if waits_for != self._waits_for:
            log.warning("postings_held_back", waiting=len(self._wanted), limit=waits_for)
        self._waits_for = waits_for


def _cost_wei(intent: Intent) -> int:
    """What it cost, or the most that it may."""
    if is_spent(intent) and intent.gas_cost_wei is not None:
        return intent.gas_cost_wei
    if intent.status.settled:
        return 0
    last = intent.attempts[-1]
    return last.gas_limit * last.max_fee_wei


def _reason(error: KeeperError) -> str:
    """With what a contract said, where its revert data tell (Error(string))."""
    data = getattr(error, "data", None) or b""
    if data[:4] == bytes.fromhex("08c379a0") and len(data) >= 68:
        length = int.from_bytes(data[36:68], "big")
        return data[68 : 68 + length].decode("utf-8", "replace")
    return str(error)
