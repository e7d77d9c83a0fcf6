"""Accounts that were healed, as the logs of one transaction tell it.

`healAccount` gives all that an account has pledged for the same part of each of its debts, and writes the rest off. The
comptroller logs nothing of it: each debt logs HealBorrow with what the healer paid, and each collateral a Transfer from
the account to the healer with what the protocol left of it, before or after, in the order of the account's markets.
What LiquidateBorrow took in the same transaction is told by that event, and is no part of a heal.

The contract does not say what was seized for which debt. So the first debt is told with the first collateral, the
second with the second, and so on; what is left over of either is told with nothing for it. Summed over a heal, each
asset is what was repaid, or seized. An account that had nothing is told with nothing seized of what it owed.
Source: Comptroller.healAccount; VToken.healBorrow, _seize (isolated-pools 4.4.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from keeper.core.types import Liquidated
from keeper.core.units import WAD
from keeper.protocols.venus.interest import stored
from keeper.protocols.venus.state import Market

Place = tuple[int, int]  # block, and index of the log in it


@dataclass(frozen=True, slots=True)
class Heal:
    """Who may have healed whom."""

    transaction_hash: bytes
    healer: bytes
    account: bytes


@dataclass(frozen=True, slots=True)
class Leg:
    """One market's part. amount: raw units of the underlying that were repaid, or vTokens that were received."""

    place: Place
    vtoken: bytes
    amount: int


class Heals:
    """Logs in their order; `told` once there are no more."""

    def __init__(self) -> None:
        self._repaid: dict[Heal, list[Leg]] = {}
        self._received: dict[Heal, list[Leg]] = {}

    def received(self, heal: Heal, leg: Leg) -> None:
        """The healer received vTokens of the account."""
        self._received.setdefault(heal, []).append(leg)

    def repaid(self, heal: Heal, leg: Leg) -> None:
        self._repaid.setdefault(heal, []).append(leg)

    def liquidated(self, heal: Heal, vtoken: bytes) -> None:
        """What was received of this market last is told by a LiquidateBorrow."""
        legs = self._received.get(heal, [])
        last = next((number for number in reversed(range(len(legs))) if legs[number].vtoken == vtoken), None)
        if last is not None:
            del legs[last]

    def told(self, market: Market) -> Iterator[tuple[Place, Liquidated]]:
        """seized_assets: worth at the rate that the market is known by."""
        for heal, debts in self._repaid.items():
            received = self._received.get(heal, [])
            for debt, collateral in zip_longest(debts, received):
                leg = debt or collateral
                owed, taken = debt or debts[-1], collateral or (received[-1] if received else debts[-1])
                seized_from = market.by_vtoken[taken.vtoken]
                tokens = collateral.amount if collateral is not None else 0
                yield (
                    leg.place,
                    Liquidated(
                        key=heal.account,
                        account=heal.account,
                        liquidator=heal.healer,
                        debt_asset=market.by_vtoken[owed.vtoken].asset,
                        repaid_assets=debt.amount if debt is not None else 0,
                        collateral_asset=seized_from.asset,
                        seized_assets=tokens * stored(seized_from).exchange_rate_wad // WAD,
                        transaction_hash=heal.transaction_hash,
                        log_index=leg.place[1],
                    ),
                )
