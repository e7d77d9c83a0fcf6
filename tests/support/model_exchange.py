"""Exchanges and lenders that fit on a page: pools of constant product, quoted as a chain would quote them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from keeper.core.ports import Reads
from keeper.core.types import Call, CallResult, LiquidationPair, LiquidationPlan, Skip, TxCall
from keeper.executor.liquidator_calls import Step
from keeper.executor.planning.ports import Loan, Pair, Permission, Route, Sale


@dataclass(frozen=True)
class ModelPool:
    """Reserves of what is sold and bought; the fee in basis points."""

    address: bytes
    sold_reserve: int
    bought_reserve: int
    fee_bps: int = 30
    gas: int = 100_000

    @property
    def name(self) -> str:
        return f"pool {self.address.hex()}"

    @property
    def pools(self) -> frozenset[bytes]:
        return frozenset({self.address})

    def pays(self, sold_assets: int) -> int:
        effective = sold_assets * (10_000 - self.fee_bps)
        return self.bought_reserve * effective // (self.sold_reserve * 10_000 + effective)

    def costs(self, bought_assets: int) -> int | None:
        """The least that must be sold to get so much."""
        if bought_assets >= self.bought_reserve:
            return None
        left = self.bought_reserve - bought_assets
        return -(-self.sold_reserve * bought_assets * 10_000 // (left * (10_000 - self.fee_bps)))

    def price(self, bought_assets: int) -> Call:
        cost = self.costs(bought_assets)
        return Call(self.address, (cost or 0).to_bytes(32, "big"))

    def sold(self, result: CallResult) -> int | None:
        return self.bought(result)

    def purchase(self, bought_assets: int, most_sold_assets: int, receiver: bytes, deadline: int) -> Sale:
        return Sale(self.address, b"buys" + bought_assets.to_bytes(32, "big"), None)

    def quote(self, sold_assets: int) -> Call:
        return Call(self.address, self.pays(sold_assets).to_bytes(32, "big"))

    def bought(self, result: CallResult) -> int | None:
        return None if result is None else int.from_bytes(result, "big") or None

    def sale(self, sold_assets: int, least_bought_assets: int, receiver: bytes, deadline: int) -> Sale:
        return Sale(self.address, b"sell" + sold_assets.to_bytes(32, "big"), 4)


@dataclass(frozen=True)
class ModelVenue:
    """Discovered in one round trip the first time."""

    by_pair: Mapping[Pair, Sequence[ModelPool]]
    name: str = "model"
    known: set[Pair] = field(default_factory=set)

    def addresses(self) -> Mapping[str, bytes]:
        return {}

    def permissions(self, *, buys: bool) -> Sequence[Permission]:
        return []

    def routes(self, pairs: Collection[Pair], now: int) -> Reads[Mapping[Pair, Sequence[Route]]]:
        if not set(pairs) <= self.known:
            yield [Call(b"factory", b"")]
            self.known.update(pairs)
        return {pair: list(self.by_pair.get(pair, ())) for pair in pairs}


@dataclass(frozen=True)
class ModelLender:
    token: bytes
    available: int
    fee_bps: int = 0
    gas: int = 50_000
    lender: bytes = b"\xee" * 20
    name: str = "lender"

    def addresses(self) -> Mapping[str, bytes]:
        return {}

    def permissions(self) -> Sequence[Permission]:
        return []

    @property
    def loan(self) -> Loan:
        return Loan(self.name, self.lender, self.token, self.available, partial(_fee, self.fee_bps), self.gas, _at_once)

    def loans(self, tokens: Collection[bytes], now: int) -> Reads[Sequence[Loan]]:
        yield [Call(self.lender, b"")]
        return [self.loan] if self.token in tokens and self.available else []


def _at_once(amount: int, steps: Sequence[Step]) -> Sequence[Step]:
    return steps


def _fee(fee_bps: int, assets: int) -> int:
    return -(-assets * fee_bps // 10_000)


def model_pair(
    debt: bytes, collateral: bytes, most: int, *, owed: int, held: int, rate: tuple[int, int], bonus_bps: int
) -> LiquidationPair:
    """rate: collateral units per debt unit at the oracle, as a fraction. What is seized never exceeds `held`."""

    def plan(offer: int) -> LiquidationPlan | Skip:
        repaid = min(offer, owed)
        seized = repaid * rate[0] * bonus_bps // (rate[1] * 10_000)
        if seized > held:
            seized = held
            repaid = -(-held * rate[1] * 10_000 // (rate[0] * bonus_bps))
        if not seized:
            return Skip("dust", "nothing would be seized")
        return LiquidationPlan(
            account=b"\x01" * 20,
            debt_asset=debt,
            repay_assets=offer,
            collateral_asset=collateral,
            expected_repaid_assets=repaid,
            expected_seized_assets=seized,
            profit_base=0,
            judged_at=0,
            health_wad=None,
            call=TxCall(b"\xcc" * 20, b"liquidate"),
            approval=(debt, b"\xcc" * 20, offer),
            gas_limit_hint=400_000,
        )

    return LiquidationPair(debt, collateral, most, plan)


@dataclass
class Answering:
    """A chain on which a call's answer is its own data."""

    round_trips: int = 0
    calls: int = 0

    async def __call__(self, calls: Sequence[Call]) -> Sequence[CallResult]:
        self.round_trips += 1
        self.calls += len(calls)
        return [call.data for call in calls]
