"""Aave v3 on the dev chain, with a handful of positions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from keeper.devnet.chain import DevChain
from keeper.devnet.market import BTC_ETH_EMODE
from keeper.devnet.protocols import Example, Value


@dataclass(frozen=True, slots=True)
class _Plan:
    """Supplies and debts in whole units by symbol."""

    supplies: dict[str, str]
    debts: dict[str, str]
    emode: int = 0


_PLANS = (
    _Plan({"WETH": "10"}, {"USDC": "5000"}),
    _Plan({"WETH": "10"}, {"USDC": "13500"}),
    _Plan({"WETH": "10"}, {"USDC": "14900"}),
    _Plan({"WETH": "10"}, {"USDC": "15900"}),
    _Plan({"WBTC": "1", "WETH": "4"}, {"DAI": "38000", "USDC": "5000"}),
    _Plan({"WBTC": "1"}, {"WETH": "26"}, emode=BTC_ETH_EMODE),
    _Plan({"USDC": "20000"}, {"WETH": "6"}),
)


def table(chain: DevChain) -> dict[str, Value]:
    return {
        "kind": "aave_v3",
        "name": "aave",
        "pool_addresses_provider": chain.aave.provider,
        "start_block": chain.start_block,
    }


def contracts(chain: DevChain) -> dict[str, str]:
    return {
        "pool_addresses_provider": chain.aave.provider,
        "pool": chain.aave.pool,
        "pool_configurator": chain.aave.configurator,
        "oracle": chain.aave.oracle,
        "data_provider": chain.aave.data_provider,
    }


def open_examples(chain: DevChain) -> list[Example]:
    """Open as many of the examples as the chain has accounts, one each."""
    opened = []
    for account, plan in zip(chain.accounts, _PLANS, strict=False):
        if plan.emode:
            chain.aave.set_emode(account, plan.emode)
        for symbol, amount in plan.supplies.items():
            chain.aave.supply(account, symbol, Decimal(amount))
        for symbol, amount in plan.debts.items():
            chain.aave.borrow(account, symbol, Decimal(amount))
        health = Decimal(chain.aave.health(account)) / 10**18
        opened.append(Example(account, f"{_list(plan.supplies)} against {_list(plan.debts)}, health {health:.4f}"))
    return opened


def _list(amounts: dict[str, str]) -> str:
    return " and ".join(f"{amount} {symbol}" for symbol, amount in amounts.items())
