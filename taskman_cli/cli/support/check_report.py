"""What `taskman check` prints of errors and warnings: root causes first, in colour, and their number last."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.crontabs import also
from taskman_cli.cli.render import say
from taskman_cli.core.escapes import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taskman_cli.jobfile import Problem

#: From this many errors with one cause on, only the first is shown in full.
_SAME = 3
#: Tables that other tables depend on.
_GENERAL = ("taskman", "pool", "defaults")
_DEFINED = re.compile(r"already defined in (?P<file>.*?):\d+(?::\d+)?", re.DOTALL)
_COLOURS = {"warning:": "magenta", "info:": "cyan"}


def show_errors(problems: Sequence[Problem]) -> None:
    """Print errors on standard error, each cause once and the general ones first; at the end their number."""
    say_coloured(problem.render() for problem in by_cause(problems))
    say_number(errors=problems)


def by_cause(problems: Sequence[Problem]) -> list[Problem]:
    """Return one problem for each cause, those of whole files and of general tables first."""
    together: dict[tuple[str, ...], list[Problem]] = {}
    for number, problem in enumerate(problems):
        together.setdefault(_cause(problem) or (str(number),), []).append(problem)
    found: list[Problem] = []
    for group in together.values():
        if len(group) < _SAME:
            found += group
        else:
            found.append(replace(group[0], message=group[0].message + _others(group)))
    return sorted(found, key=_rank)


def _cause(problem: Problem) -> tuple[str, ...]:
    """Return what problems with the same cause have in common; (): it has a cause of its own."""
    if defined := _DEFINED.fullmatch(problem.message):
        return "defined", problem.file, defined["file"]
    if problem.source_line is None:  # a file that cannot be read
        return ("file", problem.message)
    value = problem.source_line[problem.column - 1 :][: problem.length]
    return ("value", problem.file, problem.message, value) if len(value) > 1 else ()


def _others(group: Sequence[Problem]) -> str:
    """Name the further places of a cause, at the end of a message."""
    first, *others = group
    if _DEFINED.fullmatch(first.message):
        return f", and so are {len(others):,} more jobs of this file: leave out one of the two"
    if first.source_line is None:
        return f" (also {len(others):,} more files)"
    return also(first.line, [other.line for other in others])


def _rank(problem: Problem) -> int:
    """Return 0 for a problem of a whole file, 1 for one of a general table, and 2 for the others."""
    if problem.source_line is None or not problem.key:
        return 0
    return 1 if re.split(r"[.\[]", problem.key)[0] in _GENERAL else 2


def say_number(*, errors: Sequence[Problem] = (), warnings: Sequence[Problem] = ()) -> None:
    """Print as the last line how many errors and warnings there are, in how many files; nothing if none."""
    told = [
        f"{len(problems):,} {what}{'s' if len(problems) > 1 else ''}"
        for problems, what in ((errors, "error"), (warnings, "warning"))
        if problems
    ]
    if told:
        files = len({problem.file for problem in (*errors, *warnings)})
        sys.stdout.flush()
        say(f"found {' and '.join(told)} in {files:,} file{'s' if files > 1 else ''}", err=True)


def say_coloured(texts: Iterable[str]) -> None:
    """Print problems on standard error; on a terminal, the place is bold and the marks have a colour."""
    is_colourful = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for text in texts:
        shown = printable(text, kept="\n\t")
        click.echo(_coloured(shown) if is_colourful else shown, err=True, color=is_colourful)


_PLACE = re.compile(r"(?P<place>.*?:\d+:\d+: |)(?P<severity>(?:[\w.\"\[\]-]+: )?(?:warning|info): |)")


def _coloured(text: str) -> str:
    headline, *source = text.split("\n")
    found = _PLACE.match(headline)
    place, severity = (found["place"], found["severity"]) if found else ("", "")
    word = "warning:" if "warning:" in severity else "info:" if "info:" in severity else ""
    colour = _COLOURS.get(word, "red")
    shown = click.style(place, bold=True) if place else ""
    rest = headline[len(place) :]
    if word:
        rest = rest.replace(word, click.style(word, fg=colour), 1)
    lines = [shown + rest, *source[:-1]]
    if source:
        gap, marks = source[-1][: len(source[-1].rstrip("^"))], source[-1].lstrip(" |\t")
        lines.append(gap + click.style(marks, fg=colour))
    return "\n".join(lines)
