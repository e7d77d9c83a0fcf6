"""A margin call from its opening to its closing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import StoreError
from keeper.core.records import NoticeEvent, Told
from keeper.core.types import Band, BreachPrice, Demand, Health, Liquidated, Price, Token
from keeper.core.units import WAD
from keeper.evaluator.episode_json import breach_json, demand_json, dump_episode, load_episode
from keeper.evaluator.episodes import Episode, EpisodeStatus, document, step, withdrawn
from keeper.evaluator.judgement import Dossier
from tests.unit.evaluator.builders import ALICE, POSITION, RULES, UNPRICED, block, health, judged, wad

GONE = None
DOSSIER = Dossier(
    demands=(
        Demand("repay", b"\xaa" * 20, "USDC", 6, 2**70, wad("1.25")),
        Demand("repay", b"\xab" * 20, "X", 18, 1, None),
    ),
    breach_prices=(BreachPrice(b"\xbb" * 20, "WETH", 123456789012, 8, -1234),),
    prices=((b"\xbb" * 20, Price(2**90, 8, 1_700_000_000)), (b"\xaa" * 20, Price(10**8, 8, None))),
    tokens=((b"\xbb" * 20, Token("WETH", 18)),),
)


def follow(*judgements: str | Health | None, start: Episode | None = None) -> list[Episode | None]:
    """The episode after each judgement; a string is a health factor. A closed episode is not followed."""
    episode, versions = start, list[Episode | None]()
    for number, found in enumerate(judgements, start=100 if start is not None else 1):
        judgement = judged(health(found) if isinstance(found, str) else found)
        version = step(episode, judgement, block(number), RULES, "lab")
        versions.append(version)
        episode = version if version is not None and version.is_open else None
    return versions


def opened_at(factor: str) -> Episode:
    (episode,) = follow(factor)
    assert episode is not None
    return episode


def test_an_episode_opens_below_the_call_threshold_with_its_evidence() -> None:
    """Its identity is the position and the block that gave the reason, so every machine gives the same."""
    assert follow("1.1", "1.5", None, UNPRICED) == [None] * 4
    episode = opened_at("1.099999999999999999")
    assert (episode.status, episode.band, episode.deepest) == (EpisodeStatus.OPEN, Band.CALL, Band.CALL)
    mark = episode.opened
    assert (mark.event, mark.block, mark.timestamp) == ("opened", block(1).ref, block(1).timestamp)
    assert mark.health_wad == wad("1.099999999999999999")
    assert episode.id == opened_at("1.01").id
    other = step(None, judged(health("1.05")), block(1, "fork"), RULES, "lab")
    assert other is not None and other.id != episode.id


def test_each_deeper_band_escalates_once() -> None:
    """Falling through several bands at once is one step; coming back up and down again is none."""
    versions = follow("1.09", "1.02", "1.09", "1.02", "0.99", "1.2", "0.99", "1.02")
    assert [version.last.band for version in versions if version] == [
        Band.CALL,
        *[Band.URGENT] * 3,
        *[Band.LIQUIDATABLE] * 4,
    ]
    last = versions[-1]
    assert last is not None and [mark.event for mark in last.marks] == ["opened", "escalated", "escalated"]
    straight = follow("1.09", "0.9")[-1]
    assert straight is not None and [mark.band for mark in straight.marks] == [Band.CALL, Band.LIQUIDATABLE]


@pytest.mark.parametrize("line", ["1.1", "1.03", "1"])
def test_a_price_that_trembles_on_a_line_moves_an_episode_at_most_twice(line: str) -> None:
    """Hundreds of crossings within the hysteresis: one step when it enters, none after."""
    around = [health(wad(line) + offset) for offset in (-(10**15), 10**15)] * 300
    versions = {version for version in follow("1.099", *around) if version is not None}
    assert len(versions) <= 2
    assert all(version.is_open for version in versions)


def test_an_episode_is_cured_in_the_target_band_and_not_before() -> None:
    """Above the call threshold it stays open, silently, until the owner or the price has really restored it."""
    versions = follow("1.05", "1.15", "1.229999999999999999", "1.23")
    assert [version.status.value for version in versions if version] == ["open", "open", "open", "cured"]
    closed = versions[-1]
    assert closed is not None and (closed.last.event, closed.last.band) == ("cured", Band.WATCH)


@pytest.mark.parametrize("end", [None, health(None)])
def test_an_episode_whose_debt_is_gone_is_repaid(end: Health | None) -> None:
    """Whether collateral remains or the position is gone altogether."""
    closed = follow("1.05", end)[-1]
    assert closed is not None and closed.status is EpisodeStatus.REPAID


@pytest.mark.parametrize("end", [GONE, health(None), health("1.05"), health("2")])
def test_a_liquidation_that_ends_the_danger_closes_the_episode(end: Health | None) -> None:
    """By whomever, wholly or in part: its owner must hear. A remainder below the call threshold opens the next one."""
    closed = step(opened_at("0.97"), judged(end, liquidated=True), block(2), RULES, "lab")
    assert closed is not None and closed.status is EpisodeStatus.LIQUIDATED


def test_a_partial_liquidation_that_leaves_it_liquidatable_is_remembered() -> None:
    """It closes when no further liquidation is possible, and as liquidated, whatever ended it."""
    partly = step(opened_at("0.9"), judged(health("0.95"), liquidated=True), block(2), RULES, "lab")
    assert partly is not None and partly.is_open and partly.liquidations == 1
    closed = step(partly, judged(health("1.01")), block(3), RULES, "lab")
    assert closed is not None and closed.status is EpisodeStatus.LIQUIDATED


def test_what_falls_and_is_liquidated_within_a_block_is_recorded_although_nobody_could_be_called() -> None:
    """Its owner must hear of it; the next block calls for what remains."""
    lost = step(None, judged(health("1.05"), liquidated=True), block(1), RULES, "lab")
    assert lost is not None
    assert (lost.status, lost.deepest, lost.liquidations) == (EpisodeStatus.LIQUIDATED, Band.LIQUIDATABLE, 1)
    assert [mark.event for mark in lost.marks] == ["liquidated"]
    remainder = step(None, judged(health("1.05")), block(2), RULES, "lab")
    assert remainder is not None and remainder.is_open


def test_what_is_open_to_another_liquidation_is_called_after_the_first() -> None:
    begun = step(None, judged(health("0.9"), liquidated=True), block(1), RULES, "lab")
    assert begun is not None and begun.is_open
    assert (begun.liquidations, [mark.event for mark in begun.marks]) == (1, ["opened"])
    ended = step(begun, judged(health("1.05"), liquidated=True), block(2), RULES, "lab")
    assert ended is not None
    assert (ended.status, ended.liquidations) == (EpisodeStatus.LIQUIDATED, 2)


def test_without_a_price_nothing_opens_moves_or_closes() -> None:
    """Neither does a debt of zero count, since the unpriced part cannot be seen; a liquidation is still remembered."""
    episode = opened_at("1.05")
    assert follow(UNPRICED, start=episode) == [episode]
    seen = step(episode, judged(UNPRICED, liquidated=True), block(2), RULES, "lab")
    assert seen == replace(episode, liquidations=1)


factors = st.one_of(st.none(), st.integers(9 * WAD // 10, 14 * WAD // 10))


@given(st.lists(st.tuples(factors, st.booleans()), max_size=60))
def test_every_history_obeys_the_procedure(history: list[tuple[int | None, bool]]) -> None:
    """An episode opens below call, only ever gets deeper, tells at most four times, and survives being stored."""
    episode: Episode | None = None
    for number, (factor, liquidated) in enumerate(history, start=1):
        found = health(factor)
        after = step(episode, judged(found, liquidated=liquidated), block(number), RULES, "lab")
        if after is None:
            assert episode is None and (factor is None or factor >= RULES.call_wad)
            continue
        assert load_episode(dump_episode(after)) == after
        deepening = [mark.band for mark in after.marks if mark.event in ("opened", "escalated")]
        assert deepening == sorted(set(deepening)) and len(after.marks) <= 4
        if not deepening:
            assert [mark.event for mark in after.marks] == ["liquidated"], "lost within one block"
        else:
            assert deepening[-1] is after.deepest
        if episode is not None:
            assert after.id == episode.id and after.deepest >= episode.deepest
            assert after.marks[: len(episode.marks)] == episode.marks
        if not after.is_open:
            assert not found.liquidatable
            assert [mark.event for mark in after.marks].count(after.status.value) == 1
        episode = after if after.is_open else None


def test_a_step_is_documented_with_what_it_rests_on() -> None:
    """Demands and breach prices are the open episode's; prices belong to the step; a closing demands nothing."""
    documented = document(opened_at("1.05"), DOSSIER, block(1).ref)
    assert (documented.demands, documented.breach_prices) == (DOSSIER.demands, DOSSIER.breach_prices)
    assert documented.last.prices == DOSSIER.prices
    assert load_episode(dump_episode(documented)) == documented
    closed = step(documented, judged(health("1.3")), block(2), RULES, "lab")
    assert closed is not None
    closed = document(closed, DOSSIER, block(2).ref)
    assert (closed.demands, closed.breach_prices, closed.last.prices) == ((), (), DOSSIER.prices)
    assert closed.opened.prices == DOSSIER.prices


