"""What the pulse says of modes, endpoints and the switch."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from keeper.core.records import Lease
from keeper.executor.halt import Halt
from keeper.executor.switch import Switch
from keeper.mode.watch import ModeWatch
from keeper.pulse.board import Board

if TYPE_CHECKING:
    from keeper.indexer.rpc.client import RpcClient
    from keeper.mode.heartbeat import Heartbeat


def register_modes(
    board: Board, modes: ModeWatch, halt: Halt, switch: Switch, heartbeat: Heartbeat | None, lease: Lease | None = None
) -> None:
    """What there is from the start, before there is a node."""
    board.register("mode", modes.read)
    board.register("switch", lambda: _switch(switch, halt))
    if lease is not None:
        board.register("lease", lambda: {"term": lease.term, "holder": lease.holder, "since": lease.since})
    if heartbeat is not None:
        board.register("heartbeat", heartbeat.read)


def endpoints(rpc: RpcClient) -> dict[str, Any]:
    """Each configured endpoint, in order, with its health; no secrets. Times in seconds."""
    return {"endpoints": [asdict(status) for status in rpc.status()]}


def _switch(switch: Switch, halt: Halt) -> dict[str, Any]:
    """paused: by a person. halts: what else keeps new transactions back, by one word, in words."""
    return {
        "paused": switch.paused,
        "pause_file": str(switch.pause_file),
        "resume_asked_at": switch.resume_asked_at(),
        "halts": dict(halt.reasons),
    }
