"""What a file of another scheduler becomes: the tables of jobs, and what is to be said about them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import printable
from taskman_cli.jobfile.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A job's table with all its keys: nothing is left to `[defaults]`.
Table = dict[str, Any]

#: Keys that go into `[defaults]` if all jobs have the same value.
SHARED = (
    "jitter", "inherit_env", "overlap", "timeout", "on_missed", "start_deadline", "user", "cwd", "shell",
    "timezone", "umask", "nice",
)  # fmt: skip


_STRANGE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 56


@dataclass(slots=True)
class Imported:
    """One file."""

    #: As it is shown.
    path: str
    text: str = ""
    jobs: dict[str, Table] = field(default_factory=dict)
    #: The line that each job comes from.
    lines: dict[str, int] = field(default_factory=dict)
    #: How its scheduler's ways, which its jobs keep, differ from ours.
    ways: tuple[str, ...] = ()
    #: What differs, or was not understood: warnings, and comments in the job file.
    notes: list[Problem] = field(default_factory=list)
    #: Warnings only.
    warnings: list[Problem] = field(default_factory=list)
    #: Parts that cannot become jobs.
    problems: list[Problem] = field(default_factory=list)
    #: Further lines for the comment at the top.
    comments: list[str] = field(default_factory=list)
    #: Whether the problems are among the comments.
    is_told: bool = False
    #: For `--json`.
    rows: list[dict[str, Any]] = field(default_factory=list)
    #: Comments above the heading of a job.
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def note(self, line: int, message: str, *, job: str = "") -> None:
        """Say what differs, for a job or for the file; line 0: the file as a whole."""
        self.notes.append(Problem(self.path, line, 1, job, message, source_line="" if line else None))
        if job:
            self.remarks.setdefault(job, []).append(message)

    def problem(self, line: int, message: str) -> None:
        """Say what cannot become a job; line 0: the file as a whole."""
        lines = self.text.split("\n")
        shown = lines[min(line, len(lines)) - 1] if line else None
        length = 1 if shown is None else max(1, len(shown.rstrip()))
        self.problems.append(Problem(self.path, line, 1, "", message, source_line=shown, length=length))

    def add(self, name: str, line: int, table: Table) -> None:
        """Add a job; keys without a value are left out."""
        wait = table.pop("wait", 0)
        if wait >= 1:
            table["command"] = f"sleep {round(wait)} && {{ {table['command']}\n}}"
        self.jobs[name] = {key: value for key, value in table.items() if value not in (None, "", [], {})}
        self.lines[name] = line


def unfactored(tables: Mapping[str, Any]) -> dict[str, Table]:
    """Return the jobs of a job file with all the keys that they have from `[defaults]`."""
    defaults = tables.get("defaults", {})
    shared = {key: value for key, value in defaults.items() if key != "env"}
    env = dict(defaults.get("env", {}))
    return {
        name: {**job, **{key: value for key, value in shared.items() if key not in job}}
        | {"env": {**env, **job.get("env", {})}}
        for name, job in tables.get("jobs", {}).items()
    }


def comment(text: str) -> str:
    """Write lines of a comment."""
    return "".join(f"# {printable(line)}".rstrip() + "\n" for line in text.split("\n"))


def job_name(text: str) -> str:
    """Make a name that a job can have from any text."""
    return _STRANGE.sub("-", text).strip("-_")[:_LONGEST].strip("-_") or "command"
