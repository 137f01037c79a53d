"""Lint of `limits` that have no effect on this machine, or another one than written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.insight.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from taskman_cli.core.model import Execution, Job

_FIX = "taskman doctor says what limits work here, and how to get more"


def lint_limits(jobs: Sequence[Job], works: Collection[str]) -> Iterator[Finding]:
    """Yield findings about limits that no control group has; `works` names those that one can have here."""
    for job in jobs:
        seen: set[int] = set()
        for task in job.commands if job.enabled else ():
            execution = task.execution
            if id(execution) in seen:
                continue
            seen.add(id(execution))
            path = ("limits",) if job.command_path(task.id)[0] != "tasks" else ("tasks", task.id, "limits")
            for name, message in _without_effect(execution, works):
                yield Finding("limit-without-effect", job.id, job.source, (*path, name), message, _FIX)


def _without_effect(execution: Execution, works: Collection[str]) -> Iterator[tuple[str, str]]:
    limits = execution.limits
    if limits.memory_bytes is not None and "memory" not in works:
        yield "memory", "no control group here limits memory: each process of the command may use so much"
    if limits.cpu is not None and "cpu" not in works:
        yield "cpu", "no control group here limits CPUs: this has no effect"
    if limits.processes is not None and "processes" not in works:
        if execution.user is None or execution.user.uid == 0:
            yield "processes", "no control group here limits processes: this has no effect"
        else:
            yield "processes", "no control group here limits processes: all processes of that user count"
