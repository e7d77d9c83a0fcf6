"""Reading markets: everything of one that is new, and what moves of one that is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from keeper.core.errors import ConfigError
from keeper.core.multicall import MULTICALL3
from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult
from keeper.core.units import WAD
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.irm import adaptive_curve_rate
from keeper.protocols.morpho_blue.state import Lending, Market
from keeper.protocols.words import address_of, call, maybe_uint, text, uint, words

K = TypeVar("K")

_DAY_S = 86_400
_PROBES = ((97 * WAD // 100, 30 * _DAY_S), (30 * WAD // 100, _DAY_S), (90 * WAD // 100 + 1, 400 * _DAY_S))
"""Utilization (wad), seconds since the last update: a model that answers these as the adaptive curve is one."""

_TOTALS_WORDS = 6
_MOST_SYMBOL = 32


def ask(calls: Mapping[K, Call]) -> Reads[dict[K, CallResult]]:
    """One round trip; answers by the same keys. None when there is nothing to ask."""
    if not calls:
        return {}
    results = yield list(calls.values())
    return dict(zip(calls, results, strict=True))


def bootstrap(morpho: bytes, wanted: Collection[bytes], known: Market | None) -> Reads[Market]:
    """Morpho does not list its markets: those configured are read, and those known before; others come with the logs.

    Raises ConfigError for a contract that is no Morpho, or a configured market that does not exist at this block.
    """
    answers = yield from ask(
        {
            "separator": Call(morpho, abi.DOMAIN_SEPARATOR),
            "recipient": Call(morpho, abi.FEE_RECIPIENT),
            "now": Call(MULTICALL3, abi.GET_CURRENT_BLOCK_TIMESTAMP),
        }
    )
    if maybe_uint(answers["separator"]) is None or maybe_uint(answers["recipient"]) is None:
        raise ConfigError(f"0x{morpho.hex()} does not answer as Morpho Blue at this block; correct `morpho`")
    held = {} if known is None else dict(known.by_id)
    renewed = yield from renew(morpho, held)
    missing = [id_ for id_ in sorted(wanted) if id_ not in held]
    found = yield from read_new(morpho, missing, uint(answers["now"], "getCurrentBlockTimestamp()"))
    for id_ in missing:
        if id_ not in found:
            raise ConfigError(f"market 0x{id_.hex()} does not exist at this block; correct `markets` or `start_block`")
    offers = () if known is None else known.offers
    return Market(morpho, (), offers).with_lendings({**renewed, **found})


# --- what moves -------------------------------------------------------------------------------------------------------


def moving_calls(morpho: bytes, lending: Lending) -> dict[object, Call]:
    calls: dict[object, Call] = {(lending.id, "totals"): call(morpho, abi.MARKET, lending.id)}
    if lending.adaptive:
        calls[lending.id, "target"] = call(lending.irm, abi.RATE_AT_TARGET, lending.id)
    return calls


def moved(lending: Lending, answers: Mapping[object, CallResult]) -> Lending:
    what = f"market(0x{lending.id.hex()})"
    supply, supply_shares, borrow, borrow_shares, updated_at, fee = words(
        answers[lending.id, "totals"], _TOTALS_WORDS, what
    )
    target = uint(answers[lending.id, "target"], f"rateAtTarget of {what}") if lending.adaptive else 0
    return replace(
        lending,
        supply_assets=supply,
        supply_shares=supply_shares,
        borrow_assets=borrow,
        borrow_shares=borrow_shares,
        updated_at=updated_at,
        fee_wad=fee,
        rate_at_target_wad=target,
    )


def renew(morpho: bytes, held: Mapping[bytes, Lending]) -> Reads[dict[bytes, Lending]]:
    """The same markets as they are now."""
    calls: dict[object, Call] = {}
    for lending in held.values():
        calls |= moving_calls(morpho, lending)
    answers = yield from ask(calls)
    return {id_: moved(lending, answers) for id_, lending in held.items()}


# --- what is new ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    symbol: str
    decimals: int


def read_new(morpho: bytes, ids: Iterable[bytes], now: int) -> Reads[dict[bytes, Lending]]:
    """Everything of these markets at a block of this timestamp; those that do not exist are left out. Three round
    trips, none for nothing."""
    asked = list(ids)
    answers = yield from ask(
        {(id_, part): call(morpho, selector, id_) for id_ in asked for part, selector in _PARTS.items()}
    )
    found: dict[bytes, Lending] = {}
    for id_ in asked:
        params = words(answers[id_, "params"], 5, "idToMarketParams(bytes32)")
        totals = words(answers[id_, "totals"], _TOTALS_WORDS, "market(bytes32)")
        if totals[4]:
            found[id_] = _lending(id_, params, totals)
    tokens, targets = yield from _tokens_and_targets(found)
    adaptive = yield from _adaptive(found, targets, now)
    return {
        id_: replace(
            lending,
            loan_symbol=tokens[lending.loan].symbol,
            loan_decimals=tokens[lending.loan].decimals,
            collateral_symbol=tokens[lending.collateral].symbol,
            collateral_decimals=tokens[lending.collateral].decimals,
            adaptive=id_ in adaptive,
            rate_at_target_wad=targets[id_] if id_ in adaptive else 0,
        )
        for id_, lending in found.items()
    }


def _lending(id_: bytes, params: list[int], totals: list[int]) -> Lending:
    """What Morpho itself says of it; nothing yet of its tokens and its model."""
    loan, collateral, oracle, irm = (address_of(value) for value in params[:4])
    supply, supply_shares, borrow, borrow_shares, updated_at, fee = totals
    return Lending(
        id=id_,
        loan=loan,
        collateral=collateral,
        oracle=oracle,
        irm=irm,
        lltv_wad=params[4],
        loan_symbol="",
        loan_decimals=0,
        collateral_symbol="",
        collateral_decimals=0,
        adaptive=False,
        supply_assets=supply,
        supply_shares=supply_shares,
        borrow_assets=borrow,
        borrow_shares=borrow_shares,
        updated_at=updated_at,
        fee_wad=fee,
        rate_at_target_wad=0,
        used=False,
    )


_PARTS = {"params": abi.ID_TO_MARKET_PARAMS, "totals": abi.MARKET}


def _tokens_and_targets(found: Mapping[bytes, Lending]) -> Reads[tuple[dict[bytes, _Token], dict[bytes, int]]]:
    tokens = sorted({token for one in found.values() for token in (one.loan, one.collateral)})
    calls: dict[object, Call] = {}
    for token in tokens:
        calls[token, "symbol"] = Call(token, abi.SYMBOL, anybody=True)
        calls[token, "decimals"] = Call(token, abi.DECIMALS, anybody=True)
    for id_, lending in found.items():
        if lending.irm != abi.ZERO:
            calls[id_, "target"] = call(lending.irm, abi.RATE_AT_TARGET, id_)
    answers = yield from ask(calls)
    targets = {id_: target for id_ in found if (target := maybe_uint(answers.get((id_, "target")))) is not None}
    return {token: _token(answers, token) for token in tokens}, targets


def _token(answers: Mapping[object, CallResult], token: bytes) -> _Token:
    """A token that does not tell has no decimals: amounts are then shown in raw units."""
    decimals = maybe_uint(answers[token, "decimals"])
    symbol = text(answers[token, "symbol"])[:_MOST_SYMBOL]
    return _Token(symbol, decimals if decimals is not None and decimals <= 36 else 0)


def _adaptive(found: Mapping[bytes, Lending], targets: Mapping[bytes, int], now: int) -> Reads[set[bytes]]:
    """Markets whose model answers what-if questions exactly as the adaptive curve."""
    calls: dict[tuple[bytes, int], Call] = {}
    for id_ in targets:
        for number, (utilization_wad, age_s) in enumerate(_PROBES):
            totals = (WAD, WAD, utilization_wad, WAD, now - age_s, 0)
            calls[id_, number] = abi.borrow_rate_view(found[id_].irm, found[id_].params, totals)
    answers = yield from ask(calls)
    return {
        id_
        for id_, target in targets.items()
        if all(
            maybe_uint(answers[id_, number]) == adaptive_curve_rate(WAD, utilization_wad, target, age_s)
            for number, (utilization_wad, age_s) in enumerate(_PROBES)
        )
    }
