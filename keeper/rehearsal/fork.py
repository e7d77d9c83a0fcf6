"""A fork of the configured chain: what is read there is the chain's, what is done there stays there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from keeper.core.errors import RpcRefused, StateUnavailable
from keeper.core.ports import Reads
from keeper.core.reads import drive
from keeper.core.stress import CodeSet, Override, SentAs
from keeper.core.types import Block, Call, CallResult, Skip
from keeper.core.units import mul_div_up
from keeper.executor.fees import CHANGE_DENOMINATOR, next_base_fee
from keeper.indexer.rpc.client import RpcClient
from keeper.indexer.rpc.pool import RpcSettings

_ETHER = 10**18
_GAS, _GAS_PER_BYTE = 1_000_000, 400  # dozens of calls fit one block, and a deployment does as well
CALL_TIMEOUT_S = 300.0
"""A first look at a distant chain's storage is slot by slot."""


class Fork:
    """One Anvil, whose blocks come only when asked for. The clock is the chain's: a block is `interval_s` after its
    parent. And so is the base fee: a liquidation lands at that of the forked block, however many blocks, which would
    lower it because they are all but empty, prepare it."""

    def __init__(self, rpc: RpcClient, tip: Block, interval_s: int) -> None:
        """tip: the forked block."""
        self.rpc = rpc
        self.tip = tip
        self.origin = tip.ref
        self.interval_s = interval_s
        fee = tip.base_fee_wei
        self._preparing_fee_wei = None if fee is None else mul_div_up(fee, CHANGE_DENOMINATOR, CHANGE_DENOMINATOR - 1)

    @classmethod
    async def connect(cls, url: str, chain_id: int) -> Self:
        rpc = await RpcClient.connect([url], chain_id, settings=RpcSettings(call_timeout_s=CALL_TIMEOUT_S))
        try:
            await rpc.request("evm_setAutomine", False)
            tip = await _block(rpc, "latest")
            earlier = await _block(rpc, max(tip.number - 8, 0))
        except BaseException:
            await rpc.close()
            raise
        blocks = max(tip.number - earlier.number, 1)
        return cls(rpc, tip, max(1, round((tip.timestamp - earlier.timestamp) / blocks)))

    # --- reading, at its tip

    async def read(self, reads: Reads[Any]) -> Any:
        return (await drive([reads], self.call))[0]

    async def call(self, calls: Sequence[Call]) -> Sequence[CallResult]:
        return await self.rpc.call_many(calls, self.tip.ref)

    # --- doing

    @asynccontextmanager
    async def rewound(self) -> AsyncIterator[None]:
        """Everything done inside is undone afterwards, blocks included."""
        tip, snapshot = self.tip, await self.rpc.request("evm_snapshot")
        try:
            yield
        finally:
            await self.rpc.request("evm_revert", snapshot)
            await self.rpc.request("anvil_dropAllTransactions")  # what was undone goes back to the pool
            self.tip = tip

    async def fund(self, account: bytes, ether: int = 10_000) -> None:
        await self.rpc.request("anvil_setBalance", _hex(account), hex(ether * _ETHER))

    async def apply(self, overrides: Sequence[Override]) -> Skip | None:
        """Make these changes in one block, the next. Why not, when one of them was refused."""
        sent = [await self._override(one) for one in overrides]
        await self.mine()
        for tx_hash in sent:
            if isinstance(tx_hash, Skip):
                return tx_hash
            if tx_hash is None:
                continue
            receipt = await self.rpc.request("eth_getTransactionReceipt", tx_hash)
            if receipt is None or int(receipt["status"], 16) != 1:
                outcome = "did not fit into a block" if receipt is None else "reverted"
                return Skip("override_failed", f"on the fork, a change that was to prepare the liquidation {outcome}")
        return None

    async def mine(self) -> Block:
        """A block that prepares another one."""
        return await self._mine(self._preparing_fee_wei)

    async def land(self) -> Block:
        """The block for which plans were made, at the base fee that every node can foresee for it."""
        tip = self.tip
        foreseen = None if tip.base_fee_wei is None else next_base_fee(tip.base_fee_wei, tip.gas_used, tip.gas_limit)
        return await self._mine(foreseen)

    async def _mine(self, base_fee_wei: int | None) -> Block:
        await self.rpc.request("evm_setNextBlockTimestamp", self.tip.timestamp + self.interval_s)
        if base_fee_wei is not None:  # a reverted Anvil would go on with the fee of what was undone
            await self.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(base_fee_wei))
        await self.rpc.request("anvil_mine", "0x1")
        self.tip = await _block(self.rpc, self.tip.number + 1)
        return self.tip

    async def _override(self, one: Override) -> str | Skip | None:
        """The hash of its transaction, if it is one."""
        if isinstance(one, SentAs):
            await self.fund(one.sender)
            await self.rpc.request("anvil_impersonateAccount", _hex(one.sender))
            call = one.call
            gas = hex(_GAS + _GAS_PER_BYTE * len(call.data))
            request = {"from": _hex(one.sender), "to": _hex(call.to), "data": _hex(call.data), "gas": gas}
            request |= {"value": hex(call.value_wei)}
            if self._preparing_fee_wei is not None:  # by itself Anvil would offer what its own next block would cost
                request |= {"maxFeePerGas": hex(self._preparing_fee_wei), "maxPriorityFeePerGas": "0x0"}
            try:
                return str(await self.rpc.request("eth_sendTransaction", request))
            except RpcRefused as error:
                return Skip("override_failed", f"the fork refuses to make the position liquidatable: {error}")
        if isinstance(one, CodeSet):
            await self.rpc.request("anvil_setCode", _hex(one.account), _hex(one.code))
        else:
            await self.rpc.request(
                "anvil_setStorageAt", _hex(one.account), hex(one.slot), _hex(one.value.rjust(32, b"\0"))
            )
        return None

    async def close(self) -> None:
        await self.rpc.close()


async def _block(rpc: RpcClient, which: int | str) -> Block:
    block = await rpc.block_by_number(which)
    if block is None:
        raise StateUnavailable(f"the fork has no block {which!r}; was its Anvil stopped?")
    return block


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
