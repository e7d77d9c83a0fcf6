"""What a key may sign, asked at the last line before the signature. Pure.

Everything before it decides what would be good to send; this knows nothing of profit and only says what can never be
ours: another chain, a contract or function that nobody configured, coin sent along, an allowance for a stranger, a fee
above the cap. It stands against defects of our own, and against a journal that somebody else wrote into.
"""

from __future__ import annotations

from dataclasses import dataclass

from keeper.core.errors import SignatureRefused
from keeper.core.types import TxCall, UnsignedTransaction

APPROVE = bytes.fromhex("095ea7b3")  # approve(address,uint256)

Function = tuple[bytes, bytes]
"""A contract and the selector of one of its functions."""

_APPROVAL_SIZE = 4 + 32 + 32
_NO_PADDING = bytes(12)
_TIP = slice(4 + 32, 4 + 64)


@dataclass(frozen=True, slots=True)
class SigningPolicy:
    """An empty call of the account itself, which gives up a nonce, and beyond that nothing but what is named here.

    max_fee_wei: the most that an attempt may offer per gas.
    functions: what may be called, with whatever arguments and without value.
    tipping: what may be called with exactly as much value as the second word of its arguments says (our contract's
    plans, whose second word is the tip to the block's builder).
    tokens, spenders: whose `approve` may be called, and in whose favour.
    exactly: whole calls that a person ordered, or that this key signed before.
    """

    chain_id: int
    account: bytes
    max_fee_wei: int
    functions: frozenset[Function] = frozenset()
    tipping: frozenset[Function] = frozenset()
    tokens: frozenset[bytes] = frozenset()
    spenders: frozenset[bytes] = frozenset()
    exactly: frozenset[TxCall] = frozenset()

    def require(self, transaction: UnsignedTransaction) -> None:
        """Raises SignatureRefused, which says what is outside the policy."""
        reason = self._of_terms(transaction) or self.objection(transaction.call)
        if reason is not None:
            raise SignatureRefused(f"not signed: {reason}")

    def objection(self, call: TxCall) -> str | None:
        """Why this call is never signed; None when it may be."""
        is_empty = call.to == self.account and not call.data and not call.value_wei
        if is_empty or (self.exactly and call in self.exactly):
            return None
        function = (call.to, call.data[:4])
        value_wei = call.value_wei
        if function in self.tipping:
            tip_wei = int.from_bytes(call.data[_TIP], "big")
            return None if value_wei == tip_wei else f"it sends {value_wei} wei along; the plan tips {tip_wei} wei"
        if value_wei:
            return f"it sends {value_wei} wei to 0x{call.to.hex()}; only a plan's tip is ever sent"
        if function in self.functions:
            return None
        if call.to in self.tokens and call.data[:4] == APPROVE:
            return self._of_approval(call)
        return f"it calls 0x{call.data[:4].hex()} of 0x{call.to.hex()}, which is no function that this deployment uses"

    def _of_approval(self, call: TxCall) -> str | None:
        if len(call.data) != _APPROVAL_SIZE or call.data[4:16] != _NO_PADDING:
            return f"it calls approve with {len(call.data)} bytes that are none"
        spender = call.data[16:36]
        if spender not in self.spenders:
            return f"it lets 0x{spender.hex()} take tokens of 0x{call.to.hex()}; only {self._known()} may"
        return None

    def _known(self) -> str:
        return ", ".join(f"0x{spender.hex()}" for spender in sorted(self.spenders)) or "nobody"

    def _of_terms(self, transaction: UnsignedTransaction) -> str | None:
        if transaction.chain_id != self.chain_id:
            return f"it is for chain {transaction.chain_id}; this key signs for chain {self.chain_id}"
        if transaction.max_fee_wei > self.max_fee_wei:
            return f"it offers {transaction.max_fee_wei} wei per gas; executor.max_fee_gwei is {self.max_fee_wei} wei"
        if transaction.max_priority_fee_wei > transaction.max_fee_wei:
            return f"its tip of {transaction.max_priority_fee_wei} wei per gas is above its maximum fee"
        return None
