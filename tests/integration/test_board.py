"""Margin calls posted on chain by a daemon on the real Aave: once each, by the executor's key, true after reorgs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keeper.devnet.chain import DevChain
from tests.integration.test_daemon import CALLED, URGENT, again, borrow_against_ether
from tests.support.boards import Board
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import Inbox, open_inbox

BREACHED = Decimal(1_600)


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as inbox:
        yield inbox


@pytest.fixture
def board(dev_chain: DevChain) -> Board:
    """Its poster is the wallet that Keeper has the key of."""
    return Board.deployed(dev_chain, dev_chain.accounts[5], dev_chain.liquidator.address)


@contextmanager
def posting(
    folder: Path, board: Board, inbox: Inbox, mode: str = "off", executor: dict[str, Any] | None = None, **keys: Any
) -> Iterator[Keeper]:
    """A deployment that tells by webhook and on the board."""
    from keeper.devnet.configuration import write_config

    notifiers = [
        {"kind": "webhook", "url": inbox.url, "secret": "env:TEST_WEBHOOK_SECRET"},
        {"kind": "board", "address": board.address, **keys},
    ]
    with deploy(folder, board.chain, inbox, mode=mode) as keeper:
        write_config(
            keeper.config,
            board.chain,
            mode=mode,
            notifiers=notifiers,
            executor={"confirmations": 2, **(executor or {})},
        )
        yield keeper


def until_mined(keeper: Keeper, what: str, condition: Callable[[], Any]) -> None:
    """Blocks go by until it is so: what is sent needs one to be in, and more to be confirmed."""

    def look() -> Any:
        if keeper.is_synced():
            keeper.chain.mine()
        return condition()

    keeper.until(what, look)


def until_sent(keeper: Keeper) -> None:
    """Blocks go by until it has sent something, which none of them takes."""

    def look() -> Any:
        if not (sent := keeper.transactions()) and keeper.is_synced():
            keeper.chain.mine()
        return sent

    keeper.until("its transaction", look)


def on_board(keeper: Keeper, account: str) -> list[tuple[str, str]]:
    """Event and status of every delivery to the board."""
    return [
        (notice["event"], notice["status"])
        for call in keeper.calls(account)
        for notice in call["notices"]
        if notice["channel"] == "board"
    ]


def test_an_alert_only_deployment_with_a_key_for_the_board_alone_posts_and_never_liquidates(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """Opened, escalated, open to liquidation, and cured are on chain in order, read by web3; the wallet sent nothing
    else although it could have liquidated."""
    (alice,) = dev_chain.accounts[:1]
    borrow_against_ether(dev_chain, alice)
    dev_chain.fund(dev_chain.liquidator.address, "USDC", 10**12)
    with posting(tmp_path, board, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        for price, said in ((CALLED, ["opened"]), (BREACHED, ["opened", "escalated"])):
            dev_chain.set_price("WETH", price)
            until_mined(keeper, f"the board to say {said}", lambda said=said: board.said(alice) == said)
        position = board.events(alice)[0]["name"]
        assert position == f"aave:{alice}"
        assert board.band_of(position) == 4
        dev_chain.aave.repay(alice, "USDC", Decimal(9_000))
        until_mined(keeper, "the cure", lambda: board.said(alice) == ["opened", "escalated", "cured"])
        until_mined(keeper, "confirmations", lambda: {status for _, status in on_board(keeper, alice)} == {"sent"})
        assert board.band_of(position) == 0
        opened = board.events(alice)[0]
        webhook = inbox.notices(alice)[0]
        assert str(opened["health_wad"]) == webhook["health_wad"]
        assert opened["block_hash"].hex() == webhook["block_hash"].removeprefix("0x")
        assert [str(one["amount"]) for one in opened["demands"]] == [one["amount"] for one in webhook["demands"]]
        assert {row["kind"] for row in keeper.transactions()} == {"notice"}
        assert keeper.liquidations() == []
        assert keeper.terminate() == 0


def test_told_to_be_alert_only_nothing_is_posted_whatever_is_configured(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """`--alert-only` means never to transact; the other notifier tells as ever."""
    (alice,) = dev_chain.accounts[:1]
    borrow_against_ether(dev_chain, alice)
    with posting(tmp_path, board, inbox, mode="live") as keeper:
        keeper.start("--alert-only")
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until("the call", lambda: inbox.events(alice) == ["opened"])
        dev_chain.mine(3)
        keeper.until_synced()
        assert (board.events(), keeper.transactions(), on_board(keeper, alice)) == ([], [], [])
        assert keeper.terminate() == 0


def test_one_key_liquidates_and_posts_without_a_nonce_used_twice(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """The board says that they were called and that they were liquidated."""
    accounts = dev_chain.accounts[:3]
    borrow_against_ether(dev_chain, *accounts)
    dev_chain.fund(dev_chain.liquidator.address, "USDC", 10**12)
    with posting(tmp_path, board, inbox, mode="live") as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", BREACHED)
        until_mined(
            keeper,
            "all to be liquidated and the board to say so",
            lambda: all(board.said(account) == ["opened", "liquidated"] for account in accounts),
        )
        rows = keeper.transactions()
        assert {"liquidation", "notice"} <= {row["kind"] for row in rows}
        mined = [row["nonce"] for row in rows if row["status"] == "included"]
        assert len(mined) == len(set(mined))
        assert keeper.terminate() == 0


def test_a_daemon_that_is_killed_while_it_posts_says_everything_once(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """SIGKILL before its transaction is mined, and again before it is confirmed."""
    (alice,) = dev_chain.accounts[:1]
    borrow_against_ether(dev_chain, alice)
    with posting(tmp_path, board, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.client.set_mining("manual")
        dev_chain.set_price("WETH", CALLED)
        keeper.until("the call", lambda: inbox.events(alice) == ["opened"])
        until_sent(keeper)
        keeper.kill()
        keeper.start()
        until_mined(keeper, "the posting", lambda: board.said(alice) == ["opened"])
        keeper.kill()
        keeper.start()
        until_mined(keeper, "confirmations", lambda: on_board(keeper, alice) == [("opened", "sent")])
        dev_chain.set_price("WETH", URGENT)
        until_mined(keeper, "the escalation", lambda: board.said(alice) == ["opened", "escalated"])
        assert keeper.terminate() == 0
    assert board.said(alice) == ["opened", "escalated"]


def test_an_orphaned_posting_of_what_is_still_true_is_posted_again(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """The new branch has the fall of the price, and not our transaction."""
    (alice,) = dev_chain.accounts[:1]
    borrow_against_ether(dev_chain, alice)
    with posting(tmp_path, board, inbox) as keeper:
        keeper.start()
        keeper.until_synced()
        fall = dev_chain.set_price("WETH", CALLED)
        until_mined(keeper, "the posting", lambda: board.said(alice) == ["opened"])
        first = board.events(alice)[0]
        depth = dev_chain.block_number - int(fall.mined["blockNumber"], 16) + 1
        dev_chain.reorg(depth, [(again(dev_chain, fall), 0)])
        assert board.events() == []
        until_mined(keeper, "the posting again", lambda: board.said(alice) == ["opened"])
        until_mined(keeper, "confirmations", lambda: on_board(keeper, alice)[0] == ("opened", "sent"))
        assert board.events(alice)[0]["notice"] == first["notice"]
        assert inbox.events(alice) == ["opened"]
        assert keeper.terminate() == 0


def test_an_orphaned_posting_of_what_is_no_longer_true_is_given_up(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """The new branch has neither the fall nor our transaction: readers of the board see that nothing was the matter,
    whoever was told otherwise is told that it is withdrawn."""
    (alice,) = dev_chain.accounts[:1]
    borrow_against_ether(dev_chain, alice)
    with posting(tmp_path, board, inbox, executor={"confirmations": 20}) as keeper:
        keeper.start()
        keeper.until_synced()
        fall = dev_chain.set_price("WETH", CALLED)
        until_mined(keeper, "the posting", lambda: board.said(alice) == ["opened"])
        dev_chain.reorg(dev_chain.block_number - int(fall.mined["blockNumber"], 16) + 1)
        until_mined(keeper, "the withdrawal", lambda: inbox.events(alice) == ["opened", "withdrawn"])
        until_mined(
            keeper,
            "the posting to be given up",
            lambda: [row["intent_status"] for row in keeper.transactions()][-1] == "abandoned",
        )
        until_mined(
            keeper, "the end", lambda: on_board(keeper, alice) == [("opened", "dropped"), ("withdrawn", "dropped")]
        )
        assert board.events() == []
        assert board.band_of(f"aave:{alice}") == 0
        assert keeper.terminate() == 0


def test_what_exceeds_the_postings_of_an_hour_waits(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """Gas is spent within limits; other notifiers are told all the same."""
    alice, bob = dev_chain.accounts[:2]
    borrow_against_ether(dev_chain, alice, bob)
    with posting(tmp_path, board, inbox, max_posts_per_hour=1) as keeper:
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        until_mined(keeper, "one posting", lambda: len(board.events()) == 1)
        keeper.until("both to be told", lambda: inbox.events(alice) == inbox.events(bob) == ["opened"])
        until_mined(keeper, "the limit", lambda: keeper.said("postings_held_back"))
        dev_chain.mine(5)
        keeper.until_synced()
        assert len(board.events()) == 1
        assert keeper.terminate() == 0


def test_check_says_whether_the_board_takes_our_notices(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """Its code, our permission, our money; with the remedy when one is missing."""
    with posting(tmp_path, board, inbox) as keeper:
        fine = keeper.run("check")
        assert fine.returncode == 0, fine.stdout
        assert "may post, with" in fine.stdout
        assert "nothing is sent but what board posts" in fine.stdout
        poster = dev_chain.liquidator.address
        dev_chain.send(board.owner, board.address, "allow_poster(address,bool)", poster, False)
        refused = keeper.run("check")
        assert refused.returncode == 1
        assert f"let its owner call allow_poster({poster}, true)" in refused.stdout


def test_a_board_without_a_key_is_refused_before_anything_starts(
    dev_chain: DevChain, board: Board, inbox: Inbox, tmp_path: Path
) -> None:
    """The remedy is named; `--alert-only` needs none."""
    with posting(tmp_path, board, inbox) as keeper:
        del keeper.environment["KEEPER_PRIVATE_KEY"]
        refused = keeper.run("run", "--until-block", "1")
        assert refused.returncode == 1
        assert "notifier board posts on chain and needs a key" in refused.stderr
        assert keeper.run("run", "--alert-only", "--until-block", "1").returncode == 0
