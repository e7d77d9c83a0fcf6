"""What a key signs, and that it signs nothing else: whatever transaction comes, by whatever way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from keeper.core.errors import SignatureRefused
from keeper.core.policy import APPROVE, SigningPolicy
from keeper.core.types import Book, TxCall, UnsignedTransaction
from keeper.core.units import UINT256_MAX
from keeper.executor.breakers import Limits
from keeper.executor.choose import Approval
from keeper.executor.compose import Composer, Draft
from keeper.executor.fees import Fees
from keeper.executor.guard import read_tripped
from keeper.executor.liquidator_calls import (
    EXECUTE,
    EXECUTE_EACH,
    SKIM,
    Plan,
    Watch,
    encode_execute,
    encode_execute_each,
    encode_skim,
)
from keeper.executor.policy import policy_of
from keeper.executor.ports import Venue
from keeper.executor.signer import LocalSigner
from keeper.executor.transaction import decode_signed
from keeper.executor.upkeep import Judgement
from tests.support.model_chain import POOL, TOKEN, ModelProtocol
from tests.support.model_pipeline import CHAIN_ID, SETTINGS, SIGNER, Pipeline
from tests.unit.executor.test_lifecycle import GWEI, block, intent, tended

ME = SIGNER.address
CONTRACT, BOARD, STRANGER = b"\xc0" * 20, b"\xb0" * 20, b"\xee" * 20
POST, TRANSFER = bytes.fromhex("0f1b3b3e"), bytes.fromhex("a9059cbb")
LIQUIDATE = ModelProtocol().entry_points(None)[0][1]
CAP = SETTINGS.max_fee_wei
POLICY = policy_of(
    replace(SETTINGS, liquidator=CONTRACT, board=(BOARD, POST)),
    ME,
    [Venue(cast(Any, ModelProtocol()), Book(market=object()))],
)
ALLOWED = {
    "giving up a nonce": TxCall(ME, b""),
    "a liquidation": TxCall(POOL, LIQUIDATE + bytes(32)),
    "an approval": Approval(TOKEN, POOL, UINT256_MAX).call,
    "an approval taken back": Approval(TOKEN, POOL, 0, reset=True).call,
    "a plan": TxCall(CONTRACT, encode_execute(Plan((Watch(TOKEN),), ()))),
    "a plan that tips": TxCall(CONTRACT, encode_execute(Plan((Watch(TOKEN),), (), tip_wei=9)), 9),
    "several plans": TxCall(CONTRACT, encode_execute_each([encode_execute(Plan((Watch(TOKEN),), ()))])),
    "a posting": TxCall(BOARD, POST + bytes(64)),
}
ADDRESSES = st.sampled_from([ME, POOL, TOKEN, CONTRACT, BOARD, STRANGER, bytes(20)]) | st.binary(
    min_size=20, max_size=20
)
SELECTORS = st.sampled_from([b"", LIQUIDATE, APPROVE, EXECUTE, EXECUTE_EACH, SKIM, POST]) | st.binary(max_size=4)
WORDS = st.sampled_from([bytes(32), POOL.rjust(32, b"\0"), STRANGER.rjust(32, b"\0"), b"\1" * 12 + POOL])
ARGUMENTS = st.lists(WORDS | st.binary(max_size=40), max_size=4).map(b"".join)
CALLS = st.builds(
    TxCall, ADDRESSES, st.builds(bytes.__add__, SELECTORS, ARGUMENTS), st.just(0) | st.integers(0, 2**96)
) | st.builds(replace, st.sampled_from([*ALLOWED.values()]), to=ADDRESSES, value_wei=st.integers(0, 20))


def transaction(call: TxCall, **terms: int) -> UnsignedTransaction:
    return replace(UnsignedTransaction(CHAIN_ID, 3, 1, CAP, 10**6, call), **cast(Any, terms))


def is_ours(call: TxCall) -> bool:
    """The same rule, written a second time: by destination rather than by kind."""
    match call.to:
        case to if to == ME:
            return call == TxCall(ME, b"")
        case to if to == POOL:
            return call.data[:4] == LIQUIDATE and call.value_wei == 0
        case to if to == TOKEN:
            return call.data[:36] == APPROVE + bytes(12) + POOL and len(call.data) == 68 and call.value_wei == 0
        case to if to == BOARD:
            return call.data[:4] == POST and call.value_wei == 0
        case to if to == CONTRACT and call.data[:4] == EXECUTE:
            return call.value_wei == int.from_bytes(call.data[36:68], "big")
        case to if to == CONTRACT:
            return call.data[:4] == EXECUTE_EACH and call.value_wei == 0
        case _:
            return False


@pytest.mark.parametrize("what", ALLOWED)
def test_what_the_executor_sends_is_signed(what: str) -> None:
    raw = SIGNER.sign(transaction(ALLOWED[what]), POLICY)
    assert decode_signed(raw).call == ALLOWED[what]


@given(call=CALLS)
@example(TxCall(CONTRACT, encode_skim(TOKEN)))
@example(Approval(TOKEN, STRANGER, 1).call)
@example(TxCall(POOL, LIQUIDATE + bytes(32), 1))
@example(TxCall(ME, b"", 1))
@example(replace(ALLOWED["a plan that tips"], value_wei=8))
@example(TxCall(TOKEN, TRANSFER + POOL.rjust(32, b"\0") + bytes(32)))
@example(TxCall(TOKEN, APPROVE + POOL.rjust(32, b"\0")))
@example(TxCall(TOKEN, APPROVE + POOL.rjust(32, b"\0") + bytes(33)))
@example(TxCall(TOKEN, APPROVE + POOL.rjust(32, b"\1") + bytes(32)))
@example(TxCall(ME, b"\0"))
@example(TxCall(b"", b"\x60\x80"))
def test_nothing_else_is(call: TxCall) -> None:
    """Any target, function, argument of an approval and value: signed exactly if it is ours."""
    if is_ours(call):
        assert decode_signed(SIGNER.sign(transaction(call), POLICY)).call == call
    else:
        with pytest.raises(SignatureRefused, match=r"^not signed: it "):
            SIGNER.sign(transaction(call), POLICY)


CHAINS = st.just(CHAIN_ID) | st.integers(0, 2**64)


@given(call=st.sampled_from([*ALLOWED.values()]), chain_id=CHAINS, fee=st.integers(0, 2 * CAP))
@example(call=next(iter(ALLOWED.values())), chain_id=CHAIN_ID, fee=CAP)
@example(call=next(iter(ALLOWED.values())), chain_id=CHAIN_ID, fee=CAP + 1)
@example(call=next(iter(ALLOWED.values())), chain_id=CHAIN_ID + 1, fee=CAP)
def test_no_other_chain_and_no_fee_above_the_cap(call: TxCall, chain_id: int, fee: int) -> None:
    """Whatever is called: also a cancellation is for our chain, within executor.max_fee_gwei."""
    asked = transaction(call, chain_id=chain_id, max_fee_wei=fee, max_priority_fee_wei=0)
    if chain_id == CHAIN_ID and fee <= CAP:
        POLICY.require(asked)
    else:
        with pytest.raises(SignatureRefused, match="max_fee_gwei" if chain_id == CHAIN_ID else f"chain {chain_id}"):
            POLICY.require(asked)


def test_a_tip_above_its_own_maximum_fee_is_refused() -> None:
    with pytest.raises(SignatureRefused, match="above its maximum fee"):
        POLICY.require(transaction(TxCall(ME, b""), max_fee_wei=5, max_priority_fee_wei=6))


def test_the_signer_asks_for_itself() -> None:
    """A policy that would allow another chain does not make the key sign for it."""
    with pytest.raises(Exception, match="this signer is for chain"):
        SIGNER.sign(transaction(TxCall(ME, b""), chain_id=1), replace(POLICY, chain_id=1))


def test_a_deployment_without_contract_and_board_signs_neither() -> None:
    bare = policy_of(SETTINGS, ME, [])
    for what in ("a plan", "a plan that tips", "several plans", "a posting", "a liquidation", "an approval"):
        assert bare.objection(ALLOWED[what]) is not None
    assert bare.objection(ALLOWED["giving up a nonce"]) is None


def test_configured_spenders_bound_what_a_protocol_names() -> None:
    """A node that makes up a pool gets no allowance for it."""
    pinned = policy_of(replace(SETTINGS, spenders=frozenset({STRANGER})), ME, [venue()])
    assert "only nobody may" in (pinned.objection(Approval(TOKEN, POOL, 1).call) or "")
    kept = policy_of(replace(SETTINGS, spenders=frozenset({POOL, STRANGER})), ME, [venue()])
    assert kept.objection(Approval(TOKEN, POOL, 1).call) is None
    assert kept.objection(Approval(TOKEN, STRANGER, 1).call) is not None


def test_a_wallet_that_never_pays_approves_nobody() -> None:
    """Our contract borrows what it takes, and gives allowances for the length of a call; the wallet needs none."""
    contract_pays = policy_of(replace(SETTINGS, liquidator=CONTRACT, approves=False), ME, [venue()])
    assert "only nobody may" in (contract_pays.objection(Approval(TOKEN, POOL, 1).call) or "")
    assert contract_pays.objection(ALLOWED["a plan"]) is None


def venue() -> Venue:
    return Venue(cast(Any, ModelProtocol()), Book(market=object()))


# --- what this key signed before --------------------------------------------------------------------------------------


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_signature_is_known_and_no_other(place: int, bit: int) -> None:
    """One bit of a journalled transaction changed, and the key no longer knows it."""
    raw = SIGNER.sign(transaction(ALLOWED["a liquidation"]), POLICY)
    assert SIGNER.has_signed(raw)
    changed = bytearray(raw)
    changed[place % len(raw)] ^= 1 << bit
    assert not SIGNER.has_signed(bytes(changed))
    assert not LocalSigner(b"\2" * 32, chain_id=CHAIN_ID).has_signed(raw)
    assert not LocalSigner(b"\1" * 32, chain_id=1).has_signed(raw)


@given(raw=st.binary(max_size=200))
def test_what_is_no_transaction_was_not_signed(raw: bytes) -> None:
    assert not SIGNER.has_signed(raw)


def composer(policy: SigningPolicy) -> Composer:
    return Composer(LocalSigner(b"\1" * 32, chain_id=1), policy)


def test_what_it_signed_is_paid_better_also_when_the_policy_became_narrower() -> None:
    """The deployment of an earlier run, or a market that is gone: the call is in the mempool anyway."""
    waiting = intent()
    nothing = SigningPolicy(1, ME, CAP)
    again = composer(nothing).replacement(waiting, Fees(20 * GWEI, 2 * GWEI), 0.0)
    assert decode_signed(again.attempts[-1].raw).call == decode_signed(waiting.attempts[0].raw).call
    assert composer(nothing).objection(waiting) is None


def test_a_journal_that_somebody_wrote_into_is_not_signed_but_given_up() -> None:
    """The raw transaction of a waiting intent swapped for one that sends all we have: its nonce is cancelled."""
    thief = LocalSigner(b"\3" * 32, chain_id=1)
    stolen = UnsignedTransaction(1, 5, GWEI, 10 * GWEI, 21_000, TxCall(STRANGER, b"", 10**18))
    policy = SigningPolicy(1, thief.address, CAP, exactly=frozenset({stolen.call}))
    waiting = intent()
    forged = replace(waiting.attempts[0], raw=thief.sign(stolen, policy))
    swapped = replace(waiting, attempts=(forged,))
    ours = composer(SigningPolicy(1, ME, CAP))
    with pytest.raises(SignatureRefused, match="sends 1000000000000000000 wei"):
        ours.replacement(swapped, Fees(20 * GWEI, 2 * GWEI), 0.0)
    with capture_logs() as logs:
        [changed], [sent] = tended([swapped], Judgement(wanted=True), known=True, needed=15, composer=ours)
    assert decode_signed(sent.raw).call == TxCall(ME, b"")
    assert sent.purpose == "cancel" and "sends 1000000000000000000 wei" in (changed.reason or "")
    assert logs[0]["event"] == "signature_refused"


# --- in the executor --------------------------------------------------------------------------------------------------


def test_an_executor_that_would_sign_something_else_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of that block is signed, the breaker trips and is told, and only a person lets it go on."""
    pipeline = Pipeline(limits=Limits())
    plan = ModelProtocol.plan

    def elsewhere(*args: Any) -> Any:
        made = plan(*args)
        return replace(made, call=replace(made.call, to=STRANGER)) if args[3] == (2).to_bytes(20, "big") else made

    monkeypatch.setattr(ModelProtocol, "plan", elsewhere)
    with capture_logs() as logs:
        pipeline.chain.mine(opened=[1, 2])
        pipeline.follow()
    assert pipeline.store.journal == {} and pipeline.chain.submitted == []
    [refused] = [entry for entry in logs if entry["event"] == "signature_refused"]
    assert refused["cause"] == "liquidate:model:2" and STRANGER.hex() in refused["reason"]
    [trip] = read_tripped(cast(Any, pipeline.store)).trips
    assert trip.name == "signing_policy"

    monkeypatch.setattr(ModelProtocol, "plan", plan)
    pipeline.chain.mine()
    pipeline.follow()
    assert pipeline.store.journal == {}
    pipeline.switch.asked_at = pipeline.clock + 1
    pipeline.chain.mine()
    pipeline.follow()
    assert {one.cause for one in pipeline.store.journal.values()} >= {"liquidate:model:1", "liquidate:model:2"}
    pipeline.close()


def test_a_composer_signs_no_draft_outside_its_policy() -> None:
    """Also when nobody asked before: the signer is the last to."""
    draft = Draft(kind="liquidation", cause="liquidate:a", call=TxCall(STRANGER, b"take"), gas_limit=10**5)
    with pytest.raises(SignatureRefused):
        Composer(SIGNER, POLICY).intent(draft, 1, Fees(GWEI, 1), block(10), 0.0)
