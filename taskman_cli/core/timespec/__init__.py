"""Times as people write them: durations, instants, and the time specifications of at(1). No clock in here.

`durations` knows "1h30m" and "5 hours", `instants` ISO 8601 and "@1700000000", `words` and `grammar` the
language of at(1), `resolve` what it means at a given moment, and `moment` puts them together.
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
