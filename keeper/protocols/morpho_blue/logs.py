"""What a batch of logs says: which markets moved or were made, whose positions changed, who was liquidated.

Logs are folded as the strings they are; anything that does not have the shape of its event raises DecodeError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from keeper.core.errors import DecodeError
from keeper.core.types import Liquidated, LogFilter, RawLog
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.state import Market

ID_SIZE = 32
_WORD = 66  # characters of "0x" and one word
_NO_PREFIX = "0x" + "0" * 24
_TOPICS = frozenset(bytes.fromhex(topic[2:]) for topic in abi.SHAPES)
_PRE_TOPICS = frozenset(bytes.fromhex(topic[2:]) for topic in abi.PRE_SHAPES)


def log_filter(morpho: bytes, factory: bytes, market: Market) -> LogFilter:
    """factory: of pre-liquidation contracts; empty: nobody looks at them. Of those in force, their own events."""
    if not factory:
        return LogFilter(frozenset({morpho}), _TOPICS)
    offering = {offer.contract for offer in market.offers if offer.used}
    return LogFilter(frozenset({morpho, factory, *offering}), _TOPICS | _PRE_TOPICS)


def liquidation_filter(morpho: bytes, market: Market) -> LogFilter:
    """Of liquidations alone: Morpho's own, and those of offers in force."""
    offering = {offer.contract for offer in market.offers if offer.used}
    topics = frozenset(bytes.fromhex(topic[2:]) for topic in (abi.LIQUIDATED, abi.PRE_LIQUIDATED))
    return LogFilter(frozenset({morpho, *offering}), topics)


@dataclass(slots=True)
class Seen:
    """markets: ids. positions: (market id, account). made: loan and collateral token by id, of markets created here.
    offers: pre-liquidation contracts made here. authorizations: (account, whom it authorizes, or no longer)."""

    markets: set[bytes] = field(default_factory=set)
    offers: set[bytes] = field(default_factory=set)
    authorizations: set[tuple[bytes, bytes]] = field(default_factory=set)
    positions: set[tuple[bytes, bytes]] = field(default_factory=set)
    made: dict[bytes, tuple[bytes, bytes]] = field(default_factory=dict)
    liquidations: list[RawLog] = field(default_factory=list)


def fold(
    morpho: bytes,
    wanted: Collection[bytes],
    logs: Iterable[RawLog],
    factory: bytes = b"",
    offering: Collection[bytes] = (),
) -> Seen:
    """wanted: ids of the markets that matter; empty: all. Logs of other contracts and markets are passed over.

    factory, offering: of pre-liquidation contracts, and those known; empty: nobody looks at them.
    """
    ours, seen = f"0x{morpho.hex()}", Seen()
    makes, offers = f"0x{factory.hex()}", {f"0x{contract.hex()}" for contract in offering}
    for log in logs:
        if factory and log.topics and log.topics[0] in abi.PRE_SHAPES:
            if log.address in (ours, makes) or log.address in offers:
                _fold_pre_liquidation(log, log.address == ours, log.address == makes, wanted, seen)
            continue
        if log.address != ours:
            continue
        if not log.topics:
            raise malformed(log, "it has no topic")
        shape = abi.SHAPES.get(log.topics[0])
        if shape is None:
            continue
        topics, words, owner = shape
        if len(log.topics) != topics or len(log.data) != 2 + 64 * words:
            raise malformed(log, f"{topics} topics and {words} words of data were expected")
        id_ = word(log, log.topics[1])
        if wanted and id_ not in wanted:
            continue
        seen.markets.add(id_)
        if owner is not None:
            seen.positions.add((id_, address(log, log.topics[owner])))
        if log.topics[0] == abi.CREATE_MARKET:
            seen.made[id_] = (_data_address(log, 0), _data_address(log, 1))
        elif log.topics[0] == abi.LIQUIDATED:
            seen.liquidations.append(log)
    return seen


