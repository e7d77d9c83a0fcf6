"""Morpho's own view of a position: interest accrued by the contract itself, in a call that nobody mines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keeper.core.errors import DecodeError, RpcMalformed
from keeper.core.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.core.types import Call, CallResult
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.accrue import Owed
from keeper.protocols.morpho_blue.health import borrowed, limit, native
from keeper.protocols.morpho_blue.state import Lending
from keeper.protocols.words import call, encode, maybe_uint, words

_CALLS = 5


def confirm_calls(morpho: bytes, lending: Lending, account: bytes) -> list[Call]:
    """One call that accrues and then reads: what it changes, the same call sees, and nobody after it."""
    asked = [
        Call(morpho, encode(abi.ACCRUE_INTEREST, *lending.params)),
        call(morpho, abi.MARKET, lending.id),
        call(morpho, abi.POSITION, lending.id, account),
        call(morpho, abi.ID_TO_MARKET_PARAMS, lending.id),
        Call(lending.oracle, abi.PRICE),
    ]
    return [Call(MULTICALL3, encode_aggregate3(asked), anybody=True)]


def native_view(result: CallResult) -> Mapping[str, Any]:
    """Raises DecodeError when it is no answer to such a call."""
    if result is None:
        raise DecodeError("the multicall that confirms a Morpho position failed")
    try:
        accrual, *answers = decode_aggregate3(result, _CALLS)
    except RpcMalformed as error:
        raise DecodeError(f"the multicall that confirms a Morpho position does not decode: {error}") from error
    totals, position, params, price = (answer.data if answer.success else None for answer in answers)
    _, _, borrow_assets, borrow_shares, *_ = words(totals, 6, "market(bytes32)")
    _, shares, collateral = words(position, 3, "position(bytes32,address)")
    lltv_wad = words(params, 5, "idToMarketParams(bytes32)")[4]
    owed = Owed(borrow_assets, borrow_shares) if accrual.success else None
    return native(borrowed(owed, shares), collateral, limit(collateral, maybe_uint(price), lltv_wad))
