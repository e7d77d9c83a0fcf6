"""What a batch of logs says: whom it touched, which reserves moved, what was reconfigured, who was liquidated.

This is the hot path of a backfill, so logs are folded as the strings they are: each distinct string is converted once,
after the fold. Anything that does not have the shape of its event raises DecodeError.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from keeper.core.errors import DecodeError
from keeper.core.types import Liquidated, LogFilter, RawLog
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.state import Market, tokens_of

_TOPIC = 66  # characters of "0x" and one word
_TAG = 4  # bytes of a token's address that tell it from the pool's other tokens
_NOBODY = "0x" + "0" * 64  # who tokens come from when minted, and go to when burned
_TOPICS = frozenset(bytes.fromhex(topic[2:]) for topic in abi.TOPICS)


def log_filter(market: Market) -> LogFilter:
    contracts = {market.provider, market.pool, market.configurator, market.oracle}
    tokens = {token for reserve in market.reserves for token in tokens_of(reserve)}
    return LogFilter(frozenset(contracts | tokens), _TOPICS)


def liquidation_filter(market: Market) -> LogFilter:
    return LogFilter(frozenset({market.pool}), frozenset({bytes.fromhex(abi.LIQUIDATION_CALLED[2:])}))


@dataclass(slots=True)
class Seen:
    """Everything in a batch of logs, still as strings: topics of accounts and assets, addresses of tokens."""

    holders: dict[str, set[str]] = field(default_factory=dict)  # account topics by token address
    accounts: set[str] = field(default_factory=set)  # account topic
    reserves: set[str] = field(default_factory=set)  # asset topic
    reconfigured: set[str] = field(default_factory=set)  # asset topic
    categories: set[int] = field(default_factory=set)
    market_changed: bool = False
    liquidations: list[RawLog] = field(default_factory=list)


def fold(market: Market, logs: Iterable[RawLog]) -> Seen:
    """Raises DecodeError. Logs of contracts that are not the market's are passed over."""
    pool = f"0x{market.pool.hex()}"
    ours = {f"0x{contract.hex()}" for contract in (market.provider, market.configurator, market.oracle)}
    holders: dict[str, set[str]] = {f"0x{token.hex()}": set() for token in market.by_token}
    suppliers = {f"0x{r.asset.hex():0>64}": holders[f"0x{r.a_token.hex()}"] for r in market.reserves}
    seen = Seen(holders)
    transfer, updated, move = abi.TRANSFER, abi.RESERVE_DATA_UPDATED, seen.reserves.add
    switched = abi.COLLATERAL_ENABLED, abi.COLLATERAL_DISABLED
    for log in logs:
        topics = log.topics
        if not topics:
            raise _malformed(log, "it has no topic")
        event = topics[0]
        if event == transfer:
            if (held := holders.get(log.address)) is None:
                continue
            if len(topics) != 3 or len(log.data) != _TOPIC:
                raise _malformed(log, "a Transfer has two indexed addresses and one word of data")
            held.add(topics[1])
            held.add(topics[2])
        elif log.address == pool:
            if event == updated:
                if len(topics) != 2 or len(log.data) != 322:
                    _expect(log, 2, 5)
                move(topics[1])
            elif event in switched:
                _expect(log, 3, 0)
                seen.accounts.add(topics[2])
                if (held := suppliers.get(topics[1])) is not None:
                    held.add(topics[2])
            elif event == abi.USER_EMODE_SET:
                _expect(log, 2, 1)
                seen.accounts.add(topics[1])
            elif event == abi.LIQUIDATION_CALLED:
                _expect(log, 4, 4)
                # v3.6 accrues the collateral's index without a ReserveDataUpdated when aTokens are received
                seen.reserves.update(topics[1:3])
                seen.liquidations.append(log)
        elif log.address in ours:
            _fold_configuration(log, seen)
    return seen


