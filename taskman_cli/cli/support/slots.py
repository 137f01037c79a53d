"""The next slots of a set of jobs, sorted by time. Prints nothing; the time is an argument."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

from taskman_cli.core.clock import SECOND_NS, wall_time
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.schedule import CronSchedule, Interval, Once, Reboot, load_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from taskman_cli.core.model import Job

#: The last day of the year 9999 in UTC: later times have no date in some zones.
_END_OF_DATES_NS = 253_402_214_400 * SECOND_NS


class Slot(NamedTuple):
    """One slot to show."""

    #: None for a schedule from the command line.
    job: str | None
    slot_ns: int
    #: In the job's zone.
    at: datetime

    @classmethod
    def of(cls, job: Job, slot_ns: int, default_zone: ZoneInfo) -> Slot:
        """Return a slot of a job in the zone of its schedule, or else in `default_zone`."""
        zone = zone_of(job, default_zone)
        return cls(job.id or None, slot_ns, wall_time(slot_ns, zone))


def zone_of(job: Job, default: ZoneInfo) -> ZoneInfo:
    """Return the zone of a job's schedule, or else `default`. Raises ScheduleError."""
    match job.schedule:
        case Once(zone=zone):
            return zone
        case CronSchedule(timezone=name) | Interval(timezone=name) | Reboot(timezone=name) if name:
            return load_zone(name)
    return default


def upcoming(jobs: Iterable[Job], *, start_ns: int) -> Iterator[tuple[int, Job]]:
    """Yield (slot, job) of all enabled jobs after `start_ns`, by time, then in the order of the jobs.

    It is as if taskman started for the first time at that instant: intervals and limits count from it. An
    interval that counts from the end of a run has only one known slot, the first. This may yield forever.
    """
    enabled = [job for job in jobs if job.enabled]
    # With `run_on_start`, the start counts as a run.
    armed_jobs = [
        ArmedJob.of(job, since_ns=start_ns, anchor_ns=start_ns, run_count=1 if job.policy.run_on_start else 0)
        for job in enabled
    ]
    # Sorted by slot, not by start as in a timetable: jitter may change the order.
    heap = [
        (slot_ns, index, armed)
        for index, armed in enumerate(armed_jobs)
        if _has_date(slot_ns := armed.slot_after(start_ns))
    ]
    heapq.heapify(heap)
    while heap:
        slot_ns, index, armed = heap[0]
        yield slot_ns, armed.job
        armed.run_count += 1
        following_ns = None if armed.is_from_finish else armed.slot_after(slot_ns)
        if _has_date(following_ns):
            heapq.heapreplace(heap, (following_ns, index, armed))
        else:
            heapq.heappop(heap)


def _has_date(slot_ns: int | None) -> TypeGuard[int]:
    """Tell whether there is a slot, and its date can be shown."""
    return slot_ns is not None and slot_ns < _END_OF_DATES_NS
