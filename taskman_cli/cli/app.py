"""The `taskman` command group.

A command's module is imported when that command is used and not before, so `taskman --help` costs hardly
more than importing click. Nothing here may import a command, Rich, croniter or the job file.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, NoReturn

import click

from taskman_cli import __version__
from taskman_cli.errors import EXIT_USAGE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Every command, in the order of the help: its module in `cli/commands`, the name of its click object, and
#: its line there, which is the first line of its docstring.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "run": ("run", "run", "Run job files in the foreground."),
    "check": ("check", "check", "Check job files, and show each job's next slot."),
    "next": ("next", "next_", "Show the next slots of job files or of one schedule."),
    "explain": (
        "explain",
        "explain",
        "Say in words when a schedule is due, and what is odd.",
    ),
    "import": ("import_", "import_", "Print a crontab as a job file."),
    "export": ("export", "export", "Print job files as a crontab."),
    "test": (
        "test",
        "test",
        "Run a job now, in the foreground, as the scheduler would run it.",
    ),
    "doctor": ("doctor", "doctor", "Check whether all that jobs need is in order."),
    "backup": ("backup", "backup", "Copy the ledger to a file."),
    "salvage": ("salvage", "salvage", "Bring back what can be read of a damaged ledger."),
    "init": ("init", "init", "Write a job file to start from."),
    "schema": ("schema", "schema", "Print the JSON Schema of the job file, for editors."),
    "restart": ("restart", "restart", "Start the scheduler anew, under what runs."),
    "history": ("history", "history", "Show what ran and what was skipped, newest first."),
    "log": ("log", "log", "Print the captured output of a run."),
    "events": ("events", "events", "Show the journal, oldest first, and follow it."),
    "why": ("why", "why", "Say why a job ran or did not, from the ledger."),
    "status": ("status", "status", "Show what the scheduler does at this moment."),
    "list": ("list", "list_", "Show the jobs: their state, next start and schedule."),
    "show": ("show", "show", "Show a job's definition in effect, with defaults filled in."),
    "once": ("once", "once", "Run a command once, now or later."),
    "trigger": ("trigger", "trigger", "Run a job now, or one of its tasks."),
    "pause": ("pause", "pause", "Let jobs have no new runs until they are resumed."),
    "resume": ("resume", "resume", "Let jobs that were paused go on."),
    "cancel": ("cancel", "cancel", "End a run, or all runs of a job, or one task of them."),
    "wait": ("wait", "wait", "Wait for the end of a run, or of a job's runs."),
    "remove": (
        "remove",
        "remove",
        "Take a job or a task out of the running scheduler.",
    ),
    "restore": (
        "restore",
        "restore",
        "Bring back what was removed.",
    ),
    "add": ("add", "add", "Add a job, in a file of its own, and reload."),
    "reload": ("reload", "reload", "Read the job files again, and say what changed."),
    "stop": ("stop", "stop", "Stop taskman, and wait until it has left."),
    "completion": (
        "completion",
        "completion",
        "Print the script for completion in a shell.",
    ),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only to use it."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Begin as every group does, unless it is a shell that asks what may come next."""
        instruction = os.environ.get("_TASKMAN_COMPLETE")
        if instruction and not extra.get("resilient_parsing"):
            from taskman_cli.cli.commands.completion import answer

            raise click.exceptions.Exit(answer(self, instruction))
        return super().make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Offer the commands without importing them, and options."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=summary)
            for name, (_, _, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"taskman_cli.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that `args` begins with, or say which one was probably meant."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            _refuse(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


def _refuse(name: str, ctx: click.Context) -> NoReturn:
    """Say that there is no such command, and which one comes close."""
    from taskman_cli.cli.synonyms import no_command

    raise click.UsageError(no_command(name, COMMANDS), ctx)


@click.group(
    "taskman",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 the thing asked for failed, 2 wrong usage or job file, 3 no "
    "scheduler there, 4 no such job or run. More in taskman(1).",
)
@click.version_option(__version__, "--version", prog_name="taskman", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Run shell commands on a schedule, and watch them: cron, at and a worker pool in one program."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(EXIT_USAGE)
