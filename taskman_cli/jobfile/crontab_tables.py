"""From the entries of a crontab to the tables of a job file that does the same.

What cron gives a command is said in keys: a small environment, the home directory, runs that may overlap, no
making up for what was missed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli.core.schedule import ScheduleError, load_zone
from taskman_cli.jobfile.crontab import BadLine, Crontab, Entry, Note
from taskman_cli.jobfile.crontab_names import name_of, unique
from taskman_cli.jobfile.crontab_text import fed
from taskman_cli.jobfile.crontab_users import Account, fault_of, home_of, tags_of
from taskman_cli.jobfile.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What a command of cron's finds its programs with, unless the crontab says otherwise.
CRON_PATH = "/usr/bin:/bin"
#: The shell of cron's, and of taskman's.
CRON_SHELL = "/bin/sh"

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Said once for the file where all jobs say the same.
_SHARED = ("inherit_env", "overlap", "on_missed", "cwd", "shell", "timezone", "tags")


@dataclass(slots=True)
class Converted:
    """The tables, and what they stand for."""

    #: As tomllib would make them of a job file.
    tables: dict[str, Any] = field(default_factory=dict)
    #: The line of each job.
    entries: dict[str, Entry] = field(default_factory=dict)
    #: Lines that cannot become jobs.
    bad_lines: list[BadLine] = field(default_factory=list)
    #: What becomes of the file as a whole.
    notes: list[Note] = field(default_factory=list)


def convert(
    crontab: Crontab, *, account: Account, taken: set[str], prefix: str = "", is_run_here: bool
) -> Converted:
    """Make the tables; `taken` are names of other jobs, and gets the new ones.

    `is_run_here`: they are for this process, so lines of other users are bad; else they are to be written
    down, with `~` for a home and the user in a tag.
    """
    converted = Converted(notes=_notes(crontab))
    jobs: dict[str, dict[str, Any]] = {}
    for entry in crontab.entries:
        command = command_of(entry)
        if entry.reading.expression is None or not command.strip():
            continue  # the reader has told of it
        fault = _env_fault(entry) or _fault(entry, account if is_run_here else None)
        if fault:
            converted.bad_lines.append(_bad_line(entry, fault))
            continue
        name = unique(name_of(command, prefix=prefix), taken)
        jobs[name] = _job(entry, entry.reading.expression, command, account, is_run_here=is_run_here)
        converted.entries[name] = entry
    converted.tables = _factored(jobs)
    return converted


def command_of(entry: Entry) -> str:
    """Return the command for a job: without blanks before it and the CR of a line that ends in CR LF."""
    has_cr = entry.has_cr and entry.stdin is None
    return (entry.command.removesuffix("\r") if has_cr else entry.command).lstrip(" \t")


def stdin_of(entry: Entry) -> str | None:
    """Return what the command reads: with the end of its last line, and without that CR."""
    if entry.stdin is None:
        return None
    text = entry.stdin.removesuffix("\r") if entry.has_cr else entry.stdin
    return fed(text) or None


def _job(
    entry: Entry, expression: str, command: str, account: Account, *, is_run_here: bool
) -> dict[str, Any]:
    """Make the table of one job."""
    env = {
        name: value for name, value in entry.env.items() if _ENV_NAME.fullmatch(name) and name != "LOGNAME"
    }
    env.setdefault("PATH", CRON_PATH)
    job = {
        "description": _writable(entry.comment),
        "cron": expression,
        "command": command,
        "stdin": stdin_of(entry),
        "timezone": entry.tz,
        "cwd": env.get("HOME") or _home(entry.user, account, is_run_here=is_run_here),
        "shell": env["SHELL"] if env.get("SHELL", CRON_SHELL) != CRON_SHELL else None,
        "inherit_env": False,
        "overlap": "allow",
        "on_missed": "skip",
        "tags": [] if is_run_here else tags_of(entry.user),
        "env": env,
    }
    return {key: value for key, value in job.items() if value not in (None, "", [])}


def _home(user: str | None, account: Account, *, is_run_here: bool) -> str | None:
    """Return the directory that cron runs commands of a user in; None: not known here."""
    if user is None:
        return account.home if is_run_here else "~"
    return f"~{user}" if home_of(user) else None


def _env_fault(entry: Entry) -> str:
    """Say what assignment keeps an entry from becoming a job, or nothing."""
    for name in ("SHELL", "HOME"):
        path = entry.env.get(name, "/")
        if not path.startswith("/"):
            return f"{name}={quoted(path)} above is no absolute path: cron could not use it either"
    if entry.tz is not None:
        try:
            load_zone(entry.tz)
        except ScheduleError as error:
            return f"CRON_TZ above: {error}"
    return ""


def _fault(entry: Entry, account: Account | None) -> str:
    """Say why an entry cannot become a job of this account's, or nothing; None: why it cannot be written."""
    if account is None:
        return "" if _is_utf8(entry) else "not UTF-8: a job file cannot say it; save the crontab as UTF-8"
    return fault_of(entry.user, account) if entry.user is not None else ""


