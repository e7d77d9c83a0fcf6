"""Positions of every protocol that one fall of WETH from $2,000 to $1,810 opens to liquidation, and who was liquidated.

A protocol joins the tests of many protocols in one daemon by an entry in PROTOCOLS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from eth_utils.address import to_checksum_address

from keeper.devnet.chain import DevChain
from keeper.protocols.morpho_blue import abi as morpho_abi
from keeper.protocols.perp_v2 import abi as perp_abi
from keeper.protocols.venus import abi as venus_abi

FALL_TO = Decimal(1_810)
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
            chain.aave.borrow(account, "USDC", Decimal(15_900) + number)
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
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [morpho_abi.LIQUIDATED]})
    return [(f"morpho:{_account(log['topics'][3])}:{log['topics'][1]}", int(log["blockNumber"], 16)) for log in logs]


def _venus(chain: DevChain) -> None:
    chain.venus.supply(chain.accounts[-1], "USDC", Decimal(5_000_000))


def _on_venus(chain: DevChain, accounts: Sequence[str]) -> list[str]:
    for number, account in enumerate(accounts):
        chain.venus.supply(account, "WETH", Decimal(10))
        chain.venus.borrow(account, "USDC", Decimal(14_700) + number)
    return [f"venus:{account}" for account in accounts]


def _liquidated_on_venus(chain: DevChain) -> list[tuple[str, int]]:
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [venus_abi.LIQUIDATED]})
    return [(f"venus:{_account(log['topics'][2])}", int(log["blockNumber"], 16)) for log in logs]


def _perp(chain: DevChain) -> None:
    """A maker, an insurance fund, and margin for our wallet to take positions over with."""
    perp, maker = chain.perp, chain.make_account(9_000)
    perp.deposit(maker, Decimal(20_000_000))
    perp.add_liquidity(maker, Decimal(20_000), Decimal(40_000_000), 1_000, 4_000)
    chain.fund(perp.deployment.insurance_fund, "USDC", Decimal(1_000_000))
    perp.deposit(maker, Decimal(200_000), of=chain.liquidator.address)


def _on_perp(chain: DevChain, accounts: Sequence[str]) -> list[str]:
    """The market falls ahead of the index, as far as it may: the mark price, a median, follows once the index does."""
    for account in accounts:
        chain.perp.deposit(account, Decimal(2_230))
        chain.perp.trade(account, Decimal(10))
    whale = chain.make_account(9_001)
    chain.perp.deposit(whale, Decimal(10_000_000))
    chain.perp.move_market(whale, FALL_TO + 5, lot=Decimal(200))
    return [f"perp:{account}" for account in accounts]


def _liquidated_on_perp(chain: DevChain) -> list[tuple[str, int]]:
    logs = chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [perp_abi.POSITION_LIQUIDATED]})
    return [(f"perp:{_account(log['topics'][1])}", int(log["blockNumber"], 16)) for log in logs]


def _account(topic: str) -> str:
    return str(to_checksum_address("0x" + topic[-40:]))


def _nothing(chain: DevChain) -> None:
    """All of it is there."""


PROTOCOLS: Mapping[str, Doomed] = {
    "aave_v3": Doomed(_nothing, _on_aave, _liquidated_on_aave),
    "morpho_blue": Doomed(_morpho, _on_morpho, _liquidated_on_morpho),
    "venus": Doomed(_venus, _on_venus, _liquidated_on_venus),
    "perp_v2": Doomed(_perp, _on_perp, _liquidated_on_perp),
}


def fall(chain: DevChain) -> int:
    """The number of the block that opens all of them to liquidation."""
    with chain.one_block():
        chain.set_price("WETH", FALL_TO)
        chain.perp.publish_price()
    return chain.block_number


def liquidated(chain: DevChain) -> list[tuple[str, int]]:
    """Of every protocol."""
    return [one for protocol in PROTOCOLS.values() for one in protocol.liquidated(chain)]
