"""From the arrival of a head to an accepted transaction, where more than Aave and the wallet is concerned.

Ours: the shipped daemon as its own process, with the position's transaction ready since the block before. On Morpho the
wallet pays; on Aave our contract does, with a loan and a sale, and the call is run on the block while it is read.
The floor is that of the head path: one read at the head's hash, a signature, and a send.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import aave_loans, uniswap
from keeper.devnet.liquidator import Liquidator

from .head import PATIENCE_S, WARM_UP, _daemon, _Floor, _open_position, _until
from .rawsocket import RawWebSocket
from .row import Row, timed

_LIQUIDATES = "liquidationCall(address,address,address,uint256,bool)"
_LENDS = "flashLoanSimple(address,address,uint256,bytes,uint16)"
_SELLS = "exactInput((bytes,address,uint256,uint256,uint256))"
_PAR, _FALLEN, _FALLEN_FAR = Decimal(2_000), Decimal(1_880), Decimal(1_800)
REASON = "a head, a reading and a judgement in an event loop; for our contract also the node's run of its call"
_FAR_REASON = (
    "what was ready repays the half that is allowed at the edge, and demands too little of the whole that now is, "
    "so that it is planned, simulated, signed and stored at the block"
)

Open = Callable[[DevChain, int], Callable[[], int]]
"""Opens a position that the fall will breach; gives what it owes."""


def measure(rounds: int = 20) -> list[Row]:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        return [
            _on_morpho(Path(folder) / "morpho", rounds),
            _by_contract(Path(folder) / "contract", rounds, "Aave, paid by our contract", _FALLEN, REASON),
            _by_contract(
                Path(folder) / "far", rounds, "Aave, paid by our contract, fallen far", _FALLEN_FAR, _FAR_REASON
            ),
        ]


def _on_morpho(folder: Path, rounds: int) -> Row:
    with DevChain.start(manual_mining=True) as chain:
        market, usdc = chain.morpho.main, chain.tokens["USDC"].address
        market.supply(chain.accounts[2], Decimal(10_000_000))
        chain.fund_liquidator(Decimal(10_000_000))
        chain.send(chain.liquidator.address, usdc, "approve(address,uint256)", market.morpho, 2**256 - 1)

        def open_(chain: DevChain, number: int) -> Callable[[], int]:
            owner = chain.make_account(number)
            market.supply_collateral(owner, Decimal(10))
            market.borrow(owner, Decimal(16_500))
            return lambda: market.position(owner).borrow_shares

        tables = {"protocols": ("morpho_blue",)}
        return _row("Morpho, paid by the wallet", chain, folder, rounds, open_, tables, lambda _: None, _FALLEN, REASON)


def _by_contract(folder: Path, rounds: int, what: str, fallen: Decimal, reason: str) -> Row:
    with DevChain.start(manual_mining=True) as chain:
        ours = Liquidator.deployed(chain.client, chain.accounts[0], chain.tokens["WETH"].address)
        ours.allow_operator(chain.liquidator.address)
        ours.allow_call(chain.aave.pool, _LIQUIDATES, _LENDS)
        ours.allow_call(chain.uniswap.router, _SELLS)

        def open_(chain: DevChain, number: int) -> Callable[[], int]:
            owner = _open_position(chain, number)
            return lambda: chain.aave.debt(owner, "USDC")

        def move(price: Decimal) -> None:
            chain.move_pool("WETH", price)

        tables = {
            "executor": {"liquidator": ours.address},
            "venues": [uniswap(chain)],
            "funding": [aave_loans(chain)],
        }
        return _row(what, chain, folder, rounds, open_, tables, move, fallen, reason)


def _row(
    what: str,
    chain: DevChain,
    folder: Path,
    rounds: int,
    open_: Open,
    tables: dict[str, Any],
    move: Callable[[Decimal], None],
    fallen: Decimal,
    reason: str,
) -> Row:
    """move: what exchanges pay. fallen: to which price, from 2,000; half may be repaid down to 1,820, then all."""
    floors, ours, messages = [], [], []
    with (
        DevChain.start(manual_mining=True) as floor_chain,
        RawWebSocket(floor_chain.anvil.port, PATIENCE_S) as node,
        _daemon(chain, folder, chain.ws_url, **tables) as said,
    ):
        floor = _Floor(floor_chain, node)
        for number in range(rounds + WARM_UP):
            floors.append(floor.bare())
            sent = _answered(chain, said, open_(chain, number), move, fallen, number)
            ours.append(sent["seconds"])
            messages.append(len(sent["messages"]))
    floor_s, ours_s = (statistics.median(part[WARM_UP:]) for part in (floors, ours))
    remark = f"{max(messages[WARM_UP:])} messages; best round {min(ours[WARM_UP:]) * 1e3:.2f} ms"
    title = (
        f"websocket: head to accepted transaction of a position on {what}, over a blocking socket that judges nothing"
    )
    return timed(title, floor_s, ours_s, 1.25, remark, reason)


def _answered(
    chain: DevChain,
    said: Iterator[dict[str, Any]],
    owed: Callable[[], int],
    move: Callable[[Decimal], None],
    fallen: Decimal,
    number: int,
) -> dict[str, Any]:
    """What the daemon said when it had answered the fall that opens one position."""
    before = owed()
    _until(said, "armed", chain.block_number)
    move(fallen)
    chain.mine()
    _until(said, "armed", chain.block_number)
    chain.set_price("WETH", fallen)
    sent = _until(said, "sent_block", chain.block_number)
    chain.mine()
    if owed() >= before:
        raise RuntimeError(f"round {number}: nothing was liquidated")
    move(_PAR)
    chain.set_price("WETH", _PAR)
    return sent
