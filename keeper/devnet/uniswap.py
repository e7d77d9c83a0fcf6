"""Uniswap v3 from its published artifacts, with full-range pools priced like the feeds.

Source: @uniswap/v3-core 1.0.1, @uniswap/v3-periphery 1.4.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isqrt

from keeper.devnet.client import Client, Receipt
from keeper.devnet.errors import DevnetError
from keeper.devnet.npm import UNISWAP_CORE, UNISWAP_PERIPHERY, fetch
from keeper.devnet.solc import Artifact, hardhat_artifact
from keeper.devnet.tokens import Token, Tokens

FEE = 3000
"""Of every pool, in hundredths of a basis point."""

_TICK_SPACING = 60
_MAX_TICK = 887272 // _TICK_SPACING * _TICK_SPACING
_DEPTH_USD = 20_000_000  # on each side of a pool
_NEVER = 2**40
_PAIRS = (("WETH", "USDC"), ("WBTC", "USDC"), ("DAI", "USDC"))


@dataclass(frozen=True, slots=True)
class Uniswap:
    """Addresses. pools: by the symbol that is paired with USDC."""

    factory: str
    router: str
    positions: str
    quoter: str
    pools: Mapping[str, str]


def build() -> dict[str, Artifact]:
    core, periphery = fetch(UNISWAP_CORE, UNISWAP_PERIPHERY)
    paths = (
        core / "artifacts/contracts/UniswapV3Factory.sol/UniswapV3Factory.json",
        periphery / "artifacts/contracts/SwapRouter.sol/SwapRouter.json",
        periphery / "artifacts/contracts/NonfungiblePositionManager.sol/NonfungiblePositionManager.json",
        periphery / "artifacts/contracts/lens/QuoterV2.sol/QuoterV2.json",
    )
    return {path.stem: hardhat_artifact(path) for path in paths}


def deploy(client: Client, tokens: Tokens, deployer: str, provider: str) -> Uniswap:
    """Deploy everything; `provider` owns the liquidity."""
    artifacts, weth = build(), tokens["WETH"].address
    factory = client.deploy(deployer, artifacts["UniswapV3Factory"])
    router = client.deploy(deployer, artifacts["SwapRouter"], (factory, weth))
    # The third argument draws a position's picture; nobody looks at one here.
    positions = client.deploy(deployer, artifacts["NonfungiblePositionManager"], (factory, weth, factory))
    quoter = client.deploy(deployer, artifacts["QuoterV2"], (factory, weth))
    pools = {a: _add_pool(client, tokens, positions, provider, tokens[a], tokens[b]) for a, b in _PAIRS}
    return Uniswap(factory, router, positions, quoter, pools)


def quote(client: Client, uniswap: Uniswap, sold: Token, bought: Token, amount: int) -> int:
    """Raw units of `bought` for exactly `amount` raw units of `sold`, after the fee."""
    signature = "quoteExactInputSingle((address,address,uint256,uint24,uint160))(uint256,uint160,uint32,uint256)"
    received: int = client.call(uniswap.quoter, signature, (sold.address, bought.address, amount, FEE, 0))[0]
    return received


def move_price(client: Client, tokens: Tokens, uniswap: Uniswap, trader: str, symbol: str, price: Decimal) -> Receipt:
    """Trade a pool until one `symbol` costs `price` USDC. Raises DevnetError when it already does."""
    token, dollars, pool = tokens[symbol], tokens["USDC"], uniswap.pools[symbol]
    target = _sqrt_price_x96(token, 10**token.decimals, dollars, int(price * 10**dollars.decimals))
    present: int = client.call(pool, "slot0()(uint160,int24,uint16,uint16,uint16,uint8,bool)")[0]
    if target == present:
        raise DevnetError(f"the {symbol}/USDC pool is already at {price}")
    token0, token1 = _sorted(token, dollars)
    sold, bought = (token0, token1) if target < present else (token1, token0)
    enough = 100 * _DEPTH_USD * 10**18  # the limit ends the trade, not the amount
    tokens.provide(trader, sold.symbol, enough, uniswap.router)
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))"
    order = (sold.address, bought.address, FEE, trader, _NEVER, enough, 0, target)
    return client.send(trader, uniswap.router, signature, order)


def _add_pool(client: Client, tokens: Tokens, positions: str, provider: str, a: Token, b: Token) -> str:
    amounts = {t: _DEPTH_USD * 10 ** (t.feed_decimals + t.decimals) // tokens.price(t.symbol) for t in (a, b)}
    for token, amount in amounts.items():
        tokens.provide(provider, token.symbol, amount, positions)
    token0, token1 = _sorted(a, b)
    price = _sqrt_price_x96(token0, amounts[token0], token1, amounts[token1])
    pair = (token0.address, token1.address, FEE)
    creation = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)(address)"
    pool: str = client.call(positions, creation, *pair, price, sender=provider)
    client.send(provider, positions, creation, *pair, price, gas=8_000_000)
    mint = "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))"
    deposit = (*pair, -_MAX_TICK, _MAX_TICK, amounts[token0], amounts[token1], 0, 0, provider, _NEVER)
    client.send(provider, positions, mint, deposit)
    return pool


def _sorted(a: Token, b: Token) -> tuple[Token, Token]:
    """Uniswap's token0 is the one with the smaller address."""
    return (a, b) if int(a.address, 16) < int(b.address, 16) else (b, a)


def _sqrt_price_x96(a: Token, amount_a: int, b: Token, amount_b: int) -> int:
    """Square root of token1 per token0 in raw units, scaled by 2**96, when amount_a of a is worth amount_b of b."""
    amounts = {a: amount_a, b: amount_b}
    token0, token1 = _sorted(a, b)
    return isqrt((amounts[token1] << 192) // amounts[token0])
