"""What goes on, in one line for service managers: `4 running, next backup at 02:30; 1 job failing (db)`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from datetime import tzinfo

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine

#: Names of jobs are cut to this many characters.
_NAME_MOST = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def status_line(
    engine: Engine, now: Now, zone: tzinfo, *, trouble: str | None = None, has_bad_files: bool = False
) -> str:
    """Return the line: what runs and what is next; and after a semicolon, what is not as it should be."""
    running = engine.pool.busy_count
    if trouble is not None:
        doing = f"nothing starts, because it cannot be recorded: {trouble}"
    elif engine.is_stopping:
        fate = "may finish" if engine.is_draining else "being ended"
        doing = f"stopping, {running:,} {fate}" if running else "stopping"
    else:
        parts = [f"{running:,} running" if running else "idle"]
        if waiting := engine.pool.ready_count:
            parts.append(f"{waiting:,} waiting")
        doing = ", ".join([*parts, _next(engine, now, zone)])
    alarms = [_named([armed.job.id for armed in engine.parked], "parked")]
    parked = {armed.job.id for armed in engine.parked}
    failing = [row.job for row in engine.failing.among(engine.timetable.jobs) if row.job not in parked]
    alarms.append(_named(failing, "failing"))
    alarms.append(_named([job for job, _ in engine.reports.overdue(now)], "overdue"))
    if has_bad_files:
        alarms.append("the job files have errors")
    return "; ".join([doing, *filter(None, alarms)])


def _next(engine: Engine, now: Now, zone: tzinfo) -> str:
    coming = engine.timetable.coming(1)
    if not coming:
        return "nothing scheduled"
    due_ns, armed = coming[0]
    return f"next {_cut(armed.job.id)} at {_clock(due_ns, now.wall_ns, zone)}"


def _clock(at_ns: int, now_ns: int, zone: tzinfo) -> str:
    """Return the time of day, with the date if it is not today's; seconds where there are some."""
    at, today = ((_EPOCH + timedelta(seconds=ns // SECOND_NS)).astimezone(zone) for ns in (at_ns, now_ns))
    time = f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"
    return time if at.date() == today.date() else f"{at:%Y-%m-%d} {time}"


def _named(jobs: list[str], what: str) -> str:
    """Count jobs, and name the first."""
    if not jobs:
        return ""
    count = "1 job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
    return f"{count} {what} ({_cut(jobs[0])}{', …' if len(jobs) > 1 else ''})"


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_MOST else f"{name[: _NAME_MOST - 1]}…"
