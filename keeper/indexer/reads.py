"""`keeper.core.reads` under the name by which the indexer's callers know it."""

from keeper.core.reads import Execute, drive

__all__ = ["Execute", "drive"]
