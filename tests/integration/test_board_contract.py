"""The MarginCallBoard on a real chain: who may say what, once, at which price; and how others read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper.core.errors import NoticeRefused
from keeper.core.records import Notice, NoticeEvent
from keeper.core.units import UINT256_MAX
from keeper.devnet.abi import selector, signature_of
from keeper.devnet.chain import DevChain
from keeper.devnet.client import Receipt
from keeper.devnet.errors import Reverted
from keeper.notifier.board import MAX_DEMANDS, MAX_NAME, Options, encode_post
from tests.support.boards import COMPILED, Board
from tests.support.notices import notice

ENTRIES = {entry["name"]: entry for entry in COMPILED["abi"] if entry["type"] == "function"}
CHANGING = sorted(name for name, entry in ENTRIES.items() if entry["stateMutability"] == "nonpayable")
DEFAULT_GAS = Options.__dataclass_fields__["gas_limit"].default


@pytest.fixture
def board(shared_chain: DevChain) -> Board:
    """Owned by the first account; the second may post."""
    return Board.deployed(shared_chain, shared_chain.accounts[0], shared_chain.accounts[1])


@pytest.fixture
def poster(board: Board) -> str:
    return board.chain.accounts[1]


@pytest.fixture
def stranger(board: Board) -> str:
    return board.chain.make_account(667)


def post(board: Board, who: str, told: Notice, gas: int = DEFAULT_GAS) -> Receipt:
    return board.chain.client.send_data(who, board.address, encode_post(told), "post", gas=gas)


def longest(number: int = 1) -> Notice:
    """The most that a notice can carry."""
    demand = {"action": "add_collateral", "asset": "0x" + "ff" * 20, "amount": str(UINT256_MAX)}
    demands = [{**demand, "resulting_health_wad": str(UINT256_MAX)} for _ in range(MAX_DEMANDS)]
    name = "p" * MAX_NAME
    told = notice(number, position=name, band="liquidatable")
    return replace(told, body={**told.body, "health_wad": str(UINT256_MAX), "demands": demands})


def call_data(name: str, who: str) -> bytes:
    if name == "post":
        return encode_post(notice())
    values: dict[str, Any] = {"address": bytes.fromhex(who[2:]).rjust(32, b"\0"), "bool": (1).to_bytes(32, "big")}
    arguments = b"".join(values[field["type"]] for field in ENTRIES[name]["inputs"])
    return selector(signature_of(ENTRIES[name])) + arguments


# --- what is read -----------------------------------------------------------------------------------------------------


def test_web3_reads_from_the_event_all_that_the_notice_says(board: Board, poster: str) -> None:
    """Account, position, health and demand, with the block it was judged at."""
    told = notice(1)
    post(board, poster, told)
    (event,) = board.events()
    account = "0x" + told.account.hex()
    assert event["account"].lower() == account
    assert (event["name"], event["position"]) == (told.position, keccak(text=told.position))
    assert event["notice"] == keccak(text=told.id)
    assert (event["what"], event["band"], event["health_wad"]) == (1, 2, 1_090_000_000_000_000_000)
    assert (event["block_number"], event["block_hash"]) == (told.block_number, told.block_hash)
    (demand,) = event["demands"]
    assert (demand["add_collateral"], demand["asset"].lower()) == (False, "0x" + "a0" * 20)
    assert (demand["amount"], demand["resulting_health_wad"]) == (250_000_000, UINT256_MAX)


def test_events_can_be_followed_by_account_position_or_notice(board: Board, poster: str) -> None:
    """They are indexed: a wallet asks its node for its own only."""
    for number in (1, 2, 3):
        post(board, poster, notice(number, position=f"aave:{number}"))
    account = "0x" + notice(2).account.hex()
    assert [event["name"] for event in board.events(board.chain.client.call(board.address, "owner()(address)"))] == []
    from web3 import Web3

    assert [event["name"] for event in board.events(Web3.to_checksum_address(account))] == ["aave:2"]


def test_contracts_ask_for_the_band_of_an_open_call(board: Board, poster: str) -> None:
    """It deepens with an escalation and is gone with whatever closes the call."""
    assert board.band_of("aave:0xA") == 0
    post(board, poster, notice(1))
    assert board.band_of("aave:0xA") == 2
    post(board, poster, notice(2, event=NoticeEvent.ESCALATED, band="liquidatable"))
    assert board.band_of("aave:0xA") == 4
    for number, event in enumerate(event for event in NoticeEvent if event.ends_episode):
        post(board, poster, notice(10 + number, event=event, band="liquidatable"))
        assert board.band_of("aave:0xA") == 0
        post(board, poster, notice(20 + number))
        assert board.band_of("aave:0xA") == 2


# --- once -------------------------------------------------------------------------------------------------------------


def test_a_notice_is_posted_once_whoever_posts_it(board: Board, poster: str) -> None:
    """A retry, a second Keeper with the same owner, other words under the same id: none is said twice."""
    second = board.chain.accounts[2]
    board.chain.send(board.owner, board.address, "allow_poster(address,bool)", second, True)
    post(board, poster, notice(1))
    for who, told in ((poster, notice(1)), (second, notice(1)), (second, replace(notice(1), band="urgent"))):
        with pytest.raises(Reverted, match="already posted"):
            post(board, who, told)
    assert len(board.events()) == 1


# --- who --------------------------------------------------------------------------------------------------------------

REFUSALS = {
    "post": "not a poster",
    "allow_poster": "not the owner",
    "offer_ownership": "not the owner",
    "accept_ownership": "not the heir",
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_stranger_can_do_nothing(board: Board, stranger: str, name: str) -> None:
    """Every function that changes anything says why it does not."""
    with pytest.raises(Reverted, match=REFUSALS[name]):
        board.chain.client.send_data(stranger, board.address, call_data(name, stranger), name)


def test_a_poster_configures_nothing_and_an_owner_does_not_post(board: Board, poster: str) -> None:
    """A stolen poster's key can be dismissed; the owner's can stay in its safe."""
    for name in ("allow_poster", "offer_ownership"):
        with pytest.raises(Reverted, match="not the owner"):
            board.chain.client.send_data(poster, board.address, call_data(name, poster), name)
    with pytest.raises(Reverted, match="not a poster"):
        post(board, board.owner, notice(1))
    board.chain.send(board.owner, board.address, "allow_poster(address,bool)", poster, False)
    with pytest.raises(Reverted, match="not a poster"):
        post(board, poster, notice(1))


def test_ownership_passes_only_to_an_heir_who_takes_it(board: Board, stranger: str) -> None:
    chain, heir = board.chain, board.chain.accounts[3]
    chain.send(board.owner, board.address, "offer_ownership(address)", heir)
    with pytest.raises(Reverted, match="not the heir"):
        chain.send(stranger, board.address, "accept_ownership()")
    chain.send(heir, board.address, "accept_ownership()")
    assert chain.client.call(board.address, "owner()(address)") == heir
    with pytest.raises(Reverted, match="not the owner"):
        chain.send(board.owner, board.address, "allow_poster(address,bool)", board.owner, True)
    with pytest.raises(Reverted, match="not the heir"):
        chain.send(heir, board.address, "accept_ownership()")


def test_it_holds_nothing_and_has_no_other_function(board: Board, poster: str) -> None:
    for data in (b"", bytes.fromhex("deadbeef"), b"\x0f"):
        with pytest.raises(Reverted):
            board.chain.client.send_data(poster, board.address, data, "nothing", value_wei=0 if data else 1)
    with pytest.raises(Reverted):
        board.chain.client.send_data(poster, board.address, encode_post(notice(1)), "post", value_wei=1)


def test_a_board_without_an_owner_cannot_be_made(shared_chain: DevChain) -> None:
    with pytest.raises(Reverted, match="no owner"):
        Board.deployed(shared_chain, "0x" + "00" * 20, shared_chain.accounts[1])


# --- what it costs, and what it takes ---------------------------------------------------------------------------------


def test_the_longest_notice_costs_less_than_the_default_limit(board: Board, poster: str) -> None:
    """Gas is bounded by the bounds of the arguments."""
    largest, usual = int(post(board, poster, longest()).mined["gasUsed"], 16), 0
    usual = int(post(board, poster, notice(2)).mined["gasUsed"], 16)
    print(f"gas of a posting: usual {usual}, largest {largest}, limit {DEFAULT_GAS}")
    assert usual < 120_000
    assert largest < DEFAULT_GAS * 3 // 4


def test_what_is_out_of_bounds_is_refused(board: Board, poster: str) -> None:
    """By the contract, and before it by what encodes. Demands that do not fit are left out: any one of them cures."""
    crooked = bytearray(encode_post(notice(1)))
    for word, value in ((1, 0), (1, 7), (4, 0), (4, 5), (1, 255)):
        data = bytearray(crooked)
        data[4 + 32 * word : 36 + 32 * word] = value.to_bytes(32, "big")
        with pytest.raises(Reverted):
            board.chain.client.send_data(poster, board.address, bytes(data), "post")
    with pytest.raises(NoticeRefused, match="longer than the 160 bytes"):
        encode_post(notice(1, position="p" * (MAX_NAME + 1)))
    with pytest.raises(NoticeRefused, match="not tripped"):
        encode_post(notice(1, event=NoticeEvent.TRIPPED))
    many = longest(5)
    many = replace(many, body={**many.body, "demands": [*many.body["demands"]] * 2})
    post(board, poster, many)
    assert len(board.events()[-1]["demands"]) == MAX_DEMANDS
