"""Reading a pool's parameters: everything at first, later what an event says has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from keeper.core.errors import ConfigError, DecodeError
from keeper.core.ports import Reads
from keeper.core.reads import together
from keeper.core.types import Call, CallResult
from keeper.protocols.aave_v3 import abi
from keeper.protocols.aave_v3.abi import call
from keeper.protocols.aave_v3.rules import Evidence, Features, Rules, contradicts, detect
from keeper.protocols.aave_v3.state import CloseFactor, EMode, Market, Reserve

K = TypeVar("K")

_ALL_CATEGORIES = range(1, 256)
_FEW_CATEGORIES = 64
_RESERVE_DATA_WORDS = 15


def ask(calls: Mapping[K, Call]) -> Reads[dict[K, CallResult]]:
    """One round trip; answers by the same keys."""
    results = yield list(calls.values())
    return dict(zip(calls, results, strict=True))


def bootstrap(provider: bytes) -> Reads[Market]:
    """The whole market, from nothing but the PoolAddressesProvider. Six round trips."""
    pool, configurator, oracle, sentinel = yield from _contracts(provider)
    answers = yield from ask(
        {
            "reserves": call(pool, abi.GET_RESERVES_LIST),
            "premium": call(pool, abi.FLASHLOAN_PREMIUM_TOTAL),
            "liquidation_logic": call(pool, abi.GET_LIQUIDATION_LOGIC),
            "deficit": call(pool, abi.GET_RESERVE_DEFICIT, pool),
            "strategy": call(pool, abi.RESERVE_INTEREST_RATE_STRATEGY),
            "ltvzero": call(pool, abi.GET_EMODE_CATEGORY_LTVZERO_BITMAP, 1),
            "isolated": call(pool, abi.GET_IS_EMODE_CATEGORY_ISOLATED, 1),
            "base_unit": call(oracle, abi.BASE_CURRENCY_UNIT),
            **({"sentinel": call(sentinel, abi.IS_LIQUIDATION_ALLOWED)} if sentinel else {}),
        }
    )
    features = Features(
        deficit=abi.maybe_uint(answers["deficit"]) is not None,
        common_strategy=abi.maybe_uint(answers["strategy"]) is not None,
        ltvzero_bitmap=abi.maybe_uint(answers["ltvzero"]) is not None,
        isolated_emode=abi.maybe_uint(answers["isolated"]) is not None,
    )
    if features.isolated_emode:
        sentinel = b""  # v3.7 pools no longer ask it
    if answers["reserves"] is None:
        raise ConfigError(f"pool 0x{pool.hex()} does not answer getReservesList(); pool_addresses_provider is wrong")
    assets = abi.address_list(answers["reserves"], "getReservesList()")
    found = yield from _reserves(pool, oracle, assets)
    rules = detect(features, [evidence for _, evidence in found.values()])
    reserves = [reserve for reserve in _checked(rules, found).values() if reserve is not None]
    last: list[Reads[Any]] = [
        _emodes(pool, _ALL_CATEGORIES, reserves, ltvzero=features.ltvzero_bitmap),
        _close_factor(abi.maybe_address(answers["liquidation_logic"])),
    ]
    emodes, close_factor = yield from together(last)
    return Market(
        provider=provider,
        pool=pool,
        configurator=configurator,
        oracle=oracle,
        sentinel=sentinel,
        sentinel_open=abi.maybe_uint(answers["sentinel"]) == 1 if sentinel else True,
        base_decimals=_base_decimals(oracle, answers["base_unit"]),
        flash_premium_bps=abi.maybe_uint(answers["premium"]) or 0,
        rules=rules,
        close_factor=close_factor,
        reserves=tuple(sorted(reserves, key=lambda reserve: reserve.id)),
        emodes=emodes,
    )


def refresh(market: Market, assets: Iterable[bytes], categories: Iterable[int]) -> Reads[Market]:
    """The market with these reserves and e-mode categories read again."""
    found = yield from _reserves(market.pool, market.oracle, list(assets))
    before = market.reserves
    market = market.with_reserves(_checked(market.rules, found))
    legacy = any(reserve.emode for reserve in (*before, *market.reserves))
    again = set(categories) | ({emode.id for emode in market.emodes} if legacy else set())
    if not again:
        return market
    ltvzero = market.rules.zero_threshold_counts  # they came together
    emodes = yield from _emodes(market.pool, sorted(again), market.reserves, ltvzero=ltvzero)
    kept = [emode for emode in market.emodes if emode.id not in again]
    return replace(market, emodes=tuple(sorted((*kept, *emodes), key=lambda emode: emode.id)))


def renew(market: Market) -> Reads[Market]:
    """Every reserve and the known e-mode categories afresh, in one round trip; everything when the pool's contracts or
    its list of assets are others."""
    pool, known = market.pool, [emode.id for emode in market.emodes]
    calls: dict[object, Call] = {"reserves": call(pool, abi.GET_RESERVES_LIST)}
    for reserve in market.reserves:
        calls[reserve.asset, "data"] = call(pool, abi.GET_RESERVE_DATA, reserve.asset)
        calls[reserve.asset, "grace"] = call(pool, abi.GET_LIQUIDATION_GRACE_PERIOD, reserve.asset)
        calls[reserve.asset, "virtual"] = call(pool, abi.GET_VIRTUAL_UNDERLYING_BALANCE, reserve.asset)
        calls[reserve.asset, "underlying"] = call(reserve.asset, abi.BALANCE_OF, reserve.a_token)
        calls[reserve.asset, "scaled_supply"] = call(reserve.a_token, abi.SCALED_TOTAL_SUPPLY)
    ltvzero = market.rules.zero_threshold_counts
    reads: list[Reads[Any]] = [_contracts(market.provider), ask(calls)]
    if known:
        reads.append(_emodes(pool, known, market.reserves, ltvzero=ltvzero))
    contracts, answers, *emodes = yield from together(reads)
    assets = set(abi.address_list(answers["reserves"], "getReservesList()"))
    sentinel = contracts[3] if market.sentinel else market.sentinel  # v3.7 pools have one and do not ask it
    if (*contracts[:3], sentinel) != (pool, market.configurator, market.oracle, market.sentinel) or assets != {
        reserve.asset for reserve in market.reserves
    }:
        return (yield from bootstrap(market.provider))
    reserves = {
        reserve.asset: replace(
            reserve,
            **reserve_fields(answers[reserve.asset, "data"], reserve.asset),
            grace_until=abi.maybe_uint(answers[reserve.asset, "grace"]) or 0,
            liquidity_assets=liquidity(answers[reserve.asset, "virtual"], answers[reserve.asset, "underlying"]),
            scaled_supply=abi.maybe_uint(answers[reserve.asset, "scaled_supply"]) or 0,
        )
        for reserve in market.reserves
    }
    return replace(market.with_reserves(dict(reserves)), emodes=emodes[0] if known else ())


def _contracts(provider: bytes) -> Reads[tuple[bytes, bytes, bytes, bytes]]:
    answers = yield from ask(
        {
            "getPool": call(provider, abi.GET_POOL),
            "getPoolConfigurator": call(provider, abi.GET_POOL_CONFIGURATOR),
            "getPriceOracle": call(provider, abi.GET_PRICE_ORACLE),
            "getPriceOracleSentinel": call(provider, abi.GET_PRICE_ORACLE_SENTINEL),
        }
    )
    addresses = {name: abi.maybe_address(answer) for name, answer in answers.items()}
    for name in ("getPool", "getPoolConfigurator", "getPriceOracle"):
        if not addresses[name]:
            raise ConfigError(
                f"pool_addresses_provider 0x{provider.hex()} gives no address for {name}(); it is no"
                " PoolAddressesProvider of Aave v3 at this block: check the address, the chain and start_block"
            )
    pool, configurator, oracle, sentinel = addresses.values()
    return pool, configurator, oracle, sentinel


def _base_decimals(oracle: bytes, answer: CallResult) -> int:
    unit = abi.uint(answer, f"BASE_CURRENCY_UNIT() of oracle 0x{oracle.hex()}")
    decimals = len(str(unit)) - 1
    if unit != 10**decimals:
        raise ConfigError(f"oracle 0x{oracle.hex()} has base unit {unit}, which is no power of ten; not supported")
    return decimals


def _close_factor(library: bytes) -> Reads[CloseFactor]:
    """The pool's own constants where its library tells them, else those every release has had."""
    usual = CloseFactor()
    if not library:
        return usual
    answers = yield from ask(
        {
            "hf": call(library, abi.CLOSE_FACTOR_HF_THRESHOLD),
            "small": call(library, abi.MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD),
            "leftover": call(library, abi.MIN_LEFTOVER_BASE),
        }
    )
    told = {name: abi.maybe_uint(answer) for name, answer in answers.items()}
    return CloseFactor(
        usual.hf_threshold_wad if told["hf"] is None else told["hf"],
        usual.small_value if told["small"] is None else told["small"],
        usual.least_leftover_value if told["leftover"] is None else told["leftover"],
    )


