"""The entry point: the console script `taskman` and `python -m taskman_cli`.

Runs one command and turns every error into a message on standard error and an exit code. Nothing else in the
package prints errors or exits.
"""

from __future__ import annotations

import signal

# Before the slow imports: `taskman restart` sends it, and a `taskman run` that has just begun must survive.
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

#: No room for the output: the user can fix that, so there is no traceback.
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
            sys.stdout.flush()  # Python does it at exit too, but reports errors with a traceback
    except OSError as error:
        code = code or _output_failed(error)
        _drop_output()
    return code


def _has_directory() -> bool:
    """Tell whether the current directory still exists."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is of no use here
    except FileNotFoundError:
        return False
    return True


def _invoke(arguments: list[str]) -> int:
    """Run one command; if it returns a number, that is the exit code."""
    try:
        with app.make_context("taskman", arguments) as context:
            code = app.invoke(context)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    return code if isinstance(code, int) else 0


def _output_failed(error: OSError) -> int:
    """Report an error of standard output or of a file; return the exit code."""
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
    """Write to standard error, which may be full or closed."""
    try:
        from taskman_cli.core.escapes import printable  # `--help` does not need it

        click.echo(printable(words, kept="\n\t"), err=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _mistaken_dash(arguments: Sequence[str], code: int) -> str:
    """Return a line about an option that begins with a dash instead of a hyphen, if there is one."""
    if code not in (2, 4) or all(word.isascii() for word in arguments):
        return ""
    from taskman_cli.cli.synonyms import mistaken_dash

    return mistaken_dash(arguments)


def _drop_output() -> None:
    """Discard what standard output did not accept: Python flushes it at exit and would report an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _usage_message(error: click.ClickException) -> str:
    """Format a usage error, with the command whose help to read."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    message = f"taskman: {_words_of(error)}"
    if isinstance(error, click.NoSuchOption) and context:
        from taskman_cli.cli.synonyms import no_option

        message = f"taskman: {no_option(error.option_name, context.command)}"
    return f"{message}\nTry '{context.command_path} --help'." if context else message


def _words_of(error: click.ClickException) -> str:
    """Return the message; that of an invalid value begins with its option, as in a job file with its key."""
    if not isinstance(error, click.BadParameter) or isinstance(error, click.MissingParameter):
        return error.format_message()
    option = error.param_hint
    if option is None and isinstance(error.param, click.Option):
        option = max(error.param.opts, key=len)
    return f"{option}: {error.message}" if option else error.message


if __name__ == "__main__":
    sys.exit(main())
