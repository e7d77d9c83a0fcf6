"""Signing a liquidation as the executor does, policy and encoding included, over the bare signature of a hash."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from coincurve import PrivateKey

from keeper.core.policy import SigningPolicy
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.executor.signer import LocalSigner

from .profiling import shares
from .row import Row, timed

_KEY, _POOL, _LIQUIDATE = b"\x42" * 32, b"\x24" * 20, bytes.fromhex("00a718a9")
GWEI = 10**9


def measure(rounds: int = 2_000) -> list[Row]:
    bare, signer = PrivateKey(_KEY), LocalSigner(_KEY, chain_id=1)
    policy = SigningPolicy(1, signer.address, 500 * GWEI, functions=frozenset({(_POOL, _LIQUIDATE)}))
    call = TxCall(_POOL, _LIQUIDATE + bytes(160))
    numbers = iter(range(10**9))

    def ours() -> None:
        signer.sign(UnsignedTransaction(1, next(numbers), GWEI, 100 * GWEI, 600_000, call), policy)

    def floor() -> None:
        bare.sign_recoverable(next(numbers).to_bytes(32, "big"), hasher=None)

    floor_s, ours_s = _alternating(floor, ours, rounds)
    what = "signing a liquidation, over the bare signature by coincurve"
    return [timed(what, floor_s, ours_s, 1.5, reason=lambda: shares(ours))]


def _alternating(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Medians of both, in turn, so that whatever else the machine does meets them alike."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, times in zip((one, other), took, strict=True):
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
    return tuple(sorted(times)[rounds // 2] for times in took)  # type: ignore[return-value]