# --- reserves ---------------------------------------------------------------------------------------------------------


def _reserves(pool: bytes, oracle: bytes, assets: list[bytes]) -> Reads[dict[bytes, tuple[Reserve | None, Evidence]]]:
    """Each asset's reserve, None when the pool does not list it, with what it shows of the pool's arithmetic."""
    calls: dict[tuple[bytes, str], Call] = {(b"", "now"): call(abi.MULTICALL3, abi.GET_CURRENT_BLOCK_TIMESTAMP)}
    for asset in assets:
        calls[asset, "data"] = call(pool, abi.GET_RESERVE_DATA, asset)
        calls[asset, "grace"] = call(pool, abi.GET_LIQUIDATION_GRACE_PERIOD, asset)
        calls[asset, "virtual"] = call(pool, abi.GET_VIRTUAL_UNDERLYING_BALANCE, asset)
        calls[asset, "income"] = call(pool, abi.GET_RESERVE_NORMALIZED_INCOME, asset)
        calls[asset, "debt_index"] = call(pool, abi.GET_RESERVE_NORMALIZED_VARIABLE_DEBT, asset)
        calls[asset, "source"] = call(oracle, abi.GET_SOURCE_OF_ASSET, asset)
        calls[asset, "symbol"] = call(asset, abi.SYMBOL)
    answers = yield from ask(calls)
    now = abi.maybe_uint(answers[b"", "now"])
    data = {asset: reserve_fields(answers[asset, "data"], asset) for asset in assets}

    calls = {}
    for asset in assets:
        if source := abi.maybe_address(answers[asset, "source"]):
            calls[asset, "round"] = call(source, abi.LATEST_ROUND_DATA)
            calls[asset, "timestamp"] = call(source, abi.LATEST_TIMESTAMP)
            calls[asset, "asset_aggregator"] = call(source, abi.ASSET_TO_USD_AGGREGATOR)
            calls[asset, "base_aggregator"] = call(source, abi.BASE_TO_USD_AGGREGATOR)
        a_token, v_token = data[asset]["a_token"], data[asset]["v_token"]
        calls[asset, "underlying"] = call(asset, abi.BALANCE_OF, a_token)
        calls[asset, "scaled_supply"] = call(a_token, abi.SCALED_TOTAL_SUPPLY)
        calls[asset, "supply"] = call(a_token, abi.TOTAL_SUPPLY)
        calls[asset, "scaled_debt"] = call(v_token, abi.SCALED_TOTAL_SUPPLY)
        calls[asset, "debt"] = call(v_token, abi.TOTAL_SUPPLY)
        calls[asset, "discount"] = call(v_token, abi.GET_DISCOUNT_TOKEN)
    answers |= yield from ask(calls)

    found: dict[bytes, tuple[Reserve | None, Evidence]] = {}
    for asset in assets:
        told = {name: abi.maybe_uint(answers.get((asset, name))) for name in _NUMBERS}
        read = data[asset]
        evidence = Evidence(
            income_index_ray=told["income"],
            debt_index_ray=told["debt_index"],
            scaled_supply=told["scaled_supply"],
            supply=told["supply"],
            scaled_debt=told["scaled_debt"],
            debt=told["debt"],
            stored_debt_index_ray=read["debt_index_ray"],
            debt_rate_ray=read["debt_rate_ray"],
            elapsed_s=None if now is None else now - read["updated_at"],
        )
        listed = read["a_token"] != abi.ZERO
        reserve = Reserve(
            asset=asset,
            symbol=abi.text(answers[asset, "symbol"]),
            grace_until=told["grace"] or 0,
            liquidity_assets=_either(told["virtual"], told["underlying"]),
            opaque=bool(abi.maybe_address(answers[asset, "discount"])),
            clock=_clock(asset, answers),
            scaled_supply=told["scaled_supply"] or 0,
            **read,
        )
        found[asset] = (reserve if listed else None, evidence)
    return found


