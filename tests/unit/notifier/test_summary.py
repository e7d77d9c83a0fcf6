"""Many notices as one: complete, in order of depth, and safe to put before a person."""

from __future__ import annotations

import json
from dataclasses import replace

from keeper.core.records import Delivery, DeliveryStatus, Notice, NoticeEvent
from keeper.notifier.summary import summarize
from keeper.notifier.webhook import encode
from tests.support.notices import notice


def waiting(*notices: Notice) -> list[Delivery]:
    return [Delivery(one, "hook", DeliveryStatus.PENDING) for one in notices]


def test_a_few_are_told_in_full():
    """Somebody will want to act on them."""
    told = summarize("hook", waiting(notice(1), notice(2, position="aave:0xB", band="urgent")))
    assert told.title == "2 notices of 2 positions, urgent at most"
    assert [one["demands"] for one in told.body["notices"]] == [notice(1).body["demands"]] * 2
    for form in (told.text, told.markdown, told.html):
        assert "aave:0xA" in form
        assert "repay 250 USDC" in form


def test_a_storm_is_told_in_a_line_each_the_deepest_first():
    """Each position with its event, band, health and block."""
    calls = [notice(n, position=f"aave:{n}") for n in range(9)]
    told = summarize("hook", waiting(*calls, notice(99, position="aave:99", band="liquidatable")))
    assert told.text.splitlines()[1:3] == ["liquidatable:", "  - aave:99 opened, health 1.0900, block 99"]
    assert sum(f"aave:{n} " in told.text for n in range(9)) == 9
    assert (told.band, told.block_number, told.event) == ("liquidatable", 99, NoticeEvent.SUMMARY)
    assert {one["health_wad"] for one in told.body["notices"]} == {"1090000000000000000"}
    assert not any("demands" in one for one in told.body["notices"])


def test_a_health_below_zero_reads_as_in_the_notice_itself():
    """Of a perpetual account that owes more than it has."""
    deep = notice(99, position="perp:99", band="liquidatable")
    deep = replace(deep, body={**deep.body, "health_wad": str(-(1957 * 10**15 + 1))})
    told = summarize("hook", waiting(*(notice(n, position=f"aave:{n}") for n in range(9)), deep))
    assert told.text.splitlines()[2] == "  - perp:99 opened, health -1.9571, block 99"


def test_the_same_notices_make_the_same_summary_and_others_another():
    """A retry after a crash repeats its id and its body byte for byte."""
    one = summarize("hook", waiting(notice(1), notice(2)))
    assert encode(one) == encode(summarize("hook", waiting(notice(1), notice(2))))
    assert one.id != summarize("hook", waiting(notice(1), notice(3))).id
    assert one.id != summarize("chat", waiting(notice(1), notice(2))).id


def test_five_hundred_fit_where_a_megabyte_is_too_much():
    """What receivers commonly take; each notice itself is several kilobytes."""
    large = {"demands": [{"action": "repay", "amount": "1" * 77}] * 20, "links": ["https://example"] * 20}
    storm = [notice(n, position=f"aave:0x{n:040x}:0x{n:064x}") for n in range(500)]
    storm = [replace(one, body={**one.body, **large}) for one in storm]
    assert len(json.dumps(storm[0].body)) > 2_000
    assert len(encode(summarize("hook", waiting(*storm)))) < 700_000


def test_nothing_that_others_chose_is_markup():
    """Titles and texts may hold names that strangers gave themselves."""
    evil = replace(notice(1), title="**<script>alert(1)</script>** [free](http://evil)", text="t\n<img src=x> *all*")
    told = summarize("hook", waiting(evil, notice(2)))
    assert "<script>" not in told.html
    assert "<img" not in told.html
    assert "[free](http" not in told.markdown
