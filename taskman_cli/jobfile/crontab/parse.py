"""From the text of a crontab to its entries; nothing here reads a file or the user database.

Lines are read as their dialect's program reads them; Debian's is verified against its own code
(tests/data/crontabs). cron ignores the whole file for one bad line; here each bad line is reported. A last
line without a newline is accepted. A NUL character, which silently ends a line in cron, is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskman_cli.core.escapes import quoted
from taskman_cli.core.variables import Assignments
from taskman_cli.jobfile.crontab.columns import BLANKS, BadText, LineSchedule, read_time
from taskman_cli.jobfile.crontab.comments import description, kept
from taskman_cli.jobfile.crontab.dialect import Dialect
from taskman_cli.jobfile.crontab.text import read_assignment, split_percent

#: cron truncates longer assignments, and ignores the whole file for a longer command.
MAX_LENGTH = 998

_TOKEN = re.compile(r"[^ \t]+")
#: cronie's option before a command.
_OPTION = re.compile(r"-n[ \t]+(?=[^ \t])")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that says what runs and when."""

    #: From 1.
    line: int
    #: As written, with single spaces between the columns.
    schedule: str
    #: The user that the line, or its file, names; None: the user who runs taskman.
    user: str | None
    #: As cron passes it to the shell: `%` resolved, spaces kept, and the CR of a line that ends in CR LF.
    command: str
    #: What follows the first `%`; None if there is none. Its last line may lack a newline.
    stdin: str | None
    #: The assignments in effect.
    env: Mapping[str, str]
    #: `CRON_TZ`, which cronie supports and Debian's cron ignores.
    tz: str | None
    parsed: LineSchedule
    #: The comment directly above, without its `#`.
    comment: str = ""
    #: Offsets of the schedule, the user and the command.
    columns: tuple[int, int, int] = (0, 0, 0)
    has_cr: bool = False
    #: The line as it stands.
    text: str = ""

    def row(self) -> dict[str, Any]:
        """Return what `taskman import --json` prints of it."""
        names = ("line", "schedule", "user", "command", "stdin", "tz")
        return {name: getattr(self, name) for name in names} | {"env": dict(self.env)}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cron rejects, and why."""

    #: From 1.
    line: int
    error: str
    #: Column, from 1, and length of the fault.
    column: int = 1
    length: int = 1
    text: str = ""
    #: For a bad assignment: the entries that depend on it.
    below: tuple[Entry, ...] = ()

    def row(self) -> dict[str, Any]:
        """Return what `taskman import --json` prints of it."""
        return {"line": self.line, "error": self.error}


class Assignment(NamedTuple):
    """A line `NAME = VALUE`."""

    line: int
    name: str
    value: str
    #: The column where it starts, from 1.
    column: int
    #: The line as it stands.
    text: str


@dataclass(frozen=True, slots=True)
class CrontabNote:
    """A note on a line that was accepted."""

    line: int
    message: str
    column: int = 1
    length: int = 1
    #: The name for `allow` comments; "" if it cannot be suppressed.
    name: str = ""


@dataclass(slots=True)
class Crontab:
    """A parsed crontab."""

    is_system: bool
    #: Its owner, if known.
    user: str | None = None
    dialect: Dialect = Dialect.DEBIAN
    #: Entries and bad lines in order.
    rows: list[Entry | BadLine] = field(default_factory=list)
    notes: list[CrontabNote] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    #: Comment lines that are not above an entry.
    comments: list[str] = field(default_factory=list)
    #: For each variable, its first assignment with a value, or else its first assignment.
    assigned: dict[str, Assignment] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        """Return the valid lines."""
        return [row for row in self.rows if isinstance(row, Entry)]

    @property
    def bad_lines(self) -> list[BadLine]:
        """Return the bad lines."""
        return [row for row in self.rows if isinstance(row, BadLine)]


def parse_crontab(text: str, *, system: bool) -> list[Entry | BadLine]:
    """Return the entries and the bad lines of a crontab; `system`: its lines name a user. Never raises."""
    return read_crontab(text, system=system).rows


def read_crontab(
    text: str, *, system: bool, user: str | None = None, dialect: Dialect = Dialect.DEBIAN
) -> Crontab:
    """Parse a crontab. Never raises.

    `user` is the owner of a crontab whose lines name no user.
    """
    reader = _Reader(Crontab(is_system=system, user=None if system else user, dialect=dialect))
    lines = text.split("\n")
    if lines[-1]:
        reader.note_open_end(len(lines))
    else:
        lines.pop()
    numbered = [*enumerate(lines, 1)] if dialect is not Dialect.BUSYBOX else [*_continued(lines)]
    if dialect.is_global:
        for number, line in numbered:
            reader.read_global(number, line)
    for number, line in numbered:
        reader.read(number, line)
    reader.end()
    return reader.crontab


def _continued(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers; as busybox does, join each that ends in a backslash with the next."""
    begun: tuple[int, str] | None = None
    for number, line in enumerate(lines, 1):
        first, text = (number, line) if begun is None else (begun[0], begun[1] + line)
        if text.endswith("\\"):
            begun = first, text[:-1]
        else:
            begun = None
            yield first, text
    if begun is not None:
        yield begun


