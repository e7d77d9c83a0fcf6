"""One campaign: block after block, incident after incident, and at the end the ledger."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keeper.devnet.errors import DevnetError
from scripts.campaignlib.faults import ON_DEMAND
from scripts.campaignlib.incidents import Incident, deck
from scripts.campaignlib.ledger import Beat, Loss
from scripts.campaignlib.scene import CONFIRMATIONS, Scene, open_scene

ALL_KINDS = ("aave_v3", "morpho_blue", "venus", "perp_v2")
STORES = ("sqlite", "postgres")
_PAUSE_BLOCKS = (1, 4)
_CALM_BLOCKS = 10
_QUIET_S = 120.0
_AGAIN_WITHIN_BLOCKS = 60
LONGER_BLOCKS = 30
"""An incident that has met nothing waits for so many blocks more."""
_LOOKS, _LOOK_S = 4, 1.2
_LEEWAY = 0.75
"""A block that came sooner than this share of the usual interval left no fair time to act on the one before it."""

Json = dict[str, Any]
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a campaign found. faults: incidents that happened, by kind; hits: how often each had an effect. left_out:
    kinds that cannot be here, with the reason. met_nothing: incidents that waited in vain."""

    seed: int
    minutes: float
    blocks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    groups: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    met_nothing: Counter[str] = field(default_factory=Counter)
    losses: list[Loss] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    exits: list[Json] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)
    late: Sequence[str] = ()
    lags: list[int] = field(default_factory=list)
    memory_kib: list[int] = field(default_factory=list)
    kills: int = 0
    lives: int = 0
    notices: int = 0
    repeated: int = 0
    transactions: int = 0
    mined: int = 0
    liquidated: int = 0
    positions_compared: int = 0
    said: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        return len(self.losses)


