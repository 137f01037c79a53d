"""What is kept of jobs that are not defined any more: one-offs that are over, jobs removed from the files.

They have no more runs or skips that would trigger a look at their rows, so they are counted when they go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3

#: How many one-offs that are over stay on record, and how many of these keep their output.
KEPT_ONE_OFFS, KEPT_ONE_OFF_OUTPUTS = 1000, 100
#: How many jobs that were removed from the files stay on record, with all their rows.
KEPT_REMOVED = 1000
#: They are looked at after this many have gone.
_SLACK = 10
#: Rows removed in one step.
_STEP_ROWS = 20
#: Attempts removed in one step: with retries without end, one run may have a million.
MOST_ATTEMPTS = 500
_SOME_ATTEMPTS = (
    "DELETE FROM attempts WHERE run = ?1 AND (task, number) <="
    " (SELECT task, number FROM attempts WHERE run = ?1 ORDER BY task, number LIMIT 1 OFFSET ?2 - 1)"
)

#: Only a one-off is armed with no slot accounted for; see `once_marks`.
_IS_ONE_OFF = "(since_ns = 0 AND definition GLOB '*\"at_ns\"*')"
#: A job that `taskman remove` left out must stay known as long as a file defines it.
_IS_GONE = "removed_seq IS NOT NULL AND removed_ns IS NOT NULL AND hidden IS NULL"

_Place = tuple[int, int]
_START: _Place = (-1, 0)


def delete_runs(connection: sqlite3.Connection, runs: list[int]) -> list[int]:
    """Remove the rows of some runs and return these; of one with very many attempts, some go first.

    No later run gets one of their numbers, whatever the clock says.
    """
    room = MOST_ATTEMPTS
    gone: list[tuple[int]] = []
    for run in runs:
        (count,) = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM attempts WHERE run = ? LIMIT ?)", (run, room + 1)
        ).fetchone()
        if count > room:
            if not gone:
                connection.execute(_SOME_ATTEMPTS, (run, room))
            break
        room -= count
        gone.append((run,))
    if gone:
        connection.execute(
            "UPDATE standing SET last_run = :run"
            " WHERE last_run < :run AND NOT EXISTS (SELECT 1 FROM runs WHERE id > :run)",
            {"run": max(gone)[0]},
        )
    connection.executemany("DELETE FROM attempts WHERE run = ?", gone)
    connection.executemany("DELETE FROM runs WHERE id = ?", gone)
    return [run for (run,) in gone]


class Removal(NamedTuple):
    """Runs of one job whose rows were removed, or whose output is not kept."""

    job: str
    runs: list[int]
    #: Nothing of the job is on record any more.
    is_forgotten: bool = False


@dataclass(slots=True)
class _Task:
    """One thing to do with jobs of one kind, earliest first."""

    which: str
    kept: int
    is_output_only: bool
    #: How far it is done.
    place: _Place = _START
    #: Where it ends in this round; None: not known yet.
    cut: _Place | None = None


class Departed:
    """Knows which jobs may be too many. A step handles one of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tasks = [
            _Task(_IS_ONE_OFF, KEPT_ONE_OFFS, is_output_only=False),
            _Task(f"NOT {_IS_ONE_OFF}", KEPT_REMOVED, is_output_only=False),
            _Task(_IS_ONE_OFF, KEPT_ONE_OFF_OUTPUTS, is_output_only=True),
        ]
        #: What is left to do in this round; at first everything: an earlier scheduler may have left some.
        self._due = list(self._tasks)
        self._since_look = 0

    def note(self) -> None:
        """Count a job that is not defined any more."""
        self._since_look += 1
        if self._since_look >= _SLACK and not self._due:
            self._since_look = 0
            self._due = list(self._tasks)

    @property
    def is_due(self) -> bool:
        """Tell whether a step has something to do."""
        return bool(self._due)

    def step(self) -> Removal | None:
        """Handle the next job. Raises sqlite3.Error, with nothing removed."""
        task = self._due[0]
        if task.cut is None:
            task.cut = self._cut(task)
            if not task.is_output_only:
                task.place = _START
        row = self._connection.execute(
            f"SELECT removed_seq, id, name FROM job_state WHERE {_IS_GONE} AND {task.which}"  # noqa: S608 (constants)
            " AND removed_seq >= ? AND (removed_seq, id) > (?, ?) ORDER BY removed_seq, id LIMIT 1",
            (task.place[0], *task.place),
        ).fetchone()
        if row is None or row[:2] > task.cut:
            self._due.pop(0)
            task.cut = None
            return None
        seq, job_id, name = row
        if self._has_open_run(job_id):
            task.place = (seq, job_id)
            return None
        if task.is_output_only:
            runs = [
                run for (run,) in self._connection.execute("SELECT id FROM runs WHERE job = ?", (job_id,))
            ]
            task.place = (seq, job_id)
            return Removal(name, runs)
        return self._remove(job_id, name)

    def _cut(self, task: _Task) -> _Place:
        """Return the place of the latest job that is one too many."""
        row = self._connection.execute(
            f"SELECT removed_seq, id FROM job_state WHERE {_IS_GONE} AND {task.which}"  # noqa: S608 (constants)
            " ORDER BY removed_seq DESC, id DESC LIMIT 1 OFFSET ?",
            (task.kept,),
        ).fetchone()
        return row or _START

    def _has_open_run(self, job_id: int) -> bool:
        """Tell whether a run of a removed job goes on; the next round looks at the job again."""
        row = self._connection.execute(
            "SELECT 1 FROM runs WHERE job = ? AND state IN ('queued', 'running') LIMIT 1", (job_id,)
        ).fetchone()
        return row is not None

    def _remove(self, job_id: int, name: str) -> Removal:
        """Remove some rows of a job, and after the last of them the job itself."""
        connection = self._connection
        found = connection.execute("SELECT id FROM runs WHERE job = ? LIMIT ?", (job_id, _STEP_ROWS))
        runs = [run for (run,) in found]
        skips = connection.execute(
            "SELECT id FROM skips WHERE job = ? LIMIT ?", (job_id, _STEP_ROWS)
        ).fetchall()
        connection.execute("BEGIN IMMEDIATE")
        removed = delete_runs(connection, runs)
        is_last = max(len(runs), len(skips)) < _STEP_ROWS and len(removed) == len(runs)
        connection.executemany("DELETE FROM skips WHERE id = ?", skips)
        if is_last:
            connection.execute("DELETE FROM definitions WHERE job = ?", (job_id,))
            connection.execute("DELETE FROM needs WHERE job = ?", (job_id,))
            connection.execute("DELETE FROM job_state WHERE id = ?", (job_id,))
        connection.execute("COMMIT")
        return Removal(name, removed, is_forgotten=is_last)
