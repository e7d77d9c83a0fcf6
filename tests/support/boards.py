"""A MarginCallBoard on a chain, read as others read it: by web3.py and the ABI that is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak
from web3 import HTTPProvider, Web3

from keeper.abis import contract
from keeper.devnet.chain import DevChain
from keeper.devnet.solc import Artifact

COMPILED = contract("keeper", "MarginCallBoard")
WHAT = {1: "opened", 2: "escalated", 3: "cured", 4: "liquidated", 5: "repaid", 6: "withdrawn"}


@dataclass
class Board:
    chain: DevChain
    owner: str
    address: str

    @classmethod
    def deployed(cls, chain: DevChain, owner: str, poster: str) -> Board:
        code = COMPILED["bytecode"].removeprefix("0x")
        artifact = Artifact("MarginCallBoard", tuple(COMPILED["abi"]), code, {})
        return cls(chain, owner, chain.client.deploy(owner, artifact, (owner, poster)))

    @property
    def _contract(self) -> Any:
        web3 = Web3(HTTPProvider(self.chain.rpc_url))
        return web3.eth.contract(address=Web3.to_checksum_address(self.address), abi=COMPILED["abi"])

    def events(self, account: str | None = None) -> list[dict[str, Any]]:
        """What was ever posted on the chain as it is, oldest first."""
        wanted = None if account is None else {"account": account}
        logs = self._contract.events.MarginCall().get_logs(from_block=0, argument_filters=wanted)
        return [{**log["args"], "block": log["blockNumber"], "tx_hash": log["transactionHash"]} for log in logs]

    def said(self, account: str) -> list[str]:
        return [WHAT[event["what"]] for event in self.events(account)]

    def band_of(self, position: str) -> int:
        return int(self._contract.functions.band_of(keccak(text=position)).call())
