"""What the house asks of its parts. Time, prices and chain state are arguments, never calls."""

from keeper.core.ports.abilities import (
    Paged,
    Quickens,
    Rejudges,
    Reprices,
    Solvent,
    Stressable,
    TakesMargin,
    Traceable,
    Watchable,
    Weighable,
)
from keeper.core.ports.adapter import ProtocolAdapter, Reads
from keeper.core.ports.outward import Notifier, Poster, Signer, Submitter
from keeper.core.ports.storing import Store, Transaction

__all__ = [
    "Notifier",
    "Paged",
    "Poster",
    "ProtocolAdapter",
    "Quickens",
    "Reads",
    "Rejudges",
    "Reprices",
    "Signer",
    "Solvent",
    "Store",
    "Stressable",
    "Submitter",
    "TakesMargin",
    "Traceable",
    "Transaction",
    "Watchable",
    "Weighable",
]
