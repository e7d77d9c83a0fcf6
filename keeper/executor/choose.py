"""Which liquidations to try, with what the wallet holds or with what our contract borrows. Pure.

Most profitable first, in a unit that is the same for all protocols, but behind all others what was tried out and turned
down: were it always first, as many as may be on their way could hide one that succeeds. Each one chosen leaves less for
the next, which is then planned again with what remains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keeper.core.policy import APPROVE
from keeper.core.types import LiquidationPlan, Skip, TxCall
from keeper.core.units import UINT256_MAX
from keeper.executor.ports import Opportunity


@dataclass(frozen=True, slots=True)
class Chosen:
    """least_base: profit after gas, in base units, below which it is left alone; negative where a loss is accepted."""

    opportunity: Opportunity
    plan: LiquidationPlan
    least_base: int


@dataclass(frozen=True, slots=True)
class Refused:
    opportunity: Opportunity
    skip: Skip


@dataclass(frozen=True, slots=True)
class Approval:
    """reset: some tokens refuse to change an allowance that is neither zero nor used up, so it becomes zero first."""

    token: bytes
    spender: bytes
    amount: int
    reset: bool = False

    @property
    def cause(self) -> str:
        return f"approve:0x{self.token.hex()}:0x{self.spender.hex()}" + (":reset" if self.reset else "")

    @property
    def call(self) -> TxCall:
        words = self.spender.rjust(32, b"\0") + self.amount.to_bytes(32, "big")
        return TxCall(to=self.token, data=APPROVE + words)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a plan needs done first. cause: of the position, and which of its steps."""

    cause: str
    call: TxCall


First = Approval | Preparation
"""What goes before a liquidation, in a transaction of its own."""


def approved_pair(call: TxCall) -> tuple[bytes, bytes]:
    """(token, spender) of an approval's call."""
    return call.to, call.data[16:36]


@dataclass(frozen=True, slots=True)
class Offers:
    """What there is beside the wallet. financed: plans for our contract, by cause.

    kept: the wallet's plan at what its owner believes the kept collateral is worth; None when the wallet never pays.
    gas_base: what the gas of a plan is expected to cost, in base-currency units.
    """

    financed: Mapping[str, LiquidationPlan | Skip] = field(default_factory=dict)
    kept: Callable[[Opportunity, LiquidationPlan], LiquidationPlan | Skip] | None = lambda _, plan: plan
    gas_base: Callable[[Opportunity, LiquidationPlan], int] = lambda _, __: 0


WALLET_ONLY = Offers()


def choose(
    opportunities: Iterable[Opportunity],
    wallet: Mapping[bytes, int],
    account: bytes,
    landing_at: int,
    *,
    limit: int,
    least_base: Mapping[str, int],
    offers: Offers = WALLET_ONLY,
    turned_down: Mapping[str, int] | None = None,
) -> tuple[list[Chosen], list[Refused]]:
    """At most `limit` plans that the wallet can pay for together, and why not for every other opportunity.

    wallet: raw units by token, free to be spent. least_base: by cause; gas is not counted yet. turned_down: by cause,
    the block at which it was last tried out in vain; these come last, the longest ago first.
    """
    planned: list[Chosen] = []
    refused: list[Refused] = []
    for opportunity in opportunities:
        result = _plan(opportunity, wallet, account, landing_at, offers)
        _sort_out(opportunity, result, least_base, planned, refused)
    remaining = dict(wallet)
    chosen: list[Chosen] = []
    vain = turned_down or {}

    def rank(one: Chosen) -> tuple[int, int, str]:
        cause = one.opportunity.cause
        return vain.get(cause, -1), -one.opportunity.wad(one.plan.profit_base), cause

    for candidate in sorted(planned, key=rank):
        if len(chosen) == limit:
            refused.append(
                Refused(candidate.opportunity, Skip("max_pending", "as many as may be on their way come first"))
            )
            continue
        if candidate.plan.repay_assets > remaining.get(candidate.plan.debt_asset, 0):
            again: list[Chosen] = []
            result = _plan(candidate.opportunity, remaining, account, landing_at, offers)
            _sort_out(candidate.opportunity, result, least_base, again, refused)
            if not again:
                continue
            candidate = again[0]
        debt = candidate.plan.debt_asset
        remaining[debt] = remaining.get(debt, 0) - candidate.plan.repay_assets
        chosen.append(candidate)
    return chosen, refused


