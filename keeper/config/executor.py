"""`[executor]`: who signs, what a liquidation may cost, and what it has to bring."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field, model_validator

from keeper.config.table import Table
from keeper.config.types import Address, Amount, Bps, FilePath, Gwei, Problem, SecretText, shown
from keeper.core.units import BPS, format_units


class Executor(Table):
    mode: str = Field("off", description='`"off"` (alert-only), `"dry_run"` (simulate, send nothing) or `"live"`.')
    private_key: SecretText | None = Field(None, description="The wallet's key, as hex. Or use a keystore.")
    keystore: FilePath | None = Field(None, description="Encrypted key file (web3 secret storage).")
    password: SecretText | None = Field(None, description="Password of the keystore.")
    account: Address | None = Field(
        None, description="The wallet's address. With a key it must match; a dry run can do with the address alone."
    )
    liquidator: Address | None = Field(
        None, description="Our Liquidator contract, which borrows what a liquidation takes; absent: the wallet pays."
    )
    least_gain_bps: Bps = Field(
        5_000, alias="least_gain", description="Share of a plan's expected gain without which our contract reverts."
    )
    min_profit: Amount = Field(Decimal("1.00"), description="Least profit after gas, in the protocol's base currency.")
    realize_bad_debt: Amount | None = Field(
        None,
        description="Most that liquidating a position which is worth less than it owes may lose, after gas, in the "
        "protocol's base currency; absent: nothing is liquidated at a loss. The loss limits of [breakers] count it.",
    )
    confirmations: int = Field(
        3, ge=1, le=10_000, description="Blocks until a transaction of ours counts as confirmed."
    )
    max_fee_wei: Gwei = Field(
        500 * 10**9,
        alias="max_fee_gwei",
        description="Never pay more than this per gas. A first offer is 79 % of it at most where the next block takes "
        "that: one replacement fits in between, and one cancellation.",
    )
    min_tip_wei: Gwei = Field(10**7, alias="min_tip_gwei", description="Least priority fee offered per gas.")
    max_tip_wei: Gwei = Field(
        20 * 10**9,
        alias="max_tip_gwei",
        description="Largest priority fee offered per gas, also by what replaces or cancels another; a first offer is "
        "79 % of it at most, which leaves room for both. Where min_tip_gwei leaves none, they go up to 27 % above "
        "that.",
    )
    tip_share_bps: Bps = Field(
        1_000,
        alias="tip_share",
        description="Share of a liquidation's expected profit offered as priority fee on top of what recent blocks "
        "paid, up to 79 % of max_tip_gwei.",
    )
    approve_exactly: bool = Field(
        False, description="Approve what a liquidation needs each time, instead of everything once (which is faster)."
    )
    spenders: tuple[Address, ...] = Field(
        (),
        description="The only contracts that the wallet's tokens are ever approved for; empty: those that the "
        "protocols name, which a node that lies could make up. `keeper check` prints them.",
    )
    cooldown_blocks: int = Field(
        5,
        ge=0,
        le=1_000_000,
        description="How long a position is left alone after a transaction for it reverted for a reason that passes: "
        "the price moved back, somebody was first.",
    )
    lasting_cooldown_hours: float = Field(
        6.0,
        ge=0,
        le=720,
        description="The same for a reason that somebody has to remove: a paused market, no liquidity, no allowance. "
        "One that arose within the transaction's own block counts as one that passes.",
    )
    max_pending: int = Field(
        32, ge=1, le=64, description="Most transactions in flight; some nodes queue only 16 of an account."
    )
    pending_prices: str = Field(
        "off",
        description='Price updates that are not mined yet: `"off"`, `"prepare"` (plan what they will open, send when '
        'they are mined) or `"send"` (send right behind them); see docs/submitters.md.',
    )
    armed: int = Field(
        16,
        ge=0,
        le=64,
        description="Of so many positions nearest to liquidation a transaction is kept signed and durable, so that the "
        "block that opens one is answered at once; 0: none. Of what our contract pays for, the eight nearest are "
        "tried out at every block.",
    )
    max_batch: int = Field(
        4,
        ge=1,
        le=8,
        description="Most small liquidations of our contract in one transaction, where that pays; 1: none together.",
    )
    replace_after_blocks: int = Field(
        3, ge=1, le=10_000, description="Raise the fee of what was not mined for this many blocks."
    )

    @model_validator(mode="after")
    def _complete(self) -> Executor:
        if self.mode not in ("off", "dry_run", "live"):
            raise Problem(f'mode is {shown(self.mode)}; expected "off", "dry_run" or "live"')
        if self.pending_prices not in ("off", "prepare", "send"):
            raise Problem(f'pending_prices is {shown(self.pending_prices)}; expected "off", "prepare" or "send"')
        if self.least_gain_bps > BPS:
            raise Problem("least_gain is above 1: our contract would never gain enough; lower it")
        if self.tip_share_bps > BPS:
            raise Problem("tip_share is above 1: more than the profit would be given away; lower it")
        if self.private_key is not None and self.keystore is not None:
            raise Problem("both private_key and keystore are given; keep one")
        if self.mode != "off" and self.keystore is not None and self.password is None:
            raise Problem('keystore needs its password; add password = "env:KEEPER_KEYSTORE_PASSWORD"')
        if self.mode == "live" and self.private_key is None and self.keystore is None:
            raise Problem('mode "live" needs a key; add private_key = "env:KEEPER_PRIVATE_KEY" or a keystore')
        if self.mode == "dry_run" and self.private_key is None and self.keystore is None and self.account is None:
            raise Problem('mode "dry_run" needs to know the wallet; add account = "0x…", or a key')
        if self.min_tip_wei > self.max_tip_wei:
            tips = f"{format_units(self.min_tip_wei, 9)}, is above max_tip_gwei, {format_units(self.max_tip_wei, 9)}"
            raise Problem(f"min_tip_gwei, {tips}; lower the one or raise the other")
        return self
