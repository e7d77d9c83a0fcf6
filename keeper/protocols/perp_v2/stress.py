"""What makes an account liquidatable on a fork: a loss booked to it in the clearing house's name.

Ratios are common to all and have no setter, and a mark price is an average over half an hour; a realized loss is one
account's alone, moves no price, and needs nobody's role.
Source: AccountBalance.modifyOwedRealizedPnl.
"""

from __future__ import annotations

from collections.abc import Sequence

from keeper.core.ports import Reads
from keeper.core.stress import Lever, Override, SentAs
from keeper.core.types import Skip, TxCall
from keeper.protocols.perp_v2 import abi
from keeper.protocols.perp_v2.margin import Sheet
from keeper.protocols.perp_v2.state import Market

_MARGIN_PPM = 100  # funding moves an account by less than this of its requirement until the liquidation lands


def overrides(market: Market, key: bytes, position: Sheet, lever: Lever) -> Reads[Sequence[Override] | Skip]:
    yield from ()
    if lever is Lever.PRICE:
        return Skip("not_by_price", "a mark price is an average over half an hour; rehearse it by threshold")
    if position.unpriced:
        return Skip("unpriced", f"no usable price of {', '.join('0x' + asset.hex() for asset in position.unpriced)}")
    if position.health_wad is None:
        return Skip("no_debt", "it has no position")
    if position.liquidatable:
        return []
    loss = position.account_value_wad - position.requirement_wad * (1_000_000 - _MARGIN_PPM) // 1_000_000
    loss += position.unit
    data = abi.MODIFY_OWED_REALIZED_PNL + key.rjust(32, b"\0") + (-loss).to_bytes(32, "big", signed=True)
    return [SentAs(market.clearing_house, TxCall(market.account_balance, data))]
