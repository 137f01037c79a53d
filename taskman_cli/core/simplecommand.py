"""Shell commands that do no more than start one program: its words, redirections, variables and directory.

Only what every shell reads in the same way is recognised. Whether the shell can be left out depends on the
environment too: shellless.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL_WORDS = """
! . : [ [[ ]] alias autoload bg bind break builtin caller case cd chdir command compgen complete compopt
compound continue coproc declare dirs disown do done echo elif else enable enum esac eval exec exit
export false fc fg fi float for function functions getopts global hash help hist history if in integer
jobs kill let local login logout mapfile nameref namespace newgrp popd print printf pushd pwd r read
readarray readonly redirect rehash return select set shift shopt source stop suspend test then time
times trap true type typeset ulimit umask unalias unset until wait whence while { }
"""
#: Builtins and reserved words of dash, bash, ksh and busybox ash, without programs that are builtins of the
#: latter two only (cat, sleep, …): for these shells `direct_environment` returns None.
SHELL_WORDS = frozenset(_SHELL_WORDS.split())

#: Characters that are literal in every shell, anywhere in a word.
_PLAIN = r"[A-Za-z0-9_@%+:,./=-]"
# Only ASCII in quotes: shells differ on other bytes. `!` in double quotes is history expansion for some.
_SINGLE = r"'[\t\x20-\x26\x28-\x7e]*'"
_IN_DOUBLE = r"[\t\x20\x23\x25-\x5b\x5d-\x5f\x61-\x7e]*"
_QUOTABLE = re.compile(_IN_DOUBLE)
_DOUBLE = f'"{_IN_DOUBLE}"'
_PIECE = re.compile(f"{_PLAIN}+|{_SINGLE}|{_DOUBLE}")
_WORD = re.compile(f"(?:{_PLAIN}+|{_SINGLE}|{_DOUBLE})+")
_BLANKS = re.compile(r"[ \t]*")
# A command's name must not be quoted, since quotes bypass reserved words and aliases. Nor may it start with
# + or -, which `sh -c` reads as its own options, or %, which is a job.
_NAME = re.compile(r"[A-Za-z0-9_@,./][A-Za-z0-9_@%+:,./-]*")
_ASSIGNMENT = re.compile(rf"([A-Za-z_][A-Za-z0-9_]*)=((?:{_PLAIN}+|{_SINGLE}|{_DOUBLE})*)")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
#: Where the value of a variable may stand, and what it means there.
_SPECIAL = re.compile(r"""['"\\`$~]""")
#: Values that are one word as they are, and no assignment, option, number or reserved word.
_PATH = re.compile(f"/{_PLAIN}*")
#: A redirection up to its target. Shells differ on descriptors from 3 on, and on numbers of several digits.
_REDIRECTION = re.compile(r"([0-2]?)(>>|>&|<&|>|<)[ \t]*")
# Nothing may follow the repeated pieces of a word in one pattern: trying all their divisions takes for ever.
_CD = re.compile(r"[ \t]*cd[ \t]+")
_EXPORT = re.compile(r"[ \t]*export(?=[ \t])")
#: What separates them from the command. If they fail, the shell runs it all, whatever it does then.
_THEN = re.compile(r"[ \t]*(?:&&|;(?!;))")
#: What may follow a word: a blank, a redirection, or nothing.
_AFTER_A_WORD = frozenset(" \t<>")
_AFTER_AN_EXPORT = frozenset(" \t;&")
#: Where an open file depends on who opens it, or bash has files that do not exist (/dev/tcp).
_SPECIAL_DIRECTORIES = frozenset({"dev", "proc"})


@dataclass(frozen=True, slots=True)
class Redirection:
    """One redirection, as in `2>>errors`."""

    #: The descriptor of the command: 0, 1 or 2.
    number: int
    #: "<", ">", ">>", or "&" for a copy of another descriptor.
    operator: str
    #: A path, or for "&" the number of that descriptor.
    target: str


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """One program with literal arguments, and what the shell does before it starts it."""

    words: tuple[str, ...]
    #: In the order in which they are made.
    redirections: tuple[Redirection, ...] = ()
    #: Variables that are set or exported for the program, as (name, value); the last one of a name counts.
    assignments: tuple[tuple[str, str], ...] = ()
    #: The directory of a `cd DIRECTORY` before it: no `.` or `..` in it, and no slash at its end.
    directory: str | None = None
    #: Its steps are separated by `;`, but the last of them by `&&`.
    is_chained: bool = False

    @property
    def is_plain(self) -> bool:
        """Tell if there is nothing but words."""
        return not self.redirections and not self.assignments and self.directory is None


def read_simple_command(
    command: str, variables: Mapping[str, str] = MappingProxyType({})
) -> SimpleCommand | None:
    """Return what a shell command consists of; None if it is more than a simple command, or not literal.

    `variables` are those of its environment that have the same values for the shell.

    >>> read_simple_command("cd /srv && TZ=UTC report 2>&1").words
    ('report',)
    >>> read_simple_command("make && make install") is None
    True
    """
    written = _Expansion(command, variables)
    if not written.is_known:
        return None
    reader = _Reader(written.text)
    if not reader.read_steps() or not reader.read():
        return None
    if not written.names.isdisjoint(name for name, _ in reader.assignments):
        return None  # perhaps it has the new value
    return SimpleCommand(
        tuple(reader.words),
        tuple(reader.redirections),
        tuple(reader.assignments),
        reader.directory,
        reader.is_chained,
    )


class _Expansion:
    """A command with the values of variables, and of `~/`, written in their place."""

    def __init__(self, command: str, variables: Mapping[str, str]) -> None:
        self._command, self._variables = command, variables
        #: The variables that stood in it.
        self.names: set[str] = set()
        self._parts: list[str] = []
        #: False: what stands there is not known, or its value is more than one word as it is.
        self.is_known = not _SPECIAL.search(command) or self._expand()
        self.text = "".join(self._parts) or command

    def _expand(self) -> bool:
        command, done, is_quoted = self._command, 0, False
        while found := _SPECIAL.search(command, done):
            self._parts.append(command[done : found.start()])
            done, value = found.end(), found[0]
            if value == '"':
                is_quoted = not is_quoted
            elif value == "'" and not is_quoted:
                done = command.find("'", done) + 1 or len(command)
                value = command[found.start() : done]
            elif value == "$":
                name = _VARIABLE.match(command, found.start())
                if name is None or not self._add(name[1] or name[2], is_quoted=is_quoted):
                    return False
                done = name.end()
                continue
            elif value == "~" and not is_quoted and self._is_home(found.start()):
                if not self._add("HOME", is_quoted=False):
                    return False
                continue
            self._parts.append(value)
        self._parts.append(command[done:])
        return True

    def _is_home(self, place: int) -> bool:
        before, after = self._command[place - 1 : place], self._command[place + 1 : place + 2]
        return before in {"", *" \t<>;&"} and after in {"", *"/ \t;&"}

    def _add(self, name: str, *, is_quoted: bool) -> bool:
        value = self._variables.get(name)
        if value is None or not (_QUOTABLE if is_quoted else _PATH).fullmatch(value):
            return False
        self.names.add(name)
        self._parts.append(value)
        return True


class _Reader:
    """Reads the words, redirections and assignments of one command."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._position = 0
        self.directory: str | None = None
        self.is_chained = False
        self.words: list[str] = []
        self.redirections: list[Redirection] = []
        self.assignments: list[tuple[str, str]] = []

    def read_steps(self) -> bool:
        """Read each `cd DIRECTORY` and `export NAME=value` before the command; False: one is unknown."""
        has_semicolon = False
        while True:
            if entering := _CD.match(self._command, self._position):
                is_known = self._read_directory(entering.end())
            elif exporting := _EXPORT.match(self._command, self._position):
                is_known = self._read_exports(exporting.end())
            else:
                return True
            then = _THEN.match(self._command, self._position)
            if not is_known or then is None:
                return False
            self._position = then.end()
            self.is_chained = has_semicolon and then[0].endswith("&&")
            has_semicolon |= then[0].endswith(";")

    def _read_directory(self, position: int) -> bool:
        raw = _WORD.match(self._command, position)
        if raw is None or self.directory is not None:
            return False
        self.directory, self._position = _directory(_unquoted(raw[0])), raw.end()
        return self.directory is not None

    def _read_exports(self, position: int) -> bool:
        self._position = position
        self._skip_blanks()
        count = len(self.assignments)
        while raw := self._take(_ASSIGNMENT, self._position, before=_AFTER_AN_EXPORT):
            self._assign(raw)
            self._skip_blanks()
        return len(self.assignments) > count

    def read(self) -> bool:
        """Read to the end; return False if a part is unknown or there is no program."""
        self._skip_blanks()
        while self._position < len(self._command):
            begin = _REDIRECTION.match(self._command, self._position)
            if begin is not None:
                is_known = self._read_redirection(begin[1], begin[2], begin.end())
            else:
                is_known = self._read_assignment() or self._read_word()
            if not is_known:
                return False
            self._skip_blanks()
        return bool(self.words)

    def _read_redirection(self, number: str, operator: str, position: int) -> bool:
        raw = self._take(_WORD, position)
        if raw is None:
            return False
        is_input = operator.startswith("<")
        if operator.endswith("&"):
            operator, is_known = "&", raw in ("0", "1", "2")
        else:
            is_known = _is_usual(_unquoted(raw))
        self.redirections.append(Redirection(int(number or not is_input), operator, _unquoted(raw)))
        return is_known

    def _read_assignment(self) -> bool:
        if self.words:
            return False
        raw = self._take(_ASSIGNMENT, self._position)
        if raw is None:
            return False
        self._assign(raw)
        return True

    def _assign(self, raw: str) -> None:
        name, _, value = raw.partition("=")
        self.assignments.append((name, _unquoted(value)))

    def _read_word(self) -> bool:
        raw = self._take(_WORD, self._position)
        if raw is None or (not self.words and (not _NAME.fullmatch(raw) or raw in SHELL_WORDS)):
            return False
        self.words.append(_unquoted(raw))
        return True

    def _take(
        self, pattern: re.Pattern[str], position: int, before: frozenset[str] = _AFTER_A_WORD
    ) -> str | None:
        """Return what matches there, with its quotes, and go on behind it; None if it does not end there."""
        found = pattern.match(self._command, position)
        if found is None:
            return None
        after = self._command[found.end() : found.end() + 1]
        if after and (after not in before or (after in "<>" and found[0].isdecimal())):
            return None  # digits right before a redirection are the number of a descriptor
        self._position = found.end()
        return found[0]

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._command, self._position)
        assert blanks is not None
        self._position = blanks.end()


def _directory(path: str) -> str | None:
    """Return the directory that `cd` enters without a look at it, or None."""
    if path == "/":
        return path
    path = path.removesuffix("/")
    return path if is_tidy(path.removeprefix("/")) and not path.startswith("-") else None


def is_tidy(path: str) -> bool:
    """Tell whether a relative path is normalised."""
    return not {"", ".", ".."} & set(path.split("/"))


def _is_usual(path: str) -> bool:
    """Tell if a redirection to a path opens the file of that name, and nothing else."""
    if path == "/dev/null":
        return True
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/"):
        return bool(path)
    return ".." not in parts and not _SPECIAL_DIRECTORIES.intersection(parts[:1])


def _unquoted(raw: str) -> str:
    return "".join(piece[1:-1] if piece[0] in "'\"" else piece for piece in _PIECE.findall(raw))
