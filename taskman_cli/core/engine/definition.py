"""When a job is due, as one line of text: what the ledger keeps of a definition, and compares.

Two jobs with the same text have the same slots; so have two that `is_due_alike`. What the job does with a
slot is not in it: a changed command or overlap rule leaves the schedule alone.
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
    """Write down when a job is due."""
    policy = job.policy
    limits = (policy.jitter_ns, policy.starts_at_ns, policy.expires_at_ns, policy.max_runs)
    return _written(job.schedule, limits, job.enabled)


@lru_cache(maxsize=4096)  # of thousands of jobs, few are due at times of their own
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
    """Tell whether two definitions have the same slots: but for cron, the zone is one to show them in."""
    return one == other or _slots(one) == _slots(other)


def _slots(definition: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(definition)
    if "cron" not in values:
        values.pop("timezone", None)
    return values


def job_from(name: str, definition: str) -> Job:
    """Make a job that is due when the one of `definition` was, and does nothing.

    Raises ScheduleError where a zone is no longer known or an expression no longer taken, and for a text that
    is no definition.
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
