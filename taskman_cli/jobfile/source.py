"""One job file as text: reading, decoding and parsing it, and placing faults in it."""

from __future__ import annotations

import ast
import marshal
import os
import re
import stat
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import tomli

from taskman_cli.core.lookalikes import find_look_alike
from taskman_cli.jobfile.positions import Node, deepest, find, scan, unclosed
from taskman_cli.jobfile.problems import Fault, JobFileError, Problem, TreePath, dotted
from taskman_cli.trust import Trust, Untrusted

#: Larger files are rejected before they fill the memory.
MAX_BYTES = 64 << 20

#: A key with a very large number of dots, at the start of a line or in an inline table.
_MANY_PARTS = re.compile(
    r"""(?:^[ \t]*\[{0,2}|[{,])[ \t]*"""
    r"""(?:(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){200}""",
    re.MULTILINE,
)

#: Also where several programs made line ends those of Windows. A run of `\r` without `\n` is looked at once.
_LINE_END = re.compile(r"(?<!\r)\r+\n")

#: Deeper nesting is a mistake, even if Python's stack could hold it.
_DEEP = 100
_TOO_DEEP = "nested too deeply"


@dataclass(frozen=True)
class Source:
    """The text of one job file, and the tables that it holds."""

    path: Path
    text: str
    tables: dict[str, Any]
    #: Faults that are known before any key is read: bad lines of a crontab.
    faults: tuple[Fault, ...] = ()
    #: Notes on the file.
    notes: tuple[Problem, ...] = ()

    @cached_property
    def _lines(self) -> LineIndex:
        return LineIndex(str(self.path), self.text)

    @cached_property
    def _tree(self) -> Node:
        return scan(self.text)

    def problem(self, fault: Fault) -> Problem:
        """Return the problem for a fault whose path starts at the top of the file."""
        start, end = find(self._tree, fault.path, at_key=fault.at_key)
        if fault.offset is not None:
            start, end = self._inside(start, end, fault.offset, fault.length)
        return self._lines.problem(start, end, key=dotted(fault.path), message=fault.message)

    def known(self, path: TreePath) -> tuple[TreePath, bool]:
        """Return as much of a path as is in the text, and whether that is a table."""
        node = self._tree
        for depth, part in enumerate(path):
            if part not in node.children:
                return path[:depth], bool(node.children)
            node = node.children[part]
        return path, False

    def place_of(self, path: TreePath) -> str:
        """Return `file:line` of a key, for a message about another one."""
        problem = self.problem(Fault(path, "", at_key=True))
        return f"{problem.file}:{problem.line}"

    def _inside(self, start: int, end: int, offset: int, length: int) -> tuple[int, int]:
        """Narrow the span of a string to some of its characters, unless escapes shift them."""
        raw = self.text[start:end]
        if raw[:1] not in ("'", '"') or raw[:3] in ("'''", '"""') or (raw[0] == '"' and "\\" in raw):
            return start, end
        at = min(start + 1 + offset, end - 1)
        return at, min(at + length, end)


class LineIndex:
    """Converts between offsets and lines of a text."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and column, both counted from 1."""
        return self._starts[min(line, len(self._starts)) - 1] + column - 1

    def line(self, at: int) -> int:
        """Return the line of an offset, counted from 1."""
        return bisect_right(self._starts, at)

    def problem(self, start: int, end: int, *, key: str = "", message: str) -> Problem:
        """Return the problem for a span of the text; its first line is shown."""
        line = self.line(start)
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


#: As for an ordinary user, and for files that are not run here.
_UNCHECKED = Trust(is_checked=False)


def read_source(path: Path) -> Source:
    """Read and parse a file that is not run here; `IsADirectoryError` is left to the caller."""
    return parse_source(decoded(read_bytes(path), path), path)


