"""From the table of a job to a `Job`.

Most of a hundred thousand jobs have the same few settings, so equal parts are created once and shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from taskman_cli.core.executors import CALL, LOCAL, ExecutorDefinition
from taskman_cli.core.model import (
    GATE,
    GATE_CODES,
    GATE_TIMEOUT_NS,
    SHELL_GATE_CODES,
    Execution,
    Job,
    Output,
    Policy,
    Retry,
    Task,
)
from taskman_cli.core.schedule import Interval, Once, Schedule, parse_cron
from taskman_cli.core.schedule.expression import place_in
from taskman_cli.core.variables import Variables
from taskman_cli.errors import ScheduleError
from taskman_cli.jobfile.executors import JOB_KEYS as EXECUTOR_JOB_KEYS
from taskman_cli.jobfile.executors import execution_faults, settled
from taskman_cli.jobfile.keys import JOB_KEYS, OWN_KEYS, POLICY_KEYS, EveryFrom
from taskman_cli.jobfile.other_schedulers import keys_meant
from taskman_cli.jobfile.problems import Fault, Rejected, prefixed
from taskman_cli.jobfile.rules import job_faults
from taskman_cli.jobfile.tables import Values, as_fields, read_table
from taskman_cli.jobfile.tasks import EXECUTION_KEYS, split_crontab_line
from taskman_cli.jobfile.units import in_zone
from taskman_cli.jobfile.values import Context, check_name, mistyped, read_text

_Said = frozenset[tuple[str, Any]]


class Sharing:
    """Create equal policies, executions and intervals once and share them."""

    def __init__(self) -> None:
        self._policies: dict[_Said, Policy] = {}
        self._executions: dict[_Said, Execution] = {}
        self._intervals: dict[tuple[int, bool, str], Interval] = {}

    def policy(self, values: Values) -> Policy:
        """Return the shared policy with these values."""
        said = frozenset(values.items())
        found = self._policies.get(said)
        if found is None:
            found = self._policies[said] = Policy(**as_fields(said, POLICY_KEYS))
        return found

    def execution(
        self, values: Values, executors: Mapping[str, ExecutorDefinition | None] | None = None
    ) -> Execution:
        """Return the shared execution with these values."""
        said = frozenset(values.items())
        found = self._executions.get(said)
        if found is None:
            whole = settled(values, executors or {})
            fields = as_fields(
                ((name, value) for name, value in whole.items() if name in EXECUTION_KEYS), EXECUTION_KEYS
            )
            if "executor_keys" in whole:
                fields["executor_keys"] = whole["executor_keys"]
            if "user" in fields:
                fields.setdefault("cwd", fields["user"].directory or None)
            found = self._executions[said] = Execution(**fields)
        return found

    def interval(self, every_ns: int, *, from_finish: bool, timezone: str) -> Interval:
        """Return the shared interval of this length."""
        said = (every_ns, from_finish, timezone)
        found = self._intervals.get(said)
        if found is None:
            found = self._intervals[said] = Interval(every_ns, from_finish, timezone)
        return found


class _Common(NamedTuple):
    """What jobs share that differ only in their schedule and commands."""

    policy: Policy
    execution: Execution
    #: The same as values, which tasks overlay with their own.
    execution_values: Values
    enabled: bool
    tags: tuple[str, ...]
    from_finish: bool
    #: The command of `only_if`.
    gate: Task | None


class JobBuilder:
    """Builds the jobs of one file."""

    def __init__(self, defaults: Values, context: Context, sharing: Sharing, *, source: str) -> None:
        self._source = source
        self._sharing = sharing
        self._defaults = defaults
        self._context = replace(context, zone=defaults.get("timezone", context.zone))
        self._commons: dict[_Said, _Common] = {}
        self._base = self._common(())

    def job(self, name: str, value: object) -> Job:
        """Build a job from its table or line, or raise `Rejected` with every fault."""
        try:
            check_name(name, "job")
        except Rejected as error:
            # Everything else that is wrong is reported with it.
            faults = error.faults
            try:
                self._defined(name, value)
            except Rejected as others:
                faults += others.faults
            raise Rejected(*faults) from None
        return self._defined(name, value)

    def _defined(self, name: str, value: object) -> Job:
        if type(value) is str:
            return self._from_line(name, value)
        if type(value) is not dict:
            raise mistyped(value, "a job", ": write a table, or a crontab line in quotes")
        context = in_zone(self._context, value) if "timezone" in value else self._context
        own, faults = read_table(value, JOB_KEYS, context)
        faults += job_faults(own, value, self._defaults, keys_meant(value, JOB_KEYS) if faults else ())
        faults += self._executor_faults(own)
        names = own.keys() - OWN_KEYS
        common = self._common([(name, own[name]) for name in names]) if names else self._base
        schedule = None
        try:
            # Despite other faults, so that all are reported together.
            schedule = self._schedule(name, own, common, context.zone)
        except ScheduleError as error:
            faults.append(_schedule_fault(error, own))
        if faults:
            raise Rejected(*faults)
        assert schedule is not None, "a job without a schedule has a fault"
        return self._job(name, schedule, self._tasks(own, common), common, own.get("description", ""))

    def _executor_faults(self, own: Values) -> list[Fault]:
        """Return which keys of a job and its tasks their executors refuse."""
        executors = self._context.executors
        if not executors and EXECUTOR_JOB_KEYS.keys().isdisjoint(own) and "tasks" not in own:
            return []
        values = self._defaults | own
        faults = execution_faults(own, values, executors)
        for task in own.get("tasks", ()):
            found = execution_faults(task.execution, values | task.execution, executors)
            faults += prefixed(found, "tasks", task.id)
        return faults

    def _schedule(self, name: str, own: Values, common: _Common, zone: ZoneInfo) -> Schedule | None:
        if "cron" in own:
            return self._cron(name, own["cron"], common, zone)
        if "every" in own:
            return self._interval(own["every"], common, zone)
        if "at" in own:
            return Once(own["at"], zone)
        return None

    def _cron(self, name: str, expression: str, common: _Common, zone: ZoneInfo) -> Schedule:
        schedule = parse_cron(expression, timezone=zone.key, name=name)
        return self._interval(schedule.every_ns, common, zone) if isinstance(schedule, Interval) else schedule

    def _interval(self, every_ns: int, common: _Common, zone: ZoneInfo) -> Interval:
        return self._sharing.interval(every_ns, from_finish=common.from_finish, timezone=zone.key)

    def _from_line(self, name: str, value: str) -> Job:
        line = split_crontab_line(read_text(value, self._context))
        try:
            schedule = self._cron(name, line.expression, self._base, self._context.zone)
        except ScheduleError as error:
            start, length = place_in(error, value[line.offset : line.offset + line.length])
            raise Rejected(Fault((), str(error), offset=line.offset + start, length=length)) from None
        common = self._base
        return self._job(name, schedule, (Task("main", line.command, common.execution),), common, "")

    def _job(
        self, name: str, schedule: Schedule, tasks: tuple[Task, ...], common: _Common, description: str
    ) -> Job:
        return Job(
            name, schedule, tasks, common.policy, common.enabled, description, common.tags, self._source,
            gate=common.gate,
        )  # fmt: skip

    def _tasks(self, own: Values, common: _Common) -> tuple[Task, ...]:
        if "command" in own:
            return (Task("main", own["command"], common.execution),)
        if CALL in own:
            return (Task("main", own[CALL], common.execution),)
        below = common.execution_values
        share, known = self._sharing.execution, self._context.executors
        return tuple(
            [Task(id_, command, share(overlaid(below, said), known)) for id_, command, said in own["tasks"]]
        )

    def _gate(self, values: Values, execution: Values) -> Task | None:
        """Return the command of `only_if`: as the job's own, but with a limit, no retry and no resources."""
        command = values.get("only_if")
        if command is None:
            return None
        own = {
            "timeout": values.get("only_if_timeout", GATE_TIMEOUT_NS),
            "retry": Retry(),
            "success_exit_codes": (0,),
            "skip_exit_codes": SHELL_GATE_CODES if isinstance(command, str) else GATE_CODES,
            "resources": (),
            "stdin": None,
            "output": Output.CAPTURE,
            "executor": LOCAL,
        }
        here = {name: value for name, value in execution.items() if name not in EXECUTOR_JOB_KEYS}
        return Task(GATE, command, self._sharing.execution(here | own))

    def _common(self, said: Iterable[tuple[str, Any]]) -> _Common:
        said = frozenset(said)
        found = self._commons.get(said)
        if found is None:
            values = overlaid(self._defaults, dict(said))
            execution = {
                name: value
                for name, value in values.items()
                if name in EXECUTION_KEYS or name in EXECUTOR_JOB_KEYS
            }
            found = self._commons[said] = _Common(
                policy=self._sharing.policy({name: values[name] for name in values if name in POLICY_KEYS}),
                execution=self._sharing.execution(execution, self._context.executors),
                execution_values=execution,
                enabled=values.get("enabled", True),
                tags=values.get("tags", ()),
                from_finish=values.get("every_from") is EveryFrom.FINISH,
                gate=self._gate(values, execution),
            )
        return found


def _schedule_fault(error: ScheduleError, own: Values) -> Fault:
    """Place a schedule's fault, at the wrong field of the cron expression if possible."""
    if "cron" not in own:
        return Fault(("at",), str(error))
    start, length = place_in(error, own["cron"])
    if length >= len(own["cron"].strip()):
        return Fault(("cron",), str(error))
    return Fault(("cron",), str(error), offset=start, length=length)


def overlaid(below: Values, above: Values) -> Values:
    """Overlay inherited values with own ones: variables of `env` are merged, all else is replaced."""
    if not above:
        return below
    values = below | above
    if "env" in above and "env" in below:
        values["env"] = Variables(above["env"], below["env"])
    return values