class _Reader:
    """Reads line after line, keeping track of the assignments."""

    def __init__(self, crontab: Crontab) -> None:
        self.crontab = crontab
        self._dialect = crontab.dialect
        self._env = Assignments()
        #: Variables that have been set to a value.
        self._valued: set[str] = set()
        self._comment: list[str] = []
        self._cr_line = 0

    def note_open_end(self, line: int) -> None:
        """Note a last line without a newline."""
        if self._dialect.is_bare:
            return
        ignored = "the whole file" if self._dialect is Dialect.DEBIAN else "it"
        message = (
            f"the last line does not end in a newline: {self._dialect.program} ignores {ignored}, "
            "taskman reads it"
        )
        self.crontab.notes.append(CrontabNote(line, message))

    def read(self, number: int, text: str) -> None:
        """Read a line, passed without its newline."""
        line = text.removesuffix("\r")
        if line != text:
            self._cr_line = self._cr_line or number
        begin = len(line) - len(line.lstrip(BLANKS))
        if self._dialect is Dialect.BUSYBOX and (at := line.find("#", begin)) > begin:
            message = "busybox's crond ends the line here: a # begins a comment even in a command"
            self.crontab.notes.append(CrontabNote(number, message, at + 1))
            text = line = line[:at]
        if begin == len(line):
            self._set_comment_aside()
        elif line[begin] == "#":
            self._comment.append(line[begin:].lstrip("#").strip())
        elif assigned := self._assignment(line[begin:]):
            self._set_comment_aside()
            if not self._dialect.is_global:
                self._assign(Assignment(number, *assigned, begin + 1, line))
        elif self._dialect is Dialect.BUSYBOX and len(_TOKEN.findall(line)) < _busybox_least(line, begin):
            self._set_comment_aside()
            message = "busybox's crond ignores this line: it has fewer than six words, or is an assignment"
            self.crontab.notes.append(CrontabNote(number, message, begin + 1, len(line) - begin))
        else:
            self._line(number, line, begin, text)

    def read_global(self, number: int, text: str) -> None:
        """Read a line if it is an assignment: it holds for all lines."""
        line = text.removesuffix("\r")
        begin = len(line) - len(line.lstrip(BLANKS))
        if begin < len(line) and line[begin] != "#" and (assigned := self._assignment(line[begin:])):
            self._assign(Assignment(number, *assigned, begin + 1, line))

    def end(self) -> None:
        """Add what is known only at the end."""
        self._set_comment_aside()
        if self._cr_line:
            message = "lines end in CR LF: cron passes the CR to the command, taskman removes it"
            self.crontab.notes.insert(0, CrontabNote(self._cr_line, message))

    def _assignment(self, line: str) -> tuple[str, str] | None:
        return None if "\0" in line else read_assignment(line, self._dialect)

    def _assign(self, assignment: Assignment) -> None:
        number, name, value, column, text = assignment
        if len(text) - column >= MAX_LENGTH and self._dialect is Dialect.DEBIAN:
            message = f"longer than {MAX_LENGTH} characters: Debian's cron truncates it, taskman does not"
            self.crontab.notes.append(CrontabNote(number, message, column))
        self._env.assign(name, value)
        self.crontab.assignments.append(assignment)
        if name not in self._valued:
            self.crontab.assigned[name] = assignment
        if value:
            self._valued.add(name)

    def _line(self, number: int, line: str, begin: int, text: str) -> None:
        """Parse a line that must be an entry."""
        try:
            entry = self._entry(number, line, begin, text)
        except BadText as bad:
            error, column, length = bad.found
            self.crontab.rows.append(BadLine(number, error, column, length, text))
        else:
            self.crontab.rows.append(entry)
            self._note(entry)
        self._comment = []

    def _entry(self, number: int, line: str, begin: int, text: str) -> Entry:
        if "\0" in line:
            raise BadText("NUL characters are not allowed", line.index("\0"), 1)
        time = read_time(line, begin, self._dialect)
        rest_at = time.rest_at
        user, user_at = self.crontab.user, rest_at
        if self._dialect is Dialect.CRONIE and line[begin] == "-" and user not in (None, "root"):
            raise BadText("a - before the minute: cronie takes it from root only", begin, 1)
        if self.crontab.is_system:
            user, rest_at = _user(line, rest_at)
        elif line.startswith("*", rest_at) and not self._dialect.is_bare:
            message = (
                'a sixth time column: a crontab has five, and a command cannot begin with "*" '
                "(supercronic has years and seconds: --dialect supercronic)"
            )
            raise BadText(message, rest_at, 1)
        # Directly after the schedule, the CR is part of the schedule.
        if self._dialect is Dialect.CRONIE:
            rest_at = _without_options(line, rest_at)
        command, stdin = self._command(text[rest_at:] if rest_at < len(line) else "")
        env = self._env.so_far()
        return Entry(
            line=number,
            schedule=time.text,
            user=user,
            command=command,
            stdin=stdin,
            env=env,
            tz=env.get("CRON_TZ") or None,
            parsed=time.schedule,
            comment=self._own_comment(),
            columns=(begin, user_at, rest_at),
            has_cr=line != text,
            text=text,
        )

    def _own_comment(self) -> str:
        """Return the description of an entry, and set the rest of the comment above it aside."""
        own, others = description(self._comment)
        self.crontab.comments += others
        return own

    def _command(self, text: str) -> tuple[str, str | None]:
        """Return the command and its input."""
        if self._dialect.has_percent:
            return split_percent(text)
        return text.rstrip(BLANKS) if self._dialect is Dialect.BUSYBOX else text, None

    def _note(self, entry: Entry) -> None:
        begin, _, command_at = entry.columns
        for message in entry.parsed.notes:
            self.crontab.notes.append(CrontabNote(entry.line, message, begin + 1, len(entry.schedule)))
        rest = entry.text[command_at:].strip()
        if not rest:
            self.crontab.notes.append(
                CrontabNote(entry.line, "the command is missing: this line runs nothing")
            )
        if len(rest) > MAX_LENGTH and self._dialect is Dialect.DEBIAN:
            message = (
                f"a command longer than {MAX_LENGTH} characters: Debian's cron ignores the "
                "whole file because of it"
            )
            self.crontab.notes.append(CrontabNote(entry.line, message, command_at + 1))
        if not self.crontab.is_system and rest.split(None, 1)[:1] == ["root"]:
            message = '"root" is taken as the command: lines of a user crontab name no user'
            self.crontab.notes.append(CrontabNote(entry.line, message, command_at + 1, 4))

    def _set_comment_aside(self) -> None:
        if self._comment:
            self.crontab.comments += kept(self._comment)
            self._comment = []