def decoded(data: bytes, path: Path) -> str:
    """Decode a job file, or raise JobFileError at the first byte that is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        lines = LineIndex(str(path), data.decode(errors="surrogateescape"))
        at = len(data[: error.start].decode())
        message = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise JobFileError([lines.problem(at, at + 1, message=message)]) from None


def read_bytes(path: Path, trust: Trust = _UNCHECKED) -> bytes:
    """Return the contents of a file or an unnamed pipe; `IsADirectoryError` is left to the caller.

    Raises JobFileError also for a file that somebody outside `trust` could change.
    """
    try:
        # Before it is opened: opening a device may have effects, and reading many never ends.
        fd = trust.open(path, refuse=partial(_refuse_unfit, path))
        with os.fdopen(fd, "rb") as file:  # raises IsADirectoryError
            os.set_blocking(fd, True)
            return read_open(file, path)
    except IsADirectoryError:
        raise
    except Untrusted as error:
        raise NotTrusted(path, error) from None
    except (OSError, ValueError) as error:
        # ValueError: an invalid path, e.g. with a NUL in it.
        raise _unreadable(path, (getattr(error, "strerror", None) or str(error)).lower()) from None


class NotTrusted(JobFileError):
    """Another user could change a file that root would run."""

    def __init__(self, path: Path, error: Untrusted) -> None:
        super().__init__([Problem(str(path), 1, 1, "", str(error))])
        #: The path that another user could change.
        self.component = error.path


def read_open(file: IO[bytes], path: Path) -> bytes:
    """Return the contents of an open file unless it is too large; `path` is for the message."""
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _too_large(path)
    return data


def _refuse_unfit(path: Path, status: os.stat_result) -> None:
    """Raise JobFileError unless a file can be read now and again at each reload."""
    mode = status.st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise _unreadable(path, "a device")
    # An unnamed pipe, as of <(...), has no path in the file system.
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
    # As the parser does with what is left of it; done here so that positions are right.
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    try:
        tables = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        problem = _syntax_problem(text, path, error)
    except RecursionError:
        problem = _recursion_problem(text, path)
    except ValueError as error:
        # Python's limit on the digits of a number, which the parser passes on.
        match = re.search(r"\d[\d_]{4000,}", text)
        start, end = match.span() if match else (0, 1)
        message = "the number has too many digits" if match else f"not a valid value: {error}"
        problem = LineIndex(str(path), text).problem(start, end, message=message)
    else:
        if not _is_deep(tables):
            return Source(path, text, _compacted(tables))
        problem = LineIndex(str(path), text).problem(*deepest(text, _DEEP), message=_TOO_DEEP)
    raise JobFileError([problem])


def _is_deep(tables: dict[str, Any]) -> bool:
    """Tell whether tables and arrays are nested more deeply than functions that call themselves may be."""
    level: list[Any] = [tables]
    for _ in range(_DEEP):
        level = [
            item
            for one in level
            for item in (one.values() if type(one) is dict else one)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def _compacted(tables: dict[str, Any]) -> dict[str, Any]:
    """Return the tables in memory of their own, and empty the given ones.

    The parser leaves them among all that it has freed, and that is not given back as long as the names and
    commands of jobs are there: with 100,000 jobs, two thirds of what these need themselves.
    """
    try:
        whole = marshal.dumps(tables)
    except ValueError:  # a date or time, which it does not know
        return tables
    tables.clear()
    compacted: dict[str, Any] = marshal.loads(whole)  # noqa: S302 - what was written above
    return compacted


_NO_KEY = "Invalid initial character for a key part"

#: Messages of the parser and clearer ones; the first match counts.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"Invalid value", "not a valid value: put text in quotes"),
    (r"Invalid statement", "expected a key or a [table]"),
    (_NO_KEY, "not a valid key: put it in quotes if it is meant to be one"),
    (r"Expected newline or end of document.*", "unexpected text after the value"),
    (r"Expected '=' after a key.*", "= is missing after the key"),
    (r"Expected '\]+' at the end.*", "] is missing after the table's name"),
    (r"Illegal character '\\n'", "the string must end on the same line"),
    (r"(Illegal|Found invalid) character (?P<char>.*)", "character {char} is not allowed here"),
    (r"Unterminated string|Expected .*", "the string is not closed"),
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

#: Errors that the parser raises only after the offending item.
_AFTER = ("Cannot declare", "Cannot redefine", "Cannot mutate", "Cannot overwrite")


def _syntax_problem(text: str, path: Path, error: tomli.TOMLDecodeError) -> Problem:
    """Return the problem for an error of the parser, with its place and in clearer words."""
    lines = LineIndex(str(path), text)
    what = error.msg
    # An unexpected end is shown after the last item.
    at = error.pos if error.pos < len(text) else len(text.rstrip())
    end = at + 1
    if strange := find_look_alike(text[at:end]):
        return lines.problem(at, end, message=f"{strange.name} is not allowed in TOML: {strange.fix}")
    if what == "Invalid value" and text[at:].lstrip(" \t")[:1] in ("", "\n"):
        return lines.problem(at, end, message="a value is missing")
    if what.startswith("Unclosed") or (what == _NO_KEY and _is_table_left_open(text, error.pos)):
        return _unclosed_problem(text, error.pos, lines)
    if what.startswith(_AFTER):
        # The parser is past the item by now.
        line = text[text.rfind("\n", 0, at) + 1 : at]
        at -= len(line.lstrip())
    return lines.problem(at, end, message=_in_words(what))


def _is_table_left_open(text: str, at: int) -> bool:
    """Tell whether there is no key because an inline table was to end before: at a header, or at the end."""
    before = text[:at].rstrip()
    if at >= len(text):
        return before.endswith(("{", ","))
    return text[at] == "[" and "\n" in text[len(before) : at]


def _unclosed_problem(text: str, at: int, lines: LineIndex) -> Problem:
    """Return the problem of an array or inline table that is not closed, as the parser finds out at `at`."""
    opens, last = unclosed(text[:at])
    if "\n" in text[last:at] or at >= len(text):
        at = last  # what comes next is right
    what = "array" if text[opens] == "[" else "inline table"
    begun, shown = lines.line(opens), lines.line(at)
    where = "" if begun == shown else f" that begins in line {begun}"
    return lines.problem(at, at + 1, message=f"the {what}{where} is not closed, or a comma is missing")


def _in_words(what: str) -> str:
    for pattern, words in _WORDS:
        match = re.fullmatch(pattern, what, re.DOTALL)
        if match:
            parts = match.groupdict()
            if "path" in parts:
                parts["path"] = dotted(ast.literal_eval(parts["path"]))
            return words.format(**parts)
    return what[:1].lower() + what[1:]


def _recursion_problem(text: str, path: Path) -> Problem:
    """Return the problem for what is too deep for the parser, roughly: strings and comments count too."""
    lines = LineIndex(str(path), text)
    if many := _MANY_PARTS.search(text):
        return lines.problem(*many.span(), message="a key of more than 200 parts")
    depth = at = 0
    for match in re.finditer(r"[\[\]{}]", text):
        depth += 1 if match[0] in "[{" else -1
        if depth > _DEEP:
            at = match.start()
            break
    return lines.problem(at, at + 1, message=_TOO_DEEP)
