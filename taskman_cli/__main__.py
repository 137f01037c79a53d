"""The way in: the console script `taskman` and `python -m taskman_cli`.

Runs one command and turns whatever ends it into an exit code and a line on standard error. No command
lives here, and nothing else in the package prints an error or exits.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.app import app
from taskman_cli.errors import TaskmanError
from taskman_cli.locales import need_utf8, settle
from taskman_cli.signals import take_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a shell reports for a program that SIGINT ended.
EXIT_INTERRUPTED = 130

#: What a shell reports for a program that SIGPIPE ended, as `yes | head -1` shows with pipefail.
EXIT_BROKEN_PIPE = 141

#: No room for the output: the user's to mend, and no bug that wants a traceback.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`, the process's own arguments by default, and return the exit code."""
    take_signals()
    if argv is None:
        need_utf8()
    settle()
    try:
        return _invoke(list(sys.argv[1:] if argv is None else argv))
    except TaskmanError as error:
        click.echo(error.render(), err=True)
        return error.exit_code
    except click.ClickException as error:
        click.echo(_usage_message(error), err=True)
        return error.exit_code
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        _drop_output()
        click.echo(f"taskman: {error.strerror}", err=True)
        return TaskmanError.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED


def _invoke(arguments: list[str]) -> int:
    """Run one command; its own return value is the exit code where it is a number."""
    try:
        with app.make_context("taskman", arguments) as context:
            code = app.invoke(context)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    return code if isinstance(code, int) else 0


def _drop_output() -> None:
    """Let what standard output did not take go nowhere: Python flushes it at exit and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage_message(error: click.ClickException) -> str:
    """Word wrong usage, with the command whose help says more."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    message = f"taskman: {error.format_message()}"
    if isinstance(error, click.NoSuchOption) and context:
        from taskman_cli.cli.synonyms import no_option

        message = f"taskman: {no_option(error.option_name, context.command)}"
    return f"{message}\nTry '{context.command_path} --help'." if context else message


if __name__ == "__main__":
    sys.exit(main())
