"""Reverts of Venus' contracts in words."""

from __future__ import annotations

_ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)

_BY_SELECTOR = {
    "095bf333": ("InsufficientShortfall", "the account is healthy: nothing may be liquidated"),
    "e46c1559": ("TooMuchRepay", "more than the close factor, or than is owed"),
    "dcc3760a": ("MinimalCollateralViolated", "the account is so small that it is only liquidated whole, or healed"),
    "6914703c": ("CollateralExceedsThreshold", "the account is too large to be liquidated whole or healed"),
    "b07e3bc4": ("InsufficientCollateral", "its collateral does not cover debt and incentive: heal it"),
    "b5343d72": ("MarketNotListed", "the pool does not list this market"),
    "66fd96d8": ("MarketNotCollateral", "the account has not entered this market"),
    "9d9e6588": ("ActionPaused", "the pool has paused this"),
    "0e52a7d0": ("PriceError", "the oracle has no price"),
    "578d3640": ("SnapshotError", "a market refused to tell the account's balances"),
    "db33be3d": ("SupplyCapExceeded", "the supply cap is reached"),
    "bb55fd27": ("InsufficientLiquidity", "it would leave the account with a shortfall"),
    "6f469884": ("LiquidateLiquidatorIsBorrower", "an account must not liquidate itself"),
    "7528c4ce": ("LiquidateSeizeLiquidatorIsBorrower", "an account must not liquidate itself"),
    "d29da7ef": ("LiquidateCloseAmountIsZero", "the amount is zero"),
    "b3058b76": ("LiquidateCloseAmountIsUintMax", "the amount must be a number of units"),
    "80965b1b": ("LiquidateFreshnessCheck", "the market has not accrued in this slot"),
    "82379c68": ("LiquidateCollateralFreshnessCheck", "the collateral's market has not accrued in this slot"),
    "91240a1b": ("RedeemTransferOutNotPossible", "the market has too little cash to pay out"),
    "2c402925": ("HealBorrowUnauthorized", "only the comptroller heals"),
    "5c85a5e7": ("ForceLiquidateBorrowUnauthorized", "only the comptroller liquidates whole accounts"),
    "0c73eb05": ("ComptrollerMismatch", "the two markets are of different pools"),
    "f257f636": ("MaxLoopsLimitExceeded", "too many orders at once"),
}


def explain_revert(data: bytes) -> str:
    """Never raises: revert data may be anything."""
    if not data:
        return "reverted without a reason"
    selector, body = data[:4], data[4:]
    if selector == _ERROR_STRING:
        length = min(int.from_bytes(body[32:64], "big"), 256)
        text = body[64 : 64 + length].decode("utf-8", "replace")
        return text if text.isprintable() and text else f"reverted with {text!r}"
    if selector == _PANIC:
        return f"Panic(0x{int.from_bytes(body[:32], 'big') % 256:02x}): see the Solidity manual"
    if (known := _BY_SELECTOR.get(selector.hex())) is not None:
        return ": ".join(known)
    return f"reverted with 0x{data[:68].hex()}, which is no error known to this adapter"
