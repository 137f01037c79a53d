"""Instants: one reading of both clocks, and how the clocks of a zone show it.

Instants are integer nanoseconds: `*_ns` on the wall clock counts from 1970 in UTC, `*_elapsed_ns` on the
boot-time clock. Nothing here reads a clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import tzinfo

#: One second in the unit of all instants and durations.
SECOND_NS = 1_000_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Now(NamedTuple):
    """One reading of both clocks."""

    #: Wall clock, UTC, since 1970. Slots are on it; it can step.
    wall_ns: int
    #: Time since boot, suspend included. Timeouts and pauses are on it; it never steps.
    elapsed_ns: int


def earliest(*times: int | None) -> int | None:
    """Return the earliest time; None if all are None."""
    found = None
    for time_ns in times:
        if time_ns is not None and (found is None or time_ns < found):
            found = time_ns
    return found


def wall_time(at_ns: int, zone: tzinfo | None) -> datetime:
    """Return the time that a clock in `zone` shows at an instant; None: the machine's own.

    Where that would lie outside the years 1 to 9999 it is the time in UTC, or the end of those years.
    """
    try:
        at = _EPOCH + timedelta(microseconds=at_ns // 1_000)
    except OverflowError:
        return _LAST if at_ns > 0 else _FIRST
    try:
        return at.astimezone(zone)
    except (OverflowError, ValueError):  # ValueError: what the C library says of the machine's zone
        return at
