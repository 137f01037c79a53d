"""Times as people write them: durations, instants, and the time specifications of at(1). Reads no clock.

`durations` reads "1h30m" and "5 hours", `instants` ISO 8601 and "@1700000000", `vocabulary` and `grammar` the
language of at(1); `resolve` turns a specification into an instant, and `parser` combines them all.
"""

from taskman_cli.core.timespec.durations import UNITS_NS, format_duration, format_rough, parse_duration
from taskman_cli.core.timespec.instants import out_of_range, parse_instant
from taskman_cli.core.timespec.parser import (
    is_day,
    is_duration,
    is_from_now,
    is_relative,
    parse_ago,
    parse_fixed,
    parse_moment,
    parse_timespec,
)

__all__ = [
    "UNITS_NS",
    "format_duration",
    "format_rough",
    "is_day",
    "is_duration",
    "is_from_now",
    "is_relative",
    "out_of_range",
    "parse_ago",
    "parse_duration",
    "parse_fixed",
    "parse_instant",
    "parse_moment",
    "parse_timespec",
]
