"""Whether a header is the one that its hash names: the hash of a block is the keccak of its header's fields.

A node that changes any of them (the time, the base fee, the parent, the bloom that its logs are held against) has to
name another block, which nobody else knows and no later block builds on.

Not every chain hashes what its nodes tell: zkSync has fields of its own, Avalanche's C-chain appends some, and a few
providers leave fields out of pushed headers. So it is learned, for each endpoint and each way in which it tells
headers: once one of them was proven, all that follow have to be. Where a hard fork adds fields that this program does
not know, no header can be proven any more; after `GIVES_UP_AFTER` heights in a row the proof is waived, loudly. Where
that befalls every endpoint, it was no lie: `forkrules` has all of them back, and asks no proof from that height on.

Source: Ethereum Yellow Paper, section 4.3.4; EIP-1559, EIP-4895, EIP-4844, EIP-4788, EIP-7685 for what was appended.
"""

from __future__ import annotations

import structlog
from eth_hash.auto import keccak

from keeper.core.errors import HeaderUnproven
from keeper.indexer.rpc import rlp
from keeper.indexer.rpc.wire import WireHeader

log = structlog.get_logger(__name__)

GIVES_UP_AFTER = 5


def header_hash(header: WireHeader) -> bytes | None:
    """The hash that follows from a header's fields; None where some are absent that every header has."""
    if (
        header.sha3_uncles is None
        or header.miner is None
        or header.state_root is None
        or header.transactions_root is None
        or header.receipts_root is None
        or header.logs_bloom is None
        or header.difficulty is None
        or header.extra_data is None
        or header.mix_hash is None
        or header.nonce is None
    ):
        return None
    try:
        encoded = rlp.packed(
            rlp.listed(
                (
                    *rlp.fixed("a0", 64, header.parent_hash, header.sha3_uncles),
                    *rlp.fixed("94", 40, header.miner),
                    *rlp.fixed("a0", 64, header.state_root, header.transactions_root, header.receipts_root),
                    *rlp.fixed("b90100", 512, header.logs_bloom),
                    rlp.quantity(header.difficulty),
                    rlp.quantity(header.number),
                    rlp.quantity(header.gas_limit),
                    rlp.quantity(header.gas_used),
                    rlp.quantity(header.timestamp),
                    rlp.string(header.extra_data[2:]),
                    *rlp.fixed("a0", 64, header.mix_hash),
                    *rlp.fixed("88", 16, header.nonce),
                    *_appended(header),
                )
            )
        )
    except ValueError:
        return None
    return keccak(encoded)


def _appended(header: WireHeader) -> list[str]:
    """What hard forks added, in their order; a header has none beyond the first that is absent."""
    encoded: list[str] = []
    for text, is_word in (
        (header.base_fee_per_gas, False),
        (header.withdrawals_root, True),
        (header.blob_gas_used, False),
        (header.excess_blob_gas, False),
        (header.parent_beacon_block_root, True),
        (header.requests_hash, True),
    ):
        if text is None:
            break
        encoded += rlp.fixed("a0", 64, text) if is_word else (rlp.quantity(text),)
    return encoded


class HeaderProof:
    """What is known of one way in which one endpoint tells headers.

    A header has been proven, so that all must be, up to where `gave_up`. Headers below that still are; one that is
    proven above shows that no fork was at work.
    """

    def __init__(self) -> None:
        self._proven = False
        self._failed: set[int] = set()
        self._trusted_from: int | None = None

    @property
    def proven(self) -> bool:
        """Whether every new header must be the one that its hash names."""
        return self._proven and not self.gave_up

    @property
    def gave_up(self) -> bool:
        """Whether headers from some height on are taken on trust, since too many in a row could not be proven."""
        return self._trusted_from is not None

    def trust_from(self, number: int) -> None:
        """Ask no proof of this block and those above: the rules by which headers are hashed have changed."""
        self._trusted_from = number if self._trusted_from is None else min(number, self._trusted_from)
        self._failed.clear()

    def check(self, header: WireHeader, what: str) -> None:
        """Raises HeaderUnproven when the header is not the one that its hash names, where that can be told."""
        number = int(header.number, 16)
        if f"0x{(header_hash(header) or b'').hex()}" == header.hash.lower():
            self._proven = True
            self._failed = {failed for failed in self._failed if failed > number}
            if self._trusted_from is not None and number >= self._trusted_from:
                self._trusted_from = None
            return
        if not self._proven or (self._trusted_from is not None and number >= self._trusted_from):
            return
        self._failed.add(number)
        if len(self._failed) >= GIVES_UP_AFTER:
            self.trust_from(min(self._failed))
            log.error(
                "header_hashes_not_provable",
                what=what,
                headers=GIVES_UP_AFTER,
                remedy="headers are taken on trust from here; update Keeper if the chain has had a hard fork",
            )
            return
        raise HeaderUnproven(
            f"{what}: the fields of block {number} do not hash to its {header.hash[:80]}; "
            "the endpoint is not to be trusted with this block, use another one",
            number,
        )
