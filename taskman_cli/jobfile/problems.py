"""Problems of job files, and how they are shown.

A `Fault` has a place in the tree of keys, a `Problem` a place in the text. Readers of values know only the
former; the latter is computed once something is wrong. Nothing here reads a file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from taskman_cli.core.escapes import printable, quoted
from taskman_cli.errors import EXIT_USAGE, TaskmanError

#: Keys from the top of the file, and indexes of arrays.
TreePath = tuple[str | int, ...]

#: A source line is shown up to this many characters; a longer one is cut around the caret.
_SHOWN_LINE = 160
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake at a place in the tree of keys."""

    #: Relative to the reader's value; each enclosing reader prepends its own key.
    path: TreePath
    message: str
    #: The key itself is at fault, not its value.
    at_key: bool = False
    #: Where in a string value, from 0, and for how many characters; None: all of it.
    offset: int | None = None
    length: int = 1


class Rejected(Exception):
    """Carries the faults of a value out of its reader."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults

    def under(self, *path: str | int) -> Iterator[Fault]:
        """Return the faults with `path` prepended to their paths."""
        return prefixed(self.faults, *path)


def prefixed(faults: Iterable[Fault], *path: str | int) -> Iterator[Fault]:
    """Return the faults with `path` prepended to their paths."""
    return (replace(fault, path=(*path, *fault.path)) for fault in faults)


def reject(message: str) -> Rejected:
    """Return the error for a value that is wrong as a whole."""
    return Rejected(Fault((), message))


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a job file, at its place in the text."""

    file: str
    #: Both from 1; 1 if the file could not be read.
    line: int
    column: int
    #: As it would be written in TOML, e.g. `jobs.backup.retry.max`; "" for the file as a whole.
    key: str
    message: str
    #: The whole line without its newline; None if the file could not be read.
    source_line: str | None = None
    #: How many characters of the line are at fault.
    length: int = 1
    #: Worth knowing, but nothing has to be fixed.
    is_info: bool = False
    #: The name of a warning, which an `allow` comment can use; "" if there is none.
    name: str = ""

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the message after its place, the numbered source line and the carets."""
        headline = self.headline()
        if self.source_line is None:
            return headline
        before, marked, after = self._window()
        # Tabs are kept, so that the carets align whatever the width of a tab.
        pad = "".join("\t" if char == "\t" else " " * _cells(char) for char in before)
        carets = "^" * max(1, sum(map(_cells, marked)))
        number = f"{self.line:5}"
        return f"{headline}\n{number} | {before}{marked}{after}\n{' ' * len(number)} | {pad}{carets}"

    def headline(self) -> str:
        """Return the message after its place, on one line."""
        where = self.file if self.source_line is None else f"{self.file}:{self.line}:{self.column}"
        return printable(": ".join(part for part in (where, self.key, self.message) if part))

    def warning(self) -> str:
        """Return the message on one line, as a warning or info."""
        where = self.file if self.source_line is None else f"{self.file}:{self.line}:{self.column}"
        name = f" [{self.name}]" if self.name else ""
        return printable(f"{where}: {'info' if self.is_info else 'warning'}: {self.message}{name}")

    def _window(self) -> tuple[str, str, str]:
        """Split the source line into the part before the fault, the fault and the rest, all printable."""
        line, start = self.source_line or "", self.column - 1
        end = min(start + self.length, len(line), start + _SHOWN_LINE)
        first = 0 if len(line) <= _SHOWN_LINE else max(0, start - _SHOWN_LINE // 2)
        last = max(end, first + _SHOWN_LINE)
        before = ("…" if first else "") + line[first:start]
        after = line[end:last] + ("…" if last < len(line) else "")
        return (
            printable(before, kept="\t"),
            printable(line[start:end], kept="\t"),
            printable(after, kept="\t"),
        )


class JobFileError(TaskmanError):
    """Reports all problems of the job files together."""

    exit_code = EXIT_USAGE

    def __init__(self, problems: Iterable[Problem], *, jobs: int = 0) -> None:
        self.problems = tuple(problems)
        #: How many jobs are valid.
        self.jobs = jobs
        super().__init__("\n".join(map(str, self.problems)))

    def render(self) -> str:
        """Return the problems alone, so that editors can jump to `file:line:column`."""
        return str(self)


def dotted(path: TreePath) -> str:
    """Write a path as TOML would, with indexes in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else quoted(part))
    return text


def _cells(char: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
