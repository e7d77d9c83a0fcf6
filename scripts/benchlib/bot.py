"""A block in which something can be liquidated: ours, and the bot that tutorials write, on the same chain and block.

The bot asks getUserAccountData of each account it knows, one after the other, and sends liquidationCall for whom it
finds below 1, with web3.py as it comes. Ours is the shipped pipeline: it reads the block, judges everybody, stores,
simulates, journals and sends.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from keeper.devnet.chain import DevChain

from .round_trips import Follower, following
from .row import Row, timed

ACCOUNTS = 50
_TARGET = 0.2


def measure(rounds: int = 5) -> list[Row]:
    return asyncio.run(_measure(rounds))


async def _measure(rounds: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, DevChain.start(manual_mining=True) as chain:
        os.environ["KEEPER_PRIVATE_KEY"] = chain.liquidator.private_key
        chain.fund_liquidator()
        known = [chain.make_account(number) for number in range(ACCOUNTS)]
        for owner in known:
            chain.aave.supply(owner, "WETH", Decimal(10))
            chain.aave.borrow(owner, "USDC", Decimal(9_000))
        bot = Bot(chain)
        theirs, ours = [], []
        async with following(chain, Path(folder)) as follower:
            for number in range(rounds + 1):
                doomed = chain.make_account(1_000 + number)
                chain.aave.supply(doomed, "WETH", Decimal(10))
                chain.aave.borrow(doomed, "USDC", Decimal(15_900))
                await follower.take()
                chain.set_price("WETH", Decimal(1_700))
                begin = time.perf_counter()
                sent = bot.look([*known, doomed])
                theirs.append(time.perf_counter() - begin)
                chain.rpc("anvil_dropTransaction", sent)
                ours.append(await _act(follower))
                chain.mine()
                chain.set_price("WETH", Decimal(2_000))
                await follower.take()
    bot_s, ours_s = (statistics.median(part[1:]) for part in (theirs, ours))  # the first approves, and warms up
    what = f"from a block to a liquidation sent, of {ACCOUNTS + 1} accounts, over a minimal web3.py bot"
    return [timed(what, bot_s, ours_s, _TARGET, f"{bot_s / ours_s:.0f} times as fast")]


async def _act(follower: Follower) -> float:
    begin = time.perf_counter()
    sent = await follower.take()
    took = time.perf_counter() - begin
    if not sent["submit"]:
        raise RuntimeError("nothing was sent although a position can be liquidated")
    return took


class Bot:
    """As in the tutorials."""

    def __init__(self, chain: DevChain) -> None:
        from web3 import HTTPProvider, Web3

        self._web3 = Web3(HTTPProvider(chain.rpc_url))
        self._account = self._web3.eth.account.from_key("0x" + "43" * 32)
        chain.rpc("anvil_setBalance", self._account.address, hex(10**21))
        chain.fund(self._account.address, "USDC", Decimal(1_000_000))
        everything = 2**256 - 1
        chain.send(
            self._account.address, chain.tokens["USDC"].address, "approve(address,uint256)", chain.aave.pool, everything
        )
        self._pool = self._web3.eth.contract(address=self._web3.to_checksum_address(chain.aave.pool), abi=_ABI)
        self._weth, self._usdc = chain.tokens["WETH"].address, chain.tokens["USDC"].address

    def look(self, accounts: list[str]) -> str:
        """Hash of the transaction sent for the first account whose health is below 1."""
        for account in accounts:
            health = self._pool.functions.getUserAccountData(account).call()[5]
            if health < 10**18:
                return self._liquidate(account)
        raise RuntimeError("the bot found nobody although a position can be liquidated")

    def _liquidate(self, account: str) -> str:
        call = self._pool.functions.liquidationCall(self._weth, self._usdc, account, 2**256 - 1, False)
        nonce = self._web3.eth.get_transaction_count(self._account.address)
        transaction = call.build_transaction({"from": self._account.address, "nonce": nonce})
        signed = self._account.sign_transaction(transaction)
        return self._web3.eth.send_raw_transaction(signed.raw_transaction).to_0x_hex()


def _function(name: str, inputs: tuple[str, ...], outputs: int, mutability: str) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "stateMutability": mutability,
        "inputs": [{"name": f"a{n}", "type": type_} for n, type_ in enumerate(inputs)],
        "outputs": [{"name": f"r{n}", "type": "uint256"} for n in range(outputs)],
    }


_ABI = [
    _function("getUserAccountData", ("address",), 6, "view"),
    _function("liquidationCall", ("address", "address", "address", "uint256", "bool"), 0, "nonpayable"),
]
