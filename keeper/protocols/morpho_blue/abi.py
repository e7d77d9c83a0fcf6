"""Selectors and topics of Morpho Blue, of its markets' oracles and interest rate models, and of Chainlink-style feeds.

Constants are the hashes of the signatures beside them (params: a market's five parameters); the tests recompute them
from `abis/morpho_blue`.
"""

from __future__ import annotations

from keeper.core.types import Call
from keeper.protocols.words import encode

ZERO = bytes(20)


def _selector(digits: str) -> bytes:
    return bytes.fromhex(digits)


# --- functions --------------------------------------------------------------------------------------------------------

DOMAIN_SEPARATOR = _selector("3644e515")  # DOMAIN_SEPARATOR()
FEE_RECIPIENT = _selector("46904840")  # feeRecipient()
ID_TO_MARKET_PARAMS = _selector("2c3c9157")  # idToMarketParams(bytes32)
MARKET = _selector("5c60e39a")  # market(bytes32)
POSITION = _selector("93c52062")  # position(bytes32,address)
ACCRUE_INTEREST = _selector("151c1ade")  # accrueInterest(params)
LIQUIDATE = _selector("d8eabcb8")  # liquidate(params,address,uint256,uint256,bytes)

IS_AUTHORIZED = _selector("65e4ad9e")  # isAuthorized(address,address)
ID = _selector("b3cea217")  # ID(), of a pre-liquidation contract, as the next two
PRE_LIQUIDATION_PARAMS = _selector("1d553cee")  # preLiquidationParams()
PRE_LIQUIDATE = _selector("3078f50a")  # preLiquidate(address,uint256,uint256,bytes)

PRICE = _selector("a035b1fe")  # price()
RATE_AT_TARGET = _selector("01977b57")  # rateAtTarget(bytes32)
BORROW_RATE_VIEW = _selector("8c00bf6b")  # borrowRateView(params, market)

SYMBOL = _selector("95d89b41")  # symbol()
DECIMALS = _selector("313ce567")  # decimals()
LATEST_ROUND_DATA = _selector("feaf968c")  # latestRoundData()
GET_CURRENT_BLOCK_TIMESTAMP = _selector("0f28c97d")  # getCurrentBlockTimestamp()

# --- events -----------------------------------------------------------------------------------------------------------

CREATE_MARKET = "0xac4b2400f169220b0c0afdde7a0b32e775ba727ea1cb30b35f935cdaab8683ac"  # CreateMarket(bytes32,params)
SET_FEE = "0x139d6f58e9a127229667c8e3b36e88890a66cfc8ab1024ddc513e189e125b75b"  # SetFee(bytes32,uint256)
ACCRUED_INTEREST = "0x9d9bd501d0657d7dfe415f779a620a62b78bc508ddc0891fbbd8b7ac0f8fce87"  # AccrueInterest(…)
SUPPLY = "0xedf8870433c83823eb071d3df1caa8d008f12f6440918c20d75a3602cda30fe0"  # Supply(…)
WITHDRAW = "0xa56fc0ad5702ec05ce63666221f796fb62437c32db1aa1aa075fc6484cf58fbf"  # Withdraw(…)
BORROW = "0x570954540bed6b1304a87dfe815a5eda4a648f7097a16240dcd85c9b5fd42a43"  # Borrow(…)
REPAY = "0x52acb05cebbd3cd39715469f22afbf5a17496295ef3bc9bb5944056c63ccaa09"  # Repay(…)
SUPPLY_COLLATERAL = "0xa3b9472a1399e17e123f3c2e6586c23e504184d504de59cdaa2b375e880c6184"  # SupplyCollateral(…)
WITHDRAW_COLLATERAL = "0xe80ebd7cc9223d7382aab2e0d1d6155c65651f83d53c8b9b06901d167e321142"  # WithdrawCollateral(…)
LIQUIDATED = "0xa4946ede45d0c6f06a0f5ce92c9ad3b4751452d2fe0e25010783bcab57a67e41"  # Liquidate(…)

SET_AUTHORIZATION = "0xd5e969f01efe921d3f766bdebad25f0a05e3f237311f56482bf132d0326309c0"  # SetAuthorization(…)
CREATE_PRE_LIQUIDATION = "0xc36ddf254f2ae7c3a2c82dc525fed9a804cdaf8102b19b3caa5aeda5afcca382"  # CreatePreLiquidation(…)
PRE_LIQUIDATED = "0xd5b01f148b35d6069b626af105bf8881bc2e30ee1ce3de4630903abab0ba8580"  # PreLiquidate(…)

SHAPES = {  # topics and words of data of each event, and which topic names the owner of the position it changes
    CREATE_MARKET: (2, 5, None),
    SET_FEE: (2, 1, None),
    ACCRUED_INTEREST: (2, 3, None),
    SUPPLY: (4, 2, None),
    WITHDRAW: (4, 3, None),
    BORROW: (4, 3, 2),
    REPAY: (4, 2, 3),
    SUPPLY_COLLATERAL: (4, 1, 3),
    WITHDRAW_COLLATERAL: (4, 2, 2),
    LIQUIDATED: (4, 5, 3),
}
PRE_SHAPES = {  # the same of what pre-liquidation adds: none of it names a market first
    SET_AUTHORIZATION: (4, 1),
    CREATE_PRE_LIQUIDATION: (2, 7),
    PRE_LIQUIDATED: (4, 3),
}


def borrow_rate_view(irm: bytes, params: tuple[bytes | int, ...], totals: tuple[int, ...]) -> Call:
    """params: loan token, collateral token, oracle, model, lltv. totals: supply assets and shares, borrow assets and
    shares, time of the last update, fee."""
    return Call(irm, encode(BORROW_RATE_VIEW, *params, *totals))


def pre_liquidate(borrower: bytes, repaid_shares: int) -> bytes:
    """Call data without a callback."""
    return encode(PRE_LIQUIDATE, borrower, 0, repaid_shares, 4 * 32, 0)


def liquidate(params: tuple[bytes | int, ...], borrower: bytes, seized_assets: int, repaid_shares: int) -> bytes:
    """Call data without a callback; exactly one of the amounts is zero."""
    return encode(LIQUIDATE, *params, borrower, seized_assets, repaid_shares, 9 * 32, 0)


def amounts_of(data: bytes) -> tuple[int, int]:
    """Seized assets and repaid shares that a call of `liquidate` or `pre_liquidate` names; one of them is zero."""
    at = 4 + 32 * (6 if data[:4] == LIQUIDATE else 1)
    return int.from_bytes(data[at : at + 32], "big"), int.from_bytes(data[at + 32 : at + 64], "big")
