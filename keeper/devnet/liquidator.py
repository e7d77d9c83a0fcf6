"""Our Liquidator contract on the dev chain, from the compiled artifact that ships with Keeper."""

from __future__ import annotations

from collections.abc import Sequence

from keeper.abis import contract
from keeper.devnet.abi import Address, selector
from keeper.devnet.client import Client, Receipt
from keeper.devnet.solc import Artifact
from keeper.executor.liquidator_calls import Plan, encode_execute, encode_execute_each, encode_skim

_GAS = 8_000_000


class Liquidator:
    """A deployed contract. `address` is where, `owner` whose it is."""

    def __init__(self, client: Client, address: str, owner: str) -> None:
        self.client = client
        self.address = address
        self.owner = owner

    @classmethod
    def deployed(cls, client: Client, owner: str, wrapped_native: str) -> Liquidator:
        """One transaction. Nothing is allowed yet."""
        return cls(client, client.deploy(owner, artifact(), (owner, wrapped_native)), owner)

    def allow_call(self, target: Address, *signatures: str) -> None:
        """Let plans call these functions of a contract."""
        for signature in signatures:
            args = (target, selector(signature), True)
            self.client.send(self.owner, self.address, "allow_call(address,bytes4,bool)", *args)

    def allow_spender(self, spender: Address) -> Receipt:
        return self.client.send(self.owner, self.address, "allow_spender(address,bool)", spender, True)

    def allow_operator(self, operator: Address) -> Receipt:
        return self.client.send(self.owner, self.address, "allow_operator(address,bool)", operator, True)

    def execute(self, sender: Address, plan: Plan, value_wei: int = 0) -> Receipt:
        """Raises Reverted with the reason."""
        data = encode_execute(plan)
        return self.client.send_data(sender, self.address, data, "execute", value_wei=value_wei, gas=_GAS)

    def execute_each(self, sender: Address, plans: Sequence[Plan]) -> Receipt:
        """Raises Reverted with the first reason when all of them fail."""
        data = encode_execute_each([encode_execute(plan) for plan in plans])
        return self.client.send_data(sender, self.address, data, "execute_each", gas=2 * _GAS)

    def skim(self, sender: Address, token: bytes) -> Receipt:
        return self.client.send_data(sender, self.address, encode_skim(token), "skim")


def artifact() -> Artifact:
    compiled = contract("keeper", "Liquidator")
    return Artifact("Liquidator", tuple(compiled["abi"]), compiled["bytecode"].removeprefix("0x"), {})
