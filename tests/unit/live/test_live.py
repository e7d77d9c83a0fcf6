"""The store as the web server holds it: whatever the daemon did between two looks, what is shown is what reading all of
it anew shows, and the bands are those of exact integers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.encoding import dump_prices, load_prices
from keeper.core.records import CommittedBlock, Fact
from keeper.core.types import Block, BlockRef
from keeper.core.units import WAD
from keeper.evaluator.bands import BandRules
from keeper.queries.live.board import BANDS, Board
from keeper.queries.live.live import Live
from keeper.queries.live.paging import after_place, position_cursor
from keeper.store import open_store
from keeper.store.salvage import forget_chain
from keeper.store.sql import SqlStore
from keeper.web.problems import Problem
from tests.support.linear_market import ASSETS, Holdings, LinearMarket, Market, prices_of

RULES = BandRules(125 * WAD // 100, 110 * WAD // 100, 103 * WAD // 100, 2 * WAD // 100, 125 * WAD // 100)
NAMES = tuple(bytes([number]) * 20 for number in range(1, 9))


class Stored(LinearMarket):
    """With a form in which it is stored."""

    def dump_market(self, market: Market) -> bytes:
        return json.dumps([market.thresholds_bps, market.rates_ray, market.since]).encode()

    def load_market(self, payload: bytes) -> Market:
        thresholds, rates, since = json.loads(payload)
        return Market(tuple(thresholds), tuple(rates), since)

    def dump_position(self, position: Holdings) -> bytes:
        return json.dumps([dict(position.collateral), dict(position.debt)]).encode()

    def load_position(self, payload: bytes) -> Holdings:
        collateral, debt = ({int(number): amount for number, amount in one.items()} for one in json.loads(payload))
        return Holdings(collateral, debt)


LAB = Stored()


def fresh(store: SqlStore) -> Board:
    live = Live(store, [Stored()], RULES)
    live.sync()
    assert live.board is not None
    return live.board


def content(board: Board) -> dict[str, tuple[str, float, float, float]]:
    def number(value: float) -> float:
        return -1.0 if np.isnan(value) else round(float(value), 6)

    return {
        name: (board.band_of(at), number(board.health[at]), number(board.collateral[at]), number(board.debt[at]))
        for at, name in enumerate(board.ids)
    }


def exact(store: SqlStore, block: Block) -> dict[str, tuple[str, float | None]]:
    """By the adapter's own integers, from what is stored."""
    prices = load_prices(store.fact("lab", "prices", b"") or b"")
    market = LAB.load_market(store.fact("lab", "market", b"") or b"")
    found = {}
    for key, payload in store.facts("lab", "position"):
        health = LAB.health(market, prices, LAB.load_position(payload), block.timestamp)
        band = RULES.band(health)
        factor = None if health.factor_wad is None else health.factor_wad / WAD
        found[LAB.position_id(key)] = ("unknown" if band is None else band.label, factor)
    return found


amounts = st.dictionaries(st.integers(0, ASSETS - 1), st.integers(10**17, 10**20), max_size=2)
holdings = st.builds(Holdings, amounts, amounts)
price = st.one_of(st.none(), st.integers(10**6, 10**9))
changes = st.fixed_dictionaries(
    {
        "positions": st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), holdings), max_size=4),
        "prices": st.one_of(st.none(), st.lists(price, min_size=ASSETS, max_size=ASSETS)),
        "thresholds": st.one_of(st.none(), st.just((8000, 7500, 9000, 6500)), st.just((8100, 7000, 9000, 6500))),
        "look": st.booleans(),
        "revert": st.integers(0, 3),
        "finalize": st.integers(0, 2),
    }
)


