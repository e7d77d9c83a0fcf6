"""Toward a block through MEV-Share: behind a transaction that its relay has and nobody sees (`mev_sendBundle`).

The relay's event stream tells of such a transaction by a hash and hints; a bundle that begins with this hash goes right
behind it, all or nothing. What is not behind anything is offered as a bundle of its own.
Source: https://docs.flashbots.net, "MEV-Share", "Understanding Bundles" and "Event Stream".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from keeper.core.errors import ConfigError, KeeperError, RpcMalformed
from keeper.core.secret import Secret
from keeper.executor.ahead import Ahead
from keeper.executor.ports import Hint, Node
from keeper.executor.submitters.hints import HintStream
from keeper.executor.submitters.http import Endpoint, Identity
from keeper.executor.submitters.tip import height

_VERSION = "v0.1"


@dataclass(frozen=True)
class Options:
    url: Secret = field(
        metadata={"doc": "The relay, such as `https://relay.flashbots.net`.", "schemes": ("http", "https")}
    )
    stream: Secret = field(
        metadata={"doc": "Its event stream, such as `https://mev-share.flashbots.net`.", "schemes": ("http", "https")}
    )
    identity: Secret | None = field(
        default=None,
        metadata={"doc": "Key that signs requests, not the wallet's; absent: one made up at every start."},
    )
    blocks: int = field(
        default=1, metadata={"doc": "For how many coming blocks a bundle that follows nothing is offered."}
    )
    builders: tuple[str, ...] = field(
        default=(), metadata={"doc": "Builders that may see our bundles, by name; empty: the relay's default."}
    )
    builder_tip: Decimal = field(
        default=Decimal(0),
        metadata={"doc": "Share of a liquidation's profit that our contract pays to the block's builder: our bid."},
    )


class MevShare:
    def __init__(
        self, endpoint: Endpoint, stream: Endpoint, hints: HintStream, node: Node, blocks: int, builders: Sequence[str]
    ) -> None:
        self.name = endpoint.name
        self.ordered_by_fee = False
        self._endpoint = endpoint
        self._stream = stream
        self._hints = hints
        self._node = node
        self._blocks = blocks
        self._builders = list(builders)

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        first = await height(self._node) + 1
        await self._send([_ours(raw) for raw in raws], first, first + self._blocks - 1)
        return [None] * len(raws)

    def takes(self, ahead: Ahead) -> bool:
        return ahead.hint_of == self.name or (not ahead.hint_of and ahead.raw is not None)

    async def submit_behind(self, ahead: Ahead, raws: Sequence[bytes], block: int) -> list[KeeperError | None]:
        """By the hash where the relay has the update, else with its bytes."""
        update = {"hash": ahead.name} if ahead.raw is None else _ours(ahead.raw)
        await self._send([update, *(_ours(raw) for raw in raws)], block, block)
        return [None] * len(raws)

    def hints(self) -> AsyncGenerator[Hint, None]:
        return self._hints.hints()

    async def check(self) -> str:
        return f"{await self._endpoint.reach()}, MEV-Share bundles; its event stream {await self._stream.reach()}"

    async def close(self) -> None:
        await self._endpoint.close()
        await self._stream.close()

    async def _send(self, body: Sequence[Mapping[str, Any]], first: int, last: int) -> None:
        """Raises RpcRefused when it said no, RetryableError when nobody can know."""
        bundle: dict[str, Any] = {
            "version": _VERSION,
            "inclusion": {"block": hex(first), "maxBlock": hex(last)},
            "body": list(body),
        }
        if self._builders:
            bundle["privacy"] = {"builders": self._builders}
        answer = await self._endpoint.call("mev_sendBundle", [bundle])
        if not isinstance(answer, Mapping) or not isinstance(answer.get("bundleHash"), str):
            raise RpcMalformed(f"{self.name} answered mev_sendBundle without a bundleHash: {answer!r}")


def build(config: Mapping[str, Any], node: Node, chain_id: int) -> MevShare:
    if config["blocks"] < 1:
        raise ConfigError(f"submitter {config['name']}: blocks is {config['blocks']}; give at least 1")
    endpoint = Endpoint(config["name"], config["url"], Identity(config["identity"]))
    stream = Endpoint(f"{config['name']} stream", config["stream"])
    hints = HintStream(config["name"], config["stream"])
    return MevShare(endpoint, stream, hints, node, config["blocks"], config["builders"])


def _ours(raw: bytes) -> Mapping[str, Any]:
    return {"tx": "0x" + raw.hex(), "canRevert": False}
