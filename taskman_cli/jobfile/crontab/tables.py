"""From the entries of a crontab to the tables of an equivalent job file.

Cron's behaviour is expressed in keys: a minimal environment, the home directory, overlapping runs, and no
catching up on missed runs.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.escapes import has_odd_bytes, quoted, visible
from taskman_cli.core.limits import excess
from taskman_cli.core.schedule import ScheduleError, load_zone
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.env import ENV_NAME, CrontabEnvironments, Picked, is_utf8, values_of
from taskman_cli.jobfile.crontab.names import names_of
from taskman_cli.jobfile.crontab.parse import BadLine, Crontab, CrontabNote, Entry
from taskman_cli.jobfile.crontab.text import fed
from taskman_cli.launch.accounts import NoAccount, own_account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from taskman_cli.jobfile.crontab.parse import Assignment
    from taskman_cli.launch.accounts import Accounts

#: The default shell of both cron and taskman.
CRON_SHELL = "/bin/sh"

#: How the note on MAILTO begins, where nothing is mailed.
UNMAILED = "MAILTO: no mail is sent"
#: Variables whose values are in their note.
_VALUED = ("MAILTO", "CRON_TZ", "HOME")
_NOT_UTF8 = "not UTF-8, which job files must be: save the crontab as UTF-8"
#: The longest RANDOM_DELAY of cronie.
_MAX_DELAY_MIN = 24 * 60
#: Keys that go into `[defaults]` if all jobs have the same value.
_SHARED = ("jitter", "inherit_env", "overlap", "timeout", "on_missed", "user", "cwd", "shell", "timezone")


@dataclass(slots=True)
class Converted:
    """The tables, and the lines that they came from."""

    #: As the parser would return them for a job file.
    tables: dict[str, Any] = field(default_factory=dict)
    #: The line of each job.
    entries: dict[str, Entry] = field(default_factory=dict)
    #: Lines that cannot become jobs, and assignments that lines below cannot use.
    bad_lines: list[BadLine] = field(default_factory=list)
    #: Notes on the file as a whole.
    notes: list[CrontabNote] = field(default_factory=list)


def convert(
    crontab: Crontab, *, taken: dict[str, int], prefix: str = "", accounts: Accounts | None
) -> Converted:
    """Make the tables; `taken` has the names of other jobs, and receives the new ones.

    `accounts`: the users that lines can run as, if they are run here; None: they are to be written to a file.
    """
    converted = Converted(notes=_notes(crontab, is_run_here=accounts is not None))
    jobs: dict[str, dict[str, Any]] = {}
    made: list[tuple[Entry, dict[str, Any]]] = []
    environments = CrontabEnvironments(crontab)
    spoilt: dict[Assignment, tuple[str, list[Entry]]] = {}
    own = own_account() if accounts is not None else None
    own_directory = None if accounts is None else "/" if own is None else own.directory
    for entry in crontab.entries:
        command = command_of(entry)
        if entry.parsed.expression is None or not command.strip():
            continue  # the parser has noted it
        found = list(_bad_assignments(entry, environments, is_run_here=accounts is not None))
        for assignment, message in found:
            spoilt.setdefault(assignment, (message, []))[1].append(entry)
        if bad_line := _bad_line(entry, accounts):
            converted.bad_lines.append(bad_line)
        if found or bad_line:
            continue
        job = _job(entry, entry.parsed.expression, command, own_directory, crontab.dialect)
        job["env"] = environments.of(entry)
        made.append((entry, job))
    lines = [(job["command"], entry.schedule) for entry, job in made]
    for name, (entry, job) in zip(names_of(lines, taken, prefix=prefix), made, strict=True):
        jobs[name] = job
        converted.entries[name] = entry
    converted.bad_lines += [
        _bad_for(assignment, message, entries) for assignment, (message, entries) in spoilt.items()
    ]
    converted.tables = _factored(jobs, environments.differing, is_run_here=accounts is not None)
    return converted


def command_of(entry: Entry) -> str:
    """Return the command for a job, without leading spaces and the CR of a CR LF line end."""
    has_cr = entry.has_cr and entry.stdin is None
    return (entry.command.removesuffix("\r") if has_cr else entry.command).lstrip(" \t")


def stdin_of(entry: Entry) -> str | None:
    """Return the command's input, with its last newline and without the CR of a CR LF line end."""
    if entry.stdin is None:
        return None
    text = entry.stdin.removesuffix("\r") if entry.has_cr else entry.stdin
    return fed(text) or None


