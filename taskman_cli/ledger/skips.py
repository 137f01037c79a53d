"""Rows of skipped slots: equal ones in a row are one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.ledger.texts import stored

if TYPE_CHECKING:
    import sqlite3

    from taskman_cli.core.engine import effects


@dataclass(slots=True)
class _Open:
    """The latest row of a job, until a run comes between."""

    row: int
    #: What makes skips equal.
    why: tuple[str, str, int | None]
    last_ns: int


class SkipRows:
    """The rows that the next skips of jobs may be added to."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._open: dict[str, _Open] = {}
        self._last_row = 0

    def forget_all(self) -> None:
        """Forget all rows: the next skip of each job gets its own row."""
        self._open.clear()
        self._last_row = self._connection.execute("SELECT coalesce(max(id), 0) FROM skips").fetchone()[0]

    def end_row(self, job: str) -> None:
        """Let the job's next skip have its own row: a run comes between."""
        self._open.pop(job, None)

    def add(
        self, record: effects.SlotsSkipped, job_id: int, *, run: int | None, blocker: int | None, at_ns: int
    ) -> tuple[str, tuple[Any, ...]]:
        """Return the statement that records a skip, and its parameters."""
        why = (record.reason, record.detail, blocker)
        known = self._open.get(record.job)
        # A clock that was set back moves the slots of intervals: the slots of a row must ascend.
        is_next = known is not None and known.why == why and known.last_ns < record.first_ns
        if known is None or not is_next or run is not None or record.count is None:
            self._last_row += 1
            known = _Open(self._last_row, why, record.last_ns)
        known.last_ns = record.last_ns
        if run is None and record.count is not None:
            self._open[record.job] = known
        else:
            self._open.pop(record.job, None)
        slots = (record.first_ns, record.last_ns, record.count)
        detail = stored(record.detail)
        return _PUT, (known.row, job_id, *slots, record.reason, detail, run, blocker, at_ns, at_ns)


#: Retention may have removed the row already: no skip is lost either way.
_PUT = (
    "INSERT INTO skips (id, job, slot_ns, slot_to_ns, count, reason, detail, run, blocker, at_ns, at_to_ns)"
    " VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " slot_to_ns = excluded.slot_to_ns, count = count + excluded.count, at_to_ns = excluded.at_to_ns"
)
