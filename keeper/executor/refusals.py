"""What nodes mean when they refuse a transaction."""

from __future__ import annotations

from enum import StrEnum

from keeper.core.errors import KeeperError, RpcRefused


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


def is_known(outcome: KeeperError | None) -> bool:
    """Whether a refusal says that it has the transaction already, which is as good as accepting it."""
    return isinstance(outcome, RpcRefused) and classify(str(outcome)) is Refusal.KNOWN