def approvals_for(
    plans: Sequence[LiquidationPlan],
    allowances: Mapping[tuple[bytes, bytes], int],
    committed: Mapping[bytes, int],
    in_flight: frozenset[tuple[bytes, bytes]],
    *,
    exactly: bool,
) -> list[Approval]:
    """What must be approved, in this order, before these plans can be paid.

    allowances: at the judged block. committed: raw units by token that plans on their way may still use up.
    in_flight: (token, spender) whose approval is on its way.
    """
    needed: dict[tuple[bytes, bytes], int] = {}
    for token, spender, amount in (plan.approval for plan in plans if plan.approval is not None):
        needed[token, spender] = needed.get((token, spender), committed.get(token, 0)) + amount
    approvals: list[Approval] = []
    for (token, spender), amount in needed.items():
        allowed = allowances.get((token, spender), 0)
        if allowed >= amount or (token, spender) in in_flight:
            continue
        if allowed > 0:
            approvals.append(Approval(token, spender, 0, reset=True))
        approvals.append(Approval(token, spender, amount if exactly else UINT256_MAX))
    return approvals


def preparations_for(chosen: Sequence[Chosen], in_flight: frozenset[str]) -> list[Preparation]:
    """What these plans need done first, in this order. in_flight: causes of what is on its way."""
    found = [
        Preparation(f"{_prepares(one)}{step}", call) for one in chosen for step, call in enumerate(one.plan.prepare)
    ]
    return [one for one in found if one.cause not in in_flight]


def goes_before(first: First, chosen: Chosen) -> bool:
    """Whether a plan needs this done first."""
    if isinstance(first, Preparation):
        return first.cause.startswith(_prepares(chosen))
    return chosen.plan.approval is not None and (first.token, first.spender) == chosen.plan.approval[:2]


def _prepares(chosen: Chosen) -> str:
    return f"prepare:{chosen.opportunity.position}:"


def _plan(
    opportunity: Opportunity, wallet: Mapping[bytes, int], account: bytes, landing_at: int, offers: Offers
) -> LiquidationPlan | Skip:
    """The better of what the wallet and our contract can do; where neither can, what the contract lacks. What no
    contract can pay for, since it takes margin that nobody lends, is the wallet's alone."""
    financed = offers.financed.get(opportunity.cause)
    takes_margin = isinstance(financed, Skip) and financed.code == "needs_margin"
    if offers.kept is None and not takes_margin:
        return financed or Skip("not_planned", "our contract's plan is not known for this block")
    venue = opportunity.venue
    position = venue.book.positions[opportunity.key]
    own = venue.adapter.plan(venue.book.market, venue.prices, opportunity.key, position, landing_at, wallet, account)
    if takes_margin or offers.kept is None:
        return own
    if isinstance(own, LiquidationPlan):
        own = offers.kept(opportunity, own)
    if financed is None or (isinstance(own, LiquidationPlan) and isinstance(financed, Skip)):
        return own
    if isinstance(own, Skip) or isinstance(financed, Skip):
        return financed
    return max(own, financed, key=lambda plan: plan.profit_base - offers.gas_base(opportunity, plan))


def _sort_out(
    opportunity: Opportunity,
    plan: LiquidationPlan | Skip,
    least_base: Mapping[str, int],
    planned: list[Chosen],
    refused: list[Refused],
) -> None:
    least = least_base[opportunity.cause]
    if isinstance(plan, Skip):
        refused.append(Refused(opportunity, plan))
    elif plan.profit_base < least:
        detail = f"brings {plan.profit_base} base units before gas, below the least ({least})"
        refused.append(Refused(opportunity, Skip("unprofitable", detail)))
    else:
        planned.append(Chosen(opportunity, plan, least))