def _job(
    entry: Entry, expression: str, command: str, own_directory: str | None, dialect: Dialect
) -> dict[str, Any]:
    """Make the table of a job; `own_directory` is where our own commands start; None: not run here."""
    shell = entry.env.get("SHELL", CRON_SHELL)
    job = {
        "description": _writable(entry.comment),
        "cron": expression,
        "command": command,
        "stdin": stdin_of(entry),
        "timezone": entry.tz,
        "user": entry.user,
        # supercronic starts commands where it was started itself.
        "cwd": None if dialect is Dialect.SUPERCRONIC else _directory(entry, own_directory),
        "shell": shell if shell != CRON_SHELL else None,
        "jitter": _jitter(entry) if dialect is Dialect.CRONIE else None,
        "inherit_env": dialect.is_bare,
        "overlap": "skip" if dialect.is_bare else "allow",
        "timeout": "none",
        "on_missed": "skip",
    }
    return {key: value for key, value in job.items() if value not in (None, "")}


def _jitter(entry: Entry) -> str | None:
    """Return cronie's RANDOM_DELAY, in minutes; None: none, or one that cronie rejects too."""
    minutes = entry.env.get("RANDOM_DELAY", "")
    if not re.fullmatch(r"[0-9]{1,4}", minutes) or not 0 < int(minutes) <= _MAX_DELAY_MIN:
        return None
    return f"{int(minutes)}m"


def _directory(entry: Entry, own_directory: str | None) -> str | None:
    """Return the directory in which cron runs a command; None: the user's own, the default."""
    home = entry.env.get("HOME")
    if home:
        # Like cron, continue without a home directory that does not exist.
        return home if home.startswith("/") and os.path.isdir(home) else "/"  # noqa: PTH112 - Path raises where it may not look
    if entry.user is not None:
        return None
    return "~" if own_directory is None else own_directory


def _bad_assignments(
    entry: Entry, environments: CrontabEnvironments, *, is_run_here: bool
) -> Iterator[tuple[Assignment, str]]:
    """Yield the assignments above an entry that keep it from becoming a job, with the reason."""
    shell = entry.env.get("SHELL", "/")
    if not shell.startswith("/"):
        fix = "write the full path, as in SHELL=/bin/sh"
        message = f"SHELL: {quoted(shell)} is not an absolute path, and cron cannot use it either: {fix}"
        yield environments.last("SHELL", entry), message
    if entry.tz is not None:
        try:
            load_zone(entry.tz)
        except ScheduleError as error:
            yield environments.last("CRON_TZ", entry), f"CRON_TZ: {error}"
    if not is_run_here:
        for assignment in environments.not_utf8(entry):
            yield assignment, _NOT_UTF8


def _bad_for(assignment: Assignment, message: str, entries: list[Entry]) -> BadLine:
    """Report once an assignment that entries below it cannot use."""
    line, name, _, column, text = assignment
    count = "1 entry below uses it" if len(entries) == 1 else f"{len(entries):,} entries below use it"
    return BadLine(line, f"{message}; {count}", column, len(name), text, tuple(entries))


