"""The mempools of several endpoints at once: the first that hears of a transaction spreads it.

The same bytes everywhere, so at most one of them can ever be mined. The first acceptance is an acceptance; what the
others say is only logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.core.errors import ConfigError, KeeperError, RpcMalformed
from keeper.core.secret import Secret
from keeper.executor.ports import Node
from keeper.executor.refusals import is_known
from keeper.executor.submitters.everywhere import Everywhere
from keeper.executor.submitters.http import Endpoint
from keeper.executor.transaction import transaction_hash


@dataclass(frozen=True)
class Options:
    urls: tuple[Secret, ...] = field(
        metadata={"doc": "Endpoints, all of which get every transaction.", "schemes": ("http", "https")}
    )


class Mempool:
    """One endpoint's `eth_sendRawTransaction`, all transactions in one message."""

    def __init__(self, endpoint: Endpoint, chain_id: int) -> None:
        self.name = endpoint.name
        self.ordered_by_fee = True
        self._endpoint = endpoint
        self._chain_id = chain_id

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        requests = [("eth_sendRawTransaction", ["0x" + raw.hex()]) for raw in raws]
        answers = await self._endpoint.batch(requests)
        return [self._outcome(raw, answer) for raw, answer in zip(raws, answers, strict=True)]

    async def check(self) -> str:
        try:
            answer = await self._endpoint.call("eth_chainId", [])
        except KeeperError as error:
            raise ConfigError(f"{error}; check the URL") from error
        if answer != hex(self._chain_id):
            raise ConfigError(f"{self.name} serves chain {answer}, not {hex(self._chain_id)}; correct the URL")
        return f"{self.name} serves chain {self._chain_id}"

    async def close(self) -> None:
        await self._endpoint.close()

    def _outcome(self, raw: bytes, answer: Any) -> KeeperError | None:
        if isinstance(answer, KeeperError):
            return None if is_known(answer) else answer
        expected = "0x" + transaction_hash(raw).hex()
        return None if answer == expected else RpcMalformed(f"{self.name} answered {answer!r} for {expected}")


def build(config: Mapping[str, Any], node: Node, chain_id: int) -> Everywhere:
    if not config["urls"]:
        raise ConfigError(f"submitter {config['name']}: urls is empty; give at least one")
    endpoints = [Endpoint(f"{config['name']}[{number}]", url) for number, url in enumerate(config["urls"])]
    return Everywhere(config["name"], [Mempool(endpoint, chain_id) for endpoint in endpoints])
