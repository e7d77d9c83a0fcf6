"""What logs say: whose balances, debts and memberships changed, which markets moved, who was liquidated.

A debt is told by what was owed when it was last touched and the index of that moment, and the contract has no view of
either. Both are in the logs: Borrow and RepayBorrow carry what is owed from then on, and the AccrueInterest before them
the index. So a touch of a debt carries them, and a backfill needs no more than the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keeper.core.errors import DecodeError
from keeper.core.types import Liquidated, LogFilter, RawLog
from keeper.core.units import WAD
from keeper.protocols.venus import abi
from keeper.protocols.venus.heals import Heal, Heals, Leg, Place
from keeper.protocols.venus.interest import stored
from keeper.protocols.venus.state import Market, VMarket

_NOBODY = bytes(20)
_WORD = 64


@dataclass(slots=True)
class DebtTouch:
    """principal_assets, index_wad: None when these logs do not tell."""

    block: int
    log_index: int
    principal_assets: int
    index_wad: int | None


@dataclass(slots=True)
class Seen:
    """members: accounts whose entered markets changed. balances: (account, vToken) of supplies. moved: vTokens."""

    members: set[bytes] = field(default_factory=set)
    balances: set[tuple[bytes, bytes]] = field(default_factory=set)
    debts: dict[tuple[bytes, bytes], DebtTouch] = field(default_factory=dict)
    moved: set[bytes] = field(default_factory=set)
    liquidations: list[Liquidated] = field(default_factory=list)
    market_changed: bool = False

    @property
    def accounts(self) -> set[bytes]:
        return self.members | {account for account, _ in self.balances} | {account for account, _ in self.debts}


def log_filter(market: Market) -> LogFilter:
    topics = frozenset(bytes.fromhex(topic[2:]) for topic in abi.TOPICS)
    return LogFilter(frozenset({market.comptroller, *market.by_vtoken}), topics)


def liquidation_filter(market: Market) -> LogFilter:
    topics = {abi.LIQUIDATED, abi.HEALED, abi.TRANSFER} if market.isolated else {abi.LIQUIDATED}
    return LogFilter(frozenset(market.by_vtoken), frozenset(bytes.fromhex(topic[2:]) for topic in topics))


def fold(market: Market, logs: Iterable[RawLog]) -> Seen:
    """Whole transactions: what a heal seized is in other logs of its transaction.

    Raises DecodeError for a log that does not have the shape of its event.
    """
    folding = _Folding(market)
    wanted = [log for log in logs if log.topics and log.topics[0] in abi.TOPICS]
    for log in sorted(wanted, key=_place):
        _take(folding, log)
    placed = sorted([*folding.liquidated, *folding.heals.told(market)], key=lambda one: one[0])
    folding.seen.liquidations = [liquidation for _, liquidation in placed]
    return folding.seen


@dataclass(slots=True)
class _Folding:
    """indices: borrow indices as last logged, by vToken."""

    market: Market
    seen: Seen = field(default_factory=Seen)
    indices: dict[bytes, int] = field(default_factory=dict)
    heals: Heals = field(default_factory=Heals)
    liquidated: list[tuple[Place, Liquidated]] = field(default_factory=list)


def _take(folding: _Folding, log: RawLog) -> None:
    market, seen, indices = folding.market, folding.seen, folding.indices
    event, source = log.topics[0], _address_of(log)
    if source == market.comptroller:
        if event in (abi.ENTERED, abi.EXITED):
            seen.members.add(_addresses(log, 2, (0, 1))[1])
        elif event in abi.MARKET_EVENTS:
            seen.market_changed = True
        return
    if source not in market.by_vtoken:
        return
    if event in abi.MARKET_EVENTS:
        seen.market_changed = True
        return
    seen.moved.add(source)
    if event == abi.ACCRUED:
        indices[source] = _words(log, 4)[2]
    elif event == abi.TRANSFER:
        giver, taker, tokens = _words(log, 3)
        parties = _as_address(log, giver), _as_address(log, taker)
        accounts = [(party, source) for party in parties if party not in (_NOBODY, source)]
        seen.balances.update(accounts)
        if market.isolated and len(accounts) == 2:
            folding.heals.received(_heal(log, healer=parties[1], account=parties[0]), Leg(_place(log), source, tokens))
    elif event == abi.BORROWED:
        borrower, _, principal, _ = _words(log, 4)
        _owes(seen, log, source, _as_address(log, borrower), principal, indices)
    elif event == abi.REPAID:
        _, borrower, _, principal, _ = _words(log, 5)
        _owes(seen, log, source, _as_address(log, borrower), principal, indices)
    elif event == abi.HEALED:
        payer, borrower, repaid = _words(log, 3)
        account = _as_address(log, borrower)
        _owes(seen, log, source, account, 0, indices)
        folding.heals.repaid(
            _heal(log, healer=_as_address(log, payer), account=account), Leg(_place(log), source, repaid)
        )
    elif event == abi.LIQUIDATED:
        liquidated, seized_from = _liquidated(market, log, source)
        folding.liquidated.append((_place(log), liquidated))
        folding.heals.liquidated(
            _heal(log, healer=liquidated.liquidator, account=liquidated.account), seized_from.vtoken
        )


def _heal(log: RawLog, *, healer: bytes, account: bytes) -> Heal:
    return Heal(_hash(log), healer, account)


def _owes(seen: Seen, log: RawLog, vtoken: bytes, borrower: bytes, principal: int, indices: dict[bytes, int]) -> None:
    block, place = _place(log)
    seen.debts[borrower, vtoken] = DebtTouch(block, place, principal, indices.get(vtoken))


def _liquidated(market: Market, log: RawLog, vtoken: bytes) -> tuple[Liquidated, VMarket]:
    """The liquidation, and the market that it seizes from. seized_assets: what the liquidator's part of the seized
    vTokens is worth in the underlying, at the rate that the market is known by; the rest is the protocol's share."""
    liquidator, borrower, repaid, collateral, tokens = _words(log, 5)
    account, seized_from = _as_address(log, borrower), _as_address(log, collateral)
    if (taken := market.by_vtoken.get(seized_from)) is None:
        raise _malformed(log, f"it seizes from 0x{seized_from.hex()}, which is no market of this pool")
    received = tokens - protocol_part(market, taken, tokens)
    liquidated = Liquidated(
        key=account,
        account=account,
        liquidator=_as_address(log, liquidator),
        debt_asset=market.by_vtoken[vtoken].asset,
        repaid_assets=repaid,
        collateral_asset=taken.asset,
        seized_assets=received * stored(taken).exchange_rate_wad // WAD,
        transaction_hash=_hash(log),
        log_index=_place(log)[1],
    )
    return liquidated, taken


