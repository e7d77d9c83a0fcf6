"""Reverts of Morpho in words: strings of its own, or whatever an oracle, a rate model or a token says; and errors of
pre-liquidation contracts (morpho-org/pre-liquidation, ErrorsLib)."""

from __future__ import annotations

_ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)

_MEANINGS = {
    "position is healthy": "nothing may be liquidated",
    "market not created": "there is no such market",
    "inconsistent input": "exactly one of seized assets and repaid shares must be given",
    "transferFrom reverted": "the payer's balance or allowance of the loan token is too small",
    "transfer reverted": "the collateral token refused to be paid out",
    "insufficient liquidity": "the market has lent out what it would need",
    "insufficient collateral": "the collateral does not cover it",
    "unauthorized": "the account has not authorized the caller",
}
_BY_SELECTOR = {
    "44bb1e75": ("PreLiquidationTooLarge", "it repays more than the offer lets be repaid"),
    "0bb9a651": ("NotPreLiquidatablePosition", "the offer holds it for healthy"),
    "f78266a2": ("LiquidatablePosition", "the offer holds it for liquidatable on Morpho itself"),
    "f0732dd7": ("InconsistentInput", "exactly one of seized assets and repaid shares must be given"),
    "e51b5123": ("NotMorpho", "only Morpho calls back"),
}
_PANICS = {
    0x01: "an assertion failed",
    0x11: "an arithmetic overflow: more than the debt, or than the collateral",
    0x12: "a division by zero",
    0x32: "a bad index",
}


def explain_revert(data: bytes) -> str:
    """Never raises: revert data may be anything."""
    if not data:
        return "reverted without a reason"
    selector, body = data[:4], data[4:]
    if selector == _ERROR_STRING:
        length = min(int.from_bytes(body[32:64], "big"), 256)
        text = body[64 : 64 + length].decode("utf-8", "replace")
        if text in _MEANINGS:
            return f"{text}: {_MEANINGS[text]}"
        return text if text.isprintable() and text else f"reverted with {text!r}"
    if selector == _PANIC:
        code = int.from_bytes(body[:32], "big")
        return f"Panic(0x{code:02x}): {_PANICS.get(code, 'see the Solidity manual')}"
    if (known := _BY_SELECTOR.get(selector.hex())) is not None:
        return ": ".join(known)
    return f"reverted with 0x{data[:68].hex()}, which is no error known to this adapter"
