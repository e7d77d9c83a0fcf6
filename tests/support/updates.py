"""Price updates as transactions that wait to be mined, on a dev chain that mines by hand."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eth_account import Account

from keeper.devnet.abi import encode_call
from keeper.devnet.chain import DevChain

GWEI = 10**9
_KEY = "0x" + "55" * 32
_ETHER = 10**18


@dataclass
class Updater:
    """Sends what an oracle's node would send. max_fee_wei, tip_wei: what its transactions offer."""

    chain: DevChain
    max_fee_wei: int = 40 * GWEI
    tip_wei: int = 2 * GWEI

    def __post_init__(self) -> None:
        self.sender = str(Account.from_key(_KEY).address)
        self.chain.rpc("anvil_setBalance", self.sender, hex(100 * _ETHER))

    @property
    def nonce(self) -> int:
        """The first that the chain has not seen mined."""
        return int(self.chain.rpc("eth_getTransactionCount", self.sender, "latest"), 16)

    def signed(self, symbol: str, price: int | Decimal, **changes: Any) -> str:
        """A transaction that sets a price, which nobody has seen yet. changes: of its fields, such as the nonce."""
        token = self.chain.tokens[symbol]
        data = encode_call("set(int256)", (token.answer(Decimal(price)),))
        return self.raw({"to": token.feed, "data": "0x" + data.hex(), **changes})

    def raw(self, changes: dict[str, Any]) -> str:
        fields = {
            "chainId": self.chain.chain_id,
            "nonce": self.nonce,
            "gas": 300_000,
            "value": 0,
            "maxFeePerGas": self.max_fee_wei,
            "maxPriorityFeePerGas": self.tip_wei,
        }
        return "0x" + Account.sign_transaction({**fields, **changes}, _KEY).raw_transaction.hex().removeprefix("0x")

    def send(self, symbol: str, price: int | Decimal, **changes: Any) -> str:
        """Hash of such a transaction, in the mempool."""
        return str(self.chain.rpc("eth_sendRawTransaction", self.signed(symbol, price, **changes)))

    def cancel(self, tx_hash: str) -> None:
        """Replace it by an empty transfer."""
        nonce = int(self.chain.rpc("eth_getTransactionByHash", tx_hash)["nonce"], 16)
        fees = {"maxFeePerGas": 2 * self.max_fee_wei, "maxPriorityFeePerGas": 2 * self.tip_wei}
        self.chain.rpc("eth_sendRawTransaction", self.raw({"to": self.sender, "nonce": nonce, **fees}))

    def place(self, tx_hash: str) -> tuple[int, int] | None:
        """Block and index of a transaction; None of one that is not mined."""
        found = self.chain.rpc("eth_getTransactionReceipt", tx_hash)
        return None if found is None else (int(found["blockNumber"], 16), int(found["transactionIndex"], 16))
