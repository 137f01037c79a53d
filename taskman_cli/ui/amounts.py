"""Times and amounts as short text for people. Pure.

Numbers are rounded down, as on a clock, and have two digits in their second part, so that columns do not
jump.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskman_cli.core.timespec.durations import format_rough

if TYPE_CHECKING:
    from datetime import tzinfo

_MS_NS = 1_000_000
_TENTH_NS = 100 * _MS_NS
_SECOND_NS = 10 * _TENTH_NS
_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S
_YEAR_DAYS = 365

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Not strftime, which follows the locale: the columns have the width of these names.
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def span(ns: int) -> str:
    """Format a changing duration: "0.4s", "42s", "3m 05s", "2h 14m", "3d 04h", "2y"."""
    ns = max(ns, 0)
    seconds = ns // _SECOND_NS
    if seconds < 10:
        tenths = ns // _TENTH_NS
        return f"{tenths // 10}.{tenths % 10}s"
    if seconds < _MINUTE_S:
        return f"{seconds}s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S}m {seconds % _MINUTE_S:02}s"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S}h {seconds % _HOUR_S // _MINUTE_S:02}m"
    days = seconds // _DAY_S
    if days < 100:
        return f"{days}d {seconds % _DAY_S // _HOUR_S:02}h"
    return f"{days}d" if days < 1000 else f"{days // _YEAR_DAYS}y"


def duration(ns: int) -> str:
    """Format how long something took, as in the log and in `why`: "9ms", "2.4s", "1m30s"."""
    return format_rough(max(ns, 0))


def limit(ns: int) -> str:
    """Format how long something may take: as `span`, without parts that are zero ("1h", "1m 30s")."""
    words = f"{max(ns, 0) // _MS_NS}ms" if ns < _SECOND_NS else span(ns).replace(".0s", "s")
    kept = [word for word in words.split() if word.strip("0hms")] or words.split()[:1]
    return " ".join(kept)


def countdown(ns: int) -> str:
    """Format when something is due: "in 4.2s", "in 3h 12m", or "due" when its time has come."""
    # Rounded up, so that it never says "in 0.0s".
    return f"in {span(ns + _TENTH_NS - 1)}" if ns > 0 else "due"


def ago(ns: int) -> str:
    """Format a time since, in one part: "just now", "42s ago", "3h ago"."""
    seconds = max(ns, 0) // _SECOND_NS
    if seconds < 1:
        return "just now"
    if seconds < _MINUTE_S:
        return f"{seconds}s ago"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S}m ago"
    if seconds < _DAY_S:
        return f"{seconds // _HOUR_S}h ago"
    days = seconds // _DAY_S
    return f"{days}d ago" if days < 1000 else f"{days // _YEAR_DAYS}y ago"


def wall_time(ns: int, *, now_ns: int, timezone: tzinfo) -> str:
    """Format a wall time with as much of the date as it needs, in at most 12 cells.

    "14:05:00" today, "Wed 02:30:00" within six days, "24 Dec 15:00" within ten months, else "2028-02-29".
    """
    try:
        moment, now = (_local(instant_ns, timezone) for instant_ns in (ns, now_ns))
    except (OverflowError, ValueError):
        return "far off"
    days = (moment.date() - now.date()).days
    if days == 0:
        return f"{moment:%H:%M:%S}"
    if 0 < days < 7:
        return f"{_WEEKDAYS[moment.weekday()]} {moment:%H:%M:%S}"
    if 0 < days < 300:
        return f"{moment.day:2} {_MONTHS[moment.month - 1]} {moment:%H:%M}"
    return moment.date().isoformat()


def past_time(ns: int, *, now_ns: int, timezone: tzinfo) -> str:
    """Format a wall time of the past with as much of the date as it needs, in at most 12 cells.

    "14:05:00" today, "24 Dec 15:00" within ten months, else "2028-02-29".
    """
    try:
        moment, now = (_local(instant_ns, timezone) for instant_ns in (ns, now_ns))
    except (OverflowError, ValueError):
        return "long ago"
    days = (now.date() - moment.date()).days
    if days == 0:
        return f"{moment:%H:%M:%S}"
    if 0 < days < 300:
        return f"{moment.day:2} {_MONTHS[moment.month - 1]} {moment:%H:%M}"
    return moment.date().isoformat()


def _local(ns: int, timezone: tzinfo) -> datetime:
    """Return an instant in a zone, in whole seconds (a float would lose some)."""
    return (_EPOCH + timedelta(seconds=ns // _SECOND_NS)).astimezone(timezone)
