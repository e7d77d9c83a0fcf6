"""Perpetual Protocol v2 on the dev chain: a maker, and a few traders in vETH."""

from __future__ import annotations

from decimal import Decimal

from keeper.devnet.chain import DevChain
from keeper.devnet.protocols import Example, Value

_PLANS = (  # margin in dollars, ether bought (negative: sold)
    ("10000", "10"),
    ("2500", "10"),
    ("1800", "-8"),
)


def table(chain: DevChain) -> dict[str, Value]:
    return {
        "kind": "perp_v2",
        "name": "perp",
        "clearing_house": chain.perp.clearing_house,
        "native_token": chain.tokens["WETH"].address,
        "native_feed": chain.tokens["WETH"].feed,
        "max_inherited_usd": "100000",
        "start_block": chain.start_block,
    }


def contracts(chain: DevChain) -> dict[str, str]:
    deployment = chain.perp.deployment
    return {
        "clearing_house": deployment.clearing_house,
        "perp_vault": deployment.vault,
        "account_balance": deployment.account_balance,
        "vETH": deployment.base,
    }


def open_examples(chain: DevChain) -> list[Example]:
    """One account each, of their own: the chain's first accounts are other protocols'."""
    maker = chain.make_account(9_000)
    chain.perp.deposit(maker, Decimal(5_000_000))
    chain.perp.add_liquidity(maker, Decimal(2_000), Decimal(4_000_000), 1_000, 4_000)
    opened = []
    for number, (dollars, ether) in enumerate(_PLANS, 9_001):
        account = chain.make_account(number)
        chain.perp.deposit(account, Decimal(dollars))
        chain.perp.trade(account, Decimal(ether))
        side = "short" if ether.startswith("-") else "long"
        opened.append(Example(account, f"{side} {ether.removeprefix('-')} vETH on {dollars} USDC on Perp"))
    return opened
