"""A price update that is not mined yet, and how ours is to come right behind it. Pure.

public   its transaction is in the mempool, and so is ours: fees put them in order
private  ours is offered together with it, all or nothing, for one block: what is not mined costs nothing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from keeper.core.records import Intent
from keeper.core.types import Skip, TxCall
from keeper.executor.fees import Fees, forecast_base_fee
from keeper.executor.oracles.ports import Written

_MARK = "behind"
_DISTINCT = 4095


@dataclass(frozen=True, slots=True)
class Ahead:
    """tx_hash: of the transaction; of a hint, what its relay calls it by.

    sender, call, gas_limit: what it does, empty where only its effect is known. raw: its bytes, where somebody told.
    fees: what it offers; None for a transaction that is not public. nonce: of the sender.
    writes: the updates in it. stand_ins: code by aggregator that answers as the update will, for where the transaction
    itself cannot be run. hint_of: the submitter whose relay told of it, empty for the mempool's.
    """

    tx_hash: bytes
    writes: tuple[Written, ...] = ()
    sender: bytes = b""
    call: TxCall | None = None
    gas_limit: int = 0
    nonce: int = 0
    raw: bytes | None = None
    fees: Fees | None = None
    stand_ins: Mapping[bytes, bytes] = field(default_factory=dict)
    hint_of: str = ""

    @property
    def name(self) -> str:
        return "0x" + self.tx_hash.hex()


def read_pending(answer: Any) -> Ahead | None:
    """A transaction as nodes tell it, while it is not mined; None for anything else, or one that makes a contract."""
    if not isinstance(answer, Mapping) or answer.get("blockNumber") is not None or not answer.get("to"):
        return None
    try:
        tip = most = int(answer["gasPrice"], 16) if answer.get("gasPrice") else 0
        if answer.get("maxFeePerGas"):
            most, tip = int(answer["maxFeePerGas"], 16), int(answer["maxPriorityFeePerGas"], 16)
        data = answer["input"] if answer.get("input") is not None else answer["data"]
        call = TxCall(bytes.fromhex(answer["to"][2:]), bytes.fromhex(data[2:]), int(answer["value"], 16))
        found = Ahead(
            tx_hash=bytes.fromhex(answer["hash"][2:]),
            sender=bytes.fromhex(answer["from"][2:]),
            call=call,
            gas_limit=int(answer["gas"], 16),
            nonce=int(answer["nonce"], 16),
            fees=Fees(most, tip),
        )
    except (KeyError, TypeError, ValueError):
        return None
    sizes = (len(found.tx_hash), len(found.sender), len(call.to))
    least = min(call.value_wei, found.gas_limit, found.nonce, most, tip)
    return found if sizes == (32, 20, 20) and least >= 0 else None


def fees_behind(ahead: Fees, base_fee_wei: int, *, forecast_blocks: int, max_tip_wei: int, cap_wei: int) -> Fees | Skip:
    """Fees with which ours is worth a little less per gas to a builder than the update, whatever the base fee becomes.

    base_fee_wei: of the next block. Both fields are at most the update's, so that no base fee can exclude it and not
    ours; where they come out equal, the one seen first goes first.
    """
    left_for_tip = ahead.max_fee_wei - base_fee_wei
    if left_for_tip < 0:
        detail = f"the update offers {ahead.max_fee_wei} wei per gas, the next block's base fee is {base_fee_wei}"
        return Skip("update_too_cheap", detail)
    tip = max(min(ahead.tip_wei, left_for_tip, max_tip_wei) - 1, 0)
    most = min(ahead.max_fee_wei, cap_wei, forecast_base_fee(base_fee_wei, forecast_blocks) + tip)
    if most < base_fee_wei:
        return Skip("fee_above_cap", f"base fee {base_fee_wei} wei is above max_fee_gwei ({cap_wei} wei)")
    return Fees(most, min(tip, most - base_fee_wei))


# --- intents that follow an update ------------------------------------------------------------------------------------


def marked(intent: Intent, ahead: Ahead, *, for_block: int | None) -> Intent:
    """The intent, durably known to follow an update. for_block: the only block it was offered for, of a private one."""
    mark = {"tx_hash": ahead.name, "for_block": for_block}
    return replace(intent, plan={**intent.plan, _MARK: mark})


def update_of(intent: Intent) -> bytes | None:
    """Hash of the update that an intent follows; None of one that follows none."""
    mark = intent.plan.get(_MARK)
    return None if mark is None else bytes.fromhex(mark["tx_hash"][2:])


def offered_until(intent: Intent) -> int | None:
    """The last block that can hold an intent which was offered privately behind an update; None of every other."""
    mark = intent.plan.get(_MARK)
    last: int | None = None if mark is None else mark["for_block"]
    return last


def exposed(intent: Intent) -> Intent:
    """The intent once its transaction was mined, and its block orphaned: everybody has it now, and anybody may bring it
    into any block, so it no longer lapses."""
    if offered_until(intent) is None:
        return intent
    return replace(intent, plan={**intent.plan, _MARK: {**intent.plan[_MARK], "for_block": None}})


def distinct_gas(gas_limit: int, judged_number: int) -> int:
    """A gas limit that makes bytes differ from those of other blocks' offers of the same call on the same nonce, and
    from what is sent in the open: no two intents may have the same transaction."""
    return gas_limit + 1 + judged_number % _DISTINCT
