"""`taskman backup`: copy the ledger while the scheduler runs."""

from __future__ import annotations

from pathlib import Path

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import say
from taskman_cli.errors import TaskmanError


@click.command(
    "backup",
    cls=Command,
    examples={
        "taskman backup ~/taskman-ledger.db": "",
        "taskman backup --force ledger-$(date +%F).db": "replace today's copy",
    },
)
@click.argument("file", metavar="FILE", type=FileName())
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@with_running_directory
def backup(*, directory: Path, file: str, force: bool) -> None:
    """Copy the ledger to a file.

    The copy is consistent, also while a scheduler runs, which is not held up. Only its owner can read the
    file (mode 0600). To restore it, stop taskman and replace ledger.db in the state directory with the copy.
    """
    from taskman_cli.ledger.backup import copy_to, new_file
    from taskman_cli.ledger.queries.reader import reading
    from taskman_cli.ledger.store import NAME

    path = Path(file)
    if path.absolute().parent.resolve() == directory.resolve() and path.name.startswith(NAME):
        raise TaskmanError(f"{path} is a name that taskman uses itself: choose another name or directory")
    with reading(directory) as ledger, new_file(path, force=force) as part:
        finding = copy_to(ledger, part)
    if finding != "ok":
        raise TaskmanError(
            f"the ledger is damaged, and so is the copy {path} ({finding}): see `taskman salvage`"
        )
    say(f"copied to {path} ({path.stat().st_size / 1e6:,.1f} MB)")
