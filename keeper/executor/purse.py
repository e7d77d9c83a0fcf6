"""What several payments of one wallet may take together: tokens, allowances and native coin, each counted down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keeper.core.types import LiquidationPlan
from keeper.executor.questions import Wallet


@dataclass(slots=True)
class Purse:
    """tokens: raw units by token. allowances: raw units by (token, spender). What is spent leaves all three."""

    tokens: dict[bytes, int]
    allowances: dict[tuple[bytes, bytes], int]
    native_wei: int

    def copy(self) -> Purse:
        """Another one with the same in it."""
        return Purse(dict(self.tokens), dict(self.allowances), self.native_wei)

    def allows(self, plan: LiquidationPlan) -> bool:
        """Whether what is left of its allowance suffices for this plan."""
        if plan.approval is None:
            return True
        token, spender, amount = plan.approval
        return self.allowances.get((token, spender), 0) >= amount

    def pay(self, plan: LiquidationPlan, most_wei: int) -> bool:
        """Take what a plan may be charged; nothing, and False, where it is not all there. most_wei: gas and tip."""
        held = self.tokens.get(plan.debt_asset, 0)
        if plan.repay_assets > held or most_wei > self.native_wei or not self.allows(plan):
            return False
        self.tokens[plan.debt_asset] = held - plan.repay_assets
        self.native_wei -= most_wei
        if plan.approval is not None:
            token, spender, amount = plan.approval
            self.allowances[token, spender] -= amount
        return True


def purse_of(wallet: Wallet, committed: Callable[[bytes], int], committed_wei: int) -> Purse:
    """What nothing on its way may take. committed: raw units of a token that what is on its way may still be charged,
    of each allowance of that token too, since nobody wrote down by which spender."""
    return Purse(
        {token: held - committed(token) for token, held in wallet.tokens.items()},
        {(token, spender): allowed - committed(token) for (token, spender), allowed in wallet.allowances.items()},
        (wallet.native_wei or 0) - committed_wei,
    )
