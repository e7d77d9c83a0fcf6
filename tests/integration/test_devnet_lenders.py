"""Balancer and Morpho on the dev chain are the real ones, and there only when asked for."""

from __future__ import annotations

from decimal import Decimal

import pytest

from keeper.devnet.chain import DevChain
from keeper.devnet.errors import Reverted
from keeper.devnet.morpho import LLTV_WAD


def test_morpho_lends_up_to_what_the_feeds_say(shared_chain: DevChain):
    """10 WETH at $2,000 carry 86 % in USDC and not one unit more."""
    morpho, (lender, borrower) = shared_chain.morpho, shared_chain.accounts[:2]
    morpho.supply(lender, Decimal(1_000_000))
    morpho.supply_collateral(borrower, Decimal(10))
    most = 10 * 2_000 * 10**6 * LLTV_WAD // 10**18
    with pytest.raises(Reverted, match="insufficient collateral"):
        morpho.borrow(borrower, most + 1)
    morpho.borrow(borrower, most)
    position = morpho.position(borrower)
    assert (position.owed_assets, position.collateral_assets) == (most, 10 * 10**18)
    shared_chain.set_price("WETH", Decimal(1_999))
    with pytest.raises(Reverted, match="insufficient collateral"):
        morpho.borrow(borrower, 1)


def test_morphos_debt_grows_with_its_utilization(shared_chain: DevChain):
    """Half of the supply borrowed costs half of it a year, continuously."""
    morpho, (lender, borrower) = shared_chain.morpho, shared_chain.accounts[:2]
    morpho.supply(lender, Decimal(20_000))
    morpho.supply_collateral(borrower, Decimal(10))
    morpho.borrow(borrower, Decimal(10_000))
    shared_chain.warp(365 * 86_400)
    morpho.supply(lender, 1)
    # The third Taylor approximation of e^0.5, as MathLib.wTaylorCompounded.
    assert morpho.position(borrower).owed_assets == pytest.approx(
        10_000 * 10**6 * (1 + 0.5 + 0.125 + 0.125 / 6), rel=1e-6
    )


def test_the_vault_charges_what_it_is_told_and_rounds_up(shared_chain: DevChain):
    balancer = shared_chain.balancer
    assert balancer.flash_fee(10**6) == 0
    balancer.set_flash_fee(10**15)
    assert (balancer.flash_fee(10**6), balancer.flash_fee(10**6 + 1)) == (1_000, 1_001)
    with pytest.raises(Reverted, match="BAL#601"):
        balancer.set_flash_fee(10**16 + 1)


def test_what_was_deployed_while_rewound_is_deployed_again(shared_chain: DevChain):
    """Not remembered at an address where there is nothing any more."""
    with shared_chain.rewound():
        gone = shared_chain.morpho.address, shared_chain.balancer.vault
        assert shared_chain.rpc("eth_getCode", gone[0], "latest") != "0x"
    assert shared_chain.rpc("eth_getCode", gone[0], "latest") == "0x"
    shared_chain.morpho.supply(shared_chain.accounts[0], Decimal(1))
    shared_chain.balancer.fill("USDC", Decimal(1))


def test_a_fork_has_the_same_lenders(dev_chain: DevChain):
    dev_chain.morpho.supply(dev_chain.accounts[0], Decimal(7))
    dev_chain.balancer.fill("USDC", Decimal(8))
    fork = dev_chain.fork()
    try:
        assert fork.morpho.address == dev_chain.morpho.address
        assert fork.balance(fork.morpho.address, "USDC") == 7 * 10**6
        assert fork.balance(fork.balancer.vault, "USDC") == 8 * 10**6
        fork.morpho.supply(fork.accounts[0], Decimal(1))
        assert dev_chain.balance(dev_chain.morpho.address, "USDC") == 7 * 10**6
    finally:
        fork.stop()
