"""The days that depend on the shape of a month: `L`, `L-3`, `LW`, `15W`, `FRIL` and `FRI#2`.

The shape is the length of the month and the weekday of its first day; Sunday is 0. No rule leaves its month,
and a day that a month does not have is not replaced: `31W` and `FRI#5` skip shorter months.

What `W`, `#` and the last weekday mean is croniter's to say: it is asked for the days of one month of that
shape, one item at a time (given two day fields, it ignores one).
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

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
        return NearestWorking(wanted).day(length, first) if self.is_working else wanted


class NearestWorking(NamedTuple):
    """The working day nearest to a day of the month."""

    wanted: int

    def day(self, length: int, first: int) -> int | None:
        """Return the day in a month of that shape; None if there is none."""
        return _by_croniter(f"0 0 {self.wanted}W * *", length, first) if self.wanted <= length else None


class NthWeekday(NamedTuple):
    """The second Friday of the month, say; `nth` is `LAST` for the last one."""

    weekday: int
    nth: int

    def day(self, length: int, first: int) -> int | None:
        """Return the day in a month of that shape; None if there is none."""
        item = f"L{self.weekday}" if self.nth == LAST else f"{self.weekday}#{self.nth}"
        return _by_croniter(f"0 0 * * {item}", length, first)


DayRule = LastDay | NearestWorking | NthWeekday


@lru_cache(maxsize=4096)
def _by_croniter(expression: str, length: int, first: int) -> int | None:
    """Ask croniter for the day of one month of the given shape."""
    from croniter import croniter  # takes 50 ms, and few expressions have W or #

    year, month = _month_of_shape(length, first)
    start = datetime(year, month, 1) - timedelta(seconds=1)  # noqa: DTZ001 (croniter gets naive wall time only)
    times = croniter(expression, start, ret_type=datetime, implement_cron_bug=True, second_at_beginning=True)
    found: datetime = times.get_next()
    return found.day if (found.year, found.month) == (year, month) else None


def _month_of_shape(length: int, first: int) -> tuple[int, int]:
    """Return a year and month of that length and first weekday; in 28 years each comes at least once."""
    return next(
        (year, month)
        for year in range(2000, 2028)
        for month in range(1, 13)
        if date(year, month, 1).toordinal() % 7 == first and monthrange(year, month)[1] == length
    )
