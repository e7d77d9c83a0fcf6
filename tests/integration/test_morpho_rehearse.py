"""Rehearsals of Morpho's positions on a fork, by both levers, with the shipped planner, executor and contract."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.stress import Lever
from keeper.core.types import Skip
from keeper.core.units import WAD
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import aave_loans, uniswap, write_config
from tests.support.rehearsals import index, staged


@pytest.fixture(scope="module")
def chain() -> Iterator[DevChain]:
    """A position in each of two markets; one debtor owes nothing."""
    with DevChain.start() as chain:
        other = chain.morpho.add_market("WBTC", "USDC")
        for market in (chain.morpho.main, other):
            market.supply(chain.accounts[9 - 1], Decimal(2_000_000))
        chain.morpho.main.supply_collateral(chain.accounts[0], Decimal(10))
        chain.morpho.main.borrow(chain.accounts[0], Decimal(9_000))
        other.supply_collateral(chain.accounts[1], Decimal(1))
        other.borrow(chain.accounts[1], Decimal(40_000))
        other.supply_collateral(chain.accounts[2], Decimal(1))
        yield chain


@pytest.mark.parametrize("lever", list(Lever))
async def test_healthy_positions_are_made_liquidatable_and_liquidated(
    chain: DevChain, tmp_path: Path, lever: Lever
) -> None:
    """Just below the line, in either kind of market; on the chain that was forked nothing happened."""
    file = write_config(
        tmp_path / "keeper.toml",
        chain,
        notifiers=(),
        venues=[uniswap(chain)],
        funding=[aave_loans(chain)],
        protocols=["morpho_blue"],
    )
    house = await index(file, chain.block_number)
    block = chain.block_number
    async with staged(house, lever) as stage:
        for market, account in zip(chain.morpho.markets.values(), chain.accounts, strict=False):
            found = await stage.rehearse("morpho", market.id + bytes.fromhex(account[2:]))
            assert (found.lever, found.reason) == (lever, None)
            assert found.liquidated
            assert found.before is not None
            assert found.stressed is not None
            assert found.before.factor_wad is not None
            assert found.stressed.factor_wad is not None
            assert found.stressed.factor_wad < WAD < found.before.factor_wad
            assert WAD - found.stressed.factor_wad < WAD // 10**5
        idle = await stage.rehearse(
            "morpho", list(chain.morpho.markets.values())[1].id + bytes.fromhex(chain.accounts[2][2:])
        )
        assert isinstance(idle.reason, Skip)
        assert idle.reason.code == "no_debt"
    assert chain.block_number == block
