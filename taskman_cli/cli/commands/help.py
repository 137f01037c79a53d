"""`taskman help`: the help of the program, or of one command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.cli.options.command import ALIASES, Command

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def _complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the commands."""
    group = ctx.find_root().command
    return [] if incomplete.startswith("-") else group.shell_complete(ctx.find_root(), incomplete)


@click.command(
    "help",
    cls=Command,
    examples={
        "taskman help": "all commands",
        "taskman help run": "the same as taskman run --help",
    },
)
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=_complete)
@click.pass_context
def help_(ctx: click.Context, name: str | None) -> None:
    """Show the help of taskman or of one command."""
    root = ctx.find_root()
    if name is None:
        click.echo(root.get_help())
        return
    from taskman_cli.cli.app import app, refuse

    name = ALIASES.get(name, name)
    command = app.get_command(root, name)
    if command is None:
        refuse(name, root)
    click.echo(command.get_help(click.Context(command, parent=root, info_name=name)))