def _checked(rules: Rules, found: Mapping[bytes, tuple[Reserve | None, Evidence]]) -> dict[bytes, Reserve | None]:
    """The reserves, those opaque whose answers the rules do not explain: better not judged than judged wrong."""
    return {
        asset: replace(reserve, opaque=True) if reserve is not None and contradicts(rules, evidence) else reserve
        for asset, (reserve, evidence) in found.items()
    }


_NUMBERS = ("grace", "virtual", "income", "debt_index", "underlying", "scaled_supply", "supply", "scaled_debt", "debt")


def reserve_fields(result: CallResult, asset: bytes) -> dict[str, Any]:
    """What getReserveData tells, by the names of `Reserve`'s fields. Its layout is the same in every version."""
    word = abi.words(result, _RESERVE_DATA_WORDS, f"getReserveData(0x{asset.hex()})")
    bits = word[0]
    stable = word[9].to_bytes(32, "big")[12:]
    return {
        "loan_to_value_bps": bits & 0xFFFF,
        "liquidation_threshold_bps": bits >> 16 & 0xFFFF,
        "liquidation_bonus_bps": bits >> 32 & 0xFFFF,
        "decimals": bits >> 48 & 0xFF,
        "active": bool(bits >> 56 & 1),
        "frozen": bool(bits >> 57 & 1),
        "paused": bool(bits >> 60 & 1),
        "reserve_factor_bps": bits >> 64 & 0xFFFF,
        "supply_cap_assets": (bits >> 116 & 0xFFFFFFFFF) * 10 ** (bits >> 48 & 0xFF),
        "protocol_fee_bps": bits >> 152 & 0xFFFF,
        "emode": bits >> 168 & 0xFF,
        "liquidity_index_ray": word[1],
        "liquidity_rate_ray": word[2],
        "debt_index_ray": word[3],
        "debt_rate_ray": word[4],
        "updated_at": word[6],
        "id": word[7],
        "a_token": word[8].to_bytes(32, "big")[12:],
        "s_token": b"" if stable == abi.ZERO else stable,
        "v_token": word[10].to_bytes(32, "big")[12:],
        "treasury_scaled": word[12],
    }


