"""What is ready leaves as the head comes, on the real protocol, and the block is taken as ever after it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from keeper.devnet.client import Receipt
from keeper.executor.armory import META
from tests.support.daemon import Keeper, deploy
from tests.support.onchain import liquidations_on_chain, transactions_on_chain

LEFT = "transactions_left_at_once"


def borrow(chain: DevChain, *owners: str) -> None:
    """Positions that a fall to 1700 opens, and nothing else."""
    for owner in owners:
        chain.aave.supply(owner, "WETH", Decimal(10))
        chain.aave.borrow(owner, "USDC", Decimal(15_900))


def approve(chain: DevChain) -> None:
    chain.fund_liquidator()
    usdc = chain.tokens["USDC"].address
    chain.send(chain.liquidator.address, usdc, "approve(address,uint256)", chain.aave.pool, 2**256 - 1)


def until_ready(keeper: Keeper, count: int) -> None:
    """Until so many are, at the tip."""
    keeper.chain.mine()

    def ready() -> bool:
        with keeper.reading() as store:
            return keeper.is_synced() and (store.meta(META) or "").count('"cause":') == count

    keeper.until(f"{count} transactions to be ready", ready)


def again(chain: DevChain, receipt: Receipt) -> dict[str, str]:
    """The transaction of a receipt as a request, for a branch where it is mined again."""
    sent = chain.rpc("eth_getTransactionByHash", receipt.tx_hash)
    return {name: sent[field] for name, field in (("from", "from"), ("to", "to"), ("data", "input"), ("gas", "gas"))}


def stage(keeper: Keeper, name: str) -> int:
    """How many blocks came so far, as `keeper stats` says."""
    return sum(int(row["count"]) for row in keeper.ask("stats") if row.get("stage") == name)


def test_two_leave_as_the_head_comes_and_are_told_as_if_the_block_had_been_read_first(
    dev_chain: DevChain, tmp_path: Path
) -> None:
    """One after the other in nonces; then that head is replaced by another one, and after it a pause holds. A node that
    is too busy to answer at once is overtaken by the ordinary way, as it should be: then it is tried again."""
    chain, us = dev_chain, dev_chain.liquidator.address
    owners = chain.accounts[:7]
    approve(chain)
    chain.mine_by_hand()
    with deploy(tmp_path, chain, mode="live", rpc=[chain.ws_url], executor={"confirmations": 2}) as keeper:
        keeper.start()
        keeper.until_synced()
        for start in (0, 2, 4):
            borrow(chain, *owners[start : start + 2])
            until_ready(keeper, 2)
            before, done = len(transactions_on_chain(chain, us)), start + 2
            fall = chain.set_price("WETH", Decimal(1_700))
            keeper.until("both to be journalled", lambda n=done: len(keeper.liquidations()) == n)
            if keeper.said(LEFT):
                break
            chain.mine()
            chain.set_price("WETH", Decimal(2_000))
        assert [said["block"] for said in keeper.said(LEFT)] == [chain.block_number]
        keeper.until("the pulse to tell", lambda: stage(keeper, "quick") == 1)
        chain.reorg(1, [(again(chain, fall), 0)])  # the head because of which they left never was
        keeper.until("the other block to be taken", lambda: keeper.said("chain_reorganized") and keeper.is_synced())
        chain.mine()
        mined = {"included", "confirmed"}
        keeper.until("both to be mined", lambda: {row["status"] for row in keeper.liquidations()} <= mined)
        assert sorted(owner for owner, _ in liquidations_on_chain(chain)) == sorted(owners[:done])
        assert len(transactions_on_chain(chain, us)) == before + 2
        assert sorted(row["nonce"] for row in keeper.transactions())[-2:] == [before, before + 1]

        chain.set_price("WETH", Decimal(2_000))
        borrow(chain, owners[done])
        until_ready(keeper, 1)
        assert keeper.run("pause").returncode == 0
        chain.set_price("WETH", Decimal(1_700))
        keeper.until_synced()
        assert len(keeper.said(LEFT)) == 1
        assert len(keeper.liquidations()) == done
        assert keeper.run("resume").returncode == 0
        chain.mine()
        keeper.until("it to be sent after the pause", lambda: len(keeper.liquidations()) == done + 1)
        assert keeper.terminate() == 0


def test_a_block_that_touches_the_pool_is_read_before_anything_leaves(dev_chain: DevChain, tmp_path: Path) -> None:
    """The owner saves the position in the very block that would have opened it: its transaction stays."""
    chain = dev_chain
    owner = chain.accounts[0]
    approve(chain)
    borrow(chain, owner)
    chain.mine_by_hand()
    with deploy(tmp_path, chain, mode="live", rpc=[chain.ws_url]) as keeper:
        keeper.start()
        keeper.until_synced()
        until_ready(keeper, 1)
        with chain.one_block():
            chain.set_price("WETH", Decimal(1_700))
            chain.aave.supply(owner, "WETH", Decimal(10))
        keeper.until_synced()
        assert keeper.said(LEFT) == []
        assert keeper.liquidations() == []
        assert keeper.terminate() == 0


def test_what_depends_on_contracts_of_anybody_is_left_to_the_ordinary_way(dev_chain: DevChain, tmp_path: Path) -> None:
    """Morpho's oracles are asked in a request of their own: its liquidations leave once the block is read."""
    chain, market = dev_chain, dev_chain.morpho.main
    owner, usdc = chain.accounts[0], chain.tokens["USDC"].address
    chain.fund_liquidator()
    market.supply(chain.accounts[2], Decimal(1_000_000))
    chain.send(chain.liquidator.address, usdc, "approve(address,uint256)", market.morpho, 2**256 - 1)
    market.supply_collateral(owner, Decimal(10))
    market.borrow(owner, Decimal(16_500))
    chain.mine_by_hand()
    with deploy(tmp_path, chain, mode="live", rpc=[chain.ws_url], protocols=["morpho_blue"]) as keeper:
        keeper.start()
        keeper.until_synced()
        until_ready(keeper, 1)
        chain.set_price("WETH", Decimal(1_800))
        keeper.until("it to be journalled", lambda: len(keeper.liquidations()) == 1)
        assert keeper.said(LEFT) == []
        chain.mine()
        keeper.until("it to be mined", lambda: {row["status"] for row in keeper.liquidations()} == {"included"})
        assert keeper.terminate() == 0
    assert market.position(owner).borrow_shares == 0
