"""The bloom filter of a header: what the block's logs must have contributed to it.

A log sets three of 2048 bits for its address and for each of its topics. A bit that is clear proves absence; bits that
are set prove nothing by themselves, but how full the filter is tells how surprising they are.
Source: Ethereum yellow paper, section 4.3.1 (M3:2048).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from eth_hash.auto import keccak

from keeper.core.types import LogFilter, RawLog

BITS = 2048
SURPRISING = 0.01  # chance below which what the bloom admits is not put down to accident


@lru_cache(maxsize=1 << 16)
def item_mask(item: bytes) -> int:
    """The bits that one address or topic sets, in the integer that the bloom's 256 bytes are."""
    digest = keccak(item)
    mask = 0
    for index in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[index : index + 2], "big") & (BITS - 1))
    return mask


def log_mask(log: RawLog) -> int:
    """The bits that one log sets."""
    mask = item_mask(bytes.fromhex(log.address[2:]))
    for topic in log.topics:
        mask |= item_mask(bytes.fromhex(topic[2:]))
    return mask


class Bloom:
    """A header's logsBloom."""

    def __init__(self, data: bytes) -> None:
        self.bits = int.from_bytes(data, "big")

    @property
    def fill(self) -> float:
        """Share of bits that are set."""
        return self.bits.bit_count() / BITS

    def admits(self, item: bytes) -> bool:
        mask = item_mask(item)
        return self.bits & mask == mask

    def admits_log(self, log: RawLog) -> bool:
        mask = log_mask(log)
        return self.bits & mask == mask

    def unexplained_by(self, logs: Iterable[RawLog]) -> bool:
        """Whether some bit is set that none of these logs sets."""
        explained = 0
        for log in logs:
            explained |= log_mask(log)
        return bool(self.bits & ~explained)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What does not fit between a header's bloom and the logs that were given for the block."""

    addresses: tuple[bytes, ...]
    topics: tuple[bytes, ...]
    surplus: int

    def __str__(self) -> str:
        parts = []
        if self.addresses:
            parts.append("none of address " + ", ".join("0x" + item.hex() for item in self.addresses[:3]))
        if self.topics:
            parts.append("none with topic " + ", ".join("0x" + item.hex() for item in self.topics[:3]))
        if self.surplus:
            parts.append(f"{self.surplus} that the bloom excludes")
        return "; ".join(parts)


def suspect(bloom_bytes: bytes, wanted: LogFilter, logs: Sequence[RawLog]) -> Suspicion | None:
    """What is wrong with the logs given for a block whose header has this bloom; None when nothing is remarkable.

    Lacking: the bloom admits an address (and some topic) of ours, or a topic (and some address) of ours, of which no
    log was given, and the chance that unrelated logs set just these bits is below 1 %. That chance is the bloom's fill
    to the third power, times the number of candidates that were not answered for.
    Surplus: logs that the bloom excludes. A bloom that is empty, as some chains leave it, accuses nobody.
    """
    bloom = Bloom(bloom_bytes)
    if not bloom.bits:
        return None
    addresses = {item for item in wanted.addresses if bloom.admits(item)}
    topics = {item for item in wanted.topics if bloom.admits(item)}
    surplus = sum(not bloom.admits_log(log) for log in logs)
    seen_addresses = {bytes.fromhex(log.address[2:]) for log in logs}
    seen_topics = {bytes.fromhex(log.topics[0][2:]) for log in logs if log.topics}
    accident = bloom.fill**3
    lacking_addresses = _lacking(addresses, wanted.addresses, seen_addresses, accident) if topics else ()
    lacking_topics = _lacking(topics, wanted.topics, seen_topics, accident) if addresses else ()
    if not (lacking_addresses or lacking_topics or surplus):
        return None
    return Suspicion(lacking_addresses, lacking_topics, surplus)


def _lacking(
    admitted: Collection[bytes], candidates: Collection[bytes], seen: Collection[bytes], accident: float
) -> tuple[bytes, ...]:
    silent = sorted(set(admitted) - set(seen))
    unanswered = len(set(candidates) - set(seen))
    return tuple(silent) if silent and accident * unanswered < SURPRISING else ()


class Absence:
    """Proof, for one filter after another block's bloom, that a block has no log that the filter lets through."""

    def __init__(self, wanted: LogFilter) -> None:
        self._addresses = tuple(map(item_mask, wanted.addresses))
        self._topics = tuple(map(item_mask, wanted.topics))

    def proven_by(self, bloom_bytes: bytes) -> bool:
        """Whether the bloom, of a header that is itself proven, excludes every such log."""
        bits = int.from_bytes(bloom_bytes, "big")
        return not (
            any(bits & mask == mask for mask in self._topics) and any(bits & mask == mask for mask in self._addresses)
        )
