"""A job as the keys of a job file with plain values, all defaults filled in."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from datetime import UTC
from enum import Enum
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import wall_time
from taskman_cli.core.executors import CALL, LOCAL, executor_of
from taskman_cli.core.model import GATE_TIMEOUT_NS, Execution
from taskman_cli.core.schedule import CronSchedule, Interval, Once, Reboot
from taskman_cli.core.sinks import MAILTO
from taskman_cli.core.timespec import format_duration
from taskman_cli.core.tuning import AdmissionTuning
from taskman_cli.jobfile.keys import POLICY_KEYS
from taskman_cli.jobfile.tasks import EXECUTION_KEYS, RETRY_KEYS

if TYPE_CHECKING:
    from taskman_cli.core.model import Job, Resource, Retry, Settings, Task
    from taskman_cli.core.schedule import Schedule
    from taskman_cli.jobfile.tables import Key


def definition(job: Job) -> dict[str, Any]:
    """Return the keys of a job with their values; None: no limit, or not set."""
    values = _schedule(job.schedule)
    values |= {"description": job.description, "tags": list(job.tags), "enabled": job.enabled}
    values |= {name: written(job.policy, key) for name, key in POLICY_KEYS.items()}
    values["sinks"] = [name for name in job.policy.sinks if name != MAILTO]
    values |= {"only_if": None, "only_if_timeout": None}
    if job.gate is not None:
        values["only_if"] = _command(job.gate.command)
        values["only_if_timeout"] = format_duration(job.gate.execution.timeout_ns or GATE_TIMEOUT_NS)
    executions = {id(task.execution) for task in job.tasks}
    if [task.id for task in job.tasks] == ["main"]:
        del values["mode"]  # a single task has no order
        return values | _task(job.tasks[0]) | _execution(job.tasks[0].execution)
    if len(executions) == 1:
        values |= _execution(job.tasks[0].execution)
        return values | {"tasks": {task.id: _task(task) for task in job.tasks}}
    values["tasks"] = {task.id: _task(task) | _execution(task.execution) for task in job.tasks}
    return values


def resources_of(job: Job, settings: Settings) -> dict[str, Any]:
    """Return the resources that a job draws on, as `[pool.resources]` would have them."""
    names = {name for task in job.tasks for name, _ in task.execution.resources if not executor_of(name)}
    return {name: _resource(resource) for name, resource in settings.resources if name in names}


def _resource(resource: Resource) -> int | dict[str, Any] | None:
    if resource.rate is None:
        return resource.limit
    limit = {} if resource.limit is None else {"limit": resource.limit}
    return limit | {"rate": f"{resource.rate}/{format_duration(resource.per_ns)}", "burst": resource.burst}


def _schedule(schedule: Schedule) -> dict[str, Any]:
    match schedule:
        case CronSchedule():
            return {"cron": schedule.text, "timezone": schedule.timezone}
        case Interval():
            from_what = "finish" if schedule.from_finish else "slot"
            values = {"every": format_duration(schedule.every_ns), "every_from": from_what}
            return values | ({"timezone": schedule.timezone} if schedule.timezone else {})
        case Once():
            return {"at": schedule.text.removeprefix("at "), "timezone": schedule.zone.key}
        case Reboot():
            return {"cron": "@reboot", "timezone": schedule.timezone}
    raise TypeError(f"unknown kind of schedule: {schedule!r}")


def _task(task: Task) -> dict[str, Any]:
    """Return the command of a task, or what its executor's type has in its place."""
    own = {name: json.loads(text) for name, text in task.execution.executor_keys}
    return own if CALL in own else {"command": _command(task.command)} | own


def _command(command: str | tuple[str, ...]) -> str | list[str]:
    return command if isinstance(command, str) else list(command)


#: Keys that some type of executor refuses: left out where they are as usual.
_OF_SOME = frozenset({"shell", "inherit_env", "user", "group", "umask", "nice", "limits"})


def _execution(execution: Execution) -> dict[str, Any]:
    values = _execution_values(execution)
    if execution.executor == LOCAL:
        return values
    usual = _execution_values(Execution())
    return {key: value for key, value in values.items() if key not in _OF_SOME or value != usual[key]}


def _execution_values(execution: Execution) -> dict[str, Any]:
    values = {name: written(execution, key) for name, key in EXECUTION_KEYS.items()}
    values["retry"] = _retry(execution.retry)
    values["kill_signal"] = signal.Signals(execution.kill_signal).name.removeprefix("SIG")
    values["user"] = execution.user and execution.user.name
    values["group"] = execution.group and execution.group.name
    values["umask"] = None if execution.umask is None else f"{execution.umask:03o}"
    values["success_exit_codes"] = list(execution.success_exit_codes)
    values["skip_exit_codes"] = None if execution.skip_exit_codes is None else list(execution.skip_exit_codes)
    values["env_file"] = list(execution.env_file)
    if isinstance(execution.inherit_env, tuple):
        values["inherit_env"] = list(execution.inherit_env)
    return values


def _retry(retry: Retry) -> dict[str, Any]:
    values = {name: written(retry, key) for name, key in RETRY_KEYS.items()}
    values["exit_codes"] = None if retry.exit_codes is None else list(retry.exit_codes)
    return values


def written(owner: object, key: Key) -> Any:
    """Return the value of a key as a job file would have it; None: not set."""
    name = key.field or key.name
    value = getattr(owner, name)
    if value is None:
        return None
    if name.endswith("_at_ns"):
        return wall_time(value, UTC).isoformat()
    if name.endswith("_ns"):
        return format_duration(value)
    if name == "limits":
        return value.as_plain()
    if name == "resources":
        return {resource: amount for resource, amount in value if not executor_of(resource)}
    if isinstance(value, AdmissionTuning):
        return {}
    if isinstance(value, Enum):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value
