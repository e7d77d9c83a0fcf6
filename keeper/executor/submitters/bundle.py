"""Toward a block as a bundle: all of it, in its order and in that block, or nothing and no gas paid (`eth_sendBundle`).

Transactions of one wallet hang together by their nonces, so one submission is one bundle. It is simulated first
(`eth_callBundle`), and only what precedes the first that would fail is offered. A bundle is for the next `blocks`
blocks, and is offered again with every block in which it still waits, because the node we follow never sees it.
Behind a price update that is not mined yet, the bundle begins with the update and is for one block.
Source: https://docs.flashbots.net, "JSON-RPC Endpoints"; builders follow the same methods and header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import structlog

from keeper.core.errors import ConfigError, KeeperError, RpcMalformed, RpcRefused
from keeper.core.secret import Secret
from keeper.executor.ahead import Ahead
from keeper.executor.ports import Node
from keeper.executor.submitters.http import Endpoint, Identity
from keeper.executor.submitters.tip import height
from keeper.executor.transaction import transaction_hash

log = structlog.get_logger(__name__)

_METHOD_NOT_FOUND = -32601


@dataclass(frozen=True)
class Options:
    url: Secret = field(metadata={"doc": "The relay or builder.", "schemes": ("http", "https")})
    identity: Secret | None = field(
        default=None,
        metadata={"doc": "Key that signs requests, not the wallet's; absent: one made up at every start."},
    )
    blocks: int = field(default=1, metadata={"doc": "For how many coming blocks each bundle is offered."})
    simulate: bool = field(
        default=True, metadata={"doc": "Let it simulate the bundle first, and offer only what succeeds."}
    )
    builder_tip: Decimal = field(
        default=Decimal(0),
        metadata={"doc": "Share of a liquidation's profit that our contract pays to the block's builder."},
    )


class Bundles:
    def __init__(self, endpoint: Endpoint, node: Node, blocks: int, simulate: bool) -> None:
        self.name = endpoint.name
        self.ordered_by_fee = False
        self._endpoint = endpoint
        self._node = node
        self._blocks = blocks
        self._simulates = simulate

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        target = await height(self._node) + 1
        refusal = await self._first_failure(raws, target) if self._simulates else None
        count, reason = (len(raws), None) if refusal is None else refusal
        for block in range(target, target + self._blocks) if count else ():
            await self._endpoint.call("eth_sendBundle", [{"txs": _hex(raws[:count]), "blockNumber": hex(block)}])
        return [None if index < count else reason for index in range(len(raws))]

    def takes(self, ahead: Ahead) -> bool:
        return ahead.raw is not None

    async def submit_behind(self, ahead: Ahead, raws: Sequence[bytes], block: int) -> list[KeeperError | None]:
        """The update and ours as one bundle; where any of it would fail, none of it is offered."""
        assert ahead.raw is not None
        together = [ahead.raw, *raws]
        refusal = await self._first_failure(together, block) if self._simulates else None
        if refusal is not None:
            return [refusal[1]] * len(raws)
        await self._endpoint.call("eth_sendBundle", [{"txs": _hex(together), "blockNumber": hex(block)}])
        return [None] * len(raws)

    async def check(self) -> str:
        return f"{await self._endpoint.reach()}, bundles{' after simulation' if self._simulates else ''}"

    async def close(self) -> None:
        await self._endpoint.close()

    async def _first_failure(self, raws: Sequence[bytes], target: int) -> tuple[int, RpcRefused] | None:
        """Which transaction would fail first, and why; None when none would."""
        wish = {"txs": _hex(raws), "blockNumber": hex(target), "stateBlockNumber": "latest"}
        try:
            answer = await self._endpoint.call("eth_callBundle", [wish])
        except RpcRefused as error:
            if error.code != _METHOD_NOT_FOUND:
                return 0, error
            self._simulates = False
            log.info("bundle_simulation_unsupported", submitter=self.name, error=str(error))
            return None
        results = answer.get("results") if isinstance(answer, Mapping) else None
        if not isinstance(results, list) or not all(isinstance(result, Mapping) for result in results):
            raise RpcMalformed(f"{self.name} answered eth_callBundle without results")
        for index, result in enumerate(results[: len(raws)]):
            failure = result.get("error")
            if failure is not None:
                shown = f"0x{transaction_hash(raws[index]).hex()} fails in the bundle"
                return index, RpcRefused(f"{self.name}: {shown}: {result.get('revert') or failure}")
        if len(results) < len(raws):
            raise RpcMalformed(f"{self.name} simulated {len(results)} of {len(raws)} transactions")
        return None


def build(config: Mapping[str, Any], node: Node, chain_id: int) -> Bundles:
    if config["blocks"] < 1:
        raise ConfigError(f"submitter {config['name']}: blocks is {config['blocks']}; give at least 1")
    endpoint = Endpoint(config["name"], config["url"], Identity(config["identity"]))
    return Bundles(endpoint, node, config["blocks"], config["simulate"])


def _hex(raws: Sequence[bytes]) -> list[str]:
    return ["0x" + raw.hex() for raw in raws]
