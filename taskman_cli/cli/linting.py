"""What `check` looks up for its lint outside the job files: programs on the PATH, and runs on record."""

from __future__ import annotations

import os
import time
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

from taskman_cli.core.lint import lint_durations, lint_jobs, lint_program, program_of
from taskman_cli.environment import Environments
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile.allow import place
from taskman_cli.jobfile.load import no_collection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taskman_cli.core.lint import Finding
    from taskman_cli.core.model import Execution, Job
    from taskman_cli.jobfile.allow import Placed
    from taskman_cli.jobfile.source import Source


def lint(jobs: Sequence[Job], sources: Sequence[Source], directory: Path) -> list[Placed]:
    """Return all that is found about jobs, at its place in their files; `directory`: the instance's state."""
    now_ns = time.time_ns()
    with no_collection():
        findings = lint_jobs(jobs, now_ns=now_ns)
        findings += _missing_programs(jobs)
        findings += lint_durations(jobs, _typical_durations(directory), now_ns=now_ns)
        return place(findings, sources)


def _missing_programs(jobs: Sequence[Job]) -> Iterator[Finding]:
    finder = _Finder()
    for job in jobs:
        if not job.enabled:
            continue
        for task in job.tasks:
            program = program_of(task)
            if program is not None and not finder.has(program, task.execution):
                yield lint_program(job, task, program)


class _Finder:
    """Looks for programs as a start would; each once a search path."""

    def __init__(self) -> None:
        try:
            self._cwd = str(Path.cwd())
        except FileNotFoundError:
            self._cwd = "/"
        self._environments = Environments(os.environ, cwd=self._cwd)
        #: By identity, with the execution itself, so that no other has its identity.
        self._paths: dict[int, tuple[Execution, str | None]] = {}
        self._found: dict[tuple[str, str, str], bool] = {}

    def has(self, program: str, execution: Execution) -> bool:
        """Tell whether a program is there; what cannot be known counts as there."""
        if id(execution) not in self._paths:
            self._paths[id(execution)] = execution, self._path(execution)
        path = self._paths[id(execution)][1]
        if path is None:
            return True
        key = program, path, execution.cwd or self._cwd
        if key not in self._found:
            self._found[key] = self._look(*key)
        return self._found[key]

    def _path(self, execution: Execution) -> str | None:
        try:
            return self._environments.value(execution, "PATH")
        except TaskmanError:  # an env_file that is not there yet
            return None

    def _look(self, program: str, path: str, cwd: str) -> bool:
        if "/" in program:
            return which(os.path.join(cwd, program)) is not None  # noqa: PTH118 - as exec(2) has it
        return which(program, path=path) is not None


def _typical_durations(directory: Path) -> dict[str, int]:
    """Read how long runs take, if there is a ledger that can be read."""
    from taskman_cli.ledger.durations import typical_durations
    from taskman_cli.ledger.reader import reading

    try:
        with reading(directory) as ledger:
            return typical_durations(ledger)
    except TaskmanError:
        return {}
