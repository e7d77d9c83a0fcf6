"""The signing policy of a deployment: what its configuration and its protocols' markets name, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from keeper.core.policy import SigningPolicy
from keeper.core.types import TxCall
from keeper.executor.liquidator_calls import EXECUTE, EXECUTE_EACH
from keeper.executor.ports import Settings, Venue


def policy_of(
    settings: Settings, account: bytes, venues: Iterable[Venue], ordered: Iterable[TxCall] = ()
) -> SigningPolicy:
    """ordered: what a person asked for, to the byte."""
    functions = set() if settings.board is None else {settings.board}
    tokens: set[bytes] = set()
    spenders: set[bytes] = set()
    for venue in venues:
        if venue.book.market is not None:
            functions.update(venue.adapter.entry_points(venue.book.market))
            tokens.update(venue.adapter.wallet_tokens(venue.book.market))
            spenders.update(venue.adapter.spenders(venue.book.market))
    if settings.spenders:
        spenders &= settings.spenders
    if not settings.approves:
        spenders.clear()
    ours = settings.liquidator
    if ours is not None:
        functions.add((ours, EXECUTE_EACH))
    return SigningPolicy(
        chain_id=settings.chain_id,
        account=account,
        max_fee_wei=settings.max_fee_wei,
        functions=frozenset(functions),
        tipping=frozenset() if ours is None else frozenset({(ours, EXECUTE)}),
        tokens=frozenset(tokens),
        spenders=frozenset(spenders),
        exactly=frozenset(ordered),
    )
