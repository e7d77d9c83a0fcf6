"""What happens on the chain of a campaign: owners, prices, rivals and reorganizations, all from one seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal

from eth_hash.auto import keccak

from keeper.devnet.abi import checksummed, encode_call
from keeper.devnet.chain import DevChain
from keeper.devnet.errors import DevnetError
from scripts.campaignlib.crowd import gather
from scripts.campaignlib.inbox import Inbox
from scripts.campaignlib.perp import Perp
from scripts.campaignlib.positions import Aave, Market, Morpho, Position, Venus, View

MARKETS: Mapping[str, Callable[[DevChain], Market]] = {
    "aave_v3": Aave,
    "morpho_blue": Morpho,
    "venus": Venus,
    "perp_v2": Perp,
}

_START = {"WETH": 2_000.0, "WBTC": 60_000.0}
_HISTORY = 2_000
"""States that the node keeps, some megabytes each; with all of them an hour took thirteen gigabytes. Nothing older
is asked for: after an outage positions are read as they are, reorganizations go some blocks deep, and the ledger asks
about what a notice tells of when it arrives."""
_WALLET_DOLLARS = Decimal(200_000_000)
_FEE_WEI = 10**9
_MOVES = 200
_AT_LEVERAGE = 0.35
"""Of the falls that open somebody to liquidation, the share that goes just as far as traders with leverage bear."""
_FLOOR = 0.35
"""Of its first price; nothing falls below."""

_SAFE = 0.55
"""A position that could be liquidated only below this share of the present price is as good as closed."""

_STORM_GAS = 16_000_000
_LITTLE = 10_000
"""Raw units, which change no health that matters."""


class World:
    """Blocks come one `beat` at a time. positions: all that were ever opened, in order."""

    def __init__(self, chain: DevChain, chance: random.Random, inbox: Inbox, kinds: Sequence[str], size: int) -> None:
        self.chain = chain
        self.positions: dict[str, Position] = {}
        self.open: dict[str, Position] = {}
        """Those that still owe, as far as their owners know."""
        self.crowd: list[str] = []
        """Further positions, by id, of which nothing is ever heard but their call."""
        self.happened: Counter[str] = Counter()
        self.markets: dict[str, Market] = {}
        for kind in kinds:
            market = MARKETS[kind](chain)
            self.markets[market.name] = market
        self._chance = random.Random(chance.getrandbits(64))  # noqa: S311
        self._weather = chance  # of prices, whatever owners do
        self._inbox = inbox
        self._size = size
        self._accounts = 0
        self._price = dict(_START)
        self._aim = dict(_START)
        self._calm_for = 0
        self._falls: list[float | None] = []
        self._stirs = 0
        self.views: Mapping[str, View] = {}
        """What the contracts said of each position at the last block that was judged."""
        self._rivalry = False
        self._answered = 0
        self._calm = False

    @classmethod
    @contextmanager
    def begin(
        cls, chance: random.Random, inbox: Inbox, kinds: Sequence[str], size: int, crowd: int = 0
    ) -> Iterator[World]:
        """A chain with deep markets, a rich wallet, and the first owners."""
        with DevChain.start(manual_mining=True, gas_limit=400_000_000, history=_HISTORY, first_come=True) as chain:
            world = cls(chain, chance, inbox, kinds, size)
            for market in world.markets.values():
                market.prepare()
            chain.fund_liquidator(_WALLET_DOLLARS)
            chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(_FEE_WEI))
            for _ in range(size):
                with chain.one_block():
                    world._open()
            world.crowd = gather(chain, crowd) if crowd else []
            chain.mine(3)
            yield world

    # --- one block

    def beat(self) -> None:
        """Everybody does what they do, and a block is mined."""
        actions: list[Callable[[], object]] = []
        if not self._calm:
            actions += self._prices()
            actions += self._owners()
        try:
            with self.chain.one_block():
                for action in actions:
                    self._try(action)
        except DevnetError:  # whoever came too late, since anybody else acts in the same block
            self.happened["actions reverted"] += 1

    def fall(self) -> None:
        """With the next block, prices fall so far that somebody can be liquidated."""
        self._falls.append(None)

    def stir(self) -> None:
        """With the next block, somebody does something that an index has to know of."""
        self._stirs += 1

    def be_calm(self) -> None:
        """No price moves and nobody acts from now on."""
        self._calm = True

    def compete(self) -> None:
        """With the next fall, somebody else liquidates in the same block."""
        self._rivalry = True

    def reorganize(self, depth: int) -> None:
        self.chain.reorg(depth)
        self.happened["reorganizations"] += 1

    def storm(self, events: int) -> int:
        """One block in which a contract moves its own deposit about; how many logs of Aave's token that made."""
        chain = self.chain
        token, sink = chain.aave.reserves["WETH"].a_token, _account(10**9)
        chain.aave.supply(chain.accounts[4], "WETH", Decimal(10), on_behalf_of=chain.multicall3)
        move = (token, False, encode_call("transfer(address,uint256)", (sink, 10**6)))
        moves = encode_call("aggregate3((address,bool,bytes)[])", ([move] * _MOVES,))
        count = -(-events // (2 * _MOVES))  # each move is a Transfer and a BalanceTransfer
        with chain.one_block():
            receipts = [
                chain.client.send_data(chain.accounts[4], chain.multicall3, moves, "storm", gas=_STORM_GAS)
                for _ in range(count)
            ]
        return sum(len(receipt.logs) for receipt in receipts)

    # --- prices

    def _prices(self) -> list[Callable[[], object]]:
        actions: list[Callable[[], object]] = []
        self._calm_for -= 1
        if self._calm_for < 0 and not self._falls and self._weather.random() < 0.08:
            self._falls.append(self._weather.uniform(0.90, 0.97))
        fallen = bool(self._falls)
        if fallen:
            symbol, factor = self._deep_enough(self._falls.pop())
            self._aim[symbol] = self._price[symbol] = max(self._price[symbol] * factor, _START[symbol] * _FLOOR)
            self._calm_for = self._weather.randrange(10, 20)
            self.happened["price falls"] += 1
        elif self._calm_for < 0 and self._weather.random() < 0.06:
            for symbol, start in _START.items():
                self._aim[symbol] = start * self._weather.uniform(0.8, 1.15)
        for symbol, start in _START.items():
            if self._at_floor(symbol):  # what cannot fall any more rises, so that it can
                self._aim[symbol] = start * self._weather.uniform(0.9, 1.15)
        published: float | None = None
        for symbol in _START:
            moved = self._price[symbol] + 0.15 * (self._aim[symbol] - self._price[symbol])
            self._price[symbol] = moved * (1 + self._weather.gauss(0, 0.002))
            if fallen or self._weather.random() < 0.4:
                answer = int(self._price[symbol] * 10**8)
                actions.append(lambda symbol=symbol, answer=answer: self.chain.set_price(symbol, answer))
                published = self._price["WETH"] if symbol == "WETH" else published
        actions += [lambda market=market, price=published: market.move(price) for market in self.markets.values()]
        if fallen and self._rivalry:
            self._rivalry = False
            actions += [lambda one=one: self._snatch(one) for one in list(self.open.values())[:6]]
        return actions

    def _deep_enough(self, factor: float | None) -> tuple[str, float]:
        """Which price falls, and to what share of itself; where that is open, so far that two can be liquidated."""
        symbol = self._weather.choice(("WETH", "WETH", "WBTC"))
        if factor is not None:
            return symbol, factor
        leverage = self._weather.random() < _AT_LEVERAGE
        edges: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
        for name, view in self.views.items():
            if view.health_wad is not None and view.worth_it and view.opens_at and name in self.open:
                position = self.open[name]
                if self._at_floor(position.moved_by):
                    continue
                edges[bool(position.exposed)].setdefault(position.moved_by, []).append(view.opens_at)
        chosen = edges[leverage] or edges[not leverage]
        if not chosen:
            return symbol, 0.9
        near = {symbol: sorted(shares, reverse=True)[:2] for symbol, shares in chosen.items()}
        symbol = max(near, key=lambda one: near[one])
        beyond = 0.995 if chosen is edges[True] else 0.97
        return symbol, min(beyond, max(0.78, beyond * near[symbol][-1]))

    def _at_floor(self, symbol: str) -> bool:
        return self._price[symbol] < _START[symbol] * _FLOOR * 1.15

    def _snatch(self, position: Position) -> None:
        self.markets[position.protocol].rival(position)
        self.happened["rival attempts"] += 1

    # --- owners

    def _owners(self) -> list[Callable[[], object]]:
        actions: list[Callable[[], object]] = []
        if len(self.open) < self._size or self._chance.random() < 0.05:
            actions.append(self._open)
        if self.open and self._chance.random() < 0.04:
            leaving = self._chance.choice(list(self.open.values()))
            actions.append(lambda: self._leave(leaving))
        safe = [name for name, view in self.views.items() if name in self.open and 0 < view.opens_at < _SAFE]
        if safe:  # whom no fall reaches makes room for whom one does
            retiring = self.open[self._chance.choice(safe)]
            actions.append(lambda: self._leave(retiring))
        while self._stirs and self.open:
            self._stirs -= 1
            busy = self._chance.choice(list(self.open.values()))
            actions.append(lambda one=busy: self.markets[one.protocol].add(one, _LITTLE))
        arrived = self._inbox.arrivals[self._answered :]
        self._answered += len(arrived)
        for one in arrived:
            position = self.open.get(one.notice["position"])
            if one.notice["event"] == "opened" and position is not None and self._chance.random() < 0.3:
                actions.append(lambda p=position, demands=one.notice["demands"]: self._cure(p, demands))
        return actions

    def _open(self) -> None:
        market = self._chance.choice(list(self.markets.values()))
        collateral, debt = self._chance.choice(market.collaterals), self._chance.choice(market.debts)
        dollars = self._chance.uniform(15_000, 60_000)
        health = self._chance.uniform(market.least_health, market.most_health)
        self._accounts += 1
        account = _account(self._accounts)
        self.chain.rpc("anvil_setBalance", account, hex(10**20))
        position = market.open(account, collateral, debt, dollars, health)
        self.positions[position.id] = self.open[position.id] = position
        self.happened["positions opened"] += 1

    def _leave(self, position: Position) -> None:
        self.markets[position.protocol].repay(position, None)
        self.happened["debts repaid"] += 1

    def _cure(self, position: Position, demands: Sequence[dict[str, str]]) -> None:
        """Exactly what a notice asked for, one way or the other."""
        market, tokens = self.markets[position.protocol], self.chain.tokens
        for demand in demands:
            asset = demand["asset"].lower()
            if demand["action"] == "repay" and asset == tokens[position.debt].address.lower():
                market.repay(position, int(demand["amount"]))
            elif demand["action"] == "add_collateral" and asset == tokens[position.collateral].address.lower():
                market.add(position, int(demand["amount"]))
            else:
                continue
            self.happened["demands met"] += 1
            return

    def retire(self, position: Position) -> None:
        """It owes nothing any more."""
        self.open.pop(position.id, None)

    def _try(self, action: Callable[[], object]) -> None:
        """What a node refuses at once, like a repayment of what is repaid already."""
        try:
            action()
        except DevnetError:
            self.happened["actions refused"] += 1


def _account(number: int) -> str:
    return checksummed(keccak(b"keeper campaign: owner %d" % number)[12:])
