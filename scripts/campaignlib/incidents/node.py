"""Endpoints that fail and lie."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

from keeper.devnet.errors import DevnetError
from scripts.campaignlib import faults
from scripts.campaignlib.incidents.base import Incident, between_lives
from scripts.campaignlib.proxy import Fault, Hang

if TYPE_CHECKING:
    from scripts.campaignlib.scene import Scene

_AT_ONCE = 100


class NodeFault(Incident):
    """One endpoint is bad, the other one is honest. What waits for transactions or logs sees to it that there are some;
    and where the bad one is not asked (it is the second, or still in quarantine for an earlier lie), it is the other
    one's turn."""

    group = "node"
    _PUSHED = ("pushed head", "heads", "subscription")
    _SENT = ("transaction", "already", "nonce", "receipts")
    _MOVES_EVERY, _FALLS_EVERY = 4, 8

    def __init__(self, kind: str, chance: random.Random) -> None:
        super().__init__(kind, chance.randrange(4, 12))
        self._chance = chance
        self._fault: Fault | None = None
        self._where = 0 if chance.random() < 0.85 else 1  # the one that is asked first
        self._passed = 0

    def begin(self, scene: Scene) -> None:
        if self.kind.startswith(self._PUSHED):
            self._where = 0  # the second may be one that nothing is pushed from
        self._put(scene)
        if self.kind.startswith(self._SENT):
            scene.world.fall()

    def _put(self, scene: Scene) -> None:
        proxy = scene.proxies[self._where]
        self._fault = (faults.KINDS | faults.ON_DEMAND)[self.kind](self._chance, proxy)
        proxy.put(self._fault)
        if self.kind == "wrong chain id":
            proxy.drop()  # it is asked on connecting

    def step(self, scene: Scene) -> None:
        if self.hits:
            return
        self._passed += 1
        if self._passed % self._MOVES_EVERY == 0:
            self.end(scene)
            self._where = 1 - self._where
            self._put(scene)
        if self.kind.startswith("logs"):
            scene.world.stir()
        if self.kind.startswith(self._SENT) and self._passed % self._FALLS_EVERY == 0:
            scene.world.fall()

    def end(self, scene: Scene) -> None:
        assert self._fault is not None
        scene.proxies[self._where].take(self._fault)
        if self.kind in ("hang", "stopped"):
            scene.proxies[self._where].drop()  # what hung shall not answer later

    @property
    def hits(self) -> int:
        return 0 if self._fault is None else self._fault.hits


class RangeErrors(Incident):
    """Logs of ranges are only asked for by who has missed more blocks than it follows one by one: it is dead while they
    pass, and finds an endpoint that refuses ranges."""

    group = "node"
    _MISSED = 200

    def __init__(self, chance: random.Random) -> None:
        super().__init__("range errors", chance.randrange(4, 8))
        self._fault = faults.Refusing(self.kind, faults.TOO_MANY_LOGS, faults.is_range)

    def begin(self, scene: Scene) -> None:
        scene.proxies[0].put(self._fault)
        with between_lives(scene.keeper):
            mine(scene, self._MISSED)
        scene.world.fall()

    def end(self, scene: Scene) -> None:
        scene.proxies[0].take(self._fault)

    @property
    def hits(self) -> int:
        return self._fault.hits


class Down(Incident):
    """One endpoint refuses connections."""

    group = "node"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("connection refused", chance.randrange(3, 8))
        self._where = chance.randrange(2)

    def begin(self, scene: Scene) -> None:
        scene.proxies[self._where].down()
        self.did = 1

    def end(self, scene: Scene) -> None:
        scene.proxies[self._where].up()


class Blackout(Incident):
    """No endpoint answers anything."""

    group = "node"
    fair = False

    def __init__(self, chance: random.Random) -> None:
        super().__init__("both endpoints silent", chance.randrange(3, 10))
        self._faults: list[Fault] = []

    def begin(self, scene: Scene) -> None:
        for proxy in scene.proxies:
            fault = faults.Refusing(self.kind, Hang())
            self._faults.append(fault)
            proxy.put(fault)
        scene.world.fall()

    def end(self, scene: Scene) -> None:
        for proxy, fault in zip(scene.proxies, self._faults, strict=True):
            proxy.take(fault)
            proxy.drop()

    @property
    def hits(self) -> int:
        return sum(fault.hits for fault in self._faults)


class TwoBranches(Incident):
    """The second endpoint follows a branch of its own, longer than the true one for a while."""

    group = "node"

    def __init__(self, chance: random.Random) -> None:
        super().__init__("endpoints on different branches", chance.randrange(4, 9))
        self._lead = chance.randrange(0, 3)
        self._fork: Any = None

    def begin(self, scene: Scene) -> None:
        self._fork = scene.world.chain.fork()
        self._fork.anvil.around_mining = scene.proxies[1].turns.mining
        self._fork.rpc("evm_setAutomine", False)
        self._fork.mine(1 + self._lead)
        scene.proxies[1].move(self._fork.anvil.port)
        self.did = 1

    def step(self, scene: Scene) -> None:
        if self._fork is None:
            return
        try:
            self._fork.mine()
        except DevnetError as error:  # forks of Anvil have been seen to hang; the chain itself goes on
            print(f"{self.kind}: the other branch is gone: {error}", file=sys.stderr)
            self.end(scene)

    def end(self, scene: Scene) -> None:
        if self._fork is None:
            return
        scene.proxies[1].move(scene.world.chain.anvil.port)
        scene.proxies[1].drop()
        self._fork.stop()
        self._fork = None

    @property
    def over(self) -> bool:
        return self._fork is None


class Outage(Incident):
    """Both endpoints are gone while a thousand blocks pass."""

    group = "node"
    fair = False
    heard = False

    def __init__(self, chance: random.Random, length: int) -> None:
        super().__init__(f"outage of {length} blocks", 2)
        self._length = length

    def begin(self, scene: Scene) -> None:
        for proxy in scene.proxies:
            proxy.down()
        scene.world.fall()
        mine(scene, self._length)
        self.did = 1

    def end(self, scene: Scene) -> None:
        for proxy in scene.proxies:
            proxy.up()


def mine(scene: Scene, blocks: int) -> None:
    """Empty ones, as fast as the chain can."""
    for start in range(0, blocks, _AT_ONCE):  # a node that works for longer is presumed gone
        scene.world.chain.mine(min(_AT_ONCE, blocks - start))
