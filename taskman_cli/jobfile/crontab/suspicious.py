"""Likely mistakes in crontabs: named notes, which an `allow` comment suppresses.

`# taskman: allow NAME` goes on the line above, as in a job file; see `without_allowed`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.parse import CrontabNote
from taskman_cli.jobfile.crontab.text import bare_percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taskman_cli.jobfile.crontab.parse import Assignment, Crontab, Entry

_ALLOW = re.compile(r"[ \t]*#[ \t]*taskman:[ \t]*allow[ \t]+(?P<names>[^#]*)")
_NAME = re.compile(r"[^\s,]+")
#: What a shell would expand.
_EXPANDED = re.compile(r"\$\{?[A-Za-z_]\w*\}?|\$\(|`|(?:^|(?<=:))~(?=/|$|:)")


def suspicious_lines(crontab: Crontab, *, is_run_here: bool) -> Iterator[CrontabNote]:
    """Yield likely mistakes; `is_run_here`: also what is missing on this machine."""
    if crontab.dialect.has_percent:
        for entry in crontab.entries:
            yield from _percent(entry)
    last = crontab.entries[-1].line if crontab.entries else 0
    missing: dict[str, bool] = {}
    for assignment in crontab.assignments:
        if assignment.line < last:  # later ones have no effect
            yield from _assigned(assignment, missing if is_run_here else None)


def _percent(entry: Entry) -> Iterator[CrontabNote]:
    """Find the `%` that ends a command."""
    command_at = entry.columns[2]
    at = bare_percent(entry.text[command_at:])
    if at is None:
        return
    command = entry.command.strip()
    if not command:
        message = "there is no command before the %, which starts the standard input: this line runs nothing"
    else:
        ends = f"the command ends at the %: {quoted(command)}"
        rest = "the rest is its standard input" if entry.stdin else "its standard input is empty"
        message = f"{ends}; {rest}"
    yield CrontabNote(
        entry.line,
        f"{message}; to use a % in the command, write \\%",
        command_at + at + 1,
        name="bare-percent",
    )


def _assigned(assignment: Assignment, missing: dict[str, bool] | None) -> Iterator[CrontabNote]:
    """Find values that do not do what they seem to do; `missing` caches which shells are missing."""
    line, name, value, column, _ = assignment
    length = len(name)
    if match := _EXPANDED.search(value):
        if match[0] != "~" or name == "PATH":
            message = (
                f"{name}: variables are not expanded here: {quoted(match[0])} is kept as it "
                "is; write out the value"
            )
            yield CrontabNote(line, message, column, length, name="unexpanded")
    elif name == "TZ" and value:
        message = (
            "TZ: only affects commands, not the schedules: to move those below, write "
            f"CRON_TZ={value} (in taskman and cronie)"
        )
        yield CrontabNote(line, message, column, length, name="idle-tz")
    elif name == "SHELL" and missing is not None and value.startswith("/"):
        if value not in missing:
            missing[value] = not Path(value).is_file()
        if missing[value]:
            message = (
                f"SHELL: there is no {quoted(value)}, so no command below can run: use a "
                "shell such as /bin/sh"
            )
            yield CrontabNote(line, message, column, length, name="no-such-shell")


def without_allowed(
    notes: Iterable[CrontabNote], text: str
) -> tuple[list[CrontabNote], set[tuple[str, int]]]:
    """Return the notes that no comment suppresses, and the comments that suppress others."""
    notes = list(notes)
    names: dict[int, Collection[str]] = {}
    if any(note.name for note in notes) and "taskman:" in text:
        for number, line in enumerate(text.split("\n"), 1):
            if match := _ALLOW.match(line):
                names[number] = frozenset(_NAME.findall(match["names"]))
    kept, used = [], set()
    for note in notes:
        if note.name and note.name in names.get(note.line - 1, ()):
            used.add((note.name, note.line - 1))
        else:
            kept.append(note)
    return kept, used
