"""Following a pool: events say who and what changed, the chain says what it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from keeper.core.ports import Reads
from keeper.core.types import Block, Book, Call, CallResult, RawLog, Update
from keeper.protocols import words
from keeper.protocols.venus import abi, logs, reading
from keeper.protocols.venus.logs import DebtTouch, Seen
from keeper.protocols.venus.reading import ask
from keeper.protocols.venus.state import Account, Debt, Market
from keeper.protocols.words import call

_CALLS_PER_READ = 8_000


def sync(
    book: Book[Market, Account], market: Market, block: Block, block_logs: Sequence[RawLog], head: Sequence[CallResult]
) -> Reads[Update[Market, Account]]:
    """One block. No round trip when it touched nothing of ours, one when it touched accounts or markets, a few when it
    reconfigured the pool, one more for accounts of which nothing was known but that are in markets already."""
    before = market
    prices, market = reading.read_head(market, block, head)
    seen = logs.fold(market, block_logs)
    if seen.market_changed:
        market = yield from reading.bootstrap(market.comptroller)
        seen = logs.fold(market, block_logs)
    gone = [vtoken for vtoken in seen.moved if vtoken not in market.by_vtoken]
    seen.moved.difference_update(gone)
    for debt in seen.debts.values():
        debt.index_wad = None  # what is stored at the end of this block says it all: its index is the market's
    calls: dict[Any, Call] = {**reading.moved_calls(seen.moved), **_account_calls(market, seen)}
    if seen.market_changed:
        calls |= {("head", i): asked for i, asked in enumerate(reading.head_calls(market))}
    if not calls:
        return Update(None if market == before else market, prices, {}, tuple(seen.liquidations))
    answers = yield from ask(calls)
    market = reading.moved(market, seen.moved, answers)
    if seen.market_changed:
        results = [answers["head", i] for i in range(len(reading.head_calls(market)))]
        prices, market = reading.read_head(market, block, results)
    seen.liquidations = logs.fold(market, block_logs).liquidations  # valued at the rates of this block
    found = yield from _accounts(market, seen, book.positions, answers)
    positions = {one: found[one] for one in found if found[one] != book.positions.get(one)}
    return Update(None if market == before else market, prices, positions, tuple(seen.liquidations))


def snapshot(
    market: Market, keys: Iterable[bytes], block: Block, head: Sequence[CallResult], held: Mapping[bytes, Account]
) -> Reads[Update[Market, Account]]:
    """Everything touched, at one block, in reads of bounded size."""
    prices, market = reading.read_head(market, block, head)
    seen = logs.read_touches(keys)
    positions: dict[bytes, Account | None] = {}
    for part in _parts(seen):
        answers = yield from ask(_account_calls(market, part))
        positions |= yield from _accounts(market, part, held, answers)
    return Update(market, prices, positions)


def _parts(seen: Seen) -> Iterator[Seen]:
    """The touches of whole accounts, in groups whose calls fit one read."""
    balances: dict[bytes, list[bytes]] = {}
    debts: dict[bytes, dict[bytes, DebtTouch]] = {}
    for account, vtoken in seen.balances:
        balances.setdefault(account, []).append(vtoken)
    for (account, vtoken), debt in seen.debts.items():
        debts.setdefault(account, {})[vtoken] = debt
    part, size = Seen(), 0
    for account in sorted(seen.accounts):
        mine, owed = balances.get(account, []), debts.get(account, {})
        part.members.add(account)
        part.balances.update((account, vtoken) for vtoken in mine)
        part.debts.update({(account, vtoken): debt for vtoken, debt in owed.items()})
        size += 1 + len(mine) + len(owed)
        if size >= _CALLS_PER_READ:
            yield part
            part, size = Seen(), 0
    if size:
        yield part


# --- accounts ---------------------------------------------------------------------------------------------------------


def _account_calls(market: Market, seen: Seen) -> dict[Any, Call]:
    calls: dict[Any, Call] = {
        (account, "in"): call(market.comptroller, abi.GET_ASSETS_IN, account) for account in seen.accounts
    }
    for account, vtoken in seen.balances:
        if vtoken in market.by_vtoken:
            calls[account, "held", vtoken] = call(vtoken, abi.BALANCE_OF, account)
    for (account, vtoken), debt in seen.debts.items():
        if vtoken in market.by_vtoken and debt.index_wad is None:
            calls[account, "owed", vtoken] = call(vtoken, abi.BORROW_BALANCE_STORED, account)
    return calls


def _accounts(
    market: Market, seen: Seen, held: Mapping[bytes, Account], answers: dict[Any, CallResult]
) -> Reads[dict[bytes, Account | None]]:
    """Accounts as they are now; None for those with nothing left. Of an account not held before, markets that it is in
    and that nothing was said of are read as well: an index may have begun after it entered them."""
    accounts = sorted(seen.accounts)
    entered = {
        account: tuple(
            sorted(
                vtoken
                for vtoken in words.address_list(answers[account, "in"], "getAssetsIn()")
                if vtoken in market.by_vtoken
            )
        )
        for account in accounts
    }
    missing: dict[Any, Call] = {}
    for account in accounts:
        for vtoken in entered[account] if account not in held else ():
            if (account, "held", vtoken) not in answers:
                missing[account, "held", vtoken] = call(vtoken, abi.BALANCE_OF, account)
            if (account, vtoken) not in seen.debts:
                missing[account, "owed", vtoken] = call(vtoken, abi.BORROW_BALANCE_STORED, account)
    if missing:
        answers = {**answers, **(yield from ask(missing))}
    return {
        account: _account(market, account, entered[account], seen, held.get(account), answers) for account in accounts
    }


def _account(
    market: Market,
    account: bytes,
    entered: tuple[bytes, ...],
    seen: Seen,
    before: Account | None,
    answers: Mapping[Any, CallResult],
) -> Account | None:
    supplies = dict(before.supplies) if before is not None else {}
    debts = {debt.vtoken: debt for debt in before.debts} if before is not None else {}
    for vtoken, one in market.by_vtoken.items():
        if (account, "held", vtoken) in answers:
            supplies[vtoken] = words.uint(answers[account, "held", vtoken], "balanceOf()")
        touch = seen.debts.get((account, vtoken))
        if touch is not None and touch.index_wad is not None:
            debts[vtoken] = Debt(vtoken, touch.principal_assets, touch.index_wad)
        elif (account, "owed", vtoken) in answers:
            stored = words.uint(answers[account, "owed", vtoken], "borrowBalanceStored()")
            debts[vtoken] = Debt(vtoken, stored, one.borrow_index_wad)
    now = Account(
        entered,
        tuple((vtoken, supplies[vtoken]) for vtoken in sorted(supplies) if supplies[vtoken]),
        tuple(debts[vtoken] for vtoken in sorted(debts) if debts[vtoken].principal_assets),
    )
    return None if now.empty else now
