"""Contracts of strangers: oracles and tokens that anybody may list."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Contracts of strangers"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "contracts of anybody are asked apart from others",
        "keeper/indexer/rpc/calls.py",
        " or call.anybody != calls[start].anybody):",
        "):",
        "tests/unit/indexer/test_calls.py::test_a_contract_of_anybody_that_burns_all_gas_answers_nothing_and_starves_only_its_like",
    ),
    Removal(
        _GROUP,
        "one that burns all gas has answered nothing, and is not asked for ever",
        "keeper/indexer/rpc/calls.py",
        " or (call.anybody and is_starved(answer)):",
        ":",
        "tests/unit/indexer/test_calls.py::test_a_contract_of_anybody_that_burns_all_gas_answers_nothing_and_starves_only_its_like",
    ),
    Removal(
        _GROUP,
        "a whole market's trouble with its oracle is that market's",
        "keeper/protocols/morpho_blue/prices.py",
        "    return Call(oracle, abi.PRICE, anybody=True)",
        "    return Call(oracle, abi.PRICE)",
        "tests/integration/test_hostile_contracts.py::test_hostile_oracles_and_tokens_cost_their_own_market_alone",
    ),
    Removal(
        _GROUP,
        "a market whose oracle does not answer is unknown, not judged by a guess",
        "keeper/protocols/morpho_blue/prices.py",
        "        if lending.priced and (value := maybe_uint(answers.get(_price_call(lending)))) is not None:",
        "        if lending.priced and (value := maybe_uint(answers.get(_price_call(lending))) or 0) is not None:",
        "tests/integration/test_hostile_contracts.py::test_hostile_oracles_and_tokens_cost_their_own_market_alone",
    ),
    Removal(
        _GROUP,
        "profit is counted by the configuration's references, not by the oracle of a market",
        "keeper/protocols/morpho_blue/liquidate.py",
        "    if worth is None:\n        detail",
        "    if worth is None:\n        return sheet.owed, sheet.price_e36, Price(10**8, 8)\n        detail",
        "tests/unit/morpho_blue/test_again.py::test_a_market_whose_loan_token_nobody_knows_the_worth_of_is_left_alone",
    ),
    Removal(
        _GROUP,
        "nothing leaves ahead of its block that hangs on a contract of anybody",
        "keeper/fastlane.py",
        "        parts = [part for part in parts if not any(call.anybody for call in part.calls)]\n",
        "",
        "tests/integration/test_fast_lane.py::test_what_depends_on_contracts_of_anybody_is_left_to_the_ordinary_way",
    ),
)
