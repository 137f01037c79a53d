"""`taskman backup`: a copy of the ledger, made while the scheduler goes on."""

from __future__ import annotations

from pathlib import Path

import click

from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.options.instance import with_running_directory
from taskman_cli.cli.render import say
from taskman_cli.errors import TaskmanError


@click.command("backup", epilog="Example: taskman backup ~/taskman-ledger.db")
@click.argument("file", metavar="FILE", type=FileName())
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@with_running_directory
def backup(*, directory: Path, file: str, force: bool) -> None:
    """Copy the ledger to a file.

    The copy is the ledger as it is at one moment. A scheduler may run, and does not wait for it. The file
    is its owner's alone (mode 0600). To go back to it: stop taskman, and put it in the place of ledger.db.
    """
    from taskman_cli.ledger.backup import copy_to, new_file
    from taskman_cli.ledger.queries.reader import reading
    from taskman_cli.ledger.store import NAME

    path = Path(file)
    if path.absolute().parent.resolve() == directory.resolve() and path.name.startswith(NAME):
        raise TaskmanError(f"{path} is a name for taskman's own: copy it elsewhere, or to another name")
    with reading(directory) as ledger, new_file(path, force=force) as part:
        finding = copy_to(ledger, part)
    if finding != "ok":
        raise TaskmanError(f"{path} is a copy of a damaged ledger ({finding}): see taskman salvage")
    say(f"copied to {path} ({path.stat().st_size / 1e6:,.1f} MB)")
