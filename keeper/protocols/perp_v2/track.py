"""Following a clearing house: events say whose margin changed, the chain says what it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keeper.core.ports import Reads
from keeper.core.types import Book, Call, CallResult, RawLog, Update
from keeper.protocols import words
from keeper.protocols.perp_v2 import abi, logs, reading
from keeper.protocols.perp_v2.logs import Seen, Touch
from keeper.protocols.perp_v2.margin import inferred
from keeper.protocols.perp_v2.reading import ask, signed
from keeper.protocols.perp_v2.state import Account, MakerView, Market, Reference, Taken
from keeper.protocols.words import call

_CALLS_PER_READ = 8_000


def sync(
    book: Book[Market, Account], market: Market, block_logs: Sequence[RawLog], head: Sequence[CallResult]
) -> Reads[Update[Market, Account]]:
    """One block. No round trip when it touched nobody, one when it touched accounts, two more when somebody used a
    market or a token that nobody had used before, a few when the house was reconfigured."""
    before = market
    prices, market = reading.read_head(market, head)
    seen = logs.fold(market, block_logs)
    seen.market_changed |= reading.reopened(market, head)
    if seen.touched or seen.market_changed:
        now = market
        if seen.market_changed:
            coin = (b"", b"") if market.native is None else (market.native.token, market.native.feed)
            now = yield from reading.bootstrap(market.clearing_house, coin, market)
        found = yield from _accounts(now, seen.touched, book.positions)
        now = yield from _with(now, found, {**book.positions, **found.accounts})
        if seen.market_changed or reading.head_calls(now) != reading.head_calls(market):
            head = yield reading.head_calls(now)
            prices, now = reading.read_head(now, head)
        else:
            now = _at_present(now, found)
        market = now
        positions = {key: one for key, one in found.accounts.items() if one != book.positions.get(key)}
        return Update(None if market == before else market, prices, positions, tuple(seen.liquidations))
    return Update(None if market == before else market, prices, {}, tuple(seen.liquidations))


def snapshot(market: Market, keys: Iterable[bytes], held: Mapping[bytes, Account]) -> Reads[Update[Market, Account]]:
    """Everything touched, at one block, in reads of bounded size; then the quotes of all that is used."""
    found = Found({}, {}, {})
    for part in _parts(logs.read_touches(keys)):
        more = yield from _accounts(market, part, held)
        found.accounts.update(more.accounts)
        found.margins.update(more.margins)
    market = yield from _with(market, found, {**held, **found.accounts})
    head = yield reading.head_calls(market)
    prices, market = reading.read_head(market, head)
    return Update(market, prices, found.accounts)


def _with(market: Market, found: Found, everybody: Mapping[bytes, Account | None]) -> Reads[Market]:
    """The market with what these accounts use, those of them that have orders, and its references."""
    open_ones = [one for one in found.accounts.values() if one is not None]
    bases = sorted({taken.base for one in open_ones for taken in one.positions})
    tokens = sorted({token for one in open_ones for token, _ in one.deposits})
    market = yield from reading.learn(market, bases, tokens)
    makers = dict(market.maker_views)
    for key, one in found.accounts.items():
        if one is not None and one.orders:
            makers[key] = found.margins[key]
        else:
            makers.pop(key, None)
    largest: dict[bytes, Reference] = {}
    for key, one in everybody.items():
        for taken in one.positions if one is not None and not one.orders else ():
            known = largest.get(taken.base)
            if taken.size_wad and (known is None or (abs(taken.size_wad), key) > (abs(known.size_wad), known.owner)):
                largest[taken.base] = Reference(key, taken.size_wad, taken.growth_x96)
    bases_now = tuple(replace(one, reference=largest.get(one.base)) for one in market.bases)
    return replace(market, bases=bases_now, makers=tuple(sorted(makers.items())))


def _at_present(market: Market, found: Found) -> Market:
    """The same references as before this block's reads; those that it touched owe what was read along with them."""
    bases = []
    for one in market.bases:
        payment = None if one.reference is None else found.fundings.get((one.reference.owner, one.base))
        if one.reference is not None and payment is not None:
            one = replace(one, growth_x96=inferred(one.reference, payment))
        bases.append(one)
    return replace(market, bases=tuple(bases))


def _parts(seen: Seen) -> Iterator[dict[bytes, Touch]]:
    part: dict[bytes, Touch] = {}
    size = 0
    for account in sorted(seen.touched):
        touch = part[account] = seen.touched[account]
        size += 8 + len(touch.bases) + len(touch.tokens)
        if size >= _CALLS_PER_READ:
            yield part
            part, size = {}, 0
    if part:
        yield part


