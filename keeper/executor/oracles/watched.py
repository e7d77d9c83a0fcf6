"""Whose price updates matter: the aggregators behind a book's prices, and who writes to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult
from keeper.executor.oracles.ports import Written

_DECIMALS = bytes.fromhex("313ce567")  # decimals()
_TRANSMITTERS = (
    bytes.fromhex("666cab8d"),  # getTransmitters(), OCR2
    bytes.fromhex("81411834"),  # transmitters(), OCR1
)
_USUAL_DECIMALS = 8
_MOST_TRANSMITTERS = 64


@dataclass(frozen=True, slots=True)
class Aggregator:
    """decimals: of its answers. transmitters: who alone may write to it, empty where that is not told: nodes or, as is
    usual, the forwarders through which they send. protocols: whose prices it moves, by name."""

    decimals: int
    transmitters: frozenset[bytes]
    protocols: frozenset[str]


@dataclass(frozen=True, slots=True)
class Watched:
    """aggregators: by address. addressees: lower-case hex of every contract that an update can be sent to."""

    aggregators: Mapping[bytes, Aggregator] = field(default_factory=dict)
    addressees: frozenset[str] = frozenset()

    def relevant(self, writes: Iterable[Written], sender: bytes | None = None, to: bytes = b"") -> list[Written]:
        """The updates that move a price of ours. sender, to: of the transaction, where they are known: what comes from
        nobody who may write is not believed."""
        return [one for one in writes if (known := self.aggregators.get(one.aggregator)) and _may(known, sender, to)]

    def protocols(self, writes: Iterable[Written]) -> frozenset[str]:
        return frozenset().union(*(self.aggregators[one.aggregator].protocols for one in writes))


def _may(aggregator: Aggregator, sender: bytes | None, to: bytes) -> bool:
    """A transmitter writes itself, or is the forwarder that the transaction was sent to."""
    return sender is None or not aggregator.transmitters or bool({sender, to} & aggregator.transmitters)


def look_up(protocols: Mapping[bytes, Iterable[str]]) -> Reads[Watched]:
    """protocols: whose prices it moves, by aggregator. One round trip."""
    addresses = sorted(protocols)
    results = yield [Call(address, selector) for address in addresses for selector in (_DECIMALS, *_TRANSMITTERS)]
    found: dict[bytes, Aggregator] = {}
    addressees: set[bytes] = set(addresses)
    width = 1 + len(_TRANSMITTERS)
    for index, address in enumerate(addresses):
        decimals, *lists = results[index * width : (index + 1) * width]
        transmitters = frozenset().union(*map(_addresses, lists))
        addressees |= transmitters
        found[address] = Aggregator(_small(decimals), transmitters, frozenset(protocols[address]))
    return Watched(found, frozenset("0x" + address.hex() for address in addressees))


def _small(result: CallResult) -> int:
    value = int.from_bytes(result[:32], "big") if result is not None and len(result) >= 32 else _USUAL_DECIMALS
    return value if value < 256 else _USUAL_DECIMALS


def _addresses(result: CallResult) -> frozenset[bytes]:
    """An ABI-encoded `address[]`; empty for anything else."""
    if result is None or len(result) < 64 or int.from_bytes(result[:32], "big") != 32:
        return frozenset()
    count = int.from_bytes(result[32:64], "big")
    if count > _MOST_TRANSMITTERS or len(result) < 64 + 32 * count:
        return frozenset()
    return frozenset(result[64 + 32 * index + 12 : 96 + 32 * index] for index in range(count))
