"""Names of accounts on a chain where anybody may say anything about anybody."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ens.utils import raw_name_to_hash

from keeper.core.errors import ConfigError
from keeper.core.reads import drive
from keeper.core.types import Call, CallResult
from keeper.devnet.chain import DevChain
from keeper.upkeep import ens
from tests.support.registry import Registry

ALICE, BOB, CAROL, DAVE, EVE = (bytes([n]) * 20 for n in range(0xA1, 0xA6))


@pytest.fixture
def registry(shared_chain: DevChain) -> Registry:
    return Registry(shared_chain)


async def test_a_name_is_believed_only_if_it_stands_for_the_account_that_claims_it(registry: Registry) -> None:
    """Four round trips, however many accounts."""
    registry.named(ALICE, "treasury.alice.eth")
    registry.claims(BOB, "treasury.alice.eth")
    registry.claims(CAROL, "nobody.eth")
    registry.stands_for("dave.eth", DAVE)
    (found,) = await drive([ens.names(registry.address, [ALICE, BOB, CAROL, DAVE])], registry.execute)
    assert found == {ALICE: "treasury.alice.eth", BOB: None, CAROL: None, DAVE: None}
    assert registry.round_trips == 4


@pytest.mark.parametrize(
    "name",
    [
        "evil.example.com",  # a chat makes a link of it
        "ALICE.eth",  # not normalized
        "vitаlik.eth",  # a Cyrillic letter
        "a" * 61 + ".eth",
        "x\u202ehte.eth",
        "**bold**.eth",
        "<b>.eth",
        "two words.eth",
        "line\nbreak.eth",
        ".eth",
        "eth",
        "",
    ],
)
async def test_a_name_that_could_deceive_is_no_name(registry: Registry, name: str) -> None:
    """Even where its owner has set it up in both directions."""
    registry.named(EVE, name)
    (found,) = await drive([ens.names(registry.address, [EVE])], registry.execute)
    assert found == {EVE: None}


async def test_a_name_leads_to_its_account_and_says_what_is_wrong_otherwise(registry: Registry) -> None:
    registry.stands_for("alice.eth", ALICE)
    registry.stands_for("empty.eth", bytes(20))
    assert await drive([ens.account_of(registry.address, "Alice.eth")], registry.execute) == [ALICE]
    for name, problem in (("a_b.eth", "ENSIP-15"), ("bob.eth", "no resolver"), ("empty.eth", "no address on chain")):
        with pytest.raises(ConfigError, match=f"{name}.*{problem}"):
            await drive([ens.account_of(registry.address, name)], registry.execute)


def test_the_hash_of_a_name_is_the_fields() -> None:
    """Against web3.py's own."""
    for name in ("eth", "vitalik.eth", f"{ALICE.hex()}.addr.reverse", "🦊.eth"):
        assert ens.namehash(name) == bytes(raw_name_to_hash(name))


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"\x01" * 31, b"\xff" * 64, (32).to_bytes(32, "big") + b"\xff" * 32, bytes(31) + b"\x20" + bytes(64)],
)
async def test_an_answer_that_is_no_string_gives_no_name(answer: CallResult) -> None:
    """A stranger's resolver may answer anything."""

    async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
        return [answer if call.data[:4] == ens._NAME else bytes(12) + b"\x01" * 20 for call in calls]

    assert await drive([ens.names(b"\x01" * 20, [ALICE])], execute) == [{ALICE: None}]


def test_chains_without_a_registry_have_no_names() -> None:
    assert ens.registry_of(1) == ens.REGISTRY
    assert ens.registry_of(8453) is None
    assert ens.registry_of(31337, b"\x07" * 20) == b"\x07" * 20
