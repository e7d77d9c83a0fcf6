"""Following Morpho: events say which markets and positions changed, the chain says what they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.ports import Reads
from keeper.core.types import Block, Book, Call, CallResult, Prices, RawLog, Update
from keeper.protocols.morpho_blue import abi, discover, logs
from keeper.protocols.morpho_blue.discover import ask
from keeper.protocols.morpho_blue.offers import Offer, read_offers
from keeper.protocols.morpho_blue.prices import Reference, answered, head_calls, read_head
from keeper.protocols.morpho_blue.state import Lending, Market, Position
from keeper.protocols.words import call, uint, words

_POSITIONS_PER_READ = 4_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What the configuration limits tracking to. wanted: market ids; empty: all. references: what tokens are worth.
    factory: of pre-liquidation contracts; empty: nobody looks at them."""

    morpho: bytes
    wanted: frozenset[bytes]
    references: tuple[Reference, ...]
    factory: bytes = b""

    def fold(self, market: Market, block_logs: Iterable[RawLog]) -> logs.Seen:
        return logs.fold(self.morpho, self.wanted, block_logs, self.factory, market.by_contract)


def sync(
    scope: Scope, book: Book[Market, Position], block: Block, block_logs: Sequence[RawLog], head: Sequence[CallResult]
) -> Reads[Update[Market, Position]]:
    """One block. No round trip when it touched nothing of ours, one for markets and positions, one more when it moved
    a market whose model is asked or was the first to pledge somewhere, and a few when it made a market or an offer."""
    before = book.market
    if before is None:
        raise ValueError("sync needs a market; run bootstrap first")
    answers = answered(head_calls(before, scope.references), head)
    seen = scope.fold(before, block_logs)
    made = yield from discover.read_new(scope.morpho, sorted(seen.markets - before.by_id.keys()), block.timestamp)
    offers = yield from read_offers(scope.factory, seen.offers - before.by_contract.keys())
    market = before.with_lendings(made).with_offers(offers)
    positions = seen.positions | _authorizing(market, seen.authorizations, offers, book.positions)
    calls: dict[object, Call] = {}
    for id_ in seen.markets & before.by_id.keys():
        calls |= discover.moving_calls(scope.morpho, before.by_id[id_])
    calls |= _position_calls(market, positions)
    read = yield from ask(calls)
    moved = {id_: discover.moved(before.by_id[id_], read) for id_ in seen.markets & before.by_id.keys()}
    market = market.with_lendings(_changed(before, _used({**moved, **made}, seen.positions)))
    found = {id_ + account: _position(market, id_, account, read) for id_, account in positions}
    market = market.with_offers(_in_force(market, found.values()))
    prices = yield from _prices(scope, market, answers)
    changes = {key: None if position.empty else position for key, position in found.items()}
    changes = {key: position for key, position in changes.items() if position != book.positions.get(key)}
    return Update(None if market == before else market, prices, changes, logs.liquidated(market, seen))


def snapshot(
    scope: Scope,
    market: Market,
    touches: Iterable[bytes],
    block: Block,
    head: Sequence[CallResult],
    held: Mapping[bytes, Position],
) -> Reads[Update[Market, Position]]:
    """Every position touched, and every market and offer that is not known yet, at one block. What is known of markets
    is as `bootstrap` has just read it."""
    answers = answered(head_calls(market, scope.references), head)
    seen = logs.touched(touches, scope.wanted)
    made = yield from discover.read_new(scope.morpho, sorted(seen.markets - market.by_id.keys()), block.timestamp)
    offers = yield from read_offers(scope.factory, seen.offers - market.by_contract.keys())
    market = market.with_lendings(made).with_offers(offers)
    known = {**held, **{id_ + account: None for id_, account in seen.positions}}
    touched = sorted(seen.positions | _authorizing(market, seen.authorizations, offers, known))
    entered = {id_: market.by_id[id_] for id_, _ in touched if id_ in market.by_id}
    market = market.with_lendings(_used(entered, seen.positions))
    positions: dict[bytes, Position | None] = {}
    for start in range(0, len(touched), _POSITIONS_PER_READ):
        group = touched[start : start + _POSITIONS_PER_READ]
        read = yield from ask(_position_calls(market, group))
        for id_, account in group:
            position = _position(market, id_, account, read)
            positions[id_ + account] = None if position.empty else position
    market = market.with_offers(_in_force(market, positions.values()))
    prices = yield from _prices(scope, market, answers)
    return Update(market, prices, positions)


def _authorizing(
    market: Market,
    authorizations: Iterable[tuple[bytes, bytes]],
    made: Mapping[bytes, Offer],
    held: Mapping[bytes, object],
) -> set[tuple[bytes, bytes]]:
    """Positions to read again because their owner authorized an offer, or no longer does; and all of a market with a
    new offer, which may have been authorized before it was made."""
    moved = {
        (offer.market, account)
        for account, other in authorizations
        if (offer := market.by_contract.get(other)) is not None
    }
    offered = {offer.market for offer in made.values()}
    walked = held if offered else ()  # there may be a million, and offers are rare
    entered = {(key[: logs.ID_SIZE], key[logs.ID_SIZE :]) for key in walked if key[: logs.ID_SIZE] in offered}
    return {(id_, account) for id_, account in moved if id_ + account in held} | entered


def _in_force(market: Market, positions: Iterable[Position | None]) -> dict[bytes, Offer]:
    """Offers that somebody has authorized for the first time."""
    authorized = {contract for position in positions if position is not None for contract in position.authorized}
    fresh = (market.by_contract[contract] for contract in authorized)
    return {offer.contract: replace(offer, used=True) for offer in fresh if not offer.used}


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


def _position_calls(market: Market, touched: Iterable[tuple[bytes, bytes]]) -> dict[object, Call]:
    calls: dict[object, Call] = {}
    for id_, account in touched:
        calls[id_, account] = call(market.morpho, abi.POSITION, id_, account)
        for offer in market.offers_for.get(id_, ()):
            calls[account, offer.contract] = call(market.morpho, abi.IS_AUTHORIZED, account, offer.contract)
    return calls


def _position(market: Market, id_: bytes, account: bytes, answers: Mapping[object, CallResult]) -> Position:
    what = f"position(0x{id_.hex()}, 0x{account.hex()})"
    _, borrow_shares, collateral = words(answers[id_, account], 3, what)
    offers = market.offers_for.get(id_, ())
    authorized = tuple(one.contract for one in offers if uint(answers[account, one.contract], "isAuthorized"))
    return Position(id_, borrow_shares, collateral, authorized)


def positions_of(market: Market, account: bytes) -> Reads[list[bytes]]:
    """Touches of every position that this account has in the known markets."""
    touched = [(id_, account) for id_ in market.by_id]
    read = yield from ask(_position_calls(market, touched))
    return [id_ + account for id_, _ in touched if not _position(market, id_, account, read).empty]
