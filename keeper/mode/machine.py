"""The state machine of a daemon, pure: what is seen of it gives the mode that it is in.

FOLLOWING    every block is taken as it comes; margin calls are told, positions liquidated
CATCHING_UP  blocks were missed; they are gone through, and nothing is acted on before the present is reached
DEGRADED     every block is taken and margin calls are told; for a reason that stands, nothing new is sent
BLIND        no block that can be trusted for longer than allowed: nobody is being watched

    ┌──────────▶ BLIND ◀──────────┐          BLIND comes before all others, since who sees nothing knows nothing;
    │              │              │          CATCHING_UP before DEGRADED, since nothing is sent then anyway.
    ▼              ▼              ▼
FOLLOWING ◀── CATCHING_UP ──▶ DEGRADED
    └─────────────────────────────┘          Any may follow any other: a mode is a function of what is seen now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

BEHIND_BLOCKS = 8
"""More announced blocks than this that are not taken yet are caught up with, rather than followed."""


class Mode(StrEnum):
    FOLLOWING = "following"
    CATCHING_UP = "catching_up"
    DEGRADED = "degraded"
    BLIND = "blind"

    @property
    def watches(self) -> bool:
        """Whether somebody who has a position is being watched at the present block."""
        return self in (Mode.FOLLOWING, Mode.DEGRADED)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a daemon at one moment.

    silent_s: since a block was taken, or what was missed came nearer. limit_s: how long that is no blindness.
    taken, announced: heights of the newest block taken, and of the newest that a node told of; None before the first.
    halts: why nothing new is sent, by one word for machines.
    """

    silent_s: float
    limit_s: float
    taken: int | None = None
    announced: int | None = None
    halts: Mapping[str, str] = field(default_factory=dict)

    @property
    def behind_blocks(self) -> int | None:
        """None before the first block."""
        if self.taken is None:
            return None
        return max(0, (self.announced or self.taken) - self.taken)


@dataclass(frozen=True, slots=True)
class State:
    """reasons: why it is not following, by one word for machines, in words for people."""

    mode: Mode
    reasons: Mapping[str, str] = field(default_factory=dict)


def judge(sight: Sight) -> State:
    """The mode that a daemon is in. What halts it is told in every mode, since it stands in every mode."""
    behind = sight.behind_blocks
    if sight.silent_s > sight.limit_s:
        said = f"no block that can be trusted for {sight.silent_s:.0f} s; {sight.limit_s:g} s are allowed"
        return State(Mode.BLIND, {"heads": said, **sight.halts})
    if behind is None:
        return State(Mode.CATCHING_UP, {"start": "no block was taken yet", **sight.halts})
    if behind > BEHIND_BLOCKS:
        said = f"at block {sight.taken}, {behind} below the newest"
        return State(Mode.CATCHING_UP, {"behind": said, **sight.halts})
    if sight.halts:
        return State(Mode.DEGRADED, dict(sight.halts))
    return State(Mode.FOLLOWING)
