"""Which days match: AND and OR, months, leap years and years, `L`, `W` and `#`."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from taskman_cli.core.schedule import next_slots
from taskman_cli.core.schedule.daypattern import EPOCH_ORDINAL, DayPattern, day_pattern
from taskman_cli.core.schedule.fields import DAY, MONTH, WEEKDAY, YEAR, Field, parse_field

if TYPE_CHECKING:
    from collections.abc import Callable


def fields_of(day: str, month: str, weekday: str) -> tuple[Field, Field, Field]:
    return (
        parse_field(day, DAY, name=""),
        parse_field(month, MONTH, name=""),
        parse_field(weekday, WEEKDAY, name=""),
    )


def pattern(day: str, month: str, weekday: str) -> DayPattern:
    return day_pattern(*fields_of(day, month, weekday))


def days_of(found: DayPattern, begin: date, end: date) -> list[date]:
    """List the matching days in [begin, end) by stepping forward."""
    days = []
    day = found.next_at(begin.toordinal() - EPOCH_ORDINAL)
    while day is not None and (at := date.fromordinal(day + EPOCH_ORDINAL)) < end:
        days.append(at)
        day = found.next_at(day + 1)
    return days


def every_day(begin: date, end: date) -> list[date]:
    return [begin + timedelta(days=n) for n in range((end - begin).days)]


def month_end(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def is_nearest_weekday(day: date, wanted: int) -> bool:
    """Say whether `day` is the working day nearest to `wanted` within the month, as Quartz defined W."""
    if wanted > month_end(day):
        return False
    target = date(day.year, day.month, wanted)
    in_month = [d for d in every_day(target - timedelta(3), target + timedelta(4)) if d.month == target.month]
    working = [d for d in in_month if d.isoweekday() <= 5]
    return day == min(working, key=lambda d: (abs((d - target).days), d))


RULES: dict[tuple[str, str, str], Callable[[date], bool]] = {
    ("L", "*", "*"): lambda d: d.day == month_end(d),
    ("L,1-2", "*", "*"): lambda d: d.day == month_end(d) or d.day <= 2,
    ("*", "*", "L5"): lambda d: d.isoweekday() == 5 and d.day + 7 > month_end(d),
    ("*", "*", "L0"): lambda d: d.isoweekday() == 7 and d.day + 7 > month_end(d),
    ("*", "*", "FRI#2"): lambda d: d.isoweekday() == 5 and 8 <= d.day <= 14,
    ("*", "*", "SUN#5,1#1"): lambda d: (
        (d.isoweekday() == 7 and d.day > 28) or (d.isoweekday() == 1 and d.day <= 7)
    ),
    ("15W", "*", "*"): lambda d: is_nearest_weekday(d, 15),
    ("1W", "*", "*"): lambda d: is_nearest_weekday(d, 1),
    ("31W", "*", "*"): lambda d: is_nearest_weekday(d, 31),
    ("LW", "*", "*"): lambda d: is_nearest_weekday(d, month_end(d)),
    ("L-3", "*", "*"): lambda d: d.day == month_end(d) - 3,
    ("L-3W,1W", "*", "*"): lambda d: is_nearest_weekday(d, month_end(d) - 3) or is_nearest_weekday(d, 1),
    ("*", "*", "FRIL,MON"): lambda d: (
        d.isoweekday() == 1 or (d.isoweekday() == 5 and d.day + 7 > month_end(d))
    ),
    ("?", "*", "TUES"): lambda d: d.isoweekday() == 2,
    ("30-2", "*", "?"): lambda d: d.day >= 30 or d.day <= 2,
    ("15", "*", "FRI#2"): lambda d: d.day == 15 or (d.isoweekday() == 5 and 8 <= d.day <= 14),
    ("15W", "*", "MON"): lambda d: d.isoweekday() == 1 or is_nearest_weekday(d, 15),
    ("L", "6", "L5"): lambda d: d.month == 6 and (d.day == 30 or (d.isoweekday() == 5 and d.day > 23)),
    ("*/2", "*", "FRI#2"): lambda d: d.day % 2 == 1 and d.isoweekday() == 5 and 8 <= d.day <= 14,
    ("15W", "*", "*/2"): lambda d: (
        d.isoweekday() % 2 == 0 | (d.isoweekday() == 7) and is_nearest_weekday(d, 15)
    ),
    # A leading star means both, any other star is none (trap 2).
    ("*/2", "*", "MON"): lambda d: d.day % 2 == 1 and d.isoweekday() == 1,
    ("13", "*", "*/5"): lambda d: d.day == 13 and d.isoweekday() in (5, 7),
    ("*,1", "*", "MON"): lambda d: d.isoweekday() == 1,
    ("1,*", "*", "MON"): lambda d: True,
    ("13", "*", "FRI"): lambda d: d.day == 13 or d.isoweekday() == 5,
    ("1-31", "*", "FRI"): lambda d: True,
    ("31", "2", "MON"): lambda d: d.month == 2 and d.isoweekday() == 1,
    # Equal bounds are one value (trap 1), seven is Sunday whatever the step (trap 6).
    ("*", "*", "MON-MON"): lambda d: d.isoweekday() == 1,
    ("5-5/3", "7-7", "*"): lambda d: (d.month, d.day) == (7, 5),
    ("*", "*", "5-7/2"): lambda d: d.isoweekday() in (5, 7),
    ("29", "2", "*"): lambda d: (d.month, d.day) == (2, 29),
    ("29", "2", "*/7"): lambda d: (d.month, d.day) == (2, 29) and d.isoweekday() == 7,
    ("30,31", "*", "*"): lambda d: d.day >= 30,
}


@pytest.mark.no_cover
@pytest.mark.parametrize(("fields", "rule"), RULES.items(), ids=map(" ".join, RULES))
def test_days_are_those_of_the_rule_for_fifty_years_in_both_directions(
    fields: tuple[str, str, str], rule: Callable[[date], bool]
) -> None:
    begin, end = date(1996, 1, 1), date(2046, 1, 1)
    expected = [day for day in every_day(begin, end) if rule(day)]
    found = pattern(*fields)
    assert days_of(found, begin, end) == expected
    for day, following in pairwise(expected):
        assert found.previous_at(following.toordinal() - 1 - EPOCH_ORDINAL) == day.toordinal() - EPOCH_ORDINAL


def test_a_leap_day_skips_1900_and_2100_but_not_2000() -> None:
    found = days_of(pattern("29", "2", "*"), date(1890, 1, 1), date(2110, 1, 1))
    assert [day.year for day in found if day.year % 100 in (96, 0, 4)] == [
        1896,
        1904,
        1996,
        2000,
        2004,
        2096,
        2104,
    ]


def test_a_fifth_monday_of_february_is_found_over_a_century_without_it() -> None:
    slots = next_slots("0 0 * 2 MON#5", timezone="UTC", start=datetime(2073, 1, 1, tzinfo=UTC), count=2)
    assert [slot.year for slot in slots] == [2112, 2140]


@pytest.mark.parametrize("fields", [("*", "*", "*"), ("1", "*", "*"), ("29", "2", "*")])
def test_the_calendar_ends_with_the_years_1_and_9999(fields: tuple[str, str, str]) -> None:
    found = pattern(*fields)
    last, first = date.max.toordinal() - EPOCH_ORDINAL, date.min.toordinal() - EPOCH_ORDINAL
    assert found.next_at(last + 1) is None
    assert found.previous_at(first - 1) is None
    assert found.next_at(first - 10**9) == found.next_at(first)
    assert found.previous_at(last + 10**9) == found.previous_at(last)


def test_a_rare_day_has_no_match_left_near_either_end() -> None:
    found = pattern("29", "2", "*")
    assert found.next_at(date(9997, 1, 1).toordinal() - EPOCH_ORDINAL) is None
    assert found.previous_at(date(4, 2, 28).toordinal() - EPOCH_ORDINAL) is None


def test_expressions_with_the_same_days_share_a_pattern() -> None:
    assert pattern("1", "*", "MON") is pattern("1", "*", "MON")


def test_the_days_of_some_years_are_found_in_both_directions() -> None:
    years = parse_field("2024,2027-2030/3", YEAR, name="")
    found = day_pattern(*fields_of("29-31", "2,4", "*"), years)
    expected = [date(2024, 2, 29), *(date(year, 4, day) for year in (2024, 2027, 2030) for day in (29, 30))]
    assert days_of(found, date(2000, 1, 1), date(2100, 1, 1)) == expected
    backwards = []
    day = found.previous_at(date(2100, 1, 1).toordinal() - EPOCH_ORDINAL)
    while day is not None:
        backwards.append(date.fromordinal(day + EPOCH_ORDINAL))
        day = found.previous_at(day - 1)
    assert backwards == expected[::-1]
