"""A first state of the volatility from what feeds remember, so that lines need not begin with a presumption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from keeper.core.types import Price, Prices
from keeper.evaluator.volatility import BAR_S, Volatility

Round = tuple[int, int]  # unix seconds, answer


def seeded(
    memories_s: Sequence[int], histories: Mapping[bytes, Sequence[Round]], prices: Prices, now: int, seconds: int
) -> Volatility | None:
    """The state at this time, had it observed these rounds, and all else only from here on; None without any.

    histories: by asset, oldest first, in any unit: only ratios to the last count. Rounds of the last `seconds`.
    """
    past = {asset: rounds for asset, rounds in histories.items() if asset in prices and len(rounds) > 1}
    begin = min((rounds[0][0] for rounds in past.values()), default=now)
    begin = max(begin, now - seconds) // BAR_S * BAR_S
    if not past or begin >= now:
        return None
    volatility = Volatility.empty(memories_s, begin)
    walks = {asset: _Walk(rounds, prices[asset]) for asset, rounds in past.items()}
    for end in range(begin + BAR_S, now + 1, BAR_S):
        present = ((asset, walk.until(end)) for asset, walk in walks.items())
        volatility = volatility.since({asset: price for asset, price in present if price is not None}, end)
    return volatility


class _Walk:
    """The price of one asset by its rounds, scaled so that the last is the price now."""

    def __init__(self, rounds: Sequence[Round], price: Price) -> None:
        self._rounds: Iterator[Round] = iter(rounds)
        self._next: Round | None = next(self._rounds)
        self._answer: int | None = None
        self._last, self._price = rounds[-1][1], price

    def until(self, end: int) -> Price | None:
        """Before this time; None before the first round. To be asked with rising times."""
        while self._next is not None and self._next[0] < end:
            self._answer, self._next = self._next[1], next(self._rounds, None)
        if self._answer is None:
            return None
        return Price(max(1, self._price.value * self._answer // self._last), self._price.decimals)
