"""From a decision to a signed attempt of an intent, ready for the journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from keeper.core.policy import SigningPolicy
from keeper.core.ports import Signer
from keeper.core.records import Attempt, Intent, IntentStatus
from keeper.core.types import BlockRef, Financing, LiquidationPlan, TxCall, UnsignedTransaction
from keeper.executor.accounts import Statement, dump_statement
from keeper.executor.choose import Approval, Chosen, First
from keeper.executor.fees import Fees
from keeper.executor.lifecycle import add_attempt, nonce_of
from keeper.executor.transaction import decode_signed, transaction_hash

# An empty transfer needs 21000; rollups add their data fee as gas. What is not used is not charged.
CANCEL_GAS = 300_000


@dataclass(frozen=True, slots=True)
class Leg:
    """One liquidation of several in a transaction. expected: with its part of the gas."""

    cause: str
    position: str
    plan: LiquidationPlan
    expected: Statement


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction decided on, before it has a nonce and a price.

    kind, cause, protocol, position, account, plan: as in Intent. profit_expected: base units, after gas.
    expected: where it comes from, when the decimals of both tokens are known. fees: None for the usual ones.
    legs: of a batch, which has no plan of its own.
    """

    kind: str
    cause: str
    call: TxCall
    gas_limit: int
    protocol: str = ""
    position: str = ""
    account: bytes = b""
    plan: LiquidationPlan | None = None
    profit_expected: int | None = None
    expected: Statement | None = None
    fees: Fees | None = None
    legs: tuple[Leg, ...] = ()

    @property
    def loss_wad(self) -> int:
        """What it is expected to lose, in whole units of the base currency scaled by 1e18."""
        statements = [leg.expected for leg in self.legs] if self.expected is None else [self.expected]
        return sum(statement.loss_wad for statement in statements)

    def most_wei(self, usual: Fees) -> int:
        """The most native coin that it can cost."""
        return self.gas_limit * (self.fees or usual).max_fee_wei + self.call.value_wei


def draft_liquidation(
    chosen: Chosen, gas_limit: int, profit_expected: int, expected: Statement | None, fees: Fees
) -> Draft:
    opportunity = chosen.opportunity
    return Draft(
        kind="liquidation",
        cause=opportunity.cause,
        call=chosen.plan.call,
        gas_limit=gas_limit,
        protocol=opportunity.venue.name,
        position=opportunity.position,
        account=chosen.plan.account,
        plan=chosen.plan,
        profit_expected=profit_expected,
        expected=expected,
        fees=fees,
    )


def draft_first(first: First, gas_limit: int) -> Draft:
    kind = "approval" if isinstance(first, Approval) else "preparation"
    return Draft(kind=kind, cause=first.cause, call=first.call, gas_limit=gas_limit)


def draft_filler(account: bytes, nonce: int) -> Draft:
    """An empty transfer for a nonce that nobody owns and others wait behind."""
    return Draft(kind="filler", cause=f"nonce:{nonce}", call=TxCall(to=account, data=b""), gas_limit=CANCEL_GAS)


def draft_order(cause: str, call: TxCall, gas_limit: int) -> Draft:
    """What a person asked for, like the deployment of our contract."""
    return Draft(kind="order", cause=cause, call=call, gas_limit=gas_limit)


