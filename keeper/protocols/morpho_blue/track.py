"""Following Morpho: events say which markets and positions changed, the chain says what they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.ports import Reads
from keeper.core.types import Block, Book, Call, CallResult, Prices, RawLog, Update
from keeper.protocols.morpho_blue import abi, discover, logs
from keeper.protocols.morpho_blue.discover import ask
from keeper.protocols.morpho_blue.prices import Reference, answered, head_calls, read_head
from keeper.protocols.morpho_blue.state import Lending, Market, Position
from keeper.protocols.words import call, words

_POSITIONS_PER_READ = 4_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What the configuration limits tracking to. wanted: market ids; empty: all. references: what tokens are worth."""

    morpho: bytes
    wanted: frozenset[bytes]
    references: tuple[Reference, ...]


def sync(
    scope: Scope, book: Book[Market, Position], block: Block, block_logs: Sequence[RawLog], head: Sequence[CallResult]
) -> Reads[Update[Market, Position]]:
    """One block. No round trip when it touched nothing of ours, one for markets and positions, one more when it moved
    a market whose model is asked or was the first to pledge somewhere, and a few when it made a market."""
    before = book.market
    if before is None:
        raise ValueError("sync needs a market; run bootstrap first")
    answers = answered(head_calls(before, scope.references), head)
    seen = logs.fold(scope.morpho, scope.wanted, block_logs)
    made = yield from discover.read_new(scope.morpho, sorted(seen.markets - before.by_id.keys()), block.timestamp)
    calls: dict[object, Call] = {}
    for id_ in seen.markets & before.by_id.keys():
        calls |= discover.moving_calls(scope.morpho, before.by_id[id_])
    calls |= _position_calls(scope.morpho, seen.positions)
    read = yield from ask(calls)
    moved = {id_: discover.moved(before.by_id[id_], read) for id_ in seen.markets & before.by_id.keys()}
    market = before.with_lendings(_changed(before, _used({**moved, **made}, seen.positions)))
    prices = yield from _prices(scope, market, answers)
    found = {id_ + account: _position(id_, account, read) for id_, account in seen.positions}
    positions = {
        key: None if position.empty else position
        for key, position in found.items()
        if (None if position.empty else position) != book.positions.get(key)
    }
    changed = None if market == before else market
    return Update(changed, prices, positions, logs.liquidated(market, seen))


def snapshot(
    scope: Scope, market: Market, touches: Iterable[bytes], block: Block, head: Sequence[CallResult]
) -> Reads[Update[Market, Position]]:
    """Every position touched, and every market that is not known yet, at one block. What is known of markets is as
    `bootstrap` has just read it."""
    answers = answered(head_calls(market, scope.references), head)
    keys = [key for key in sorted(touches) if not scope.wanted or key[: logs.ID_SIZE] in scope.wanted]
    unknown = sorted({key[: logs.ID_SIZE] for key in keys} - market.by_id.keys())
    made = yield from discover.read_new(scope.morpho, unknown, block.timestamp)
    touched = [(key[: logs.ID_SIZE], key[logs.ID_SIZE :]) for key in keys if len(key) > logs.ID_SIZE]
    market = market.with_lendings(made)
    market = market.with_lendings(_used({id_: market.by_id[id_] for id_, _ in touched if id_ in market.by_id}, touched))
    positions: dict[bytes, Position | None] = {}
    for start in range(0, len(touched), _POSITIONS_PER_READ):
        group = touched[start : start + _POSITIONS_PER_READ]
        read = yield from ask(_position_calls(scope.morpho, group))
        for id_, account in group:
            position = _position(id_, account, read)
            positions[id_ + account] = None if position.empty else position
    prices = yield from _prices(scope, market, answers)
    return Update(market, prices, positions)


def _prices(scope: Scope, market: Market, answers: Mapping[Call, CallResult]) -> Reads[Prices]:
    """At this block, of the market as it is now: asks what nobody asked before it changed."""
    missing = [wanted for wanted in head_calls(market, scope.references) if wanted not in answers]
    found = yield from ask({wanted: wanted for wanted in missing})
    return read_head(market, scope.references, {**answers, **found})


def _used(lendings: Mapping[bytes, Lending], touched: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Lending]:
    entered = {id_ for id_, _ in touched}
    return {id_: replace(one, used=True) if id_ in entered and not one.used else one for id_, one in lendings.items()}


def _changed(before: Market, lendings: Mapping[bytes, Lending]) -> dict[bytes, Lending]:
    return {id_: lending for id_, lending in lendings.items() if before.by_id.get(id_) != lending}


def _position_calls(morpho: bytes, touched: Iterable[tuple[bytes, bytes]]) -> dict[object, Call]:
    return {(id_, account): call(morpho, abi.POSITION, id_, account) for id_, account in touched}


def _position(id_: bytes, account: bytes, answers: Mapping[object, CallResult]) -> Position:
    what = f"position(0x{id_.hex()}, 0x{account.hex()})"
    _, borrow_shares, collateral = words(answers[id_, account], 3, what)
    return Position(id_, borrow_shares, collateral)


def positions_of(market: Market, account: bytes) -> Reads[list[bytes]]:
    """Touches of every position that this account has in the known markets."""
    touched = [(id_, account) for id_ in market.by_id]
    read = yield from ask(_position_calls(market.morpho, touched))
    return [id_ + account for id_, _ in touched if not _position(id_, account, read).empty]
