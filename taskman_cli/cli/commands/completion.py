"""`taskman completion`: the completion script of a shell, and the completions that it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.choice import OneOf
from taskman_cli.cli.options.command import Command
from taskman_cli.errors import EXIT_FAILED

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

#: The script sets it when it asks for completions.
VARIABLE = "_TASKMAN_COMPLETE"

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    examples={
        'eval "$(taskman completion bash)"': "in this shell only",
        "taskman completion fish > ~/.config/fish/completions/taskman.fish": "",
    },
)
@click.argument("shell", type=OneOf(SHELLS), metavar="|".join(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in a shell.

    For bash, add `eval "$(taskman completion bash)"` to ~/.bashrc; for zsh, add the same line with zsh to
    ~/.zshrc; for fish, write the script to ~/.config/fish/completions/taskman.fish.
    """
    script = _completer(ctx.find_root().command, shell)
    click.echo(script.source_template % script.source_vars(), nl=False)


def answer(app: click.Command, instruction: str) -> int:
    """Print completions in the format of the shell's script; return the exit code."""
    shell, _, what = instruction.partition("_")
    if shell not in SHELLS or what != "complete":
        return EXIT_FAILED
    try:
        click.echo(_completer(app, shell).complete())
    except (click.ClickException, OSError, ValueError, KeyError):
        # The command line so far is invalid: there is nothing to offer, and no place to show an error.
        return EXIT_FAILED
    return 0


def _completer(app: click.Command, shell: str) -> ShellComplete:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, f"click knows {shell}"
    return kind(app, {}, "taskman", VARIABLE)
