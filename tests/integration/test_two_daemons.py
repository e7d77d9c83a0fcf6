"""Two daemons and one key: on one store the second waits or refuses; on two stores it stands by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.onchain import liquidations_on_chain, transactions_on_chain


def doom(chain: DevChain, *numbers: int, borrowed: int) -> list[str]:
    """Positions of 10 WETH that a price below `borrowed` / 8.3 opens to liquidation."""
    owners = [chain.accounts[number] for number in numbers]
    for owner in owners:
        chain.aave.supply(owner, "WETH", Decimal(10))
        chain.aave.borrow(owner, "USDC", Decimal(borrowed))
    return owners


@contextmanager
def live(folder: Path, chain: DevChain) -> Iterator[Keeper]:
    folder.mkdir()
    more = {"defences": {"yield_minutes": 60, "max_block_ahead_minutes": 0}}
    with deploy(folder, chain, mode="live", executor={"confirmations": 2}, more=more) as keeper:
        yield keeper


def confirmed(*keepers: Keeper) -> set[str]:
    rows = [row for keeper in keepers for row in keeper.liquidations()]
    return {row["account"] for row in rows if row["status"] == "confirmed"}


def on_chain(chain: DevChain) -> set[str]:
    return {account for account, _ in liquidations_on_chain(chain)}


def blocks_pass(chain: DevChain, *keepers: Keeper) -> bool:
    if all(keeper.is_synced() for keeper in keepers):
        chain.mine()
    return True


def test_of_two_on_stores_of_their_own_the_one_that_did_not_send_stands_by(dev_chain: DevChain, tmp_path: Path):
    """What the first sends is foreign to the second: noticed, and never fought. Nothing is sent twice."""
    dev_chain.fund_liquidator()
    first_owners = doom(dev_chain, 0, 1, borrowed=14_000)
    second_owners = doom(dev_chain, 2, borrowed=12_000)
    with live(tmp_path / "one", dev_chain) as one, live(tmp_path / "two", dev_chain) as two:
        one.start()
        one.until_synced()
        two.start()
        two.until_synced()
        two.run("pause")
        dev_chain.set_price("WETH", Decimal(1_600))
        one.until(
            "the first to liquidate", lambda: blocks_pass(dev_chain, one, two) and confirmed(one) == {*first_owners}
        )
        two.until("the second to notice", lambda: two.said("foreign_transactions_mined"))
        (two.config.parent / "var" / "keeper.db.pause").unlink()
        two.until("the pause to end", lambda: blocks_pass(dev_chain, one, two) and two.said("transactions_unpaused"))
        sent_before = len(two.transactions())
        dev_chain.set_price("WETH", Decimal(1_380))
        everybody = {*first_owners, *second_owners}
        one.until("the first to go on", lambda: blocks_pass(dev_chain, one, two) and confirmed(one) == everybody)
        assert one.said("foreign_transactions_mined") == []
        assert len(two.transactions()) == sent_before == 0
        assert "something else sends" in str(two.said("transactions_halted"))
        assert {one.terminate(), two.terminate()} == {0}
    liquidated = [account for account, _ in liquidations_on_chain(dev_chain)]
    assert sorted(set(liquidated)) == sorted(everybody)
    mined = transactions_on_chain(dev_chain, dev_chain.liquidator.address)
    recorded = {row["tx_hash"] for row in one.transactions()}
    assert {receipt["transactionHash"] for receipt in mined} <= recorded


def test_of_two_that_are_awake_as_a_price_falls_each_knows_what_was_not_its_own(dev_chain: DevChain, tmp_path: Path):
    """Both may act in the same instant, and which of them is first is chance. All is liquidated, nothing of the key is
    mined that is in no journal, and whoever sees a transaction that it did not sign stands by."""
    dev_chain.fund_liquidator()
    owners = doom(dev_chain, 0, 1, borrowed=14_000)
    dev_chain.mine_by_hand()
    with live(tmp_path / "one", dev_chain) as one, live(tmp_path / "two", dev_chain) as two:
        for keeper in (one, two):
            keeper.start()
            keeper.until_synced()
        dev_chain.set_price("WETH", Decimal(1_600))
        one.until("somebody to send", lambda: one.transactions() or two.transactions())
        one.until("all to be liquidated", lambda: blocks_pass(dev_chain, one, two) and on_chain(dev_chain) == {*owners})
        for _ in range(4):
            blocks_pass(dev_chain, one, two)
            one.until_synced()
            two.until_synced()
        mined = {
            receipt["transactionHash"] for receipt in transactions_on_chain(dev_chain, dev_chain.liquidator.address)
        }
        signed = [{row["tx_hash"] for row in keeper.transactions()} for keeper in (one, two)]
        assert mined <= signed[0] | signed[1]
        for keeper, own in zip((one, two), signed, strict=True):
            strangers = bool(mined - own)
            assert bool(keeper.said("foreign_transactions_mined")) == strangers
            assert ("something else sends" in str(keeper.said("transactions_halted"))) == strangers
            assert keeper.terminate() == 0


def test_a_second_on_the_same_store_refuses_or_stands_by_and_takes_over(dev_chain: DevChain, tmp_path: Path):
    """The one that waits is ready as soon as the first was killed, and goes on where that one stopped."""
    dev_chain.fund_liquidator()
    owners = doom(dev_chain, 0, borrowed=14_000)
    with live(tmp_path / "one", dev_chain) as one:
        one.start()
        one.until_synced()
        second = Keeper(dev_chain, one.config, tmp_path / "second.log")
        try:
            second.launch()
            assert second.wait() == 1
            assert f"in use by process {one.pid}: stop that daemon first" in second.log_tail()
            second.launch("--standby")
            second.until("it to stand by", lambda: second.said("standing_by"))
            one.kill()
            second.until("it to take over", lambda: second.said("took_over"))
            dev_chain.set_price("WETH", Decimal(1_600))
            second.until("it to liquidate", lambda: blocks_pass(dev_chain, second) and confirmed(second) == {*owners})
            assert second.terminate() == 0
        finally:
            if second.process is not None and second.process.poll() is None:
                second.process.kill()
                second.process.wait()
