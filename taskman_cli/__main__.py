"""The way in: the console script `taskman` and `python -m taskman_cli`.

Runs one command and turns whatever ends it into an exit code and a line on standard error. No command
lives here, and nothing else in the package prints an error or exits.
"""

from __future__ import annotations

import signal

# Before all that takes time to import: it must not end a `taskman run` that has just begun.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

import errno
import os
import sys
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.app import app
from taskman_cli.errors import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, TaskmanError
from taskman_cli.launch.locale import need_utf8, settle
from taskman_cli.launch.signals import take_signals

if TYPE_CHECKING:
    from collections.abc import Sequence

#: No room for the output: the user's to fix, and no bug that wants a traceback.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`, the process's own arguments by default, and return the exit code."""
    take_signals()
    if argv is None:
        need_utf8()
    settle()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _invoke(arguments)
    except TaskmanError as error:
        _complain(error.render() + _mistaken_dash(arguments, error.exit_code))
        code = error.exit_code
    except click.ClickException as error:
        _complain(_usage_message(error) + _mistaken_dash(arguments, error.exit_code))
        code = error.exit_code
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename is None and not _has_directory():
            _complain("taskman: the current directory no longer exists: change to another one")
            code = TaskmanError.exit_code
        else:
            code = _output_failed(error)
    except (KeyboardInterrupt, click.Abort):
        code = EXIT_INTERRUPTED
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # Python does it at exit, too, but then has no words for what goes wrong
    except OSError as error:
        code = code or _output_failed(error)
        _drop_output()
    return code


def _has_directory() -> bool:
    """Tell whether the current directory is still there."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is of no use here
    except FileNotFoundError:
        return False
    return True


def _invoke(arguments: list[str]) -> int:
    """Run one command; its own return value is the exit code where it is a number."""
    try:
        with app.make_context("taskman", arguments) as context:
            code = app.invoke(context)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    return code if isinstance(code, int) else 0


def _output_failed(error: OSError) -> int:
    """Say what standard output, or something else, did not do; return the exit code."""
    if isinstance(error, BrokenPipeError):
        _drop_output()
        return EXIT_BROKEN_PIPE
    if error.errno in DISK_FULL:
        _drop_output()
    elif error.filename is None and error.errno != errno.EIO:  # EIO: the terminal is gone
        raise error
    where = f"{error.filename}: " if error.filename is not None else ""
    _complain(f"taskman: {where}{error.strerror or error}")
    return TaskmanError.exit_code


def _complain(words: str) -> None:
    """Write to standard error, which may be full, or read by nobody any more."""
    try:
        from taskman_cli.core.escapes import printable  # `--help` needs none

        click.echo(printable(words, kept="\n\t"), err=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _mistaken_dash(arguments: Sequence[str], code: int) -> str:
    """Return a line about an option that begins with something else than a hyphen, where that may be why."""
    if code not in (2, 4) or all(word.isascii() for word in arguments):
        return ""
    from taskman_cli.cli.synonyms import mistaken_dash

    return mistaken_dash(arguments)


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
