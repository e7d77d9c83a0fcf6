"""Blocking transactions and calls on a dev chain: unlocked senders, receipts at once, reverts in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from eth_abi.abi import encode

from keeper.devnet.abi import Address, RevertReasons, checksummed, decode_answer, encode_call
from keeper.devnet.anvil import Anvil
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.rpc import RpcError
from keeper.devnet.solc import Artifact

Block = int | str | bytes | None
"""A number, a tag, a block hash (32 bytes), or None for the latest."""

Mining = Literal["auto", "interval", "manual"]
"""Each transaction at once, by Anvil's clock, or only on our demand: then one block per transaction of ours."""

_ACTION_GAS = 1_000_000  # sixty fit one block, and no action of a user needs more
_DEPLOY_GAS = 16_000_000  # below the 2**24 that one transaction may use since Osaka


@dataclass(slots=True)
class Receipt:
    """What became of a transaction. Reading it before its block is mined raises DevnetError."""

    tx_hash: str
    what: str
    _mined: dict[str, Any] | None = None

    @property
    def mined(self) -> dict[str, Any]:
        """The node's own receipt."""
        if self._mined is None:
            raise DevnetError(f"{self.what} ({self.tx_hash}) is not mined yet; read it after the `one_block` context")
        return self._mined

    @property
    def block_number(self) -> int:
        return int(self.mined["blockNumber"], 16)

    @property
    def block_hash(self) -> bytes:
        return bytes.fromhex(self.mined["blockHash"][2:])

    @property
    def gas_used(self) -> int:
        return int(self.mined["gasUsed"], 16)

    @property
    def logs(self) -> list[dict[str, Any]]:
        logs: list[dict[str, Any]] = self.mined["logs"]
        return logs


