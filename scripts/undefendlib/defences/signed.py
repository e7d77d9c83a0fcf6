"""What a key signs, and nothing else."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "What a key signs"
_EXECUTOR = "keeper/executor"
_POLICY = "keeper/core/policy.py"
_T_POLICY = "tests/unit/executor/test_policy.py"
_NOTHING_ELSE = f"{_T_POLICY}::test_nothing_else_is"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "the policy is asked as the last thing before a signature",
        f"{_EXECUTOR}/signer.py",
        "        policy.require(transaction)\n",
        "",
        _NOTHING_ELSE,
    ),
    Removal(
        _GROUP,
        "the chain, by the policy",
        _POLICY,
        "        if transaction.chain_id != self.chain_id:",
        "        if False:",
        f"{_T_POLICY}::test_no_other_chain_and_no_fee_above_the_cap",
    ),
    Removal(
        _GROUP,
        "the chain, by the signer",
        f"{_EXECUTOR}/signer.py",
        "        if transaction.chain_id != self._chain_id:",
        "        if False:",
        f"{_T_POLICY}::test_the_signer_asks_for_itself",
    ),
    Removal(
        _GROUP,
        "no fee above the cap",
        _POLICY,
        "        if transaction.max_fee_wei > self.max_fee_wei:",
        "        if False:",
        f"{_T_POLICY}::test_no_other_chain_and_no_fee_above_the_cap",
    ),
    Removal(
        _GROUP,
        "no tip above its own maximum fee",
        _POLICY,
        "        if transaction.max_priority_fee_wei > transaction.max_fee_wei:",
        "        if False:",
        f"{_T_POLICY}::test_a_tip_above_its_own_maximum_fee_is_refused",
    ),
    Removal(
        _GROUP,
        "no coin is sent along",
        _POLICY,
        "        if value_wei:\n",
        "        if False:\n",
        _NOTHING_ELSE,
    ),
    Removal(
        _GROUP,
        "a plan sends no more coin than it tips",
        _POLICY,
        "            return None if value_wei == tip_wei else",
        "            return None if True else",
        _NOTHING_ELSE,
    ),
    Removal(
        _GROUP,
        "contracts and functions that are configured, and no others",
        _POLICY,
        "        if function in self.functions:",
        "        if function[1] in {known for _, known in self.functions}:",
        _NOTHING_ELSE,
    ),
    Removal(
        _GROUP,
        "tokens are approved for protocols' contracts alone",
        _POLICY,
        "        if spender not in self.spenders:",
        "        if False:",
        _NOTHING_ELSE,
    ),
    Removal(
        _GROUP,
        "an approval is one to the byte",
        _POLICY,
        "        if len(call.data) != _APPROVAL_SIZE or call.data[4:16] != _NO_PADDING:",
        "        if False:",
        _NOTHING_ELSE,
    ),
    Removal(
        _GROUP,
        "spenders that are configured bound what a protocol names",
        f"{_EXECUTOR}/policy.py",
        "        spenders &= settings.spenders",
        "        pass",
        f"{_T_POLICY}::test_configured_spenders_bound_what_a_protocol_names",
    ),
    Removal(
        _GROUP,
        "a wallet that never pays approves nobody",
        f"{_EXECUTOR}/policy.py",
        "        spenders.clear()",
        "        pass",
        f"{_T_POLICY}::test_a_wallet_that_never_pays_approves_nobody",
    ),
    Removal(
        _GROUP,
        "a draft outside the policy stops its block and trips a breaker",
        f"{_EXECUTOR}/signatory.py",
        "        return [] if refused else drafts",
        "        return [draft for draft in drafts if draft not in [one for one, _ in refused]]",
        f"{_T_POLICY}::test_an_executor_that_would_sign_something_else_stops",
    ),
    Removal(
        _GROUP,
        "what a journal holds is signed again only if this key signed it before",
        f"{_EXECUTOR}/compose.py",
        "        return None if self.signer.has_signed(raw) else self.policy.objection",
        "        return None if True else self.policy.objection",
        f"{_T_POLICY}::test_a_journal_that_somebody_wrote_into_is_not_signed_but_given_up",
    ),
    Removal(
        _GROUP,
        "a signature is ours only if this key made it",
        f"{_EXECUTOR}/signer.py",
        " and signed[1] == self._address",
        "",
        f"{_T_POLICY}::test_a_signature_is_known_and_no_other",
    ),
    Removal(
        _GROUP,
        "a deployment signs only what its bill said",
        "keeper/deployment/counter.py",
        " if order.call in self._agreed]",
        "]",
        "tests/integration/test_deploy.py::test_what_nobody_agreed_to_is_not_signed",
    ),
)
