"""Removes rows that are not kept any more, a few at a time, when the scheduler's loop has nothing else to do.

The runs that ended first go first; nothing of an unfinished run is ever removed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.ledger.departed import Departed, delete_runs
from taskman_cli.ledger.reportqueue import trim_reports

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

#: How many finished runs of a job keep their rows, if the job does not say.
KEPT_RUNS = 1000
#: Rows removed in one step: a few tenths of a millisecond.
STEP_ROWS = 20
#: A job may have a tenth more runs than it keeps before its rows are looked at again.
_SLACK = 10
#: How many runs are looked at for their age in one step, if the clock was wrong when they ended.
_MOST_LOOKED = 1000
#: How many rows are counted in one step, to find the first that is one too many.
MOST_COUNTED = 20_000
#: After all rows: where counting begins.
_END = 1 << 62

_Place = tuple[int, int]
#: The journal is trimmed after this many new lines, at the earliest.
_EVENTS_SLACK = 1000


class Removed(NamedTuple):
    """Runs that are not on record any more, or whose output is not kept any more."""

    job: str
    runs: list[int]
    #: The job is not defined any more: its output directory can go.
    is_departed: bool = False


@dataclass(slots=True)
class _Count:
    """Counts the rows of a job that are kept, from the latest one back: a part in each step."""

    #: Returns the row that is so many before a place; None: there are not so many.
    back: Callable[[_Place, int], _Place | None]
    left: int
    place: _Place = (_END, _END)
    is_done: bool = False
    #: The latest row that is one too many; None: there is none, or it is not known yet.
    cut: _Place | None = None

    def step(self) -> bool:
        """Count some rows; tell whether there are no more to count."""
        if not self.is_done:
            count = min(self.left, MOST_COUNTED)
            found = self.back(self.place, count)
            if found is None or count == self.left:
                self.is_done, self.cut = True, found
            else:
                self.place = found
                self.left -= count + 1
        return self.is_done


@dataclass(slots=True)
class _JobRows:
    """How many runs a job had since its rows were last looked at."""

    keep_runs: int
    keep_for_ns: int | None
    #: None: not looked at since the scheduler began, which found the job on record.
    since_look: int | None

    #: A look is due, and has not ended.
    is_due: bool = False
    #: What is found out in the course of a look: which rows are too many.
    runs: _Count | None = None
    skips: _Count | None = None

    def note(self, keep_runs: int, keep_for_ns: int | None) -> bool:
        """Count a run or a skip; tell if the rows must be looked at, which was not due before it."""
        is_changed = keep_runs != self.keep_runs
        self.keep_runs, self.keep_for_ns = keep_runs, keep_for_ns
        if is_changed:
            self.runs = self.skips = None
        if self.is_due:
            return False
        if self.since_look is None or is_changed:
            self.is_due = True
        else:
            # Only a look tells how old they are.
            self.is_due = self.since_look >= (0 if keep_for_ns is not None else keep_runs // _SLACK)
            self.since_look += 1
        return self.is_due

    def end_look(self) -> None:
        """Count from here."""
        self.since_look, self.is_due = 0, False
        self.runs = self.skips = None


class Retention:
    """Knows which rows may be too many. A step removes some of them."""

    def __init__(self, connection: sqlite3.Connection, *, keep_events: int) -> None:
        self._connection = connection
        self._keep_events = keep_events
        #: Jobs that may have rows already; a new job has only those that are counted here.
        self.on_record = {name for (name,) in connection.execute("SELECT name FROM job_state")}
        self._jobs: dict[str, _JobRows] = {}
        #: Jobs with rows to look at.
        self._due: deque[str] = deque()
        self._events = _EVENTS_SLACK
        self._is_postponed = False
        #: Where the reports are looked at next; None: from the first on.
        self._reports_from: int | None = None
        self._departed = Departed(connection)
        #: Jobs whose last rows were removed.
        self.forgotten: list[str] = []

    def note_departed(self) -> None:
        """Count a job that is not defined any more."""
        self._departed.note()
        self._is_postponed = False

    def note(self, job: str, *, keep_runs: int | None, keep_for_ns: int | None) -> None:
        """Count a run or a skip of a job, and how much of it is kept."""
        kept = keep_runs or KEPT_RUNS
        rows = self._jobs.get(job)
        if rows is None:
            rows = self._jobs[job] = _JobRows(
                kept, keep_for_ns, since_look=None if job in self.on_record else 0
            )
        if rows.note(kept, keep_for_ns):
            self._due.append(job)
        self._events += 1
        self._is_postponed = False

    @property
    def due_count(self) -> int:
        """Return how many jobs have rows to look at."""
        return len(self._due)

    @property
    def is_due(self) -> bool:
        """Tell whether a step has something to do."""
        is_due = bool(self._due) or self._departed.is_due or self._events >= _EVENTS_SLACK
        return is_due and not self._is_postponed

    def postpone(self) -> None:
        """Do nothing until the next run or skip: the ledger cannot be written now."""
        self._is_postponed = True

    def step(self, wall_ns: int) -> Removed | None:
        """Remove a few rows, and return the runs whose output is to go.

        Raises sqlite3.Error, with none removed.
        """
        if self._due:
            job = self._due[0]
            runs, is_more = self._trim(job, self._jobs[job], wall_ns)
            if not is_more:
                self._due.popleft()
                self._jobs[job].end_look()
            return Removed(job, runs) if runs else None
        if self._departed.is_due:
            return self._step_departed()
        if not self._trim_events():
            self._events = 0
        return None

    def _step_departed(self) -> Removed | None:
        found = self._departed.step()
        if found is None:
            return None
        if found.is_forgotten:
            self.forgotten.append(found.job)
            self._jobs.pop(found.job, None)
            self.on_record.discard(found.job)
        return Removed(found.job, found.runs, is_departed=True)

    def _trim(self, job: str, rows: _JobRows, wall_ns: int) -> tuple[list[int], bool]:
        """Remove some of a job's rows; return the runs, and whether there may be more to remove."""
        connection = self._connection
        known = connection.execute("SELECT id FROM job_state WHERE name = ?", (job,)).fetchone()
        if known is None:  # its rows could not be written yet
            return [], False
        (job_id,) = known
        if rows.runs is None or rows.skips is None:
            rows.runs = _Count(partial(self._ended_before, job_id), rows.keep_runs)
            rows.skips = _Count(partial(self._skipped_before, job_id), rows.keep_runs)
        if not rows.runs.step() or not rows.skips.step():
            return [], True
        oldest_ns = 0 if rows.keep_for_ns is None else max(0, wall_ns - rows.keep_for_ns)
        surplus = _surplus(
            connection.execute(
                "SELECT ended_seq, id, ended_ns FROM runs WHERE job = ? AND ended_seq IS NOT NULL"
                " AND state NOT IN ('queued', 'running') ORDER BY ended_seq, id LIMIT ?",
                (job_id, _MOST_LOOKED),
            ),
            rows.runs.cut, oldest_ns=oldest_ns, wall_ns=wall_ns,
        )  # fmt: skip
        found = connection.execute(
            "SELECT id, 0, at_to_ns FROM skips WHERE job = ? ORDER BY id LIMIT ?", (job_id, _MOST_LOOKED)
        )
        skips = _surplus(found, rows.skips.cut, oldest_ns=oldest_ns, wall_ns=wall_ns)
        removed: list[int] = []
        if surplus or skips:
            connection.execute("BEGIN IMMEDIATE")
            removed = delete_runs(connection, surplus)
            connection.executemany("DELETE FROM skips WHERE id = ?", [(skip,) for skip in skips])
            connection.execute("COMMIT")
        is_more = len(removed) < len(surplus) or STEP_ROWS in (len(surplus), len(skips))
        return removed, is_more

    def _ended_before(self, job_id: int, place: _Place, count: int) -> _Place | None:
        """Return the ended run of a job that is so many before a place in the order of the ends."""
        row: _Place | None = self._connection.execute(
            "SELECT ended_seq, id FROM runs WHERE job = ? AND ended_seq IS NOT NULL"
            " AND (ended_seq, id) < (?, ?) ORDER BY ended_seq DESC, id DESC LIMIT 1 OFFSET ?",
            (job_id, *place, count),
        ).fetchone()
        return row

    def _skipped_before(self, job_id: int, place: _Place, count: int) -> _Place | None:
        """Return the skip of a job that is so many before a place."""
        row: _Place | None = self._connection.execute(
            "SELECT id, 0 FROM skips WHERE job = ? AND id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
            (job_id, place[0], count),
        ).fetchone()
        return row

    def _trim_events(self) -> bool:
        """Remove some events; tell if there may be more to remove."""
        connection = self._connection
        last: int = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
        first: int = connection.execute("SELECT coalesce(min(seq), 0) FROM events").fetchone()[0]
        most = first + 5 * STEP_ROWS - 1
        end = min(last - self._keep_events, most)
        if end >= first:
            connection.execute("DELETE FROM events WHERE seq <= ?", (end,))
        self._reports_from = trim_reports(connection, self._reports_from or 0)
        return self._reports_from is not None or end == most


def _surplus(
    rows: Iterable[tuple[int, int, int | None]], cut: _Place | None, *, oldest_ns: int, wall_ns: int
) -> list[int]:
    """Return some runs or skips of a job that are not kept: the first ones, up to `cut` or too old.

    `rows` are (*place, end), in the order of their places. The place of a run is (end in the journal, id), of
    a skip (id, 0).
    """
    surplus: list[int] = []
    unclear: list[int] = []
    for first, second, ended_ns in rows:
        number = second or first
        if (cut and (first, second) <= cut) or (ended_ns is not None and ended_ns < oldest_ns):
            surplus += [*unclear, number]
            unclear.clear()
        elif ended_ns is None or ended_ns > wall_ns:
            # The clock was wrong then: it is too old if one that ended after it is.
            unclear.append(number)
        else:
            break
        if len(surplus) >= STEP_ROWS:
            break
    return surplus[:STEP_ROWS]
