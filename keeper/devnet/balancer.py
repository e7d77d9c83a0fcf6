"""The real Balancer v2 vault, as a lender: it lends whatever tokens it holds.

Source: the artifact of the vault on mainnet in @balancer-labs/v2-deployments 3.2.0.
"""

from __future__ import annotations

from keeper.devnet.client import Client, Receipt
from keeper.devnet.contracts import balancer_artifacts
from keeper.devnet.npm import BALANCER, fetch
from keeper.devnet.solc import Artifact, hardhat_artifact
from keeper.devnet.tokens import Amount, Tokens

_DAY = 86_400
_WAD = 10**18


class Balancer:
    """A deployed vault. `vault` is its address."""

    def __init__(self, client: Client, tokens: Tokens, admin: str, vault: str) -> None:
        self.client = client
        self.tokens = tokens
        self.admin = admin
        self.vault = vault

    @classmethod
    def deployed(cls, client: Client, tokens: Tokens, admin: str) -> Balancer:
        """Two transactions. Anybody may govern this vault."""
        authorizer = client.deploy(admin, balancer_artifacts()["OpenAuthorizer"])
        pauses = (90 * _DAY, 30 * _DAY)
        vault = client.deploy(admin, build(), (authorizer, tokens["WETH"].address, *pauses))
        return cls(client, tokens, admin, vault)

    def fill(self, symbol: str, amount: Amount) -> Receipt:
        """Give the vault tokens to lend."""
        return self.tokens.mint(self.vault, symbol, amount)

    def set_flash_fee(self, fee_wad: int) -> Receipt:
        """Of the amount lent, scaled by 1e18; at most 1 %. On mainnet it has always been zero."""
        collector = self.client.call(self.vault, "getProtocolFeesCollector()(address)")
        return self.client.send(self.admin, collector, "setFlashLoanFeePercentage(uint256)", fee_wad)

    def flash_fee(self, amount: int) -> int:
        """Raw units, rounded up as the vault does."""
        collector = self.client.call(self.vault, "getProtocolFeesCollector()(address)")
        fee_wad: int = self.client.call(collector, "getFlashLoanFeePercentage()(uint256)")
        return -(-amount * fee_wad // _WAD)


def build() -> Artifact:
    (home,) = fetch(BALANCER)
    return hardhat_artifact(home / "dist" / "tasks" / "20210418-vault" / "artifact" / "Vault.json")
