"""Lints that need only job definitions. Each distinct schedule is checked once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.lookalikes import find_dash, find_in_command
from taskman_cli.core.model import Overlap
from taskman_cli.core.schedule import CronSchedule, Once, Reboot
from taskman_cli.insight.explain.clocknotes import changes_of_year, clock_notes, hours_of
from taskman_cli.insight.explain.daywords import is_either_day
from taskman_cli.insight.explain.notes import expression_of, quartz_weekday, uneven_steps
from taskman_cli.insight.lint.expectations import expected_too_soon
from taskman_cli.insight.lint.finding import UNSHOWN, Finding
from taskman_cli.insight.lint.herds import herds
from taskman_cli.insight.lint.variables import odd_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.core.model import Job, Task
    from taskman_cli.core.schedule.changes import Change
    from taskman_cli.core.schedule.expression import Expression

#: Name, message and fix of a finding about a schedule.
Words = tuple[str, str, str]

_VALUE = r"[\"']?(?![$<(`{/@])[^\s\"'$;&|]{3,}"
_SECRET = re.compile(
    rf"(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)(?:=|:\s?){_VALUE}"
    rf"|--?(?:password|passwd|secret|token|api-key)[= ]{_VALUE}"
    rf"|\bcurl\s(?:[^;&|]*\s)?(?:-u\s?|--user[= ])[\"']?[^\s:\"'$]+:{_VALUE}"
    r"|\bbearer\s+(?!\$)[A-Za-z0-9._~+/-]{8,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|://[^\s/:@$]+:(?!\$)[^\s/@$]+@",
    re.IGNORECASE,
)
#: Only this much of a command is checked: the cost of the patterns is quadratic.
_LOOKED_AT = 10_000
#: Cheap test first: every text that `_SECRET` matches has one of these, and most commands have none.
_HINT = re.compile(r"pass|secret|token|key|curl|bearer|akia|asia|://", re.IGNORECASE)


class _Zone(NamedTuple):
    """The clock changes of a zone, and the hours that they may affect."""

    changes: list[Change]
    hours: frozenset[int]


def lint_jobs(jobs: Sequence[Job], *, now_ns: int) -> list[Finding]:
    """Return the findings for all enabled jobs."""
    known: dict[int, list[Words]] = {}
    expressions: dict[int, Expression] = {}
    zones: dict[str, _Zone] = {}
    found = []
    looked_at: set[int] = set()
    for job in jobs:
        if not job.enabled:
            continue
        found += [
            _finding(job, *odd) for task in job.tasks for odd in odd_variables(job, task.execution, looked_at)
        ]
        schedule = job.schedule
        words = known.get(id(schedule))
        if words is None:
            words = known[id(schedule)] = []
            if isinstance(schedule, CronSchedule):
                expression = expressions[id(schedule)] = expression_of(schedule, name=job.id)
                zone = zones.get(schedule.timezone)
                if zone is None:
                    changes = changes_of_year(schedule.timezone, now_ns=now_ns)
                    zone = zones[schedule.timezone] = _Zone(changes, hours_of(changes))
                words += _about_schedule(schedule, expression, zone)
        found += [_finding(job, name, ("cron",), message, fix) for name, message, fix in words]
        found += _about_job(job, now_ns)
    return found + [
        _finding(
            job,
            "herd",
            ("cron",),
            message,
            'spread them: write H for the minute, or set jitter = "5m"',
        )
        for job, message in herds(jobs, expressions, now_ns=now_ns)
    ]


def _finding(job: Job, name: str, path: tuple[str, ...], message: str, fix: str) -> Finding:
    return Finding(name, job.id, job.source, path, message, fix)


def every_one(expression: Expression) -> str:
    """Describe a `*` that runs a job every minute of one hour, or second of one minute; else ""."""
    if expression.text.startswith("@"):
        return ""
    second = expression.second.text if expression.has_second else ""
    minute, hour = expression.minute.text, expression.hour.text
    days = (expression.day.text, expression.month.text, expression.weekday.text)
    if second == "*" and _is_one(minute):
        return f"it runs every second of minute {minute}: 60 starts, where one may be meant"
    if minute != "*":
        return ""
    if _is_one(hour):
        return f"it runs every minute of hour {hour}: 60 starts, where one may be meant"
    if hour == "*" and any(map(_is_one, days)):
        return "it runs every minute of the day: 1440 starts, where one may be meant"
    return ""


def _is_one(column: str) -> bool:
    """Tell whether a column is a single value, not `*`, a range or a step."""
    return column.isalnum() and column.upper() not in ("H", "L")


def _about_schedule(schedule: CronSchedule, expression: Expression, zone: _Zone) -> Iterator[Words]:
    for message in uneven_steps(expression):
        yield (
            "uneven-step",
            message.removesuffix("."),
            "use a step that divides it, list the values, or use every",
        )
    if is_either_day(expression):
        yield (
            "either-day",
            "day of month and day of week are both given: it runs on days that match either",
            "remove one, or start the day of month with * (as in */1) if both must match",
        )
    if message := quartz_weekday(expression):
        yield "quartz-weekday", message, "write the name of the day, such as FRI, FRIL or FRI#2"
    if message := every_one(expression):
        yield "every-minute", message, "replace the first * with 0 for one start, or with 0-59 for all"
    # A job that runs every hour misses nothing and is expected to run in the repeated hour.
    if len(expression.hour.values) < 24 and not zone.hours.isdisjoint(expression.hour.values):
        for message in clock_notes(schedule, expression, zone.changes):
            yield "clock-change", message.removesuffix("."), "choose another hour, or a zone such as UTC"


def _about_job(job: Job, now_ns: int) -> Iterator[Finding]:
    policy = job.policy
    has_year = isinstance(job.schedule, CronSchedule) and job.schedule.has_year
    if isinstance(job.schedule, Once) or has_year or policy.expires_at_ns is not None:
        armed = ArmedJob.of(job, since_ns=now_ns, anchor_ns=now_ns)
        if armed.slot_ns is None and not (armed.is_from_finish or isinstance(job.schedule, Reboot)):
            key = "cron" if has_year else "at" if policy.expires_at_ns is None else "expires_at"
            yield _finding(
                job,
                "dead-schedule",
                (key,),
                "the job has no slots left",
                "remove the job, or give a later time",
            )
    if policy.overlap is Overlap.ALLOW and any(task.execution.timeout_ns is None for task in job.tasks):
        yield _finding(
            job,
            "overlap-no-timeout",
            ("overlap",),
            'overlap = "allow" without a timeout: runs that hang pile up',
            "set a timeout",
        )
    if words := expected_too_soon(job, now_ns):
        yield _finding(job, "expected-too-soon", ("expect_every",), *words)
    for task in job.tasks:
        yield from _about_characters(job, task)
        command = task.command if isinstance(task.command, str) else " ".join(task.command)
        command = command[:_LOOKED_AT]
        if _HINT.search(command) and _SECRET.search(command):
            yield _finding(
                job,
                UNSHOWN,
                job.command_path(task.id),
                "the command contains a secret, which everyone who lists processes can read",
                "put it in a file, name that file in env_file, and write $NAME here",
            )


def _about_characters(job: Job, task: Task) -> Iterator[Finding]:
    """Find spaces, hyphens and quotes that a word processor or web page has replaced."""
    # Without a shell, words are literal text: only the dash of an option matters.
    words = [task.command] if isinstance(task.command, str) else task.command
    for word in words:
        if word.isascii():
            continue
        found = find_in_command(word) if isinstance(task.command, str) else find_dash(word)
        if found:
            message = f"a character in the command is not what it looks like: {found.name}"
            yield _finding(job, "look-alike", job.command_path(task.id), message, found.fix)
            return