def _busybox_least(line: str, begin: int) -> int:
    """Return how many words busybox's crond needs to look at a line."""
    return 2 if line[begin] == "@" else 6


def _without_options(line: str, at: int) -> int:
    """Return where the command starts after cronie's options: `-n`, no mail if it succeeds."""
    begin = at + len(line) - at - len(line[at:].lstrip(BLANKS))
    has_n = False
    while line.startswith("-", begin):
        match = _OPTION.match(line, begin)
        if match is None or has_n:
            raise BadText("an option that cronie does not have: only -n, once", begin, 2)
        has_n, begin = True, match.end()
    return begin if has_n else at


def _user(line: str, at: int) -> tuple[str, int]:
    """Read the user; return the name and where the command starts: one space further, as in cron."""
    match = _TOKEN.match(line, at)
    if match is None:
        raise BadText("the user and the command are missing: lines of a system crontab name a user", at, 1)
    name = match[0]
    if not _USER.fullmatch(name):
        message = (
            f"{quoted(name)} is not a valid user: lines of a system crontab name a user before the command "
            "(is it a user's crontab? use --user-crontab; import: --user)"
        )
        raise BadText(message, at, len(name))
    if match.end() == len(line):
        raise BadText(
            f"{quoted(name)} is all that follows the time: a user and a command are needed", at, len(name)
        )
    return name, match.end() + 1
