"""A lively Morpho: seeded random users, prices, fees and time in markets of every kind, reverts allowed."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

from keeper.devnet.chain import DevChain
from keeper.devnet.contracts import morpho_artifacts
from keeper.devnet.errors import DevnetError, Reverted
from keeper.devnet.morpho import NOBODY, MorphoMarket
from keeper.devnet.tokens import FeedMode
from keeper.protocols.morpho_blue import MorphoBlue, build

_BEGINNING = 2_000_000_000
_BLOCK_TIME_S = 12


def adapter(chain: DevChain, markets: tuple[str, ...] = ()) -> MorphoBlue:
    """Every token of the chain is worth what its feed says."""
    return build(
        {
            "name": "morpho",
            "start_block": 0,
            "morpho": bytes.fromhex(chain.morpho.address[2:]),
            "markets": markets,
            "pre_liquidation_factory": bytes.fromhex(chain.morpho.factory[2:]),
            "price_references": {token.address: token.feed for token in chain.tokens.by_symbol.values()},
        }
    )


class World:
    """`step` mines one block of random actions and perhaps some more. Users are plain addresses.

    Markets: the first of a utilization model; adaptive curves; one without interest; one with an oracle that nobody
    deployed, one whose oracle is set, breaks and says nothing but zero.
    """

    def __init__(self, chain: DevChain, seed: int, users: int = 25) -> None:
        self.chain = chain
        self.random = random.Random(seed)
        self.users = [f"0x{self.random.getrandbits(160):040x}" for _ in range(users)]
        self._start_prices = {symbol: chain.price(symbol) for symbol in chain.tokens.by_symbol}
        self.offers: list[tuple[MorphoMarket, str]] = []
        morpho = chain.morpho
        settable = chain.client.deploy(morpho.admin, morpho_artifacts()["SettableOracle"], (10**48,))
        self.settable = settable
        morpho.add_market("WBTC", "USDC", lltv_wad=945 * 10**15)
        morpho.add_market("WBTC", "WETH", lltv_wad=625 * 10**15)
        morpho.add_market("DAI", "USDC", irm=NOBODY, lltv_wad=98 * 10**16)
        morpho.add_market("USDC", "DAI", oracle=settable)
        morpho.add_market("WETH", "DAI", oracle="0x" + "0d" * 20)
        chain.rpc("anvil_setBlockTimestampInterval", _BLOCK_TIME_S)
        chain.anvil.set_next_timestamp(max(_BEGINNING, chain.timestamp + 1))
        for user in self.users:
            chain.rpc("anvil_setBalance", user, hex(10**21))
        morpho.set_fee_recipient(self.users[0])
        for market in self.markets:
            market.supply(self.user(), self.units(market.loan, 2_000_000))

    @property
    def markets(self) -> list[MorphoMarket]:
        return list(self.chain.morpho.markets.values())

    def step(self, actions: int = 12) -> None:
        """Actions of one block, each by its own choice; what reverts did not happen."""
        with suppress(Reverted), self.chain.one_block():
            for _ in range(actions):
                with suppress(DevnetError):
                    self.random.choice(self._usual)()
        if self.random.random() < 0.5:
            with suppress(DevnetError):
                self.random.choice(self._rare)()
        if self.random.random() < 0.3:
            self.chain.warp(self.random.choice((1, 13, 3600, 86_400, 30 * 86_400)))

    # --- choices

    def user(self) -> str:
        return self.random.choice(self.users)

    def market(self) -> MorphoMarket:
        return self.random.choice(self.markets)

    def units(self, symbol: str, dollars: float) -> int:
        token = self.chain.tokens[symbol]
        return max(1, int(dollars * 10 ** (8 + token.decimals)) // self._start_prices[symbol])

    def dollars(self) -> float:
        """From a thousandth of a dollar to three hundred thousand."""
        return 10 ** self.random.uniform(-3, 5.5)

    @property
    def _usual(self) -> list[Callable[[], object]]:
        common = [self.pledge] * 4 + [self.borrow] * 5 + [self.repay] * 2 + [self.unpledge] * 2
        return [*common, self.supply, self.withdraw, self.accrue, self.liquidate, self.liquidate, self.authorize]

    @property
    def _rare(self) -> list[Callable[[], object]]:
        return [
            self.move_price,
            self.move_price,
            self.move_oracle,
            self.move_oracle,
            self.break_feed,
            self.fee,
            self.create,
            self.offer,
        ]

    # --- actions

    def supply(self) -> None:
        market = self.market()
        market.supply(self.user(), self.units(market.loan, self.dollars()))

    def withdraw(self) -> None:
        market = self.market()
        market.withdraw(self.user(), self.units(market.loan, self.dollars()))

    def pledge(self) -> None:
        market = self.market()
        market.supply_collateral(self.user(), self.units(market.collateral, self.dollars()))

    def borrow(self) -> None:
        """Near the limit as often as not."""
        market, user = self.market(), self.user()
        position = market.position(user)
        limit = position.collateral_assets * market.price() // 10**36 * market.params[4] // 10**18
        free = limit - position.owed_assets
        if free > 0:
            market.borrow(user, max(1, int(free * self.random.choice((self.random.random(), 0.999, 1.0)))))

    def repay(self) -> None:
        market, user = self.market(), self.user()
        position = market.position(user)
        if position.borrow_shares:
            if self.random.random() < 0.4:
                market.repay(user)
            else:
                market.repay(self.user(), max(1, int(position.owed_assets * self.random.random())), user)

    def unpledge(self) -> None:
        market, user = self.market(), self.user()
        position = market.position(user)
        if position.collateral_assets:
            part = self.random.choice((1.0, self.random.random()))
            market.withdraw_collateral(user, max(1, int(position.collateral_assets * part)))

    def accrue(self) -> None:
        self.market().accrue(self.user())

    def liquidate(self) -> None:
        """Somebody who looks liquidatable, if the chosen market has one: by shares, by collateral, or in part."""
        market = self.market()
        price, lltv = market.price(), market.params[4]
        for borrower in self.random.sample(self.users, len(self.users)):
            position = market.position(borrower)
            if position.collateral_assets * price // 10**36 * lltv // 10**18 < position.owed_assets:
                kind = self.random.randrange(3)
                if kind == 0:
                    market.liquidate(self.user(), borrower)
                elif kind == 1:
                    market.liquidate(self.user(), borrower, seized=position.collateral_assets)
                else:
                    market.liquidate(self.user(), borrower, shares=max(1, position.borrow_shares // 3))
                return

    def move_price(self) -> None:
        symbol = self.random.choice(list(self._start_prices))
        factor = self.random.uniform(0.7, 1.3)
        self.chain.set_price(symbol, max(1, int(self._start_prices[symbol] * factor)))

    def move_oracle(self) -> None:
        """The settable oracle: some price, zero, or a revert; and back."""
        answer = self.random.choice((10**48, 10**48, 9 * 10**47, 0, 1))
        self.chain.send(self.user(), self.settable, "set(uint256)", answer)
        self.chain.send(self.user(), self.settable, "setBroken(bool)", self.random.random() < 0.5)

    def break_feed(self) -> None:
        symbol = self.random.choice(["WBTC", "DAI"])
        self.chain.break_feed(symbol, self.random.choice((FeedMode.ANSWERING, FeedMode.ANSWERING, FeedMode.REVERTING)))

    def fee(self) -> None:
        self.market().set_fee(self.random.randint(0, 25) * 10**16)

    def create(self) -> None:
        if len(self.markets) < 9:
            market = self.chain.morpho.add_market("WETH", "USDC", lltv_wad=self.random.choice((385, 770, 915)) * 10**15)
            market.supply(self.user(), self.units("USDC", 10_000))

    def offer(self) -> None:
        """A pre-liquidation contract of random terms, sometimes with an oracle of its own."""
        if len(self.offers) < 6:
            market = self.market()
            lltv = market.params[4] * self.random.randint(70, 99) // 100
            most = 10**36 // market.params[4] - 10**18
            incentives = sorted(10**18 + int(most * self.random.random()) for _ in range(2))
            closes = sorted(int(10**18 * self.random.uniform(0.05, 1)) for _ in range(2))
            oracle = self.settable if self.random.random() < 0.3 else None
            made = market.offer_pre_liquidation(lltv, (closes[0], closes[1]), (incentives[0], incentives[1]), oracle)
            self.offers.append((market, made))

    def authorize(self) -> None:
        """Whoever has a position there, more often than not."""
        if self.offers:
            market, made = self.random.choice(self.offers)
            owners = [user for user in self.users if market.position(user).collateral_assets] or self.users
            market.authorize(self.random.choice(owners), made, self.random.random() < 0.8)
