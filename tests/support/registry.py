"""An ENS registry on a development chain, where anybody may say anything about anybody."""

from __future__ import annotations

from collections.abc import Sequence

from keeper.core.types import Call, CallResult
from keeper.devnet.chain import DevChain
from keeper.protocols.addresses import checksummed
from keeper.upkeep import ens
from tests.support.rogues import deploy


class Registry:
    def __init__(self, chain: DevChain) -> None:
        self._chain = chain
        self._sender = chain.accounts[0]
        self._at = deploy(chain.client, self._sender, "names")
        self.address = bytes.fromhex(self._at[2:])
        self.round_trips = 0

    def claims(self, account: bytes, name: str) -> None:
        """What an account says it is called."""
        node = ens.namehash(f"{account.hex()}.addr.reverse")
        self._send("set_resolver(bytes32,address)", node, self._at)
        self._send("set_name(bytes32,string)", node, name)

    def stands_for(self, name: str, account: bytes) -> None:
        """What a name's owner says it stands for."""
        node = ens.namehash(name)
        self._send("set_resolver(bytes32,address)", node, self._at)
        self._send("set_addr(bytes32,address)", node, checksummed(account))

    def named(self, account: bytes, name: str) -> None:
        self.claims(account, name)
        self.stands_for(name, account)

    async def execute(self, calls: Sequence[Call]) -> Sequence[CallResult]:
        self.round_trips += 1
        return [self._ask(call) for call in calls]

    def _ask(self, call: Call) -> CallResult:
        answer = self._chain.rpc("eth_call", {"to": f"0x{call.target.hex()}", "data": f"0x{call.data.hex()}"}, "latest")
        return bytes.fromhex(answer[2:])

    def _send(self, *call: object) -> None:
        self._chain.send(self._sender, self._at, *call)  # type: ignore[arg-type]