def protocol_part(market: Market, taken: VMarket, tokens: int) -> int:
    """vTokens of the seized that the protocol keeps: its share of the incentive's part (VToken._seize), or of all
    (Compound v2, CToken.seizeInternal)."""
    part = tokens * taken.seize_share_wad // WAD
    if not market.isolated:
        return part
    return part * WAD // market.incentive_wad if market.incentive_wad else 0


# --- touches ----------------------------------------------------------------------------------------------------------
#
# Account (20 bytes), what (1 byte), and then: nothing (membership), a vToken (supply; debt that nobody told of), or
# vToken, block, log index, principal and index (a debt as its newest event told it).

_MEMBER, _SUPPLY, _DEBT, _UNTOLD = (bytes([what]) for what in range(4))


def touches(seen: Seen) -> list[bytes]:
    keys = [account + _MEMBER for account in seen.members]
    keys += [account + _SUPPLY + vtoken for account, vtoken in seen.balances]
    for (account, vtoken), one in seen.debts.items():
        if one.index_wad is None:
            keys.append(account + _UNTOLD + vtoken)
        else:
            place = one.block.to_bytes(8, "big") + one.log_index.to_bytes(4, "big")
            told = one.principal_assets.to_bytes(32, "big") + one.index_wad.to_bytes(32, "big")
            keys.append(account + _DEBT + vtoken + place + told)
    return sorted(keys)


def whole(market: Market, account: bytes) -> list[bytes]:
    """Everything of one account, by state alone: its debts are as of the block that is read."""
    keys = [account + _MEMBER]
    for vtoken in market.by_vtoken:
        keys += [account + _SUPPLY + vtoken, account + _UNTOLD + vtoken]
    return keys


def read_touches(keys: Iterable[bytes]) -> Seen:
    """The inverse of `touches`, of all that were kept: of a debt the newest event counts."""
    seen = Seen()
    for key in keys:
        account, what, vtoken = key[:20], key[20:21], key[21:41]
        if what == _MEMBER:
            seen.members.add(account)
        elif what == _SUPPLY:
            seen.balances.add((account, vtoken))
        elif what == _UNTOLD:
            seen.debts.setdefault((account, vtoken), DebtTouch(-1, 0, 0, None))
        elif what == _DEBT and len(key) == 117:
            block, place = int.from_bytes(key[41:49], "big"), int.from_bytes(key[49:53], "big")
            known = seen.debts.get((account, vtoken))
            if known is None or (known.block, known.log_index) < (block, place):
                told = (int.from_bytes(key[53:85], "big"), int.from_bytes(key[85:], "big"))
                seen.debts[account, vtoken] = DebtTouch(block, place, *told)
        else:
            raise DecodeError(f"a kept touch of a venus pool does not read: 0x{key.hex()}; index again")
    return seen


# --- words ------------------------------------------------------------------------------------------------------------


def _words(log: RawLog, count: int) -> list[int]:
    """The arguments in order. Isolated pools index addresses, older ones nothing; topics come first either way only
    where the indexed ones are the first, so each event's indexed places are known."""
    indexed = len(log.topics) - 1
    places = _INDEXED.get(log.topics[0], ()) if indexed else ()
    if indexed != len(places) or len(log.data) != 2 + _WORD * (count - indexed):
        raise _malformed(log, f"{count} arguments were expected")
    topics = iter(log.topics[1:])
    body = iter(range(count - indexed))
    return [
        _number(log, next(topics)) if place in places else _number(log, "0x" + _slice(log.data, next(body)))
        for place in range(count)
    ]


_INDEXED = {
    abi.TRANSFER: (0, 1),
    abi.BORROWED: (0,),
    abi.REPAID: (0, 1),
    abi.HEALED: (0, 1),
    abi.LIQUIDATED: (0, 1, 3),
    abi.ENTERED: (0, 1),
    abi.EXITED: (0, 1),
}


def _slice(data: str, place: int) -> str:
    return data[2 + _WORD * place : 2 + _WORD * (place + 1)]


def _addresses(log: RawLog, count: int, places: Sequence[int]) -> list[bytes]:
    values = _words(log, count)
    return [_as_address(log, values[place]) for place in places]


def _as_address(log: RawLog, value: int) -> bytes:
    if value >> 160:
        raise _malformed(log, f"{value:#x} is no address")
    return value.to_bytes(20, "big")


def _place(log: RawLog) -> Place:
    return _number(log, log.block_number), _number(log, log.log_index)


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