@dataclass(frozen=True, slots=True)
class Composer:
    """Signs attempts of one account, within its policy: every method raises SignatureRefused for what is outside."""

    signer: Signer
    policy: SigningPolicy

    def objection(self, intent: Intent) -> str | None:
        """Why the intent's call is not signed again; None when it may be. What this key signed already, it may."""
        raw = intent.attempts[-1].raw
        return None if self.signer.has_signed(raw) else self.policy.objection(decode_signed(raw).call)

    def intent(
        self,
        draft: Draft,
        nonce: int,
        fees: Fees,
        judged: BlockRef,
        now: float,
        *,
        known: Collection[bytes] = (),
        salt: str = "",
    ) -> Intent:
        """A PLANNED intent with its first attempt. The same decision on the same block always has the same id.

        known: hashes of transactions that it must not be, since each belongs to one intent: of an offer that lapsed on
        this nonce. salt: tells decisions apart that are alike but for what they are for.
        """
        intent = self._intent(draft, nonce, fees, judged, now, salt)
        while intent.attempts[0].tx_hash in known:
            draft = replace(draft, gas_limit=draft.gas_limit + 1)
            intent = self._intent(draft, nonce, fees, judged, now, salt)
        return intent

    def _intent(self, draft: Draft, nonce: int, fees: Fees, judged: BlockRef, now: float, salt: str) -> Intent:
        identity = f"{draft.cause}|{nonce}|{judged.hash.hex()}{salt}"
        intent_id = sha256(identity.encode()).hexdigest()[:24]
        purpose = "cancel" if draft.kind == "filler" else "act"
        attempt = self._attempt(intent_id, nonce, fees, draft.gas_limit, draft.call, purpose, now)
        plan = draft.plan
        return Intent(
            id=intent_id,
            kind=draft.kind,
            cause=draft.cause,
            protocol=draft.protocol,
            position=draft.position,
            account=draft.account,
            status=IntentStatus.PLANNED,
            judged_number=judged.number,
            judged_hash=judged.hash,
            created_at=now,
            updated_at=now,
            plan=_dump(draft),
            debt_asset=None if plan is None else plan.debt_asset,
            collateral_asset=None if plan is None else plan.collateral_asset,
            profit_expected=draft.profit_expected,
            attempts=(attempt,),
        )

    def replacement(self, intent: Intent, fees: Fees, now: float) -> Intent:
        """The intent with a better paid attempt that does the same."""
        last = intent.attempts[-1]
        call = decode_signed(last.raw).call
        policy = self.policy
        if self.signer.has_signed(last.raw):
            policy = replace(policy, exactly=policy.exactly | {call})
        again = replace(self, policy=policy)
        return add_attempt(
            intent, again._attempt(intent.id, last.nonce, fees, last.gas_limit, call, last.purpose, now), now
        )

    def cancellation(self, intent: Intent, fees: Fees, reason: str, now: float) -> Intent:
        """The intent with a better paid attempt that does nothing but use the nonce."""
        call = TxCall(to=self.signer.address, data=b"")
        attempt = self._attempt(intent.id, nonce_of(intent), fees, CANCEL_GAS, call, "cancel", now)
        return replace(add_attempt(intent, attempt, now), reason=reason)

    def _attempt(
        self, intent_id: str, nonce: int, fees: Fees, gas_limit: int, call: TxCall, purpose: str, now: float
    ) -> Attempt:
        raw = self.signer.sign(
            UnsignedTransaction(self.policy.chain_id, nonce, fees.tip_wei, fees.max_fee_wei, gas_limit, call),
            self.policy,
        )
        return Attempt(
            tx_hash=transaction_hash(raw),
            intent_id=intent_id,
            nonce=nonce,
            raw=raw,
            max_fee_wei=fees.max_fee_wei,
            max_priority_fee_wei=fees.tip_wei,
            gas_limit=gas_limit,
            purpose=purpose,
            status="signed",
            created_at=now,
        )


def _dump(draft: Draft) -> Mapping[str, Any]:
    if draft.legs:
        return {"legs": [_dump_leg(leg) for leg in draft.legs]}
    return {} if draft.plan is None else dump_plan(draft.plan, draft.expected)


def _dump_leg(leg: Leg) -> Mapping[str, Any]:
    who = {"cause": leg.cause, "position": leg.position, "account": "0x" + leg.plan.account.hex()}
    return {**who, **dump_plan(leg.plan, leg.expected)}


def dump_plan(plan: LiquidationPlan, expected: Statement | None = None) -> Mapping[str, Any]:
    """JSON-ready; amounts are decimal strings, addresses hex."""
    financing = plan.financing
    return {
        "debt_asset": "0x" + plan.debt_asset.hex(),
        "repay_assets": str(plan.repay_assets),
        "collateral_asset": "0x" + plan.collateral_asset.hex(),
        "expected_repaid_assets": str(plan.expected_repaid_assets),
        "expected_seized_assets": str(plan.expected_seized_assets),
        "profit_base": str(plan.profit_base),
        "judged_at": plan.judged_at,
        "health_wad": None if plan.health_wad is None else str(plan.health_wad),
        "haircut_bps": plan.haircut_bps if financing is None else financing.haircut_bps,
        **({} if financing is None else {"financing": _dump_financing(financing, plan.call.to)}),
        **({} if expected is None else {"expected": dump_statement(expected)}),
    }


def _dump_financing(financing: Financing, contract: bytes) -> Mapping[str, Any]:
    return {
        "contract": "0x" + contract.hex(),
        "funding": financing.funding,
        "route": financing.route,
        "borrowed_assets": str(financing.borrowed_assets),
        "fee_assets": str(financing.fee_assets),
        "sold_assets": str(financing.sold_assets),
        "proceeds_assets": str(financing.proceeds_assets),
        "gain_token": "0x" + financing.gain_token.hex(),
        "gain_decimals": financing.gain_decimals,
        "gain_assets": str(financing.gain_assets),
        "least_gain_assets": str(financing.least_gain_assets),
        "haircut_bps": financing.haircut_bps,
        "lender": "0x" + financing.lender.hex() if financing.lender else None,
        "tip_wei": str(financing.tip_wei),
    }
