"""Everything that a campaign plays with, put up and taken down together."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keeper.devnet.configuration import write_config
from scripts.campaignlib.fsync import LISTENER, Syncs, is_possible
from scripts.campaignlib.inbox import SECRET, Inbox, open_inbox
from scripts.campaignlib.keeper import Keeper
from scripts.campaignlib.ledger import Ledger
from scripts.campaignlib.machine import Clock, Disk
from scripts.campaignlib.proxy import Proxy, proxies
from scripts.campaignlib.server import Server, open_server
from scripts.campaignlib.world import World

CONFIRMATIONS = 3


@dataclass
class Scene:
    """findings: what was wrong and is no loss, in words. interval_s: between blocks. server: where the store is one's;
    else it is the file `database`."""

    folder: Path
    chance: random.Random
    world: World
    keeper: Keeper
    proxies: list[Proxy]
    inbox: Inbox
    ledger: Ledger
    disk: Disk
    clock: Clock
    syncs: Syncs
    database: Path
    server: Server | None
    usual_interval_s: float
    interval_s: float
    findings: list[str] = field(default_factory=list)

    @property
    def sent(self) -> dict[str, str]:
        return {tx_hash: raw for proxy in self.proxies for tx_hash, raw in proxy.sent.items()}


@contextmanager
def open_scene(
    folder: Path,
    seed: int,
    *,
    interval_s: float,
    kinds: Sequence[str],
    size: int,
    crowd: int,
    store: str,
    second_opinion: bool = True,
) -> Iterator[Scene]:
    """A chain, two endpoints (the second over HTTP with an even seed, else a websocket too), a receiver and a daemon
    that is not started yet."""
    chance = _chance(seed)
    disk = Disk(folder / "disk")
    try:
        with (
            ExitStack() as stack,
            open_inbox(_chance(seed + 1)) as inbox,
            World.begin(_chance(seed + 2), inbox, kinds, size, crowd) as world,
            proxies(("first", "second"), world.chain.anvil.port) as endpoints,
        ):
            first, second = endpoints
            world.chain.anvil.around_mining = first.turns.mining
            database = disk.folder / "keeper.db"
            server = stack.enter_context(open_server(folder / "server.log")) if store == "postgres" else None

            def configured(name: str, store_url: str) -> Path:
                return write_config(
                    folder / name,
                    world.chain,
                    mode="live",
                    rpc=[first.ws, second.http if seed % 2 == 0 else second.ws],
                    store_url=store_url,
                    protocols=kinds,
                    node={"request_timeout_s": 1.0, "poll_interval_s": 0.5},
                    executor={"confirmations": CONFIRMATIONS},
                    more={}
                    if second_opinion
                    else {"defences": {"max_block_ahead_minutes": 0, "second_opinion": False}},
                    notifiers=[{"kind": "webhook", "url": inbox.url, "secret": "env:CAMPAIGN_WEBHOOK_SECRET"}],
                )

            config = configured("keeper.toml", server.url if server else f"sqlite:///{database}")
            reading = configured("reading.toml", server.direct_url) if server else config
            clock, syncs = Clock(folder / "clock"), Syncs()
            environment = {
                "KEEPER_PRIVATE_KEY": world.chain.liquidator.private_key,
                "CAMPAIGN_WEBHOOK_SECRET": SECRET,
                **clock.environment,
            }
            keeper = Keeper(config, environment, folder / "keeper.log", reading)
            if is_possible():
                keeper.prepare, keeper.pass_fds, keeper.born = syncs.prepare, (LISTENER,), syncs.born
            ledger = Ledger(world.chain, world)
            try:
                yield Scene(
                    folder,
                    chance,
                    world,
                    keeper,
                    endpoints,
                    inbox,
                    ledger,
                    disk,
                    clock,
                    syncs,
                    database,
                    server,
                    interval_s,
                    interval_s,
                )
            finally:
                keeper.end()
    finally:
        disk.close()


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  (repeatable, which is the point)
