"""The next slots of a cron expression as local times. Public and stable."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.schedule.cron import parse_cron
from taskman_cli.core.schedule.zones import load_zone
from taskman_cli.errors import ScheduleError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_slots(expression: str, *, timezone: str, start: datetime, count: int) -> list[datetime]:
    """Return the first `count` slots strictly after `start`, aware, in the zone; fewer if there are no more.

    Raises ScheduleError for an invalid expression or zone, for one that can never fire, and a naive `start`.
    """
    if start.utcoffset() is None:
        raise ScheduleError(f"start has no time zone: {start.isoformat()}")
    zone = load_zone(timezone)
    schedule = parse_cron(expression, timezone=timezone)
    start_ns = after_ns = (start - _EPOCH) // timedelta(microseconds=1) * 1000
    slots: list[datetime] = []
    while len(slots) < count:
        slot_ns = schedule.next_after(after_ns, anchor_ns=start_ns)
        if slot_ns is None:
            break
        slots.append((_EPOCH + timedelta(seconds=slot_ns // SECOND_NS)).astimezone(zone))
        after_ns = slot_ns
    return slots
