"""A command as arguments: one string for the shell, or words after `--` that run without a shell."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.render import say
from taskman_cli.core.limits import MOST_ARGUMENT_BYTES, excess
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORDS = "taskman.words"


class CommandLine(Command):
    """A click command that keeps the words after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the words after `--` aside: none of them is an option of ours."""
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[_WORDS] = args[:at], args[at + 1 :]
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from taskman_cli.cli.synonyms import no_option

            fix = "put a command that has options in quotes, or after --"
            raise click.UsageError(f"{no_option(error.option_name, self)}; {fix}", ctx) from None


def given_command(ctx: click.Context, words: tuple[str, ...], *, example: str) -> str | list[str] | None:
    """Return the command that was given before or after `--`; None if there is none.

    `example` is the command line up to the command, for the error message.
    """
    after: list[str] | None = ctx.meta.get(_WORDS)
    if after is not None:
        if words:
            raise click.UsageError("give the command in quotes or after --, not both", ctx)
        if not after or not after[0]:
            raise click.UsageError("there is no command after --", ctx)
        _check_length(after)
        return after
    if len(words) > 1:
        text = " ".join(words)
        raise click.UsageError(
            "several words: put them in quotes to run in the shell, or after -- to run without a shell:\n"
            f"  {example} {shlex.quote(text)}\n  {example} -- {shlex.join(words)}",
            ctx,
        )
    if not words:
        return None
    if not words[0].strip():
        raise click.UsageError("the command is empty", ctx)
    _check_length(words)
    return words[0]


def command_from_stdin(ctx: click.Context) -> str:
    """Read a command for the shell from standard input, as at(1) does."""
    if sys.stdin is None:
        raise click.UsageError("no command, and no standard input to read it from", ctx)
    if sys.stdin.isatty():
        say("taskman: type the command, then Ctrl-D on a line of its own", err=True)
    data = sys.stdin.buffer.read(MOST_ARGUMENT_BYTES + 1)
    text = os.fsdecode(data).rstrip("\n")
    if not text.strip():
        raise click.UsageError("no command: give one, or write it to standard input", ctx)
    if "\0" in text:
        raise TaskmanError("the command contains a NUL character, which no shell accepts")
    _check_length((text,))
    return text


def _check_length(words: Iterable[str]) -> None:
    """Refuse a command that the system would not start, before it is recorded anywhere."""
    if wrong := next(filter(None, map(excess, words)), ""):
        raise TaskmanError(f"the command is {wrong}: put it into a script and run that")
