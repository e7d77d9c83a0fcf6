"""What a mined liquidation brought, from its own logs and the block's prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from keeper.core.errors import DecodeError
from keeper.core.records import Intent, IntentStatus
from keeper.core.types import BlockRef, Book, Liquidated, Price
from keeper.executor.lifecycle import Receipt
from keeper.executor.ports import Venue
from keeper.executor.settle import realize

USDC, WETH, OWNER = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
PRICES = {USDC: Price(10**8, 8), WETH: Price(2_000 * 10**8, 8)}
DECIMALS = {USDC: 6, WETH: 18}
RECEIPT = Receipt(b"\x09" * 32, BlockRef(1, b""), True, 200_000, 10**15)  # gas for $2
INTENT = Intent(
    id="a",
    kind="liquidation",
    cause="liquidate:a",
    protocol="pool",
    position="a",
    account=OWNER,
    status=IntentStatus.INCLUDED,
    judged_number=1,
    judged_hash=b"",
    created_at=0.0,
    updated_at=0.0,
    plan={},
    debt_asset=USDC,
    collateral_asset=WETH,
)
SEEN = Liquidated(b"a", OWNER, b"", USDC, 1_000 * 10**6, WETH, 525 * 10**15, b"\x09" * 32, 0)


class Protocol:
    name = "pool"

    def __init__(self, *seen: Liquidated) -> None:
        self.seen = seen

    def position_id(self, key: bytes) -> str:
        return key.decode()

    def base_decimals(self, market: object) -> int:
        return 8

    def liquidations(self, market: object, logs: object) -> Sequence[Liquidated]:
        if not self.seen:
            raise DecodeError("LiquidationCall has 3 words; it must have 4")
        return self.seen


def realized(*seen: Liquidated, **more: Any) -> Intent:
    prices = more.pop("prices", PRICES)
    venue = Venue(cast(Any, Protocol(*seen)), Book(market=object(), prices=prices))
    usual: dict[str, Any] = {"decimals": DECIMALS, "native_asset": WETH}
    return realize(INTENT, RECEIPT, venue, **{**usual, **more})


def test_the_profit_is_what_was_seized_less_what_was_repaid_and_the_gas() -> None:
    """0.525 WETH at $2,000 for 1,000 USDC, gas $2: $48."""
    intent = realized(SEEN)
    assert (intent.repaid_assets, intent.seized_assets) == (1_000 * 10**6, 525 * 10**15)
    assert intent.profit_realized == 48 * 10**8


def test_what_others_liquidated_in_the_same_transaction_does_not_count() -> None:
    assert realized(replace(SEEN, key=b"b"), SEEN).profit_realized == 48 * 10**8


def test_of_several_assets_the_planned_ones_count_and_the_profit_is_unknown() -> None:
    """An account that is taken whole pledged another token since it was planned, or borrowed one: each asset counts by
    itself, whatever it is told with, and what the others are worth nobody can say."""
    dai, wbtc = b"\x04" * 20, b"\x05" * 20
    seen = replace(SEEN, collateral_asset=wbtc, seized_assets=7), replace(SEEN, debt_asset=dai, repaid_assets=0)
    owing = SEEN, replace(SEEN, debt_asset=dai, repaid_assets=7, seized_assets=0)
    for intent in (realized(*seen), realized(*owing)):
        assert (intent.repaid_assets, intent.seized_assets) == (SEEN.repaid_assets, SEEN.seized_assets)
        assert intent.profit_realized is None
    nothing = replace(SEEN, debt_asset=dai, repaid_assets=0, seized_assets=0)
    assert realized(SEEN, nothing).profit_realized == 48 * 10**8


def test_without_a_price_or_decimals_the_profit_is_unknown_but_not_the_amounts() -> None:
    for unknown in ({"prices": {USDC: PRICES[USDC]}}, {"decimals": {USDC: 6}}, {"native_asset": None}):
        intent = realized(SEEN, **unknown)
        assert intent.seized_assets == SEEN.seized_assets
        assert intent.profit_realized is None


def test_logs_that_do_not_decode_leave_the_outcome_unknown() -> None:
    """The block goes on: that it was mined is known, and said."""
    assert realized() == INTENT
