"""What logs say: whose margin may have changed, in which markets and tokens, and who was liquidated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from keeper.core.errors import DecodeError
from keeper.core.types import Liquidated, LogFilter, RawLog
from keeper.protocols.perp_v2 import abi
from keeper.protocols.perp_v2.margin import PPM
from keeper.protocols.perp_v2.state import Market

_WORD = 64
_BASE_TOPIC = {
    abi.POSITION_LIQUIDATED: 2,
    abi.POSITION_CHANGED: 2,
    abi.POSITION_CLOSED: 2,
    abi.LIQUIDITY_CHANGED: 2,
    abi.FUNDING_SETTLED: 2,
}
_TOKEN_TOPIC = {abi.DEPOSITED: 1, abi.WITHDRAWN: 1, abi.COLLATERAL_LIQUIDATED: 2}


@dataclass(slots=True)
class Touch:
    """What an account's logs name. Its size and balances are read, never folded."""

    bases: set[bytes] = field(default_factory=set)
    tokens: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Seen:
    touched: dict[bytes, Touch] = field(default_factory=dict)
    liquidations: list[Liquidated] = field(default_factory=list)
    market_changed: bool = False

    def of(self, account: bytes) -> Touch:
        return self.touched.setdefault(account, Touch())


def log_filter(market: Market) -> LogFilter:
    emitters = {market.clearing_house, market.vault, market.account_balance, market.config, market.collateral_manager}
    topics = frozenset(bytes.fromhex(topic[2:]) for topic in abi.TOPICS)
    return LogFilter(frozenset(emitters), topics)


def liquidation_filter(market: Market) -> LogFilter:
    return LogFilter(frozenset({market.clearing_house}), frozenset({bytes.fromhex(abi.POSITION_LIQUIDATED[2:])}))


def fold(market: Market, logs: Iterable[RawLog]) -> Seen:
    """Raises DecodeError for a log that does not have the shape of its event."""
    seen, wanted = Seen(), log_filter(market).addresses
    for log in logs:
        if log.topics and log.topics[0] in abi.TOPICS and _address_of(log) in wanted:
            _take(market, log, seen)
    return seen


def _take(market: Market, log: RawLog, seen: Seen) -> None:
    event = log.topics[0]
    if event in abi.MARKET_EVENTS:
        seen.market_changed = True
        return
    topics, count = abi.SHAPES[event]
    if len(log.topics) != topics or len(log.data) != 2 + _WORD * count:
        raise _malformed(log, f"{topics} topics and {count} words of data were expected")
    touch = seen.of(_address(log, abi.TRADER_TOPIC[event]))
    if (place := _BASE_TOPIC.get(event)) is not None:
        touch.bases.add(_address(log, place))
    if (place := _TOKEN_TOPIC.get(event)) is not None:
        touch.tokens.add(_address(log, place))
    if event in (abi.COLLATERAL_LIQUIDATED, abi.BAD_DEBT_SETTLED):
        seen.of(market.insurance_fund)  # whose balance pays, or is paid, without an event of its own
    if event == abi.COLLATERAL_LIQUIDATED:
        seen.of(_address(log, 3))
    elif event == abi.POSITION_LIQUIDATED:
        liquidated = _liquidated(market, log)
        seen.of(liquidated.liquidator).bases.add(_address(log, 2))
        seen.liquidations.append(liquidated)


def _liquidated(market: Market, log: RawLog) -> Liquidated:
    """The position passes on at the mark price; what its owner loses is the penalty, of which the liquidator gets half
    as a discount (the contracts give it all when the account is under water, which the log does not tell).

    repaid, seized: of the settlement token; nothing, and the discount rounded down.
    """
    _, _, fee, liquidator = (_number(log, "0x" + log.data[2 + _WORD * i : 2 + _WORD * (i + 1)]) for i in range(4))
    account = _address(log, 1)
    unit = 10 ** (18 - market.settlement_decimals)
    if liquidator >> 160:
        raise _malformed(log, f"{liquidator:#x} is no address")
    return Liquidated(
        key=account,
        account=account,
        liquidator=liquidator.to_bytes(20, "big"),
        debt_asset=market.settlement,
        repaid_assets=0,
        collateral_asset=market.settlement,
        seized_assets=fee // 2 // unit,
        transaction_hash=_hash(log),
        log_index=_number(log, log.log_index),
    )


def discount(notional_wad: int, penalty_ppm: int, *, insolvent: bool) -> int:
    """What a liquidator gains on taking over a position of this value, in dollars scaled by 1e18."""
    penalty = notional_wad * penalty_ppm // PPM
    return penalty if insolvent else penalty // 2


# --- touches: an account, followed by nothing, or by what is named ("b" a market, "t" a token) ----------------------


def touches(seen: Seen) -> list[bytes]:
    keys = []
    for account, touch in seen.touched.items():
        keys.append(account)
        keys += [account + b"b" + base for base in touch.bases]
        keys += [account + b"t" + token for token in touch.tokens]
    return sorted(keys)


def read_touches(keys: Iterable[bytes]) -> Seen:
    seen = Seen()
    for key in keys:
        touch, kind, named = seen.of(key[:20]), key[20:21], key[21:]
        if kind == b"b":
            touch.bases.add(named)
        elif kind == b"t":
            touch.tokens.add(named)
    return seen


# --- words ------------------------------------------------------------------------------------------------------------


def _address(log: RawLog, place: int) -> bytes:
    value = _number(log, log.topics[place])
    if value >> 160 or len(log.topics[place]) != 2 + _WORD:
        raise _malformed(log, f"topic {log.topics[place]!r} is no address")
    return value.to_bytes(20, "big")


def _number(log: RawLog, word: str) -> int:
    digits = word[2:]
    try:
        if word[:2] != "0x" or len(digits) > _WORD or "_" in digits or digits.strip() != digits:
            raise ValueError
        return int(digits, 16)
    except ValueError:
        raise _malformed(log, f"{word!r} is no word") from None


def _address_of(log: RawLog) -> bytes:
    try:
        return bytes.fromhex(log.address[2:])
    except ValueError:
        raise _malformed(log, "its address is not hexadecimal") from None


def _hash(log: RawLog) -> bytes:
    try:
        return bytes.fromhex(log.transaction_hash[2:])
    except ValueError:
        raise _malformed(log, "its transaction hash is not hexadecimal") from None


def _malformed(log: RawLog, why: str) -> DecodeError:
    return DecodeError(
        f"log {log.log_index} of transaction {log.transaction_hash} from {log.address} does not decode: {why};"
        f" topics {list(log.topics)}, data {log.data[:80]}"
    )
