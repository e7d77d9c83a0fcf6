"""Price updates as transactions that wait to be mined, on a dev chain that mines by hand."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain

GWEI = 10**9


@dataclass
class Updater:
    """Sends what Chainlink's node would send. max_fee_wei, tip_wei: what its transactions offer."""

    chain: DevChain
    max_fee_wei: int = 40 * GWEI
    tip_wei: int = 2 * GWEI

    @property
    def sender(self) -> str:
        return self.chain.accounts[5]

    def send(self, symbol: str, price: int | Decimal, **changes: Any) -> str:
        """Hash of a pending transaction that sets a price. changes: of its fields, such as the nonce."""
        token = self.chain.tokens[symbol]
        transaction = {
            "from": self.sender,
            "to": token.feed,
            "data": "0x" + encode_call("set(int256)", (token.answer(Decimal(price)),)).hex(),
            "gas": hex(300_000),
            "maxFeePerGas": hex(self.max_fee_wei),
            "maxPriorityFeePerGas": hex(self.tip_wei),
            **changes,
        }
        return str(self.chain.rpc("eth_sendTransaction", transaction))

    def cancel(self, tx_hash: str) -> None:
        """Replace it by an empty transfer."""
        pending = self.chain.rpc("eth_getTransactionByHash", tx_hash)
        fees = {"maxFeePerGas": hex(2 * self.max_fee_wei), "maxPriorityFeePerGas": hex(2 * self.tip_wei)}
        empty = {"from": self.sender, "to": self.sender, "nonce": pending["nonce"], "gas": hex(21_000), **fees}
        self.chain.rpc("eth_sendTransaction", empty)

    def places(self, *hashes: str) -> list[tuple[int, int] | None]:
        """Block and index of each transaction; None of one that is not mined."""
        receipts = [self.chain.rpc("eth_getTransactionReceipt", one) for one in hashes]
        return [
            None if found is None else (int(found["blockNumber"], 16), int(found["transactionIndex"], 16))
            for found in receipts
        ]
