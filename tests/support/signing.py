"""A policy that lets one transaction be signed, for tests of what comes after the signature."""

from __future__ import annotations

from keeper.core.policy import SigningPolicy
from keeper.core.types import UnsignedTransaction


def allowing(transaction: UnsignedTransaction) -> SigningPolicy:
    """Its call to the byte, and its fee at the most."""
    call = frozenset({transaction.call})
    return SigningPolicy(transaction.chain_id, bytes(20), transaction.max_fee_wei, exactly=call)
