"""`taskman salvage`: copy what can be read from a damaged ledger to a new one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from taskman_cli.cli.options.command import Command
from taskman_cli.cli.options.files import FileName
from taskman_cli.cli.render import note, say, show
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    from taskman_cli.ledger.salvage import Salvaged


@click.command(
    "salvage",
    cls=Command,
    examples={
        "taskman salvage ledger.db.broken-1764300000": "",
        "taskman salvage -o new.db ledger.db.broken-1764300000": "",
    },
)
@click.argument("file", metavar="FILE", type=FileName())
@click.option(
    "-o", "--output", metavar="NEW", type=FileName(), help="The new ledger (default: FILE.salvaged)."
)
@click.option("--force", is_flag=True, help="Replace the new ledger if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def salvage(*, file: str, output: str | None, force: bool, as_json: bool) -> int:
    """Recover what can be read from a damaged ledger.

    FILE is the damaged ledger, for example one that taskman has set aside; it is not changed. Its log
    (FILE-wal) is read too. What cannot be read is reported, and the exit code is 1.

    In the new ledger, unfinished runs are lost, and all slots until now count as done. So nothing runs twice
    when you stop taskman and replace ledger.db in the state directory with it.
    """
    from taskman_cli.ledger.backup import new_file
    from taskman_cli.ledger.salvage import salvage as bring_back
    from taskman_cli.ledger.store import LedgerBroken, LedgerUnwritable

    source = Path(file)
    if source.is_dir():
        raise TaskmanError(f"cannot read {source}: it is a directory, not a ledger")
    target = Path(output) if output else source.with_name(f"{source.name}.salvaged")
    _refuse(source, target)
    try:
        with new_file(target, force=force) as part:
            found = bring_back(source, part, now_ns=time.time_ns())
    except (LedgerUnwritable, LedgerBroken) as error:
        raise TaskmanError(f"cannot write {target}: {error}") from error
    if as_json:
        tables = {name: _document(table) for name, table in found.items()}
        show({"file": str(target), "tables": tables}, (), as_json=True)
    else:
        rows = (f"{table.rows:,} {name}" for name, table in found.items() if table.rows)
        say(f"{target}: {', '.join(rows)}")
    for name, table in found.items():
        for words in _losses(table):
            note(f"{name}: {words}")
    return 0 if all(table.is_whole for table in found.values()) else 1


def _refuse(source: Path, target: Path) -> None:
    """Raise TaskmanError if the source is not a file or in use, or the target is the source."""
    from taskman_cli.instance.lock import holder
    from taskman_cli.ledger.store import NAME

    if not source.is_file():
        raise TaskmanError(f"{source} {'is not a file' if source.exists() else 'does not exist'}")
    if target.exists() and target.samefile(source):
        raise TaskmanError(f"{target} is the ledger to read: choose another file with --output")
    if source.name == NAME and holder(source.absolute().parent) is not None:
        raise TaskmanError(f"{source} is in use: copy it with `taskman backup FILE`, and salvage the copy")


def _document(table: Salvaged) -> dict[str, Any]:
    return {"rows": table.rows, "refused": table.refused, "unread": table.unread, "trouble": table.trouble}


def _losses(table: Salvaged) -> list[str]:
    """Return what is missing from a table."""
    words = [table.trouble] if table.trouble else []
    if table.refused:
        words.append(f"{table.refused:,} row{'s' if table.refused > 1 else ''} with impossible values")
    if table.unread:
        low, high = table.unread[0]
        more = f", and {len(table.unread) - 1:,} more ranges" if len(table.unread) > 1 else ""
        words.append(f"rows {low} to {high} cannot be read{more}")
    return words
