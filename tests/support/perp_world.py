"""A lively vETH market: seeded random traders, makers, a moving index and time, reverts allowed."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal

from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError
from keeper.protocols.perp_v2 import PerpV2, build
from keeper.protocols.perp_v2.state import Account, Market
from tests.support import follower

_RANGES = ((1_000, 4_000), (1_600, 2_400), (1_900, 2_100), (2_000, 2_600))


class Follower(follower.Follower[Market, Account]):
    def __init__(self, chain: DevChain) -> None:
        super().__init__(chain, adapter_of(chain))


def adapter_of(chain: DevChain, most_usd: int = 1_000_000) -> PerpV2:
    house = bytes.fromhex(chain.perp.clearing_house[2:])
    options = {"clearing_house": house, "max_inherited_usd": Decimal(most_usd), "exit_cost_bps": 30}
    return build({"name": "perp", "start_block": 0, **options})


class World:
    """`act` does one random thing, in a block of its own. Accounts are plain addresses; nobody has their keys."""

    def __init__(self, chain: DevChain, seed: int, users: int) -> None:
        self.chain = chain
        self.perp = chain.perp
        self.random = random.Random(seed)
        self.maker = chain.accounts[0]
        self.users = [chain.make_account(9_000 + number) for number in range(users)]
        self.liquidity: dict[tuple[str, tuple[int, int]], int] = {}
        self.perp.deposit(self.maker, Decimal(5_000_000))
        self.perp.add_liquidity(self.maker, Decimal(2_000), Decimal(4_000_000), *_RANGES[0])

    def act(self) -> None:
        with suppress(DevnetError):
            self.random.choice(self._actions)()

    @property
    def _actions(self) -> list[Callable[[], object]]:
        trades = [self.trade] * 6 + [self.deposit] * 3
        return [*trades, self.withdraw, self.close, self.provide, self.index, self.wait, self.settle, self.liquidate]

    def user(self) -> str:
        return self.random.choice(self.users)

    def deposit(self) -> None:
        self.perp.deposit(self.user(), self.random.randint(1, 20_000 * 10**6))

    def withdraw(self) -> None:
        self.perp.withdraw(self.user(), self.random.randint(1, 2_000 * 10**6))

    def trade(self) -> None:
        size = self.random.randint(10**14, 25 * 10**18) * self.random.choice((1, -1))
        self.perp.trade(self.user(), size)

    def close(self) -> None:
        self.perp.close(self.user())

    def provide(self) -> None:
        """Orders around the price, on one side of it or the other."""
        base, quote = Decimal(self.random.randint(0, 5)), Decimal(self.random.randint(0, 10_000))
        self.perp.add_liquidity(self.user(), base, quote, *self.random.choice(_RANGES[1:]))

    def index(self) -> None:
        self.perp.set_index(Decimal(self.random.randint(1_700, 2_300)))

    def wait(self) -> None:
        self.chain.warp(self.random.choice((1, 16, 600, 7_200)))

    def settle(self) -> None:
        self.chain.send(self.maker, self.perp.clearing_house, "settleAllFunding(address)", self.user())

    def liquidate(self) -> None:
        """Whoever is open to it; their orders first."""
        base = self.perp.deployment.base
        for user in self.users:
            margin = self.perp.margin(user)
            if margin.account_value < margin.requirement:
                with suppress(DevnetError):
                    cancel = "cancelAllExcessOrders(address,address)"
                    self.chain.client.send(self.maker, self.perp.clearing_house, cancel, user, base, gas=8_000_000)
                self.perp.liquidate(self.maker, user)
                return
