"""In which order runs ended: what the keeper of the output directory asks, on a thread of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from taskman_cli.core.engine.runs import decode_run_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_END = (
    "SELECT CASE WHEN state IN ('queued', 'running') THEN NULL ELSE coalesce(ended_seq, 0) END"
    " FROM runs WHERE id = ?"
)


def read_ends(path: Path, runs: Iterable[str]) -> dict[str, int | None] | None:
    """Return a number for each run that is on record, which grows with the order of the ends.

    None in its place: the run is not over. None in all: the ledger does not tell now.
    """
    ends: dict[str, int | None] = {}
    try:
        # Never make it: a file that was removed is the writer's to begin anew.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
            (accounted_ns,) = ledger.execute("SELECT accounted_ns FROM standing").fetchone()
            if accounted_ns is None:  # it is new, and was not told yet what there is
                return None
            for run in runs:
                number = _number(run)
                row = None if number is None else ledger.execute(_END, (number,)).fetchone()
                if row is not None:
                    (ends[run],) = row
    except (sqlite3.Error, TypeError):
        return None
    return ends


def _number(run: str) -> int | None:
    try:
        return decode_run_id(run)
    except ValueError:  # a file of somebody else's
        return None
