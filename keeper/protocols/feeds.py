"""Which contracts price updates are written to: from the sources of a protocol's prices down to the aggregators.

A price usually comes through several contracts: an adapter that caps or multiplies, a proxy that points to the present
aggregator, the aggregator itself. Each names the next in a function of its own; what names none is written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult

_DEEPEST = 5

# Each returns the address of a contract whose answer is part of the answer of the one that is asked.
_REFERENCES = tuple(
    bytes.fromhex(digits)
    for digits in (
        "245a7bfc",  # aggregator(), Chainlink's proxies
        "3ad59dbc",  # getAggregator(), Perp's wrappers
        "4ebdc284",  # ASSET_TO_USD_AGGREGATOR(), Aave's capped stable coins
        "d221087c",  # BASE_TO_USD_AGGREGATOR(), Aave's capped ratios
        "910bb70c",  # ASSET_TO_PEG(), Chainlink synchronicity adapters, as the next two
        "de4aedab",  # PEG_TO_BASE()
        "6753b8c4",  # BASE_TO_PEG()
        "f50a4718",  # BASE_FEED_1(), Morpho's oracles, as the next three
        "dc53858c",  # BASE_FEED_2()
        "56095e11",  # QUOTE_FEED_1()
        "acfbd39e",  # QUOTE_FEED_2()
        "14139c62",  # collateralFeed(), the dev chain's oracle for Morpho, as the next
        "afdaac3b",  # loanFeed()
    )
)


def aggregators(sources: Mapping[bytes, Iterable[bytes]]) -> Reads[dict[bytes, tuple[bytes, ...]]]:
    """By contract that is written to, the assets whose price it is part of, sorted.

    sources: by asset, the contracts that the protocol asks for its price. One round trip per level.
    """
    found: dict[bytes, set[bytes]] = {}
    level = {(asset, source) for asset, several in sources.items() for source in several if source}
    for _ in range(_DEEPEST):
        if not level:
            break
        asked = sorted({contract for _, contract in level})
        results = yield [Call(contract, selector) for contract in asked for selector in _REFERENCES]
        named = {
            contract: {*filter(None, map(_address, results[index * len(_REFERENCES) : (index + 1) * len(_REFERENCES)]))}
            for index, contract in enumerate(asked)
        }
        for asset, contract in level:
            if not named[contract]:
                found.setdefault(contract, set()).add(asset)
        level = {(asset, further) for asset, contract in level for further in named[contract]}
    return {contract: tuple(sorted(assets)) for contract, assets in sorted(found.items())}


def _address(result: CallResult) -> bytes:
    """An address; empty when the contract does not know the call, or names nobody."""
    if result is None or len(result) != 32 or any(result[:12]):
        return b""
    return result[12:] if any(result[12:]) else b""
