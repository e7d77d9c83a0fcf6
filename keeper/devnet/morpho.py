"""The real Morpho Blue, with one market: USDC borrowed against WETH, priced by the chain's feeds.

Source: @morpho-org/morpho-blue 1.0.0. Compiled without the intermediate language that the deployed build went through:
the same behaviour in a tenth of the time. The oracle and the interest rate are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.contracts import morpho_artifacts
from keeper.devnet.npm import MORPHO, SOLC_0_8_19, fetch
from keeper.devnet.solc import Artifact, Compiler, compile_sources
from keeper.devnet.tokens import Amount, Tokens

LLTV_WAD = 860_000_000_000_000_000
PARAMS = "(address,address,address,address,uint256)"
"""Loan token, collateral token, oracle, interest rate model, lltv: how Morpho's functions are told the market."""


@dataclass(frozen=True, slots=True)
class Position:
    """Of one account in the market. Collateral in raw units; owed: raw units, rounded up, without interest since the
    market was last touched."""

    borrow_shares: int
    collateral_assets: int
    owed_assets: int


class Morpho:
    """A deployed Morpho with its market. `address` is the contract, `params` the market, `market_id` its hash."""

    def __init__(self, client: Client, tokens: Tokens, address: str, params: tuple[str, str, str, str, int]) -> None:
        self.client = client
        self.tokens = tokens
        self.address = address
        self.params = params
        self.market_id: bytes = keccak(encode(PARAMS[1:-1].split(","), params))

    @classmethod
    def deployed(cls, client: Client, tokens: Tokens, admin: str) -> Morpho:
        """Six transactions. Nothing is supplied yet."""
        morpho = client.deploy(admin, build()["Morpho"], (admin,))
        parts, weth, usdc = morpho_artifacts(), tokens["WETH"], tokens["USDC"]
        rate = client.deploy(admin, parts["UtilizationRate"])
        oracle = client.deploy(admin, parts["FeedOracle"], (weth.feed, weth.decimals, usdc.feed, usdc.decimals))
        params = (usdc.address, weth.address, oracle, rate, LLTV_WAD)
        client.send(admin, morpho, "enableIrm(address)", rate)
        client.send(admin, morpho, "enableLltv(uint256)", LLTV_WAD)
        client.send(admin, morpho, f"createMarket({PARAMS})", params)
        return cls(client, tokens, morpho, params)

    # --- users

    def supply(self, who: str, amount: Amount) -> Receipt:
        """USDC to lend, in the market and by flash loans."""
        units = self.tokens["USDC"].units(amount)
        self.tokens.provide(who, "USDC", units, self.address)
        args = (self.params, units, 0, who, b"")
        return self.client.send(who, self.address, f"supply({PARAMS},uint256,uint256,address,bytes)", *args)

    def supply_collateral(self, who: str, amount: Amount) -> Receipt:
        units = self.tokens["WETH"].units(amount)
        self.tokens.provide(who, "WETH", units, self.address)
        args = (self.params, units, who, b"")
        return self.client.send(who, self.address, f"supplyCollateral({PARAMS},uint256,address,bytes)", *args)

    def borrow(self, who: str, amount: Amount) -> Receipt:
        args = (self.params, self.tokens["USDC"].units(amount), 0, who, who)
        return self.client.send(who, self.address, f"borrow({PARAMS},uint256,uint256,address,address)", *args)

    # --- views

    def position(self, who: str, block: Block = None) -> Position:
        signature = "position(bytes32,address)(uint256,uint128,uint128)"
        _, shares, collateral = self.client.call(self.address, signature, self.market_id, who, block=block)
        market = "market(bytes32)(uint128,uint128,uint128,uint128,uint128,uint128)"
        _, _, owed, owed_shares, _, _ = self.client.call(self.address, market, self.market_id, block=block)
        # Virtual shares and assets as in SharesMathLib.toAssetsUp.
        return Position(shares, collateral, -(-shares * (owed + 1) // (owed_shares + 10**6)))


def build() -> dict[str, Artifact]:
    """Compile in three seconds, or read from the cache."""
    (home,) = fetch(MORPHO)
    compiler = Compiler(SOLC_0_8_19, "paris")
    return compile_sources("morpho-1.0.0", ["src/Morpho.sol"], {"src/": home / "src"}, compiler)
