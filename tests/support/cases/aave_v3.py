"""Aave v3 for the adapters' contract suite."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from keeper.core.types import Demand, Log
from keeper.protocols.aave_v3 import abi, build
from keeper.protocols.aave_v3.sheet import indices
from keeper.protocols.aave_v3.state import Account
from tests.support.aave_market import NOW, V36, V37, asset, market, near_health, reserve
from tests.support.cases import Case, Situation, data, topic

KEY = b"\x11" * 20
PROVIDER = b"\x02" * 20


_RULES = st.sampled_from((V36, V37))
_RANGES = ((0.5, 1.4), *((limit * (1 - 1e-9), limit * (1 + 1e-9)) for limit in (1.0, 1.03, 1.1, 1.25)))


def case() -> Case:
    return Case(
        adapter=build({"name": "aave", "start_block": 0, "pool_addresses_provider": PROVIDER}),
        situations=st.one_of(*(near_health(low, high, _RULES) for low, high in _RANGES)).map(
            lambda world: Situation(
                world[0], world[1], KEY, world[2], NOW, {r.asset: 1 << 127 for r in world[0].reserves}
            )
        ),
        log_market=_MARKET,
        logs=_LOGS,
        obeyed=_obeyed,
    )


def _obeyed(situation: Situation, demand: Demand, amount: int) -> Situation:
    market_, account = situation.market, situation.position
    held = market_.by_asset[demand.asset]
    index = indices(market_.rules, held, situation.now)
    supplies, debts = dict(account.supplies), dict(account.debts)
    if demand.action == "add_collateral":
        supplies[held.id] = supplies.get(held.id, 0) + market_.rules.scaled_in(amount, index.income_ray)
    elif amount >= market_.rules.debt(debts[held.id], index.debt_ray):
        debts[held.id] = 0
    else:
        debts[held.id] -= min(market_.rules.scaled_in(amount, index.debt_ray), debts[held.id])
    after = Account(
        account.flags & ~sum(1 << 2 * i for i, scaled in debts.items() if not scaled),
        account.emode,
        tuple(sorted(supplies.items())),
        tuple(sorted((i, scaled) for i, scaled in debts.items() if scaled)),
    )
    return replace(situation, position=after)


_MARKET = market(reserve(0), reserve(1))
_POOL = "0x" + _MARKET.pool.hex()
_LOGS = (
    Log("0x" + reserve(0).a_token.hex(), (abi.TRANSFER, topic(KEY), topic(b"\x12" * 20)), data(5)),
    Log(_POOL, (abi.RESERVE_DATA_UPDATED, topic(asset(0))), data(1, 2, 3, 4, 5)),
    Log(_POOL, (abi.COLLATERAL_ENABLED, topic(asset(0)), topic(KEY))),
    Log(_POOL, (abi.COLLATERAL_DISABLED, topic(asset(1)), topic(KEY))),
    Log(_POOL, (abi.USER_EMODE_SET, topic(KEY)), data(1)),
    Log(
        _POOL,
        (abi.LIQUIDATION_CALLED, topic(asset(0)), topic(asset(1)), topic(KEY)),
        data(7, 8, b"\x13" * 20, 0),
    ),
    Log("0x" + _MARKET.configurator.hex(), (abi.EMODE_CATEGORY_ADDED, topic(b"\x01")), data(1, 2, 3, 4, 5)),
    Log("0x" + _MARKET.configurator.hex(), (abi.ASSET_COLLATERAL_IN_EMODE_CHANGED, topic(asset(0))), data(1, 1)),
)