# --- accounts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """accounts: as they are now; None: nothing left. margins: of those with orders. fundings: pending payments by
    account and market."""

    accounts: dict[bytes, Account | None]
    margins: dict[bytes, MakerView | None]
    fundings: dict[tuple[bytes, bytes], int]


def _accounts(market: Market, touched: Mapping[bytes, Touch], held: Mapping[bytes, Account]) -> Reads[Found]:
    calls: dict[Any, Call] = {}
    for account, touch in touched.items():
        before = held.get(account)
        bases, tokens = set(touch.bases), set(touch.tokens)
        if before is not None:
            bases.update(taken.base for taken in before.positions)
            tokens.update(token for token, _ in before.deposits)
        calls |= _fixed_calls(market, account)
        calls |= {(account, "info", base): _info(market, account, base) for base in bases}
        calls |= {(account, "funding", base): reading.funding_call(market, account, base) for base in bases}
        calls |= {(account, "deposit", token): _deposit(market, account, token) for token in tokens}
    if not calls:
        return Found({}, {}, {})
    answers = yield from ask(calls)
    lists = {
        account: (
            words.address_list(answers[account, "bases"], "getBaseTokens()"),
            words.address_list(answers[account, "tokens"], "getCollateralTokens()"),
        )
        for account in touched
    }
    missing: dict[Any, Call] = {}
    for account, (bases_in, tokens_in) in lists.items():
        missing |= {
            (account, "info", base): _info(market, account, base)
            for base in bases_in
            if (account, "info", base) not in answers
        }
        missing |= {
            (account, "deposit", token): _deposit(market, account, token)
            for token in tokens_in
            if (account, "deposit", token) not in answers
        }
    if missing:
        answers |= yield from ask(missing)
    found = Found({}, {}, {})
    for account, (bases_in, tokens_in) in lists.items():
        now = _account(account, bases_in, tokens_in, answers)
        found.accounts[account] = None if now.empty else now
        if now.orders:
            found.margins[account] = reading.maker_view([answers[account, "value"], answers[account, "requirement"]])
        for base in bases_in:
            payment = answers.get((account, "funding", base))
            if payment is not None and len(payment) >= 32:
                found.fundings[account, base] = signed(payment, 0, "getPendingFundingPayment()")
    return found


def _fixed_calls(market: Market, account: bytes) -> dict[Any, Call]:
    value, requirement = reading.margin_calls(market, account)
    return {
        (account, "balance"): call(market.vault, abi.GET_BALANCE, account),
        (account, "tokens"): call(market.vault, abi.GET_COLLATERAL_TOKENS, account),
        (account, "bases"): call(market.account_balance, abi.GET_BASE_TOKENS, account),
        (account, "pnl"): call(market.account_balance, abi.GET_PNL_AND_PENDING_FEE, account),
        (account, "orders"): call(market.account_balance, abi.HAS_ORDER, account),
        (account, "value"): value,
        (account, "requirement"): requirement,
    }


def _info(market: Market, account: bytes, base: bytes) -> Call:
    return call(market.account_balance, abi.GET_ACCOUNT_INFO, account, base)


def _deposit(market: Market, account: bytes, token: bytes) -> Call:
    return call(market.vault, abi.GET_BALANCE_BY_TOKEN, account, token)


def _account(
    account: bytes, bases: Iterable[bytes], tokens: Iterable[bytes], answers: Mapping[Any, CallResult]
) -> Account:
    """getPnlAndPendingFee reverts where a market's price does. What is realized is then not known, and taken for
    nothing; but health is not known either, for want of that price."""
    positions = []
    for base in sorted(bases):
        info = answers[account, "info", base]
        size, notional, growth = (signed(info, place, "getAccountInfo()") for place in range(3))
        positions.append(Taken(base, size, notional, growth))
    deposits = [
        (token, signed(answers[account, "deposit", token], 0, "getBalanceByToken()")) for token in sorted(tokens)
    ]
    pnl = answers[account, "pnl"]
    return Account(
        owner=account,
        balance=signed(answers[account, "balance"], 0, "getBalance()"),
        owed_pnl_wad=0 if pnl is None else signed(pnl, 0, "getPnlAndPendingFee()"),
        positions=tuple(positions),
        deposits=tuple((token, amount) for token, amount in deposits if amount),
        orders=words.maybe_uint(answers[account, "orders"]) == 1,
    )