def _either(virtual: int | None, underlying: int | None) -> int:
    """What can be withdrawn: by the pool's own account of it (v3.1), else what the aToken holds."""
    return virtual if virtual is not None else underlying or 0


def liquidity(virtual: CallResult, underlying: CallResult) -> int:
    return _either(abi.maybe_uint(virtual), abi.maybe_uint(underlying))


def _clock(asset: bytes, answers: Mapping[tuple[bytes, str], CallResult]) -> bytes:
    """Where the price's age can be asked: the source itself, or the feed that a price adapter stands on."""
    source = abi.maybe_address(answers[asset, "source"])
    if not source:
        return b""
    if len(answers[asset, "round"] or b"") >= 160:
        return source + abi.LATEST_ROUND_DATA
    if abi.maybe_uint(answers[asset, "timestamp"]) is not None:
        return source + abi.LATEST_TIMESTAMP
    for name in ("asset_aggregator", "base_aggregator"):
        if feed := abi.maybe_address(answers[asset, name]):
            return feed + abi.LATEST_ROUND_DATA
    return b""


# --- e-modes ----------------------------------------------------------------------------------------------------------


def _emodes(
    pool: bytes, categories: Iterable[int], reserves: Iterable[Reserve], *, ltvzero: bool
) -> Reads[tuple[EMode, ...]]:
    """The categories that exist, in the form of v3.2 (bitmaps) or before (one category per asset)."""
    ids = list(categories)
    at_once = len(ids) <= _FEW_CATEGORIES
    calls = {(i, "terms"): call(pool, abi.GET_EMODE_CATEGORY_COLLATERAL_CONFIG, i) for i in ids}
    answers = yield from ask(calls | (_bitmap_calls(pool, ids, ltvzero) if at_once else {}))
    if all(answers[i, "terms"] is None for i in ids):
        return (yield from _legacy_emodes(pool, ids, list(reserves)))
    terms = {i: abi.words(answers[i, "terms"], 3, f"getEModeCategoryCollateralConfig({i})") for i in ids}
    used = [i for i in ids if any(terms[i])]
    if not at_once:
        answers |= yield from ask(_bitmap_calls(pool, used, ltvzero))
    return tuple(
        EMode(
            i,
            terms[i][1],
            terms[i][2],
            abi.uint(answers[i, "collateral"], f"getEModeCategoryCollateralBitmap({i})"),
            loan_to_value_bps=terms[i][0],
            ltvzero_bitmap=abi.maybe_uint(answers.get((i, "ltvzero"))) or 0,
        )
        for i in used
    )


def _bitmap_calls(pool: bytes, ids: Iterable[int], ltvzero: bool) -> dict[tuple[int, str], Call]:
    calls = {}
    for i in ids:
        calls[i, "collateral"] = call(pool, abi.GET_EMODE_CATEGORY_COLLATERAL_BITMAP, i)
        if ltvzero:
            calls[i, "ltvzero"] = call(pool, abi.GET_EMODE_CATEGORY_LTVZERO_BITMAP, i)
    return calls


def _legacy_emodes(pool: bytes, ids: list[int], reserves: list[Reserve]) -> Reads[tuple[EMode, ...]]:
    answers = yield from ask({i: call(pool, abi.GET_EMODE_CATEGORY_DATA, i) for i in ids})
    emodes = []
    for i, answer in answers.items():
        offset, loan_to_value, threshold, bonus, source = abi.words(answer, 5, f"getEModeCategoryData({i})")
        if offset != 32:
            raise DecodeError(f"getEModeCategoryData({i}) returned a tuple at offset {offset}; 32 was expected")
        if threshold:
            bitmap = sum(1 << reserve.id for reserve in reserves if reserve.emode == i)
            price_source = source.to_bytes(32, "big")[12:] if source else b""
            emodes.append(EMode(i, threshold, bonus, bitmap, price_source, loan_to_value))
    return tuple(emodes)
