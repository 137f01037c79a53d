"""A crontab as a source among job files: recognising one, and placing faults in its text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from shutil import which

from taskman_cli.core.escapes import quoted
from taskman_cli.jobfile.crontab.dialect import Dialect, tell
from taskman_cli.jobfile.crontab.parse import BadLine, Crontab, CrontabNote, Entry, read_crontab
from taskman_cli.jobfile.crontab.spool import SpoolFile
from taskman_cli.jobfile.crontab.suspicious import suspicious_lines, without_allowed
from taskman_cli.jobfile.crontab.tables import command_of, convert
from taskman_cli.jobfile.foreign.kinds import leads_to_import
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, TreePath
from taskman_cli.jobfile.source import LineIndex, Source, decoded, parse_source, read_bytes
from taskman_cli.launch.accounts import Accounts, find_account
from taskman_cli.trust import Trust

#: The names that Debian's cron reads in /etc/cron.d; it ignores all others.
_NAME = re.compile(r"[A-Za-z0-9_-]+")
#: The names that cronie ignores there.
_CRONIE_SKIPS = re.compile(r"#.*|.*~|.*\.rpm(?:save|orig|new)")
_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]*")
#: Names that are certainly not crontabs.
_DIRECTORY = "cron.d"

#: The column of an entry from which a key of its job came, if not the first.
_COLUMNS: Mapping[str | int, int] = {"user": 1, "command": 2}


class Form(StrEnum):
    """The two kinds of crontab."""

    #: /etc/crontab and /etc/cron.d: each line names a user.
    SYSTEM = "system"
    #: As edited by crontab(1): lines name no user.
    USER = "user"


@dataclass(frozen=True)
class CrontabSource(Source):
    """The text of a crontab, and the tables of an equivalent job file."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    #: The `allow` comments that suppressed a note, by name and line.
    allowing: frozenset[tuple[str, int]] = frozenset()

    @cached_property
    def _places(self) -> LineIndex:
        return LineIndex(str(self.path), self.text)

    def problem(self, fault: Fault) -> Problem:
        """Return the problem for a fault of a line, or of the job made from it."""
        match fault.path:
            case ("line", int(line)):
                return self.place(line, (fault.offset or 0) + 1, fault.length, fault.message)
            case ("jobs", str(name), *keys) if name in self.entries:
                entry = self.entries[name]
                at = entry.columns[_COLUMNS.get(keys[0], 0) if keys else 0]
                if fault.offset is None:
                    return self.place(entry.line, at + 1, 1, fault.message)
                # The command lacks the backslash before a %.
                word = command_of(entry)[fault.offset : fault.offset + fault.length]
                at = max(entry.text.find(word, at + fault.offset), at)
                return self.place(entry.line, at + 1, fault.length, fault.message)
        return self.place(1, 1, 1, fault.message)

    def known(self, path: TreePath) -> tuple[TreePath, bool]:
        """Return the whole path: every key of a job made from a line has a place."""
        return path, False

    def place(self, line: int, column: int, length: int, message: str) -> Problem:
        """Return the problem for some characters of a line."""
        start = self._places.offset(line, column)
        return self._places.problem(start, start + length, message=message)


def read_any(
    path: Path,
    form: Form | None,
    *,
    taken: dict[str, int],
    accounts: Accounts,
    skip_bad: bool,
    trust: Trust,
    dialect: Dialect | None = None,
) -> Source:
    """Read a job file or a crontab; `form`: a crontab of this kind, None: guess; so with `dialect`.

    `taken` has the names of jobs, and receives those of the crontab. Raises IsADirectoryError for a directory
    and JobFileError for an unreadable file; bad lines of a crontab become faults of the source.
    """
    spooled = SpoolFile.at(path)
    data = read_bytes(path, trust) if spooled is None else spooled.read(accounts, trust)
    told = tell(path, as_text(data), dialect)
    notes = [f"{told.words}; if it is another's, use --dialect"] if told.why else []
    known = Form.USER if spooled is not None else form or form_of(path, told.dialect)
    if known is None:
        try:
            return parse_source(decoded(data, path), path)
        except JobFileError:
            if words := leads_to_import(path, data):
                raise JobFileError([Problem(str(path), 1, 1, "", words)]) from None
            known = None if path.suffix == ".toml" else guess(as_text(data), told.dialect)
            if known is None:
                raise
            if told.dialect.has_users:
                fix = "; use --user-crontab if it is a user crontab" if known is Form.SYSTEM else ""
                notes.insert(0, f"read as a {known} crontab: {why(known)}{fix}")
    return _source(
        data,
        path,
        known,
        taken,
        accounts,
        skip_bad=skip_bad,
        remarks=notes,
        user=None if spooled is None else spooled.user,
        dialect=told.dialect,
    )


def as_text(data: bytes) -> str:
    """Decode a crontab; bytes that are not UTF-8 are kept, as cron accepts them."""
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def notes_on(data: bytes, crontab: Crontab) -> list[CrontabNote]:
    """Return the notes on a crontab and its encoding."""
    if not data.startswith(codecs.BOM_UTF8):
        return crontab.notes
    message = "begins with a byte order mark: cron reads it as part of the line, taskman ignores it"
    return [CrontabNote(1, message), *crontab.notes]


