"""`keeper deploy --board` as a person runs it, on the real chain."""

from __future__ import annotations

from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from tests.integration.test_deploy import Person
from tests.support.boards import Board


@pytest.fixture
def chain(shared_chain: DevChain) -> DevChain:
    return shared_chain


def board_at(chain: DevChain, stdout: str) -> str:
    """The address in the lines for the configuration."""
    assert stdout.startswith('[[notifiers]]\nkind = "board"\naddress = "0x')
    return stdout.split('"')[3]


def test_a_board_is_deployed_once_and_takes_our_notices(chain: DevChain, tmp_path: Path) -> None:
    """What it costs is shown first; run again it finds the same board and sends nothing."""
    person = Person.at(chain, tmp_path)
    before = person.nonce
    _, shown = person.says("deploy", "--board", "--dry-run")
    assert "deploy the MarginCallBoard at 0x" in shown
    assert "a dry run: nothing was sent" in shown
    assert person.nonce == before
    stdout, _ = person.says("deploy", "--board", "--yes")
    board = board_at(chain, stdout)
    assert person.nonce == before + 1
    us = chain.liquidator.address
    assert chain.client.call(board, "owner()(address)") == us
    assert chain.client.call(board, "is_poster(address)(bool)", us)
    again, shown = person.says("deploy", "--board", "--yes")
    assert (again, person.nonce) == (stdout, before + 1)
    assert "nothing is missing" in shown


def test_ownership_is_offered_to_an_heir(chain: DevChain, tmp_path: Path) -> None:
    """The key posts; somebody else may own the board in the end."""
    person, heir = Person.at(chain, tmp_path), chain.accounts[4]
    stdout, _ = person.says("deploy", "--board", "--yes", "--heir", heir)
    board = board_at(chain, stdout)
    chain.send(heir, board, "accept_ownership()")
    assert chain.client.call(board, "owner()(address)") == heir
    assert "nothing is missing" in person.says("deploy", "--board", "--yes", "--heir", heir)[1]


def test_a_configured_board_is_completed_or_its_owner_is_named(chain: DevChain, tmp_path: Path) -> None:
    """Permission to post is given where we own it; where we do not, the message says who can."""
    person, us = Person.at(chain, tmp_path), chain.liquidator.address
    theirs = Board.deployed(chain, chain.accounts[5], chain.accounts[5])
    text = person.file.read_text()
    notifier = '\n[[notifiers]]\nkind = "board"\naddress = "{}"\n'
    person.file.write_text(text + notifier.format(theirs.address))
    _, refused = person.says("deploy", "--board", "--yes", exit_code=1)
    assert f"{chain.accounts[5][2:].lower()}, not to our" in refused
    assert "only its owner can" in refused
    chain.send(chain.accounts[5], theirs.address, "offer_ownership(address)", us)
    chain.send(us, theirs.address, "accept_ownership()")
    person.says("deploy", "--board", "--yes")
    assert chain.client.call(theirs.address, "is_poster(address)(bool)", us)
    person.file.write_text(text + notifier.format(chain.tokens["USDC"].address))
    assert "does not answer as a MarginCallBoard" in person.says("deploy", "--board", "--yes", exit_code=1)[1]
