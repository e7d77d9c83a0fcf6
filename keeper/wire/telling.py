"""The telling half: channels and their rules, what a notice says, and what people ask of the deliveries."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keeper.config.deployment import Config
from keeper.config.plugins import Plugin
from keeper.config.routing import BOARD
from keeper.core.ports import Notifier, Store
from keeper.wire.files import Files
from keeper.wire.kinds import builder

if TYPE_CHECKING:
    from keeper.evaluator.directory import Directory
    from keeper.notifier.invitation import Invitation
    from keeper.notifier.outbox import Deliverer
    from keeper.notifier.requests import Requests
    from keeper.notifier.routing import Router
    from keeper.upkeep.conditions import Conditions
    from keeper.upkeep.names import Names


@dataclass(frozen=True, slots=True)
class Telling:
    config: Config
    files: Files
    board: Mapping[str, Any] | None
    """The notifier that posts on chain, where it may."""

    def notifiers(self) -> list[Notifier]:
        return [
            builder("keeper.notifier", one.kind)(one.settings, one.name)
            for one in self.config.notifiers
            if one.kind != BOARD or self.board is not None
        ]

    def router(self, channels: Sequence[Notifier]) -> Router:
        """The rules of these channels."""
        from keeper.config.routing import route_of
        from keeper.notifier.routing import Router

        names = {channel.name for channel in channels}
        return Router.of(route_of(one.settings) for one in self.config.notifiers if one.name in names)

    def deliverer(self, store: Store, channels: Sequence[Notifier]) -> Deliverer:
        from keeper.notifier.outbox import Deliverer

        configured = [one.name for one in self.config.notifiers]
        router, requests = self.router(channels), self.requests()
        return Deliverer(store, channels, time.time, router=router, requests=requests, configured=configured)

    def requests(self) -> Requests:
        """What people ask of the deliveries."""
        from keeper.notifier.requests import Requests

        return Requests(self.files.requests)

    def invitation(self, router: Router) -> Invitation:
        """How notices tell people to acknowledge them."""
        from keeper.notifier.invitation import Invitation

        asked = self.config.acknowledgements
        return Invitation(router, self.config.chain.id, asked.secret, asked.link, asked.valid_hours * 3600)

    def conditions(self, store: Store, channels: Sequence[Notifier], wake: Callable[[], None]) -> Conditions:
        """What operators are told."""
        from keeper.upkeep.conditions import Conditions

        operators = tuple(name for name in self.config.operator.channels if name in {one.name for one in channels})
        return Conditions(store, self.router(channels), operators, self.directory(store, None), time.time, wake)

    def names(self, store: Store) -> Names:
        from keeper.upkeep.ens import registry_of
        from keeper.upkeep.names import Names

        configured = self.config.names
        registry = registry_of(self.config.chain.id, configured.ens_registry) if configured.ens else None
        return Names(configured.labels, store, registry, configured.ens_hours * 3600, time.time)

    def directory(self, store: Store, wallet: bytes | None) -> Directory:
        """wallet: whose transactions are ours; None for nobody's."""
        from keeper.config.notices import EXPLORERS
        from keeper.evaluator.directory import Directory
        from keeper.protocols.addresses import checksummed

        chain, ours = self.config.chain, (wallet, self.config.executor.liquidator)
        return Directory(
            show=checksummed,
            label=self.names(store).of,
            pages={plugin.name: _page(plugin) for plugin in self.config.protocols},
            explorer=EXPLORERS.get(chain.id, "") if chain.explorer is None else chain.explorer,
            chain_id=chain.id,
            ours=frozenset(account for account in ours if account is not None),
        )


def _page(plugin: Plugin) -> str:
    """The configured page, or the one that the protocol's module names."""
    configured: str | None = plugin.settings["page"]
    module = importlib.import_module(f"keeper.protocols.{plugin.kind}")
    return str(getattr(module, "PAGE", "")) if configured is None else configured
