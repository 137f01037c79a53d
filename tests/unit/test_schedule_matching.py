"""Fields of a cron expression beside a wall time, and the clock changes that touch one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule import CronSchedule, parse_cron
from taskman_cli.core.schedule.changes import change_at, change_touching, instants_of, naive_time_at
from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.core.schedule.matching import compare
from taskman_cli.core.schedule.occurrences import Occurrences

EPOCH = datetime.fromisoformat("1970-01-01")
EXPRESSIONS = [
    "* * * * *", "*/5 1-3 * * *", "0 0 1 * MON", "30 2 */2 * MON", "0 0 13 * *", "* * * JUN-AUG 0",
    "0 0 L * *", "0 0 * * FRI#2", "0 0 15W * *", "*/10 * * * * *", "0 12 1,15 2 7", "0 0 L 6 L5",
    "0 0 1W,L-2 * MON,FRI#2", "0 0 ? * FRI-MON", "0 0 1 1 * 2000-2060/3", "*/30 * * 1 * * 2001,2034-2036",
]  # fmt: skip
ZONES = ["Europe/Stockholm", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "UTC"]
walls = st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2035-01-01")).map(
    lambda wall: wall.replace(microsecond=0)
)


def seconds(wall: datetime) -> int:
    return (wall - EPOCH) // timedelta(seconds=1)


@given(st.sampled_from(EXPRESSIONS), walls, st.booleans())
def test_the_fields_match_just_when_the_whole_does(text: str, wall: datetime, on_a_match: bool) -> None:
    expression = parse_expression(text, name="job")
    times = Occurrences(expression)
    if on_a_match:
        following = times.next_at(seconds(wall))
        assert following is not None
        wall = EPOCH + timedelta(seconds=following)
    comparison = compare(expression, wall, has_second=True)
    assert comparison.is_match == (times.next_at(seconds(wall)) == seconds(wall))
    assert comparison.is_match == (comparison.to_blame() == [])


@pytest.mark.parametrize(
    ("text", "wall", "blamed"),
    [
        pytest.param("30 2 * * *", "2026-11-24T14:15", ["minute", "hour"], id="the time of day"),
        pytest.param(
            "0 0 1 * MON", "2026-11-24T00:00", ["day of month", "day of week"], id="neither of two days"
        ),
        pytest.param("0 0 1 * TUE", "2026-11-24T00:05", ["minute"], id="one of two days does"),
        pytest.param("0 0 */2 * TUE", "2026-11-24T00:00", ["day of month"], id="both days have to"),
        pytest.param("0 0 * 12 *", "2026-11-24T00:00", ["month"], id="the month"),
        pytest.param("0 0 24 11 * 2027", "2026-11-24T00:00", ["year"], id="the year"),
        pytest.param("0 0 L * *", "2026-11-29T00:00", ["day of month"], id="the last day"),
        pytest.param("0 0 * * 7", "2026-11-29T00:00", [], id="Sunday as 7"),
    ],
)
def test_only_the_fields_that_keep_it_from_matching_are_to_blame(
    text: str, wall: str, blamed: list[str]
) -> None:
    comparison = compare(parse_expression(text, name=""), datetime.fromisoformat(wall), has_second=False)
    assert [field.name for field in comparison.to_blame()] == blamed


@given(st.sampled_from(ZONES), walls)
def test_a_wall_time_has_the_instants_at_which_a_clock_shows_it(name: str, wall: datetime) -> None:
    zone = ZoneInfo(name)
    expected = set()
    for fold in (0, 1):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == wall:
            expected.add((instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * SECOND_NS)
    found = instants_of(wall, name)
    assert found == sorted(expected)
    assert (change_touching(wall, name) is not None) == (len(found) != 1)
    assert [naive_time_at(instant, name) for instant in found] == [wall] * len(found)


def test_changes_tell_what_they_leave_out_and_what_comes_twice() -> None:
    gap = change_touching(datetime.fromisoformat("2026-03-29T02:30"), "Europe/Stockholm")
    assert gap is not None
    assert gap.is_gap
    assert (gap.before, gap.after) == (
        datetime.fromisoformat("2026-03-29T02:00"),
        datetime.fromisoformat("2026-03-29T03:00"),
    )
    assert gap.shift_ns == 3600 * SECOND_NS
    assert change_at(gap.at_ns, "Europe/Stockholm") == gap
    assert change_at(gap.at_ns + SECOND_NS, "Europe/Stockholm") is None
    overlap = change_touching(datetime.fromisoformat("2026-10-25T02:00"), "Europe/Stockholm")
    assert overlap is not None
    assert not overlap.is_gap
    assert change_touching(datetime.fromisoformat("2026-10-25T03:00"), "Europe/Stockholm") is None


def test_only_a_slot_that_was_moved_out_of_a_gap_stands_for_one() -> None:
    gap_end_ns = instants_of(datetime.fromisoformat("2026-03-29T03:00"), "Europe/Stockholm")[0]
    moved = parse_cron("30 2 * * *", timezone="Europe/Stockholm")
    wildcard = parse_cron("*/30 * * * *", timezone="Europe/Stockholm")
    own = parse_cron("0 3 * * *", timezone="Europe/Stockholm")
    assert isinstance(moved, CronSchedule)
    assert isinstance(wildcard, CronSchedule)
    assert isinstance(own, CronSchedule)
    assert moved.is_fixed
    assert not wildcard.is_fixed
    assert moved.stands_for_gap(gap_end_ns)
    assert not wildcard.stands_for_gap(gap_end_ns)
    assert not own.stands_for_gap(gap_end_ns)
    next_day_ns = moved.next_after(gap_end_ns)
    assert next_day_ns is not None
    assert not moved.stands_for_gap(next_day_ns)
