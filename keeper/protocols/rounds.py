"""The last weeks of a price, from the rounds that its feed remembers on chain (Chainlink's getRoundData)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult

Round = tuple[int, int]  # unix seconds, answer

SAMPLES = 240
"""Rounds that are read of a feed, spread evenly over the time asked for: enough for what happens within hours."""

_LATEST_ROUND_DATA = bytes.fromhex("feaf968c")  # latestRoundData()
_GET_ROUND_DATA = bytes.fromhex("9a6fc8f5")  # getRoundData(uint80)
_PACE = 64  # rounds back, to learn how often there is one
_AT_ONCE = 2_000  # calls in one round trip
_ROUND_MASK = 2**64 - 1  # of a proxy's round id the upper bits tell the phase, whose rounds begin at 1


@dataclass(frozen=True, slots=True)
class _Feed:
    contract: bytes
    round_id: int
    latest: Round

    @property
    def first_id(self) -> int:
        return self.round_id - (self.round_id & _ROUND_MASK) + 1

    def back(self, rounds: int) -> int:
        return max(self.round_id - rounds, self.first_id)


def histories(
    feeds: Mapping[bytes, Sequence[bytes]], wanted: frozenset[bytes], seconds: int
) -> Reads[dict[bytes, tuple[Round, ...]]]:
    """By asset, rounds of its feed over these seconds, oldest first; answers are proportional to its price.

    feeds: as `ProtocolAdapter.feeds` says. An asset whose price is made of several feeds is left out, since how is not
    known; so is one whose feed remembers nothing. Costs three round trips, and one more for each 2,000 rounds.
    """
    of_asset: dict[bytes, list[bytes]] = {}
    for contract, assets in feeds.items():
        for asset in assets:
            of_asset.setdefault(asset, []).append(contract)
    alone = {asset: contracts[0] for asset, contracts in of_asset.items() if asset in wanted and len(contracts) == 1}
    contracts = sorted(set(alone.values()))
    if not contracts:
        return {}
    latest = yield [Call(contract, _LATEST_ROUND_DATA) for contract in contracts]
    read = zip(contracts, map(_words, latest), strict=True)
    known = [_Feed(contract, words[0], (words[3], words[1])) for contract, words in read if words is not None]
    earlier = yield [_round_call(feed.contract, feed.back(_PACE)) for feed in known]
    ids = {
        feed.contract: list(_spread(feed, _words(result), seconds)) for feed, result in zip(known, earlier, strict=True)
    }
    calls = [(contract, _round_call(contract, one)) for contract, several in ids.items() for one in several]
    found: dict[bytes, set[Round]] = {feed.contract: {feed.latest} for feed in known}
    for begin in range(0, len(calls), _AT_ONCE):
        part = calls[begin : begin + _AT_ONCE]
        results = yield [call for _, call in part]
        for (contract, _), words in zip(part, map(_words, results), strict=True):
            if words is not None:
                found[contract].add((words[3], words[1]))
    return {asset: tuple(sorted(found[contract])) for asset, contract in alone.items() if contract in found}


def _spread(feed: _Feed, earlier: Sequence[int] | None, seconds: int) -> Iterator[int]:
    """Ids of rounds over so many seconds, by the pace of the last ones."""
    passed = feed.round_id - feed.back(_PACE)
    if earlier is None or passed <= 0:
        return
    pace_s = max(1, (feed.latest[0] - earlier[3]) // passed)
    rounds = min(seconds // pace_s, feed.round_id - feed.first_id)
    stride = max(1, -(-rounds // SAMPLES))
    yield from range(feed.round_id - stride, feed.round_id - rounds - 1, -stride)


def _round_call(contract: bytes, round_id: int) -> Call:
    return Call(contract, _GET_ROUND_DATA + round_id.to_bytes(32, "big"))


def _words(result: CallResult) -> Sequence[int] | None:
    """Round id, answer, started at, updated at, answered in; None for what is no round with a positive answer."""
    if result is None or len(result) < 160:
        return None
    words = [int.from_bytes(result[at : at + 32], "big") for at in range(0, 160, 32)]
    return words if 0 < words[1] < 2**255 and words[3] > 0 else None
