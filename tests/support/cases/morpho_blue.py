"""Morpho Blue for the adapters' contract suite."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import Demand, Log
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.accrue import accrued
from keeper.protocols.morpho_blue.arithmetic import to_shares_down
from keeper.protocols.morpho_blue.offers import Offer
from tests.support.cases import Case, Situation, data, topic
from tests.support.morpho_market import (
    ACCOUNT,
    COLLATERAL,
    FACTORY,
    ID,
    KEY,
    LOAN,
    MORPHO,
    NOW,
    OFFER,
    adapter,
    market,
    worlds,
)


def case() -> Case:
    return Case(
        adapter=adapter(),
        situations=worlds().map(lambda world: Situation(world[0], world[1], KEY, world[2], NOW, {LOAN: 1 << 127})),
        log_market=market().with_offers({OFFER: _OFFER}),
        logs=_LOGS,
        obeyed=_obeyed,
    )


def _obeyed(situation: Situation, demand: Demand, amount: int) -> Situation:
    """As the contract does: a repayment of all that is owed goes by shares, any other by assets."""
    position, one = situation.position, situation.market.by_id[ID]
    if demand.action == "add_collateral":
        return replace(situation, position=replace(position, collateral_assets=position.collateral_assets + amount))
    owed = accrued(one, situation.prices, situation.now)
    assert owed is not None
    if amount >= owed.by(position.borrow_shares):
        return replace(situation, position=replace(position, borrow_shares=0))
    shares = to_shares_down(amount, owed.assets, owed.shares)
    after = replace(
        one,
        borrow_assets=max(owed.assets - amount, 0),
        borrow_shares=owed.shares - shares,
        updated_at=situation.now,
    )
    left = replace(position, borrow_shares=position.borrow_shares - shares)
    offered = market(after).with_offers(situation.market.by_contract)
    return replace(situation, market=offered, position=left)


_OFFER = Offer(OFFER, ID, 1, 2, 3, 4, 5, b"\x0e" * 20, used=True)
_OURS = "0x" + MORPHO.hex()
_OTHER = topic(b"\x12" * 20)
_LOGS = (
    Log(_OURS, (abi.CREATE_MARKET, topic(b"\x33" * 32)), data(LOAN, COLLATERAL, b"\x0c" * 20, b"\x0d" * 20, 5)),
    Log(_OURS, (abi.SET_FEE, topic(ID)), data(1)),
    Log(_OURS, (abi.ACCRUED_INTEREST, topic(ID)), data(1, 2, 3)),
    Log(_OURS, (abi.SUPPLY, topic(ID), _OTHER, topic(ACCOUNT)), data(1, 2)),
    Log(_OURS, (abi.WITHDRAW, topic(ID), topic(ACCOUNT), _OTHER), data(b"\x12" * 20, 1, 2)),
    Log(_OURS, (abi.BORROW, topic(ID), topic(ACCOUNT), _OTHER), data(b"\x12" * 20, 1, 2)),
    Log(_OURS, (abi.REPAY, topic(ID), _OTHER, topic(ACCOUNT)), data(1, 2)),
    Log(_OURS, (abi.SUPPLY_COLLATERAL, topic(ID), _OTHER, topic(ACCOUNT)), data(1)),
    Log(_OURS, (abi.WITHDRAW_COLLATERAL, topic(ID), topic(ACCOUNT), _OTHER), data(b"\x12" * 20, 1)),
    Log(_OURS, (abi.SET_AUTHORIZATION, topic(ACCOUNT), topic(ACCOUNT), topic(OFFER)), data(1)),
    Log("0x" + FACTORY.hex(), (abi.CREATE_PRE_LIQUIDATION, topic(b"\x0e" * 20)), data(ID, 1, 2, 3, 4, 5, b"\x0e")),
    Log("0x" + OFFER.hex(), (abi.PRE_LIQUIDATED, topic(ID), _OTHER, topic(ACCOUNT)), data(1, 2, 3)),
    Log(_OURS, (abi.LIQUIDATED, topic(ID), _OTHER, topic(ACCOUNT)), data(1, 2, 3, 4, 5)),
)
