"""The days that depend on the shape of a month: `L`, `L-3`, `LW`, `15W`, `FRIL` and `FRI#2`.

The shape is the length of the month and the weekday of its first day; Sunday is 0. No rule leaves its month,
and a day that a month does not have is not replaced: `31W` and `FRI#5` skip shorter months.
"""

from __future__ import annotations

from typing import NamedTuple

_SUNDAY, _SATURDAY = 0, 6
#: `nth` of the last weekday of a month.
LAST = 0


class LastDay(NamedTuple):
    """The last day of the month, some days before it, or the working day nearest to that."""

    before: int = 0
    is_working: bool = False

    def day(self, length: int, first: int) -> int | None:
        """Return the day in a month of that shape; None if there is none."""
        wanted = length - self.before
        if wanted < 1:
            return None
        return _nearest_working(wanted, length, first) if self.is_working else wanted


class NearestWorking(NamedTuple):
    """The working day nearest to a day of the month."""

    wanted: int

    def day(self, length: int, first: int) -> int | None:
        """Return the day in a month of that shape; None if there is none."""
        return _nearest_working(self.wanted, length, first) if self.wanted <= length else None


class NthWeekday(NamedTuple):
    """The second Friday of the month, say; `nth` is `LAST` for the last one."""

    weekday: int
    nth: int

    def day(self, length: int, first: int) -> int | None:
        """Return the day in a month of that shape; None if there is none."""
        earliest = 1 + (self.weekday - first) % 7
        if self.nth == LAST:
            return earliest + (length - earliest) // 7 * 7
        day = earliest + (self.nth - 1) * 7
        return day if day <= length else None


DayRule = LastDay | NearestWorking | NthWeekday


def _nearest_working(day: int, length: int, first: int) -> int:
    weekday = (first + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day
