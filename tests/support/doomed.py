"""Positions of every protocol that one fall of WETH from $2,000 to $1,740 opens to liquidation, and who was liquidated.

A protocol joins the tests of many protocols in one daemon by an entry in PROTOCOLS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from eth_utils.address import to_checksum_address

from keeper.devnet.chain import DevChain
from keeper.protocols.morpho_blue import abi

FALL_TO = Decimal(1_740)
_AAVE_LIQUIDATION = "0xe413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286"


@dataclass(frozen=True)
class Doomed:
    """ready: what must be there once. open: one position each for these accounts; returns its ids.
    liquidated: ids in the order of the canonical chain, with the block's number."""

    ready: Callable[[DevChain], None]
    open: Callable[[DevChain, Sequence[str]], list[str]]
    liquidated: Callable[[DevChain], list[tuple[str, int]]]


def _on_aave(chain: DevChain, accounts: Sequence[str]) -> list[str]:
    with chain.one_block():
        for account in accounts:
            chain.aave.supply(account, "WETH", Decimal(10))
    with chain.one_block():
        for number, account in enumerate(accounts):
            chain.aave.borrow(account, "USDC", Decimal(15_500) + number)
    return [f"aave:{account}" for account in accounts]


def _liquidated_on_aave(chain: DevChain) -> list[tuple[str, int]]:
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [_AAVE_LIQUIDATION]})
    return [(f"aave:{_account(log['topics'][3])}", int(log["blockNumber"], 16)) for log in logs]


def _morpho(chain: DevChain) -> None:
    """Two markets, one of each kind of interest rate model."""
    lender = chain.accounts[-1]
    chain.morpho.supply(lender, Decimal(5_000_000))
    chain.morpho.add_market("WETH", "USDC", lltv_wad=85 * 10**16).supply(lender, Decimal(5_000_000))


def _on_morpho(chain: DevChain, accounts: Sequence[str]) -> list[str]:
    """Every other account in both markets."""
    positions = []
    for number, market in enumerate(chain.morpho.markets.values()):
        entering = accounts[:: 1 + number]
        with chain.one_block():
            for account in entering:
                market.supply_collateral(account, Decimal(10))
        with chain.one_block():
            for size, account in enumerate(entering):
                market.borrow(account, Decimal(15_800) + size)
        positions += [f"morpho:{account}:0x{market.id.hex()}" for account in entering]
    return positions


def _liquidated_on_morpho(chain: DevChain) -> list[tuple[str, int]]:
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [abi.LIQUIDATED]})
    return [(f"morpho:{_account(log['topics'][3])}:{log['topics'][1]}", int(log["blockNumber"], 16)) for log in logs]


def _account(topic: str) -> str:
    return str(to_checksum_address("0x" + topic[-40:]))


def _nothing(chain: DevChain) -> None:
    """All of it is there."""


PROTOCOLS: Mapping[str, Doomed] = {
    "aave_v3": Doomed(_nothing, _on_aave, _liquidated_on_aave),
    "morpho_blue": Doomed(_morpho, _on_morpho, _liquidated_on_morpho),
}


def liquidated(chain: DevChain) -> list[tuple[str, int]]:
    """Of every protocol."""
    return [one for protocol in PROTOCOLS.values() for one in protocol.liquidated(chain)]
