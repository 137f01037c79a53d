"""Bash features in commands that another shell runs: `source`, `[[ ]]`, `&>` and the like.

Such a command works in a terminal, but fails or does something else when it is scheduled.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.executors import LOCAL
from taskman_cli.insight.lint.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.model import Job, Task

#: Shells without any of these features, by the name of the real executable.
PLAIN_SHELLS = frozenset({"dash", "posh"})
#: This one has some of them.
BUSYBOX = frozenset({"busybox", "ash"})
#: Only this much of a command is checked.
_LOOKED_AT = 10_000


class Bashism(NamedTuple):
    """One such feature, with its place in the command."""

    what: str
    offset: int
    length: int
    #: What happens instead.
    instead: str
    fix: str


#: The start of a command; the feature itself is the group `it`.
_BEGIN = r"(?:^|[;&|({\n]|\b(?:if|then|else|elif|do|while|until|time)\b|!)[ \t]*"
_NO_SUCH = "there is no such command"


class _Kind(NamedTuple):
    pattern: str
    what: str
    instead: str
    fix: str
    #: busybox supports it.
    is_in_busybox: bool = False


_KINDS = (
    _Kind(
        rf"{_BEGIN}(?P<it>source)(?=[ \t])",
        "source",
        _NO_SUCH,
        'write "." instead',
        True,
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>\[\[)(?=[ \t])",
        "[[ ]]",
        _NO_SUCH,
        "write [ ], with quotes around $NAME",
        True,
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>\(\()(?!\()[^()]*\)\)",
        "(( ))",
        "it runs a command of that name",
        "write [ ]",
    ),
    _Kind(
        r"(?P<it>&>>)(?=[ \t]*[^\s&])",
        "&>>",
        "the command runs in the background, and its output is not redirected",
        "write >>FILE 2>&1",
        True,
    ),
    _Kind(
        r"(?<![<>&\d])(?P<it>>&)(?=[ \t]*[^\s\d&$_-])",
        ">&",
        "it is a syntax error",
        "write >FILE 2>&1",
        True,
    ),
    _Kind(
        r"(?P<it>&>)(?=[ \t]*[^\s&>])",
        "&>",
        "the command runs in the background, and the file is emptied",
        "write >FILE 2>&1",
        True,
    ),
    _Kind(
        r"(?P<it>\|&)",
        "|&",
        "it is a syntax error",
        "write 2>&1 |",
    ),
    _Kind(r"(?<![<$\w])(?P<it>[<>]\()", "<( )", "it is a syntax error", "write it to a file first"),
    _Kind(r"(?<!<)(?P<it><<<)(?!<)", "<<<", "it is a syntax error", "write printf '%s\\n' TEXT |"),
    _Kind(
        r"(?<![$\\{\w])(?P<it>\{[^\s{}\"'`$;:]*(?:,[^\s{}\"'`;:]*)+\})",
        "{a,b}",
        "it is taken literally",
        "write all of the words out",
    ),
    _Kind(
        r"(?<![$\\{\w])(?P<it>\{(?:-?\d+\.\.-?\d+|[A-Za-z]\.\.[A-Za-z])(?:\.\.-?\d+)?\})",
        "{1..9}",
        "it is taken literally",
        "write $(seq 1 9)",
    ),
    _Kind(rf"{_BEGIN}(?P<it>\w+\+?=\()", "an array", "it is a syntax error", "use plain variables"),
    _Kind(
        r"(?P<it>\$\{\w+\[)",
        "an array",
        "it is a bad substitution",
        "use plain variables",
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>function)(?=[ \t]+\w)",
        "function",
        _NO_SUCH,
        "write NAME() { …; }",
        True,
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>pushd|popd|dirs)(?=[\s;&|)]|$)",
        "pushd",
        _NO_SUCH,
        "write (cd DIRECTORY && …)",
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>declare|typeset|shopt|mapfile|readarray|disown|compgen)(?=[\s;&|)]|$)",
        "",
        _NO_SUCH,
        "remove it",
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>let)(?=[ \t])",
        "let",
        _NO_SUCH,
        "write NAME=$((…))",
        True,
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>set[ \t]+-[a-z]*o[ \t]+pipefail)\b",
        "set -o pipefail",
        "the shell exits here",
        "remove it",
        True,
    ),
    _Kind(
        r"(?P<it>\$\{\w+(?:/|:(?!-)[-\d ]*\d|\^|,))",
        "${NAME/…}",
        "it is a bad substitution",
        "use sed, cut or tr",
        True,
    ),
    _Kind(
        rf"{_BEGIN}(?:\[|test)[ \t][^\n;&|]*?[ \t](?P<it>==)(?=[ \t])",
        "==",
        "it is an error",
        "write =",
        True,
    ),
    _Kind(
        r"(?P<it>\$\{?RANDOM\b|(?<=\$\(\()RANDOM\b)",
        "RANDOM",
        "it is empty, or 0",
        "write $(shuf -i 0-59 -n 1), or set jitter",
        True,
    ),
    _Kind(
        rf"{_BEGIN}(?P<it>echo[ \t]+-n?en?)(?=[ \t])",
        "echo -e",
        "the -e is printed",
        "use printf",
        True,
    ),
    _Kind(
        rf"{_BEGIN}trap[ \t][^\n;&|]*[ \t](?P<it>ERR|DEBUG|RETURN)(?=[\s;&|)]|$)",
        "trap ERR",
        "there is no such signal",
        "use set -e and trap … EXIT",
    ),
    _Kind(
        r"(?P<it>\$')",
        "$'…'",
        "the $ is taken literally",
        "use printf",
    ),
)

_FOUND = tuple((re.compile(kind.pattern), kind) for kind in _KINDS)

_QUOTED = re.compile(r"""\\.|\$?'[^']*'|"(?:[^"\\]|\\.)*+"|(?<![^\s;&|(])\#[^\n]*""", re.DOTALL)


