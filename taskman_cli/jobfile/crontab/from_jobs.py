"""Jobs as the text of a crontab, and what a crontab cannot express.

Each line is read back by our own parser; a line that would be read differently is not written.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from taskman_cli.core.model import Execution, Job, Mode, OnMissed, Overlap, Policy, Task
from taskman_cli.core.schedule import CronSchedule, Reboot
from taskman_cli.core.schedule.expression import parse_expression
from taskman_cli.core.schedule.fields import Field, FieldKind
from taskman_cli.core.schedule.once import Once
from taskman_cli.jobfile.crontab.env import CRON_PATH
from taskman_cli.jobfile.crontab.fields import KINDS, is_plain, rows_of
from taskman_cli.jobfile.crontab.parse import MAX_LENGTH, BadLine, Entry, read_crontab
from taskman_cli.jobfile.crontab.tables import CRON_SHELL, command_of, stdin_of
from taskman_cli.jobfile.crontab.text import assignment, join_percent
from taskman_cli.jobfile.keys import POLICY_KEYS
from taskman_cli.jobfile.tables import Keys
from taskman_cli.jobfile.tasks import EXECUTION_KEYS
from taskman_cli.launch.accounts import find_account

#: Fields that are written, or handled separately.
_WRITTEN = ("shell", "cwd", "env", "inherit_env", "user", "stdin", "overlap", "on_missed", "mode")


@dataclass(frozen=True, slots=True)
class Omission:
    """A key of a job that the crontab lacks."""

    job: str
    key: str
    why: str

    def __str__(self) -> str:
        return f"{self.job}.{self.key}: {self.why}"


@dataclass(slots=True)
class Exported:
    """The crontab, and what it lacks."""

    text: str
    omissions: list[Omission]


class _NotExpressible(Exception):
    """The job cannot be written as a line."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.why = why


def to_crontab(jobs: Iterable[Job], *, system: bool, user: str, timezone: str) -> Exported:
    """Write the jobs in their order.

    `user` owns the jobs that name no user; `timezone` is the one that cron runs in.
    """
    writer = _Writer(is_system=system, user=user, timezone=timezone)
    for job in jobs:
        writer.add(job)
    return Exported("".join(f"{line}\n" for line in writer.lines), writer.omissions)


@dataclass(slots=True)
class _Writer:
    """Writes line after line, keeping track of the variables that are set."""

    is_system: bool
    user: str
    timezone: str
    lines: list[str] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    _env: dict[str, str] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        """Write a job, as far as a crontab can express it."""
        try:
            if job.policy.mode is Mode.SEQUENCE and len(job.tasks) > 1:
                raise _NotExpressible("mode", "crontab lines cannot wait for one another: left out")
            schedule = _schedule(job)
            entries = [
                _entry(job, task, schedule, self._user(task) if self.is_system else None)
                for task in job.tasks
            ]
        except _NotExpressible as cannot:
            self.omissions.append(Omission(job.id, cannot.key, cannot.why))
            return
        lost = dict(_lost(job))
        for task in job.tasks:
            user = self._user(task)
            lost |= dict(_lost_of(task.execution, user))
            if not self.is_system and user != self.user:
                lost["user"] = f"a user crontab cannot run commands as {user}"
        self.omissions += [Omission(job.id, key, why) for key, why in lost.items()]
        if self.lines:
            self.lines.append("")
        for task, entry in zip(job.tasks, entries, strict=True):
            self._set(job, task.execution, self._user(task))
            self.lines += [f"# {line}".rstrip() for line in job.description.split("\n") if line.strip()]
            self.lines.append(entry if job.enabled else f"#{entry}")

    def _user(self, task: Task) -> str:
        return self.user if task.execution.user is None else task.execution.user.name

    def _set(self, job: Job, execution: Execution, user: str) -> None:
        """Write the assignments that a command still needs."""
        wanted = self._wanted(job, execution, user)
        for name, value in wanted.items():
            if self._env.get(name) == value:
                continue
            line = assignment(name, value)
            if line is None or len(line) > MAX_LENGTH:
                self.omissions.append(
                    Omission(job.id, f"env.{name}", "this value cannot be written in a crontab")
                )
                continue
            self._env[name] = value
            self.lines.append(line)
        for name in self._env.keys() - wanted.keys():
            why = "set by an earlier line, and a crontab cannot unset it: the command gets it too"
            self.omissions.append(Omission(job.id, f"env.{name}", why))

    def _wanted(self, job: Job, execution: Execution, user: str) -> dict[str, str]:
        """Return the variables to set; those that cron sets itself only to undo an earlier line."""
        wanted = dict(execution.env)
        if execution.shell is not None and execution.shell != wanted.get("SHELL", CRON_SHELL):
            wanted["SHELL"] = execution.shell
        zone = job.schedule.timezone if isinstance(job.schedule, CronSchedule) else self.timezone
        if zone != self.timezone and wanted.get("CRON_TZ") != zone:
            wanted["CRON_TZ"] = zone
        if wanted.get("PATH") == CRON_PATH and "PATH" not in self._env:
            del wanted["PATH"]
        own = {"SHELL": CRON_SHELL, "PATH": CRON_PATH, "CRON_TZ": self.timezone, "HOME": _home(user)}
        for name, value in own.items():
            if name in self._env and name not in wanted and value:
                wanted[name] = value
        return wanted