def test_a_liquidation_is_recorded_with_what_was_lost() -> None:
    """By whom, in which transaction, and the penalty: what was seized beyond what was repaid, at that block."""
    weth, usdc = b"\xbb" * 20, b"\xaa" * 20
    event = Liquidated(ALICE, ALICE, b"\x11" * 20, usdc, 900 * 10**6, weth, 5 * 10**17, b"\x77" * 32, 3)
    open_, judgement = opened_at("0.97"), judged(health("1.3"), liquidated=True)
    closed = step(open_, replace(judgement, liquidations=(event,)), block(2), RULES, "lab")
    assert closed is not None and closed.status is EpisodeStatus.LIQUIDATED
    (loss,) = closed.losses
    assert (loss.event, loss.block, loss.penalty_value) == (event, block(2).ref, None)
    prices = ((weth, Price(2000 * 10**8, 8)), (usdc, Price(10**8, 8)))
    dossier = Dossier(prices=prices, tokens=((weth, Token("WETH", 18)), (usdc, Token("USDC", 6))), currency_decimals=8)
    closed = document(closed, dossier, block(2).ref)
    assert (closed.losses[0].repaid_value, closed.losses[0].seized_value) == (900 * 10**8, 1000 * 10**8)
    assert closed.losses[0].penalty_value == 100 * 10**8
    assert load_episode(dump_episode(closed)) == closed
    assert document(closed, Dossier(), block(3).ref).losses == closed.losses


