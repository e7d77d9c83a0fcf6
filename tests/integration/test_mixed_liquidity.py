"""Fifty positions open in one block over deep and thin pools: what pays is liquidated, once each, through a reorg."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.core.records import IntentStatus
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError
from keeper.executor.legs import legs_of
from tests.integration.test_flash_plans import contract
from tests.support.contract_house import Contract, Running, running
from tests.support.onchain import liquidations_on_chain, transactions_on_chain

__all__ = ["contract"]

WETH, WBTC = Decimal(1_780), Decimal(53_400)
THINNED_BPS = 9_900
NEVER = 2**40


def thin_out(chain: DevChain) -> None:
    """Whoever provides the WBTC pool's liquidity takes out all but a hundredth: $200,000 stay on each side."""
    positions = chain.uniswap.positions
    token_id = 2  # pools are made in the order WETH, WBTC, DAI
    owner = chain.call(positions, "ownerOf(uint256)(address)", token_id)
    details = chain.call(
        positions,
        "positions(uint256)(uint96,address,address,address,uint24,int24,int24,uint128,uint256,uint256,uint128,uint128)",
        token_id,
    )
    taken = details[7] * THINNED_BPS // 10_000
    decrease = "decreaseLiquidity((uint256,uint128,uint256,uint256,uint256))"
    chain.send(owner, positions, decrease, (token_id, taken, 0, 0, NEVER))
    chain.send(owner, positions, "collect((uint256,address,uint128,uint128))", (token_id, owner, 2**127, 2**127))


def open_positions(chain: DevChain) -> tuple[list[str], list[str], list[str]]:
    """Against ether, which a deep pool buys; against bitcoin, which a thin one does; and dust, not worth any gas."""
    accounts = [chain.make_account(number, Decimal(5)) for number in range(50)]
    deep, thin, dust = accounts[:32], accounts[32:40], accounts[40:]
    with chain.one_block():
        for who in deep:
            chain.aave.supply(who, "WETH", Decimal(10))
        for who in thin:
            chain.aave.supply(who, "WBTC", Decimal(1))
        for who in dust:
            chain.aave.supply(who, "WETH", Decimal("0.001"))
    with chain.one_block():
        for number, who in enumerate(deep):
            chain.aave.borrow(who, "USDC", Decimal(15_500) + number)
        for number, who in enumerate(thin):
            chain.aave.borrow(who, "USDC", Decimal(43_000) + number)
        for who in dust:
            chain.aave.borrow(who, "USDC", Decimal("1.55"))
    return deep, thin, dust


async def arbitraged(keeper: Running) -> None:
    """Others trade both pools back to the oracle's prices, and a block goes by."""
    for symbol, price in (("WETH", WETH), ("WBTC", WBTC)):
        with suppress(DevnetError):  # nobody sold there
            keeper.chain.move_pool(symbol, price)
    await keeper.follow()
    await keeper.mine()


async def until_done(keeper: Running, worth: set[str]) -> None:
    """Blocks go by until all of them are liquidated: exactly these, each once."""
    for _ in range(20):
        if set(done(keeper.chain)) == worth:
            break
        await arbitraged(keeper)
    assert done(keeper.chain) == Counter(worth)


def done(chain: DevChain) -> Counter[str]:
    return Counter(who for who, _ in liquidations_on_chain(chain))


@pytest.mark.timeout(240)
async def test_all_that_pay_are_liquidated_once_and_again_after_half_of_them_were_orphaned(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thin pool takes a few at a time, in part, and refuses the rest until it recovers; no transaction reverts, and
    none is sent for dust. Then a reorg takes half of them back, and without help all are settled on the new branch."""
    chain = contract.chain
    thin_out(chain)
    deep, thin, dust = open_positions(chain)
    worth = {*deep, *thin}
    async with running(contract, tmp_path, monkeypatch, max_pending=20, approve_exactly=True) as keeper:
        chain.move_pool("WETH", WETH)
        chain.move_pool("WBTC", WBTC)
        with chain.one_block():
            chain.set_price("WETH", WETH)
            chain.set_price("WBTC", WBTC)
        fallen = chain.block_number
        await keeper.follow()
        await keeper.mine()
        first = done(chain)
        assert len(first) == len(worth) // 2
        assert sum(first[who] for who in thin) < len(thin)
        await until_done(keeper, worth)

        blocks = sorted({number for _, number in liquidations_on_chain(chain)})
        depth = chain.block_number - blocks[1] + 1
        assert chain.block_number - depth >= fallen
        chain.reorg(depth)
        assert len(done(chain)) == len(worth) // 2
        await keeper.follow()
        await until_done(keeper, worth)
        await keeper.mine(4)
        assert done(chain) == Counter(worth)
        legs = [leg for intent in keeper.store.intents() if intent.kind != "approval" for leg in legs_of(intent)]
        confirmed = [leg.account for leg in legs if leg.status is IntentStatus.CONFIRMED]
        assert sorted("0x" + account.hex() for account in confirmed) == sorted(who.lower() for who in worth)
        assert {leg.status for leg in legs} <= {IntentStatus.CONFIRMED, IntentStatus.ABANDONED}
        assert not {"0x" + leg.account.hex() for leg in legs} & {who.lower() for who in dust}
        thinly = [leg for leg in legs if "0x" + leg.account.hex() in {who.lower() for who in thin}]
        assert all(leg.repaid_assets is None or leg.repaid_assets < 10_000 * 10**6 for leg in thinly), "in part"
        mined = transactions_on_chain(chain, chain.liquidator.address)
        assert {receipt["status"] for receipt in mined} == {"0x1"}
        for leg in legs:
            assert leg.status is IntentStatus.ABANDONED or (leg.profit_realized or 0) > 10**8
