"""Fifty accounts that become open to liquidation in one block, and one wallet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox
from tests.support.onchain import assert_parity, liquidations_on_chain, transactions_on_chain

ACCOUNTS = 50
_DEBTS = {"USDC": Decimal(15_500), "DAI": Decimal(15_400)}


@pytest.fixture
def chain() -> Iterator[DevChain]:
    """Blocks are mined by hand, so that they hold many transactions; a block of 60 million gas."""
    with DevChain.start(manual_mining=True) as chain:
        yield chain


def open_positions(chain: DevChain) -> list[str]:
    """10 WETH each against USDC or DAI: a health of 1.06 to 1.07, which one fall of the price ends for all of them."""
    accounts = [chain.make_account(number, Decimal(5)) for number in range(ACCOUNTS)]
    for symbol in _DEBTS:
        chain.fund(accounts[0], symbol, 1)
    with chain.one_block():
        for account in accounts:
            chain.aave.supply(account, "WETH", Decimal(10))
    with chain.one_block():
        for number, account in enumerate(accounts):
            symbol = ("USDC", "DAI")[number % 2]
            chain.aave.borrow(account, symbol, _DEBTS[symbol] + number)
    return accounts


def mine_until_liquidated(chain: DevChain, keeper: Keeper, accounts: list[str], most_blocks: int) -> None:
    """Mine block by block, each once the daemon has sent all that it may have on the way at a time."""
    for _ in range(most_blocks):
        left = set(accounts) - {account for account, _ in liquidations_on_chain(chain)}
        if not left:
            return
        keeper.until("what the next block can hold", partial(sent, keeper, left))
        chain.mine()
        keeper.until_synced()


def sent(keeper: Keeper, left: set[str]) -> bool:
    on_their_way = {row["account"] for row in keeper.liquidations() if row["status"] == "broadcast"}
    signed = [row for row in keeper.transactions() if row["broadcast_at"] is None]
    return not signed and len(on_their_way & left) >= min(len(left), keeper.settings.executor.max_pending)


def assert_sound(chain: DevChain, keeper: Keeper, accounts: list[str]) -> None:
    """One LiquidationCall for each account, each transaction ours and journalled, successful, nonces without a gap."""
    assert Counter(account for account, _ in liquidations_on_chain(chain)) == Counter(accounts)
    mined = transactions_on_chain(chain, chain.liquidator.address)
    assert {receipt["status"] for receipt in mined} == {"0x1"}
    journal = {row["tx_hash"]: row for row in keeper.transactions()}
    assert [journal[receipt["transactionHash"]]["nonce"] for receipt in mined] == list(range(len(mined)))
    causes = Counter(journal[receipt["transactionHash"]]["cause"] for receipt in mined)
    assert set(causes.values()) == {1}


def test_fifty_accounts_are_liquidated_within_three_blocks_and_again_after_a_reorg(
    chain: DevChain, tmp_path: Path
) -> None:
    """With the default settings. Then the blocks with some of them are orphaned, and without help all are settled on
    the new branch: nobody twice, no nonce skipped, and that is the last that every owner hears."""
    accounts = open_positions(chain)
    chain.fund_liquidator(Decimal(5_000_000))
    chain.mine(40)
    with open_inbox() as inbox, deploy(tmp_path, chain, inbox, mode="live") as keeper:
        keeper.start()
        keeper.until_synced()
        fall = chain.set_price("WETH", Decimal(1_740)).block_number  # below 0.95, so that a whole debt may be repaid
        mine_until_liquidated(chain, keeper, accounts, most_blocks=3)
        done = liquidations_on_chain(chain)
        assert max(number for _, number in done) <= fall + 3
        assert_sound(chain, keeper, accounts)

        chain.mine()
        keeper.until_synced()
        depth = chain.block_number - max(number for _, number in done) + 1
        chain.reorg(depth)
        lost = ACCOUNTS - len(liquidations_on_chain(chain))
        assert lost > 0
        keeper.until("the reorg to be noticed", lambda: keeper.said("chain_reorganized"))
        mine_until_liquidated(chain, keeper, accounts, most_blocks=6)
        assert_sound(chain, keeper, accounts)
        for _ in range(4):
            chain.mine()
            keeper.until_synced()
        keeper.until("owners to hear it", lambda: all(inbox.events(who)[-1:] == ["liquidated"] for who in accounts))
        assert {row["status"] for row in keeper.liquidations()} == {"confirmed"}
        assert_sound(chain, keeper, accounts)
        assert_parity(chain, keeper.health())
