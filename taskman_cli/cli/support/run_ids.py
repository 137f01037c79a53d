"""Ids of runs that are not written out: the beginning of one is enough if no other run begins like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskman_cli.core.engine.runs import encode_run_id, numbers_of
from taskman_cli.core.escapes import quoted
from taskman_cli.errors import TaskmanError

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

#: The fewest characters that stand for a run: fewer are a mistyped name.
LEAST = 4
#: Up to this many runs are listed if several begin like that.
_FEW = 8


def run_of(ledger: sqlite3.Connection, text: str) -> int | None:
    """Return the run whose id is, or begins with, this text; None if there is none.

    Raises a usage error that lists them if there are several.
    """
    from taskman_cli.ledger.queries.attempts import runs_between

    bounds = numbers_of(text) if len(text) >= LEAST else None
    found = [] if bounds is None else runs_between(ledger, *bounds, count=_FEW + 1)
    if len(found) > 1:
        listed = [f"{encode_run_id(run)} ({job})" for run, job in found[:_FEW]]
        more = ", …" if len(found) > _FEW else ""
        raise click.UsageError(
            f"several runs begin with {quoted(text)}: {', '.join(listed)}{more}", click.get_current_context()
        )
    return found[0][0] if found else None


def run_on_record(directory: Path, text: str) -> str | None:
    """Return the whole id of that run, from the ledger of a state directory; None if it has none."""
    from taskman_cli.ledger.queries.reader import reading

    if len(text) < LEAST or numbers_of(text) is None:
        return None
    try:
        with reading(directory) as ledger:
            run = run_of(ledger, text)
    except TaskmanError:
        return None  # an unreadable ledger has no record of the run
    return None if run is None else encode_run_id(run)