def _bad_line(entry: Entry, accounts: Accounts | None) -> BadLine | None:
    """Return why an entry by itself cannot become a job; None if it can."""
    schedule_at, user_at, command_at = entry.columns
    if accounts is None and not is_utf8(entry):
        return BadLine(entry.line, _NOT_UTF8, schedule_at + 1, len(entry.schedule), entry.text)
    if accounts is not None and entry.user is not None:
        try:
            accounts.user(entry.user)
        except NoAccount as error:
            message = f"{error}{program_hint(entry.user, '--user-crontab')}"
            return BadLine(entry.line, message, user_at + 1, len(entry.user), entry.text)
    if wrong := excess(command_of(entry)):
        message = f"{wrong}: put it into a script"
        return BadLine(entry.line, message, command_at + 1, len(entry.command), entry.text)
    return None


def program_hint(user: str, option: str) -> str:
    """Return what to do if the unknown user of a line is the command of a user's crontab; "" if not."""
    return f", but such a program: is it a user's crontab? use {option}" if shutil.which(user) else ""


def _notes(crontab: Crontab, *, is_run_here: bool) -> list[CrontabNote]:
    """Return notes on variables with a meaning in cron, or that taskman cannot set."""
    entries = crontab.entries
    last = entries[-1].line if entries else 0
    notes = []
    for name, assignment in crontab.assigned.items():
        if assignment.line > last and not crontab.dialect.is_global:
            continue
        values = values_of(name, entries) if name in _VALUED else set()
        message = _note_on(name, values, crontab.dialect, is_run_here=is_run_here)
        if message:
            notes.append(CrontabNote(assignment.line, message, assignment.column, len(name)))
    return notes


def _note_on(name: str, values: set[str], dialect: Dialect, *, is_run_here: bool) -> str:
    if name == "MAILTO" and values != {""}:
        whom = sorted(value for value in values if value)
        get = f"{', '.join(whom)} {'get' if len(whom) > 1 else 'gets'} none"
        if not is_run_here:
            return f"{UNMAILED}, so {get}: give the jobs a sink of type mail"
        fix = "set [taskman] crontab_mail = true in a job file beside it"
        return f"{UNMAILED}, so {get}: {fix}; the output is kept (taskman log JOB)"
    if name == "HOME" and (relative := sorted(value for value in values if value and value[0] != "/")):
        return f"HOME: {quoted(relative[0])} is not an absolute path: as under cron, commands start in /"
    if name == "CRON_TZ" and values != {""} and dialect is Dialect.DEBIAN:
        return "CRON_TZ: used as in cronie, as the time zone of the lines below; Debian's cron ignores it"
    if name == "LOGNAME":
        return "LOGNAME: ignored; like cron, taskman sets it to the user that a command runs as"
    if name == "RANDOM_DELAY" and dialect is not Dialect.CRONIE:
        return 'RANDOM_DELAY: ignored (only cronie has it); in a job file, write jitter = "5m"'
    if not ENV_NAME.fullmatch(name):
        return f"{quoted(name)} is not a valid variable name: ignored"
    return ""


def _factored(
    jobs: dict[str, dict[str, Any]], differing: Mapping[str, None], *, is_run_here: bool
) -> dict[str, Any]:
    """Move what all jobs share into `[defaults]`; `differing` are variables that they do not share."""
    if not jobs:
        return {}
    tables = list(jobs.values())
    defaults = {key: tables[0][key] for key in _SHARED if key in tables[0] and _is_same(tables, key)}
    env = tables[0]["env"]
    for table in tables:
        for key in defaults:
            del table[key]
        if not differing:
            del table["env"]
        elif not is_run_here:
            table["env"] = Picked(table["env"], differing)
            if not table["env"]:
                del table["env"]
    if not differing:
        defaults["env"] = env
    elif not is_run_here and (shared := [name for name in env if name not in differing]):
        defaults["env"] = Picked(env, shared)
    return {"defaults": defaults, "jobs": jobs}


def _is_same(tables: Iterable[Mapping[str, Any]], key: str) -> bool:
    values = [table.get(key) for table in tables]
    return all(value == values[0] for value in values)


def _writable(text: str) -> str:
    """Escape what is not UTF-8 or not allowed in TOML."""
    return "".join(visible(char) if char == "\0" or has_odd_bytes(char) else char for char in text)
