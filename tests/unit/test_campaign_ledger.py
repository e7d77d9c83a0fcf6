"""The campaign's ledger finds what must not be: else a campaign that loses nothing says nothing.

Each is tried with a loan (Aave) and with a position that has leverage (Perpetual Protocol v2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from keeper.config.margin_calls import MarginCalls
from keeper.config.thresholds import rule_of
from keeper.devnet.chain import DevChain
from keeper.evaluator.bands import BandRules
from keeper.protocols.perp_v2.abi import POSITION_LIQUIDATED
from scripts.campaignlib.inbox import Arrival
from scripts.campaignlib.ledger import AAVE_LIQUIDATED, CALL_WAD, CURED_WAD, Beat, Ledger
from scripts.campaignlib.positions import Position, View
from scripts.campaignlib.run import is_clear
from scripts.campaignlib.world import World

OWNER = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
WALLET = "0x" + "11" * 20
HEALTHY = View(15 * 10**17, False, 20_000, 10_000, within_wad=0)
CALLED = View(105 * 10**16, False, 14_000, 10_000, within_wad=0)
OPEN = View(95 * 10**16, True, 12_000, 10_000, within_wad=0)
TX = "0x" + "ab" * 32
_TOPIC = "0x" + "00" * 12 + OWNER[2:].lower()


@dataclass(frozen=True)
class Subject:
    """What the ledger watches. liquidated: the topics of the event that says so."""

    position: Position
    liquidated: Sequence[str]

    @property
    def id(self) -> str:
        return self.position.id


SUBJECTS = {
    "loan": Subject(Position(f"aave:{OWNER}", OWNER, "WETH", "USDC"), (AAVE_LIQUIDATED, "", "", _TOPIC)),
    "leverage": Subject(
        Position(f"perp:{OWNER}", OWNER, "USDC", "vETH", "WETH"), (POSITION_LIQUIDATED, _TOPIC, "", "")
    ),
}


@pytest.fixture(autouse=True, params=SUBJECTS)
def _subject(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chain, "subject", SUBJECTS[request.param])


class Chain:
    """Blocks 1 to n, each a beat, with what our wallet and anybody did in them."""

    subject: ClassVar[Subject] = SUBJECTS["loan"]

    def __init__(self, views: list[View], fair: bool = True) -> None:
        self.views = views
        self.mined: dict[int, list[dict[str, Any]]] = {}
        self.logs: list[dict[str, Any]] = []
        self.orphaned: set[int] = set()
        world = SimpleNamespace(positions={self.subject.id: self.subject.position}, open={}, markets={}, crowd=[])
        self.ledger = Ledger(cast(DevChain, self), cast(World, world))
        for number, view in enumerate(views, 1):
            self.ledger.judged[number] = (f"0x{number:064x}", {self.subject.id: view})
            self.ledger.beats.append(Beat(number, f"0x{number:064x}", float(number), number + 1.0, fair, fair))
        self.ledger.views = lambda _, number: {self.subject.id: views[number - 1]}  # type: ignore[method-assign]

    @property
    def block_number(self) -> int:
        return len(self.views)

    def rpc(self, method: str, *params: Any) -> Any:
        match method:
            case "eth_getBlockByNumber":
                number = int(params[0], 16)
                return {"hash": "0xother" if number in self.orphaned else f"0x{number:064x}"}
            case "eth_getTransactionCount":
                return hex(sum(map(len, self.mined.values())))
            case "eth_getBlockReceipts":
                return self.mined.get(int(params[0], 16), [])
            case "eth_getLogs":
                return [log for log in self.logs if log["topics"][0] == params[0]["topics"][0]]
        raise AssertionError(method)

    def liquidate(self, number: int, tx_hash: str = TX, status: str = "0x1") -> None:
        self.mined.setdefault(number, []).append(
            {"transactionHash": tx_hash, "from": WALLET, "blockNumber": hex(number), "status": status}
        )
        if status == "0x1":
            self.logs.append(
                {"topics": self.subject.liquidated, "blockNumber": hex(number), "transactionHash": tx_hash}
            )

    def losses(
        self,
        journal: list[dict[str, Any]] | None = None,
        sent: dict[str, str] | None = None,
        told: list[Arrival] | None = None,
        judged: int = 1,
    ) -> list[str]:
        rows = [row(TX)] if journal is None else journal
        liquidations = [
            {
                "position": self.subject.id,
                "judged_block": judged,
                "tx_hash": one["tx_hash"],
                "status": one.get("status", "confirmed"),
                "attempts": [{"tx_hash": one["tx_hash"], "purpose": one.get("does", "act")}],
            }
            for one in rows
        ]
        self.ledger.settle(WALLET, sent or {}, rows, liquidations, told or [])
        return [loss.kind for loss in self.ledger.losses]


def row(tx_hash: str, nonce: int = 0, intent: str = "one") -> dict[str, Any]:
    return {"tx_hash": tx_hash, "nonce": nonce, "intent": intent, "purpose": "act"}


def arrival(event: str, number: int, at: float | None = None, health: int = 105 * 10**16) -> Arrival:
    notice = {
        "event": event,
        "position": Chain.subject.id,
        "block_number": number,
        "block_hash": f"0x{number:064x}",
        "health_wad": str(health),
    }
    return Arrival(number + 0.5 if at is None else at, notice)


def opened_when_liquidatable() -> list[Arrival]:
    return [arrival("opened", 1, health=95 * 10**16), arrival("liquidated", 8, 8.5)]


def test_a_position_settled_by_us_in_time_is_no_loss_and_its_delay_is_counted():
    chain = Chain([OPEN, OPEN, HEALTHY])
    chain.liquidate(3)
    assert chain.losses() == []
    assert chain.ledger.delays == {2: 1}


def test_a_position_liquidatable_in_more_than_five_fair_blocks_and_never_settled_is_lost():
    assert Chain([OPEN] * 6 + [HEALTHY]).losses(told=opened_when_liquidatable()) == ["unsettled"]


@pytest.mark.parametrize(("blocks", "lost"), [(20, []), (21, ["unsettled"])])
def test_one_that_is_settled_late_is_named_and_one_far_too_late_is_lost(blocks: int, lost: list[str]):
    chain = Chain([OPEN] * blocks + [HEALTHY])
    chain.liquidate(blocks + 1)
    assert chain.losses(told=opened_when_liquidatable()) == lost
    [late] = chain.ledger.late
    assert late == f"{Chain.subject.id} from block 1 to {blocks + 1}, in {blocks} fair blocks"


@pytest.mark.parametrize(
    ("said", "clear"),
    [
        (["keeper: the disk is full: free some space"], True),
        (["Traceback (most recent call last):", "keeper: a defect"], False),
        (['{"exception": "Traceback (most recent call last): …"}', "keeper: the server is gone"], True),
        (["{}"], False),
        ([], False),
    ],
)
def test_an_end_without_a_clear_word_is_a_finding(said: list[str], clear: bool):
    assert is_clear({"code": 1, "said": said}) is clear


def test_one_that_is_still_liquidatable_at_the_end_is_lost():
    told = [arrival("opened", 1, health=95 * 10**16)]
    assert Chain([OPEN] * 6).losses(told=told) == ["unsettled"]


@pytest.mark.parametrize(("blocks", "fair"), [(5, True), (9, False)])
def test_too_few_or_unfair_blocks_excuse(blocks: int, fair: bool):
    assert Chain([OPEN] * blocks + [HEALTHY], fair).losses() == []


def test_dust_is_nobodys_business():
    assert Chain([View(95 * 10**16, True, 100, 90)] * 9 + [HEALTHY]).losses(told=opened_when_liquidatable()) == []


@pytest.mark.parametrize(("equity", "lost"), [(1_000, ["unsettled"]), (-1_000, [])])
def test_leverage_is_worth_it_for_as_long_as_there_is_margin_left(equity: int, lost: list[str]):
    """With a thirtieth of its value left it is taken over at a discount; without margin nobody would be paid."""
    view = View(equity * 10**18 // 1_875, True, 30_000 + equity, 30_000, least_ratio=1.005)
    assert Chain([view] * 9 + [HEALTHY]).losses(told=opened_when_liquidatable()) == lost


def test_blocks_that_were_orphaned_do_not_count():
    chain = Chain([OPEN] * 6 + [HEALTHY])
    chain.orphaned = {1, 2}
    assert chain.losses(told=opened_when_liquidatable()) == []


def test_what_left_or_was_mined_without_being_in_the_journal_is_lost():
    chain = Chain([HEALTHY, HEALTHY])
    chain.mined[2] = [{"transactionHash": TX, "from": WALLET, "blockNumber": "0x2", "status": "0x1"}]
    assert chain.losses(journal=[], sent={"0x01": "0x"}) == ["unknown send", "unknown send"]


def test_a_gap_in_the_nonces_is_lost():
    chain = Chain([OPEN, HEALTHY])
    chain.liquidate(2)
    assert chain.losses(journal=[row(TX, nonce=1)]) == ["nonce gap"]


def test_two_transactions_of_one_intent_are_doubled():
    chain = Chain([OPEN, OPEN, HEALTHY])
    chain.liquidate(2)
    chain.liquidate(3, "0x" + "cd" * 32)
    assert chain.losses(journal=[row(TX), row("0x" + "cd" * 32, 1)]) == ["doubled"]


def test_what_was_mined_and_is_recorded_as_given_up_is_a_wrong_record():
    chain = Chain([OPEN, HEALTHY])
    chain.liquidate(2)
    assert chain.losses(journal=[row(TX) | {"status": "abandoned"}]) == ["wrong record"]


def test_what_was_given_up_by_a_cancellation_that_was_mined_is_recorded_right():
    chain = Chain([OPEN, HEALTHY])
    chain.liquidate(2)
    assert chain.losses(journal=[row(TX) | {"status": "abandoned", "does": "cancel"}]) == []


def test_a_liquidation_of_what_never_was_liquidatable_is_wrong():
    chain = Chain([HEALTHY, HEALTHY, HEALTHY])
    chain.liquidate(3)
    assert chain.losses() == ["wrong send"]


def test_a_liquidation_that_somebody_else_overtook_is_no_loss():
    chain = Chain([OPEN, HEALTHY, HEALTHY])
    chain.liquidate(3, status="0x0")
    assert chain.losses(journal=[row(TX) | {"status": "failed"}]) == []
    assert sum(chain.ledger.excused.values()) == 2


def test_an_owner_below_the_line_who_was_not_told_is_lost():
    assert Chain([CALLED] * 6 + [HEALTHY]).losses() == ["notice missing"]


def test_what_a_notice_tells_of_is_asked_when_it_arrives() -> None:
    """The node forgets old states."""
    chain = Chain([HEALTHY, CALLED, *[CALLED] * 4, HEALTHY])
    told = [arrival("opened", 2), arrival("cured", 7)]
    chain.ledger.hear(told[:1])

    def forgotten(_: object, number: int) -> dict[str, View]:
        assert number == chain.block_number, f"the state of block {number} is gone"
        return {chain.subject.id: chain.views[number - 1]}

    chain.ledger.views = forgotten  # type: ignore[method-assign]
    chain.ledger.hear(told)
    assert chain.losses(journal=[], told=told) == []


def test_an_owner_told_in_time_is_not():
    told = [arrival("opened", 2), arrival("cured", 7)]
    assert Chain([CALLED] * 6 + [HEALTHY]).losses(told=told) == []


def test_a_call_stands_until_it_is_cured():
    """Beyond its line and not yet near the target an episode is open, and to hear nothing of an end is right."""
    rules = rule_of(MarginCalls.model_validate({"call": "1.10"}))
    assert isinstance(rules, BandRules)
    assert (rules.call_wad, rules.closes_wad) == (CALL_WAD, CURED_WAD)
    between, cured = (View(health * 10**16, False, 16_000, 10_000) for health in (122, 124))
    told = [arrival("opened", 2)]
    assert Chain([CALLED] * 6 + [between]).losses(told=told) == []
    assert Chain([CALLED] * 6 + [cured]).losses(told=told) == ["notice missing"]


def test_an_owner_told_long_afterwards_is():
    assert "notice missing" in Chain([CALLED] * 6 + [HEALTHY]).losses(told=[arrival("opened", 2, at=300)])


def test_an_owner_who_was_never_told_that_it_is_over_is_lost():
    assert Chain([CALLED] * 6 + [HEALTHY]).losses(told=[arrival("opened", 2)]) == ["notice missing"]


def test_a_call_of_what_was_healthy_is_false():
    told = [arrival("opened", 1, health=CALL_WAD), arrival("cured", 2)]
    assert Chain([HEALTHY, HEALTHY]).losses(told=told) == ["notice false"]


def test_who_was_behind_may_tell_at_the_present_of_a_call_that_opened_before_it():
    """Below the line in a block that was caught up with, beyond it now, and not yet cured: the call stands. Not so once
    it was cured in between."""
    between = View(115 * 10**16, False, 15_000, 10_000, within_wad=0)
    cured = View(124 * 10**16, False, 16_000, 10_000)
    told = [arrival("opened", 3, health=115 * 10**16), arrival("cured", 4)]
    assert Chain([CALLED, between, between, HEALTHY]).losses(told=told) == []
    assert Chain([CALLED, cured, between, HEALTHY]).losses(told=told) == ["notice false"]
    assert Chain([between, between, between, HEALTHY]).losses(told=told) == ["notice false"]


def test_a_call_that_names_another_health_than_the_contract_is_false():
    told = [arrival("opened", 1, health=104 * 10**16), arrival("cured", 2)]
    assert Chain([CALLED, HEALTHY]).losses(told=told) == ["notice false"]


def test_a_call_may_be_off_by_what_the_view_allows_and_no_more():
    """Funding that is inferred from another account's can be one unit of the settlement token off."""
    view = View(105 * 10**16, False, 14_000, 10_000, within_wad=10**9)
    for off, lost in ((10**9, []), (10**9 + 1, ["notice false"])):
        told = [arrival("opened", 1, health=105 * 10**16 + off), arrival("cured", 2)]
        assert Chain([view, HEALTHY]).losses(told=told) == lost


def test_a_false_call_is_told_with_the_health_one_block_later():
    """A node that answers for a block too new gives itself away."""
    chain = Chain([CALLED, View(104 * 10**16, False, 14_000, 10_000, within_wad=0), HEALTHY])
    chain.losses(told=[arrival("opened", 1, health=104 * 10**16), arrival("cured", 3)])
    assert [loss.what for loss in chain.ledger.losses] == [
        f"{Chain.subject.id} was called at block 1 by another health: it was told {104 * 10**16}, there it was "
        f"{105 * 10**16}, one block later {104 * 10**16}"
    ]
