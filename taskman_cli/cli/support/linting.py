"""The lint of `check`, with what it needs from the machine: programs on the PATH, and recorded runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.cli.render import note
from taskman_cli.cli.support.findings import place
from taskman_cli.cli.support.preflight import look_for_missing
from taskman_cli.core.collector import without_collections
from taskman_cli.core.limits import UNLIMITED
from taskman_cli.errors import TaskmanError
from taskman_cli.insight.lint import (
    lint_array,
    lint_durations,
    lint_jobs,
    lint_limits,
    lint_search_path,
    lint_shell,
)
from taskman_cli.instance.lock import holder
from taskman_cli.jobfile.programs import look_at_search_paths
from taskman_cli.launch.spec import SHELL
from taskman_cli.supervisor.groups import find_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.cli.support.findings import PlacedFinding
    from taskman_cli.core.model import Job
    from taskman_cli.insight.lint import Finding
    from taskman_cli.jobfile.source import Source
    from taskman_cli.trust import Trust


def lint(
    jobs: Sequence[Job], sources: Sequence[Source], directory: Path | None, trust: Trust
) -> list[PlacedFinding]:
    """Return all findings about jobs, with their places in the files.

    `directory`: the state directory of the instance, or None.
    """
    now_ns = time.time_ns()
    with without_collections():
        findings = lint_jobs(jobs, now_ns=now_ns)
        missing = look_for_missing(jobs)
        if missing.hangs:
            note(f"not everything could be checked: {missing.hangs} does not answer")
        findings += missing.findings
        findings += _shells(jobs)
        findings += _limits(jobs, directory)
        findings += [
            lint_search_path(job, task, words) for job, task, words in look_at_search_paths(jobs, trust)
        ]
        if directory is not None:
            findings += lint_durations(jobs, _typical_durations(directory), now_ns=now_ns)
        return place(findings, sources)


def lint_text(jobs: Sequence[Job], sources: Sequence[Source], *, now_ns: int) -> list[PlacedFinding]:
    """Return the findings that depend on the files alone, and on what /bin/sh is here."""
    arrays = [found for job in jobs for task in job.commands if (found := lint_array(job, task)) is not None]
    return place([*lint_jobs(jobs, now_ns=now_ns), *arrays, *_shells(jobs)], sources)


def _shells(jobs: Sequence[Job]) -> Iterator[Finding]:
    """Yield findings about commands that use syntax unknown to their shell."""
    names: dict[str, str] = {}
    for job in jobs:
        for task in job.commands:
            path = task.execution.shell or SHELL
            if path not in names:
                names[path] = Path(path).resolve().name
            if job.enabled:
                yield from lint_shell(job, task, names[path])


def _limits(jobs: Sequence[Job], directory: Path | None) -> Iterator[Finding]:
    """Yield findings about limits, of the running scheduler's commands if there is one."""
    if all(task.execution.limits == UNLIMITED for job in jobs for task in job.commands):
        return
    try:
        pid = None if directory is None else holder(directory)
    except TaskmanError:
        pid = None
    yield from lint_limits(jobs, find_place(str(pid) if pid else "self").works)


def _typical_durations(directory: Path) -> dict[str, int]:
    """Return how long runs of each job take; empty without a readable ledger."""
    from taskman_cli.ledger.queries.durations import typical_durations
    from taskman_cli.ledger.queries.reader import reading

    try:
        with reading(directory) as ledger:
            return typical_durations(ledger)
    except TaskmanError:
        return {}
