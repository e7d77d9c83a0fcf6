"""What Prometheus is told of the daemon's defences is what the daemon said of them."""

from __future__ import annotations

from typing import Any

import pytest

from keeper.web.metrics import exposition

SERVED = {"listeners": 0, "dropped": 0, "failing": False, "answers": {}}
HONEST = {"url": "ws://honest", "quarantined": None, "lies": 0}
LIAR = {"url": "ws://liar", "quarantined": "a log of another block", "lies": 3}


def told(**sections: Any) -> list[str]:
    """Lines of metrics of a daemon that says this."""
    figures: dict[str, Any] = {
        "pulse": {"live": True, "age_s": 0.5},
        "sections": sections,
        "started_at": 1.0,
        "tip": None,
        "positions": {},
        "at_risk": {},
        "open_calls": [],
        "deliveries": [],
        "intents": [],
        "profit": {},
        "gas_spent": None,
    }
    return exposition(figures, SERVED).decode().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        'keeper_rpc_endpoint_quarantined{endpoint="ws://honest"} 0.0',
        'keeper_rpc_endpoint_quarantined{endpoint="ws://liar"} 1.0',
        'keeper_rpc_endpoint_lies_total{endpoint="ws://liar"} 3.0',
        "keeper_blocks_compared_total 41.0",
        "keeper_contradictions_total 2.0",
        "keeper_heartbeat_heard 0.0",
        'keeper_execution_halted{reason="endpoints"} 1.0',
    ],
)
def test_every_defence_is_a_metric(line: str) -> None:
    assert line in told(
        endpoints={"endpoints": [HONEST, LIAR]},
        crosscheck={"compared": 41, "contradictions": 2, "others": 1, "in_doubt_since_block": None},
        heartbeat={"service": "https://hc-ping.example", "heard": False},
        switch={"halts": {"endpoints": "all 2 rpc endpoints were caught lying"}},
    )


def test_what_the_daemon_does_not_say_has_no_sample() -> None:
    lines = told()
    assert not [line for line in lines if line.startswith(("keeper_contradictions_total", "keeper_heartbeat_heard"))]
