"""The block that ends a bar of volatility is judged by the lines that held until then, the next one by the new ones."""

from __future__ import annotations

from contextlib import closing

from keeper.core.records import MARKET_KEY
from keeper.core.types import Book, Update
from keeper.evaluator.adaptive import Adaptive
from keeper.evaluator.directory import Directory
from keeper.evaluator.judge import Judge
from keeper.evaluator.volatility import BAR_S
from keeper.evaluator.volatility_json import dump_volatility, load_volatility
from keeper.notifier.routing import Route, Router
from keeper.protocols.addresses import checksummed
from keeper.store import open_store
from keeper.telling import Teller
from keeper.track import Track
from tests.support.linear_market import Holdings, Market, prices_of
from tests.support.toy_chain import ToyProtocol

WAD = 10**18


def track() -> Track:
    judge: Judge[Market, Holdings] = Judge(ToyProtocol(), Adaptive(), acts=False)
    teller = Teller(judge, Router.of([Route(channel="everybody")]), Directory(checksummed))
    made = Track(judge.adapter, Book(), judge, teller)
    made.update(Update(Market(), prices_of(20 * WAD, WAD), {}))
    made.advance(BAR_S)
    made.turn()
    return made


def test_lines_stay_until_the_block_was_acted_on() -> None:
    followed = track()
    before = followed.judge.volatility
    [fact] = followed.advance(2 * BAR_S)
    assert followed.judge.volatility is before
    assert fact.payload is not None
    assert followed.turn()
    assert followed.judge.volatility is not before
    assert load_volatility(fact.payload).bar == 2


def test_what_is_stored_with_the_block_is_what_the_next_is_judged_by() -> None:
    """So that a daemon that dies in between goes on as if it had not."""
    followed = track()
    [fact] = followed.advance(2 * BAR_S)
    followed.turn()
    stored, held = load_volatility(fact.payload or b""), followed.judge.volatility
    assert held is not None
    assert (stored.bar, stored.assets) == (held.bar, held.assets)
    assert dump_volatility(stored) == dump_volatility(held)


def test_within_a_bar_there_is_nothing_to_turn() -> None:
    followed = track()
    assert followed.advance(BAR_S + 1) == []
    assert not followed.turn()


def test_a_store_that_is_read_again_forgets_what_was_not_turned() -> None:
    followed = track()
    followed.advance(2 * BAR_S)
    with closing(open_store("sqlite://", chain_id=1)) as store:
        followed.rewind(store, {("prices", MARKET_KEY)})
    assert not followed.turn()
