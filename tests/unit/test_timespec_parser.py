"""Times as people type them: what we read beyond at(1), clock changes, refusals, and looking back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskman_cli.core.timespec import (
    format_duration,
    is_duration,
    is_from_now,
    is_relative,
    parse_ago,
    parse_duration,
    parse_fixed,
    parse_moment,
    parse_timespec,
)
from taskman_cli.errors import TimespecError

STOCKHOLM = ZoneInfo("Europe/Stockholm")
NOW = datetime(2026, 11, 24, 10, 17, 42, tzinfo=STOCKHOLM)  # a Tuesday


def at(text: str, zone: str = "Europe/Stockholm") -> datetime:
    """Return a clock."""
    return datetime.fromisoformat(text).astimezone(ZoneInfo(zone))


MORE_THAN_AT = {
    "2026-12-24T15:00": "2026-12-24T15:00:00+01:00",
    "2026-12-24T15:00:30Z": "2026-12-24T16:00:30+01:00",
    "20261224T150000Z": "2026-12-24T16:00:00+01:00",
    "2026-12-24 15:00": "2026-12-24T15:00:00+01:00",
    "2026-12-24  15:00": "2026-12-24T15:00:00+01:00",
    "2026-12-24 15:00:30": "2026-12-24T15:00:30+01:00",
    "2026-12-24 15:00:00 +0200": "2026-12-24T14:00:00+01:00",
    "2026-12-24 15:00:30 UTC": "2026-12-24T16:00:30+01:00",
    "2026-12-24 24:00": "2026-12-25T00:00:00+01:00",
    "2026-12-24 4pm": "2026-12-24T16:00:00+01:00",
    "2026-12-24 2300": "2026-12-24T23:00:00+01:00",
    "24.12.26 16h30": "2026-12-24T16:30:00+01:00",
    "12/24/26 noon": "2026-12-24T12:00:00+01:00",
    "tomorrow noon": "2026-11-25T12:00:00+01:00",
    "today 23:59:59": "2026-11-24T23:59:59+01:00",
    "next friday 4:30 pm": "2026-11-27T16:30:00+01:00",
    "next month 1am": "2026-12-24T01:00:00+01:00",
    "Jul 31 4pm": "2027-07-31T16:00:00+02:00",
    "Jul 31 10pm": "2027-07-31T22:00:00+02:00",
    "Jul 12,2027": "2027-07-12T10:17:00+02:00",
    "Jul 31, 2027 2300": "2027-07-31T23:00:00+02:00",
    "Dec 24 noon + 2 days": "2026-12-26T12:00:00+01:00",
    "now next hour": "2026-11-24T11:17:00+01:00",
    "10:17:43": "2026-11-24T10:17:43+01:00",
    "10:17:42": "2026-11-25T10:17:42+01:00",
    "@1800000000": "2027-01-15T09:00:00+01:00",
    "@1800000000.25": "2027-01-15T09:00:00.250000+01:00",
    "90s": "2026-11-24T10:19:12+01:00",
    "1h30m": "2026-11-24T11:47:42+01:00",
    "1h 30m": "2026-11-24T11:47:42+01:00",
    "2d": "2026-11-26T10:17:42+01:00",
    "0s": "2026-11-24T10:17:42+01:00",
    # A duration, but from ten hours on a time of day, as for at(1).
    "1h30": "2026-11-24T11:47:42+01:00",
    "9h45": "2026-11-24T20:02:42+01:00",
    "16h30": "2026-11-24T16:30:00+01:00",
    "09h45": "2026-11-25T09:45:00+01:00",
    # Durations, counted from now: elapsed time.
    "12min": "2026-11-24T10:29:42+01:00",
    "5 hours": "2026-11-24T15:17:42+01:00",
    "2 hours": "2026-11-24T12:17:42+01:00",
    "in 2 hours": "2026-11-24T12:17:42+01:00",
    "In 1h30": "2026-11-24T11:47:42+01:00",
    "+2h": "2026-11-24T12:17:42+01:00",
    "+ 2 hours": "2026-11-24T12:17:42+01:00",
    "2 hours from now": "2026-11-24T12:17:42+01:00",
    "1h30 from  now": "2026-11-24T11:47:42+01:00",
    "3 days": "2026-11-27T10:17:42+01:00",
    # From the minute that goes on, as for at(1).
    "now+2h": "2026-11-24T12:17:00+01:00",
    "now+1h30": "2026-11-24T11:47:00+01:00",
    "now + 1h30m": "2026-11-24T11:47:00+01:00",
    "now + 5 mins": "2026-11-24T10:22:00+01:00",
    "now + 1 day 2 hours": "2026-11-25T12:17:00+01:00",
    "now+1w2d": "2026-12-03T10:17:00+01:00",
    "4pm + 1h30": "2026-11-24T17:30:00+01:00",
    "9pm - 1h30": "2026-11-24T19:30:00+01:00",
    # Months and years have no length in days.
    "2 months": "2027-01-24T10:17:00+01:00",
    "in 2 months": "2027-01-24T10:17:00+01:00",
    "+ 1 year 2mo": "2028-01-24T10:17:00+01:00",
    "1 month 2 days from now": "2026-12-26T10:17:00+01:00",
    # As people say them.
    "at 5pm": "2026-11-24T17:00:00+01:00",
    "at 9": "2026-11-25T09:00:00+01:00",
    "at noon": "2026-11-24T12:00:00+01:00",
    "tomorrow at 9": "2026-11-25T09:00:00+01:00",
    "at 9 tomorrow": "2026-11-25T09:00:00+01:00",
    "tomorrow at 9pm": "2026-11-25T21:00:00+01:00",
    "tomorrow at 2300": "2026-11-25T23:00:00+01:00",
    "next monday at 9am": "2026-11-30T09:00:00+01:00",
    "on friday at 5:30 pm": "2026-11-27T17:30:00+01:00",
    "5pm on April 1st": "2027-04-01T17:00:00+02:00",
    "this friday": "2026-11-27T10:17:00+01:00",
    "this tuesday 5pm": "2026-11-24T17:00:00+01:00",
    "tuesday 5pm": "2026-12-01T17:00:00+01:00",
    "tonight": "2026-11-24T20:00:00+01:00",
    "tonight at 21": "2026-11-24T21:00:00+01:00",
    "9:30pm tonight": "2026-11-24T21:30:00+01:00",
    "4pm tues": "2026-12-01T16:00:00+01:00",
    "weds": "2026-11-25T10:17:00+01:00",
    "thur": "2026-11-26T10:17:00+01:00",
    "thurs": "2026-11-26T10:17:00+01:00",
    "Sept 4": "2027-09-04T10:17:00+02:00",
    "April 1st": "2027-04-01T10:17:00+02:00",
    "2nd Dec": "2026-12-02T10:17:00+01:00",
    "Dec 23rd 2027": "2027-12-23T10:17:00+01:00",
    "11TH january": "2027-01-11T10:17:00+01:00",
    "noon Dec 24th": "2026-12-24T12:00:00+01:00",
    "2027/04/01 09:00": "2027-04-01T09:00:00+02:00",
    "noon 2026/12/31": "2026-12-31T12:00:00+01:00",
    "2026/12/3": "2026-12-03T10:17:00+01:00",
    # The minute that has begun is not over.
    "now": "2026-11-24T10:17:00+01:00",
    "2026-11-24 10:17": "2026-11-24T10:17:00+01:00",
    " \t tomorrow \n": "2026-11-25T10:17:00+01:00",
    # From today's, then the year.
    "Nov 20 + 7 days": "2026-11-27T10:17:00+01:00",
    "Nov 20 + 1 day": "2027-11-21T10:17:00+01:00",
    "Nov 20 + 97 hours": "2026-11-24T11:17:00+01:00",
}


@pytest.mark.parametrize(("text", "expected"), MORE_THAN_AT.items(), ids=map(repr, MORE_THAN_AT))
def test_a_time_is_read(text: str, expected: str) -> None:
    instant = parse_timespec(text, now=NOW)
    assert instant.isoformat() == expected
    assert instant.tzinfo is STOCKHOLM


#: What is typed when, and what it means: each is one of a gap, an overlap or a day that is not 24 hours long.
CLOCK_CHANGES = [
    # Elapsed: minutes, hours and durations. By the wall clock: days and more.
    ("2026-03-28T12:00+01:00", "now + 24 hours", "2026-03-29T13:00:00+02:00"),
    ("2026-03-28T12:00+01:00", "now + 1440 minutes", "2026-03-29T13:00:00+02:00"),
    ("2026-03-28T12:00+01:00", "2d", "2026-03-30T13:00:00+02:00"),
    ("2026-03-28T12:00+01:00", "now + 2 days", "2026-03-30T12:00:00+02:00"),
    ("2026-03-29T01:30+01:00", "next hour", "2026-03-29T03:30:00+02:00"),
    ("2026-10-25T01:30+02:00", "now + 1 hour", "2026-10-25T02:30:00+02:00"),
    ("2026-10-25T01:30+02:00", "now + 2 hours", "2026-10-25T02:30:00+01:00"),
    ("2026-10-24T12:00+02:00", "now + 1 week", "2026-10-31T12:00:00+01:00"),
    ("2026-10-25T01:30+02:00", "2:30 + 60 minutes", "2026-10-25T02:30:00+01:00"),
    # It comes twice: the pass that goes on, if it is said in the second.
    ("2026-10-25T02:10+01:00", "2:30", "2026-10-25T02:30:00+01:00"),
    ("2026-10-25T02:10+01:00", "at 2:30 today", "2026-10-25T02:30:00+01:00"),
    ("2026-10-25T02:10+01:00", "2:30 + 5 minutes", "2026-10-25T02:35:00+01:00"),
    ("2026-10-25T02:10+01:00", "2:05", "2026-10-26T02:05:00+01:00"),
    ("2026-10-25T02:10+02:00", "2:30", "2026-10-25T02:30:00+02:00"),
    ("2026-03-28T12:00+01:00", "2 days", "2026-03-30T13:00:00+02:00"),
    ("2026-03-28T12:00+01:00", "in 2 days", "2026-03-30T13:00:00+02:00"),
    ("2026-03-28T12:00+01:00", "now+2d", "2026-03-30T12:00:00+02:00"),
    # It comes twice: the first pass, but for an offset, or for now itself.
    ("2026-10-24T12:00+02:00", "2:30 tomorrow", "2026-10-25T02:30:00+02:00"),
    ("2026-10-24T12:00+02:00", "2026-10-25 02:30", "2026-10-25T02:30:00+02:00"),
    ("2026-10-24T12:00+02:00", "2026-10-25T02:30+01:00", "2026-10-25T02:30:00+01:00"),
    ("2026-10-24T12:00+02:00", "0:30 UTC tomorrow", "2026-10-25T02:30:00+02:00"),
    ("2026-10-24T12:00+02:00", "1:30 UTC tomorrow", "2026-10-25T02:30:00+01:00"),
    ("2026-10-25T02:30+01:00", "now", "2026-10-25T02:30:00+01:00"),
    ("2026-10-25T02:30+01:00", "today", "2026-10-25T02:30:00+01:00"),
    ("2026-10-25T02:30+01:00", "now + 10 minutes", "2026-10-25T02:40:00+01:00"),
    # The wall clock says that it is over, so it is tomorrow's.
    ("2026-10-25T02:40+02:00", "02:30", "2026-10-26T02:30:00+01:00"),
    # The day after the gap, not an hour off.
    ("2026-03-29T01:00+01:00", "2:30 tomorrow", "2026-03-30T02:30:00+02:00"),
]


@pytest.mark.parametrize(("now", "text", "expected"), CLOCK_CHANGES)
def test_the_clocks_change_on_the_way(now: str, text: str, expected: str) -> None:
    assert parse_timespec(text, now=at(now)).isoformat() == expected


MONTH_ENDS = [
    ("2026-01-31T10:00+01:00", "now + 1 month", "2026-02-28T10:00:00+01:00"),
    ("2028-01-31T10:00+01:00", "next month", "2028-02-29T10:00:00+01:00"),
    ("2028-02-29T10:00+01:00", "next year", "2029-02-28T10:00:00+01:00"),
    ("2028-02-29T10:00+01:00", "now + 4 years", "2032-02-29T10:00:00+01:00"),
    ("2026-12-31T10:00+01:00", "now + 2 months", "2027-02-28T10:00:00+01:00"),
    ("2026-08-31T10:00+02:00", "noon + 1 month", "2026-09-30T12:00:00+02:00"),
    ("2027-11-24T10:00+01:00", "Feb 29", "2028-02-29T10:00:00+01:00"),
    ("2028-02-29T10:00+01:00", "noon Feb 29", "2028-02-29T12:00:00+01:00"),
]


@pytest.mark.parametrize(("now", "text", "expected"), MONTH_ENDS)
def test_a_shorter_month_ends_at_its_last_day(now: str, text: str, expected: str) -> None:
    assert parse_timespec(text, now=at(now)).isoformat() == expected


EXAMPLES = 'a time looks like "4pm tomorrow"'

REFUSED = {
    "": (0, "the time is empty"),
    " \n": (0, "the time is empty"),
    # Words.
    "tomorow": (0, '"tomorow" is not a known word for a time (did you mean "tomorrow"?)'),
    "4pm tuesd": (4, '"tuesd" is not a known word for a time (did you mean "tues"?)'),
    "now + 5 minuts": (8, 'did you mean "minutes"?'),
    "now + 5 seconds": (8, 'for seconds write a duration, such as "90s"'),
    "in 3": (4, "expected one of minutes hours days"),
    "in friday": (3, 'a number after "in" is missing'),
    "in 2 hours ago": (11, '"ago" does not belong here'),
    "in 2 hours 1 day": (13, '"d" must come before "h": "1d2h"'),
    "2 days 1 month": (9, '"month" must come before shorter periods, and only once'),
    "2 months from friday": (14, 'after "from" comes "now"'),
    "at": (2, 'after "at" comes a time of day, such as "9", "9:30" or "5pm"'),
    "at at 9": (3, 'after "at" comes a time of day'),
    "tomorrow at friday": (12, 'after "at" comes a time of day'),
    "tomorrow at 25": (12, "no such hour: 25"),
    "on 5pm": (3, 'after "on" comes a day'),
    "on on friday": (3, 'after "on" comes a day'),
    "this week": (5, 'after "this" comes a weekday'),
    "tonight 9:30": (8, '9:30 is not tonight: did you mean "tonight 21:30" or "tomorrow 9:30"?'),
    "99x": (2, '"x" is not a known word for a time; units are w d h m s ms'),
    "99 xyz": (3, '"xyz" is not a known word for a time; units are w d h m s ms'),
    "a week ago": (0, '"a" is not a known word for a time; write 1 instead, or "am" after an hour'),
    "5 a": (2, '"a" is not a known word for a time; write 1 instead, or "am" after an hour'),
    "in an hour": (3, '"an" is not a known word for a time; write 1 instead'),
    "in two hours": (3, '"two" is not a known word for a time; write 2'),
    "tomorrow morning": (9, '"morning" is not a known word for a time; write the time of day, such as "9am"'),
    "the 1st": (0, 'remove "the"'),
    "1st": (0, '"1st" does not belong here'),
    "now + 1st days": (6, 'a number after the "+" is missing'),
    "Dec 22th": (6, 'did you mean "22nd"?'),
    "Dec 11st": (6, 'did you mean "11th"?'),
    "+16h30": (1, 'a number after "+" is missing'),
    "2 hours ago": (0, "2026-11-24 08:17:42 is in the past"),
    "2 months ago": (0, "2026-09-24 10:17 is in the past"),
    "12:00 gmt": (6, 'did you mean "UTC"?'),
    "last friday": (0, "write the date"),
    "4 p.m.": (2, 'did you mean "pm"?'),
    "2026/12": (7, "the day of the month is missing"),
    "2026/13/01": (0, "no such month: 13"),
    "2026-12-24 15": (11, '"15" is not a complete time: did you mean "15:00"?'),
    "Jul 12,26": (4, "the day of the month is missing; add a space after the comma"),
    "xyzzyx": (0, '"xyzzyx" is not a known word for a time'),
    "noon\u2003tomorrow": (4, '"\\u2003" does not belong in a time'),
    "noon #": (5, '"#" does not belong in a time'),
    "\u0661\u0662:00": (0, "does not belong in a time"),
    "q" * 500: (0, f'"{"q" * 37}..." is not a known word for a time'),
    # Order.
    "noon 3 days": (5, 'did you mean "now + 3 days"?'),
    "-1 hour": (0, '"now - 3 days"'),
    "/": (0, '"/" does not belong here'),
    "4": (0, '"4" is not a complete time: did you mean "4:00", "4am" or "4pm"?'),
    "tomorrow 4": (9, '"4" is not a complete time'),
    "99": (0, '"99" does not belong here'),
    "4pm Jul 31 UTC": (11, '"UTC" goes right after the time of day'),
    "now tomorrow": (4, 'remove "now" before "tomorrow"'),
    "noon noon": (5, f'"noon" does not belong here; {EXAMPLES}'),
    "noon am": (5, '"am" does not belong here'),
    "now + 2 hours 1 day": (16, '"day" must come before shorter periods, and only once'),
    "now + 1 day 2 days": (14, '"days" must come before shorter periods, and only once'),
    "next": (4, 'after "next" comes a weekday or one of minute hour day week month year'),
    "next july": (5, 'after "next" comes a weekday'),
    "now next friday": (9, "expected one of minutes hours days weeks months years"),
    "now + 3": (7, "expected one of minutes hours days"),
    "now + days": (6, 'a number after the "+" is missing'),
    "now + 9999999999999 days": (6, 'a number after the "+" is too large'),
    "Jul": (3, "the day of the month is missing"),
    "Jul 310": (4, "the day of the month is too large"),
    "9/11": (4, '"9/11" is ambiguous: write "Sep 11" or "Nov 9"'),
    "30/06/17": (0, 'no such month: 30 (the month comes first: did you mean "6/30/17"?)'),
    "12/24": (5, 'the year is missing: "12/24/26", month first'),
    "12/24/": (6, "a year has two or four digits"),
    "12/24/266": (6, "a year has two or four digits"),
    "Jul 31, noon": (8, "a year has two or four digits"),
    "123456789": (0, '"123456789" does not belong here'),
    # Impossible times of day and days.
    "25:00": (0, "no such hour: 25; the last is 23"),
    "2460": (0, "no such minute: 60; the last is 59"),
    "10:00:60": (0, "no such second: 60; the last is 59"),
    "24:30": (0, 'the day ends at 24:00; did you mean "00:30 tomorrow"?'),
    "24:00:01": (0, "the day ends at 24:00"),
    "tomorrow 13pm": (9, '"pm" goes with the hours 1 to 12'),
    "430": (0, 'put a colon into "430": "4:30"'),
    "0430pm": (0, 'put a colon into "0430": "04:30"'),
    "30 Feb": (0, 'no such day: 30; February has at most 29 days (did you mean "Feb 28"?)'),
    "noon Apr 31": (5, 'no such day: 31; April has 30 days (did you mean "Apr 30"?)'),
    "Feb 29 2027": (0, 'no such day: 29; February 2027 has 28 days (did you mean "2027-02-28"?)'),
    "Feb 29": (0, '2027 has no 29 February; did you mean "2028-02-29" or "2027-02-28"?'),
    "Jul 0": (0, "no such day: 0; the first is 1"),
    "10:00 31/12/26": (6, 'no such month: 31 (the month comes first: did you mean "12/31/26"?)'),
    "20261224": (0, 'no such month: 20 (did you mean "2026-12-24"?)'),
    "2026-13-01": (0, "no such month: 13; there are 12"),
    "99999999": (0, "no such month: 99; there are 12"),
    "0000-01-01": (0, "no such year: 0"),
    "Jul 31 2300": (
        7, 'is "2300" a year or a time of day? write "2300-07-31" for the year, "23:00 Jul 31" for the time',
    ),
    "2027-03-28 02:30": (0, 'the clocks jump over it; did you mean "2027-03-28T03:30:00"?'),
    "Mar 28 2:30": (7, "2027-03-28 02:30:00 does not exist in Europe/Stockholm"),
    "  Mar 28 2:30": (9, "2027-03-28 02:30:00 does not exist in Europe/Stockholm"),
    # The past.
    "today 9:30": (0, '09:30 is in the past: it is now 2026-11-24 10:17; did you mean "09:30 tomorrow"?'),
    "2026-11-24 10:16": (0, 'did you mean "10:16 tomorrow"?'),
    "2026-11-24 10:17:41": (0, 'it is now 2026-11-24 10:17:42; did you mean "10:17:41 tomorrow"?'),
    "10am Jul 31 2020": (5, '2020-07-31 10:00 is in the past: it is now 2026-11-24 10:17; did you mean "202'),
    "noon 2025-12-24": (5, 'did you mean "2026-12-24 12:00"?'),
    "2024-02-29T12:00": (0, "is in the past: it is now 2026-11-24 10:17"),
    "noon yesterday": (5, "2026-11-23 12:00 is in the past"),
    "now - 5 minutes": (0, "2026-11-24 10:12 is in the past"),
    "4pm - 1 day": (0, "2026-11-23 16:00 is in the past"),
    "@1700000000": (0, "2023-11-14 23:13:20 is in the past: it is now 2026-11-24 10:17:42"),
    # Other forms.
    "@": (1, "the @ must be followed by the seconds since 1970"),
    "@12x": (1, "the @ must be followed by the seconds since 1970"),
    "@999999999999": (0, "outside the years 1 to 9999"),
    "5M": (1, 'did you mean "m"?'),
    " 1m1h": (4, '"h" must come before "m"'),
    "999999999d": (0, "outside the years 1 to 9999"),
    "now + 999999999999 years": (0, "outside the years 1 to 9999"),
    "now + 999999999999 minutes": (0, "outside the years 1 to 9999"),
    "now + 9000 years": (0, "outside the years 1 to 9999"),
    "9999-12-31T23:59-12:00": (0, "outside the years 1 to 9999"),
    "2026-12-24T25:00": (11, "not an ISO 8601 date and time"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), REFUSED.items(), ids=(repr(text[:30]) for text in REFUSED))
def test_a_time_is_refused_at_the_column_with_the_reason(text: str, problem: tuple[int, str]) -> None:
    with pytest.raises(TimespecError) as caught:
        parse_timespec(text, now=NOW)
    column, reason = problem
    assert reason in str(caught.value)
    assert column == caught.value.column
    assert len(str(caught.value)) < 240


def test_the_second_pass_is_offered_where_the_first_is_over() -> None:
    with pytest.raises(TimespecError, match='a second time: did you mean "2026-10-25T02:30\\+01:00"'):
        parse_timespec("2026-10-25T02:30", now=at("2026-10-25T02:10+01:00"))


def test_no_later_year_is_offered_if_there_is_none() -> None:
    with pytest.raises(TimespecError) as caught:
        parse_timespec("noon 9999-12-30", now=datetime(9999, 12, 31, 10, tzinfo=UTC))
    assert str(caught.value) == "9999-12-30 12:00 is in the past: it is now 9999-12-31 10:00"


def test_now_needs_a_zone_and_any_will_do() -> None:
    with pytest.raises(ValueError, match="now needs a zone"):
        parse_timespec("noon", now=datetime(2026, 1, 1))  # noqa: DTZ001 (that is the point)
    east = timezone(timedelta(hours=5))
    noon = parse_timespec("noon", now=datetime(2026, 1, 1, tzinfo=east))
    assert noon.isoformat() == "2026-01-01T12:00:00+05:00"


LOOKING_BACK = {
    "2h": "2026-11-24T08:17:42+01:00",
    "2 hours": "2026-11-24T08:17:42+01:00",
    "2 hours ago": "2026-11-24T08:17:42+01:00",
    "1h30 AGO": "2026-11-24T08:47:42+01:00",
    "2 days ago": "2026-11-22T10:17:42+01:00",
    "2 DAYS ago": "2026-11-22T10:17:42+01:00",
    "48 Hrs": "2026-11-22T10:17:42+01:00",
    "In 2 Hours": "2026-11-24T12:17:42+01:00",
    "2H From Now": "2026-11-24T12:17:42+01:00",
    "in 2 hours": "2026-11-24T12:17:42+01:00",
    "2 months": "2026-09-24T10:17:00+02:00",
    "2 months ago": "2026-09-24T10:17:00+02:00",
    "this friday": "2026-11-20T00:00:00+01:00",
    "tonight": "2026-11-24T20:00:00+01:00",
    "now - 2 hours": "2026-11-24T08:17:00+01:00",
    "@1700000000": "2023-11-14T23:13:20+01:00",
    "2026-01-01": "2026-01-01T00:00:00+01:00",
    "2026-01-01T12:00": "2026-01-01T12:00:00+01:00",
    "yesterday": "2026-11-23T00:00:00+01:00",
    "today": "2026-11-24T00:00:00+01:00",
    "today + 2 hours": "2026-11-24T02:00:00+01:00",
    "yesterday 4pm": "2026-11-23T16:00:00+01:00",
    "9:30": "2026-11-24T09:30:00+01:00",
    "10:17": "2026-11-24T10:17:00+01:00",
    "10:18": "2026-11-23T10:18:00+01:00",
    "9:00 UTC": "2026-11-24T10:00:00+01:00",
    "9:30 UTC": "2026-11-23T10:30:00+01:00",
    "tuesday": "2026-11-24T00:00:00+01:00",
    "tuesday noon": "2026-11-17T12:00:00+01:00",
    "monday noon": "2026-11-23T12:00:00+01:00",
    "wed": "2026-11-18T00:00:00+01:00",
    "Nov 20": "2026-11-20T00:00:00+01:00",
    "noon Nov 24": "2025-11-24T12:00:00+01:00",
    "Jul 31": "2026-07-31T00:00:00+02:00",
    "Dec 24": "2025-12-24T00:00:00+01:00",
    "tomorrow": "2026-11-25T00:00:00+01:00",
}


@pytest.mark.parametrize(("text", "expected"), LOOKING_BACK.items(), ids=LOOKING_BACK)
def test_looking_back_finds_the_latest_time(text: str, expected: str) -> None:
    assert parse_moment(text, now=NOW, prefer="past").isoformat() == expected


@pytest.mark.parametrize(
    ("now", "text", "expected"),
    [
        ("2026-10-25T02:40+01:00", "2:30", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:10+01:00", "2:30", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T02:10+01:00", "3:30", "2026-10-24T03:30:00+02:00"),
        ("2026-10-25T12:00+01:00", "2:30", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_looking_back_a_time_that_came_twice_is_the_latest_that_has_passed(
    now: str, text: str, expected: str
) -> None:
    assert parse_moment(text, now=at(now), prefer="past").isoformat() == expected


LOOKING_AHEAD = {
    "2 hours ago": "2026-11-24T08:17:42+01:00",
    "2 months ago": "2026-09-24T10:17:00+02:00",
    "2h": "2026-11-24T12:17:42+01:00",
    "2020-01-01": "2020-01-01T00:00:00+01:00",
    "tomorrow": "2026-11-25T00:00:00+01:00",
    "9:30": "2026-11-25T09:30:00+01:00",
    "tuesday": "2026-12-01T00:00:00+01:00",
    "Jul 31": "2027-07-31T00:00:00+02:00",
    "next week": "2026-12-01T10:17:00+01:00",
}


@pytest.mark.parametrize(("text", "expected"), LOOKING_AHEAD.items(), ids=LOOKING_AHEAD)
def test_looking_ahead_the_next_is_meant_and_the_past_is_fine(text: str, expected: str) -> None:
    assert parse_moment(text, now=NOW, prefer="future").isoformat() == expected


def test_a_day_without_a_midnight_begins_after_it() -> None:
    beirut = at("2026-03-28T12:00+02:00", "Asia/Beirut")
    assert parse_moment("tomorrow", now=beirut, prefer="past").isoformat() == "2026-03-29T01:00:00+03:00"


ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Stockholm", "America/New_York", "Australia/Lord_Howe")]
CLOCKS = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 (bounds)
    max_value=datetime(2037, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)
WORDS = [
    "now", "next", "am", "pm", "noon", "midnight", "teatime", "today", "tomorrow", "yesterday", "monday",
    "tue", "sun", "minute", "hours", "days", "weeks", "month", "years", "jan", "february", "31", "july",
    "utc", "+", "-", "/", ",", "1", "2", "4", "12", "28", "29", "30", "99", "2026", "2027", "1030", "10:30",
    "16h30", "24:00", "25:00", "31.12.26", "2027-02-28", "122426", "99999999", "@1900000000", "90s", "1h30m",
    "2027-03-28T02:30", "2026-10-25", "02:30", "Z", "10:00:30", "in", "at", "on", "this", "ago", "from now",
    "tonight", "1h30", "9h05", "2h", "3 hours", "1st", "22nd", "2027/4/1", "m", "hrs", "mo",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="0123456789:-/.,+@TZ apmnow\t", max_size=20),
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=4).map("".join),
)


def read(text: str, now: datetime) -> datetime | TimespecError:
    """Return the instant or the refusal; anything else that is raised fails the test."""
    try:
        return parse_timespec(text, now=now)
    except TimespecError as error:
        return error


def look(text: str, now: datetime, prefer: Literal["past", "future"]) -> datetime | TimespecError:
    """Return the moment or the refusal."""
    try:
        return parse_moment(text, now=now, prefer=prefer)
    except TimespecError as error:
        return error


@given(TEXTS, CLOCKS, st.sampled_from(ZONES))
def test_any_text_is_an_instant_to_come_or_a_timespec_error(
    text: str, clock: datetime, zone: ZoneInfo
) -> None:
    instant = read(text, clock.astimezone(zone))
    if isinstance(instant, TimespecError):
        assert 0 <= instant.column <= len(text)
    else:
        assert instant.tzinfo is zone
        assert instant.astimezone(UTC) >= clock.replace(second=0, microsecond=0)
        # It is a time that the clocks show.
        assert instant.replace(tzinfo=None) == instant.astimezone(UTC).astimezone(zone).replace(tzinfo=None)


@given(TEXTS, st.datetimes(timezones=st.sampled_from(ZONES)))
def test_from_any_time_nothing_else_is_raised(text: str, now: datetime) -> None:
    for instant in (read(text, now), look(text, now, "past"), look(text, now, "future")):
        if isinstance(instant, TimespecError):
            assert 0 <= instant.column <= len(text)
        else:
            assert instant.tzinfo is now.tzinfo


@given(TEXTS, CLOCKS, st.sampled_from(ZONES))
def test_looking_back_and_ahead_read_the_same_texts(text: str, clock: datetime, zone: ZoneInfo) -> None:
    now = clock.astimezone(zone)
    back, ahead = look(text, now, "past"), look(text, now, "future")
    if isinstance(back, TimespecError) and isinstance(ahead, datetime):
        # But for the days and times that one of the two years or days does not have.
        assert any(reason in str(back) for reason in ("29 February", "the clocks jump", "outside the years"))


@given(CLOCKS, st.sampled_from(ZONES), st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=5000)))
def test_a_duration_is_elapsed_time_from_now(clock: datetime, zone: ZoneInfo, duration: timedelta) -> None:
    instant = parse_timespec(format_duration(duration), now=clock.astimezone(zone))
    assert instant.astimezone(UTC) - clock == duration


LENGTHS = st.one_of(
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=5000)).map(format_duration),
    st.tuples(st.integers(1, 400), st.sampled_from(["mins", " hours", "hr", " days", "wks", " secs"])).map(
        lambda pair: f"{pair[0]}{pair[1]}"
    ),
    st.tuples(st.integers(0, 9), st.integers(0, 59)).map(lambda pair: f"{pair[0]}h{pair[1]:02}"),
)


@given(CLOCKS, st.sampled_from(ZONES), LENGTHS)
def test_a_duration_means_the_same_everywhere(clock: datetime, zone: ZoneInfo, text: str) -> None:
    now, length = clock.astimezone(zone), parse_duration(text)
    assert is_duration(text)
    assert parse_ago(text) == parse_ago(f"{text} ago") == length
    for said in (text, f"in {text}", f"+{text}", f"{text} from now"):
        assert parse_timespec(said, now=now).astimezone(UTC) - clock == length
    for said in (text, f"{text} ago"):
        assert clock - parse_moment(said, now=now, prefer="past").astimezone(UTC) == length


@given(CLOCKS, st.sampled_from(ZONES), st.integers(min_value=0, max_value=100_000))
def test_minutes_are_elapsed_time_from_the_minute_of_now(
    clock: datetime, zone: ZoneInfo, minutes: int
) -> None:
    instant = parse_timespec(f"now + {minutes} minutes", now=clock.astimezone(zone))
    seconds = timedelta(seconds=clock.second, microseconds=clock.microsecond)
    assert instant.astimezone(UTC) - (clock - seconds) == timedelta(minutes=minutes)


@given(CLOCKS, st.sampled_from(ZONES), st.integers(min_value=1, max_value=3000))
def test_days_keep_the_time_of_day(clock: datetime, zone: ZoneInfo, days: int) -> None:
    now = clock.astimezone(zone)
    wanted = now.replace(second=0, microsecond=0, tzinfo=None) + timedelta(days=days)
    instant = read(f"now + {days} days", now)
    if isinstance(instant, TimespecError):
        assert "the clocks jump over it" in str(instant)
    else:
        assert instant.replace(tzinfo=None) == wanted


@given(CLOCKS, st.sampled_from(ZONES), st.datetimes(timezones=st.just(UTC), min_value=datetime(2038, 1, 1)))  # noqa: DTZ001
def test_what_iso_8601_says_is_what_is_read(clock: datetime, zone: ZoneInfo, instant: datetime) -> None:
    shown = instant.replace(year=min(instant.year, 9000)).astimezone(zone)
    assert shown.astimezone(UTC) == parse_timespec(shown.isoformat(), now=clock.astimezone(zone)).astimezone(
        UTC
    )


FIXED = {
    "2026-12-24T15:00": "2026-12-24T15:00:00+01:00",
    " 2026-12-24T15:00Z": "2026-12-24T16:00:00+01:00",
    "1999-12-24 15:00": "1999-12-24T15:00:00+01:00",
    "@1700000000": "2023-11-14T23:13:20+01:00",
    "noon Jul 31 2027": "2027-07-31T12:00:00+02:00",
    "4pm 2027-07-31": "2027-07-31T16:00:00+02:00",
    "16:00 UTC 31.07.2027": "2027-07-31T18:00:00+02:00",
    "noon Jul 31 2027 + 2 days": "2027-08-02T12:00:00+02:00",
    "24.12.26 16h30": "2026-12-24T16:30:00+01:00",
}


@pytest.mark.parametrize(("text", "instant"), FIXED.items(), ids=list(FIXED))
def test_a_fixed_time_is_read_without_a_clock(text: str, instant: str) -> None:
    found = parse_fixed(text, zone=STOCKHOLM)
    assert found is not None
    assert instant == found.isoformat()


MOVING = [
    "now",
    "noon",
    "tomorrow noon",
    "16:00",
    "fri",
    "noon Jul 31",
    "2027-07-31",
    "now + 3 days",
    "90s",
    " 2d ",
    "1h30",
    "in 2 hours",
    "2 months ago",
    "tonight",
    "April 1st",
]


@pytest.mark.parametrize("text", MOVING)
def test_a_time_that_depends_on_now_is_none(text: str) -> None:
    assert parse_fixed(text, zone=STOCKHOLM) is None


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 0),
        ("gibberish", 0),
        ("2027-02-30 12:00", 8),
        ("noon Feb 30 2027", 5),
        ("5M", 1),
        ("2027-03-28T02:30", 0),
    ],
)
def test_an_invalid_time_is_not_a_fixed_one_either(text: str, column: int) -> None:
    with pytest.raises(TimespecError) as caught:
        parse_fixed(text, zone=STOCKHOLM)
    assert column == caught.value.column


@given(CLOCKS, CLOCKS, st.sampled_from(ZONES), st.sampled_from([*FIXED, *MOVING]))
def test_a_time_is_fixed_if_two_clocks_agree_on_it(
    one: datetime, other: datetime, zone: ZoneInfo, text: str
) -> None:
    fixed = parse_fixed(text, zone=zone)
    if fixed is not None:
        found = [parse_moment(text, now=clock.astimezone(zone), prefer="future") for clock in (one, other)]
        assert [fixed] * 2 == found


def test_a_duration_is_distinguished_from_a_time() -> None:
    assert [
        is_duration(text)
        for text in ("90s", " 1h 30m ", "5M", "1h30", "5 hours", "16h30", "in 2h", "tomorrow")
    ] == [True, True, True, True, True, False, False, False]
    assert [is_relative(text) for text in ("2h", "in 2h", "2h ago", "noon")] == [True, True, True, False]


def test_a_relative_time_is_distinguished_from_an_absolute_one() -> None:
    texts = ("2h", "in 2 months", "+1 year", "2 months", "2mo", "now+2h", "noon", "16h30", "tonight", "2 May")
    assert [is_from_now(text) for text in texts] == [True] * 6 + [False] * 4


def test_how_long_ago_is_parsed_from_a_duration() -> None:
    assert [timedelta(hours=2), timedelta(minutes=90), None, None] == [
        parse_ago(text) for text in ("2 hours", " 1h30 ago ", "in 2 hours", "yesterday")
    ]
    with pytest.raises(TimespecError) as caught:
        parse_ago("1m2h ago")
    assert caught.value.column == 3


@given(TEXTS, CLOCKS, st.sampled_from(ZONES))
def test_any_text_is_a_fixed_time_that_every_clock_agrees_on_or_none_or_refused(
    text: str, clock: datetime, zone: ZoneInfo
) -> None:
    column, found = 0, None
    try:
        found = parse_fixed(text, zone=zone)
    except TimespecError as error:
        column = error.column
    assert 0 <= column <= len(text)
    assert found is None or found == look(text, clock.astimezone(zone), "future")
