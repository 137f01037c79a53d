"""In which order runs ended: read by the thread that tidies the output directory."""

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
    """Return for each run on record a number that grows in the order in which runs ended.

    The number is None for a run that is not over. None as a whole: the ledger cannot be read now.
    """
    ends: dict[str, int | None] = {}
    try:
        # Never create it: if the file was removed, the writer makes a new one.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
            (accounted_ns,) = ledger.execute("SELECT accounted_ns FROM standing").fetchone()
            if accounted_ns is None:  # it is new, and not filled yet
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
    except ValueError:  # the file of another program
        return None
