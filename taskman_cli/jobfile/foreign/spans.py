"""Spans of time as systemd and others write them, as durations of a job file."""

from __future__ import annotations

import re

from taskman_cli.core.timespec import format_duration

_NS = 1_000_000_000
#: From systemd.time(7), in seconds; a month is 30.44 days, a year 365.25.
_UNITS = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), 86400.0),
    **dict.fromkeys(("weeks", "week", "w"), 604800.0),
    **dict.fromkeys(("months", "month", "M"), 2629800.0),
    **dict.fromkeys(("years", "year", "y"), 31557600.0),
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµμ]*)\s*")
_LONGEST_S = 10**10


def seconds_of(text: str) -> float | None:
    """Return a span in seconds; None if it is none, or endless."""
    total, at = 0.0, 0
    text = text.strip()
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or len(match[1]) > 15 or match[2] not in _UNITS:
            return None
        total += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    return total if text and total <= _LONGEST_S else None


def duration(seconds: float) -> str:
    """Write seconds as a duration."""
    return format_duration(round(seconds * _NS))
