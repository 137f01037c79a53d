"""Durations and instants as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.timespec import format_duration, parse_duration, parse_instant
from taskman_cli.core.timespec.durations import PATTERN
from taskman_cli.errors import TimespecError

DURATIONS = {
    "90s": timedelta(seconds=90),
    "1h30m": timedelta(minutes=90),
    "1h 30m": timedelta(minutes=90),
    "1h \t 30m 5s": timedelta(minutes=90, seconds=5),
    "2d": timedelta(days=2),
    "1w": timedelta(weeks=1),
    "250ms": timedelta(milliseconds=250),
    "1.5h": timedelta(minutes=90),
    "1h2.5s": timedelta(hours=1, seconds=2.5),
    "0.001ms": timedelta(microseconds=1),
    "0s": timedelta(0),
    "0005m": timedelta(minutes=5),
    "1w2d3h4m5s6ms": timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5, milliseconds=6),
    "999999999d": timedelta(days=999_999_999),
    "0.50000000000000000000000000000000h": timedelta(minutes=30),
    # As people write them.
    "1h30": timedelta(minutes=90),
    "9h05": timedelta(hours=9, minutes=5),
    "0h30": timedelta(minutes=30),
    "12min": timedelta(minutes=12),
    "7hr": timedelta(hours=7),
    "300secs": timedelta(seconds=300),
    "5 hours": timedelta(hours=5),
    "1 minute": timedelta(minutes=1),
    "90 s": timedelta(seconds=90),
    "1.5 hours": timedelta(minutes=90),
    "5 Hours": timedelta(hours=5),
    "12 Min": timedelta(minutes=12),
    "2 DAYS": timedelta(days=2),
    "1H30": timedelta(minutes=90),
    "1W 2D 3Hrs 4m 5S 6MS": timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5, milliseconds=6),
    "2 weeks 3days 4 hrs5mins 6 sec 7 msec": timedelta(
        weeks=2, days=3, hours=4, minutes=5, seconds=6, milliseconds=7
    ),
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.items(), ids=DURATIONS)
def test_duration_is_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected
    assert re.fullmatch(PATTERN, text)  # the schema of job files has no flags


BAD_DURATIONS = {
    "": (0, "the duration is empty"),
    "  ": (0, "the duration is empty"),
    "90": (2, 'add a unit to the number: "90s" is seconds'),
    "1h 30": (5, 'add a unit to the number: "30m" is minutes'),
    "1h5": (3, 'add a unit to the number: "5m" is minutes'),
    "1h60": (4, 'add a unit to the number: "60m" is minutes'),
    # A time of day, as for at(1).
    "16h30": (5, 'add a unit to the number: "30m" is minutes'),
    "09h30": (5, 'add a unit to the number: "30m" is minutes'),
    "2m30": (4, 'add a unit to the number: "30s" is seconds'),
    "5ms 3": (5, 'add a unit to the number: "3s" is seconds'),
    "4:13:02": (1, 'write the units: "4h13m02s"'),
    "4:13": (1, 'write the units: "4h13m" or "4m13s"'),
    "5 Houres": (2, '"Houres" is not one of the units w d h m s ms (did you mean "hours"?)'),
    "5 wee\u212as": (2, "is not one of the units"),
    "1H30M": (4, '"M" is not one of the units w d h m s ms (did you mean "m"?)'),
    "30Min1H": (6, '"h" must come before "m": "1h30m"'),
    "2 months": (2, "months and years differ in length, so use days"),
    "an hour": (0, 'a number is missing before "an hour"'),
    "1.5": (3, 'add a unit to the number: "1.5s" is seconds'),
    "5M": (1, '"M" is not one of the units w d h m s ms (did you mean "m"?)'),
    "5mm": (1, '"mm" is not one of the units w d h m s ms'),
    "5y": (1, '"y" is not one of the units'),
    "5\u00b5s": (1, "is not one of the units"),
    "-5s": (0, "a duration cannot be negative"),
    "1h-5s": (2, "a duration cannot be negative"),
    "+5s": (0, "a duration has no sign: remove the +"),
    "s": (0, 'a number is missing before "s"'),
    ".5s": (0, "a number is missing"),
    "5.s": (1, "add a unit"),
    "\u0665s": (0, "a number is missing"),
    " 5s": (0, "unexpected space"),
    "5s ": (2, "unexpected space"),
    "5s\n": (2, "a number is missing"),
    "30m1h": (4, '"h" must come before "m": "1h30m"'),
    "5 sec 2 hours 1 day": (8, '"h" must come before "s": "1d2h5s"'),
    "1h1h": (3, '"h" is given twice'),
    "1.5h30m": (4, "only the last number may have a fraction"),
    "1.5h 30m": (4, "only the last number may have a fraction"),
    "0.0001ms": (0, "finer than a microsecond"),
    "1h0.00000000000000000000000000001s": (2, "finer than a microsecond"),
    "0.3333333w 1s": (10, "only the last number may have a fraction"),
    "1.00000000001w": (0, "finer than a microsecond"),
    "1000000000d": (0, "the duration is too long; the longest is 999999999d"),
    "9" * 6000 + "s": (0, "the duration is too long"),
    "1,5h": (1, "add a unit"),
    "soon": (0, "a number is missing"),
}


@pytest.mark.parametrize(
    ("text", "problem"), BAD_DURATIONS.items(), ids=(repr(text[:20]) for text in BAD_DURATIONS)
)
def test_duration_is_refused_at_the_column_with_the_reason(text: str, problem: tuple[int, str]) -> None:
    with pytest.raises(TimespecError) as caught:
        parse_duration(text)
    column, reason = problem
    assert reason in str(caught.value)
    assert caught.value.column == column
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=15), "15s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(days=7), "1w"),
        (timedelta(days=14), "2w"),
        (timedelta(days=10), "10d"),
        (timedelta(hours=36), "1d12h"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(milliseconds=250), "250ms"),
        (timedelta(microseconds=1), "0.001ms"),
        (timedelta(minutes=1, microseconds=10), "1m0.01ms"),
        (timedelta(seconds=-90), "-1m30s"),
        (10_000_000_000, "10s"),
        (1_000_000_100, "1.0000001s"),
        (1, "0.000001ms"),
    ],
)
def test_duration_is_written_exactly_and_without_zeros(duration: timedelta | int, expected: str) -> None:
    assert format_duration(duration) == expected


@given(st.timedeltas(min_value=timedelta(0)))
def test_what_is_written_reads_back_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


UNITS = {
    "w": 604_800, "week": 604_800, "wks": 604_800, "d": 86_400, "days": 86_400, "h": 3_600, "hr": 3_600,
    "hours": 3_600, "m": 60, "min": 60, "minutes": 60, "s": 1, "secs": 1, "second": 1, "ms": 0.001,
}  # fmt: skip
COUNTS = st.integers(min_value=0, max_value=9_999)


@given(st.lists(st.tuples(COUNTS, st.sampled_from([*UNITS]), st.sampled_from(["", " "])), min_size=1))
def test_numbers_with_units_in_order_are_their_sum_and_others_are_refused(
    parts: list[tuple[int, str, str]],
) -> None:
    text = " ".join(f"{count}{blank}{unit}" for count, unit, blank in parts)
    sizes = [UNITS[unit] for _, unit, _ in parts]
    if sizes == sorted(set(sizes), reverse=True):
        assert timedelta(
            milliseconds=sum(round(count * UNITS[unit] * 1000) for count, unit, _ in parts)
        ) == parse_duration(text)
    else:
        with pytest.raises(TimespecError, match=r"must come before|is given twice"):
            parse_duration(text)


@given(st.text(alphabet="0123456789.-+ wdhmsMinecorutk:\t\u0663", max_size=12))
def test_any_text_is_a_duration_or_a_timespec_error(text: str) -> None:
    column = 0
    duration = timedelta(0)
    try:
        duration = parse_duration(text)
    except TimespecError as error:
        column = error.column
    assert 0 <= column <= len(text)
    assert duration >= timedelta(0)


STOCKHOLM = ZoneInfo("Europe/Stockholm")

INSTANTS = {
    "2026-12-24T15:00": "2026-12-24T15:00:00+01:00",
    "2026-12-24 15:00:30": "2026-12-24T15:00:30+01:00",
    "2026-12-24t15:00:30.25": "2026-12-24T15:00:30.250000+01:00",
    "2026-07-01T15:00Z": "2026-07-01T17:00:00+02:00",
    "2026-07-01T15:00:00z": "2026-07-01T17:00:00+02:00",
    "2026-07-01T15:00-05:00": "2026-07-01T22:00:00+02:00",
    "2026-07-01T15:00+0530": "2026-07-01T11:30:00+02:00",
    "2026-07-01T15:00+02": "2026-07-01T15:00:00+02:00",
    "20261224T1500": "2026-12-24T15:00:00+01:00",
    "20260701t150030.5Z": "2026-07-01T17:00:30.500000+02:00",
    "20260701T150000-0500": "2026-07-01T22:00:00+02:00",
    # It comes twice: the first pass.
    "2026-10-25T02:30": "2026-10-25T02:30:00+02:00",
    "2026-10-25T02:30+01:00": "2026-10-25T02:30:00+01:00",
}


@pytest.mark.parametrize(("text", "expected"), INSTANTS.items(), ids=INSTANTS)
def test_instant_is_read_in_the_zone(text: str, expected: str) -> None:
    instant = parse_instant(text, zone=STOCKHOLM)
    assert instant.isoformat() == expected
    assert instant.tzinfo is STOCKHOLM


NOT_ISO = "not an ISO 8601 date and time"

BAD_INSTANTS = {
    "": (0, NOT_ISO),
    "tomorrow": (0, NOT_ISO),
    "2026-12-24": (10, NOT_ISO),
    "20261224": (0, NOT_ISO),
    "2026-W52-4T15:00": (0, NOT_ISO),
    "2026-12-24T24:00": (11, NOT_ISO),
    "2026-12-24T15:00:00.1234567": (26, NOT_ISO),
    "2026-12-24T15:00 ": (16, NOT_ISO),
    "2026-12-24T15:00+1": (16, NOT_ISO),
    "2026-12-24T15:00+0100!": (21, NOT_ISO),
    "2026-13-24T15:00": (0, "no such date or time: "),
    "2026-02-29T15:00": (8, 'no such day: 29; February 2026 has 28 days (did you mean "2026-02-28T15:00"?)'),
    "2026-11-31 15:00": (8, 'no such day: 31; November 2026 has 30 days (did you mean "2026-11-30 15:00"?)'),
    "20261131T1500": (6, 'no such day: 31; November 2026 has 30 days (did you mean "20261130T1500"?)'),
    "2026-11-00T15:00": (0, "no such date or time: "),
    "2026-12-24T15:60": (0, "no such date or time: "),
    "2026-12-24T15:00+25:00": (16, "no such offset: +25:00"),
    "20261224T1500+2500": (13, "no such offset: +2500"),
    "2026-12-24T15:00+99": (16, "no such offset: +99"),
    "2026-12-24T15:00-0060": (16, "no such offset: -0060"),
    "0000-01-01T00:00": (0, "no such date or time: "),
    "0001-01-01T00:00": (0, "outside the years 1 to 9999"),
    "9999-12-31T23:59-12:00": (0, "outside the years 1 to 9999"),
    "2026-03-29T02:30": (
        0, "2026-03-29 02:30:00 does not exist in Europe/Stockholm: the clocks jump over it; "
        'did you mean "2026-03-29T03:30:00"?',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), BAD_INSTANTS.items(), ids=map(repr, BAD_INSTANTS))
def test_instant_is_refused_at_the_column_with_the_reason(text: str, problem: tuple[int, str]) -> None:
    with pytest.raises(TimespecError) as caught:
        parse_instant(text, zone=STOCKHOLM)
    column, reason = problem
    assert reason in str(caught.value)
    assert column == caught.value.column


def test_a_day_that_was_skipped_is_refused_too() -> None:
    with pytest.raises(TimespecError, match='did you mean "2011-12-31T12:00:00"'):
        parse_instant("2011-12-30T12:00", zone=ZoneInfo("Pacific/Apia"))


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 (bounds)
def test_an_instant_with_its_offset_reads_back_the_same(instant: datetime) -> None:
    # In UTC: Python calls times in a repeated hour unequal to those of any other zone.
    assert instant == parse_instant(instant.isoformat(), zone=STOCKHOLM).astimezone(UTC)
