"""What is different for a command under the scheduler than in the user's shell. Pure: facts in, rows out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taskman_cli.cli.support.start_context import StartContext

#: Variables that often decide whether a command works, in the order of the report.
_TELLING = ("PATH", "HOME", "USER", "SHELL", "LANG", "LC_ALL", "TZ")
#: Set by shells themselves, or by taskman for the run.
_SHELLS_OWN = """
_ CDPATH DIRSTACK EUID FUNCNAME GROUPS HOSTNAME HOSTTYPE IFS LINENO MACHTYPE OLDPWD OPTARG OPTIND OSTYPE
PIPESTATUS PPID PS1 PS2 PS4 PWD RANDOM REPLY SECONDS SHLVL UID
"""
_EVERYWHERE = frozenset(_SHELLS_OWN.split())

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
#: Pieces of a command: a dollar in single quotes or after a backslash has no meaning to the shell.
_PLAIN = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\\'"]+""", re.S)
#: A use of a variable; with an operator such as `:-` it has a default.
_USE = re.compile(rf"\\.|\$(?:({_NAME})|\{{#?({_NAME})(?:\}}|[#%/^,:]))", re.S)
_SET = re.compile(
    rf"(?:^|[\s;&|(`])(?:({_NAME})\+?=|for\s+({_NAME})\b|(?:read|getopts\s+\S+)\s+(.*?)(?:[;\n&|<]|$))"
)


def differences(
    theirs: StartContext, mine: StartContext, env: Mapping[str, str], *, command: str | None, has_tty: bool
) -> Iterator[tuple[str, str]]:
    """Yield each difference as a name and a description; `env` is the environment that the command gets.

    `theirs` is the rest of its context, `mine` the user's. `command` is None if it runs without a shell.
    """
    for name in _TELLING:
        if env.get(name) != mine.environ.get(name):
            yield from _variable(name, env.get(name), mine.environ.get(name))
    if theirs.cwd != mine.cwd:
        yield "directory", f"{theirs.cwd} (yours: {mine.cwd})"
    if theirs.umask != mine.umask:
        yield "umask", f"{theirs.umask:04o} (yours: {mine.umask:04o})"
    for name in names_used(command or ""):
        if name not in env:
            yield f"${name}", "not set" + (" (yours is)" if name in mine.environ else ", nor in your shell")
    if has_tty:
        yield "terminal", "none"


def _variable(name: str, value: str | None, own: str | None) -> Iterator[tuple[str, str]]:
    if name != "PATH" or value is None or own is None:
        yield name, f"{_shown(value)} (yours: {_shown(own)})"
        return
    yield name, value
    there = value.split(":")
    missing = [folder for folder in dict.fromkeys(own.split(":")) if folder not in there]
    yield "", f"missing: {':'.join(missing)}" if missing else "yours has another order"


def names_used(command: str) -> list[str]:
    """Return the variables that a shell command uses, but neither sets nor gives a default.

    This does not parse the shell's grammar: here-documents, eval and nested quotes are guessed.
    """
    live = "".join(piece for piece in _PLAIN.findall(command) if piece[0] != "'")
    own = {
        name for match in _SET.finditer(live) for group in match.groups() if group for name in group.split()
    }
    found = {}
    for match in _USE.finditer(live):
        name = match[1] or match[2]
        if name and name not in own and name not in _EVERYWHERE and not _has_default(live, match):
            found[name] = True
    return list(found)


def _has_default(text: str, match: re.Match[str]) -> bool:
    """Tell if a use in braces continues with a default: `:-`, `:=`, `:+`, `:?`."""
    return match[0].endswith(":") and text[match.end() : match.end() + 1] in ("-", "=", "+", "?")


def _shown(value: str | None) -> str:
    return "not set" if value is None else value or '""'
