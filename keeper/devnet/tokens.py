"""ERC-20 tokens of the dev chain, each with a price feed that can be set, aged and broken."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from keeper.core.units import UINT256_MAX, scale_decimal
from keeper.devnet.abi import Address
from keeper.devnet.client import Block, Client, Receipt
from keeper.devnet.contracts import own_artifacts
from keeper.devnet.errors import DevnetError

_GAS = 200_000

Amount = int | Decimal
"""An int is raw units (wei, feed answer); a Decimal is whole units (ether, dollars)."""


class FeedMode(IntEnum):
    """How a feed answers, whatever was last set."""

    ANSWERING = 0
    REVERTING = 1
    ZERO = 2
    NEGATIVE = 3


@dataclass(frozen=True, slots=True)
class Token:
    symbol: str
    address: str
    decimals: int
    feed: str
    feed_decimals: int

    def units(self, amount: Amount) -> int:
        """Raw token units. Raises ValueError for a Decimal finer than the token."""
        return amount if isinstance(amount, int) else scale_decimal(str(amount), self.decimals)

    def answer(self, price: Amount) -> int:
        """Raw feed answer."""
        return price if isinstance(price, int) else scale_decimal(str(price), self.feed_decimals)


class Tokens:
    """Deploys tokens and feeds, mints, and sets prices. `by_symbol` has them all."""

    def __init__(self, client: Client, deployer: str) -> None:
        self._client = client
        self._deployer = deployer
        self._artifacts = own_artifacts()
        self.by_symbol: dict[str, Token] = {}

    def __getitem__(self, symbol: str) -> Token:
        try:
            return self.by_symbol[symbol]
        except KeyError:
            raise DevnetError(f"no token {symbol!r} on this chain; there are {', '.join(self.by_symbol)}") from None

    def add(self, symbol: str, decimals: int, price: Amount, feed_decimals: int = 8) -> Token:
        """Deploy a token and its feed. "WETH" also wraps ether."""
        if symbol in self.by_symbol:
            raise DevnetError(f"there is already a token {symbol!r} at {self.by_symbol[symbol].address}")
        if symbol == "WETH":
            address = self._client.deploy(self._deployer, self._artifacts["WrappedEther"])
        else:
            address = self._client.deploy(self._deployer, self._artifacts["TestToken"], (symbol, symbol, decimals))
        answer = price if isinstance(price, int) else scale_decimal(str(price), feed_decimals)
        token = Token(symbol, address, decimals, self.new_feed(symbol, answer, feed_decimals), feed_decimals)
        self.by_symbol[symbol] = token
        return token

    def new_feed(self, symbol: str, answer: int, decimals: int = 8) -> str:
        """Address of a further feed, which nothing uses yet."""
        args = (decimals, f"{symbol} / USD", answer)
        return self._client.deploy(self._deployer, self._artifacts["PriceFeed"], args)

    def balance(self, who: Address, symbol: str, block: Block = None) -> int:
        balance: int = self._client.call(self[symbol].address, "balanceOf(address)(uint256)", who, block=block)
        return balance

    def mint(self, who: Address, symbol: str, amount: Amount) -> Receipt:
        token = self[symbol]
        return self._client.send(
            self._deployer, token.address, "mint(address,uint256)", who, token.units(amount), gas=_GAS
        )

    def provide(self, who: Address, symbol: str, amount: int, spender: str) -> None:
        """Let `spender` take `amount` raw units: mint what is missing, approve without limit if needed."""
        token = self[symbol]
        missing = amount - self.balance(who, symbol)
        if missing > 0:
            self.mint(who, symbol, missing)
        if self._client.call(token.address, "allowance(address,address)(uint256)", who, spender) < amount:
            self._client.send(who, token.address, "approve(address,uint256)", spender, UINT256_MAX, gas=_GAS)

    # --- feeds

    def price(self, symbol: str, block: Block = None) -> int:
        """Raw answer of the token's feed. Raises Reverted when it is broken that way."""
        price: int = self._client.call(self[symbol].feed, "latestAnswer()(int256)", block=block)
        return price

    def set_price(self, symbol: str, price: Amount) -> Receipt:
        """A new round with the block's own timestamp."""
        token = self[symbol]
        return self._client.send(self._deployer, token.feed, "set(int256)", token.answer(price), gas=_GAS)

    def set_price_at(self, symbol: str, price: Amount, updated_at: int) -> Receipt:
        """A new round that claims to be from `updated_at`, unix seconds: an old one is a stale feed."""
        token = self[symbol]
        args = (token.answer(price), updated_at)
        return self._client.send(self._deployer, token.feed, "setAt(int256,uint256)", *args, gas=_GAS)

    def break_feed(self, symbol: str, mode: FeedMode) -> Receipt:
        """Make a feed answer wrongly from now on, without an event; FeedMode.ANSWERING repairs it."""
        return self._client.send(self._deployer, self[symbol].feed, "setMode(uint8)", int(mode), gas=_GAS)
