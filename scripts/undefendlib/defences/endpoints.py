"""Endpoints that fail, stand still or lied."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Endpoints that lied"
_RPC = "keeper/indexer/rpc"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "who lied is asked nothing while there is another",
        f"{_RPC}/standing.py",
        "        honest = [endpoint for endpoint in usable if not endpoint.quarantine.active]",
        "        honest = usable",
        "tests/integration/test_quarantine.py::test_an_endpoint_that_lied_is_asked_nothing_more",
    ),
    Removal(
        _GROUP,
        "it returns only once its headers and logs prove true",
        f"{_RPC}/looks.py",
        "            return await prove(self._pool, endpoint)\n",
        "            return True\n",
        "tests/integration/test_quarantine.py::test_it_does_not_while_it_goes_on_lying",
    ),
    Removal(
        _GROUP,
        "where every other one fails it is asked on parole",
        f"{_RPC}/looks.py",
        "            endpoint.parole()",
        "            pass",
        "tests/integration/test_quarantine.py::test_it_is_asked_on_parole_while_every_other_one_fails",
    ),
    Removal(
        _GROUP,
        "where every one lied, one that proves itself soon is on parole",
        f"{_RPC}/looks.py",
        "        while self._all_lied():",
        "        while False:",
        "tests/integration/test_quarantine.py::test_where_every_one_lied_whoever_proves_itself_soon_is_asked",
    ),
    Removal(
        _GROUP,
        "whoever is on parole is left once another one is well",
        f"{_RPC}/looks.py",
        "            endpoint.quarantine.paroled = False",
        "                    pass",
        "tests/integration/test_quarantine.py::test_it_is_asked_on_parole_while_every_other_one_fails",
    ),
    Removal(
        _GROUP,
        "one that hangs costs a moment: another one is asked beside it",
        f"{_RPC}/pool.py",
        "        if not hedge:",
        "        if True:",
        "tests/integration/test_rpc.py::"
        "test_an_endpoint_that_hangs_costs_a_fraction_of_a_timeout_and_is_asked_last_then",
    ),
    Removal(
        _GROUP,
        "one that is behind another is asked last",
        f"{_RPC}/standing.py",
        "        return endpoint.behind > self._max_lag",
        "        return False",
        "tests/integration/test_rpc.py::test_one_that_is_more_than_three_blocks_behind_another_is_asked_last",
    ),
    Removal(
        _GROUP,
        "one that stands still is left as soon as another one goes on",
        f"{_RPC}/heads.py",
        "                if not suspicious and await self._stands_still(endpoint):\n                    return\n",
        "",
        "tests/integration/test_rpc_heads.py::"
        "test_one_that_falls_silent_is_left_within_two_blocks_and_stays_left[stands still]",
    ),
    Removal(
        _GROUP,
        "no read has to find out whether one that failed is well again",
        f"{_RPC}/looks.py",
        "                endpoint.on_change = self._changed",
        "                pass",
        "tests/integration/test_rpc.py::test_an_endpoint_that_fails_rests_and_is_found_again",
    ),
    Removal(
        _GROUP,
        "each further lie keeps it out for longer",
        f"{_RPC}/quarantine.py",
        "self.first_s * 2 ** min(self._count - 1, _MOST_DOUBLINGS)",
        "self.first_s",
        "tests/integration/test_quarantine.py::test_it_does_not_while_it_goes_on_lying",
    ),
    Removal(
        _GROUP,
        "when all of several lied, nothing new is sent",
        "keeper/mode/watch.py",
        'rpc endpoints were caught lying" if all_lied else None)',
        'rpc endpoints were caught lying" if False else None)',
        "tests/unit/mode/test_watch.py::test_a_lying_endpoint_is_told_to_operators_and_all_of_them_halt_transactions",
    ),
    Removal(
        _GROUP,
        "heads of one that lied are not taken",
        f"{_RPC}/heads.py",
        "            if endpoint.quarantine.active and self._choose() is not endpoint:",
        "            if False:",
        "tests/integration/test_quarantine.py::test_heads_are_taken_from_another_one",
    ),
    Removal(
        _GROUP,
        "a long rest that one endpoint asks for keeps no scan from the others",
        "keeper/indexer/scan.py",
        "if asked is None else asked, _LONGEST_PAUSE_S)",
        "if asked is None else asked, 3600)",
        "tests/integration/test_scan.py::test_a_long_rest_that_one_endpoint_asks_for_is_not_waited_for_beside_another",
    ),
    Removal(
        _GROUP,
        "whoever proves itself answers for itself, not for the one it is compared with",
        "keeper/indexer/rpc/readmission.py",
        "        other.failed(error)\n        return None",
        "        raise",
        "tests/integration/test_quarantine.py::test_it_answers_for_itself_and_not_for_the_one_it_is_compared_with",
    ),
    Removal(
        _GROUP,
        "an answer on its way before a failure ends no rest",
        "keeper/indexer/rpc/endpoint.py",
        "        if asked_at is not None and asked_at < self._failed_at:",
        "        if False:",
        "tests/unit/indexer/test_endpoint.py::test_an_answer_on_its_way_before_the_failure_ends_no_rest",
    ),
    Removal(
        _GROUP,
        "one that hangs is left once another one is back",
        "keeper/indexer/rpc/heads.py",
        "                if left_s <= 0 and (well :=",
        "                if False and (well :=",
        "tests/integration/test_rpc_heads.py::test_one_that_hangs_is_left_once_another_one_is_back",
    ),
)
