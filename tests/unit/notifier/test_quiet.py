"""Quiet hours by the clock on the wall, on the days when that clock is changed too."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, reset_tzpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.notifier.quiet import QuietHours, parse_hours, parse_zone

BERLIN = "Europe/Berlin"
HOUR = 3600


def quiet(hours: str, zone: str = BERLIN) -> QuietHours:
    return QuietHours(parse_hours(hours), parse_zone(zone))


def at(text: str) -> float:
    """UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_night_goes_over_midnight_and_its_end_is_day():
    night = quiet("22:00-07:00")
    assert night.ends_at(at("2026-07-10 19:59:59")) is None
    assert night.ends_at(at("2026-07-10 20:00:00")) == at("2026-07-11 05:00")
    assert night.ends_at(at("2026-07-11 04:59:59")) == at("2026-07-11 05:00")
    assert night.ends_at(at("2026-07-11 05:00:00")) is None


def test_hours_within_a_day_do_not_reach_into_the_next():
    siesta = quiet("12:30-14:00", "Europe/Madrid")
    assert siesta.ends_at(at("2026-01-10 11:30")) == at("2026-01-10 13:00")
    assert siesta.ends_at(at("2026-01-10 13:00")) is None


def test_the_night_in_which_the_clock_goes_forward_is_an_hour_shorter():
    """29 March 2026, 02:00 becomes 03:00 in Berlin."""
    night = quiet("22:00-07:00")
    begins = at("2026-03-28 21:00")
    assert night.ends_at(begins) == begins + 8 * HOUR == at("2026-03-29 05:00")


def test_the_night_in_which_the_clock_goes_back_is_an_hour_longer_and_one():
    """25 October 2026, 03:00 becomes 02:00 in Berlin: the hour that comes twice is quiet twice."""
    night = quiet("22:00-07:00")
    begins = at("2026-10-24 20:00")
    assert {night.ends_at(begins + minute * 60) for minute in range(10 * 60)} == {begins + 10 * HOUR}
    assert night.ends_at(begins + 10 * HOUR) is None


def test_an_end_in_the_hour_that_comes_twice_is_the_first_and_stays_the_end():
    """02:30 in Berlin happens at 00:30 and at 01:30 UTC; people are not sent back to bed."""
    night = quiet("22:00-02:30")
    assert night.ends_at(at("2026-10-25 00:29")) == at("2026-10-25 00:30")
    assert night.ends_at(at("2026-10-25 01:10")) is None


def test_an_end_that_the_clock_skips_is_as_far_beyond_the_change():
    """02:30 does not exist on 29 March 2026 in Berlin: it is half an hour after the change, 03:30."""
    assert quiet("22:00-02:30").ends_at(at("2026-03-29 00:59")) == at("2026-03-29 01:30")
    assert quiet("22:00-02:30").ends_at(at("2026-03-29 01:30")) is None


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Chatham", "UTC")


@given(
    zone=st.sampled_from(ZONES),
    begin=st.integers(0, 23 * 60 + 59),
    length=st.integers(1, 24 * 60 - 1),
    now=st.integers(1_700_000_000, 1_900_000_000),
)
def test_a_night_ends_at_its_hour_and_only_then(zone: str, begin: int, length: int, now: int):
    """In every zone and season: no moment before its end is day, the end itself is, and it is the hour that was named,
    unless the clock skips that."""
    end = (begin + length) % (24 * 60)
    night = quiet(f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}", zone)
    ends = night.ends_at(now)
    if ends is None:
        return
    assert now < ends <= now + 25 * HOUR
    assert night.ends_at((now + ends) / 2) == ends
    assert night.ends_at(ends - 1) == ends
    if length < 22 * 60:
        assert night.ends_at(ends) is None
    shown = datetime.fromtimestamp(ends, parse_zone(zone))
    skipped = datetime.fromtimestamp(ends, UTC).astimezone(parse_zone(zone)).utcoffset() != (
        datetime.fromtimestamp(ends - 2 * HOUR, parse_zone(zone)).utcoffset()
    )
    assert (shown.hour, shown.minute) == (end // 60, end % 60) or skipped


@pytest.mark.parametrize("text", ["22-7", "22:00", "24:00-07:00", "22:00-07:60", "", "22:00-22:00"])
def test_other_hours_are_refused_with_how_to_write_them(text: str):
    with pytest.raises(ValueError, match=r"22:00-07:00|at the same time"):
        parse_hours(text)


def test_an_unknown_time_zone_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'Europe/Berlin'"):
        parse_zone("Europe/Berlim")
    with pytest.raises(ValueError, match="IANA"):
        parse_zone("../../etc/passwd")


def test_time_zones_are_known_where_the_system_has_none():
    """Slim images have no zone database; the one that Keeper brings is used."""
    reset_tzpath(to=())
    try:
        ZoneInfo.clear_cache()
        assert parse_zone(BERLIN).key == BERLIN
    finally:
        reset_tzpath()
        ZoneInfo.clear_cache()
