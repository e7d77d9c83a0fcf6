"""Following a pool: events say who and what changed, the chain says what it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from keeper.core.errors import RpcMalformed, StateUnavailable
from keeper.core.ports import Reads
from keeper.core.types import Block, Book, Call, CallResult, RawLog, Update
from keeper.protocols.aave_v3 import abi, discover, logs
from keeper.protocols.aave_v3.abi import call
from keeper.protocols.aave_v3.discover import ask, bootstrap, refresh
from keeper.protocols.aave_v3.prices import head_calls, read_head
from keeper.protocols.aave_v3.state import Account, Market, Reserve, StableDebt, tokens_of

_CALLS_PER_READ = 8_000


def of_block(update: Update[Market, Account], block: Block) -> Update[Market, Account]:
    """The update itself. Raises StateUnavailable when it holds what happened after the block: some nodes answer a call
    at their newest block with a still newer state, if one is mined at that moment."""
    for reserve in update.market.reserves if update.market is not None else ():
        if reserve.updated_at > block.timestamp:
            raise StateUnavailable(
                f"block {block.number} is of {block.timestamp}, but the node says that {reserve.symbol} was updated at "
                f"{reserve.updated_at}: it answered with the state of a later block; asking again"
            )
    return update


def sync(
    market: Market, book: Book[Market, Account], block_logs: Sequence[RawLog], head: Sequence[CallResult]
) -> Reads[Update[Market, Account]]:
    """One block. No round trip when it touched nothing of ours, one when it touched accounts or reserves, a few when
    it reconfigured the pool."""
    before = market
    prices, market = read_head(market, head)
    seen = logs.fold(market, block_logs)
    liquidations = logs.liquidated(seen.liquidations)
    reconfigured = seen.market_changed or seen.reconfigured or seen.categories
    if seen.market_changed:
        market = yield from bootstrap(market.provider)
    elif reconfigured:
        market = yield from refresh(market, map(logs.address, seen.reconfigured), seen.categories)
    if reconfigured:
        seen = logs.fold(market, block_logs)  # tokens of a reserve that this block added are known only now
    tokens = logs.touched(market, logs.touch_keys(seen))
    assets = {logs.address(topic) for topic in seen.reserves}
    moved = [market.by_asset[asset] for asset in sorted(assets) if asset in market.by_asset]

    calls: dict[object, Call] = {}
    for reserve in moved:
        calls |= _reserve_calls(market, reserve)
    for account, touched in tokens.items():
        calls |= _account_calls(market, account, touched)
    if reconfigured:
        calls |= {("head", i): asked for i, asked in enumerate(head_calls(market))}
    if not calls:
        return Update(None if market == before else market, prices, {}, liquidations)
    answers = yield from ask(calls)

    if moved:
        market = market.with_reserves({reserve.asset: _moved(reserve, answers) for reserve in moved})
    if reconfigured:
        prices, market = read_head(market, [answers["head", i] for i in range(len(head_calls(market)))])
    found = {
        account: _account(market, account, touched, book.positions.get(account), answers)
        for account, touched in tokens.items()
    }
    found |= yield from _completed(market, found, book.positions)
    now = _open(found)
    positions = {account: now[account] for account in found if now[account] != book.positions.get(account)}
    return Update(None if market == before else market, prices, positions, liquidations)


def snapshot(
    market: Market, keys: Iterable[bytes], head: Sequence[CallResult], held: Mapping[bytes, Account]
) -> Reads[Update[Market, Account]]:
    """Everything touched, at one block, in reads of bounded size.

    held: positions from which untouched balances are taken. Of accounts that are in neither, what their flags name and
    no key does is read as well: events from before an index began are not needed for those that it sees later.
    """
    prices, market = read_head(market, head)
    tokens = logs.touched(market, keys)
    positions: dict[bytes, Account | None] = {}
    for accounts in _chunks(tokens):
        calls: dict[object, Call] = {}
        for account in accounts:
            calls |= _account_calls(market, account, tokens[account])
        answers = yield from ask(calls)
        found = {
            account: _account(market, account, tokens[account], held.get(account), answers) for account in accounts
        }
        found |= yield from _completed(market, found, held)
        positions |= _open(found)
    return Update(market, prices, positions)


def _chunks(tokens: Mapping[bytes, set[bytes]]) -> Iterator[list[bytes]]:
    """Accounts in groups whose calls fit one read."""
    group: list[bytes] = []
    size = 0
    for account, touched in tokens.items():
        group.append(account)
        size += 2 + 3 * len(touched)
        if size >= _CALLS_PER_READ:
            yield group
            group, size = [], 0
    if group:
        yield group


# --- reserves ---------------------------------------------------------------------------------------------------------


def _reserve_calls(market: Market, reserve: Reserve) -> dict[object, Call]:
    return {
        (reserve.asset, "data"): call(market.pool, abi.GET_RESERVE_DATA, reserve.asset),
        (reserve.asset, "virtual"): call(market.pool, abi.GET_VIRTUAL_UNDERLYING_BALANCE, reserve.asset),
        (reserve.asset, "underlying"): call(reserve.asset, abi.BALANCE_OF, reserve.a_token),
        (reserve.asset, "scaled_supply"): call(reserve.a_token, abi.SCALED_TOTAL_SUPPLY),
    }


def _moved(reserve: Reserve, answers: Mapping[object, CallResult]) -> Reserve:
    """The reserve as it is now. Raises RpcMalformed when it is said to have other tokens than it was listed with: by
    these its holders are found, and they change with its listing alone, which is read before."""
    read = discover.reserve_fields(answers[reserve.asset, "data"], reserve.asset)
    available = discover.liquidity(answers[reserve.asset, "virtual"], answers[reserve.asset, "underlying"])
    supply = abi.maybe_uint(answers[reserve.asset, "scaled_supply"]) or 0
    moved = replace(reserve, **read, liquidity_assets=available, scaled_supply=supply)
    if (moved.id, tokens_of(moved)) != (reserve.id, tokens_of(reserve)):
        raise RpcMalformed(
            f"getReserveData of 0x{reserve.asset.hex()} tells of other tokens or another id than the reserve was "
            f"listed with, {', '.join('0x' + token.hex() for token in tokens_of(moved))}; no event of the block says so"
        )
    return moved


# --- accounts ---------------------------------------------------------------------------------------------------------


def _account_calls(market: Market, account: bytes, tokens: Iterable[bytes]) -> dict[object, Call]:
    calls: dict[object, Call] = {
        (account, "flags"): call(market.pool, abi.GET_USER_CONFIGURATION, account),
        (account, "emode"): call(market.pool, abi.GET_USER_EMODE, account),
    }
    for token in tokens:
        if token == market.by_token[token].s_token:
            calls[account, token, "principal"] = call(token, abi.PRINCIPAL_BALANCE_OF, account)
            calls[account, token, "rate"] = call(token, abi.GET_USER_STABLE_RATE, account)
            calls[account, token, "updated"] = call(token, abi.GET_USER_LAST_UPDATED, account)
        else:
            calls[account, token] = call(token, abi.SCALED_BALANCE_OF, account)
    return calls


def _account(
    market: Market, account: bytes, tokens: Iterable[bytes], held: Account | None, answers: Mapping[object, CallResult]
) -> Account:
    """The account's state with these tokens' balances as read and the others as held."""
    who = f"account 0x{account.hex()}"
    supplies = dict(held.supplies) if held else {}
    debts = dict(held.debts) if held else {}
    stables = {stable.reserve_id: stable for stable in held.stables} if held else {}
    for token in tokens:
        reserve = market.by_token[token]
        if token == reserve.a_token:
            supplies[reserve.id] = abi.uint(answers[account, token], f"scaledBalanceOf of {who}")
        elif token == reserve.v_token:
            debts[reserve.id] = abi.uint(answers[account, token], f"scaledBalanceOf of {who}")
        else:
            stables[reserve.id] = StableDebt(
                reserve.id,
                abi.uint(answers[account, token, "principal"], f"principalBalanceOf of {who}"),
                abi.uint(answers[account, token, "rate"], f"getUserStableRate of {who}"),
                abi.uint(answers[account, token, "updated"], f"getUserLastUpdated of {who}"),
            )
    return Account(
        abi.uint(answers[account, "flags"], f"getUserConfiguration of {who}"),
        abi.uint(answers[account, "emode"], f"getUserEMode of {who}"),
        tuple(sorted((i, scaled) for i, scaled in supplies.items() if scaled)),
        tuple(sorted((i, scaled) for i, scaled in debts.items() if scaled)),
        tuple(stable for _, stable in sorted(stables.items()) if stable.principal_assets),
    )


def _open(found: Mapping[bytes, Account]) -> dict[bytes, Account | None]:
    """None for those with nothing left."""
    return {account: None if state.empty else state for account, state in found.items()}


def _completed(
    market: Market, found: Mapping[bytes, Account], held: Mapping[bytes, Account]
) -> Reads[Mapping[bytes, Account]]:
    """Of accounts not held before, those whose flags name reserves without a balance that was read; now with it.

    Happens to accounts that were there before the index began, once each. No round trip when there is none.
    """
    lacking = {
        account: tokens
        for account, state in found.items()
        if account not in held and (tokens := _unread(market, state))
    }
    if not lacking:
        return {}
    calls: dict[object, Call] = {}
    for account, tokens in lacking.items():
        calls |= _account_calls(market, account, tokens)
    answers = yield from ask(calls)
    return {account: _account(market, account, lacking[account], found[account], answers) for account in lacking}


def _unread(market: Market, state: Account) -> list[bytes]:
    """Tokens of the reserves that the flags name and no balance is known of."""
    supplied = {reserve_id for reserve_id, _ in state.supplies}
    owed = {reserve_id for reserve_id, _ in state.debts} | {stable.reserve_id for stable in state.stables}
    tokens: list[bytes] = []
    for reserve_id, owes, pledges in state.flagged():
        reserve = market.by_id.get(reserve_id)
        if reserve is None:
            continue
        tokens += [reserve.a_token] if pledges and reserve_id not in supplied else []
        tokens += [t for t in (reserve.v_token, reserve.s_token) if t] if owes and reserve_id not in owed else []
    return tokens
