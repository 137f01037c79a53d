"""The time that `why` is asked about: what is read, what it covers, where it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.errors import TimespecError
from taskman_cli.insight.why import TimeQuery, parse_time_query

ZONE = "Europe/Stockholm"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) * 1000


NOW_NS = ns("2026-11-24T10:00:00+01:00")


def read(text: str, now_ns: int = NOW_NS) -> TimeQuery:
    return parse_time_query(text, timezone=ZONE, now_ns=now_ns)


@pytest.mark.parametrize(
    ("text", "start", "length_s"),
    [
        pytest.param("2026-11-24T02:30", "2026-11-24T02:30+01:00", 60, id="to the minute"),
        pytest.param("2026-11-24 02:30", "2026-11-24T02:30+01:00", 60, id="with a blank"),
        pytest.param("2026-11-24T02:30:05", "2026-11-24T02:30:05+01:00", 1, id="to the second"),
        pytest.param("2026-11-24t02:30:05.25Z", "2026-11-24T02:30:05.25+00:00", 0.01, id="a fraction and Z"),
        pytest.param("2026-11-24T02:30-0530", "2026-11-24T02:30-05:30", 60, id="an offset"),
        pytest.param("09:59", "2026-11-24T09:59+01:00", 60, id="a time that has passed today"),
        pytest.param("10:00", "2026-11-24T10:00+01:00", 60, id="this minute"),
        pytest.param("10:01", "2026-11-23T10:01+01:00", 60, id="a time that has not passed today"),
        pytest.param("9:05:07", "2026-11-24T09:05:07+01:00", 1, id="seconds, and an hour of one digit"),
        pytest.param("2h", "2026-11-24T08:00+01:00", 60, id="hours ago"),
        pytest.param("1d 30m", "2026-11-23T09:30+01:00", 60, id="days and minutes ago"),
        pytest.param("90s", "2026-11-24T09:58:30+01:00", 1, id="seconds ago"),
        pytest.param("noon", "2026-11-23T12:00+01:00", 60, id="a word"),
        pytest.param("4pm Jul 31", "2026-07-31T16:00+02:00", 60, id="a day without a year, the latest"),
        pytest.param("noon fri", "2026-11-20T12:00+01:00", 60, id="a weekday"),
        pytest.param("10:00:05 yesterday", "2026-11-23T10:00:05+01:00", 1, id="yesterday, to the second"),
        pytest.param("@1700000000", "2023-11-14T22:13:20+00:00", 1, id="seconds since 1970"),
        pytest.param("now", "2026-11-24T10:00+01:00", 60, id="now"),
        pytest.param("2027-01-01T00:00", "2027-01-01T00:00+01:00", 60, id="to come"),
    ],
)
def test_a_query_covers_what_was_typed(text: str, start: str, length_s: float) -> None:
    asked = read(text)
    assert asked.windows == ((ns(start), ns(start) + round(length_s * SECOND_NS)),)
    assert asked.change is None
    assert asked.text == text


def test_a_repeated_time_covers_both_passes_and_with_an_offset_one() -> None:
    first, second = ns("2026-10-25T02:30+02:00"), ns("2026-10-25T02:30+01:00")
    minute = 60 * SECOND_NS
    both = read("2026-10-25T02:30")
    assert both.windows == ((first, first + minute), (second, second + minute))
    assert both.end_ns == second + minute
    one = read("2026-10-25T02:30+01:00")
    assert one.windows == ((second, second + minute),)
    assert both.change == one.change
    assert one.change is not None


def test_a_skipped_time_is_the_instant_after_the_gap() -> None:
    asked = read("2026-03-29T02:30")
    assert asked.windows == ()
    assert (ns("2026-03-29T03:00+02:00"),) * 2 == (asked.at_ns, asked.end_ns)
    assert asked.wall == datetime.fromisoformat("2026-03-29T02:30")
    assert asked.change is not None


def test_a_time_of_day_in_the_gap_of_today_is_todays() -> None:
    asked = read("02:30", now_ns=ns("2026-03-29T12:00+02:00"))
    assert asked.wall == datetime.fromisoformat("2026-03-29T02:30")


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        pytest.param("2026-11-24", 10, '"2026-11-24T14:30"', id="a date alone"),
        pytest.param("25:00", 0, "no such hour: 25", id="the hour"),
        pytest.param("14:60", 3, "no such minute: 60", id="the minute"),
        pytest.param("14:30:61", 6, "no such second: 61", id="the second"),
        pytest.param("2026-13-01T14:30", 5, "no such month: 13", id="the month"),
        pytest.param("2026-02-29T14:30", 8, "no such day: 29", id="the day"),
        pytest.param("0000-02-01T14:30", 0, "no such year: 0000", id="the year"),
        pytest.param("2026-02-01T14:30+25:00", 16, "no such offset: +25:00", id="the offset"),
        pytest.param("2026-02-01T14h30", 11, "not an ISO 8601 date and time", id="half a time"),
        pytest.param("yesterday", 0, 'the time is missing: "14:30 yesterday"', id="a word for a day"),
        pytest.param("fri", 0, 'the time is missing: "14:30 fri"', id="a weekday alone"),
        pytest.param("last friday", 0, "write the date", id="a word"),
        pytest.param("5parsecs", 1, '"parsecs" is not a known word for a time', id="a unit"),
        pytest.param("5M", 1, '"M"', id="a unit in capitals"),
        pytest.param("", 0, "the time is empty", id="nothing"),
        pytest.param("   ", 0, "the time is empty", id="blanks"),
        pytest.param("14:30Z", 5, "is not a known word for a time", id="an offset without a date"),
        pytest.param("99999999d", 0, "outside the years 1 to 9999", id="long ago"),
        pytest.param("9999-12-31T23:59", 0, "outside the years 1 to 9999", id="the end of time"),
        pytest.param("9999-12-30T00:00Z", 0, "outside the years 1 to 9999", id="the end of some dates"),
        pytest.param("0001-01-01T00:00+12:00", 0, "outside the years 1 to 9999", id="before time"),
    ],
)  # fmt: skip
def test_an_invalid_time_is_rejected_at_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(TimespecError) as error:
        read(text)
    assert words in str(error.value)
    assert error.value.column == column