def _fold_pre_liquidation(
    log: RawLog, by_morpho: bool, by_factory: bool, wanted: Collection[bytes], seen: Seen
) -> None:
    event = log.topics[0]
    topics, words = abi.PRE_SHAPES[event]
    if len(log.topics) != topics or len(log.data) != 2 + 64 * words:
        raise malformed(log, f"{topics} topics and {words} words of data were expected")
    if by_morpho and event == abi.SET_AUTHORIZATION:
        seen.authorizations.add((address(log, log.topics[2]), address(log, log.topics[3])))
    elif by_factory and event == abi.CREATE_PRE_LIQUIDATION:
        seen.offers.add(address(log, log.topics[1]))
    elif not by_morpho and not by_factory and event == abi.PRE_LIQUIDATED:
        id_, owner = word(log, log.topics[1]), address(log, log.topics[3])
        if not wanted or id_ in wanted:
            seen.positions.add((id_, owner))
            seen.liquidations.append(log)


def touch_keys(seen: Seen) -> list[bytes]:
    """A market's id, alone or followed by an account; an account and whom it authorizes; an offer's contract."""
    touched = {id_ for id_, _ in seen.positions}
    return sorted(
        [
            *(seen.markets - touched),
            *(id_ + account for id_, account in seen.positions),
            *(account + other for account, other in seen.authorizations),
            *seen.offers,
        ]
    )


@dataclass(frozen=True, slots=True)
class Touched:
    """What touch keys say again."""

    markets: frozenset[bytes]
    positions: frozenset[tuple[bytes, bytes]]
    authorizations: frozenset[tuple[bytes, bytes]]
    offers: frozenset[bytes]


def touched(keys: Iterable[bytes], wanted: Collection[bytes]) -> Touched:
    """Told apart by their size."""
    by_size: dict[int, set[bytes]] = {20: set(), 32: set(), 40: set(), 52: set()}
    for key in keys:
        if len(key) in (20, 40) or not wanted or key[:ID_SIZE] in wanted:
            by_size[len(key)].add(key)
    positions = frozenset((key[:ID_SIZE], key[ID_SIZE:]) for key in by_size[52])
    return Touched(
        markets=frozenset(by_size[32]) | {id_ for id_, _ in positions},
        positions=positions,
        authorizations=frozenset((key[:20], key[20:]) for key in by_size[40]),
        offers=frozenset(by_size[20]),
    )


def liquidated(market: Market, seen: Seen) -> tuple[Liquidated, ...]:
    """Liquidate events as values. Tokens of a market that is not known yet are empty."""
    return tuple(_liquidated(market, seen, log) for log in seen.liquidations)


def _liquidated(market: Market, seen: Seen, log: RawLog) -> Liquidated:
    id_, caller, borrower = word(log, log.topics[1]), address(log, log.topics[2]), address(log, log.topics[3])
    lending = market.by_id.get(id_)
    loan, collateral = seen.made.get(id_, (b"", b"")) if lending is None else (lending.loan, lending.collateral)
    return Liquidated(
        key=id_ + borrower,
        account=borrower,
        liquidator=caller,
        debt_asset=loan,
        repaid_assets=_number(log, 0),  # the same places in PreLiquidate
        collateral_asset=collateral,
        seized_assets=_number(log, 2),
        transaction_hash=word(log, log.transaction_hash),
        log_index=_quantity(log, log.log_index),
    )


# --- words ------------------------------------------------------------------------------------------------------------


def malformed(log: RawLog, why: str) -> DecodeError:
    return DecodeError(
        f"log {log.log_index} of transaction {log.transaction_hash} from {log.address} does not decode: {why};"
        f" topics {list(log.topics)}, data {log.data[:80]}"
    )


def word(log: RawLog, text: str) -> bytes:
    try:
        value = bytes.fromhex(text[2:])
    except ValueError:
        value = b""
    if len(text) != _WORD or text[:2] != "0x" or len(value) != 32:
        raise malformed(log, f"{text!r} is no word")
    return value


def address(log: RawLog, text: str) -> bytes:
    if text[: len(_NO_PREFIX)] != _NO_PREFIX:
        raise malformed(log, f"{text!r} is no address")
    return word(log, text)[12:]


def _data_address(log: RawLog, index: int) -> bytes:
    return address(log, "0x" + log.data[2 + 64 * index : 66 + 64 * index])


def _number(log: RawLog, index: int) -> int:
    return int.from_bytes(word(log, "0x" + log.data[2 + 64 * index : 66 + 64 * index]), "big")


def _quantity(log: RawLog, text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise malformed(log, f"{text!r} is no number") from None
