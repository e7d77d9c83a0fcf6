"""A second opinion before money moves, and afterwards."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "A second opinion"
_EXECUTOR = "keeper/executor"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "an owner hears nothing of a position that another endpoint sees otherwise",
        "keeper/wire/house.py",
        "confirming=None if second is None else Confirming(second, self.config.defences.hold_blocks),",
        "confirming=None,",
        "tests/integration/test_second_opinion.py::test_an_owner_hears_nothing_of_a_block_whose_logs_were_left_out",
    ),
    Removal(
        _GROUP,
        "what does not decode is read from another endpoint",
        "keeper/indexer/decoding.py",
        "    if source is None:",
        "    if True:",
        "tests/unit/indexer/test_decoding.py::test_where_another_endpoints_answer_decodes_the_first_is_to_blame",
    ),
    Removal(
        _GROUP,
        "a block of which something does not decode is read once more",
        "keeper/pipeline/reading.py",
        "return await self._chain.decoded(lambda chain: self._read(chain, block))",
        "return await self._read(self._chain, block)",
        "tests/integration/test_remaining_endpoint.py::test_what_does_not_decode_is_read_from_the_other_endpoint",
    ),
    Removal(
        _GROUP,
        "a position that another endpoint contradicts is held",
        f"{_EXECUTOR}/doubts.py",
        "                if held <= self._hold_blocks:",
        "                if False:",
        "tests/unit/executor/test_doubts.py::test_a_contradiction_holds_a_position_for_some_blocks_and_not_for_good",
    ),
    Removal(
        _GROUP,
        "a position that another endpoint contradicts is read again",
        "keeper/second.py",
        "        self._witness.distrust(one.venue.name, one.key)\n",
        "",
        "tests/integration/test_witness.py::test_a_position_that_another_endpoint_sees_otherwise_is_to_be_read_again",
    ),
    Removal(
        _GROUP,
        "who has not answered in time has no say",
        "keeper/second.py",
        "calls, block.ref, self._deadline_s)",
        "calls, block.ref, 30.0)",
        "tests/integration/test_witness.py::test_who_has_not_answered_in_time_has_no_say",
    ),
    Removal(
        _GROUP,
        "of three the odd one out lied, and nothing is held",
        "keeper/second.py",
        "        if confirming:  # two against one\n",
        "        if False:\n",
        "tests/integration/test_witness.py::test_of_three_the_one_that_is_alone_with_what_it_sees_lied",
    ),
    Removal(
        _GROUP,
        "a price that jumped is confirmed first",
        f"{_EXECUTOR}/doubts.py",
        "    return high * BPS > low * (BPS + limit_bps)",
        "    return False",
        "tests/unit/executor/test_doubts.py::test_a_price_that_jumped_is_acted_on_once_the_next_block_has_it_too",
    ),
    Removal(
        _GROUP,
        "what was made ready leaves only where it is believed",
        f"{_EXECUTOR}/doubts.py",
        "            return opinion.contradicts is None",
        "            return True",
        "tests/unit/executor/test_doubts.py::test_what_was_made_ready_leaves_at_once_only_where_it_is_believed",
    ),
    Removal(
        _GROUP,
        "two who insist on different states halt transactions",
        "keeper/mode/crosscheck.py",
        "str(found) if held < self._hold_blocks else None",
        "None",
        "tests/unit/mode/test_crosscheck.py::test_two_who_insist_halt_for_some_blocks",
    ),
    Removal(
        _GROUP,
        "who does not stand by what it said has lied",
        "keeper/indexer/witness.py",
        "            if [again[i] for i in differing] != said:",
        "            if False:",
        "tests/integration/test_second_opinion.py::test_state_that_one_endpoint_takes_back_was_a_lie",
    ),
    Removal(
        _GROUP,
        "of two who insist a third says who lied",
        "keeper/indexer/witness.py",
        "            if len(wrong) == 1:",
        "            if False:",
        "tests/integration/test_witness.py::test_of_two_who_insist_a_third_says_who_lied",
    ),
    Removal(
        _GROUP,
        "logs that only one endpoint has are found",
        "keeper/indexer/witness.py",
        "        differing_logs = _differing(seen.logs, logs)",
        "        differing_logs = ()",
        "tests/integration/test_second_opinion.py::test_logs_that_the_bloom_does_not_miss_are_found_by_the_other_endpoint",
    ),
)
