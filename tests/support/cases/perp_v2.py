"""Perpetual Protocol v2 for the adapters' contract suite."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import Demand, Log
from keeper.protocols.perp_v2 import abi
from keeper.protocols.perp_v2.state import MakerView
from tests.support.cases import Case, Situation, data, topic
from tests.support.perp_market import ACCOUNT, HOUSE, NOW, TOKEN, USDC, adapter, base, market, worlds


def case() -> Case:
    return Case(
        adapter=adapter(),
        situations=worlds().map(lambda world: Situation(world[0], world[1], ACCOUNT, world[2], NOW, {USDC: 1 << 120})),
        log_market=market(),
        logs=_LOGS,
        obeyed=_obeyed,
        wallet_pays=False,
    )


def _obeyed(situation: Situation, demand: Demand, amount: int) -> Situation:
    """A deposit; of an account with orders the contracts are asked again, who say as much more."""
    account, house = situation.position, situation.market
    if account.orders:
        view = house.maker_views[ACCOUNT]
        more = MakerView(view.account_value_wad + amount * 10**12, view.requirement_wad)
        house = replace(house, makers=((ACCOUNT, more),))
    return replace(situation, market=house, position=replace(account, balance=account.balance + amount))


_HOUSE = "0x" + HOUSE.hex()
_VAULT = "0x" + market().vault.hex()
_WHO, _OTHER = topic(ACCOUNT), topic(b"\x12" * 20)
_LOGS = (
    Log(_HOUSE, (abi.POSITION_LIQUIDATED, _WHO, topic(base(0))), data(1, 2, 10**18, b"\x12" * 20)),
    Log(_HOUSE, (abi.POSITION_CHANGED, _WHO, topic(base(0))), data(1, 2, 3, 4, 5, 6)),
    Log(_HOUSE, (abi.POSITION_CLOSED, _WHO, topic(base(1))), data(1, 2, 3, 4, 5)),
    Log(_HOUSE, (abi.LIQUIDITY_CHANGED, _WHO, topic(base(0)), _OTHER), data(1, 2, 3, 4, 5, 6)),
    Log(_HOUSE, (abi.FUNDING_SETTLED, _WHO, topic(base(0))), data(1)),
    Log("0x" + market().account_balance.hex(), (abi.PNL_REALIZED, _WHO), data(1)),
    Log(_VAULT, (abi.DEPOSITED, topic(TOKEN), _WHO), data(1)),
    Log(_VAULT, (abi.WITHDRAWN, topic(TOKEN), _WHO), data(1)),
    Log(_VAULT, (abi.COLLATERAL_LIQUIDATED, _WHO, topic(TOKEN), _OTHER), data(1, 2, 3, 4)),
    Log(_VAULT, (abi.BAD_DEBT_SETTLED, _WHO), data(1)),
    Log("0x" + market().config.hex(), (sorted(abi.MARKET_EVENTS)[0],), data(1)),
)