def _schedule(job: Job) -> str:
    """Return the schedule columns, or raise _NotExpressible."""
    schedule = job.schedule
    if isinstance(schedule, Reboot):
        return "@reboot"
    if not isinstance(schedule, CronSchedule):
        key = "at" if isinstance(schedule, Once) else "every"
        raise _NotExpressible(key, "a crontab can only hold cron expressions: left out")
    parsed = parse_expression(schedule.text, name=job.id)
    if parsed.year is not None:
        raise _NotExpressible("cron", "a crontab has no years: left out")
    if parsed.second.values != (0,):
        raise _NotExpressible("cron", "a crontab has no seconds: left out")
    if schedule.text.startswith("@"):
        return schedule.text
    fields = (parsed.minute, parsed.hour, parsed.day, parsed.month, parsed.weekday)
    return " ".join(_column(field, kind) for field, kind in zip(fields, KINDS, strict=True))


def _column(field: Field, kind: FieldKind) -> str:
    """Write a field as Debian's cron reads it; rules such as `L` are left as they are."""
    if field.text == "?":
        return "*"
    if field.rules or is_plain(field.text, kind):
        return field.text
    return rows_of(field.values)


def _entry(job: Job, task: Task, schedule: str, user: str | None) -> str:
    """Return the line of one task, or raise _NotExpressible."""
    command = task.command if isinstance(task.command, str) else shlex.join(task.command)
    command = command.lstrip(" \t")
    stdin = task.execution.stdin
    line = f"{schedule} {user} " if user is not None else f"{schedule} "
    line += join_percent(command, stdin or None)
    if len(line) > MAX_LENGTH:
        raise _NotExpressible("command", f"longer than {MAX_LENGTH} characters, cron's limit: left out")
    rows = read_crontab(line + "\n", system=user is not None).rows
    read = rows[0] if len(rows) == 1 else None
    if isinstance(read, BadLine) and read.column <= len(schedule):
        raise _NotExpressible("cron", f"{read.error}: left out")
    if not isinstance(read, Entry) or command_of(read) != command:
        raise _NotExpressible("command", "this command cannot be written in a crontab: left out")
    if read.parsed.expression != schedule:
        raise _NotExpressible("cron", f"cron would read it as {read.parsed.expression}: left out")
    if (stdin_of(read) or "") != (stdin or ""):
        raise _NotExpressible(
            "stdin", "cron cannot pass this input: it ends every line, and drops a \\ before %"
        )
    return line


def _lost(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the keys of a job that cron cannot express, with the reason."""
    yield from _unknown(job.policy, Policy(), POLICY_KEYS)
    if job.policy.overlap not in (Overlap.ALLOW, Overlap.SKIP):
        yield "overlap", "cron starts a run even while an earlier one is running"
    if job.policy.on_missed is OnMissed.ALL:
        yield "on_missed", "cron does not catch up on missed runs, except after a clock change"
    if job.gate is not None:
        yield "only_if", "cron runs the command at each time"
    if job.tags:
        yield "tags", "a crontab has no tags"
    if not job.enabled:
        yield "enabled", "the line is a comment"


def _lost_of(execution: Execution, user: str) -> Iterator[tuple[str, str]]:
    yield from _unknown(execution, Execution(), EXECUTION_KEYS)
    home = execution.env.get("HOME") or _home(user)
    # Neither cron nor taskman starts in a home directory that does not exist.
    homes = {home if os.path.isdir(home) else "/", home, _usual_directory(execution)}  # noqa: PTH112
    if execution.user is None:  # what "~" was expanded to; HOME may differ from the user database
        homes.add(os.path.expanduser("~"))  # noqa: PTH111 - does not raise for an unknown user
    if execution.cwd is not None and home and execution.cwd not in homes:
        yield "cwd", "cron starts every command in the home directory"
    if isinstance(execution.inherit_env, tuple):
        yield "inherit_env", "cron's commands do not inherit an environment"


def _home(user: str) -> str:
    """Return the home of a user; "" if there is no such user on this machine."""
    found = find_account(user)
    return "" if found is None else found.home


def _usual_directory(execution: Execution) -> str | None:
    return None if execution.user is None else execution.user.directory


def _unknown(given: Any, plain: Any, known: Keys) -> Iterator[tuple[str, str]]:
    """Yield the keys whose values differ from the defaults."""
    names: Mapping[str, str] = {key.field or key.name: key.name for key in known.values()}
    for one in fields(given):
        if one.name not in _WRITTEN and getattr(given, one.name) != getattr(plain, one.name):
            yield names[one.name], "cron has no equivalent"
