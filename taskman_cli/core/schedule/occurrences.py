"""Matching wall times, in seconds since 1970-01-01 00:00 wall time. No time zones here.

The day pattern finds the day, three sorted tuples the time of day, in both directions.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from taskman_cli.core.schedule.daypattern import day_pattern

if TYPE_CHECKING:
    from taskman_cli.core.schedule.expression import Expression

#: Seconds of a day by wall time.
DAY_S = 86_400


class Occurrences:
    """All wall times that an expression matches, searched in both directions."""

    __slots__ = ("_days", "_first", "_gap", "_hours", "_last", "_minutes", "_seconds", "_today")

    def __init__(self, expression: Expression) -> None:
        self._days = day_pattern(expression.day, expression.month, expression.weekday, expression.year)
        self._hours = expression.hour.values
        self._minutes = expression.minute.values
        self._seconds = expression.second.values
        self._first = self._hours[0] * 3600 + self._minutes[0] * 60 + self._seconds[0]
        self._last = self._hours[-1] * 3600 + self._minutes[-1] * 60 + self._seconds[-1]
        #: The matching day of the last answer.
        self._today: int | None = None
        #: A period whose only match is its end, for rare jobs that are asked again and again.
        self._gap = (1, 0)

    def next_at(self, wall: int) -> int | None:
        """Return the first match at or after `wall`."""
        if self._gap[0] <= wall <= self._gap[1]:
            return self._gap[1]
        day, time = divmod(wall, DAY_S)
        if day == self._today or self._days.next_at(day) == day:
            found = self._time_at_or_after(time)
            if found is not None:
                self._today = day
                return day * DAY_S + found
        following = self._days.next_at(day + 1)
        if following is None:
            return None
        self._today = following
        match = following * DAY_S + self._first
        self._gap = (wall, match)
        return match

    def previous_at(self, wall: int) -> int | None:
        """Return the last match at or before `wall`."""
        day, time = divmod(wall, DAY_S)
        if day == self._today or self._days.previous_at(day) == day:
            found = self._time_at_or_before(time)
            if found is not None:
                self._today = day
                return day * DAY_S + found
        preceding = self._days.previous_at(day - 1)
        if preceding is None:
            return None
        self._today = preceding
        return preceding * DAY_S + self._last

    def _time_at_or_after(self, time: int) -> int | None:
        """Return the first matching second of the day at or after `time`; None if there is none."""
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        at_hour = bisect_left(hours, hour)
        if at_hour == len(hours):
            return None
        if hours[at_hour] == hour:
            at_minute = bisect_left(minutes, minute)
            if at_minute < len(minutes) and minutes[at_minute] == minute:
                at_second = bisect_left(seconds, second)
                if at_second < len(seconds):
                    return hour * 3600 + minute * 60 + seconds[at_second]
                at_minute += 1
            if at_minute < len(minutes):
                return hour * 3600 + minutes[at_minute] * 60 + seconds[0]
            at_hour += 1
            if at_hour == len(hours):
                return None
        return hours[at_hour] * 3600 + minutes[0] * 60 + seconds[0]

    def _time_at_or_before(self, time: int) -> int | None:
        """Return the last matching second of the day at or before `time`; None if there is none."""
        hour, rest = divmod(time, 3600)
        minute, second = divmod(rest, 60)
        hours, minutes, seconds = self._hours, self._minutes, self._seconds
        at_hour = bisect_right(hours, hour) - 1
        if at_hour < 0:
            return None
        if hours[at_hour] == hour:
            at_minute = bisect_right(minutes, minute) - 1
            if at_minute >= 0 and minutes[at_minute] == minute:
                at_second = bisect_right(seconds, second) - 1
                if at_second >= 0:
                    return hour * 3600 + minute * 60 + seconds[at_second]
                at_minute -= 1
            if at_minute >= 0:
                return hour * 3600 + minutes[at_minute] * 60 + seconds[-1]
            at_hour -= 1
            if at_hour < 0:
                return None
        return hours[at_hour] * 3600 + minutes[-1] * 60 + seconds[-1]
