"""Reverts of Perpetual Protocol's contracts in words: strings of a few letters, explained in their sources."""

from __future__ import annotations

_ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)

_BY_CODE = {
    "CH_CLWTISO": "it has open orders, which have to be cancelled first",
    "CH_EAV": "its account value is enough: nothing may be liquidated",
    "CH_WLD": "the size has the wrong sign",
    "CH_NEFCI": "our own margin in the vault is not enough to take the position over: deposit more",
    "CH_NEFCM": "its margin is not enough",
    "CH_IIC": "the insurance fund cannot cover the bad debt it would leave",
    "CH_MNO": "the market is not open",
    "CH_NEXO": "its orders are not in excess: they may not be cancelled for it",
    "EX_OPLAS": "the pool has moved as far as it may for now",
    "EX_OPLBS": "the pool has moved as far as it may for now",
    "AB_MNE": "that is more markets than an account may be in",
    "V_NEFC": "there is not enough free collateral",
}


def explain_revert(data: bytes) -> str:
    """Never raises: revert data may be anything."""
    if not data:
        return "reverted without a reason"
    if data[:4] != _ERROR_STRING:
        return f"reverted with 0x{data[:68].hex()}, which is no error known to this adapter"
    length = min(int.from_bytes(data[36:68], "big"), 256)
    text = data[68 : 68 + length].decode("utf-8", "replace")
    if (known := _BY_CODE.get(text)) is not None:
        return f"{text}: {known}"
    return text if text.isprintable() and text else f"reverted with {text!r}"
