"""Pre-liquidation: contracts by which owners let their positions be liquidated in part, before Morpho would.

Each contract is an offer for one market with terms of its own; it is in force for owners who authorized it on Morpho.
Between its threshold and the market's the part that may be repaid, and what is paid for it, grow linearly.
Source: morpho-org/pre-liquidation, PreLiquidation.preLiquidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keeper.core.errors import ConfigError
from keeper.core.ports import Reads
from keeper.core.types import Call
from keeper.core.units import WAD, div_up, mul_div_down
from keeper.protocols.morpho_blue import abi
from keeper.protocols.morpho_blue.arithmetic import ORACLE_PRICE_SCALE, w_mul_down
from keeper.protocols.words import address_of, maybe_uint, words


@dataclass(frozen=True, slots=True)
class Offer:
    """One contract. used: whether the owner of any position has authorized it."""

    contract: bytes
    market: bytes
    pre_lltv_wad: int
    close_factor_1_wad: int
    close_factor_2_wad: int
    incentive_1_wad: int
    incentive_2_wad: int
    oracle: bytes
    used: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """What an offer allows of a position at one moment."""

    incentive_wad: int
    repayable_shares: int


def terms_at(
    offer: Offer, lltv_wad: int, borrow_shares: int, collateral_assets: int, owed_assets: int, price_e36: int
) -> Terms | None:
    """None outside of the offer: still safe by its threshold, or already beyond the market's.

    owed_assets: raw loan units, rounded up. price_e36: of the offer's own oracle.
    """
    quoted = mul_div_down(collateral_assets, price_e36, ORACLE_PRICE_SCALE)
    if owed_assets > w_mul_down(quoted, lltv_wad) or owed_assets <= w_mul_down(quoted, offer.pre_lltv_wad):
        return None
    ltv_wad = div_up(owed_assets * WAD, quoted)
    quotient_wad = (ltv_wad - offer.pre_lltv_wad) * WAD // (lltv_wad - offer.pre_lltv_wad)
    close_factor = offer.close_factor_1_wad + w_mul_down(
        quotient_wad, offer.close_factor_2_wad - offer.close_factor_1_wad
    )
    incentive = offer.incentive_1_wad + w_mul_down(quotient_wad, offer.incentive_2_wad - offer.incentive_1_wad)
    return Terms(incentive, min(w_mul_down(borrow_shares, close_factor), borrow_shares))


def read_offers(factory: bytes, contracts: Iterable[bytes]) -> Reads[dict[bytes, Offer]]:
    """Terms of these contracts, which the factory made. One round trip, none for nothing."""
    asked = sorted(contracts)
    if not asked:
        return {}
    results = yield [Call(one, selector) for one in asked for selector in (abi.ID, abi.PRE_LIQUIDATION_PARAMS)]
    found: dict[bytes, Offer] = {}
    for place, contract in enumerate(asked):
        market, params = results[2 * place], results[2 * place + 1]
        if maybe_uint(market) is None:
            raise ConfigError(f"0x{contract.hex()}, made by 0x{factory.hex()}, is no pre-liquidation contract")
        lltv, close_1, close_2, incentive_1, incentive_2, oracle = words(params, 6, "preLiquidationParams()")
        found[contract] = Offer(
            contract=contract,
            market=bytes(market or b"")[:32],
            pre_lltv_wad=lltv,
            close_factor_1_wad=close_1,
            close_factor_2_wad=close_2,
            incentive_1_wad=incentive_1,
            incentive_2_wad=incentive_2,
            oracle=address_of(oracle),
            used=False,
        )
    return found
