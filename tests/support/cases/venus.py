"""Venus for the adapters' contract suite."""

from __future__ import annotations

from dataclasses import replace

from keeper.core.types import Demand, Log
from keeper.protocols.venus import abi
from keeper.protocols.venus.demand import minted
from keeper.protocols.venus.interest import accrue, slot_at
from keeper.protocols.venus.sheet import accrued_at, sheet
from keeper.protocols.venus.state import Account, Debt
from tests.support.cases import Case, Situation, data, topic
from tests.support.venus_market import ACCOUNT, COMPTROLLER, NOW, adapter, asset, market, vmarket, vtoken, worlds


def case() -> Case:
    rich = {asset(number): 1 << 127 for number in range(3)}
    return Case(
        adapter=adapter(),
        situations=worlds().map(lambda world: Situation(world[0], world[1], ACCOUNT, world[2], NOW, rich)),
        log_market=_MARKET,
        logs=_LOGS,
        obeyed=_obeyed,
    )


def _obeyed(situation: Situation, demand: Demand, amount: int) -> Situation:
    """The market accrues with the owner's transaction, and what it then holds moves its rate by a rounding."""
    pool, account, now = situation.market, situation.position, situation.now
    one = pool.by_asset[demand.asset]
    slot = slot_at(pool, one, situation.prices, now)
    fresh = accrue(one, slot)
    after = replace(
        one,
        accrued_slot=slot,
        borrow_index_wad=fresh.borrow_index_wad,
        total_borrows=fresh.total_borrows,
        total_reserves=fresh.total_reserves,
    )
    supplies, debts = dict(account.supplies), {debt.vtoken: debt for debt in account.debts}
    if demand.action == "add_collateral":
        line = minted(
            sheet(pool, situation.prices, account, accrued_at(pool, situation.prices, now)).line(one.vtoken), amount
        )
        supplies[one.vtoken] = line.tokens
        after = replace(after, total_supply=line.accrued.total_supply, cash=line.accrued.cash)
    else:
        debt = debts[one.vtoken]
        owed = debt.principal_assets * fresh.borrow_index_wad // debt.index_wad - amount
        debts[one.vtoken] = Debt(one.vtoken, owed, fresh.borrow_index_wad)
        after = replace(after, total_borrows=after.total_borrows - amount, cash=after.cash + amount)
    position = Account(
        account.entered,
        tuple(sorted(supplies.items())),
        tuple(debts[key] for key in sorted(debts) if debts[key].principal_assets),
    )
    return replace(situation, market=pool.with_markets([after]), position=position)


_MARKET = market(vmarket(0), vmarket(1))
_POOL = "0x" + COMPTROLLER.hex()
_VTOKEN = "0x" + vtoken(0).hex()
_WHO, _OTHER = topic(ACCOUNT), topic(b"\x12" * 20)
_LOGS = (
    Log(_VTOKEN, (abi.ACCRUED,), data(1, 2, 10**18, 4)),
    Log(_VTOKEN, (abi.TRANSFER, _WHO, _OTHER), data(5)),
    Log(_VTOKEN, (abi.BORROWED, _WHO), data(1, 2, 3)),
    Log(_VTOKEN, (abi.BORROWED,), data(ACCOUNT, 1, 2, 3)),
    Log(_VTOKEN, (abi.REPAID, _OTHER, _WHO), data(1, 2, 3)),
    Log(_VTOKEN, (abi.HEALED, _OTHER, _WHO), data(1)),
    Log(_VTOKEN, (abi.LIQUIDATED, _OTHER, _WHO, topic(vtoken(1))), data(7, 8)),
    Log(_POOL, (abi.ENTERED, topic(vtoken(0)), _WHO)),
    Log(_POOL, (abi.EXITED, topic(vtoken(1)), _WHO)),
    Log(_POOL, (sorted(abi.MARKET_EVENTS)[0],), data(1, 2)),
)
