"""Jobs that are all due at the same minute."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from taskman_cli.core.schedule import CronSchedule
from taskman_cli.core.schedule.expression import has_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from taskman_cli.core.model import Job
    from taskman_cli.core.schedule.expression import Expression

#: The least number of jobs that make a herd; with many jobs, at least one in a hundred.
_HERD = 5
_SHARE = 100
#: Schedules with more times of day than this are not counted.
_FEW = 6
_NAMED = 3


def herds(
    jobs: Sequence[Job], expressions: Mapping[int, Expression], *, now_ns: int
) -> Iterator[tuple[Job, str]]:
    """Yield a message for each herd, with its first job; `expressions` is keyed by `id(schedule)`."""
    times: dict[int, list[str]] = {}
    due: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        schedule = job.schedule
        if not isinstance(schedule, CronSchedule) or not job.enabled or job.policy.jitter_ns:
            continue
        expires_at_ns = job.policy.expires_at_ns
        if expires_at_ns is not None and expires_at_ns <= now_ns:
            continue
        if id(schedule) not in times:
            times[id(schedule)] = _times(expressions[id(schedule)])
        for time in times[id(schedule)]:
            due.setdefault((time, schedule.timezone), []).append(job)
    least = max(_HERD, len(jobs) // _SHARE)
    for (time, timezone), herd in due.items():
        if len(herd) >= least:
            names = ", ".join(job.id for job in herd[:_NAMED])
            yield herd[0], f"{len(herd)} jobs are due at {time} {timezone}: {names}, …"


def _times(expression: Expression) -> list[str]:
    """Return the times of day of a schedule in words; none if it has many."""
    if has_hash(expression.text):
        return []
    minutes, hours = expression.minute.values, expression.hour.values
    if len(hours) == 24 and len(minutes) == 1:
        return [f"minute {minutes[0]} of every hour,"]
    if len(minutes) * len(hours) > _FEW:
        return []
    return [f"{hour:02}:{minute:02}" for hour, minute in product(hours, minutes)]
