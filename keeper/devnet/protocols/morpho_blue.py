"""Morpho Blue on the dev chain, with a market more than the first and a handful of positions in both."""

from __future__ import annotations

from decimal import Decimal

from keeper.devnet.chain import DevChain
from keeper.devnet.protocols import Example, Value

_LIQUIDITY = {"USDC": Decimal(20_000_000), "WETH": Decimal(5_000)}
_PLANS = (  # market, collateral and debt in whole units
    ("WETH/USDC", "10", "8000"),
    ("WETH/USDC", "10", "15800"),
    ("WETH/USDC", "10", "16900"),
    ("WBTC/USDC", "1", "46000"),
    ("WBTC/WETH", "1", "24"),
)


def table(chain: DevChain) -> dict[str, Value]:
    """Every token of the chain is worth what its own feed says."""
    return {
        "kind": "morpho_blue",
        "name": "morpho",
        "morpho": chain.morpho.address,
        "pre_liquidation_factory": chain.morpho.factory,
        "price_references": {token.address: token.feed for token in chain.tokens.by_symbol.values()},
        "start_block": chain.start_block,
    }


def contracts(chain: DevChain) -> dict[str, str]:
    ids = {f"morpho_market {name}": "0x" + market.id.hex() for name, market in chain.morpho.markets.items()}
    return {"morpho": chain.morpho.address, **ids}


def open_examples(chain: DevChain) -> list[Example]:
    """One account each, as many as there are; the last accounts first, for Aave's examples begin with the first."""
    lender = chain.make_account(7_000)
    for collateral, loan in (("WBTC", "USDC"), ("WBTC", "WETH")):
        chain.morpho.add_market(collateral, loan)
    for market in chain.morpho.markets.values():
        market.supply(lender, _LIQUIDITY[market.loan])
    opened = []
    for account, (name, collateral, debt) in zip(reversed(chain.accounts), _PLANS, strict=False):
        market = chain.morpho.markets[name]
        market.supply_collateral(account, Decimal(collateral))
        market.borrow(account, Decimal(debt))
        opened.append(Example(account, f"{collateral} {market.collateral} against {debt} {market.loan} on Morpho"))
    return opened
