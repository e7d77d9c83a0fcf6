"""What happens on a busy lending market, block after block, the same for the same seed: borrowers at work, a price that
moves, a crash now and then, and reorgs. The population is fixed, so that whatever grows is not the market."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from decimal import Decimal

from keeper.core.units import UINT256_MAX
from keeper.devnet.abi import Address, encode_call
from keeper.devnet.chain import DevChain

_SPACING_S = 12
_CRASH_EVERY, _CRASH_BLOCKS, _CRASH_TO = 250, 6, 0.86
_LEVER_AT = 20
_REORG_EVERY, _DEEPEST = 170, 12
_REFILL_EVERY = 1_000
_PRICE = 2_000.0
_PULL, _SIGMA = 0.02, 0.001  # of the log price toward its mean, and of its noise, per block
_VARIABLE = 2
_GAS = hex(900_000)


@dataclass(slots=True)
class Tally:
    """What was done to the chain, reverted transactions included."""

    blocks: int = 0
    transactions: int = 0
    crashes: int = 0
    reorgs: int = 0


class Activity:
    """Borrowers with WETH against USDC on the chain's Aave, at healths from just above 1.05 to 1.8."""

    def __init__(self, chain: DevChain, borrowers: int, seed: int) -> None:
        self._chain = chain
        self._chance = random.Random(seed)  # noqa: S311  the same blocks every time
        self._log_price = 0.0
        self._weth, self._usdc = (chain.tokens[symbol].address for symbol in ("WETH", "USDC"))
        self._feed = chain.tokens["WETH"].feed
        self.tally = Tally()
        self._people = [chain.make_account(number) for number in range(borrowers)]
        for first in range(0, borrowers, 50):
            with chain.one_block():
                for who in self._people[first : first + 50]:
                    self._settle_in(who)
        chain.rpc("anvil_setBlockTimestampInterval", _SPACING_S)

    def _settle_in(self, who: Address) -> None:
        """Tokens and approvals for everything that may follow, and a loan."""
        chain, pool = self._chain, self._chain.aave.pool
        for symbol, amount in (("WETH", Decimal(1_000_000)), ("USDC", Decimal(1_000_000_000))):
            chain.tokens.mint(who, symbol, amount)
            token = chain.tokens[symbol].address
            chain.client.send(who, token, "approve(address,uint256)", pool, UINT256_MAX, gas=100_000)
        self._supply(who, 10.0)
        self._borrow(who, 10 * 0.83 / self._chance.uniform(1.06, 1.8))

    # --- blocks

    def step(self) -> None:
        """One more block, or a reorg and one more block."""
        number = self.tally.blocks
        if number % _REORG_EVERY == _REORG_EVERY - 1:
            self._chain.reorg(self._chance.randint(1, _DEEPEST))
            self.tally.reorgs += 1
        if number % _REFILL_EVERY == 0:
            self._refill()
        self._move_price(number % _CRASH_EVERY)
        if number % _CRASH_EVERY == _LEVER_AT:
            self._lever()
        for _ in range(self._chance.randint(0, 4)):
            self._act(self._chance.choice(self._people))
        self._chain.mine()
        self.tally.blocks += 1

    def _move_price(self, place: int) -> None:
        """A price that wanders about its mean, and falls for a few blocks at the end of every stretch."""
        self._log_price += self._chance.gauss(-_PULL * self._log_price, _SIGMA)
        crashed = place >= _CRASH_EVERY - _CRASH_BLOCKS
        self.tally.crashes += place == _CRASH_EVERY - _CRASH_BLOCKS
        price = _PRICE * math.exp(self._log_price) * (_CRASH_TO if crashed else 1.0)
        self._send(self._chain.aave.market.admin, self._feed, "set(int256)", int(price * 10**8))

    def _act(self, who: Address) -> None:
        """One thing that borrowers do. Some of it reverts, as it does out there."""
        amount = self._chance.uniform(0.01, 0.2)
        self._chance.choice((self._supply, self._withdraw, self._repay, self._borrow))(who, amount)

    def _lever(self) -> None:
        """After a crash has taken them down, many borrow again what they can."""
        for who in self._chance.sample(self._people, len(self._people) // 3):
            self._supply(who, 0.5)
            self._borrow(who, self._chance.uniform(0.2, 2.0))

    def _supply(self, who: Address, ether: float) -> None:
        signature = "supply(address,uint256,address,uint16)"
        self._send(who, self._chain.aave.pool, signature, self._weth, int(ether * 10**18), who, 0)

    def _withdraw(self, who: Address, ether: float) -> None:
        self._send(
            who, self._chain.aave.pool, "withdraw(address,uint256,address)", self._weth, int(ether * 10**18), who
        )

    def _repay(self, who: Address, ether: float) -> None:
        signature, dollars = "repay(address,uint256,uint256,address)", int(ether * _PRICE * 10**6)
        self._send(who, self._chain.aave.pool, signature, self._usdc, dollars, _VARIABLE, who)

    def _borrow(self, who: Address, ether: float) -> None:
        signature, dollars = "borrow(address,uint256,uint256,uint16,address)", int(ether * _PRICE * 10**6)
        self._send(who, self._chain.aave.pool, signature, self._usdc, dollars, _VARIABLE, 0, who)

    def _refill(self) -> None:
        """Keeper pays with its own tokens and keeps what it seizes; its wallet is not what is looked at here."""
        wallet = self._chain.liquidator.address
        amount = int(10_000_000e6)
        self._send(self._chain.aave.market.admin, self._usdc, "mint(address,uint256)", wallet, amount)

    def _send(self, sender: Address, to: Address, signature: str, *args: object) -> None:
        data = "0x" + encode_call(signature, args).hex()
        self._chain.rpc("eth_sendTransaction", {"from": sender, "to": to, "data": data, "gas": _GAS})
        self.tally.transactions += 1
