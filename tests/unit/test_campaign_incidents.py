"""Incidents wait until they meet something, and are left out with a reason where they cannot be."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scripts.campaignlib import faults
from scripts.campaignlib.incidents import GROUPS, Incident, deck
from scripts.campaignlib.incidents.node import NodeFault
from scripts.campaignlib.proxy import Fault
from scripts.campaignlib.run import LONGER_BLOCKS, has_ended
from scripts.campaignlib.scene import Scene


def every() -> dict[str, Incident]:
    return {kind: make() for kind, make in deck(random.Random(0), 1_000).items()}


def left_out(**scene: Any) -> dict[str, str]:
    made = SimpleNamespace(server=None, disk=SimpleNamespace(is_own=True), **scene)
    reasons = {kind: incident.impossible(cast(Scene, made)) for kind, incident in every().items()}
    return {kind: reason for kind, reason in reasons.items() if reason is not None}


class Endpoint:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.put, self.take = self.faults.append, self.faults.remove
        self.drops = 0

    def drop(self) -> None:
        self.drops += 1


class World(Counter[str]):
    """What was asked for."""

    def fall(self) -> None:
        self["fall"] += 1

    def stir(self) -> None:
        self["stir"] += 1


def scene() -> Any:
    return SimpleNamespace(proxies=[Endpoint(), Endpoint()], world=World())


class Bait(Incident):
    met = 0

    @property
    def hits(self) -> int:
        return self.met


def test_every_kind_is_of_a_group_that_is_shown() -> None:
    assert {incident.group for incident in every().values()} == set(GROUPS)


def test_what_befalls_servers_is_left_out_where_the_store_is_a_file() -> None:
    assert left_out().keys() == {kind for kind, incident in every().items() if incident.group == "server"}


def test_what_befalls_a_database_file_is_left_out_where_the_store_is_a_server() -> None:
    server = SimpleNamespace(disk=SimpleNamespace(is_own=True))
    made = cast(Scene, SimpleNamespace(server=server, disk=SimpleNamespace(is_own=True)))
    reasons = {kind: incident.impossible(made) for kind, incident in every().items()}
    assert {kind for kind, reason in reasons.items() if reason} == {
        "disk full",
        "file system read-only",
        "writes fail",
        "fsync fails",
        "slow disk",
        "database truncated",
        "database overwritten",
    }
    assert all("server" in reason for reason in reasons.values() if reason)


@pytest.mark.parametrize(("met", "ends"), [(1, 5), (0, 5 + LONGER_BLOCKS)])
def test_an_incident_lasts_longer_until_it_meets_something_and_not_for_ever(met: int, ends: int) -> None:
    bait = Bait("bait", 5)
    bait.met = met
    assert next(passed for passed in range(1, 100) if has_ended(bait, passed, 1_000)) == ends
    bait.met = 1
    assert has_ended(bait, 20, 1_000)


@pytest.mark.parametrize("kind", ["logs dropped", "logs of another block"])
def test_who_spoils_logs_sees_to_it_that_there_are_some(kind: str) -> None:
    fault, where = NodeFault(kind, random.Random(1)), scene()
    fault.begin(where)
    for _ in range(4):
        fault.step(where)
    assert where.world == {"stir": 4}


@pytest.mark.parametrize("kind", ["transaction swallowed", "receipts appear and vanish"])
def test_who_spoils_transactions_sees_to_it_that_some_are_sent(kind: str) -> None:
    fault, where = NodeFault(kind, random.Random(1)), scene()
    fault.begin(where)
    for _ in range(16):
        fault.step(where)
    assert where.world == {"fall": 3}


def test_a_fault_that_met_nothing_at_one_endpoint_goes_to_the_other_and_back() -> None:
    """Whoever is in quarantine for an earlier lie is not asked. Never are both bad."""
    fault, where = NodeFault("null blocks", random.Random(1)), scene()
    first, second = where.proxies
    fault.begin(where)
    seen = []
    for _ in range(9):
        seen.append((len(first.faults), len(second.faults)))
        fault.step(where)
    assert seen == [(1, 0)] * 4 + [(0, 1)] * 4 + [(1, 0)]
    fault.end(where)
    assert first.faults == second.faults == []


def test_a_fault_that_met_something_stays_where_it_is() -> None:
    fault, where = NodeFault("null blocks", random.Random(1)), scene()
    fault.begin(where)
    where.proxies[0].faults[0].hits = 1
    for _ in range(9):
        fault.step(where)
    assert len(where.proxies[0].faults) == 1


@pytest.mark.parametrize("kind", [kind for kind in faults.KINDS if kind.startswith(("heads", "pushed", "sub"))])
def test_what_is_pushed_is_spoiled_where_something_is_pushed(kind: str) -> None:
    for seed in range(20):
        fault, where = NodeFault(kind, random.Random(seed)), scene()
        fault.begin(where)
        assert len(where.proxies[0].faults) == 1