class Client:
    """Sends and calls on one Anvil. Any sender is accepted: the chain impersonates whoever is named."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.rpc = anvil.rpc
        self.mining: Mining = "auto"
        self.reasons = RevertReasons()
        self._together: list[Receipt] | None = None
        self.rpc("anvil_autoImpersonateAccount", True)

    def set_mining(self, mining: Mining, seconds: float = 0) -> None:
        """seconds: between blocks, for "interval"."""
        clock = round(seconds) if mining == "interval" else 0
        if mining == "interval" and (clock != seconds or clock < 1):
            raise DevnetError(f"{seconds} s between blocks: Anvil's clock knows whole seconds only; give 1 or more")
        # Switching the clock on or off also switches automining, so the order matters.
        self.rpc("evm_setIntervalMining", clock)
        self.rpc("evm_setAutomine", mining == "auto")
        self.mining = mining

    def deploy(
        self,
        sender: Address,
        artifact: Artifact,
        args: Sequence[object] = (),
        libraries: Mapping[str, str] | None = None,
    ) -> str:
        """Address of the new contract. Its ABI's errors are learned."""
        self.reasons.learn(artifact.abi)
        types = next((_types(entry) for entry in artifact.abi if entry["type"] == "constructor"), ())
        code = artifact.linked(libraries or {}) + encode(types, args)
        receipt = self._send(
            {"from": checksummed(sender), "data": _hex(code)}, f"deploying {artifact.name}", _DEPLOY_GAS
        )
        return checksummed(receipt.mined["contractAddress"])

    def send(
        self,
        sender: Address,
        to: Address,
        signature: str,
        *args: object,
        value_wei: int = 0,
        gas: int = _ACTION_GAS,
    ) -> Receipt:
        """One transaction calling `signature`, mined. Raises Reverted with the reason."""
        transaction = {
            "from": checksummed(sender),
            "to": checksummed(to),
            "data": _hex(encode_call(signature, args)),
            "value": hex(value_wei),
        }
        return self._send(transaction, signature.partition("(")[0], gas)

    def send_data(
        self, sender: Address, to: Address, data: bytes, what: str, *, value_wei: int = 0, gas: int = _ACTION_GAS
    ) -> Receipt:
        """Like `send`, for a call that is encoded already. what: its name in errors."""
        transaction = {"from": checksummed(sender), "to": checksummed(to), "data": _hex(data), "value": hex(value_wei)}
        return self._send(transaction, what, gas)

    def send_ether(self, sender: Address, to: Address, value_wei: int) -> Receipt:
        transaction = {"from": checksummed(sender), "to": checksummed(to), "value": hex(value_wei)}
        return self._send(transaction, "ether transfer", 100_000)

    def call(
        self, to: Address, signature: str, *args: object, block: Block = None, sender: Address | None = None
    ) -> Any:
        """Answer of a read-only call: one output as itself, several as a tuple. Raises Reverted."""
        request = {"to": checksummed(to), "data": _hex(encode_call(signature, args))}
        if sender is not None:
            request["from"] = checksummed(sender)
        name = signature.partition("(")[0]
        try:
            answer = self.rpc("eth_call", request, block_id(block))
        except RpcError as error:
            raise self._reverted(name, error) from error
        if answer == "0x" and not signature.endswith(")()") and ")(" in signature:
            raise DevnetError(f"{name}: {checksummed(to)} answered nothing; is there a contract at this block?")
        return decode_answer(signature, bytes.fromhex(answer[2:]))

    @contextmanager
    def one_block(self) -> Iterator[None]:
        """Everything sent inside is mined together, in the order sent, when the context ends. Then each is checked.

        Gas limits add up to at most the block's: sixty actions fit, or three hundred mints or price changes.
        Raises Reverted for the first that failed; all are mined then.
        """
        if self._together is not None:
            raise DevnetError("one_block inside one_block: the outer one already mines everything together")
        if self.mining == "interval":
            raise DevnetError("one_block needs a chain without interval mining; start it without a block time")
        together: list[Receipt] = []
        self._together = together
        if self.mining == "auto":
            self.rpc("evm_setAutomine", False)
        try:
            yield
            self.anvil.mine()
        finally:
            self._together = None
            if self.mining == "auto":
                self.rpc("evm_setAutomine", True)
        for receipt in together:
            receipt._mined = self.rpc("eth_getTransactionReceipt", receipt.tx_hash)
            if receipt._mined is None:
                raise DevnetError(f"{receipt.what} did not fit into the block; put fewer actions into one_block")
        for receipt in together:
            self._check(receipt)

    def _send(self, transaction: dict[str, str], what: str, gas: int) -> Receipt:
        transaction = {**transaction, "gas": hex(gas)}
        try:
            if self._together is not None:
                receipt = Receipt(self.rpc("eth_sendTransaction", transaction), what)
                self._together.append(receipt)
                return receipt
            if self.mining == "manual":
                tx_hash = self.rpc("eth_sendTransaction", transaction)
                self.anvil.mine()
                mined = self.rpc("eth_getTransactionReceipt", tx_hash)
            else:
                mined = self.rpc("eth_sendTransactionSync", transaction)
        except RpcError as error:
            raise self._reverted(what, error) from error
        receipt = Receipt(mined["transactionHash"], what, mined)
        self._check(receipt)
        return receipt

    def _check(self, receipt: Receipt) -> None:
        if receipt.mined["status"] == "0x1":
            return
        trace = self.rpc("debug_traceTransaction", receipt.tx_hash, {"tracer": "callTracer"})
        data = bytes.fromhex(trace.get("output", "0x")[2:])
        reason = self.reasons.explain(data) if data else trace.get("error", "no reason given")
        raise Reverted(receipt.what, reason, data)

    def _reverted(self, what: str, error: RpcError) -> DevnetError:
        if error.data:
            return Reverted(what, self.reasons.explain(error.data), error.data)
        return Reverted(what, error.message) if "revert" in error.message else error


def block_id(block: Block) -> object:
    """A block as JSON-RPC wants it; a hash is pinned as of EIP-1898."""
    if block is None:
        return "latest"
    if isinstance(block, bytes):
        return {"blockHash": _hex(block)}
    return hex(block) if isinstance(block, int) else block


def _types(constructor: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(field["type"] for field in constructor["inputs"])


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
