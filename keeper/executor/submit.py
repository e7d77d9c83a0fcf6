"""Toward a block through the public mempool, and what nodes mean when they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from keeper.core.errors import KeeperError, RpcMalformed, RpcRefused
from keeper.executor.ports import RawSender


class Refusal(StrEnum):
    """Why a node refused a transaction, from its words: the codes say nothing, and clients word it differently."""

    KNOWN = "already_known"
    NONCE_TOO_LOW = "nonce_too_low"
    UNDERPRICED = "underpriced"
    NO_FUNDS = "insufficient_funds"
    OTHER = "refused"


# go-ethereum, Nethermind, Erigon, Besu, reth and Anvil.
_WORDS: tuple[tuple[Refusal, tuple[str, ...]], ...] = (
    (Refusal.KNOWN, ("already known", "alreadyknown", "known transaction", "already imported", "already exists")),
    (Refusal.NONCE_TOO_LOW, ("nonce too low", "nonce is too low", "nonce_too_low", "oldnonce", "old nonce")),
    (
        Refusal.UNDERPRICED,
        (
            "underpriced",
            "fee cap less than block base fee",
            "max fee per gas less than block base fee",
            "max fee per gas less than",
            "fee too low",
            "feetoolow",
            "gas price below",
            "gas price too low",
            "tip cap",
        ),
    ),
    (Refusal.NO_FUNDS, ("insufficient funds", "insufficientfunds", "upfront cost exceeds", "insufficient balance")),
)


def classify(message: str) -> Refusal:
    words = message.lower()
    return next((refusal for refusal, phrases in _WORDS if any(phrase in words for phrase in phrases)), Refusal.OTHER)


class PublicMempool:
    """`Submitter` over a node's `eth_sendRawTransaction`."""

    def __init__(self, sender: RawSender) -> None:
        self._sender = sender

    async def submit(self, raw: bytes) -> None:
        outcome = (await self.submit_many([raw]))[0]
        if outcome is not None:
            raise outcome

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """In one message, in this order: nonces follow one another."""
        outcomes = await self._sender.submit_many(raws)
        if len(outcomes) != len(raws):
            raise RpcMalformed(f"{len(outcomes)} answers to {len(raws)} transactions; some may have been accepted")
        return [None if _is_known(outcome) else outcome for outcome in outcomes]


def _is_known(outcome: KeeperError | None) -> bool:
    return isinstance(outcome, RpcRefused) and classify(str(outcome)) is Refusal.KNOWN
