"""Evaluating the same positions as the protocols' own SDKs: @aave/math-utils and @morpho-org/blue-sdk, on Node.

They run warm and are handed parsed input; neither reads a chain. Ours is the exact integer path, which a position takes
only if the screen cannot rule it out. Packages are installed into the cache by `npm ci`, which checks locked hashes.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from keeper.core.types import Price
from keeper.core.units import WAD
from keeper.devnet.cache import cache_root, locked
from keeper.protocols.morpho_blue import build
from keeper.protocols.morpho_blue.prices import rate_key
from keeper.protocols.morpho_blue.state import Lending, Market, Position

from . import aave_book
from .profiling import shares
from .row import Row, timed

RESERVES = 4
_ROUNDS = 5
_NODE = Path(__file__).with_name("node")
_TARGET = 1.0
_ID, _LOAN = b"\x1d" * 32, b"\xa0" * 20


def measure(positions: int = 2_000) -> list[Row]:
    aave, aave_input = _aave(positions)
    morpho, morpho_input = _morpho(positions)
    theirs = _theirs({"aave": aave_input, "morpho": morpho_input})
    rows = []
    for name, package, mine in (("aave", "@aave/math-utils", aave), ("morpho", "@morpho-org/blue-sdk", morpho)):
        took, healths = min((_timed(mine) for _ in range(_ROUNDS)), key=lambda run: run[0])
        said = [float(text) * (WAD if name == "aave" else 1) for text in theirs[name]["healths"]]
        apart = max(abs(one / other - 1) for one, other in zip(healths, said, strict=True))
        remark = f"healths differ by at most {apart:.1e}"
        what = f"evaluate {positions:,} positions in exact integers, over {package}"
        floor_s = theirs[name]["seconds"]
        rows.append(timed(what, floor_s, took, _TARGET, remark, reason=partial(_why, mine)))
    return rows


def _why(evaluate: Callable[[], list[int]]) -> str:
    return f"big integers of Python against compiled ones of V8; {shares(evaluate)}"


def _timed(evaluate: Callable[[], list[int]]) -> tuple[float, list[int]]:
    begin = time.perf_counter()
    healths = evaluate()
    return time.perf_counter() - begin, healths


def _theirs(asked: Mapping[str, Any]) -> Any:
    digest = hashlib.sha256((_NODE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = cache_root() / "sdk" / digest
    with locked("sdk"):
        if not (folder / "node_modules" / ".package-lock.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(_NODE / name, folder)
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, stdout=2
            )
    shutil.copy(_NODE / "evaluate.cjs", folder)
    command = ["node", "evaluate.cjs"]
    answer = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=folder)
    return json.loads(answer.stdout)


def _aave(positions: int) -> tuple[Callable[[], list[int]], Mapping[str, Any]]:
    book = aave_book.book(RESERVES, positions)
    assert book.market is not None
    adapter, market, prices = aave_book.adapter(book.market), book.market, book.prices
    reserves = [
        {
            "originalId": reserve.id,
            "id": "0x" + reserve.asset.hex(),
            "underlyingAsset": "0x" + reserve.asset.hex(),
            "symbol": reserve.symbol,
            "name": reserve.symbol,
            "decimals": reserve.decimals,
            "usageAsCollateralEnabled": True,
            "baseLTVasCollateral": str(reserve.liquidation_threshold_bps - 300),
            "reserveLiquidationThreshold": str(reserve.liquidation_threshold_bps),
            "reserveLiquidationBonus": str(reserve.liquidation_bonus_bps),
            "reserveFactor": "1000",
            "liquidityIndex": str(reserve.liquidity_index_ray),
            "variableBorrowIndex": str(reserve.debt_index_ray),
            "liquidityRate": str(reserve.liquidity_rate_ray),
            "variableBorrowRate": str(reserve.debt_rate_ray),
            "lastUpdateTimestamp": reserve.updated_at,
            "priceInMarketReferenceCurrency": str(prices[reserve.asset].value),
            "eModes": [],
            "isActive": True,
            "isFrozen": False,
            "isPaused": False,
            "debtCeilingDecimals": 2,
            **dict.fromkeys(
                (
                    "availableLiquidity",
                    "borrowCap",
                    "deficit",
                    "debtCeiling",
                    "isolationModeTotalDebt",
                    "supplyCap",
                    "totalScaledVariableDebt",
                    "unbacked",
                    "virtualUnderlyingBalance",
                ),
                "0",
            ),
        }
        for reserve in market.reserves
    ]

    def holdings(position: Any) -> list[dict[str, Any]]:
        supplies, debts = dict(position.supplies), dict(position.debts)
        return [
            {
                "underlyingAsset": "0x" + market.by_id[i].asset.hex(),
                "scaledATokenBalance": str(supplies.get(i, 0)),
                "usageAsCollateralEnabledOnUser": i in supplies,
                "scaledVariableDebt": str(debts.get(i, 0)),
            }
            for i in sorted(supplies | debts)
        ]

    def evaluate() -> list[int]:
        held = book.positions.values()
        return [adapter.health(market, prices, one, aave_book.NOW).factor_wad or 0 for one in held]

    users = [holdings(position) for position in book.positions.values()]
    return evaluate, {"reserves": reserves, "users": users, "now": aave_book.NOW}


def _morpho(positions: int) -> tuple[Callable[[], list[int]], Mapping[str, Any]]:
    chance = random.Random(5)  # noqa: S311  the same positions every time
    one = Lending(
        id=_ID,
        loan=_LOAN,
        collateral=b"\xa1" * 20,
        oracle=b"\x0c" * 20,
        irm=b"\x0d" * 20,
        lltv_wad=86 * WAD // 100,
        loan_symbol="USDC",
        loan_decimals=6,
        collateral_symbol="WETH",
        collateral_decimals=18,
        adaptive=True,
        supply_assets=2 * 10**14,
        supply_shares=2 * 10**20,
        borrow_assets=18 * 10**13,
        borrow_shares=18 * 10**19,
        updated_at=aave_book.NOW - 3_600,
        fee_wad=0,
        rate_at_target_wad=10**9,
        used=True,
    )
    market = Market(b"\xbb" * 20, ()).with_lendings({_ID: one})
    price = 2_000 * 10**24
    prices = {_LOAN: Price(10**8, 8), _ID: Price(price, 24), rate_key(_ID): Price(10**9, 18)}
    adapter = build(
        {"name": "morpho", "start_block": 0, "morpho": b"\xbb" * 20, "price_references": {"0x" + _LOAN.hex(): "1"}}
    )
    held = []
    for _ in range(positions):
        shares = int(10 ** chance.uniform(12, 17))
        worth = shares / 10**6 / 2_000e6 * 10**18
        held.append(Position(_ID, shares, int(worth / 0.86 * chance.uniform(0.95, 2.0))))
    told = {
        "lltv": str(one.lltv_wad),
        "totals": [str(value) for value in one.totals],
        "price": str(price),
        "rateAtTarget": str(one.rate_at_target_wad),
    }

    def evaluate() -> list[int]:
        return [adapter.health(market, prices, position, aave_book.NOW).factor_wad or 0 for position in held]

    pairs = [[str(position.borrow_shares), str(position.collateral_assets)] for position in held]
    return evaluate, {"market": told, "positions": pairs, "now": aave_book.NOW}