def _source(
    data: bytes,
    path: Path,
    form: Form,
    taken: dict[str, int],
    accounts: Accounts,
    *,
    skip_bad: bool,
    remarks: Sequence[str],
    user: str | None,
    dialect: Dialect,
) -> CrontabSource:
    text = as_text(data)
    crontab = read_crontab(text, system=form is Form.SYSTEM, user=user, dialect=dialect)
    if remarks and form is Form.USER and (words := doubt(crontab)):
        remarks = [*remarks, f"{words}: convert it with taskman import --system"]
    converted = convert(crontab, taken=taken, prefix=prefix_of(path, user), accounts=accounts)
    text = text.replace("\r\n", "\n")
    source = CrontabSource(path, text, converted.tables, entries=converted.entries)
    bad_lines = sorted([*crontab.bad_lines, *converted.bad_lines], key=lambda bad: bad.line)
    notes = [replace(source.place(1, 1, 1, remark), is_info=True) for remark in remarks]
    odd, used = without_allowed(suspicious_lines(crontab, is_run_here=accounts.is_run_here), text)
    notes += [
        replace(source.place(note.line, note.column, note.length, note.message), name=note.name)
        for note in (*notes_on(data, crontab), *converted.notes, *odd)
    ]
    if skip_bad:
        for bad in bad_lines:
            notes.append(source.place(bad.line, bad.column, bad.length, f"left out: {bad.error}"))
    faults = () if skip_bad else tuple(map(_fault, bad_lines))
    notes.sort(key=lambda problem: problem.line)
    return CrontabSource(
        path, text, converted.tables, faults, tuple(notes), converted.entries, frozenset(used)
    )


def _fault(bad: BadLine) -> Fault:
    return Fault(("line", bad.line), bad.error, offset=bad.column - 1, length=bad.length)


def prefix_of(path: Path, user: str | None) -> str:
    """Return what the names of a crontab's jobs begin with.

    So a job added by one user or package does not rename those of another.
    """
    return user or (path.name if path.absolute().parent.name == _DIRECTORY else "")


def form_of(path: Path, dialect: Dialect) -> Form | None:
    """Return the kind of crontab that a file must be by its path or dialect; None: it may be anything."""
    if SpoolFile.at(path) is not None:
        return Form.USER
    directory = path.absolute().parent
    is_system = directory.name == _DIRECTORY or (path.name == "crontab" and directory.name == "etc")
    if not is_system or path.suffix == ".toml":
        return None
    return Form.SYSTEM if dialect.has_users else Form.USER


def guess(text: str, dialect: Dialect) -> Form | None:
    """Guess the kind of crontab of a text; None: it does not look like one.

    It is a system crontab if "root" is among its users, or if all are users of this machine and none of
    them is also a command, as `backup` and `mail` are; unless more lines would be bad than name such a user.
    """
    for tried in dict.fromkeys((dialect, Dialect.CRONIE, Dialect.SUPERCRONIC)):
        user = read_crontab(text, system=False, dialect=tried)
        if len(user.entries) >= max(1, len(user.bad_lines)):
            break
    else:
        return None
    if not tried.has_users:
        return Form.USER
    system = read_crontab(text, system=True, dialect=tried)
    users = [entry.user for entry in system.entries if entry.user]
    sure = [name for name in users if name == "root" or (find_account(name) and which(name) is None)]
    names_users = "root" in sure or (bool(users) and len(sure) == len(users))
    is_system = names_users and len(system.bad_lines) - len(user.bad_lines) < len(sure)
    return Form.SYSTEM if is_system else Form.USER


def doubt(crontab: Crontab) -> str:
    """Say that the commands of a user crontab seem to begin with users that are unknown here; else ""."""
    words = [command_of(entry).split(None, 2)[:2] for entry in crontab.entries]
    firsts = {pair[0] for pair in words if pair}
    if not words or len(firsts) != 1 or any(len(pair) < 2 for pair in words):
        return ""
    (first,) = firsts
    if not _USER_NAME.fullmatch(first) or which(first) or not all(_is_program(pair[1]) for pair in words):
        return ""
    return f"every command begins with {quoted(first)}, which is no program here; if that is a user"


def _is_program(word: str) -> bool:
    return word.startswith("/") or which(word) is not None


def why(form: Form) -> str:
    """Explain a guess."""
    if form is Form.SYSTEM:
        return "users of this machine precede the commands"
    return "no users of this machine precede the commands"


def crontabs_in(directory: Path, dialect: Dialect | None) -> tuple[list[Path], list[Path]]:
    """Return the crontabs of a directory such as /etc/cron.d, and the files that cron ignores there.

    In a directory of another name, only files that look like system crontabs count.
    """
    files = sorted(path for path in directory.iterdir() if path.name[0] != "." and path.is_file())
    if directory.absolute().name != _DIRECTORY:
        files = [path for path in files if _looks_like_one(path, dialect)]
    if dialect is Dialect.CRONIE:
        fit = [path for path in files if not _CRONIE_SKIPS.fullmatch(path.name)]
    elif dialect is Dialect.SUPERCRONIC:
        fit = files
    else:
        fit = [path for path in files if _NAME.fullmatch(path.name)]
    return fit, [path for path in files if path not in fit]


def _looks_like_one(path: Path, dialect: Dialect | None) -> bool:
    try:
        text = as_text(read_bytes(path))
    except JobFileError:
        return False
    told = tell(path, text, dialect).dialect
    return guess(text, told) is (Form.SYSTEM if told.has_users else Form.USER)
