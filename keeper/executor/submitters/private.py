"""Toward a block past the mempool: a relay shows a transaction to builders only (`eth_sendPrivateTransaction`).

The node we follow never sees it before it is mined, so every block in which it still waits it is sent again, which a
relay that has it already takes as nothing new.
Source: https://docs.flashbots.net, "eth_sendPrivateTransaction"; a tip of zero is never shared with builders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from keeper.core.errors import ConfigError, KeeperError, RpcMalformed
from keeper.core.secret import Secret
from keeper.executor.ports import Node
from keeper.executor.refusals import is_known
from keeper.executor.submitters.http import Endpoint, Identity
from keeper.executor.submitters.tip import height
from keeper.executor.transaction import transaction_hash


@dataclass(frozen=True)
class Options:
    url: Secret = field(metadata={"doc": "The relay.", "schemes": ("http", "https")})
    identity: Secret | None = field(
        default=None,
        metadata={"doc": "Key that signs requests, not the wallet's; absent: one made up at every start."},
    )
    blocks: int = field(default=25, metadata={"doc": "For how many blocks the relay keeps trying."})
    fast: bool = field(default=True, metadata={"doc": "Share it with all builders, not only with the relay's own."})
    builder_tip: Decimal = field(
        default=Decimal(0),
        metadata={"doc": "Share of a liquidation's profit that our contract pays to the block's builder."},
    )


class PrivateRelay:
    def __init__(self, endpoint: Endpoint, node: Node, blocks: int, fast: bool) -> None:
        self.name = endpoint.name
        self.ordered_by_fee = False
        self._endpoint = endpoint
        self._node = node
        self._blocks = blocks
        self._fast = fast

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """One request each, since relays take no batches; all on their way at once, in this order."""
        last = await height(self._node) + self._blocks
        return list(await asyncio.gather(*(self._submit(raw, last) for raw in raws)))

    async def check(self) -> str:
        return f"{await self._endpoint.reach()}, private transactions"

    async def close(self) -> None:
        await self._endpoint.close()

    async def _submit(self, raw: bytes, last: int) -> KeeperError | None:
        wish = {"tx": "0x" + raw.hex(), "maxBlockNumber": hex(last), "preferences": {"fast": self._fast}}
        try:
            answer = await self._endpoint.call("eth_sendPrivateTransaction", [wish])
        except KeeperError as error:
            return None if is_known(error) else error
        expected = "0x" + transaction_hash(raw).hex()
        return None if answer == expected else RpcMalformed(f"{self.name} answered {answer!r} for {expected}")


def build(config: Mapping[str, Any], node: Node, chain_id: int) -> PrivateRelay:
    if config["blocks"] < 1:
        raise ConfigError(f"submitter {config['name']}: blocks is {config['blocks']}; give at least 1")
    endpoint = Endpoint(config["name"], config["url"], Identity(config["identity"]))
    return PrivateRelay(endpoint, node, config["blocks"], config["fast"])
