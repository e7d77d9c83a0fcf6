"""A Venus isolated pool on the dev chain, with a handful of positions."""

from __future__ import annotations

from decimal import Decimal

from keeper.devnet.chain import DevChain
from keeper.devnet.protocols import Example, Value

_LIQUIDITY = {"USDC": Decimal(20_000_000), "WETH": Decimal(5_000)}
_PLANS = (  # collateral and debt in whole units
    (("WETH", "10"), ("USDC", "7000")),
    (("WETH", "10"), ("USDC", "14900")),
    (("WBTC", "1"), ("WETH", "20")),
    (("WETH", "0.04"), ("USDC", "59")),
)


def table(chain: DevChain) -> dict[str, Value]:
    return {
        "kind": "venus",
        "name": "venus",
        "comptroller": chain.venus.comptroller,
        "start_block": chain.start_block,
    }


def contracts(chain: DevChain) -> dict[str, str]:
    tokens = {f"v{symbol}": vtoken for symbol, vtoken in chain.venus.vtokens.items()}
    return {"comptroller": chain.venus.comptroller, "venus_oracle": chain.venus.deployment.oracle, **tokens}


def open_examples(chain: DevChain) -> list[Example]:
    """One account each, of their own: the chain's first accounts are other protocols'."""
    lender = chain.make_account(8_000)
    for symbol, depth in _LIQUIDITY.items():
        chain.venus.supply(lender, symbol, depth)
    opened = []
    for number, ((collateral, held), (debt, owed)) in enumerate(_PLANS, 8_001):
        account = chain.make_account(number)
        chain.venus.supply(account, collateral, Decimal(held))
        chain.venus.borrow(account, debt, Decimal(owed))
        opened.append(Example(account, f"{held} {collateral} against {owed} {debt} on Venus"))
    return opened
