"""What our contracts refuse, whoever calls them. Each is compiled anew without its check."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "What the contracts refuse"
_TESTS = "tests/integration/test_"
_FOLDER = "keeper/contracts"


def _check(contract: str, defence: str, text: str, test: str) -> Removal:
    """text: an assertion. A call in it is made all the same."""
    called = text.removeprefix("assert ").rpartition(", ")[0]
    without = f"answer: bool = {called}" if called.startswith("extcall ") else "pass"
    return Removal(_GROUP, defence, f"{_FOLDER}/{contract}.vy", text, without, f"{_TESTS}{test}")


DEFENCES: tuple[Removal, ...] = (
    _check(
        "liquidator",
        "a call that is none of its functions ends",
        'assert len(msg.data) == 0, "no such function"',
        "liquidator_permissions.py::test_there_is_no_other_function",
    ),
    _check(
        "liquidator",
        "a plan watches something",
        'assert len(watches) > 0, "nothing watched"',
        "liquidator_permissions.py::test_a_token_is_watched_once_and_something_is",
    ),
    _check(
        "liquidator",
        "only the owner runs a plan that may lose",
        'assert watch.least_gain >= 0 or msg.sender == permissions.owner, "only the owner may spend"',
        "liquidator_permissions.py::test_only_the_owner_spends_stock[USDC]",
    ),
    _check(
        "liquidator",
        "a token is watched once",
        'assert self.watched[watch.token] == 0, "token watched twice"',
        "liquidator_permissions.py::test_a_token_is_watched_once_and_something_is",
    ),
    _check(
        "liquidator",
        "no watched balance ends below what the plan demands",
        'assert self._gain(watch.token) >= watch.least_gain, "gained too little"',
        "liquidator_permissions.py::test_stock_cannot_be_sold_for_somebody_else",
    ),
    _check(
        "liquidator",
        "every call has a selector of its own",
        'assert step.head >= 4, "no selector"',
        "liquidator_permissions.py::test_a_call_needs_a_selector_of_its_own",
    ),
    _check(
        "liquidator",
        "steps call what the owner allowed, and nothing else",
        'assert permissions.is_allowed[step.target][convert(slice(calls, start, 4), bytes4)], "call not allowed"',
        "liquidator_permissions.py::test_tokens_are_not_called[transfer(address,uint256)]",
    ),
    _check(
        "liquidator",
        "who is approved, or calls back, is paid in something that is watched",
        'assert step.spender == empty(address) and step.callback == empty(bytes32), "no token to pay with"',
        "liquidator_tokens.py::test_who_is_to_be_paid_must_be_paid_in_something",
    ),
    _check(
        "liquidator",
        "a token that is not watched is neither approved nor paid",
        'assert self.watched[step.token] != 0, "token not watched"',
        "liquidator_permissions.py::test_a_token_that_is_not_watched_cannot_be_approved",
    ),
    _check(
        "liquidator",
        "all that was gained is something",
        'assert gained > 0, "nothing gained"',
        "liquidator_profit.py::test_nothing_is_paid_for_when_all_were_taken",
    ),
    _check(
        "liquidator",
        "nobody is approved but the target, or whom the owner allowed",
        'assert step.spender == step.target or permissions.is_spender[step.spender], "spender not allowed"',
        "liquidator_permissions.py::test_only_the_target_or_an_allowed_spender_is_approved",
    ),
    _check(
        "liquidator",
        "each sale brings its own least",
        'assert self._balance(step.bought) >= before + step.least_bought, "bought too little"',
        "liquidator_profit.py::test_each_sale_has_its_own_least_proceeds",
    ),
    _check(
        "liquidator",
        "wrapped coin is unwrapped only where it is watched",
        'assert self.watched[WRAPPED_NATIVE] != 0, "wrapped coin not watched"',
        "liquidator_permissions.py::test_ether_and_wrapped_ether_leave_only_if_gained",
    ),
    _check(
        "liquidator",
        "a loan that somebody else took for us is refused",
        'assert initiator == self, "not our loan"',
        "liquidator_callbacks.py::test_a_strangers_aave_loan_to_us_is_refused",
    ),
    _check(
        "liquidator",
        "nobody calls back but whom a step called",
        'assert msg.sender == self.callee, "nobody we called"',
        "liquidator_permissions.py::test_a_stranger_can_do_nothing[executeOperation]",
    ),
    _check(
        "liquidator",
        "a callback carries the steps that were announced",
        'assert keccak256(steps) == self.callback, "not our steps"',
        "liquidator_callbacks.py::test_a_callback_with_other_steps_is_refused[aave]",
    ),
    _check(
        "liquidator",
        "steps are run by the contract alone",
        'assert msg.sender == self, "not us"',
        "liquidator_permissions.py::test_a_stranger_can_do_nothing[run]",
    ),
    _check(
        "liquidator",
        "what is not watched has gained nothing",
        'assert watched != 0, "token not watched"',
        "liquidator_permissions.py::test_ether_and_wrapped_ether_leave_only_if_gained",
    ),
    _check(
        "liquidator",
        "a token that answers no to an approval ends the plan",
        'assert extcall IERC20(token).approve(spender, amount, default_return_value=True), "approval refused"',
        "liquidator_tokens.py::test_a_token_that_answers_false_to_an_approval_ends_the_plan",
    ),
    _check(
        "liquidator",
        "a token that answers no to a transfer has not paid",
        'assert extcall IERC20(token).transfer(to, amount, default_return_value=True), "transfer refused"',
        "liquidator_tokens.py::test_a_token_that_answers_false_to_a_transfer_is_not_taken_for_paid",
    ),
    _check(
        "permissions",
        "nobody is no owner",
        'assert owner != empty(address), "no owner"',
        "liquidator_permissions.py::test_nobody_is_no_owner",
    ),
    _check(
        "permissions",
        "the contract cannot be allowed to call itself",
        'assert target != self, "not ourselves"',
        "liquidator_permissions.py::test_only_contracts_and_only_others_can_be_allowed",
    ),
    _check(
        "permissions",
        "what has no code cannot be allowed",
        'assert target.is_contract or not allowed, "no contract there"',
        "liquidator_permissions.py::test_only_contracts_and_only_others_can_be_allowed",
    ),
    _check(
        "permissions",
        "what takes tokens without an approval cannot be allowed",
        'assert selector not in [TRANSFER, TRANSFER_FROM, APPROVE, WITHDRAW], "takes without approval"',
        "liquidator_permissions.py::test_what_takes_without_an_approval_cannot_be_allowed[transfer(address,uint256)]",
    ),
    _check(
        "permissions",
        "ownership is accepted by the heir alone",
        'assert msg.sender == self.heir, "not the heir"',
        "liquidator_permissions.py::test_a_stranger_can_do_nothing[accept_ownership]",
    ),
    _check(
        "permissions",
        "the owner alone configures",
        'assert msg.sender == self.owner, "not the owner"',
        "liquidator_permissions.py::test_a_stranger_can_do_nothing[allow_call]",
    ),
    _check(
        "permissions",
        "operators alone run plans",
        'assert self.is_operator[msg.sender] or msg.sender == self.owner, "not an operator"',
        "liquidator_permissions.py::test_a_stranger_can_do_nothing[execute]",
    ),
    _check(
        "margin_call_board",
        "nobody is no owner of a board",
        'assert owner != empty(address), "no owner"',
        "board_contract.py::test_a_board_without_an_owner_cannot_be_made",
    ),
    _check(
        "margin_call_board",
        "posters alone post",
        'assert self.is_poster[msg.sender], "not a poster"',
        "board_contract.py::test_a_stranger_can_do_nothing[post]",
    ),
    _check(
        "margin_call_board",
        "a notice is posted once",
        'assert not self.is_posted[notice], "already posted"',
        "board_contract.py::test_a_notice_is_posted_once_whoever_posts_it",
    ),
    _check(
        "margin_call_board",
        "a band that does not exist is not posted",
        'assert band != 0 and band <= DEEPEST, "no such band"',
        "board_contract.py::test_what_is_out_of_bounds_is_refused",
    ),
    _check(
        "margin_call_board",
        "an event that does not exist is not posted",
        'assert what != 0 and what <= LAST_EVENT, "no such event"',
        "board_contract.py::test_what_is_out_of_bounds_is_refused",
    ),
    _check(
        "margin_call_board",
        "a board's ownership is accepted by the heir alone",
        'assert msg.sender == self.heir, "not the heir"',
        "board_contract.py::test_a_stranger_can_do_nothing[accept_ownership]",
    ),
    _check(
        "margin_call_board",
        "a board's owner alone configures",
        'assert msg.sender == self.owner, "not the owner"',
        "board_contract.py::test_a_stranger_can_do_nothing[allow_poster]",
    ),
)