def test_what_a_reorg_undid_is_recorded_under_the_id_its_readers_know() -> None:
    """The record says what they were told, and at which block it was taken back."""
    told = Told(POSITION, "e1", NoticeEvent.ESCALATED, "urgent", 7, block(7).hash)
    record = withdrawn(told, "lab", ALICE, ALICE, block(9, "fork"))
    assert (record.id, record.status, record.deepest) == ("e1", EpisodeStatus.WITHDRAWN, Band.URGENT)
    assert (record.opened.block, record.last.block) == (block(7).ref, block(9, "fork").ref)
    assert load_episode(dump_episode(record)) == record


def test_stored_episodes_of_another_form_are_refused() -> None:
    """A newer program wrote them; guessing would corrupt the record."""
    with pytest.raises(StoreError, match="form 9"):
        load_episode(dump_episode(opened_at("1.05")).replace(b'"form":1', b'"form":9'))


def test_amounts_are_shown_as_text_and_moves_as_fractions() -> None:
    """What exceeds 2^53 would be damaged by a reader's floats."""
    demand, breach = DOSSIER.demands[0], DOSSIER.breach_prices[0]
    assert demand_json(demand, "0xaa")["amount"] == str(2**70)
    assert demand_json(DOSSIER.demands[1], "0xab")["resulting_health_wad"] is None
    assert breach_json(breach, "0xbb") == {
        "asset": "0xbb",
        "symbol": "WETH",
        "price": "1234.56789012",
        "move": "-0.1234",
    }
