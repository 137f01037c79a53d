"""The time of a query: an ISO 8601 date and time, a time of day, how long ago, or in words.

A time typed to the minute means that whole minute. A repeated wall time means both its passes; a wall time
that a clock change skips is not an error here: the answer explains it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule.changes import Change, change_touching, instants_of, naive_time_at
from taskman_cli.core.schedule.zones import FIRST_S, LAST_S, load_zone
from taskman_cli.core.timespec import is_day, parse_ago, parse_moment
from taskman_cli.core.timespec.instants import out_of_range
from taskman_cli.errors import TimespecError

_EXPECTED = (
    'a time looks like "14:30", "2026-12-24T14:30", "2026-12-24T14:30:00+01:00" or how long ago, as in "2h"'
)
_TIME = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,6}))?)?"
_DATE = r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_DATE_AND_TIME = re.compile(rf"{_DATE}(?:[Tt]| +){_TIME}(?P<offset>[Zz]|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)?")
_TIME_OF_DAY = re.compile(_TIME)
_DATE_ALONE = re.compile(_DATE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE_NS = 60 * SECOND_NS
#: The first number that is too large for each part of a time.
_LIMITS = {"hour": 24, "minute": 60, "second": 60}


class TimeQuery(NamedTuple):
    """A queried time."""

    #: As typed.
    text: str
    #: The naive wall time in the zone of the query.
    wall: datetime
    #: The periods that it covers, each as (first, end); none if a clock change skips it.
    windows: tuple[tuple[int, int], ...]
    #: Its first instant; if it is skipped, the first instant after the gap.
    at_ns: int
    has_second: bool
    #: The clock change that skips or repeats the wall time.
    change: Change | None

    @property
    def end_ns(self) -> int:
        """Return the first instant after everything that it covers."""
        return self.windows[-1][1] if self.windows else self.at_ns


def parse_time_query(text: str, *, timezone: str, now_ns: int) -> TimeQuery:
    """Parse the time of a query in the named zone. Raises TimespecError with the column."""
    asked = _read(text, timezone, now_ns)
    if not FIRST_S * SECOND_NS <= asked.at_ns <= LAST_S * SECOND_NS:
        raise out_of_range()
    return asked


def _read(text: str, timezone: str, now_ns: int) -> TimeQuery:
    if match := _DATE_AND_TIME.fullmatch(text):
        return _date_and_time(match, timezone)
    if match := _TIME_OF_DAY.fullmatch(text):
        return _time_of_day(match, timezone, now_ns)
    if _DATE_ALONE.fullmatch(text):
        raise TimespecError(f'the time is missing after the date: "{text}T14:30"', column=len(text))
    if (length := parse_ago(text)) is not None:
        return _ago(text, length, timezone, now_ns)
    if not text.strip():
        raise TimespecError(f"the time is empty; {_EXPECTED}")
    return _in_words(text, timezone, now_ns)


def _date_and_time(match: re.Match[str], timezone: str) -> TimeQuery:
    wall = _wall(match, year=int(match["year"]), month=int(match["month"]), day=int(match["day"]))
    offset = match["offset"]
    if not offset:
        return _asked(match, wall, timezone)
    utc_offset = _offset(offset, match.start("offset"))
    try:
        from_ns = (wall.replace(tzinfo=UTC) - utc_offset - _EPOCH) // timedelta(microseconds=1) * 1000
        wall = naive_time_at(from_ns, timezone)
    except OverflowError:
        raise out_of_range() from None
    return TimeQuery(
        match[0], wall, ((from_ns, from_ns + _precision_ns(match)),), from_ns,
        has_second=match["second"] is not None, change=change_touching(wall, timezone),
    )  # fmt: skip


def _time_of_day(match: re.Match[str], timezone: str, now_ns: int) -> TimeQuery:
    """Parse a time of day as the latest one that has passed."""

    def on(day: datetime) -> TimeQuery:
        return _asked(match, _wall(match, year=day.year, month=day.month, day=day.day), timezone)

    today = naive_time_at(now_ns, timezone)
    asked = on(today)
    return asked if asked.at_ns <= now_ns else on(today - timedelta(days=1))


def _ago(text: str, length: timedelta, timezone: str, now_ns: int) -> TimeQuery:
    """Parse how long ago: to the minute if it is whole minutes, else to the second."""
    try:
        at_ns = now_ns - length // timedelta(microseconds=1) * 1000
        return _stretch(text, at_ns, timezone, has_second=bool(length % timedelta(minutes=1)))
    except OverflowError:
        raise out_of_range() from None


def _in_words(text: str, timezone: str, now_ns: int) -> TimeQuery:
    """Parse any other at(1) specification as the latest such time."""
    now = (_EPOCH + timedelta(microseconds=now_ns // 1000)).astimezone(load_zone(timezone))
    instant = parse_moment(text, now=now, prefer="past")
    if is_day(text):
        raise TimespecError(f'the time is missing: "14:30 {text.strip()}"')
    return _stretch(
        text,
        (instant - _EPOCH) // timedelta(microseconds=1) * 1000,
        timezone,
        has_second=bool(instant.second),
    )


def _stretch(text: str, at_ns: int, timezone: str, *, has_second: bool) -> TimeQuery:
    """Return the whole second or minute that contains an instant."""
    step_ns = SECOND_NS if has_second else _MINUTE_NS
    from_ns = at_ns // step_ns * step_ns
    wall = naive_time_at(from_ns, timezone)
    change = change_touching(wall, timezone)
    return TimeQuery(
        text, wall, ((from_ns, from_ns + step_ns),), from_ns, has_second=has_second, change=change
    )


def _asked(match: re.Match[str], wall: datetime, timezone: str) -> TimeQuery:
    change = change_touching(wall, timezone)
    instants = instants_of(wall, timezone)
    if not instants and change is None:
        raise out_of_range()
    windows = tuple((instant, instant + _precision_ns(match)) for instant in instants)
    at_ns = windows[0][0] if windows or change is None else change.at_ns
    return TimeQuery(match[0], wall, windows, at_ns, has_second=match["second"] is not None, change=change)


def _wall(match: re.Match[str], *, year: int, month: int, day: int) -> datetime:
    for part, limit in _LIMITS.items():
        if match[part] and int(match[part]) >= limit:
            raise TimespecError(f"no such {part}: {match[part]}", column=match.start(part))
    try:
        return datetime(  # noqa: DTZ001 (wall time)
            year, month, day, int(match["hour"]), int(match["minute"]), int(match["second"] or 0),
            int((match["fraction"] or "0").ljust(6, "0")),
        )  # fmt: skip
    except ValueError:
        part = "year" if year == 0 else "day" if 1 <= month <= 12 else "month"
        raise TimespecError(f"no such {part}: {match[part]}", column=match.start(part)) from None


def _offset(text: str, column: int) -> timedelta:
    """Parse an offset from UTC."""
    if text in "Zz":
        return timedelta()
    digits = text[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise TimespecError(f"no such offset: {text}", column=column)
    return (-1 if text[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes)


def _precision_ns(match: re.Match[str]) -> int:
    """Return the length of the typed time: a minute, a second, or the last digit of a fraction."""
    if match["second"] is None:
        return _MINUTE_NS
    shortest: int = 10 ** len(match["fraction"] or "")
    return SECOND_NS // shortest
