"""`health.linear` of many accounts at once, from their stored form: a large book is screened soon after a start.

The entries of an account are those of the reserves flagged in its configuration, in their order. Here the flags of all
accounts become one matrix of bits, and what an entry weighs is taken from tables by account, reserve and e-mode.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keeper.core.errors import DecodeError
from keeper.core.types import Linears
from keeper.core.units import BPS
from keeper.protocols.aave_v3.health import linear
from keeper.protocols.aave_v3.packed import MARK, Balances, Columns, Floats, Ints, columns
from keeper.protocols.aave_v3.sheet import threshold_of
from keeper.protocols.aave_v3.state import Market, load_account

Entries = tuple[Ints, Ints, Floats]
"""By entry: place of its account, slot, weight. In order of accounts."""

_CHUNK = 4_096  # accounts whose matrices of bits and balances stay in the cache


def linears(market: Market, payloads: Sequence[bytes]) -> Linears:
    """Raises DecodeError when a payload was not written by `state.dump_account`.

    A balance is rounded to a float before it is scaled down, here; both err by less than the slack.
    """
    tables, held, owed = _Tables(market), _Parts(), _Parts()
    for first in range(0, len(payloads), _CHUNK):
        chunk = payloads[first : first + _CHUNK]
        found, places, others = _packed(chunk)
        for part, (account, slots, weights) in zip((held, owed), tables.weigh(found), strict=True):
            part.add(first + places[account], slots, weights)
        for place in others:
            one = linear(market, load_account(chunk[place]))
            for part, side in ((held, one.collateral), (owed, one.requirement)):
                part.add([first + place] * len(side), [slot for slot, _ in side], [weight for _, weight in side])
    return Linears(*held.sorted(len(payloads)), *owed.sorted(len(payloads)))


_MARKED = bytes((MARK,))


def _packed(payloads: Sequence[bytes]) -> tuple[Columns, Ints, Sequence[int]]:
    """Those of the packed form, where they are, and where the others are: by an older release, or with debts at a rate
    of their own. Raises DecodeError."""
    try:
        return columns(payloads), np.arange(len(payloads)), ()
    except ValueError:  # not all are
        is_packed = np.array([one[:1] == _MARKED for one in payloads])
    places = np.flatnonzero(is_packed)
    try:
        return columns([payloads[place] for place in places.tolist()]), places, np.flatnonzero(~is_packed).tolist()
    except ValueError as error:
        raise DecodeError(f"a stored aave_v3 position does not read ({error}); index again from start_block") from error


class _Parts:
    """Entries of one side as they are found."""

    def __init__(self) -> None:
        self._found: list[Entries] = [(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))]

    def add(
        self, account: Sequence[int] | Ints, slots: Sequence[int] | Ints, weights: Sequence[float] | Floats
    ) -> None:
        self._found.append((np.asarray(account, np.intp), np.asarray(slots, np.intp), np.asarray(weights, np.float64)))

    def sorted(self, accounts: int) -> Entries:
        """Number of entries by account, and their slots and weights in order of accounts."""
        account, slots, weights = (np.concatenate(column) for column in zip(*self._found, strict=True))
        order = np.argsort(account, kind="stable")
        return np.bincount(account, minlength=accounts), slots[order], weights[order]


class _Tables:
    """What an entry weighs, by place in the market's list of reserves."""

    def __init__(self, market: Market) -> None:
        reserves, rules = market.reserves, market.rules
        self._width = 1 + max((reserve.id for reserve in reserves), default=0)
        self._place: Ints = np.full(self._width, -1, np.intp)  # by reserve id; -1: no such reserve
        for place, reserve in enumerate(reserves):
            self._place[reserve.id] = place
        self._unit: Floats = np.array([float(reserve.unit) for reserve in reserves])
        self._opaque: NDArray[np.bool_] = np.array([reserve.opaque for reserve in reserves], np.bool_)
        emodes = (None, *market.emodes)
        self._row_of_emode: Ints = np.zeros(256, np.intp)  # one that the pool does not know changes nothing
        for row, emode in enumerate(market.emodes, 1):
            self._row_of_emode[emode.id] = row
        found = [[threshold_of(rules, reserve, emode) for reserve in reserves] for emode in emodes]
        self._counts: NDArray[np.bool_] = np.array([[t is not None for t in row] for row in found], np.bool_)
        self._threshold: Floats = np.array([[float(t or 0) for t in row] for row in found])
        self._exact: NDArray[np.bool_] = np.array([bool(e is not None and e.price_source) for e in emodes], np.bool_)
        self._more = 2 * len(reserves)  # the slot for what is not linear in shared factors

    def weigh(self, accounts: Columns) -> tuple[Entries, Entries]:
        """Collateral and requirement."""
        count, emode = len(accounts.emode), self._row_of_emode[accounts.emode]
        width = min(2 * self._width, 8 * accounts.flags.shape[1])
        account, bit = np.nonzero(np.unpackbits(accounts.flags, axis=1, count=width, bitorder="little"))
        reserve = bit >> 1
        place = self._place[reserve]
        known, pledged = place >= 0, bit & 1 == 1
        exact_only = self._exact[emode] | (np.bincount(account[known], self._opaque[place[known]], count) > 0)

        entry = known & pledged
        entry[entry] = self._counts[emode[account[entry]], place[entry]]
        who, where = account[entry], place[entry]
        lower = np.maximum(self._dense(accounts.supplies, count)[who, reserve[entry]] - 1, 0)
        held = lower / self._unit[where] * self._threshold[emode[who], where] / BPS

        entry = known & ~pledged
        ower, at = account[entry], place[entry]
        balance = self._dense(accounts.debts, count)[ower, reserve[entry]]
        owed = np.where(balance > 0, balance + 1, 0) / self._unit[at]
        judged = np.flatnonzero(exact_only)  # of each of these one more entry, behind its others once they are sorted
        slots = np.concatenate((2 * at + 1, np.full(len(judged), self._more)))
        weights = np.concatenate((owed, np.ones(len(judged))))
        return (who, 2 * where, held), (np.concatenate((ower, judged)), slots, weights)

    def _dense(self, balances: Balances, count: int) -> Floats:
        """Scaled balances by account and reserve id; 0 where there is none."""
        table: Floats = np.zeros((count, self._width))
        kept = balances.reserve < self._width  # a reserve that the pool no longer lists has no weight
        table[balances.account[kept], balances.reserve[kept]] = balances.scaled[kept]
        return table