def _is_utf8(entry: Entry) -> bool:
    texts = (entry.command, entry.stdin or "", *entry.env.values())
    return not any(re.search("[\ud800-\udfff]", text) for text in texts)


def _bad_line(entry: Entry, fault: str) -> BadLine:
    schedule_at, user_at, _ = entry.columns
    if entry.user is not None and "user" in fault:
        return BadLine(entry.line, fault, user_at + 1, len(entry.user), entry.text)
    return BadLine(entry.line, fault, schedule_at + 1, len(entry.schedule), entry.text)


def _notes(crontab: Crontab) -> list[Note]:
    """Tell what becomes of variables that mean something to cron or that taskman cannot set."""
    entries = crontab.entries
    notes = []
    for name, line in crontab.assigned.items():
        values = {entry.env[name] for entry in entries if name in entry.env}
        message = _note_on(name, values) if values else ""
        if message:
            notes.append(Note(line, message, length=len(name)))
    return notes


def _note_on(name: str, values: set[str]) -> str:
    if name == "MAILTO" and values != {""}:
        whom = ", ".join(sorted(value for value in values if value))
        return f"MAILTO: taskman sends no mail yet: {whom} gets none; the output is kept (taskman log JOB)"
    if name == "CRON_TZ" and values != {""}:
        return "CRON_TZ: taken as cronie has it, the zone of the lines below; Debian's cron ignores it"
    if name == "LOGNAME":
        return "LOGNAME: not taken: cron too sets it to the user that a command runs as"
    if name == "RANDOM_DELAY":
        return 'RANDOM_DELAY: not taken (cronie has it): a job file can say jitter = "5m"'
    if not _ENV_NAME.fullmatch(name):
        return f"{quoted(name)} is no name of a variable that a shell can have: not taken"
    return ""


def _factored(jobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put what all jobs say into `[defaults]`."""
    if not jobs:
        return {}
    tables = list(jobs.values())
    defaults = {key: tables[0][key] for key in _SHARED if key in tables[0] and _is_same(tables, key)}
    shared_env = _common(table["env"] for table in tables)
    for table in tables:
        for key in defaults:
            del table[key]
        own = {name: value for name, value in table["env"].items() if name not in shared_env}
        table["env"] = own
        if not own:
            del table["env"]
    if shared_env:
        defaults["env"] = shared_env
    return {"defaults": defaults, "jobs": jobs}


def _is_same(tables: Iterable[Mapping[str, Any]], key: str) -> bool:
    values = [table.get(key) for table in tables]
    return all(value == values[0] for value in values)


def _common(envs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    first, *others = envs
    return {name: value for name, value in first.items() if all(env.get(name) == value for env in others)}


def _writable(text: str) -> str:
    """Put a sign for what is not UTF-8 or cannot stand in a text."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")
