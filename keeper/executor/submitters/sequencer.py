"""Toward a block of a rollup by its sequencer's own endpoint, which is asked to do nothing else.

Such endpoints offer `eth_sendRawTransaction` alone: no batch, no read, no chain id. How the sequencer orders decides
how several transactions are handed over:

    fcfs      first come, first served (Arbitrum): one after the other, since a nonce that comes before its predecessor
              is held for a moment and then refused; tips buy nothing
    priority  by tip within a block (OP stack): all at once, since what comes too early waits for its predecessor
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.core.errors import ConfigError, KeeperError, RpcMalformed, RpcRefused
from keeper.core.secret import Secret
from keeper.executor.ports import Node
from keeper.executor.refusals import is_known
from keeper.executor.submitters.http import Endpoint
from keeper.executor.transaction import transaction_hash

ORDERINGS = ("fcfs", "priority")


@dataclass(frozen=True)
class Options:
    url: Secret = field(
        metadata={
            "doc": "The sequencer, such as `https://arb1-sequencer.arbitrum.io/rpc` or "
            "`https://mainnet-sequencer.base.org`.",
            "schemes": ("http", "https"),
        }
    )
    ordering: str = field(metadata={"doc": '`"fcfs"` (Arbitrum) or `"priority"` (OP stack).'})


class Sequencer:
    def __init__(self, endpoint: Endpoint, ordering: str) -> None:
        self.name = endpoint.name
        self.ordered_by_fee = ordering == "priority"
        self._endpoint = endpoint
        self._in_turn = ordering == "fcfs"

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        if not self._in_turn:
            return list(await asyncio.gather(*(self._submit(raw) for raw in raws)))
        outcomes: list[KeeperError | None] = []
        for raw in raws:
            outcomes.append(await self._submit(raw))
            if outcomes[-1] is not None:
                break  # what follows waits behind its nonce; it is handed over again with a later block
        # Without its words: whoever reads why one was refused would take them for said of the others.
        left = [RpcRefused(f"{self.name}: not sent, the one before it was not taken")] * len(raws)
        return [*outcomes, *left[len(outcomes) :]]

    async def check(self) -> str:
        order = "first come, first served" if self._in_turn else "ordered by tip"
        return f"{await self._endpoint.reach()}, {order}"

    async def close(self) -> None:
        await self._endpoint.close()

    async def _submit(self, raw: bytes) -> KeeperError | None:
        try:
            answer = await self._endpoint.call("eth_sendRawTransaction", ["0x" + raw.hex()])
        except KeeperError as error:
            return None if is_known(error) else error
        expected = "0x" + transaction_hash(raw).hex()
        return None if answer == expected else RpcMalformed(f"{self.name} answered {answer!r} for {expected}")


def build(config: Mapping[str, Any], node: Node, chain_id: int) -> Sequencer:
    if config["ordering"] not in ORDERINGS:
        raise ConfigError(
            f"submitter {config['name']}: ordering is {config['ordering']!r}; it is one of {', '.join(ORDERINGS)}"
        )
    return Sequencer(Endpoint(config["name"], config["url"]), config["ordering"])
