"""Options and warnings for crontabs, shared by the commands that read job files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.render import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from taskman_cli.jobfile.problems import Problem

#: The values of --dialect; `jobfile.crontab.dialect` has what they mean.
DIALECTS = ("debian", "cronie", "busybox", "supercronic")
#: How many further lines of a repeated warning are named.
_NAMED = 5


def crontab_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options --user-crontab, --dialect and --skip-bad."""
    command = click.option(
        "--skip-bad", is_flag=True, help="Skip the invalid lines of crontabs instead of refusing the file."
    )(command)
    command = dialect_option(command)
    return click.option(
        "--user-crontab",
        "user_crontabs",
        multiple=True,
        metavar="FILE",
        type=FileName(),
        help="A user's crontab, whose lines name no user. May be repeated.",
    )(command)


def dialect_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --dialect."""
    return click.option(
        "--dialect",
        type=OneOf(DIALECTS),
        metavar="DIALECT",
        help="Read crontabs as this program does: debian, cronie, busybox or supercronic "
        "(default: told by the place or the contents, else debian).",
    )(command)


def print_warnings(notes: Iterable[Problem]) -> None:
    """Print warnings on standard error, one per line in the format that editors understand.

    What is said of several lines of a file is one warning.
    """
    for note in merged(notes):
        say(note.warning(), err=True)


def merged(problems: Iterable[Problem]) -> list[Problem]:
    """Return the first of the problems of a file that say the same, with the lines of the others."""
    together: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        together.setdefault((problem.file, problem.name, problem.message), []).append(problem)
    return [
        replace(first, message=first.message + also(first.line, [other.line for other in others]))
        for first, *others in together.values()
    ]


def also(line: int, others: Sequence[int]) -> str:
    """Name the further lines that a message is about, at its end."""
    lines = [str(other) for other in dict.fromkeys(others) if other != line]
    if not lines:
        return ""
    named = lines[:_NAMED] if len(lines) > _NAMED + 1 else lines
    rest = f" and {len(lines) - len(named):,} more" if len(named) < len(lines) else ""
    return f" (also {'line' if len(lines) == 1 else 'lines'} {', '.join(named)}{rest})"
