"""What befalls Keeper in a campaign, one incident at a time, by group: node, kill, machine, server (of the database),
receiver, chain, load."""

from __future__ import annotations

import random
from collections.abc import Callable

from scripts.campaignlib import faults
from scripts.campaignlib.inbox import TROUBLES
from scripts.campaignlib.incidents import chain, kill, load, machine, node, receiver, server
from scripts.campaignlib.incidents.base import Incident

GROUPS = ("node", "kill", "machine", "server", "receiver", "chain", "load")


def deck(chance: random.Random, outage_blocks: int) -> dict[str, Callable[[], Incident]]:
    """One of each, by kind. Each draws from a chance of its own, so that none changes what befalls after it."""

    def own() -> random.Random:
        return random.Random(chance.getrandbits(64))  # noqa: S311  (repeatable, which is the point)

    made: dict[str, Callable[[], Incident]] = {
        kind: lambda kind=kind: node.NodeFault(kind, own()) for kind in (*faults.KINDS, *faults.ON_DEMAND)
    }
    others: list[Callable[[], Incident]] = [
        lambda: node.RangeErrors(own()),
        lambda: node.Down(own()),
        lambda: node.Blackout(own()),
        lambda: node.TwoBranches(own()),
        lambda: node.Outage(own(), outage_blocks),
        lambda: kill.KillAtRandom(own()),
        *(lambda kind=kind: kill.KillAt(kind) for kind in kill.KillAt.KINDS),
        kill.KillWhileTelling,
        lambda: machine.DiskFull(own()),
        lambda: machine.ReadOnly(own()),
        lambda: machine.FilesTooLarge(own()),
        lambda: machine.SyncFails(own()),
        lambda: machine.SlowDisk(own()),
        lambda: machine.NoDescriptors(own()),
        lambda: machine.NoMemory(own()),
        lambda: machine.ClockSteps(own()),
        *(lambda kind=kind: machine.SpoiledDatabase(kind) for kind in machine.SpoiledDatabase.KINDS),
        machine.Repaired,
        lambda: server.Killed(own()),
        server.Restarted,
        lambda: server.CutInTransaction(own()),
        lambda: server.CommitUnanswered(own()),
        lambda: server.Silent(own()),
        lambda: server.DiskFull(own()),
        lambda: server.TooManyConnections(own()),
        *(lambda trouble=trouble: receiver.BadReceiver(trouble, own()) for trouble in TROUBLES),
        lambda: chain.Reorganization(own()),
        chain.Rival,
        lambda: load.FastBlocks(own()),
        load.Storm,
    ]
    return made | {make().kind: make for make in others}


__all__ = ["GROUPS", "Incident", "deck"]
