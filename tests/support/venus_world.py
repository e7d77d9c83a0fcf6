"""A lively Venus pool: seeded random users and governance on a dev chain, many actions a block, reverts allowed."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

from keeper.core.units import UINT256_MAX, WAD
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.tokens import FeedMode
from keeper.devnet.venus import TERMS
from keeper.protocols.venus import Venus, build
from keeper.protocols.venus.state import Account, Market
from tests.support import follower

_BEGINNING = 2_000_000_000


class Follower(follower.Follower[Market, Account]):
    def __init__(self, chain: DevChain) -> None:
        super().__init__(chain, adapter_of(chain))


def adapter_of(chain: DevChain) -> Venus:
    return build({"name": "venus", "start_block": 0, "comptroller": bytes.fromhex(chain.venus.comptroller[2:])})


class World:
    """`step` mines one block of random actions. Users are plain addresses; nobody has their keys."""

    def __init__(self, chain: DevChain, seed: int, users: int) -> None:
        self.chain = chain
        self.venus = chain.venus
        self.random = random.Random(seed)
        self.users = [f"0x{self.random.getrandbits(160):040x}" for _ in range(users)]
        self.symbols = list(TERMS)
        self._start_prices = {symbol: chain.price(symbol) for symbol in self.symbols}
        chain.rpc("anvil_setBlockTimestampInterval", 3)
        chain.anvil.set_next_timestamp(max(_BEGINNING, chain.timestamp + 1))
        for user in self.users:
            chain.rpc("anvil_setBalance", user, hex(10**21))

    def step(self, actions: int = 25) -> None:
        with suppress(Reverted), self.chain.one_block():
            for _ in range(actions):
                with suppress(DevnetError):
                    self.random.choice(self._user_actions)()
        if self.random.random() < 0.4:
            with suppress(Reverted):
                self.random.choice((self.terms, self.close_factor, self.forced, self.pause, self.break_a_feed))()
        if self.random.random() < 0.7:
            self.chain.mine(self.random.choice((1, 7, 200)))

    @property
    def _user_actions(self) -> list[Callable[[], object]]:
        common = [self.supply] * 5 + [self.borrow] * 5
        return [*common, self.withdraw, self.repay, self.exit, self.transfer, self.move_price, self.liquidate]

    def user(self) -> str:
        return self.random.choice(self.users)

    def symbol(self) -> str:
        return self.random.choice(self.symbols)

    def units(self, symbol: str, dollars: float) -> int:
        """Raw units worth about so much, with random low digits."""
        token = self.chain.tokens[symbol]
        return max(1, int(dollars * 10 ** (8 + token.decimals)) // self._start_prices[symbol])

    def dollars(self) -> float:
        return 10 ** self.random.uniform(-2, 6)

    def supply(self) -> None:
        symbol = self.symbol()
        self.venus.supply(self.user(), symbol, self.units(symbol, self.dollars()))

    def borrow(self) -> None:
        """Near the limit as often as not."""
        user, symbol = self.user(), self.symbol()
        signature = "getBorrowingPower(address)(uint256,uint256,uint256)"
        _, free, _ = self.chain.call(self.venus.comptroller, signature, user)
        if free:
            part = self.random.choice((self.random.random(), 0.98))
            self.venus.borrow(user, symbol, self.units(symbol, free / 1e18 * part))

    def withdraw(self) -> None:
        symbol = self.symbol()
        self.venus.withdraw(self.user(), symbol, self.units(symbol, self.dollars()))

    def repay(self) -> None:
        user, symbol = self.user(), self.symbol()
        if owed := self.venus.owed(user, symbol):
            self.venus.repay(user, symbol, self.random.choice((UINT256_MAX, max(owed // 3, 1))))

    def exit(self) -> None:
        self.chain.send(self.user(), self.venus.comptroller, "exitMarket(address)", self.venus.vtokens[self.symbol()])

    def transfer(self) -> None:
        user, vtoken = self.user(), self.venus.vtokens[self.symbol()]
        if held := self.chain.call(vtoken, "balanceOf(address)(uint256)", user):
            self.chain.send(user, vtoken, "transfer(address,uint256)", self.user(), self.random.randint(1, held))

    def move_price(self) -> None:
        symbol = self.symbol()
        factor = self.random.uniform(0.8, 1.25)
        self.chain.set_price(symbol, max(1, int(self._start_prices[symbol] * factor)))

    def liquidate(self) -> None:
        """The first that is open to it: a quarter of a debt, or healed where it is too small for that."""
        open_ones = (user for user in self.users if self.venus.liquidity(user)[1])
        user = next(open_ones, None)
        if user is None:
            return
        debts = [symbol for symbol in self.symbols if self.venus.owed(user, symbol)]
        held = [symbol for symbol in self.symbols if self._tokens(user, symbol)]
        liquidator = self.user()
        if self.random.random() < 0.7:
            debt = self.random.choice(debts)
            self.venus.liquidate(
                liquidator, user, debt, max(self.venus.owed(user, debt) // 4, 1), self.random.choice(held)
            )
            return
        for symbol in debts:
            self.chain.tokens.provide(liquidator, symbol, self.units(symbol, 1_000), self.venus.vtokens[symbol])
        self.chain.send(liquidator, self.venus.comptroller, "healAccount(address)", user)

    def _tokens(self, user: str, symbol: str) -> int:
        tokens: int = self.chain.call(self.venus.vtokens[symbol], "balanceOf(address)(uint256)", user)
        return tokens

    # --- governance

    def terms(self) -> None:
        threshold = self.random.randint(60, 90)
        arguments = (self.venus.vtokens[self.symbol()], (threshold - 5) * WAD // 100, threshold * WAD // 100)
        self.venus.govern(self.venus.comptroller, "setCollateralFactor(address,uint256,uint256)", *arguments)

    def close_factor(self) -> None:
        self.venus.govern(self.venus.comptroller, "setCloseFactor(uint256)", self.random.randint(5, 90) * WAD // 100)

    def forced(self) -> None:
        vtoken, enable = self.venus.vtokens[self.symbol()], self.random.random() < 0.3
        self.venus.govern(self.venus.comptroller, "setForcedLiquidation(address,bool)", vtoken, enable)

    def pause(self) -> None:
        arguments = ([self.venus.vtokens[self.symbol()]], [self.random.randint(0, 5)], self.random.random() < 0.3)
        self.venus.govern(self.venus.comptroller, "setActionsPaused(address[],uint256[],bool)", *arguments)

    def break_a_feed(self) -> None:
        self.chain.break_feed(self.symbol(), self.random.choice((FeedMode.REVERTING, FeedMode.ZERO)))
        for symbol in self.symbols if self.random.random() < 0.7 else ():
            self.chain.break_feed(symbol, FeedMode.ANSWERING)
