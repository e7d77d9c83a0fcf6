"""What to pay per gas. Pure; everything is integer wei.

Source: EIP-1559; replacement rule of go-ethereum's transaction pool (10 % on both fields).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

from keeper.core.types import Skip
from keeper.core.units import BPS, mul_div_up

ELASTICITY = 2
CHANGE_DENOMINATOR = 8

# Nodes refuse a replacement below +10 %; some ask for 12.5 %.
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8

# What is left above a first offer: one step to outbid it, and above that one to give its nonce up.
FIRST, REPLACEMENT, CANCELLATION = 2, 1, 0

# 0.001 gwei, far below what anybody notices: from nothing, a tip has to rise by a wei at each replacement.
_NEGLIGIBLE_TIP_WEI = 10**6


@dataclass(frozen=True, slots=True)
class Fees:
    """Per gas: the most we pay in all, and what of it goes to the block's builder."""

    max_fee_wei: int
    tip_wei: int


def next_base_fee(base_fee_wei: int, gas_used: int, gas_limit: int) -> int:
    """Base fee of the next block, exact for chains with Ethereum's elasticity 2 and denominator 8.

    Chains that adapt more slowly stay within a few blocks' forecast of it. A header without a gas limit keeps the fee.
    """
    target = gas_limit // ELASTICITY
    if target == 0 or gas_used == target:
        return base_fee_wei
    if gas_used > target:
        return base_fee_wei + max(base_fee_wei * (gas_used - target) // target // CHANGE_DENOMINATOR, 1)
    return base_fee_wei - base_fee_wei * (target - gas_used) // target // CHANGE_DENOMINATOR


def forecast_base_fee(base_fee_wei: int, blocks: int) -> int:
    """The highest base fee possible `blocks` blocks after one with this base fee, rounded up at each step."""
    for _ in range(blocks):
        base_fee_wei = max(mul_div_up(base_fee_wei, CHANGE_DENOMINATOR + 1, CHANGE_DENOMINATOR), base_fee_wei + 1)
    return base_fee_wei


def tip_from_history(rewards_wei: Sequence[int], floor_wei: int, ceiling_wei: int) -> int:
    """The median of what recent blocks' transactions paid, within bounds. No history gives the floor."""
    typical = median_low(rewards_wei) if rewards_wei else floor_wei
    return min(max(typical, floor_wei), ceiling_wei)


def tip_from_profit(
    profit_wei: int, spare_wei: int, gas: int, *, typical_wei: int, share_bps: int, ceiling_wei: int
) -> int:
    """What to offer per gas: the typical tip and, on top of it, a share of the profit that the typical one leaves.

    spare_wei: of the profit, what may be given away at most. gas: what is expected to be used.
    """
    extra = min(profit_wei * share_bps // BPS, spare_wei) // gas if gas > 0 else 0
    return min(typical_wei + max(extra, 0), max(ceiling_wei, typical_wei))


def below(cap_wei: int, steps: int) -> int:
    """The most that can be replaced so many times (FIRST, REPLACEMENT, CANCELLATION) without exceeding the cap."""
    for _ in range(steps):
        cap_wei = cap_wei * _BUMP_DENOMINATOR // _BUMP_NUMERATOR
    return cap_wei


def tip_cap(min_tip_wei: int, max_tip_wei: int) -> int:
    """The most that a replacement may tip: max_tip, or what two replacements of min_tip come to, where that is more.
    What cannot be outbid holds its nonce, and all behind it."""
    return max(max_tip_wei, _bump(_bump(min_tip_wei)), _NEGLIGIBLE_TIP_WEI)


def choose_fees(next_base_fee_wei: int, tip_wei: int, *, forecast_blocks: int, cap_wei: int) -> Fees | Skip:
    """Fees that stay includable for `forecast_blocks` more blocks, if that leaves room for replacements below the cap.

    The cap binds the maximum; a Skip says that not even the next block would take it.
    """
    needed = next_base_fee_wei + tip_wei
    if needed > cap_wei:
        return Skip(
            "fee_above_cap",
            f"the next block costs {needed} wei per gas (base fee {next_base_fee_wei} + tip {tip_wei}), above "
            f"max_fee_gwei ({cap_wei} wei); raise it, or wait until gas is cheaper",
        )
    lasting = forecast_base_fee(next_base_fee_wei, forecast_blocks) + tip_wei
    return Fees(max(min(lasting, below(cap_wei, FIRST)), needed), tip_wei)


def bump_fees(old: Fees, fresh: Fees | None, *, cap_wei: int, tip_cap_wei: int) -> Fees | None:
    """Fees with which a transaction replaces one that pays `old`: at least an eighth more on both fields, rounded up,
    and as much as `fresh` (what a new transaction would pay) as far as the caps allow. None when a cap forbids it.
    """
    max_fee = _bump(old.max_fee_wei)
    tip = _bump(old.tip_wei)
    if max(max_fee, tip) > cap_wei or tip > tip_cap_wei:
        return None
    if fresh is not None:
        max_fee, tip = max(max_fee, fresh.max_fee_wei), max(tip, min(fresh.tip_wei, tip_cap_wei))
    max_fee = min(max(max_fee, tip), cap_wei)
    return Fees(max_fee, min(tip, max_fee))


def _bump(fee_wei: int) -> int:
    return max(mul_div_up(fee_wei, _BUMP_NUMERATOR, _BUMP_DENOMINATOR), fee_wei + 1)  # zero must grow, too
