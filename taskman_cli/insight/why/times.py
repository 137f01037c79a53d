"""Instants and durations in words; a time is shown with as much of its date as it needs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.timespec import format_rough as span
from taskman_cli.insight.explain.listing import day_name

if TYPE_CHECKING:
    from datetime import tzinfo

    from taskman_cli.core.schedule.changes import Change


__all__ = ["Times", "ago", "ahead", "clock_time", "day_name", "iso", "jump", "local", "span"]


class Times:
    """Writes instants in one zone, leaving out what the previous one has already said."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._last: datetime | None = None

    def at(self, instant_ns: int) -> str:
        """Write an instant to the second: "Tue 2026-11-24 02:30:00+01:00", then "02:30:04" on that day."""
        return self.slot(instant_ns // SECOND_NS * SECOND_NS)

    def forget(self) -> None:
        """Write the next instant with its date again, since another day was mentioned in between."""
        self._last = None

    def slot(self, instant_ns: int) -> str:
        """Write an instant, with milliseconds if it has any."""
        moment = local(instant_ns, self._zone)
        last, self._last = self._last, moment
        time = clock_time(moment)
        if last is None or last.utcoffset() != moment.utcoffset():
            return f"{day_name(moment)} {time}{moment.isoformat(timespec='seconds')[19:]}"
        return time if last.date() == moment.date() else f"{day_name(moment)} {time}"


def local(instant_ns: int, zone: tzinfo) -> datetime:
    """Return an instant in a zone, to the microsecond."""
    return wall_time(instant_ns, zone)


def iso(instant_ns: int | None, zone: tzinfo) -> str | None:
    """Write an instant as ISO 8601 with its offset."""
    return None if instant_ns is None else local(instant_ns, zone).isoformat()


def clock_time(moment: datetime) -> str:
    """Write a time of day, with milliseconds if it has any."""
    milliseconds = moment.microsecond // 1000
    return f"{moment:%H:%M:%S}" + (f".{milliseconds:03}" if milliseconds else "")


def jump(change: Change) -> str:
    """Return a phrase such as "from 02:00 to 03:00" for a clock change."""
    before, after = change.before, change.after
    if before.date() == after.date():
        return f"from {before:%H:%M} to {after:%H:%M}"
    return f"from {day_name(before)} {before:%H:%M} to {day_name(after)} {after:%H:%M}"


def ago(instant_ns: int, now_ns: int) -> str:
    """Return how long ago an instant was."""
    # A record may be slightly newer than the query.
    return f"{span(now_ns - instant_ns)} ago" if now_ns - instant_ns >= SECOND_NS else "just now"


def ahead(instant_ns: int, now_ns: int) -> str:
    """Return how long it is until an instant."""
    return f"in {span(instant_ns - now_ns)}"
