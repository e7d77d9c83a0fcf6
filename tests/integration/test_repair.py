"""`keeper repair` between two runs of the daemon: the index is made anew, and nobody notices but by its answers."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox
from tests.support.onchain import assert_parity, liquidations_on_chain

PAGE = 4096


def blocks_pass(keeper: Keeper) -> bool:
    if keeper.is_synced():
        keeper.chain.mine()
    return True


def spoil(path: Path) -> None:
    """Overwrite a page of headers."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        question = "SELECT pageno FROM dbstat WHERE name = 'blocks' AND pagetype = 'leaf'"
        pages = [number for (number,) in connection.execute(question)]
    with path.open("r+b") as file:
        file.seek((pages[-1] - 1) * PAGE)
        file.write(b"\xff" * PAGE)


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_the_record_survives_and_nothing_is_told_or_sent_twice(dev_chain: DevChain, tmp_path: Path, damaged: bool):
    called, doomed = dev_chain.accounts[:2]
    for owner, borrowed in ((called, 12_000), (doomed, 14_000)):
        dev_chain.aave.supply(owner, "WETH", Decimal(10))
        dev_chain.aave.borrow(owner, "USDC", Decimal(borrowed))
    dev_chain.fund_liquidator()
    with (
        open_inbox() as inbox,
        deploy(tmp_path, dev_chain, inbox, mode="live", executor={"confirmations": 2}) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", Decimal(1_550))
        keeper.until(
            "the doomed to be liquidated", lambda: blocks_pass(keeper) and "liquidated" in inbox.events(doomed)
        )
        keeper.until("it to be confirmed", lambda: blocks_pass(keeper) and confirmed(keeper) == [doomed])
        keeper.until("all to be delivered", keeper.is_quiet)
        assert keeper.terminate() == 0
        told = {owner: inbox.events(owner) for owner in (called, doomed)}
        assert told[called] == ["opened"]
        calls, sent = len(keeper.calls()), signed(keeper)
        if damaged:
            spoil(tmp_path / "var" / "keeper.db")
            refused = keeper.run("run")
            assert refused.returncode == 1 and "run `keeper repair`" in refused.stderr
        assert "say --yes" in keeper.run("repair").stderr
        repaired = keeper.run("repair", "--yes")
        assert repaired.returncode == 0, repaired.stderr
        assert ("damaged file is" in repaired.stdout) is damaged
        assert len(keeper.calls()) == calls and signed(keeper) == sent
        keeper.start()
        keeper.until_synced()
        assert_parity(dev_chain, keeper.health())
        dev_chain.set_price("WETH", Decimal(2_200))
        keeper.until_told(inbox, called, "opened", "cured")
        assert inbox.events(doomed) == told[doomed]
        assert signed(keeper) == sent
        assert keeper.terminate() == 0
    assert [account for account, _ in liquidations_on_chain(dev_chain)] == [doomed]


def confirmed(keeper: Keeper) -> list[str]:
    return [row["account"] for row in keeper.liquidations() if row["status"] == "confirmed"]


def signed(keeper: Keeper) -> list[tuple[str, int, str]]:
    """What was signed, and what became of it."""
    return [(row["tx_hash"], row["nonce"], row["intent_status"]) for row in keeper.transactions()]
