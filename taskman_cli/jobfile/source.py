"""One job file as text: read, decoded, parsed, and faults placed in it."""

from __future__ import annotations

import ast
import os
import re
import stat
import tomllib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

from taskman_cli.core.lookalikes import find_look_alike
from taskman_cli.jobfile.positions import Node, find, scan
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, TreePath, dotted
from taskman_cli.trust import Trust, Untrusted

#: A longer file is none that anybody wrote: it is refused before it fills the memory.
MAX_BYTES = 64 << 20

#: Where a key can begin, at the start of a line or in an inline table, and then a lot of dots.
_MANY_PARTS = re.compile(
    r"""(?:^[ \t]*\[{0,2}|[{,])[ \t]*"""
    r"""(?:(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){200}""",
    re.MULTILINE,
)

#: More opening brackets than this one in another are a mistake, whatever Python's stack would bear.
_DEEP = 100


@dataclass(frozen=True)
class Source:
    """The text of one job file, and the tables that tomllib makes of it."""

    path: Path
    text: str
    tables: dict[str, Any]
    #: What is known to be wrong before a key is read: lines of a crontab.
    faults: tuple[Fault, ...] = ()
    #: What is worth knowing about it, wrong or not.
    notes: tuple[Problem, ...] = ()

    @cached_property
    def _lines(self) -> LineIndex:
        return LineIndex(str(self.path), self.text)

    @cached_property
    def _tree(self) -> Node:
        return scan(self.text)

    def problem(self, fault: Fault) -> Problem:
        """Place a fault, whose path starts at the top of the file, in the text."""
        start, end = find(self._tree, fault.path, at_key=fault.at_key)
        if fault.offset is not None:
            start, end = self._inside(start, end, fault.offset, fault.length)
        return self._lines.problem(start, end, key=dotted(fault.path), message=fault.message)

    def known(self, path: TreePath) -> tuple[TreePath, bool]:
        """Return as much of a path as stands in the text, and whether that is no more than a table's key."""
        node = self._tree
        for depth, part in enumerate(path):
            if part not in node.children:
                return path[:depth], bool(node.children)
            node = node.children[part]
        return path, False

    def place_of(self, path: TreePath) -> str:
        """Return `file:line` of a key, to name it in a message about another."""
        problem = self.problem(Fault(path, "", at_key=True))
        return f"{problem.file}:{problem.line}"

    def _inside(self, start: int, end: int, offset: int, length: int) -> tuple[int, int]:
        """Narrow a string's place to some of its characters, if they stand there as they are."""
        raw = self.text[start:end]
        if raw[:1] not in ("'", '"') or raw[:3] in ("'''", '"""') or (raw[0] == '"' and "\\" in raw):
            return start, end
        at = min(start + 1 + offset, end - 1)
        return at, min(at + length, end)


class LineIndex:
    """A text by line and column."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def offset(self, line: int, column: int) -> int:
        """Return where a place is, both counted from 1."""
        return self._starts[min(line, len(self._starts)) - 1] + column - 1

    def problem(self, start: int, end: int, *, key: str = "", message: str) -> Problem:
        """Make the problem of a stretch of the text; it is shown on its first line."""
        line = bisect_right(self._starts, start)
        first = self._starts[line - 1]
        last = self._starts[line] - 1 if line < len(self._starts) else len(self._text)
        return Problem(
            file=self._file,
            line=line,
            column=start - first + 1,
            key=key,
            message=message,
            source_line=self._text[first:last],
            length=max(1, min(end, last) - start),
        )


#: As for an ordinary user, and for what is not to be run here.
_UNCHECKED = Trust(is_checked=False)


def read_source(path: Path) -> Source:
    """Read and parse one file, which is not to be run; `IsADirectoryError` is the caller's."""
    return parse_source(decoded(read_bytes(path), path), path)


def decoded(data: bytes, path: Path) -> str:
    """Decode a job file, or say where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        lines = LineIndex(str(path), data.decode(errors="surrogateescape"))
        at = len(data[: error.start].decode())
        message = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise JobFileError([lines.problem(at, at + 1, message=message)]) from None


def read_bytes(path: Path, trust: Trust = _UNCHECKED) -> bytes:
    """Return what is in a file, or comes through an unnamed pipe; `IsADirectoryError` is the caller's.

    Raises JobFileError also for what somebody could change whom `trust` does not name.
    """
    try:
        # Before it is opened: to open a device may do something, and many have no end.
        fd = trust.open(path, refuse=partial(_refuse_unfit, path))
        with os.fdopen(fd, "rb") as file:  # raises IsADirectoryError
            os.set_blocking(fd, True)
            return read_open(file, path)
    except IsADirectoryError:
        raise
    except Untrusted as error:
        raise NotTrusted(path, error) from None
    except (OSError, ValueError) as error:
        # ValueError: a path that no system call takes, e.g. with a NUL in it.
        raise _unreadable(path, (getattr(error, "strerror", None) or str(error)).lower()) from None


class NotTrusted(JobFileError):
    """Say that somebody else decides what is in a file that root would run."""

    def __init__(self, path: Path, error: Untrusted) -> None:
        super().__init__([Problem(str(path), 1, 1, "", str(error))])
        #: What somebody else could change.
        self.component = error.path


def read_open(file: IO[bytes], path: Path) -> bytes:
    """Return what is in an open file, unless it is too much; `path` is for the message."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large(path)
    return data


