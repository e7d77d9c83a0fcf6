"""What the daemon says of itself in its pulse: each section from the part that knows, as plain values.

Nothing here changes, awaits or reads the store: what the store holds its readers can read themselves.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keeper.protocols.addresses import checksummed
from keeper.pulse.board import Board
from keeper.pulse.tallies import HeadTally, JobTally

if TYPE_CHECKING:
    from keeper.executor.executor import Executor
    from keeper.indexer.rpc.client import RpcClient
    from keeper.notifier.outbox import Deliverer
    from keeper.track import Track

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def register_vitals(
    board: Board,
    heads: HeadTally,
    jobs: JobTally,
    rpc: RpcClient,
    deliverer: Deliverer,
    executor: Executor,
    tracks: Sequence[Track],
) -> None:
    """Everything that exists once the daemon follows the chain."""
    board.register("heads", heads.read)
    board.register("jobs", jobs.read)
    board.register("round_trips", lambda: round_trips(rpc, heads))
    board.register("notices", lambda: notices(deliverer))
    board.register("executor", lambda: actions(executor))
    board.register("latency", executor.latency.read)
    board.register("breakers", lambda: breakers(executor))
    board.register("balances", lambda: balances(executor))
    board.register("memory", lambda: memory(tracks))


def round_trips(rpc: RpcClient, heads: HeadTally) -> dict[str, Any]:
    """Messages exchanged and requests in them since the start, in all and by endpoint. per_block: the mean. well: the
    last that was asked of it was answered, by the right chain, and it was not caught lying."""
    return {
        "total": rpc.round_trips,
        "requests": rpc.requests,
        "per_block": round(rpc.round_trips / heads.blocks, 3) if heads.blocks else None,
        "by_endpoint": [
            {
                "endpoint": one.name,
                "round_trips": one.round_trips,
                "requests": one.requests,
                "well": one.excluded is None and one.quarantine.lie is None and one.errors == 0,
                "head_number": one.head_number,
            }
            for one in rpc.endpoints
        ],
    }


def notices(deliverer: Deliverer) -> dict[str, Any]:
    """Attempts since the start, by channel and how they ended: sent, delayed, dropped, refused, given_up, crashed."""
    counted = sorted(deliverer.outcomes.items())
    return {
        "outcomes": [{"channel": channel, "outcome": outcome, "count": count} for (channel, outcome), count in counted]
    }


def actions(executor: Executor) -> dict[str, Any]:
    """Intents that blocks can still change, by state. pending: those whose nonce no block has used."""
    states = Counter(intent.status.value for intent in executor.intents)
    return {
        "mode": executor.mode.value,
        "liquidates": executor.liquidates,
        "account": checksummed(executor.account) if executor.account else None,
        "pending": executor.pending,
        "intents": dict(sorted(states.items())),
    }


def breakers(executor: Executor) -> dict[str, Any]:
    """paused: by a person. tripped: what stopped new transactions, until somebody resumes."""
    guard = executor.guard
    if guard is None or not executor.active:
        return {"paused": False, "tripped": []}
    return {
        "paused": guard.paused,
        "tripped": [
            {"breaker": trip.name, "detail": trip.detail, "at": trip.at, "block_number": trip.block}
            for trip in guard.trips
        ],
    }


def balances(executor: Executor) -> dict[str, Any]:
    """Of the wallet, as of the last block in which they were read; raw units. Empty where nothing is ever sent."""
    wallet = executor.wallet
    if wallet is None:
        return {"native_wei": None, "tokens": []}
    return {
        "native_wei": None if wallet.native_wei is None else str(wallet.native_wei),
        "tokens": [
            {"asset": checksummed(asset), "amount": str(amount), "decimals": wallet.decimals.get(asset)}
            for asset, amount in sorted(wallet.tokens.items())
        ],
    }


def memory(tracks: Sequence[Track]) -> dict[str, Any]:
    """Resident, and the most that ever was; and how much there is to hold."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT_BYTES
    return {
        "resident_bytes": _resident_bytes(),
        "peak_bytes": peak,
        "positions": {track.name: len(track.book.positions) for track in tracks},
        "open_episodes": {track.name: len(track.judge.episodes) for track in tracks},
    }


def _resident_bytes() -> int | None:
    """None where the system has no /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return None
