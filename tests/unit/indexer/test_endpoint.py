"""How long an endpoint rests."""

from __future__ import annotations

import time

from keeper.core.errors import RpcRateLimited, RpcUnavailable
from keeper.indexer.rpc.endpoint import Endpoint
from keeper.indexer.rpc.quarantine import LONGEST_S, Quarantine


def test_a_long_outage_ends_nothing() -> None:
    """A rest, and a quarantine, stop doubling long before a float ends."""
    endpoint, quarantine = Endpoint("ws://127.0.0.1:1", 1), Quarantine(60.0)
    for _ in range(1_100):
        endpoint.failed(RpcUnavailable("down"))
        quarantine.begin("a lie")
        endpoint._cooling_until = 0.0
    endpoint.failed(RpcUnavailable("down"))
    assert 9 < endpoint.cooling_s <= 10
    assert 0.99 * LONGEST_S < quarantine.left_s <= LONGEST_S


def test_beside_others_a_recovery_is_not_the_end_of_doubling() -> None:
    """It answered one question, and failed at the next."""
    alone, beside = Endpoint("ws://127.0.0.1:1", 1), Endpoint("ws://127.0.0.1:1", 1)
    beside.remembers_s = 60.0
    for endpoint in (alone, beside):
        for _ in range(4):
            endpoint.failed(RpcUnavailable("down"))
            endpoint.succeeded()
        endpoint.failed(RpcUnavailable("down"))
    assert alone.cooling_s <= 0.25 and 3.9 < beside.cooling_s <= 4.0


def test_what_is_asked_for_is_given_and_never_less_than_a_failure_costs() -> None:
    endpoint = Endpoint("ws://127.0.0.1:1", 1)
    endpoint.failed(RpcRateLimited("slow down", 0.0))
    assert 0.2 < endpoint.cooling_s <= 0.25
    endpoint.succeeded()
    endpoint.failed(RpcRateLimited("slow down", 30.0))
    assert 29 < endpoint.cooling_s <= 30


def test_an_answer_on_its_way_before_the_failure_ends_no_rest() -> None:
    """It says how the endpoint was before; what is asked afterwards says how it is now."""
    endpoint = Endpoint("ws://127.0.0.1:1", 1)
    asked_at = time.monotonic()
    endpoint.failed(RpcRateLimited("slow down", 30.0))
    endpoint.succeeded(asked_at)
    assert (endpoint.rate_limited, endpoint.errors, endpoint.cooling_s > 29) == (True, 1, True)
    endpoint.succeeded(time.monotonic())
    assert (endpoint.rate_limited, endpoint.errors, endpoint.cooling_s) == (False, 0, 0)