def _refuse_unfit(path: Path, status: os.stat_result) -> None:
    """Raise JobFileError for what is no file that can be read, and read again at each reload."""
    mode = status.st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise _unreadable(path, "a device")
    # An unnamed one, as of <(...), leads to no path that is there.
    if stat.S_ISFIFO(mode) and os.path.exists(os.path.realpath(path)):  # noqa: PTH110
        raise _unreadable(path, "a named pipe: a reload could not read it again; write the jobs into a file")
    if stat.S_ISREG(mode) and status.st_size > MAX_BYTES:
        raise _too_large(path)


def _too_large(path: Path) -> JobFileError:
    return _unreadable(path, f"larger than {MAX_BYTES >> 20} MiB")


def _unreadable(path: Path, reason: str) -> JobFileError:
    return JobFileError([Problem(str(path), 1, 1, "", f"cannot be read: {reason}")])


def parse_source(text: str, path: Path) -> Source:
    """Parse the text of one file."""
    # As tomllib does by itself; here, so that positions are right.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if many := _MANY_PARTS.search(text):
        # tomllib would take hours over one of some 100,000 parts.
        problem = LineIndex(str(path), text).problem(*many.span(), message="a key of more than 200 parts")
        raise JobFileError([problem])
    try:
        return Source(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        problem = _syntax_problem(text, path, str(error))
    except RecursionError:
        at = _too_deep(text)
        problem = LineIndex(str(path), text).problem(at, at + 1, message="nested too deeply")
    except ValueError as error:
        # Python's own limit on the digits of a number; tomllib lets it through as it is.
        match = re.search(r"\d[\d_]{4000,}", text)
        start, end = match.span() if match else (0, 1)
        message = "the number has too many digits" if match else f"not a valid value: {error}"
        problem = LineIndex(str(path), text).problem(start, end, message=message)
    raise JobFileError([problem])


_AT = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)

#: What tomllib says, and what helps; in order, the first that fits.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"Invalid value", "not a valid value: put text in quotes"),
    (r"Invalid statement", "expected a key or a [table]"),
    (
        r"Invalid initial character for a key part",
        "not a valid key: put it in quotes if it is meant to be one",
    ),
    (r"Expected newline or end of document.*", "unexpected text after the value"),
    (r"Expected '=' after a key.*", "= is missing after the key"),
    (r"Expected '\]+' at the end.*", "] is missing after the table's name"),
    (r"Illegal character '\\n'", "the string must end on the same line"),
    (r"(Illegal|Found invalid) character (?P<char>.*)", "character {char} is not allowed here"),
    (r"Unterminated string|Expected .*", "the string is not closed"),
    (r"Unclosed array", "the array is not closed, or a comma is missing"),
    (r"Unclosed inline table", "the inline table is not closed on its line, or a comma is missing"),
    (r"Unescaped '\\' in a string", "a lone backslash: double it, or put the string into 'single quotes'"),
    (
        r"Cannot (?:declare|redefine namespace) (?P<path>\(.*\))(?: twice)?",
        "{path} is already defined above",
    ),
    (
        r"Cannot mutate immutable namespace (?P<path>\(.*\))",
        "{path} is already complete: nothing can be added to it here",
    ),
    (r"Cannot overwrite a value", "this is already defined above"),
    (r"Duplicate inline table key (?P<char>.*)", "key {char} is already defined"),
    (r"Invalid date or datetime", "no such date or time"),
)

#: These are raised when the whole of the thing has been read.
_AFTER = ("Cannot declare", "Cannot redefine", "Cannot mutate", "Cannot overwrite")


def _syntax_problem(text: str, path: Path, message: str) -> Problem:
    """Put an error of tomllib's into its place, and into words."""
    lines = LineIndex(str(path), text)
    match = _AT.fullmatch(message)
    what = match["what"] if match else message
    # An end that came too soon is shown after the last thing that is there.
    at = len(text.rstrip())
    if match and match["line"]:
        at = lines.offset(int(match["line"]), int(match["column"]))
    end = at + 1
    if what == "Invalid value" and text[at:].lstrip(" \t")[:1] in ("", "\n"):
        return lines.problem(at, end, message="a value is missing")
    if what.startswith(_AFTER):
        # tomllib has gone past the thing by now.
        line = text[text.rfind("\n", 0, at) + 1 : at]
        at -= len(line.lstrip())
    strange = find_look_alike(text[at : at + 1])
    message = f"{strange.name} is not allowed in TOML: {strange.fix}" if strange else _in_words(what)
    return lines.problem(at, end, message=message)


def _in_words(what: str) -> str:
    for pattern, words in _WORDS:
        match = re.fullmatch(pattern, what, re.DOTALL)
        if match:
            parts = match.groupdict()
            if "path" in parts:
                parts["path"] = dotted(ast.literal_eval(parts["path"]))
            return words.format(**parts)
    return what[:1].lower() + what[1:]


def _too_deep(text: str) -> int:
    """Return where brackets are one too many in one another; roughly, strings and comments count."""
    depth = 0
    for match in re.finditer(r"[\[\]{}]", text):
        depth += 1 if match[0] in "[{" else -1
        if depth > _DEEP:
            return match.start()
    return 0
