"""The `taskman` command group.

The module of a command is imported only when that command is used, so `taskman --help` takes hardly longer
than importing click. Nothing here may import a command, Rich or the job file.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, NoReturn

import click

from taskman_cli import __version__
from taskman_cli.cli.options.command import ALIASES, aliases_of
from taskman_cli.errors import EXIT_USAGE

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Every command, in the order of the help, by group: its module in `cli/commands`, the name of its click
#: object, and its line there, which is the first line of its docstring.
GROUPS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Run": {
        "run": ("run", "run", "Run job files in the foreground."),
        "test": ("test", "test", "Run a job now in the foreground, as the scheduler would."),
        "once": ("once", "once", "Run a command once, now or later."),
    },
    "Watch": {
        "status": ("status", "status", "Show what the scheduler is doing now."),
        "list": ("list", "list_", "List the jobs with their state, next start and latest result."),
        "next": ("next", "next_", "Show the next slots of job files or of one schedule."),
        "history": ("history", "history", "Show past runs and skipped slots, newest first."),
        "log": ("log", "log", "Print the captured output of a run."),
        "why": ("why", "why", "Explain why a job ran or did not run, and what to do."),
        "show": ("show", "show", "Show the definition of a job, with all defaults filled in."),
        "events": ("events", "events", "Show the journal of all events, oldest first."),
        "metrics": ("metrics", "metrics", "Print the metrics of the scheduler, for monitoring."),
        "sinks": ("sinks", "sinks", "Show how far each sink has got, or try one."),
        "wait": ("wait", "wait", "Wait until a run, or all current runs of a job, have ended."),
    },
    "Control": {
        "trigger": ("trigger", "trigger", "Run a job or one of its tasks now."),
        "cancel": ("cancel", "cancel", "Cancel a run, all runs of a job, or one task of them."),
        "pause": ("pause", "pause", "Stop starting new runs of these jobs until they are resumed."),
        "resume": ("resume", "resume", "Resume paused and parked jobs."),
        "reload": ("reload", "reload", "Read the job files again and report what changed."),
        "remove": ("remove", "remove", "Remove a job or a task from the running scheduler."),
        "restore": ("restore", "restore", "Restore removed jobs and tasks."),
        "restart": ("restart", "restart", "Restart the scheduler without disturbing running commands."),
        "stop": ("stop", "stop", "Stop taskman and wait until it has exited."),
    },
    "Write and check": {
        "init": ("init", "init", "Write a job file to start from."),
        "check": ("check", "check", "Check job files and show the next slot of each job."),
        "explain": ("explain", "explain", "Describe a schedule in words, with next slots and pitfalls."),
        "simulate": ("simulate", "simulate", "Show what would happen with job files; nothing is executed."),
        "add": ("add", "add", "Add a job in a new file and reload."),
        "import": ("import_", "import_", "Convert crontabs and other schedulers' files to a job file."),
        "export": ("export", "export", "Convert job files to a crontab."),
        "schema": ("schema", "schema", "Print the JSON Schema of job files, for editors."),
        "unit": ("unit", "unit", "Print a systemd unit that runs these job files."),
    },
    "Maintain": {
        "doctor": ("doctor", "doctor", "Check the machine and this instance for problems."),
        "backup": ("backup", "backup", "Copy the ledger to a file."),
        "salvage": ("salvage", "salvage", "Recover what can be read from a damaged ledger."),
        "completion": ("completion", "completion", "Print the script that completes commands in a shell."),
        "help": ("help", "help_", "Show the help of taskman or of one command."),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


#: What `taskman` alone prints.
_BEGINNING = f"""\
taskman {__version__}: run shell commands on a schedule and watch them.
It is cron, at and a worker pool in one program.

To begin with:
  taskman init              Write a job file to start from: jobs.toml.
  taskman check jobs.toml   Check it, and show when its jobs will run.
  taskman run jobs.toml     Run it in the foreground.
  taskman status            Show what is running, and what is next.
  taskman why JOB           Explain why a job ran or did not run.

`taskman help` lists all commands, and `taskman help COMMAND` describes one.
`man taskman` has all of it."""


class LazyGroup(click.Group):
    """A group that imports a command only when it is used."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Answer a shell that asks for completions; otherwise do what every group does."""
        instruction = os.environ.get("_TASKMAN_COMPLETE")
        if instruction and not extra.get("resilient_parsing"):
            from taskman_cli.cli.commands.completion import answer

            raise click.exceptions.Exit(answer(self, instruction, args))
        return super().make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        """Offer options, and the commands without importing them."""
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
        """Find the command that `args` begins with, or suggest the one that was probably meant."""
        name = ALIASES.get(args[0], args[0])
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            refuse(name, ctx)
        return super().resolve_command(ctx, [name, *args[1:]])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in their groups, without importing them."""
        names = {name: ", ".join([name, *aliases_of(name)]) for name in COMMANDS}
        width = max(map(len, names.values()))
        for heading, group in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(names[name].ljust(width), summary) for name, (_, _, summary) in group.items()]
                )


def refuse(name: str, ctx: click.Context) -> NoReturn:
    """Raise a usage error that suggests the nearest command."""
    from taskman_cli.cli.synonyms import no_command

    raise click.UsageError(no_command(name, COMMANDS), ctx)


@click.group(
    "taskman",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`taskman help COMMAND` has examples; taskman(1) says more. Exit codes: 0 success, 1 failure, "
    "2 invalid usage or job file, 3 no scheduler runs, 4 no such job or run.",
)
@click.version_option(__version__, "--version", prog_name="taskman", message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context) -> None:
    """Run shell commands on a schedule and watch them: cron, at and a worker pool in one program."""
    if ctx.invoked_subcommand is None:
        # An error, as for git, uv and ruff: a script whose variable was empty must not seem to succeed.
        click.echo(_BEGINNING, err=True)
        ctx.exit(EXIT_USAGE)