class Campaign:
    def __init__(self, scene: Scene, outcome: Outcome, say: Say, longest_blocks: int) -> None:
        self._scene = scene
        self._longest_blocks = longest_blocks
        self._outcome = outcome
        self._say = say
        self._incident: Incident | None = None
        self._ending: list[tuple[Incident, int]] = []
        self._block = 0
        self._fair = self._heard = True

    # --- the run

    def run(self, until: float, drawn: Iterator[Incident]) -> None:
        """Blocks and incidents until the clock says so, or there are no more incidents."""
        scene = self._scene
        scene.keeper.start()
        for _ in range(3):
            self._pass_block()
        while time.monotonic() < until:
            incident = next(drawn, None)
            if incident is None:
                break
            self._befall(incident)
            for _ in range(min(scene.chance.randint(*_PAUSE_BLOCKS), self._longest_blocks)):
                self._pass_block()

    def _befall(self, incident: Incident) -> None:
        scene, outcome = self._scene, self._outcome
        outcome.groups[incident.kind] = incident.group
        if (reason := incident.impossible(scene)) is not None:
            outcome.left_out[incident.kind] = reason
            return
        for _ in range(_AGAIN_WITHIN_BLOCKS):  # what befalls, befalls a daemon that runs
            if scene.keeper.alive:
                break
            self._pass_block()
        self._say(f"block {scene.world.chain.block_number}: {incident.kind}")
        self._incident = incident
        self._fair &= incident.fair
        self._heard &= incident.heard
        incident.begin(scene)
        for passed in itertools.count(1):
            self._pass_block()
            incident.step(scene)
            if has_ended(incident, passed, self._longest_blocks):
                break
        incident.end(scene)
        self._incident = None
        outcome.faults[incident.kind] += incident.hits > 0
        outcome.met_nothing[incident.kind] += not incident.hits
        outcome.hits[incident.kind] += incident.hits

    # --- a block

    def _pass_block(self) -> None:
        scene, ledger = self._scene, self._scene.ledger
        started = time.monotonic()
        chain = scene.world.chain
        if ledger.beats:
            last = ledger.beats[-1]
            last.until = started
            in_time = started - last.at >= _LEEWAY * scene.interval_s
            last.fair = last.fair and self._fair and in_time
            last.heard = last.heard and last.fair and self._heard
        incident = self._incident
        self._fair = incident is None or incident.fair
        self._heard = incident is None or incident.heard
        scene.world.beat()
        number = chain.block_number
        mined = time.monotonic()
        self._note(Beat(number, "0x" + chain.block_hash(number).hex(), mined, fair=True, heard=True))
        ledger.judge()
        ledger.hear(scene.inbox.arrivals)
        self._sample(number)
        while (left := mined + scene.interval_s - time.monotonic()) > 0:
            self._fair &= scene.keeper.alive
            time.sleep(min(left, 0.02))
        self._fair &= scene.keeper.alive

    def _note(self, beat: Beat) -> None:
        self._scene.ledger.beats.append(beat)
        self._outcome.blocks += 1

    def _sample(self, number: int) -> None:
        scene, outcome = self._scene, self._outcome
        self._block += 1
        if self._block % 5 == 0 and scene.keeper.alive:
            cursor = scene.keeper.cursor()
            if cursor is not None:
                outcome.lags.append(max(0, number - 1 - cursor.number))
            outcome.memory_kib.append(scene.keeper.memory_kib())
        self._resume()

    def _resume(self) -> None:
        """What an operator does about a breaker that tripped: look, and go on."""
        tripped = [one for one in self._scene.inbox.arrivals if one.notice["event"] == "tripped"]
        if len(tripped) > self._outcome.happened["breakers tripped"]:
            self._outcome.happened["breakers tripped"] = len(tripped)
            self._scene.keeper.run("resume")
            self._fair = False  # nothing is sent until somebody has looked

    # --- the end

    def finish(self) -> None:
        """Calm, until everything is told and settled; then the books are held against the chain."""
        scene, outcome = self._scene, self._outcome
        scene.interval_s = scene.usual_interval_s
        scene.keeper.wait_ready()
        for _ in range(_CALM_BLOCKS):  # what is liquidatable by now is settled
            self._pass_block()
        scene.world.be_calm()
        for _ in range(CONFIRMATIONS + 3):
            self._pass_block()
        deadline = time.monotonic() + _QUIET_S
        while not (quiet := self._stays_quiet()) and time.monotonic() < deadline:
            self._pass_block()
        if not quiet:
            outcome.findings.append(f"not quiet after {_QUIET_S:.0f} s: {scene.keeper.undelivered()[:5]} undelivered")
        scene.ledger.beats[-1].until = time.monotonic()
        code = scene.keeper.stop()
        if code != 0:
            outcome.findings.append(f"SIGTERM ended with {code}")
        self._settle()

    def _stays_quiet(self) -> bool:
        """What a block calls for is told after it was stored and acted on, so one look is not enough."""
        for _ in range(_LOOKS):
            if not self._is_quiet():
                return False
            time.sleep(max(_LOOK_S, self._scene.usual_interval_s))
        return self._is_quiet()

    def _is_quiet(self) -> bool:
        scene = self._scene
        cursor, tip = scene.keeper.cursor(), scene.world.chain.block_number
        behind = cursor is None or cursor.number < tip
        open_ones = [row for row in scene.keeper.liquidations() if row["status"] not in _SETTLED]
        return not behind and not open_ones and not scene.keeper.undelivered()

    def _settle(self) -> None:
        scene, outcome, ledger = self._scene, self._outcome, self._scene.ledger
        wallet = scene.world.chain.liquidator.address
        liquidations, transactions = scene.keeper.liquidations(), scene.keeper.transactions()
        ledger.settle(wallet, scene.sent, transactions, liquidations, scene.inbox.arrivals)
        self._compare_with_fresh_index()
        ledger.losses += [Loss("notice false", problem) for problem in scene.inbox.problems]
        outcome.losses = ledger.losses
        outcome.findings += scene.findings
        outcome.exits = scene.keeper.exits
        outcome.findings += [f"ended without a clear word: {end}" for end in outcome.exits if not is_clear(end)]
        outcome.happened += scene.world.happened
        outcome.excused = ledger.excused
        outcome.delays, outcome.late = ledger.delays, ledger.late
        outcome.kills, outcome.lives = scene.keeper.kills, scene.keeper.lives
        outcome.notices, outcome.repeated = len(scene.inbox.arrivals), scene.inbox.repeated
        outcome.transactions = len(transactions)
        outcome.mined = int(scene.world.chain.rpc("eth_getTransactionCount", wallet, "latest"), 16)
        outcome.liquidated = sum(row["status"] == "confirmed" for row in liquidations)
        outcome.said = scene.keeper.said

    def _compare_with_fresh_index(self) -> None:
        """Another store, made of the same chain at once and without a fault, holds the same positions."""
        scene, outcome = self._scene, self._outcome
        cursor = scene.keeper.cursor()
        assert cursor is not None
        fresh = scene.folder / "fresh.toml"
        for left in scene.folder.glob("fresh.db*"):  # of an earlier campaign that was kept
            left.unlink()
        text = scene.keeper.config.read_text()
        lines = [
            f'rpc = ["{scene.world.chain.rpc_url}"]'
            if line.startswith("rpc = ")
            else f'url = "sqlite:///{scene.folder / "fresh.db"}"'
            if line.startswith(('url = "sqlite:', 'url = "postgresql:'))
            else line
            for line in text.splitlines()
        ]
        fresh.write_text("\n".join(lines) + "\n")
        code, _, said = scene.keeper.run("backfill", "--to", str(cursor.number), config=fresh)
        if code != 0:
            outcome.findings.append(f"backfill ended with {code}: {said[-500:]}")
            return
        theirs, ours = self._positions(fresh), self._positions(scene.keeper.config)
        outcome.positions_compared = len(theirs)
        for name in sorted(theirs.keys() | ours.keys()):
            if theirs.get(name) != ours.get(name):
                scene.ledger.losses.append(Loss("index", f"{name}: {ours.get(name)} instead of {theirs.get(name)}"))
        code, _, said = scene.keeper.run("health", "--verify")
        if code != 0:
            scene.ledger.losses.append(Loss("index", f"health --verify: {said[-500:]}"))

    def _positions(self, config: Path) -> dict[str, Json]:
        """As `keeper health` tells them, without what depends on when they were looked at."""
        code, told, said = self._scene.keeper.run("health", "--json", config=config)
        if code != 0:
            self._outcome.findings.append(f"health ended with {code}: {said[-500:]}")
        rows = [json.loads(line) for line in told.splitlines()]
        return {row["position"]: {key: row[key] for key in row if key not in _MOMENTARY} for row in rows}


