"""`[chain]`, `[store]` and `[jobs]`: what is followed, where it is kept, and how often it is looked over."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from keeper.config.notices import Explorer
from keeper.config.table import Table
from keeper.config.types import Address, Finality, NodeUrl, StoreUrl, at_least_one


class Chain(Table):
    id: int = Field(ge=1, lt=2**63, description="Chain id; every endpoint must serve it.", examples=[1])
    rpc: Annotated[tuple[NodeUrl, ...], AfterValidator(at_least_one)] = Field(
        description="Endpoints: `ws(s)://`, `http(s)://` or an IPC path; several are used for failover in this order.",
        examples=[["env:KEEPER_RPC_URL"]],
    )
    finality: Finality = Field("finalized", description='`"finalized"`, `"safe"`, or a number of confirmations.')
    poll_interval_s: float = Field(
        1.0, gt=0, le=600, description="How often to ask for the head where subscriptions do not work."
    )
    request_timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        description="How long one endpoint may take to answer. After a quarter of it another one is asked as well.",
    )
    stale_after_s: float = Field(120.0, gt=0, description="Without a block taken for this long the watchdog says so.")
    explorer: Explorer | None = Field(
        None, description="Block explorer that notices link to; by default the chain's best known, empty for none."
    )
    wrapped_native: Address | None = Field(
        None, description="Wrapped native coin (WETH): its price values gas. Needed to count gas into profit."
    )


class Store(Table):
    url: StoreUrl = Field(
        description="Database; a relative SQLite path is relative to this file.", examples=["sqlite:///var/keeper.db"]
    )
    keep_days: float | None = Field(
        None,
        ge=1,
        description="Forget closed calls, their notices and audit trail after this many days; absent: never. Open "
        "calls, notices on their way and our own transactions are always kept.",
    )


class Jobs(Table):
    reconcile_minutes: float = Field(
        5.0, gt=0, description="How often a sample of positions is compared with the chain."
    )
    reconcile_sample: int = Field(50, ge=1, le=10_000, description="How many positions are compared each time.")
