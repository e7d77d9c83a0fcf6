"""What happens on the chain under load: a price that trembles every other block, falls that open a few loans to
liquidation, storms of events, and a crowd that is called in one block and cured in another. All of it is real."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from eth_hash.auto import keccak

from keeper.devnet.abi import checksummed, encode_call
from keeper.devnet.chain import DevChain
from scripts.campaignlib.crowd import gather
from scripts.campaignlib.positions import Aave, Position, together, told

_WALLET_DOLLARS = Decimal(500_000_000)
_WETH, _DAI = 2_000 * 10**8, 10**8
_FALLEN, _DAI_FALLEN = 0.93, 0.95
_CROWD_OWES_USDC = 7_500 * 10**6
"""Health 1.147 against ten thousand DAI at 86 %, and 1.089 once those are worth 5 % less: below the line of 1.10."""

_LOAN_HEALTH = 1.06
_LOANS_A_FALL = 2
_FALL_EVERY, _FALL_AT, _FALL_BLOCKS = 60, 6, 44
"""In blocks: a fall in each stretch of so many, where it begins, and how long it lasts at most."""

_MOVES, _STORM_GAS = 100, 16_000_000
_EVENTS_A_MOVE = 2  # Transfer and BalanceTransfer
_OWNERS_TOGETHER = 10


@dataclass(slots=True)
class Opened:
    """A loan that is open to liquidation since a block, by the contract's own view; until: when it no longer was."""

    position: str
    since: int
    until: int | None = None
    cause: str = ""

    @property
    def blocks(self) -> int | None:
        """How many blocks it took, 1: it was settled in the next one."""
        return None if self.until is None else self.until - self.since


class World:
    """One `beat` is one block. standing: loans that stay healthy. storm_events: logs of a storm."""

    def __init__(self, chain: DevChain, seed: int, *, crowd: int, standing: int, storm_events: int) -> None:
        self.chain = chain
        self.mined_at: dict[int, float] = {}
        """Monotonic seconds, by block."""
        self.opened: list[Opened] = []
        self.called_at: list[tuple[int, float]] = []
        """Blocks in which the whole crowd fell below its line, and when these were mined."""
        self.storms: list[int] = []
        """Logs of each."""
        self.loans: list[Position] = []
        self.crowd_is_called = False
        self.trouble = ""
        """What goes on beside the chain, to be told with a loan that took long."""
        self._chance = random.Random(seed)  # noqa: S311  (the same blocks every time)
        self._aave = Aave(chain)
        self._storm_events = storm_events
        self._accounts = 0
        self._blocks = 0
        self._fallen = False
        self._orders: list[Callable[[], None]] = []
        chain.fund_liquidator(_WALLET_DOLLARS)
        chain.aave.supply(chain.accounts[4], "WETH", Decimal(10), on_behalf_of=chain.multicall3)
        for first in range(0, standing, _OWNERS_TOGETHER):
            with chain.one_block():
                for _ in range(min(_OWNERS_TOGETHER, standing - first)):
                    self._borrow(self._chance.uniform(1.4, 2.2))
        self.crowd = gather(chain, crowd, _CROWD_OWES_USDC)
        chain.mine(3)

    # --- orders for the next block

    def storm(self) -> None:
        """Thousands of events that touch half as many accounts, each of which is to be read anew."""
        self._orders.append(self._storm)

    def call_crowd(self) -> None:
        self.crowd_is_called = True
        self._orders.append(lambda: self._price("DAI", int(_DAI * _DAI_FALLEN)))
        self.called_at.append((self.chain.block_number + 1, time.monotonic()))

    def cure_crowd(self) -> None:
        self.crowd_is_called = False
        self._orders.append(lambda: self._price("DAI", _DAI))

    # --- one block

    def beat(self, *, calm: bool = False) -> int:
        """Mine a block with all that is to happen in it; its number. calm: no new fall begins."""
        chain, place = self.chain, self._blocks % _FALL_EVERY
        with chain.one_block():
            if place == 0 and not calm:
                for _ in range(_LOANS_A_FALL):
                    self.loans.append(self._borrow(_LOAN_HEALTH))
            self._weather(place, calm)
            orders, self._orders = self._orders, []
            for order in orders:
                order()
        number = chain.block_number
        self.mined_at[number] = time.monotonic()
        self._blocks += not calm
        if self._fallen or self._open():
            self._look(number)
        return number

    def _weather(self, place: int, calm: bool) -> None:
        was = self._fallen
        if place == _FALL_AT and not calm:
            self._fallen = True
        elif place >= _FALL_AT + 2 and self._fallen and (not self._open() or place >= _FALL_AT + _FALL_BLOCKS):
            self._fallen = False
        if self._fallen is not was or self._blocks % 2 == 0:
            level = _WETH * (_FALLEN if self._fallen else 1.0)
            self._price("WETH", int(level * self._chance.uniform(0.9995, 1.0005)))

    def _open(self) -> list[Opened]:
        return [one for one in self.opened if one.until is None]

    def _look(self, number: int) -> None:
        """Ask the contract which loans are open to liquidation in this block."""
        recent = self.loans[-20:]
        if not recent:
            return
        question = "0x" + together(*(self._aave.question(one) for one in recent)).hex()
        answer = self.chain.rpc("eth_call", {"to": self.chain.multicall3, "data": question}, hex(number))
        views = zip(recent, told(bytes.fromhex(answer[2:])), strict=True)
        open_now = {one.id for one, data in views if self._aave.view(one, data).liquidatable}
        known = {one.position: one for one in self._open()}
        for position, one in known.items():
            if position not in open_now:
                one.until = number
        self.opened += [Opened(id_, number, cause=self.trouble) for id_ in sorted(open_now - known.keys())]

    # --- what is done

    def _borrow(self, health: float) -> Position:
        self._accounts += 1
        account = checksummed(keccak(b"keeper endurance: owner %d" % self._accounts)[12:])
        self.chain.rpc("anvil_setBalance", account, hex(10**20))
        return self._aave.open(account, "WETH", "USDC", self._chance.uniform(15_000, 60_000), health)

    def _price(self, symbol: str, answer: int) -> None:
        self.chain.set_price(symbol, answer)

    def _storm(self) -> None:
        """A contract gives a little of its deposit to each of many."""
        chain, token = self.chain, self.chain.aave.reserves["WETH"].a_token
        many = -(-self._storm_events // _EVENTS_A_MOVE)
        for first in range(0, many, _MOVES):
            moves = [
                (token, False, encode_call("transfer(address,uint256)", (_sink(number), 10**6)))
                for number in range(first, min(first + _MOVES, many))
            ]
            data = encode_call("aggregate3((address,bool,bytes)[])", (moves,))
            chain.client.send_data(chain.accounts[4], chain.multicall3, data, "storm", gas=_STORM_GAS)
        self.storms.append(_EVENTS_A_MOVE * many)


def _sink(number: int) -> str:
    return checksummed(keccak(b"keeper endurance: sink %d" % number)[12:])
