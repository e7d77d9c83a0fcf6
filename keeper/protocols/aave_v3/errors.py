"""Reverts of Aave's contracts in words: custom errors since v3.4, numbered strings before."""

from __future__ import annotations

_ERROR_STRING = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)

_BY_SELECTOR = {
    "930bb771": ("HealthFactorNotBelowThreshold", "the position is healthy: nothing may be liquidated"),
    "b629b0e4": ("MustNotLeaveDust", "it would leave less than the least allowed of debt or collateral"),
    "979b5ce8": ("CollateralCannotBeLiquidated", "the account has not enabled this asset as collateral"),
    "3653732b": ("SpecifiedCurrencyNotBorrowedByUser", "the account does not owe this asset"),
    "9e3e6060": ("LiquidationGraceSentinelCheckFailed", "a liquidation grace period is running"),
    "91037009": ("PriceOracleSentinelCheckFailed", "the sequencer sentinel forbids it at present"),
    "44511af1": ("SelfLiquidation", "an account must not liquidate itself"),
    "d37f5f1c": ("ReservePaused", "the reserve is paused"),
    "90cd6f24": ("ReserveInactive", "the reserve is not active"),
    "6d305815": ("ReserveFrozen", "the reserve is frozen"),
    "2075cc10": ("InvalidBurnAmount", "the amount rounds to zero scaled units"),
    "ccfad018": ("InvalidMintAmount", "the amount rounds to zero scaled units"),
    "2c5211c6": ("InvalidAmount", "the amount is zero"),
    "47bc4b2c": ("NotEnoughAvailableUserBalance", "it asks for more than the balance"),
    "6679996d": ("HealthFactorLowerThanLiquidationThreshold", "it would leave the account liquidatable"),
    "911ceb81": ("CollateralCannotCoverNewBorrow", "the collateral does not cover it"),
    "77a6a896": ("BorrowCapExceeded", "the borrow cap is reached"),
    "f58f733a": ("SupplyCapExceeded", "the supply cap is reached"),
    "5b263df7": ("LtvValidationFailed", "collateral with loan-to-value zero has to be withdrawn first"),
    "b77e1e0f": ("AssetNotListed", "the pool does not list this asset"),
    "580f2f14": ("FlashloanDisabled", "flash loans of this asset are disabled"),
    "e450d38c": ("ERC20InsufficientBalance", "the payer's balance is too small"),
    "fb8f41b2": ("ERC20InsufficientAllowance", "the allowance is too small: approve the pool first"),
    "5274afe7": ("SafeERC20FailedOperation", "a token transfer failed"),
}

_BY_CODE = {
    "27": ("RESERVE_INACTIVE", "the reserve is not active"),
    "28": ("RESERVE_FROZEN", "the reserve is frozen"),
    "29": ("RESERVE_PAUSED", "the reserve is paused"),
    "24": ("INVALID_MINT_AMOUNT", "the amount rounds to zero scaled units"),
    "25": ("INVALID_BURN_AMOUNT", "the amount rounds to zero scaled units"),
    "26": ("INVALID_AMOUNT", "the amount is zero"),
    "32": ("NOT_ENOUGH_AVAILABLE_USER_BALANCE", "it asks for more than the balance"),
    "35": ("HEALTH_FACTOR_LOWER_THAN_LIQUIDATION_THRESHOLD", "it would leave the account liquidatable"),
    "36": ("COLLATERAL_CANNOT_COVER_NEW_BORROW", "the collateral does not cover it"),
    "45": ("HEALTH_FACTOR_NOT_BELOW_THRESHOLD", "the position is healthy: nothing may be liquidated"),
    "46": ("COLLATERAL_CANNOT_BE_LIQUIDATED", "the account has not enabled this asset as collateral"),
    "47": ("SPECIFIED_CURRENCY_NOT_BORROWED_BY_USER", "the account does not owe this asset"),
    "50": ("BORROW_CAP_EXCEEDED", "the borrow cap is reached"),
    "51": ("SUPPLY_CAP_EXCEEDED", "the supply cap is reached"),
    "57": ("LTV_VALIDATION_FAILED", "collateral with loan-to-value zero has to be withdrawn first"),
    "59": ("PRICE_ORACLE_SENTINEL_CHECK_FAILED", "the sequencer sentinel forbids it at present"),
    "82": ("ASSET_NOT_LISTED", "the pool does not list this asset"),
    "91": ("FLASHLOAN_DISABLED", "flash loans of this asset are disabled"),
    "98": ("LIQUIDATION_GRACE_SENTINEL_CHECK_FAILED", "a liquidation grace period is running"),
    "103": ("MUST_NOT_LEAVE_DUST", "it would leave less than the least allowed of debt or collateral"),
}

_PANICS = {0x01: "an assertion failed", 0x11: "an arithmetic overflow", 0x12: "a division by zero", 0x32: "a bad index"}


def explain_revert(data: bytes) -> str:
    """Never raises: revert data may be anything."""
    if not data:
        return "reverted without a reason"
    selector, body = data[:4], data[4:]
    if selector == _ERROR_STRING:
        return _message(body)
    if selector == _PANIC:
        code = int.from_bytes(body[:32], "big")
        return f"Panic(0x{code:02x}): {_PANICS.get(code, 'see the Solidity manual')}"
    if (known := _BY_SELECTOR.get(selector.hex())) is not None:
        return ": ".join(known)
    return f"reverted with 0x{data[:68].hex()}, which is no error known to this adapter"


def _message(body: bytes) -> str:
    """The text of Error(string); a bare number is one of Aave's codes."""
    length = min(int.from_bytes(body[32:64], "big"), 256)
    text = body[64 : 64 + length].decode("utf-8", "replace")
    if (known := _BY_CODE.get(text)) is not None:
        return ": ".join(known)
    return text if text.isprintable() and text else f"reverted with {text!r}"
