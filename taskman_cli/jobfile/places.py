"""Where in the text a job has a key, though it may stand with its job, in the defaults, or nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.jobfile.problems import Fault

if TYPE_CHECKING:
    from taskman_cli.jobfile.problems import Problem, TreePath
    from taskman_cli.jobfile.source import Source

#: What a task has of its job, and a job of its defaults: a problem with it stands where the key does.
_INHERITED = frozenset({"cwd", "env_file", "shell"})


def problem_of_job(source: Source, job: str, fault: Fault) -> Problem:
    """Place a fault whose path starts at a job; it is shown at the nearest key that stands in the text."""
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
    # What a place in a value is, is none in what stands around it.
    offset = fault.offset if path == wanted else None
    return source.problem(replace(fault, path=path, at_key=is_table, offset=offset))