def bashisms(command: str, *, shell: str) -> Iterator[Bashism]:
    """Yield the bash features in a command that `shell` lacks; shells that are not known have none."""
    if shell not in PLAIN_SHELLS and shell not in BUSYBOX:
        return
    bare = _QUOTED.sub(_blanked, command[:_LOOKED_AT])
    found = []
    for pattern, kind in _FOUND:
        if shell in BUSYBOX and kind.is_in_busybox:
            continue
        match = pattern.search(bare)
        if match is not None:
            start, end = match.span("it")
            found.append(Bashism(kind.what or match["it"], start, end - start, kind.instead, kind.fix))
    yield from sorted(found, key=lambda one: one.offset)


#: Expansions inside double quotes that only bash understands.
_EXPANDED = re.compile(r"\\.|(\$\{\w+(?:\[|/|:[-\d ]*\d|\^|,)|\$\{?RANDOM\b\}?)|.", re.DOTALL)


def _blanked(match: re.Match[str]) -> str:
    """Blank out quoted text and comments, keeping the length."""
    text = match[0]
    if text[0] == "#":
        return " " * len(text)
    if text.startswith("$'"):
        return "$'" + "_" * (len(text) - 2)
    if text[0] == '"':
        return _EXPANDED.sub(lambda part: part[1] or "_" * len(part[0]), text)
    return "_" * len(text)


def lint_shell(job: Job, task: Task, shell: str) -> Iterator[Finding]:
    """Yield a finding for each bash feature in a command that this shell lacks."""
    if not isinstance(task.command, str) or task.execution.executor != LOCAL:
        return
    for found in bashisms(task.command, shell=shell):
        message = f"{found.what} needs bash, but {shell} runs this: {found.instead}"
        fix = f'{found.fix}, or set shell = "/bin/bash" (SHELL=/bin/bash in a crontab)'
        yield Finding(
            "not-in-sh",
            job.id,
            job.source,
            job.command_path(task.id),
            message,
            fix,
            found.offset,
            found.length,
        )
