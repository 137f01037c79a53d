"""One run and its attempts, looked up by the run's number or by the job's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.model import State
from taskman_cli.ledger.queries.history import ATTEMPT_COLUMNS, attempt_row
from taskman_cli.ledger.texts import stored

if TYPE_CHECKING:
    import sqlite3

    from taskman_cli.ledger.queries.history import AttemptRow

#: The tasks of a job are those of this many latest runs: older runs may have had others.
_RECENT_RUNS = 1000


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as a whole."""

    run: int
    job: str
    state: State
    is_over: bool
    detail: str | None


def find_run(ledger: sqlite3.Connection, run: int) -> RunSummary | None:
    """Return the run of that number."""
    row = ledger.execute(
        "SELECT r.id, j.name, r.state, r.ended_ns, r.detail FROM runs r JOIN job_state j ON j.id = r.job"
        " WHERE r.id = ?",
        (run,),
    ).fetchone()
    if row is None:
        return None
    run, job, state, ended_ns, detail = row
    is_over = ended_ns is not None or state not in (State.QUEUED, State.RUNNING)
    return RunSummary(run, job, State(state), is_over, detail or None)


def runs_between(ledger: sqlite3.Connection, first: int, last: int, *, count: int) -> list[tuple[int, str]]:
    """Return runs whose numbers are within bounds, each with its job, the latest first."""
    return ledger.execute(
        "SELECT r.id, j.name FROM runs r JOIN job_state j ON j.id = r.job WHERE r.id BETWEEN ? AND ?"
        " ORDER BY r.id DESC LIMIT ?",
        (first, last, count),
    ).fetchall()


def latest_run(ledger: sqlite3.Connection, job: int) -> int | None:
    """Return the latest run of a job, whether it has begun or not."""
    run: int | None = ledger.execute("SELECT max(id) FROM runs WHERE job = ?", (job,)).fetchone()[0]
    return run


def runs_since(
    ledger: sqlite3.Connection, job: int, since_ns: int, *, task: str | None, number: int | None
) -> list[int]:
    """Return the runs of a job that have begun and had not ended before an instant, oldest first.

    With `task` or `number`: those that have such an attempt.
    """
    rows = ledger.execute(
        "SELECT id FROM runs WHERE job = ? AND begun_ns IS NOT NULL AND (ended_ns IS NULL OR ended_ns >= ?)"
        " AND EXISTS (SELECT 1 FROM attempts WHERE run = runs.id AND task = coalesce(?, task)"
        " AND number = coalesce(?, number)) ORDER BY id",
        (job, since_ns, None if task is None else stored(task), number),
    )
    return [run for (run,) in rows]


def latest_begun(ledger: sqlite3.Connection, job: int, *, task: str | None = None) -> int | None:
    """Return the latest run of a job that has begun, or that has begun a task."""
    if task is None:
        row = ledger.execute(
            "SELECT id FROM runs WHERE job = ? AND begun_ns IS NOT NULL ORDER BY id DESC LIMIT 1", (job,)
        ).fetchone()
    else:
        row = ledger.execute(
            "SELECT id FROM runs WHERE job = ? AND EXISTS"
            " (SELECT 1 FROM attempts WHERE run = runs.id AND task = ?) ORDER BY id DESC LIMIT 1",
            (job, stored(task)),
        ).fetchone()
    return row[0] if row else None


def tasks_of(ledger: sqlite3.Connection, job: int) -> list[str]:
    """Return the tasks that the latest runs of a job have begun."""
    rows = ledger.execute(
        "SELECT DISTINCT task FROM attempts WHERE run IN"
        " (SELECT id FROM runs WHERE job = ? ORDER BY id DESC LIMIT ?) ORDER BY task",
        (job, _RECENT_RUNS),
    )
    return [task for (task,) in rows]


def tasks_in(ledger: sqlite3.Connection, run: int) -> list[str]:
    """Return the tasks that a run has begun."""
    return [task for (task,) in ledger.execute("SELECT DISTINCT task FROM attempts WHERE run = ?", (run,))]


def attempts_of(ledger: sqlite3.Connection, run: int) -> list[AttemptRow]:
    """Return all attempts of a run, in the order in which they began."""
    rows = ledger.execute(
        f"SELECT {ATTEMPT_COLUMNS} FROM attempts a WHERE a.run = ? ORDER BY a.begun_ns, a.task, a.number",  # noqa: S608
        (run,),
    )
    return list(map(attempt_row, rows))
