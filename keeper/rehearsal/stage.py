"""One position at a time: made liquidatable, liquidated by the shipped executor and contract, looked at, and undone."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Self

from keeper.abis import contract as contract_file
from keeper.core.errors import ConfigError, KeeperError
from keeper.core.ports import Store, Stressable, TakesMargin
from keeper.core.records import Intent, IntentStatus
from keeper.core.secret import Secret
from keeper.core.stress import CodeSet, Lever, Override, SentAs, cannot_stress
from keeper.core.types import Assessment, BlockRef, Book, Health, Skip
from keeper.errand import Errand
from keeper.executor.deployment import (
    PROXY,
    PROXY_CODE,
    allow_operator,
    contract_address,
    init_code,
    owner_of,
    standing,
)
from keeper.executor.planning.readiness import protocol_needs
from keeper.executor.planning.words import balance_of, number
from keeper.executor.ports import Opportunity, Venue
from keeper.executor.value import gas_value, value_up
from keeper.rehearsal.findings import Finding
from keeper.rehearsal.fork import CALL_TIMEOUT_S, Fork
from keeper.rehearsal.means import planner_of
from keeper.store import open_store
from keeper.wire import Adapter, House

_PER_BLOCK = 30  # permissions that surely fit one

NOT_REHEARSED = "not_rehearsed"
"""Reason of what could not be read, which may well be readable elsewhere."""

_NOTHING = Health(None, False, 0, 0)
"""Of a position that is closed."""


class Stage:
    """house: the deployment as it acts on the fork, with a key that exists nowhere else. markets: by protocol."""

    def __init__(self, house: House, fork: Fork, lever: Lever, adapters: Sequence[Adapter]) -> None:
        self.house = house
        self.fork = fork
        self.lever = lever
        self.adapters = {adapter.name: adapter for adapter in adapters}
        self._markets: dict[str, Any] = {}

    @classmethod
    async def set_up(cls, house: House, fork: Fork, lever: Lever, known: dict[str, Any]) -> Self:
        """Put our contract there, or let the configured one take orders of our key, and read every market.

        known: markets as they were indexed, by protocol. Raises ConfigError when there is nothing to plan with.
        """
        key = Secret(secrets.token_hex(32))
        stage = cls(_as_actor(house, key), fork, lever, house.adapters())
        await fork.mine()  # from here on every state is the fork's own
        for name, adapter in stage.adapters.items():
            stage._markets[name] = await fork.read(adapter.bootstrap(known.get(name)))
        signer = stage.house.acting.signer()
        if signer is None:
            raise ConfigError("a rehearsal without a key; this is a defect")
        await fork.fund(signer.address)
        for name, adapter in stage.adapters.items():
            if isinstance(adapter, TakesMargin):
                await _prepare(fork, await fork.read(adapter.endow(stage._markets[name], signer.address)))
        stage.house = stage.house.live_with(await stage._contract(signer.address))
        return stage

    async def rehearse(self, protocol: str, key: bytes) -> Finding:
        """Afterwards the fork is as it was. What could not be read, or done, is the finding then."""
        adapter = self.adapters[protocol]
        async with self.fork.rewound():
            try:
                return await self.play(protocol, key)
            except KeeperError as error:
                about = _about(adapter, self._markets[protocol], key, self.fork.origin)
                return replace(about, reason=Skip(NOT_REHEARSED, str(error)))

    async def play(self, protocol: str, key: bytes) -> Finding:
        """As `rehearse`, without undoing anything."""
        adapter = self.adapters[protocol]
        book = await self._read(adapter, key, self._markets[protocol])
        found = _about(adapter, book.market, key, self.fork.origin)
        if key not in book.positions:
            return replace(found, reason=Skip("closed", "it has been closed since it was indexed"))
        before = self._assess(adapter, book, key, self.fork.tip.timestamp)
        found = replace(found, before=before.health, symbols=_symbols(before), bad_debt=_under_water(before))
        overrides = await self._overrides(adapter, book, key, before.health)
        if isinstance(overrides, Skip):
            return replace(found, reason=overrides)
        if overrides:
            found = replace(found, lever=self.lever)
            if (refused := await self.fork.apply(overrides)) is not None:
                return replace(found, reason=refused)
            book = await self._read(adapter, key, await self.fork.read(adapter.bootstrap(book.market)))
        landing_at = self.fork.tip.timestamp + self.fork.interval_s
        stressed = self._assess(adapter, book, key, landing_at)
        found = replace(found, stressed=stressed.health)
        if not stressed.health.liquidatable:
            detail = f"health {stressed.health.factor_wad} when the liquidation would land: the lever did not reach it"
            return replace(found, reason=Skip("still_healthy", detail))
        found = replace(found, bad_debt=_under_water(stressed))
        return await self._liquidate(Venue(adapter, book), key, landing_at, stressed, found)

    # --- steps

    async def _contract(self, account: bytes) -> bytes:
        """Where our contract is, ready for this account: the configured one with the permissions that it has, or one
        that has them all."""
        fork, configured = self.fork, self.house.config.executor.liquidator
        if configured is not None:
            owner = await fork.read(owner_of(configured))
            if owner is None:
                raise ConfigError(
                    f"0x{configured.hex()} does not answer as our Liquidator; correct executor.liquidator"
                )
            await _prepare(fork, [SentAs(owner, allow_operator(configured, account).call)])
            return configured
        native = self.house.config.chain.wrapped_native
        if native is None:
            raise ConfigError("chain.wrapped_native is not set; our contract, and the price of gas, need it")
        code = init_code(bytes.fromhex(contract_file("keeper", "Liquidator")["bytecode"][2:]), account, native)
        contract = contract_address(code)
        needs = [
            need for name, adapter in self.adapters.items() for need in protocol_needs(adapter, self._markets[name])
        ]
        missing = await fork.read(standing(planner_of(self.house, contract), account, needs, code=code))
        await _prepare(fork, [CodeSet(PROXY, PROXY_CODE), *(SentAs(account, order.call) for order in missing.orders)])
        return contract

    async def _read(self, adapter: Adapter, key: bytes, market: Any) -> Book[Any, Any]:
        """The position and the prices as they are now, in this market."""
        head = await self.fork.call(adapter.head_calls(market))
        reads = adapter.snapshot(market, adapter.whole(market, key), self.fork.tip, head, {})
        update = await self.fork.read(reads)
        position = update.positions.get(key)
        return Book(update.market or market, update.prices, {} if position is None else {key: position})

    async def _overrides(
        self, adapter: Adapter, book: Book[Any, Any], key: bytes, health: Health
    ) -> Sequence[Override] | Skip:
        if health.unpriced_assets:
            named = ", ".join(f"0x{asset.hex()}" for asset in health.unpriced_assets)
            return Skip("unpriced", f"no usable price of {named}: the oracle reverts, or answers zero or less")
        at = self.fork.tip.timestamp + 2 * self.fork.interval_s  # one block for the overrides, the next for us
        if self._assess(adapter, book, key, at).health.liquidatable and health.liquidatable:
            return []
        if not isinstance(adapter, Stressable):
            return cannot_stress(adapter.kind)
        reads = adapter.stress(book.market, book.prices, key, book.positions[key], at, self.lever)
        found: Sequence[Override] | Skip = await self.fork.read(reads)
        return found

    async def _liquidate(
        self, venue: Venue, key: bytes, landing_at: int, stressed: Assessment, found: Finding
    ) -> Finding:
        """By an executor that knows nothing else, with a journal of its own."""
        fork, opportunity = self.fork, Opportunity(venue, key)
        with closing(open_store("sqlite://", chain_id=self.house.config.chain.id)) as store:
            executor = self.house.acting.executor(fork.rpc, store, deadline_s=CALL_TIMEOUT_S)
            errand = Errand(executor, store, fork.rpc, [venue])
            try:
                await errand.begin(fork.tip, headers=0)
                await errand.act(landing_at, opportunities=[opportunity])
                intent = _liquidation(store)
                if intent is None:
                    unknown = Skip("not_acted_on", "the executor did nothing about it; -v shows its log")
                    return replace(found, reason=executor.refusal(opportunity.cause) or unknown)
                held = await self._held(intent)
                await fork.land()
                await errand.arrive(fork.tip)
                await errand.act(fork.tip.timestamp + fork.interval_s)  # asks why, where it was reverted
                intent = _liquidation(store) or intent
                gained = await self._held(intent) - held
            finally:
                await executor.close()
        after = await self._after(venue.adapter, venue.book, key)
        left = _NOTHING if after is None else after.health
        found = replace(found, intent=intent, after=left, gain_assets=gained, gas_base=self._gas(venue, intent))
        if intent.status is not IntentStatus.CONFIRMED:
            detail = intent.reason or "it was not in the block that it was sent for"
            return replace(found, reason=Skip(intent.status.value, detail))
        return replace(found, bad_debt=_unpaid(venue, intent, stressed, after))

    async def _held(self, intent: Intent) -> int:
        """What our contract holds of the token that the plan gains."""
        financing = intent.plan.get("financing")
        if financing is None:
            return 0
        token, contract = (bytes.fromhex(financing[name][2:]) for name in ("gain_token", "contract"))
        return number((await self.fork.call([balance_of(token, contract)]))[0]) or 0

    async def _after(self, adapter: Adapter, book: Book[Any, Any], key: bytes) -> Assessment | None:
        """None when it is closed."""
        found = await self._read(adapter, key, await self.fork.read(adapter.bootstrap(book.market)))
        return self._assess(adapter, found, key, self.fork.tip.timestamp) if key in found.positions else None

    def _assess(self, adapter: Adapter, book: Book[Any, Any], key: bytes, at: int) -> Assessment:
        return adapter.assess(book.market, book.prices, book.positions[key], at)

    def _gas(self, venue: Venue, intent: Intent) -> int | None:
        native = venue.prices.get(self.house.config.chain.wrapped_native or b"")
        if native is None or intent.gas_cost_wei is None:
            return None
        return gas_value(intent.gas_cost_wei, native, venue.adapter.base_decimals(venue.book.market))


def _about(adapter: Adapter, market: Any, key: bytes, block: BlockRef) -> Finding:
    """What is known of a position before it is rehearsed."""
    return Finding(
        adapter.name,
        adapter.position_id(key),
        adapter.account(key),
        adapter.base_decimals(market),
        adapter.currency(market),
        block,
    )


def _as_actor(house: House, key: Secret) -> House:
    """The deployment with a key of this rehearsal alone."""
    alone = {
        "mode": "live",
        "private_key": key,
        "keystore": None,
        "password": None,
        "account": None,
        "confirmations": 1,
    }
    executor = house.config.executor.model_copy(update=alone)
    return House(house.file, house.config.model_copy(update={"executor": executor}), never_transacts=True)


async def _prepare(fork: Fork, overrides: Sequence[Override]) -> None:
    """In as many blocks as it takes. Raises ConfigError when the fork refuses one."""
    for start in range(0, len(overrides), _PER_BLOCK):
        if (refused := await fork.apply(overrides[start : start + _PER_BLOCK])) is not None:
            raise ConfigError(f"what liquidates could not be prepared on the fork: {refused.detail}")


def _liquidation(store: Store) -> Intent | None:
    return next((intent for intent in store.intents() if intent.kind == "liquidation"), None)


def _symbols(assessment: Assessment) -> dict[bytes, str]:
    return {one.asset: one.symbol for one in (*assessment.collaterals, *assessment.debts)}


def _under_water(position: Assessment | None) -> int:
    """What is owed beyond what everything pledged is worth; of a margin account, its negative equity. Nothing is said
    of what has no price."""
    if position is None or position.health.unpriced_assets:
        return 0
    if position.margin is not None:
        return max(-position.margin.equity_value, 0)
    return max(position.health.debt_value - position.health.collateral_value, 0)


def _unpaid(venue: Venue, intent: Intent, stressed: Assessment, after: Assessment | None) -> int:
    """What stays unpaid for good. Where nothing is pledged any more, that is all that was owed and not repaid: whether
    it still stands in the books, or the protocol wrote it off, is the same to whoever is owed."""
    debt = next((one for one in stressed.debts if one.asset == intent.debt_asset), None)
    pledged = after is not None and after.health.collateral_value > 0
    if pledged or debt is None or debt.asset not in venue.prices or intent.repaid_assets is None:
        return _under_water(after)
    base = venue.adapter.base_decimals(venue.book.market)
    repaid = value_up(intent.repaid_assets, debt.decimals, venue.prices[debt.asset], base)
    return max(stressed.health.debt_value - repaid, 0)
