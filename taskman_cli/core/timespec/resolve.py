"""From a time specification and `now` to an instant.

The rules are those of at(1) 3.2.5, measured (tests/unit/at_answers.py), with these deliberate differences:

- Adding months or years ends at the month's last day: 31 January + 1 month is 28 February; at(1): 3 March.
- Minutes and hours are elapsed time; days and longer periods follow the wall clock across clock changes.
  at(1) also counts hours by the wall clock, and is an hour off if the same time of today does not exist, or
  if "10am + 5 minutes" is on the day of a clock change; half an hour off on Lord Howe.
- A skipped wall time is rejected; at(1) moves it by an hour in either direction.
- A repeated wall time is its first pass, or the second if that is current and no date is given. at(1) takes
  either one.
- Impossible times are rejected: 30 February, 29 February of a common year, 10:60, 24:30, year 0.
- "noon - 1 day" is in the past and rejected; at(1) takes noon of yesterday's date next year.
- A year such as 1800 or 2300 after a month and a day is rejected: at(1) turns the former into 3700, and the
  latter is usually meant as a time.

As in at(1), relative minutes count from the full minute of `now`, a date alone gets the time of day of `now`,
and the day of a time in UTC is the local one: today, if its digits are later than those of the local clock.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from taskman_cli.core.timespec.instants import instant_at, out_of_range, shown_at
from taskman_cli.core.timespec.spec import Clock, FullDate, MonthDay, RelativeDay, Spec, Weekday
from taskman_cli.errors import TimespecError

_DAY = timedelta(days=1)
_MIDNIGHT = Clock(0, 0)

#: Which of the matching times is meant: the next or the latest one.
Prefer = Literal["future", "past"]


def resolve(spec: Spec, *, now: datetime, prefer: Prefer, from_midnight: bool) -> datetime:
    """Return the instant that `spec` means, in the zone of `now`; it may be in the past.

    `from_midnight`: a day without a time starts at midnight instead of the time of day of `now`.
    """
    clock = spec.clock
    if clock is None and from_midnight and spec.day is not None:
        clock = _MIDNIGHT
    try:
        return _Reading(spec, clock, present(spec, now), prefer).instant()
    except (OverflowError, ValueError):
        raise out_of_range() from None


def present(spec: Spec, now: datetime) -> datetime:
    """Return `now` with the precision of `spec`: to the minute, or to the second."""
    has_second = spec.clock is not None and spec.clock.second is not None
    return now.replace(microsecond=0) if has_second else now.replace(second=0, microsecond=0)


@dataclass(frozen=True)
class _Reading:
    """Resolves one specification at one `now`."""

    spec: Spec
    #: The time of day, given or implied; None: that of `here`.
    clock: Clock | None
    #: Now, in the zone, with the precision needed.
    here: datetime
    prefer: Prefer

    def instant(self) -> datetime:
        zone = self.here.tzinfo
        assert zone is not None  # the caller checked it
        clock, wall = self.clock, self._wall(self._day())
        if clock is not None and clock.is_utc:
            return _later(wall.replace(tzinfo=UTC), self._elapsed).astimezone(zone)
        if clock is None and wall == self._now:
            return _later(self.here, self._elapsed)  # the current pass
        if clock is not None and self.spec.clock is None:
            # A whole day; if midnight is skipped, it starts after the gap.
            return _later(shown_at(wall, zone), self._elapsed)
        column = clock.column if clock is not None else self.spec.column
        return _later(self._in_its_pass(instant_at(wall, zone, column=column)), self._elapsed)

    def _in_its_pass(self, first: datetime) -> datetime:
        """Return the intended pass of a wall time that may be repeated, given the first one."""
        second, now = first.replace(fold=1), self.here.astimezone(UTC)
        if self.spec.is_fixed or second.astimezone(UTC) == first.astimezone(UTC):
            return first
        if self.prefer == "past":
            return second if second.astimezone(UTC) <= now else first
        return second if first.astimezone(UTC) < now <= second.astimezone(UTC) else first

    @property
    def _now(self) -> datetime:
        """The wall time for comparisons: like at(1), ignore whether the others are in UTC."""
        is_utc = self.clock is not None and self.clock.is_utc and self.prefer == "past"
        return (self.here.astimezone(UTC) if is_utc else self.here).replace(tzinfo=None)

    @property
    def _elapsed(self) -> timedelta:
        return timedelta(minutes=sum(shift.minutes for shift in self.spec.shifts))

    def _wall(self, day: date) -> datetime:
        """Return the wall time on that day, before shifts of elapsed time."""
        clock = self.clock or Clock(self.here.hour, self.here.minute)
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 (wall time)
        return midnight + timedelta(hours=clock.hour, minutes=clock.minute, seconds=clock.second or 0)

    def _end(self, day: date) -> datetime:
        return self._wall(day) + self._elapsed

    def _day(self) -> date:
        """Return the day, with shifts of days and longer periods applied."""
        today = self._now.date()
        match self.spec.day:
            case None:
                return self._day_of_time(today)
            case RelativeDay(days):
                return self._shifted(today + days * _DAY)
            case Weekday(number, may_be_today):
                return self._day_of_week(today, number, may_be_today=may_be_today)
            case FullDate(year, month, day):
                return self._shifted(date(year, month, day))
            case month_day:
                return self._day_of_month(today, month_day)

    def _day_of_time(self, today: date) -> date:
        """Return the day of a time without a day: tomorrow if it has passed today."""
        if not self.spec.is_bare:
            return self._shifted(today)
        end = self._end(today)
        if self.prefer == "past":
            return today if end <= self._now or self._is_over(end) else today - _DAY
        return today + _DAY if end.date() == today and end <= self._now else today

    def _is_over(self, wall: datetime) -> bool:
        """Tell whether the first pass of a repeated wall time is over."""
        if not self.here.fold:
            return False
        return wall.replace(tzinfo=self.here.tzinfo).astimezone(UTC) <= self.here.astimezone(UTC)

    def _day_of_week(self, today: date, number: int, *, may_be_today: bool) -> date:
        """Return the next such weekday, or the latest one up to now."""
        if self.prefer == "future":
            ahead = (number - today.weekday()) % 7
            return self._shifted(today + (ahead or (0 if may_be_today else 7)) * _DAY)
        day = self._shifted(today - (today.weekday() - number) % 7 * _DAY)
        return day if self._end(day) <= self._now else day - 7 * _DAY

    def _day_of_month(self, today: date, month_day: MonthDay) -> date:
        """Return the day in the intended year."""
        month, day = month_day
        # To choose the year, 29 February counts as the last day of the month.
        this_year = date(today.year, month, min(day, calendar.monthrange(today.year, month)[1]))
        shifted = self._shifted(this_year)
        year = today.year
        if self.prefer == "past" and self._end(shifted) > self._now:
            year -= 1
        elif self.prefer == "future" and this_year < today and self._end(shifted).date() < today:
            year += 1
        if day > calendar.monthrange(year, month)[1]:
            leap = next(leap for leap in range(year, year + 9) if calendar.isleap(leap))
            raise TimespecError(
                f'{year} has no 29 February; did you mean "{leap}-02-29" or "{year}-02-28"?',
                column=self.spec.column,
            )
        return self._shifted(date(year, month, day))

    def _shifted(self, day: date) -> date:
        for shift in self.spec.shifts:
            day = _months_on(day, shift.months) + shift.days * _DAY
        return day


def _months_on(day: date, months: int) -> date:
    """Add months, ending at the month's last day if it is shorter."""
    if not months:
        return day
    years, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(years, month + 1, min(day.day, calendar.monthrange(years, month + 1)[1]))


def _later(instant: datetime, elapsed: timedelta) -> datetime:
    """Return the instant plus a duration of elapsed time, in its zone."""
    return (instant.astimezone(UTC) + elapsed).astimezone(instant.tzinfo) if elapsed else instant
