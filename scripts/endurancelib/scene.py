"""The daemon under load with all that it lives on: a chain, a book of which most is only stored, three receivers of
notices, a disk that can be made slow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keeper.config.load import load_config
from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from keeper.wire import House
from scripts.benchlib.stored import fill, index
from scripts.campaignlib.fsync import LISTENER, Syncs, is_possible
from scripts.campaignlib.inbox import DEAF, SECRET, SLOW, Inbox, open_inbox
from scripts.campaignlib.keeper import Keeper
from scripts.endurancelib.world import World

CHANNELS = ("prompt", "slow", "deaf")
"""One receiver answers at once, one takes two seconds for most, one lets most wait until they give up. The last two are
told at most so many messages a minute, as an operator would have it."""

PER_MINUTE = 30
_CURED_AT = "1.13"
"""Between what the crowd has while it is called and what it has otherwise."""

_HISTORY = 600  # states that the node keeps, eight megabytes each: nothing older than some minutes is asked for


@dataclass(frozen=True)
class Size:
    """How much of everything. stored: positions that only the index knows; the rest is real on the chain."""

    stored: int = 1_000_000
    crowd: int = 10_000
    standing: int = 300
    storm_events: int = 5_000


@dataclass
class Scene:
    folder: Path
    size: Size
    world: World
    keeper: Keeper
    inboxes: dict[str, Inbox]
    syncs: Syncs | None
    database: Path
    pulse: Path


@contextmanager
def open_scene(folder: Path, size: Size, seed: int, say: Callable[[str], None]) -> Iterator[Scene]:
    """Everything but the daemon runs."""
    with (
        open_inbox(_chance(seed)) as prompt,
        open_inbox(_chance(seed + 1)) as slow,
        open_inbox(_chance(seed + 2)) as deaf,
        DevChain.start(manual_mining=True, gas_limit=400_000_000, history=_HISTORY, first_come=True) as chain,
    ):
        slow.trouble, deaf.trouble = SLOW, DEAF
        inboxes = dict(zip(CHANNELS, (prompt, slow, deaf), strict=True))
        say(f"{size.standing} loans and a crowd of {size.crowd:,} move into the chain")
        world = World(chain, seed, crowd=size.crowd, standing=size.standing, storm_events=size.storm_events)
        config = write_config(
            folder / "keeper.toml",
            chain,
            mode="live",
            protocols=("aave_v3", "morpho_blue"),
            margin_calls={"target": _CURED_AT},
            notifiers=[
                {"kind": "webhook", "name": name, "url": inbox.url, "secret": "env:ENDURANCE_SECRET"}
                | ({} if name == "prompt" else {"max_per_minute": PER_MINUTE})
                for name, inbox in inboxes.items()
            ],
            jobs={"reconcile_minutes": 100_000},  # what is only stored is not on the chain to be compared
            breakers={"max_failures": 10_000, "max_lost_races": 10_000},
            more={"solvency": {"every_minutes": 6}},
        )
        environment = {"KEEPER_PRIVATE_KEY": chain.liquidator.private_key, "ENDURANCE_SECRET": SECRET}
        house = House(config, load_config(config, environment=environment))
        asyncio.run(index(house, chain.block_number))
        say(f"{size.stored:,} positions are stored beside them")
        fill(house, size.stored)
        keeper = Keeper(config, environment, folder / "keeper.log", config)
        syncs = Syncs() if is_possible() else None
        if syncs is not None:
            keeper.prepare, keeper.pass_fds, keeper.born = syncs.prepare, (LISTENER,), syncs.born
        try:
            database = folder / "var" / "keeper.db"
            yield Scene(folder, size, world, keeper, inboxes, syncs, database, house.files.pulse)
        finally:
            keeper.end()


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (repeatable, which is the point)
