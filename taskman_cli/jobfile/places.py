"""Where the key of a job is in the text: in the job, in the defaults, or nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.jobfile.problems import Fault

if TYPE_CHECKING:
    from taskman_cli.jobfile.problems import Problem, TreePath
    from taskman_cli.jobfile.source import Source

#: Keys that tasks inherit from their job and jobs from the defaults; a problem is shown at the key.
_INHERITED = frozenset({"cwd", "env_file", "shell"})


def problem_of_job(source: Source, job: str, fault: Fault) -> Problem:
    """Place a fault whose path starts at a job, at the nearest key that is in the text."""
    key = fault.path[-1]
    if key in _INHERITED:
        inherited: tuple[TreePath, ...] = (
            ("jobs", job, *fault.path[:-1], key),
            ("jobs", job, key),
            ("defaults", key),
        )
        for path in inherited:
            if source.known(path) == (path, False):
                return source.problem(Fault(path, fault.message))
    wanted = ("jobs", job, *fault.path)
    path, is_table = source.known(wanted)
    # An offset within a value means nothing in the table around it.
    offset = fault.offset if path == wanted else None
    return source.problem(replace(fault, path=path, at_key=is_table, offset=offset))
