"""Which days match: day of month, month, day of week and year, combined as in Debian's cron.

Days are counted from 1970-01-01. The matching days of a month depend on nothing but its length and the
weekday it begins on, so an expression has at most 28 patterns; each is made once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from calendar import isleap
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.escapes import quoted_ascii
from taskman_cli.core.schedule.fields import DAY, MONTH, YEAR, Field, field_error
from taskman_cli.errors import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: `date.toordinal` of 1970-01-01.
EPOCH_ORDINAL = 719_163

_FIRST_DAY = date.min.toordinal() - EPOCH_ORDINAL
_LAST_DAY = date.max.toordinal() - EPOCH_ORDINAL
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class DayPattern:
    """The matching days of an expression. Raises ScheduleError where no day can ever match."""

    __slots__ = ("_day", "_every_day", "_is_both", "_months", "_patterns", "_weekday", "_years")

    def __init__(self, day: Field, month: Field, weekday: Field, year: Field | None = None) -> None:
        self._day = day
        self._weekday = weekday
        self._months = frozenset(month.values)
        # Debian requires both if either starts with "*", as do "*/2" and "*,5"; "1,*" does not.
        self._is_both = day.is_star or weekday.is_star
        #: The years in ascending order; None: all.
        self._years = None if year is None else year.values
        self._every_day = (
            year is None and len(month.values) == 12 and len(day.values) == 31 and len(weekday.values) == 7
        )
        self._patterns: dict[tuple[int, int], tuple[int, ...]] = {}
        if not any(self._days(length, first) for length, first in _shapes(month.values)):
            raise self._never(month)
        if year is not None and self.next_at(_FIRST_DAY) is None:
            raise field_error(YEAR, year.text, "can never fire: no day of this year matches")

    def next_at(self, day: int) -> int | None:
        """Return the first matching day at or after `day`, up to the year 9999."""
        day = max(day, _FIRST_DAY)
        if day > _LAST_DAY:
            return None
        if self._every_day:
            return day
        start = date.fromordinal(day + EPOCH_ORDINAL)
        year, month, least = start.year, start.month, start.day
        while year <= date.max.year:
            if self._years is not None and not self._has_year(year):
                following = bisect_right(self._years, year)
                if following == len(self._years):
                    return None
                year, month, least = self._years[following], 1, 1
            if month in self._months:
                days, first = self._month(year, month)
                index = bisect_left(days, least)
                if index < len(days):
                    return first + days[index]
            year, month, least = (year, month + 1, 1) if month < 12 else (year + 1, 1, 1)
        return None

    def previous_at(self, day: int) -> int | None:
        """Return the last matching day at or before `day`, down to the year 1."""
        day = min(day, _LAST_DAY)
        if day < _FIRST_DAY:
            return None
        if self._every_day:
            return day
        start = date.fromordinal(day + EPOCH_ORDINAL)
        year, month, most = start.year, start.month, start.day
        while year >= date.min.year:
            if self._years is not None and not self._has_year(year):
                preceding = bisect_left(self._years, year) - 1
                if preceding < 0:
                    return None
                year, month, most = self._years[preceding], 12, 31
            if month in self._months:
                days, first = self._month(year, month)
                index = bisect_right(days, most)
                if index:
                    return first + days[index - 1]
            year, month, most = (year, month - 1, 31) if month > 1 else (year - 1, 12, 31)
        return None

    def has_day(self, length: int, first: int) -> bool:
        """Tell whether a month of that length and first weekday (Sunday is 0) has a matching day."""
        return bool(self._days(length, first))

    def _has_year(self, year: int) -> bool:
        assert self._years is not None
        index = bisect_left(self._years, year)
        return index < len(self._years) and self._years[index] == year

    def _month(self, year: int, month: int) -> tuple[tuple[int, ...], int]:
        """Return the matching days of a month and the day before its first."""
        first = date(year, month, 1)
        return self._days(*_shape_of(first)), first.toordinal() - 1 - EPOCH_ORDINAL

    def _days(self, length: int, first: int) -> tuple[int, ...]:
        """Return the matching days of a month of that length and first weekday (Sunday is 0)."""
        days = self._patterns.get((length, first))
        if days is None:
            by_day = _by_day(self._day, length, first)
            by_weekday = _by_weekday(self._weekday, length, first)
            days = tuple(sorted(by_day & by_weekday if self._is_both else by_day | by_weekday))
            self._patterns[length, first] = days
        return days

    def _never(self, month: Field) -> ScheduleError:
        """Return the error that no day ever matches."""
        where = (
            "a month" if len(month.values) == 12 else " or ".join(MONTH.names[m - 1] for m in month.values)
        )
        if any(_by_day(self._day, length, first) for length, first in _shapes(month.values)):
            return ScheduleError(
                f"can never fire: no day of {where} matches both day of month "
                f"{quoted_ascii(self._day.text)} and day of week {quoted_ascii(self._weekday.text)} "
                "(both must match, as one of them starts with *)"
            )
        longest = max(length for length, _ in _shapes(month.values))
        return field_error(DAY, self._day.text, f"can never fire: {where} never has more than {longest} days")


class Months(NamedTuple):
    """Which months of an expression never have a matching day, or not in every year."""

    never: tuple[int, ...]
    sometimes: tuple[int, ...]


def months_without(day: Field, month: Field, weekday: Field) -> Months:
    """Find the months that are named but have no, or not always a, matching day."""
    pattern = day_pattern(day, month, weekday)
    has_days = {
        value: [pattern.has_day(length, first) for length, first in _shapes((value,))]
        for value in month.values
    }
    return Months(
        tuple(value for value, found in has_days.items() if not any(found)),
        tuple(value for value, found in has_days.items() if any(found) and not all(found)),
    )


def is_day_of_month(field: Field, day: date) -> bool:
    """Tell whether a day-of-month field by itself matches a day."""
    return day.day in _by_day(field, *_shape_of(day))


def is_day_of_week(field: Field, day: date) -> bool:
    """Tell whether a day-of-week field by itself matches a day."""
    return day.day in _by_weekday(field, *_shape_of(day))


@lru_cache(maxsize=1024)
def day_pattern(day: Field, month: Field, weekday: Field, year: Field | None = None) -> DayPattern:
    """Return the pattern of these fields, shared by all expressions with them."""
    return DayPattern(day, month, weekday, year)


def _shape_of(day: date) -> tuple[int, int]:
    """Return the length and the first weekday of the month of a day."""
    length = 29 if day.month == 2 and isleap(day.year) else _LENGTHS[day.month - 1]
    return length, day.replace(day=1).toordinal() % 7


def _shapes(months: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield every (length, first weekday) that these months have in some year."""
    for length in sorted({_LENGTHS[month - 1] for month in months} | ({29} if 2 in months else set())):
        for first in range(7):
            yield length, first


def _by_day(field: Field, length: int, first: int) -> set[int]:
    return {day for day in field.values if day <= length} | _by_rules(field, length, first)


def _by_weekday(field: Field, length: int, first: int) -> set[int]:
    days = {day for day in range(1, length + 1) if (first + day - 1) % 7 in field.values}
    return days | _by_rules(field, length, first)


def _by_rules(field: Field, length: int, first: int) -> set[int]:
    found = (rule.day(length, first) for rule in field.rules)
    return {day for day in found if day is not None}
