"""Options and warnings for crontabs, shared by the commands that read job files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.render import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from taskman_cli.jobfile.problems import Problem


def crontab_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options --user-crontab and --skip-bad."""
    command = click.option(
        "--skip-bad", is_flag=True, help="Skip the invalid lines of crontabs instead of refusing the file."
    )(command)
    return click.option(
        "--user-crontab",
        "user_crontabs",
        multiple=True,
        metavar="FILE",
        type=FileName(),
        help="A user's crontab, whose lines name no user. May be repeated.",
    )(command)


def print_warnings(notes: Iterable[Problem]) -> None:
    """Print warnings on standard error, one per line in the format that editors understand."""
    for note in notes:
        say(note.warning(), err=True)
