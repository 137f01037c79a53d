"""When a job is due, as one line of JSON: the ledger keeps it and compares it with the job of today.

Two jobs with the same text have the same slots; so have two that `is_due_alike`. It does not contain what the
job does with a slot: a changed command or overlap rule does not change the schedule.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from taskman_cli.core.model import Job, Policy
from taskman_cli.core.schedule import CronSchedule, Interval, Once, load_zone, parse_cron
from taskman_cli.core.schedule.once import Reboot
from taskman_cli.errors import ScheduleError

if TYPE_CHECKING:
    from taskman_cli.core.schedule import Schedule

_POLICY = ("jitter_ns", "starts_at_ns", "expires_at_ns", "max_runs")


def definition_of(job: Job) -> str:
    """Return when a job is due, as text."""
    policy = job.policy
    limits = (policy.jitter_ns, policy.starts_at_ns, policy.expires_at_ns, policy.max_runs)
    return _written(job.schedule, limits, job.enabled)


@lru_cache(maxsize=4096)  # most of thousands of jobs share their schedules
def _written(schedule: Schedule, limits: tuple[int | None, ...], enabled: bool) -> str:
    values = _schedule(schedule) | {name: value for name, value in zip(_POLICY, limits, strict=True) if value}
    return json.dumps(values if enabled else values | {"enabled": False})


def _schedule(schedule: Schedule) -> dict[str, Any]:
    match schedule:
        case CronSchedule():
            return {"cron": schedule.text, "timezone": schedule.timezone}
        case Interval():
            values: dict[str, Any] = {"every_ns": schedule.every_ns}
            if schedule.from_finish:
                values["from_finish"] = True
            return values | ({"timezone": schedule.timezone} if schedule.timezone else {})
        case Once():
            values = {"at_ns": schedule.at_ns, "timezone": schedule.zone.key}
            return values | ({"elapsed": True} if schedule.is_elapsed else {})
        case Reboot():
            return {"reboot": True, "timezone": schedule.timezone}
    raise TypeError(f"unknown kind of schedule: {schedule!r}")


def is_due_alike(one: str, other: str) -> bool:
    """Tell whether two definitions have the same slots; except for cron, a zone does not change slots."""
    return one == other or _slots(one) == _slots(other)


def _slots(definition: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(definition)
    if "cron" not in values:
        values.pop("timezone", None)
    return values


def job_from(name: str, definition: str) -> Job:
    """Make a job without tasks that is due when the one of `definition` was.

    Raises ScheduleError if a zone or an expression is not known any more, and for text that is not a
    definition.
    """
    try:
        values = json.loads(definition)
        policy = Policy(**{key: values[key] for key in _POLICY if key in values})
        return Job(name, _read(name, values), (), policy, values.get("enabled", True))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ScheduleError(f"not a job definition: {error}") from error


def _read(name: str, values: dict[str, Any]) -> Schedule:
    if "cron" in values:
        return parse_cron(values["cron"], timezone=values["timezone"], name=name)
    if "every_ns" in values:
        return Interval(values["every_ns"], values.get("from_finish", False), values.get("timezone", ""))
    if "at_ns" in values:
        return Once(values["at_ns"], load_zone(values["timezone"]), values.get("elapsed", False))
    return Reboot(values["timezone"])
