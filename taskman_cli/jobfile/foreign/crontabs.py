"""Crontabs as jobs of a job file."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.parse import CrontabNote
from taskman_cli.jobfile.crontab.source import as_text, notes_on
from taskman_cli.jobfile.crontab.suspicious import suspicious_lines, without_allowed
from taskman_cli.jobfile.crontab.tables import command_of, convert
from taskman_cli.jobfile.foreign.imported import Imported, unfactored
from taskman_cli.jobfile.problems import JobFileError, Problem
from taskman_cli.jobfile.source import LineIndex

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from taskman_cli.jobfile.crontab.parse import BadLine, Crontab
    from taskman_cli.jobfile.crontab.tables import Converted

#: How cron's behaviour, which the jobs keep, differs from taskman's defaults.
_WAYS = (
    "As under cron: a minimal environment, commands start in the home directory, runs of a job may overlap",
    "and take as long as they like, and missed runs are not caught up. Remove what you do not need.",
)
#: The same for busybox's crond and supercronic.
_BARE_WAYS = (
    "As under its own scheduler: commands inherit its environment, runs of a job do not overlap and take as",
    "long as they like, and missed runs are not caught up. Remove what you do not need.",
)
#: The most variables of all jobs together: more would make a job file of many megabytes.
_MOST_VARIABLES = 200_000


def from_crontab(
    data: bytes, crontab: Crontab, *, path: str, taken: dict[str, int], prefix: str = ""
) -> Imported:
    """Convert a crontab that has been read; `taken` receives the names of its jobs."""
    text = as_text(data)
    ways = _BARE_WAYS if crontab.dialect.is_bare else _WAYS
    imported = Imported(path, ways=ways, is_told=True)
    imported.rows = [row.row() for row in crontab.rows]
    notes = notes_on(data, crontab)
    odd, _ = without_allowed(suspicious_lines(crontab, is_run_here=False), text)
    _refuse_many_variables(crontab, path)
    converted = convert(crontab, taken=taken, prefix=prefix, accounts=None)
    imported.jobs = unfactored(converted.tables)
    imported.lines = {name: entry.line for name, entry in converted.entries.items()}
    own = "~" if os.path.isdir(os.path.expanduser("~")) else "/"  # noqa: PTH111, PTH112
    for job in imported.jobs.values():
        job["cron"] = _stated(job["cron"])
        if job.get("cwd") == "~":
            job["cwd"] = own
    places = LineIndex(path, text.replace("\r\n", "\n"))
    imported.notes = _problems(places, converted.notes)
    imported.notes += _problems(places, _homeless(crontab))
    imported.warnings = _problems(places, [*notes, *odd])
    bad_lines = sorted([*crontab.bad_lines, *converted.bad_lines], key=lambda bad: bad.line)
    imported.problems = _problems(places, bad_lines)
    imported.comments = list(_left_out(crontab, bad_lines, converted))
    return imported


def _homeless(crontab: Crontab) -> Iterator[CrontabNote]:
    """Note the home directories that do not exist: cron starts commands in / then."""
    last = crontab.entries[-1].line if crontab.entries else 0
    for line, name, value, column, _ in crontab.assignments:
        is_used = name == "HOME" and line < last and value.startswith("/")
        if is_used and not os.path.isdir(value):  # noqa: PTH112 - Path raises where it may not look
            message = f"HOME: there is no directory {quoted(value)} here: as under cron, commands start in /"
            yield CrontabNote(line, message, column, len(name), "no-such-cwd")


def _stated(expression: str) -> str:
    """Write `*/1` for the `*` of a line that runs every minute of one hour, to say that this is meant."""
    columns = expression.split(" ")
    return " ".join(["*/1", *columns[1:]]) if len(columns) == 5 and _is_rare(columns) else expression


def _is_rare(columns: Sequence[str]) -> bool:
    minute, *others = columns
    return minute == "*" and any(column.isalnum() for column in others)


def _left_out(crontab: Crontab, bad_lines: Iterable[BadLine], converted: Converted) -> Iterator[str]:
    """Yield what becomes comments only."""
    for entry in crontab.entries:
        if entry.parsed.expression is None or not command_of(entry).strip():
            yield f"Line {entry.line} runs nothing and is left out: {entry.text.strip()}"
    for bad in bad_lines:
        yield f"Line {bad.line} is left out ({bad.error}): {bad.text.strip()}"
        for entry in bad.below:
            yield f"Line {entry.line} is left out with it: {entry.text.strip()}"
    yield from crontab.comments


def _refuse_many_variables(crontab: Crontab, path: str) -> None:
    """Raise JobFileError if the entries have too many variables to repeat in a job file."""
    count = sum(len(entry.env) for entry in crontab.entries)
    if count > _MOST_VARIABLES:
        message = (
            f"its {len(crontab.entries):,} entries have {count:,} variables in all, because each gets those "
            f"above it: too many for one file; run the crontab as it is (taskman run {path})"
        )
        raise JobFileError([Problem(path, 1, 1, "", message)])


def _problems(places: LineIndex, found: Iterable[BadLine | CrontabNote]) -> list[Problem]:
    """Return the findings with their places in the text."""
    problems = []
    for item in sorted(found, key=lambda one: one.line):
        start = places.offset(item.line, item.column)
        message = item.message if hasattr(item, "message") else item.error
        problem = places.problem(start, start + item.length, message=message)
        problems.append(replace(problem, name=getattr(item, "name", "")))
    return problems
