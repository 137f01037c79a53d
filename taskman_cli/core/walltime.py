"""An instant as the clocks of a zone show it, also at the ends of what `datetime` can hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


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
