"""A lively Aave market: seeded random users and governance on a dev chain, many actions a block, reverts allowed."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from keeper.devnet.aave import ReserveTerms
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.market import ALL
from keeper.devnet.tokens import FeedMode

_BEGINNING = 2_000_000_000
_BLOCK_TIME_S = 12
_LINK = ReserveTerms(6800, 7300, 10700, 2000, 1000, (4500, 0, 700, 30000))


class World:
    """`step` mines one block of random actions. Users are plain addresses; nobody has their keys."""

    def __init__(self, chain: DevChain, seed: int, users: int = 200) -> None:
        self.chain = chain
        self.random = random.Random(seed)
        self.users = [f"0x{self.random.getrandbits(160):040x}" for _ in range(users)]
        self.symbols = ["WETH", "WBTC", "USDC", "DAI"]
        self._start_prices = {symbol: chain.price(symbol) for symbol in self.symbols}
        # blocks by a clock of their own, so that a seed gives the same history on every machine
        chain.rpc("anvil_setBlockTimestampInterval", _BLOCK_TIME_S)
        chain.anvil.set_next_timestamp(max(_BEGINNING, chain.timestamp + 1))
        for user in self.users:
            chain.rpc("anvil_setBalance", user, hex(10**21))

    def step(self, actions: int = 25) -> None:
        with suppress(Reverted), self.chain.one_block():
            for _ in range(actions):
                with suppress(DevnetError):
                    self.random.choice(self._user_actions)()
        if self.random.random() < 0.5:
            with suppress(Reverted):
                self.random.choice(self._governance)()
        if self.random.random() < 0.7:
            self.chain.warp(self.random.choice((1, 13, 3600, 86_400, 30 * 86_400)))

    # --- users

    @property
    def _user_actions(self) -> list[Callable[[], object]]:
        common = [self.supply] * 5 + [self.borrow] * 5
        return [*common, self.withdraw, self.repay, self.emode, self.toggle, self.transfer, self.move_price]

    def user(self) -> str:
        return self.random.choice(self.users)

    def symbol(self) -> str:
        return self.random.choice(self.symbols)

    def units(self, symbol: str, dollars: float) -> int:
        """Raw units worth about so much, with random low digits."""
        token = self.chain.tokens[symbol]
        return max(1, int(dollars * 10 ** (8 + token.decimals)) // self._start_prices[symbol])

    def dollars(self) -> float:
        """From a thousandth of a dollar to three millions."""
        return 10 ** self.random.uniform(-3, 6.5)

    def supply(self) -> None:
        symbol = self.symbol()
        self.chain.aave.supply(self.user(), symbol, self.units(symbol, self.dollars()))

    def borrow(self) -> None:
        """Near the limit as often as not."""
        user, symbol = self.user(), self.symbol()
        free = self.chain.aave.user_account_data(user).available_borrows_base / 1e8
        if free > 0:
            part = self.random.choice((self.random.random(), 0.98))
            self.chain.aave.borrow(user, symbol, self.units(symbol, free * part))

    def withdraw(self) -> None:
        symbol = self.symbol()
        self.chain.aave.withdraw(self.user(), symbol, self.random.choice((ALL, self.units(symbol, self.dollars()))))

    def repay(self) -> None:
        symbol = self.symbol()
        self.chain.aave.repay(self.user(), symbol, self.random.choice((ALL, self.units(symbol, self.dollars()))))

    def emode(self) -> None:
        self.chain.aave.set_emode(self.user(), self.random.choice((0, 1, 1, 2)))

    def toggle(self) -> None:
        self.chain.aave.set_collateral(self.user(), self.symbol(), self.random.random() < 0.5)

    def transfer(self) -> None:
        symbol = self.symbol()
        self.chain.aave.transfer_a_token(self.user(), self.user(), symbol, self.units(symbol, self.dollars()))

    def move_price(self) -> None:
        symbol = self.symbol()
        factor = self.random.uniform(0.8, 1.25)
        self.chain.set_price(symbol, max(1, int(self._start_prices[symbol] * factor)))

    # --- governance

    @property
    def _governance(self) -> list[Callable[[], object]]:
        return [
            self.terms,
            self.category,
            self.bitmap,
            self.pause,
            self.freeze,
            self.reserve_factor,
            self.fee,
            self.source,
            self.break_and_repair,
            self.list_another,
            self.oracle,
            self.liquidate_for_a_tokens,
        ]

    def terms(self) -> None:
        threshold = self.random.randint(6500, 9000)
        ltv = self.random.randint(5000, threshold - 300)
        self.chain.aave.configure_collateral(self.symbol(), ltv, threshold, self.random.randint(10300, 11000))

    def category(self) -> None:
        threshold = self.random.randint(9200, 9600)
        category = self.random.choice((1, 2, 2, 7))
        self.chain.aave.set_emode_category(category, threshold - 200, threshold, 10150, "random")

    def bitmap(self) -> None:
        symbol, category, allowed = self.symbol(), self.random.choice((1, 2, 7)), self.random.random() < 0.7
        self.chain.aave.set_emode_collateral(symbol, category, allowed)
        self.chain.aave.set_emode_borrowable(self.symbol(), category, True)

    def pause(self) -> None:
        symbol = self.symbol()
        self.chain.aave.set_pause(symbol, True)
        self.chain.aave.set_pause(symbol, False, self.random.choice((0, 3600)))

    def freeze(self) -> None:
        symbol = self.symbol()
        self.chain.aave.set_freeze(symbol, True)
        if self.random.random() < 0.8:
            self.chain.aave.set_freeze(symbol, False)

    def reserve_factor(self) -> None:
        self.chain.aave.set_reserve_factor(self.symbol(), self.random.randint(0, 9000))

    def fee(self) -> None:
        self.chain.aave.set_liquidation_protocol_fee(self.symbol(), self.random.randint(0, 2000))

    def source(self) -> None:
        symbol = self.symbol()
        price = int(self._start_prices[symbol] * self.random.uniform(0.9, 1.1))
        self.chain.aave.set_asset_source(symbol, self.chain.tokens.new_feed(symbol, price))

    def break_and_repair(self) -> None:
        """Leaves the feed broken half of the time; the next break may hit another."""
        symbol = self.symbol()
        self.chain.break_feed(symbol, self.random.choice((FeedMode.REVERTING, FeedMode.ZERO, FeedMode.NEGATIVE)))
        if self.random.random() < 0.5:
            self.chain.mine()
        for repaired in self.symbols:
            self.chain.break_feed(repaired, FeedMode.ANSWERING)

    def oracle(self) -> None:
        self.chain.aave.replace_oracle()

    def list_another(self) -> None:
        """A new reserve, and users in it within the same block as far as one transaction each allows."""
        if "LINK" in self.symbols:
            return
        self.chain.aave.init_reserve("LINK", 18, Decimal(15), _LINK)
        self._start_prices["LINK"] = self.chain.price("LINK")
        self.symbols.append("LINK")

    def liquidate_for_a_tokens(self) -> None:
        """Accrues a collateral's index without announcing it, since v3.6."""
        for user in self.users:
            if self.chain.aave.health(user) < 10**18:
                collateral, debt = self.symbol(), self.symbol()
                with suppress(DevnetError):
                    self.chain.aave.liquidate(self.user(), user, collateral, debt, ALL, receive_a_token=True)
                    return
