"""From the entries of a crontab to the tables of a job file that does the same.

What cron gives a command is said in keys: a small environment, the home directory, runs that may overlap, no
making up for what was missed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli.accounts import NoAccount, own_account
from taskman_cli.core.escapes import has_odd_bytes, visible
from taskman_cli.core.schedule import ScheduleError, load_zone
from taskman_cli.jobfile.crontab import BadLine, Crontab, Entry, Note
from taskman_cli.jobfile.crontab_names import name_of, unique
from taskman_cli.jobfile.crontab_text import fed
from taskman_cli.jobfile.problems import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.accounts import Accounts

#: What a command of cron's finds its programs with, unless the crontab says otherwise.
CRON_PATH = "/usr/bin:/bin"
#: The shell of cron's, and of taskman's.
CRON_SHELL = "/bin/sh"

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Said once for the file where all jobs say the same.
_SHARED = ("inherit_env", "overlap", "on_missed", "user", "cwd", "shell", "timezone")


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


def convert(crontab: Crontab, *, taken: set[str], prefix: str = "", accounts: Accounts | None) -> Converted:
    """Make the tables; `taken` are names of other jobs, and gets the new ones.

    `accounts`: whom lines can run as, since they are for this process; None: they are to be written down.
    """
    converted = Converted(notes=_notes(crontab))
    jobs: dict[str, dict[str, Any]] = {}
    for entry in crontab.entries:
        command = command_of(entry)
        if entry.reading.expression is None or not command.strip():
            continue  # the reader has told of it
        bad_line = _bad_line(entry, accounts)
        if bad_line is not None:
            converted.bad_lines.append(bad_line)
            continue
        name = unique(name_of(command, prefix=prefix), taken)
        jobs[name] = _job(entry, entry.reading.expression, command, is_run_here=accounts is not None)
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


def _job(entry: Entry, expression: str, command: str, *, is_run_here: bool) -> dict[str, Any]:
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
        "user": entry.user,
        "cwd": _directory(entry, env.get("HOME"), is_run_here=is_run_here),
        "shell": env["SHELL"] if env.get("SHELL", CRON_SHELL) != CRON_SHELL else None,
        "inherit_env": False,
        "overlap": "allow",
        "on_missed": "skip",
        "env": env,
    }
    return {key: value for key, value in job.items() if value not in (None, "")}


def _directory(entry: Entry, home: str | None, *, is_run_here: bool) -> str | None:
    """Return the directory that cron runs a command in; None: that of the user's without a word."""
    if home:
        # cron, too, goes on without a home that is not there.
        return home if not is_run_here or Path(home).is_dir() else "/"
    if entry.user is not None:
        return None
    if not is_run_here:
        return "~"
    own = own_account()
    return "/" if own is None else own.directory


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


def _is_utf8(entry: Entry) -> bool:
    texts = (entry.command, entry.stdin or "", *entry.env.values())
    return not any(re.search("[\ud800-\udfff]", text) for text in texts)


def _bad_line(entry: Entry, accounts: Accounts | None) -> BadLine | None:
    """Say why an entry cannot become a job, if it cannot."""
    schedule_at, user_at, _ = entry.columns
    fault = _env_fault(entry)
    if not fault and accounts is None and not _is_utf8(entry):
        fault = "not UTF-8: a job file cannot say it; save the crontab as UTF-8"
    if fault:
        return BadLine(entry.line, fault, schedule_at + 1, len(entry.schedule), entry.text)
    if accounts is not None and entry.user is not None:
        try:
            accounts.user(entry.user)
        except NoAccount as error:
            return BadLine(entry.line, str(error), user_at + 1, len(entry.user), entry.text)
    return None


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
        whom = sorted(value for value in values if value)
        get = f"{', '.join(whom)} {'get' if len(whom) > 1 else 'gets'} none"
        return f"MAILTO: taskman sends no mail yet: {get}; the output is kept (taskman log JOB)"
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
    """Write out what is not UTF-8 or cannot stand in a text."""
    return "".join(visible(char) if char == "\0" or has_odd_bytes(char) else char for char in text)
