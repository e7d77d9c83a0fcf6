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
from keeper.core.units import WAD
from keeper.protocols import words
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


def endow(market: Market, account: bytes, most_usd_wad: int) -> Reads[Sequence[Override]]:
    """The vault's own tokens, sent to the account and deposited again: its balance is what it was, less what is booked.
    Half of the largest position is several times the initial margin of any market."""
    wanted = most_usd_wad * 10**market.settlement_decimals // WAD // 2
    [answer] = yield [words.call(market.settlement, abi.BALANCE_OF, market.vault)]
    amount = min(wanted, words.uint(answer, "balanceOf()"))
    if not amount:
        return []

    def sent(sender: bytes, to: bytes, selector: bytes, other: bytes) -> SentAs:
        return SentAs(sender, TxCall(to, words.encode(selector, other, amount)))

    return [
        sent(market.vault, market.settlement, abi.TRANSFER, account),
        sent(account, market.settlement, abi.APPROVE, market.vault),
        sent(account, market.vault, abi.DEPOSIT, market.settlement),
    ]
