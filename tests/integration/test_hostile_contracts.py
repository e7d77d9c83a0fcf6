"""Contracts of strangers that attack whoever asks them: as oracles of markets in use, and as tokens of new markets.

On a permissionless protocol anybody lists both. Whatever they do when they are asked costs a bounded time and their own
market: the daemon follows every block, and what can be liquidated elsewhere is.
"""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

from eth_utils.address import to_checksum_address

from keeper.devnet.chain import DevChain
from keeper.devnet.morpho import MorphoMarket
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import open_inbox

PROTOCOLS = ("aave_v3", "morpho_blue")
SLOWEST_BLOCK_S = 5.0
"""On a machine that does much else; a burnt eth_call of the whole block's gas is most of it."""

JUDGED = "returns a million bytes"
"""All of them zero, which is an answer: Morpho itself takes it for a price."""

HOSTILE = {
    "reverts": "5f5ffd",
    "reverts with a million bytes": "620f42405ffd",
    "burns all gas that it is given": "5b600056",
    "returns seven bytes": "60075ff3",
    "is no code": "fe",
    "calls itself until nothing is left": "5f5f5f5f305afa5f5ffd",
    "calls back into what reads it": "5f5f5f5f335afa5f5ffd",
    "returns the largest number": "7f" + "ff" * 32 + "5f5260205ff3",
    "returns a million bytes": "620f42405ff3",
}
"""By what it does when it is called, its code."""

AS_TOKENS = ("reverts with a million bytes", "burns all gas that it is given", "returns a million bytes")


def address(number: int) -> str:
    return f"0x{0xEE << 152 | number:040x}"


def answering(number: int) -> str:
    return "0x7f" + number.to_bytes(32, "big").hex() + "5f5260205ff3"


def borrower(market: MorphoMarket, number: int, collateral: int, debt: int) -> str:
    who = str(to_checksum_address(f"0x{0xB0B0000 + number:040x}"))
    market.client.rpc("anvil_setBalance", who, hex(10**19))
    market.supply_collateral(who, Decimal(collateral))
    market.borrow(who, Decimal(debt))
    return who


def followed(keeper: Keeper, blocks: int) -> float:
    """Seconds until the daemon had the slowest of so many blocks."""
    slowest = 0.0
    for _ in range(blocks):
        began = time.monotonic()
        keeper.chain.mine()
        keeper.until_synced()
        slowest = max(slowest, time.monotonic() - began)
    return slowest


def test_hostile_oracles_and_tokens_cost_their_own_market_alone(dev_chain: DevChain, tmp_path: Path):
    """Nine kinds at once as oracles of markets with borrowers, then some as both tokens of markets that appear."""
    chain, morpho = dev_chain, dev_chain.morpho
    lender = chain.accounts[5]
    morpho.supply(lender, Decimal(1_000_000))
    honest = borrower(morpho.main, 99, 10, 10_000)
    victims: dict[str, str] = {}
    for number, what in enumerate(HOSTILE):
        chain.rpc("anvil_setCode", address(number), answering(10**24))  # a dollar is a dollar, as yet
        market = morpho.add_market("DAI", "USDC", oracle=address(number))
        market.supply(lender, Decimal(10_000))
        victims[what] = borrower(market, number, 1_000, 500)
    chain.fund_liquidator()
    with (
        open_inbox() as inbox,
        deploy(tmp_path, chain, inbox, mode="live", protocols=PROTOCOLS) as keeper,
    ):
        keeper.start()
        keeper.until_synced()
        assert len(bands(keeper)) == len(HOSTILE) + 1
        assert set(bands(keeper).values()) == {"safe"} | {bands(keeper)[honest]}

        for number, code in enumerate(HOSTILE.values()):
            chain.rpc("anvil_setCode", address(number), f"0x{code}")
        assert followed(keeper, 3) < SLOWEST_BLOCK_S
        found = bands(keeper)
        assert {what for what, who in victims.items() if found[who] != "unknown"} == {JUDGED}
        assert found[honest] != "unknown"
        assert inbox.events(honest) == []

        slowest = 0.0
        for number, what in enumerate(HOSTILE):  # and now some of their authors list them as tokens
            if what in AS_TOKENS:
                params = (address(number), address(number), morpho.params[2], morpho.adaptive, morpho.params[4])
                signature = "createMarket((address,address,address,address,uint256))"
                chain.client.send(lender, morpho.address, signature, params)
                slowest = max(slowest, followed(keeper, 1))
        assert slowest < SLOWEST_BLOCK_S

        chain.set_price("WETH", Decimal(1_050))
        keeper.until("the honest market's call", lambda: "opened" in inbox.events(honest))
        keeper.until(
            "its liquidation",
            lambda: statuses(keeper).get(honest) in ("included", "confirmed"),
        )
        assert keeper.terminate() == 0
        assert "Traceback" not in keeper.log_tail()


def statuses(keeper: Keeper) -> dict[str, str]:
    """By account, of what we did about it last."""
    return {row["account"]: row["status"] for row in keeper.liquidations()}


def bands(keeper: Keeper) -> dict[str, str]:
    """By account, of Morpho's positions."""
    rows = keeper.positions().values()
    return {row["account"]: row["band"] for row in rows if row["kind"] == "morpho_blue"}
