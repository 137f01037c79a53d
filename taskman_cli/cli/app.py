"""The `taskman` command group.

A command's module is imported when that command is used and not before, so `taskman --help` costs hardly
more than importing click. Nothing here may import a command, Rich, croniter or the job file.
"""

from __future__ import annotations

import importlib
from typing import NoReturn

import click

from taskman_cli import __version__

#: Every command, in the order of the help: the module and name of its click object, and its line there,
#: which is the first line of its docstring.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "run": ("taskman_cli.cli.run", "run", "Run job files in the foreground."),
    "check": ("taskman_cli.cli.check", "check", "Check job files, and show each job's next slot."),
    "next": ("taskman_cli.cli.next", "next_", "Show the next slots of job files or of one schedule."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to use it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begins with, or say which one was probably meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            _refuse(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


def _refuse(name: str, ctx: click.Context) -> NoReturn:
    """Say that there is no such command, and which one comes close."""
    from taskman_cli.jobfile.problems import did_you_mean, quoted

    raise click.UsageError(f"there is no command {quoted(name)}{did_you_mean(name, COMMANDS)}", ctx)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the thing asked for failed, 2 wrong usage or job file. More in taskman(1).",
)
@click.version_option(__version__, "--version", prog_name="taskman", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Run shell commands on a schedule, and watch them: cron, at and a worker pool in one program."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(2)
