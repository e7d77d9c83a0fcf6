"""Which reasons of a revert last."""

from __future__ import annotations

# What somebody has to change, which takes hours: an administrator, a governance, whoever supplies liquidity, ourselves.
# Everything else passes with the next blocks: a price that moved back, somebody who was first, gas that ran out.
_LASTING = (
    "paused",
    "inactive",
    "not active",
    "frozen",
    "grace period",
    "sentinel",
    "disabled",
    "not listed",
    "cap is reached",
    "liquidity",
    "insufficientcash",
    "allowance",
    "transfer amount exceeds balance",
    "not allowed",
    "not permitted",
    "unauthorized",
    "only the owner",
    "no operator",
    "blacklist",
)


def is_lasting(reason: str) -> bool:
    """Whether what is said of a revert will still hold in some blocks: protocols word it differently, so by words."""
    words = reason.lower()
    return any(phrase in words for phrase in _LASTING)