class Writer:
    """The daemon's side: blocks in order, now and then back to an ancestor, now and then final."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.blocks = [self.block(BlockRef(99, b"g" * 32), 0)]
        self.branch = 0
        facts = (
            Fact("lab", "market", b"", LAB.dump_market(Market())),
            Fact("lab", "prices", b"", dump_prices(prices_of(10**8, 10**8, 10**8, 10**8))),
        )
        with store.transaction() as tx:
            tx.commit_block(CommittedBlock(self.blocks[0], facts))

    def block(self, parent: BlockRef, branch: int) -> Block:
        number = parent.number + 1
        return Block(BlockRef(number, f"{number}:{branch}".encode().rjust(32, b".")), parent.hash, 1_000_000 + number)

    def revert(self, depth: int) -> None:
        depth = min(depth, len(self.blocks) - 1)
        if not depth:
            return
        self.branch += 1
        del self.blocks[-depth:]
        with self.store.transaction() as tx:
            tx.revert_to(self.blocks[-1].ref)

    def commit(self, change: dict[str, object]) -> None:
        positions, values, thresholds = change["positions"], change["prices"], change["thresholds"]
        assert isinstance(positions, dict)
        facts = [
            Fact("lab", "position", key, None if held is None else LAB.dump_position(held))
            for key, held in positions.items()
        ]
        if isinstance(values, list):
            facts.append(Fact("lab", "prices", b"", dump_prices(prices_of(*values))))
        if isinstance(thresholds, tuple):
            facts.append(Fact("lab", "market", b"", LAB.dump_market(Market(thresholds))))
        self.blocks.append(self.block(self.blocks[-1].ref, self.branch))
        with self.store.transaction() as tx:
            tx.commit_block(CommittedBlock(self.blocks[-1], tuple(facts)))

    def finalize(self, count: int) -> None:
        count = min(count, len(self.blocks) - 1)
        if count:
            del self.blocks[:count]
            with self.store.transaction() as tx:
                tx.finalize(self.blocks[0].number)


@given(st.lists(changes, min_size=1, max_size=12))
@settings(max_examples=15)
def test_following_is_reading_anew(history: list[dict[str, object]]):
    """Over blocks, closed positions, other prices and terms, reorgs and finality, looked at whenever."""
    with closing(open_store("sqlite://", chain_id=1)) as store:
        writer, live = Writer(store), Live(store, [Stored()], RULES)
        for change in history:
            writer.revert(int(str(change["revert"])))
            writer.commit(change)
            writer.finalize(int(str(change["finalize"])))
            if change["look"]:
                live.sync()
        live.sync()
        board = live.board
        assert board is not None
        assert board.block == writer.blocks[-1]
        anew = fresh(store)
        assert {name: said[:2] for name, said in content(board).items()} == {
            name: said[:2] for name, said in content(anew).items()
        }
        judged = exact(store, board.block)
        assert judged.keys() == set(board.ids)
        for at, name in enumerate(board.ids):
            band, factor = judged[name]
            assert board.band_of(at) == band
            assert np.isnan(board.health[at]) if factor is None else board.health[at] == pytest.approx(factor, rel=1e-3)


# --- lists ------------------------------------------------------------------------------------------------------------


@contextmanager
def crowded() -> Iterator[tuple[Writer, Live]]:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        writer = Writer(store)
        positions: dict[bytes, Holdings | None] = {}
        for number in range(40):
            debt = {} if number % 10 == 0 else {1: 10**19 // (1 + number % 7)}
            positions[bytes([number + 1]) * 20] = Holdings({0: 10**19}, debt)
        positions[b"\xee" * 20] = Holdings({3: 10**19}, {1: 10**18})
        writer.commit({"positions": positions, "prices": [10**8, 10**8, 10**8, None], "thresholds": None, "look": True})
        live = Live(store, [Stored()], RULES)
        live.sync()
        yield writer, live


@pytest.fixture(scope="module")
def crowd() -> Iterator[tuple[Writer, Live]]:
    """Forty positions of which several have the same health, some owe nothing, and one cannot be judged."""
    with crowded() as found:
        yield found


@pytest.fixture
def own_crowd() -> Iterator[tuple[Writer, Live]]:
    with crowded() as found:
        yield found


def test_what_is_indexed_anew_is_read_anew(own_crowd: tuple[Writer, Live]):
    """A repair in place arrives at a block that was seen before, without a position that was never on the chain."""
    writer, live = own_crowd
    blocks = writer.blocks
    gone = b"\xee" * 20
    assert live.board is not None and LAB.position_id(gone) in live.board.ids
    kept = dict(writer.store.facts("lab", "position"))
    shared = [Fact("lab", kind, b"", writer.store.fact("lab", kind, b"")) for kind in ("market", "prices")]
    forget_chain(writer.store)
    assert not live.sync()
    facts = [*shared, *(Fact("lab", "position", key, payload) for key, payload in kept.items() if key != gone)]
    with writer.store.transaction() as tx:
        tx.commit_block(CommittedBlock(blocks[-1], tuple(facts)))
    for number in (1, 2):
        blocks.append(writer.block(blocks[-1].ref, number))
        with writer.store.transaction() as tx:
            tx.commit_block(CommittedBlock(blocks[-1], ()))
    assert live.sync()
    assert live.board is not None and LAB.position_id(gone) not in live.board.ids
    assert len(live.board.ids) == len(kept) - 1


FILTERS = {"protocol": None, "account": None, "band": None}


@pytest.mark.parametrize("sort", ["health", "-health", "value", "-value", "account", "-account"])
def test_pages_together_are_the_list_each_row_once(crowd: tuple[Writer, Live], sort: str):
    """Also where many rows are equal, and where they have nothing to be sorted by."""
    board = crowd[1].board
    assert board is not None
    order, seen, start = board.select(sort), list[str](), 0
    while True:
        page = order[start : start + 7]
        seen += [board.ids[place] for place in page]
        if start + 7 >= len(order):
            break
        start = after_place(board, order, sort, FILTERS, position_cursor(board, int(page[-1]), sort, FILTERS))
    assert seen == [board.ids[place] for place in order]
    assert len(set(seen)) == 41


@pytest.mark.parametrize("sort", ["health", "-health"])
def test_who_has_no_health_comes_last_either_way(crowd: tuple[Writer, Live], sort: str):
    board = crowd[1].board
    assert board is not None
    healths = board.health[board.order(sort)]
    known = healths[~np.isnan(healths)]
    assert np.isnan(healths[len(known) :]).all()
    assert known.tolist() == sorted(known.tolist(), reverse=sort.startswith("-"))


def test_a_cursor_of_another_list_names_no_page(crowd: tuple[Writer, Live]):
    board = crowd[1].board
    assert board is not None
    cursor = position_cursor(board, 3, "health", FILTERS)
    order = board.select("health")
    for sort, filters, text in (
        ("-health", FILTERS, cursor),
        ("health", {**FILTERS, "band": "safe"}, cursor),
        ("health", FILTERS, "AAAA"),
        ("health", FILTERS, cursor[:-3]),
    ):
        with pytest.raises(Problem) as refused:
            after_place(board, order, sort, filters, text)
        assert refused.value.status == 404


def test_counts_add_up_to_all(crowd: tuple[Writer, Live]):
    board = crowd[1].board
    assert board is not None
    counts = board.counts()["lab"]
    assert sum(counts.values()) == len(board) == 41
    assert counts["unknown"] == 1
    assert set(counts) == set(BANDS)
    assert all(len(board.select("health", band=band)) == counts[band] for band in BANDS)
    assert [board.ids[p] for p in board.select("health", account="0x" + "EE" * 20)] == ["lab:0x" + "ee" * 20]


def test_a_page_goes_on_where_it_was_although_the_order_changed(crowd: tuple[Writer, Live]):
    """A row that left and others that came shift nothing: who stood still is shown once. (Last of the crowd.)"""
    writer, live = crowd
    before = live.board
    assert before is not None
    order = before.select("health")
    first = [before.ids[place] for place in order[:10]]
    cursor = position_cursor(before, int(order[9]), "health", FILTERS)
    gone = bytes.fromhex(first[3].split(":0x")[1])
    writer.commit(
        {
            "positions": {gone: None, b"\xdd" * 20: Holdings({0: 10**19}, {1: 10**20})},
            "prices": None,
            "thresholds": None,
        }
    )
    live.sync()
    after = live.board
    assert after is not None
    order = after.select("health")
    rest = [after.ids[place] for place in order[after_place(after, order, "health", FILTERS, cursor) :]]
    still = set(before.ids) & set(after.ids)
    assert not set(first) & set(rest)
    assert {*first, *rest} >= still
