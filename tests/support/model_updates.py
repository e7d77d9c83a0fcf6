"""Price updates on the model chain: a transaction to FEED opens the positions that its data lists, a byte each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from keeper.core.errors import KeeperError, RpcRefused
from keeper.core.ports import Store
from keeper.core.types import Book, TxCall
from keeper.executor.ahead import Ahead
from keeper.executor.behind import Ways
from keeper.executor.executor import Executor
from keeper.executor.fees import Fees
from keeper.executor.ports import BehindRoute, Opportunity, PendingPrices, Venue
from keeper.executor.transaction import decode_signed, transaction_hash
from tests.support.model_chain import FEED, ModelChain, run
from tests.support.model_pipeline import SETTINGS, SIGNER, Pipeline

NODE = b"\x0e" * 20


@dataclass
class UpdatedChain(ModelChain):
    """updates: those that wait in the mempool. offers: by block, what a builder was offered for it."""

    updates: dict[bytes, Ahead] = field(default_factory=dict)
    offers: dict[int, list[tuple[Ahead, tuple[bytes, ...]]]] = field(default_factory=dict)

    def mine_update(self, ahead: Ahead, *, with_ours: bool) -> None:
        """A block with an update in front and, if a builder took an offer behind it, ours: whole, or not at all. Then
        what waits in the pool."""
        number = self.tip.block.number + 1
        self.updates.pop(ahead.tx_hash, None)
        assert ahead.call is not None
        self.mine(opened=sorted(set(ahead.call.data)), at_most=0 if with_ours else 1000)
        if not with_ours:
            return
        block = self.tip
        for offered, raws in self.offers.get(number, []):
            trial = replace(block.after, open=set(block.after.open))
            transactions = [(transaction_hash(raw), decode_signed(raw)) for raw in raws]
            nonces = [transaction.nonce for _, transaction in transactions]
            fits = nonces == list(range(trial.nonce, trial.nonce + len(nonces)))
            if offered.tx_hash != ahead.tx_hash or not fits:
                continue
            if all(run(transaction.call, trial) is None for _, transaction in transactions):
                block.mined += [self._execute(tx_hash, one, block.after) for tx_hash, one in transactions]
                self.pool = {h: t for h, t in self.pool.items() if t.nonce >= block.after.nonce}

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getTransactionByHash":
            waiting = self.updates.get(bytes.fromhex(params[0][2:]))
            if waiting is not None and waiting.call is not None and waiting.fees is not None:
                return {
                    "hash": params[0],
                    "from": "0x" + NODE.hex(),
                    "to": "0x" + FEED.hex(),
                    "input": "0x" + waiting.call.data.hex(),
                    "value": "0x0",
                    "gas": "0x9999",
                    "nonce": "0x0",
                    "gasPrice": hex(waiting.fees.max_fee_wei),
                    "maxFeePerGas": hex(waiting.fees.max_fee_wei),
                    "maxPriorityFeePerGas": hex(waiting.fees.tip_wei),
                }
        return super()._answer(method, params)


class Builder:
    """Takes offers, or says no."""

    name, ordered_by_fee = "builder", False

    def __init__(self, pipeline: BehindPipeline) -> None:
        self._pipeline = pipeline

    def takes(self, ahead: Ahead) -> bool:
        return ahead.fees is None

    async def submit_behind(self, ahead: Ahead, raws: Sequence[bytes], block: int) -> list[KeeperError | None]:
        self._pipeline.hand_over(raws)
        chain = self._pipeline.updated
        if (chain.faults.pop(0) if chain.faults else "honest") == "refused":
            return [RpcRefused("no", -32000)] * len(raws)
        chain.offers.setdefault(block, []).append((ahead, tuple(raws)))
        self._pipeline.handed_over()
        return [None] * len(raws)


class BehindPipeline(Pipeline):
    """Follows updates: those without fees by the builder, the others through the pool."""

    def __init__(self) -> None:
        super().__init__(replace(SETTINGS, pending_prices=PendingPrices.SEND))
        self.chain = self.updated = UpdatedChain(SIGNER.address)
        self.executor = self._executor()
        self._numbers = 0

    def update(self, opens: Sequence[int], *, public: bool) -> Ahead:
        """One more that waits."""
        self._numbers += 1
        ahead = Ahead(
            self._numbers.to_bytes(32, "big"),
            sender=NODE,
            call=TxCall(FEED, bytes(opens)),
            gas_limit=10**6,
            raw=None if public else b"raw",
            fees=Fees(10**12, 10**10) if public else None,
        )
        if public:
            self.updated.updates[ahead.tx_hash] = ahead
        return ahead

    def foresee(self, ahead: Ahead) -> None:
        """Act behind an update at the tip."""
        tip = self.chain.tip
        assert ahead.call is not None
        venue = self.venue(tip.block)
        opens = {number.to_bytes(20, "big"): number for number in {*tip.after.open, *ahead.call.data}}
        book: Book[Any, Any] = Book(market=venue.book.market, prices=venue.book.prices, positions=opens)
        foreseen = Venue(venue.adapter, book)
        found = [Opportunity(foreseen, key) for key in opens]
        acting = self.executor.act_behind(ahead, tip.block, found, [foreseen], tip.block.timestamp + 12)
        self.loop.run_until_complete(acting)

    def hand_over(self, raws: Sequence[bytes]) -> None:
        journalled = {a.raw for i in self.store.journal.values() for a in i.attempts}
        self.unjournalled += [raw for raw in raws if raw not in journalled]
        self._maybe_crash("before submission")

    def handed_over(self) -> None:
        self._maybe_crash("after submission")

    def _executor(self) -> Executor:
        store, ways = cast(Store, self.store), Ways([cast(BehindRoute, Builder(self))], self)
        return Executor(store, self.chain, self, self.settings, self._now, signer=SIGNER, ways=ways)

    def _now(self) -> float:
        return self.clock
