"""Carrying out orders until the chain says that nothing is missing.

Whatever is missing is read from the chain at every block, and whatever is on its way from the journal; only the
difference is sent. So it does not matter where an earlier run was interrupted: what it had signed is durable and is
sent again as it was, what it had not is made now, and nothing is ever done twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from keeper.core.errors import ConfigError, OrderFailed, RetryableError, StateUnavailable
from keeper.core.ports import Store
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import Block, BlockRef, Skip, TxCall
from keeper.deployment.bill import Bill, Line, readable
from keeper.errand import Errand
from keeper.executor.compose import draft_order
from keeper.executor.deployment import Order
from keeper.executor.executor import Executor
from keeper.executor.fees import choose_fees, next_base_fee
from keeper.executor.legs import LIQUIDATES
from keeper.executor.lifecycle import is_spent, nonce_of, succeeded
from keeper.executor.offer import padded_gas
from keeper.executor.ports import Venue
from keeper.executor.simulate import Simulator, Verdict
from keeper.indexer.rpc.client import RpcClient
from keeper.wire import House

log = structlog.get_logger(__name__)

Missing = Callable[[BlockRef], Awaitable[Sequence[Order]]]
"""What is missing at a block, in the order in which it must be sent."""

Say = Callable[[str], None]
_FORECAST_BLOCKS = 6


class Counter:
    """house: acting. venues: by whose prices gas is accounted for.

    `open`, then `bill` whatever is missing, `agree` to it, then `carry_out`.
    """

    def __init__(
        self,
        house: House,
        rpc: RpcClient,
        store: Store,
        account: bytes,
        missing: Missing,
        say: Say,
        venues: Sequence[Venue] = (),
    ) -> None:
        self._house = house
        self._rpc = rpc
        self._store = store
        self._account = account
        self._missing = missing
        self._say = say
        self._executor: Executor = house.acting.executor(rpc, store)
        self._simulator = Simulator(rpc, account)
        self._errand = Errand(self._executor, store, rpc, venues)
        self._began_at = 0.0
        self._names: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._agreed: set[TxCall] = set()

    async def open(self) -> None:
        """Look at what is on its way. Raises ConfigError when something is that this must not come in the way of."""
        self._began_at = time.time()
        await self._errand.begin(await self._newest())
        unspent = [intent for intent in self._store.intents() if not is_spent(intent)]
        theirs = [intent for intent in unspent if intent.kind in LIQUIDATES]
        if theirs:
            raise ConfigError(
                f"{len(theirs)} liquidations are on their way (nonces {', '.join(str(nonce_of(i)) for i in theirs)}); "
                "run `keeper run` until they are settled, then this"
            )
        if self._errand.tip.base_fee_wei is None:
            raise ConfigError("this chain has no base fee (EIP-1559), which every transaction of ours needs")
        foreign = await self._nonce("pending") - await self._nonce("latest") - len(unspent)
        if foreign > 0:
            raise ConfigError(
                f"{foreign} transactions of 0x{self._account.hex()} are waiting that this database does not know; "
                "does another daemon use this key? Stop it, or wait until they are mined"
            )

    async def _nonce(self, tag: str) -> int:
        return int(str(await self._rpc.request("eth_getTransactionCount", "0x" + self._account.hex(), tag)), 16)

    async def close(self) -> None:
        await self._executor.close()

    # --- before

    async def missing(self) -> Sequence[Order]:
        orders = await self._missing(self._errand.tip.ref)
        self._names.update((order.cause, order.what) for order in orders)
        return orders

    def on_their_way(self) -> frozenset[str]:
        """Causes of what an earlier run sent, and no block has yet."""
        return frozenset(cause for cause, intent in self._orders().items() if not is_spent(intent))

    async def bill(self, orders: Sequence[Order]) -> Bill:
        """What these would cost, one after the other, in the next block. Raises OrderFailed for one that would revert,
        and ConfigError when gas is dearer than is allowed."""
        tip, executor = self._errand.tip, self._house.config.executor
        base_fee = next_base_fee(tip.base_fee_wei or 0, tip.gas_used, tip.gas_limit)
        fees = choose_fees(
            base_fee, executor.min_tip_wei, forecast_blocks=_FORECAST_BLOCKS, cap_wei=executor.max_fee_wei
        )
        if isinstance(fees, Skip):
            raise ConfigError(f"gas is too expensive: {fees.detail}")
        verdicts, _ = await self._simulator.run([order.call for order in orders], tip.ref, tip.timestamp + 1)
        explain = self._house.adapters()[0].explain_revert
        lines = [_line(order, verdict, explain) for order, verdict in zip(orders, verdicts, strict=True)]
        return Bill(tuple(lines), base_fee + fees.tip_wei, fees.max_fee_wei)

    # --- doing

    def agree(self, orders: Sequence[Order]) -> None:
        """Let these be signed, and nothing else: what a node says is missing later was shown to nobody."""
        self._agreed.update(order.call for order in orders)

    async def carry_out(self) -> None:
        """Returns when everything that was agreed to is mined. Raises OrderFailed when something was mined in vain.

        Waits for as long as it takes: what is signed is durable, and whoever interrupts this can run it again.
        """
        while not await self._step():
            await self._next_block()

    async def _step(self) -> bool:
        """What the tip asks for; whether nothing is missing any more."""
        try:
            done = self._done()
            agreed = [order for order in await self.missing() if order.call in self._agreed]
            orders = [order for order in agreed if order.cause not in done or order.alone]
            if orders and orders[0].cause in done:
                raise OrderFailed(f"{orders[0].what}: mined, but it is not there; look at the transaction")
            waiting = self.on_their_way()
            ready = [order for order in orders if order.cause not in waiting]
            if orders and orders[0].alone:
                ready = [order for order in ready if order is orders[0]]
            self._tell()
            if not orders and not waiting:
                return True
            lines = await self._lines(ready[: self._house.config.executor.max_pending])
            drafts = [draft_order(line.order.cause, line.order.call, line.gas_limit) for line in lines]
            await self._errand.act(self._errand.tip.timestamp + 1, orders=drafts)
            self._tell()
        except RetryableError as error:
            log.warning("orders_postponed", block=self._errand.tip.number, error=str(error))
        return False

    async def _lines(self, orders: Sequence[Order]) -> Sequence[Line]:
        return (await self.bill(orders)).lines if orders else ()

    def _orders(self) -> Mapping[str, Intent]:
        """The newest of every cause."""
        return {intent.cause: intent for intent in self._store.intents() if intent.kind == "order"}

    def _done(self) -> frozenset[str]:
        """What this run has had mined. Raises OrderFailed for what was mined in vain."""
        recent = [
            intent for intent in self._orders().values() if intent.updated_at >= self._began_at and is_spent(intent)
        ]
        for intent in recent:
            if intent.status is IntentStatus.FAILED:
                raise OrderFailed(
                    f"{intent.cause} was mined in block {intent.included_number} and reverted ({intent.reason}), "
                    f"transaction 0x{(intent.tx_hash or b'').hex()}; look at it there, then run this again"
                )
        return frozenset(intent.cause for intent in recent if succeeded(intent))

    def _tell(self) -> None:
        """Every change of what is on its way, once."""
        for cause, intent in sorted(self._orders().items(), key=lambda one: nonce_of(one[1])):
            if intent.updated_at < self._began_at:
                continue
            last = intent.attempts[-1]
            state = (
                f"mined in block {intent.included_number}" if is_spent(intent) else f"sent as 0x{last.tx_hash.hex()}"
            )
            if self._told.get(cause) != state:
                self._told[cause] = state
                self._say(f"{readable(self._names.get(cause, cause))}: {state}")

    # --- blocks

    async def _newest(self) -> Block:
        head = await self._rpc.block_by_number("latest")
        if head is None:
            raise StateUnavailable("the node has no latest block; it may still be starting")
        return head

    async def _next_block(self) -> None:
        pause_s = self._house.config.chain.poll_interval_s
        while True:
            try:
                head = await self._newest()
                if head.hash != self._errand.tip.hash:
                    await self._errand.arrive(head)
                    return
            except RetryableError as error:
                log.warning("block_not_read", error=str(error))
            await asyncio.sleep(pause_s)


def _line(order: Order, verdict: Verdict | None, explain: Callable[[bytes], str]) -> Line:
    if verdict is not None and not verdict.succeeded:
        raise OrderFailed(f"{order.what}: it would revert ({explain(verdict.revert)}); nothing was sent for it")
    gas = order.gas if verdict is None or verdict.gas_used is None else verdict.gas_used
    return Line(order, gas, padded_gas(gas))