_SETTLED = ("confirmed", "failed", "abandoned")
_MOMENTARY = ("outlook", "band", "call_wad")


def is_clear(end: Mapping[str, Any]) -> bool:
    """Whether a daemon that ended said why in words that are meant for an operator, and not by a traceback. (What it
    logged on the way, an error of a library's among it, is in lines of JSON.)"""
    said = [str(line) for line in end["said"]]
    return any(line.startswith("keeper: ") for line in said) and not any(line.startswith("Traceback") for line in said)


def has_ended(incident: Incident, passed: int, longest_blocks: int) -> bool:
    """After so many blocks: by itself, or once its time is over and it has met something, or has waited in vain."""
    usual = min(incident.blocks, longest_blocks)
    return incident.over or (passed >= usual and (incident.hits > 0 or passed >= usual + LONGER_BLOCKS))


def draw(scene: Scene, only: Sequence[str] | None, outage_blocks: int, times: int | None) -> Iterator[Incident]:
    """Every kind once in an order of chance, then again, for so many times or for ever."""
    made = deck(scene.chance, outage_blocks)
    kinds = [kind for kind in made if kind not in ON_DEMAND] if only is None else list(only)
    for _ in itertools.count() if times is None else range(times):
        for kind in scene.chance.sample(kinds, len(kinds)):
            yield made[kind]()


def run(
    folder: Path,
    seed: int,
    minutes: float,
    say: Say,
    *,
    interval_s: float = 2.0,
    kinds: Sequence[str] = ALL_KINDS,
    store: str = "sqlite",
    size: int = 24,
    crowd: int = 0,
    second_opinion: bool = True,
    only: Sequence[str] | None = None,
    outage_blocks: int = 1_000,
    times: int | None = None,
    longest_blocks: int = 1_000,
) -> Outcome:
    """store: of `STORES`. size: positions that things happen to. crowd: how many more are below their call line all the
    time. second_opinion: of `[defences]`; without it the fast lane acts. only: kinds of incidents; all by default.
    times: how often each; for the whole time by default. longest_blocks: that any of them lasts.
    """
    began = time.monotonic()
    outcome = Outcome(seed, minutes)
    with open_scene(
        folder,
        seed,
        interval_s=interval_s,
        kinds=kinds,
        size=size,
        crowd=crowd,
        store=store,
        second_opinion=second_opinion,
    ) as scene:
        campaign = Campaign(scene, outcome, say, longest_blocks)
        try:
            campaign.run(began + minutes * 60, draw(scene, only, outage_blocks, times))
            campaign.finish()
        except DevnetError as error:
            raise RuntimeError(f"the chain of the campaign failed: {error}") from error
        finally:
            outcome.minutes = (time.monotonic() - began) / 60
    return outcome