def _fold_configuration(log: RawLog, seen: Seen) -> None:
    event = log.topics[0]
    if event in abi.RESERVE_EVENTS:
        if len(log.topics) < 2:
            raise _malformed(log, "its first indexed value is a reserve")
        seen.reconfigured.add(log.topics[1])
    elif event == abi.EMODE_CATEGORY_ADDED:
        if len(log.topics) != 2:
            raise _malformed(log, "its first indexed value is a category")
        seen.categories.add(_number(log, log.topics[1]))
    elif event in (abi.ASSET_COLLATERAL_IN_EMODE_CHANGED, abi.ASSET_LTVZERO_IN_EMODE_CHANGED):
        _expect(log, 2, 2)
        seen.categories.add(_number(log, log.data[:_TOPIC]))
    elif event in abi.MARKET_EVENTS:
        seen.market_changed = True


def _expect(log: RawLog, topics: int, words: int) -> None:
    if len(log.topics) != topics or len(log.data) != 2 + 64 * words:
        raise _malformed(log, f"{topics} topics and {words} words of data were expected")


def _malformed(log: RawLog, why: str) -> DecodeError:
    return DecodeError(
        f"log {log.log_index} of transaction {log.transaction_hash} from {log.address} does not decode: {why};"
        f" topics {list(log.topics)}, data {log.data[:80]}"
    )


def _number(log: RawLog, word: str) -> int:
    try:
        return int(word, 16)
    except ValueError:
        raise _malformed(log, f"{word!r} is no word") from None


# --- from strings to values -------------------------------------------------------------------------------------------


def address(topic: str) -> bytes:
    """The address in an indexed value. Raises DecodeError."""
    if len(topic) != _TOPIC or topic[:26] != _NOBODY[:26]:
        raise DecodeError(f"topic {topic!r} is no address")
    try:
        value = bytes.fromhex(topic[26:])
    except ValueError:
        value = b""
    if len(value) != 20:
        raise DecodeError(f"topic {topic!r} is no address")
    return value


def touch_keys(seen: Seen) -> list[bytes]:
    """Account (20 bytes), followed by four bytes of the token's address where a balance may have changed."""
    keys = _addresses(seen.accounts)
    for token, holders in seen.holders.items():
        holders.discard(_NOBODY)
        keys += _addresses(holders, token[2 : 2 + 2 * _TAG])
    return keys


def _addresses(topics: Collection[str], tag: str = "") -> list[bytes]:
    """Each with the tag, in hex, behind it. Many at once: one conversion instead of thousands. Raises DecodeError."""
    if set(map(len, topics)) <= {_TOPIC} and {topic[:26] for topic in topics} <= {_NOBODY[:26]}:
        try:
            joined = bytes.fromhex(tag.join([*[topic[26:] for topic in topics], ""]))
        except ValueError:
            joined = b""
        size = 20 + len(tag) // 2
        if len(joined) == size * len(topics):  # fromhex passes over blanks
            return [joined[at : at + size] for at in range(0, len(joined), size)]
    return [address(topic) + bytes.fromhex(tag) for topic in topics]


def touched(market: Market, keys: Iterable[bytes]) -> dict[bytes, set[bytes]]:
    """Tokens to read, by account, of the keys of `touch_keys`. A token the pool no longer lists has no balances."""
    by_tag: dict[bytes, list[bytes]] = {}
    for token in market.by_token:
        by_tag.setdefault(token[:_TAG], []).append(token)
    tokens: dict[bytes, set[bytes]] = {}
    for key in sorted(keys):
        tokens.setdefault(key[:20], set()).update(by_tag.get(key[20:], ()))
    return tokens


def liquidated(logs: Sequence[RawLog]) -> tuple[Liquidated, ...]:
    """LiquidationCall events as values. Raises DecodeError."""
    return tuple(_liquidated(log) for log in logs)


def _liquidated(log: RawLog) -> Liquidated:
    data = log.data
    repaid, seized = (_number(log, "0x" + data[2 + 64 * i : 66 + 64 * i]) for i in range(2))
    account = address(log.topics[3])
    return Liquidated(
        key=account,
        account=account,
        liquidator=address("0x" + data[130:194]),
        debt_asset=address(log.topics[2]),
        repaid_assets=repaid,
        collateral_asset=address(log.topics[1]),
        seized_assets=seized,
        transaction_hash=_hash(log),
        log_index=_number(log, log.log_index),
    )


def _hash(log: RawLog) -> bytes:
    try:
        return bytes.fromhex(log.transaction_hash[2:])
    except ValueError:
        raise _malformed(log, "its transaction hash is not hexadecimal") from None
