"""How the latest run of each job ended, and which jobs have failed how often in a row.

Runs are in the order in which they ended. A run counts, not each of its attempts; one that was cancelled
neither counts as a failure nor ends a series.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.engine.failing import FAILURES
from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.engine.view import Failing
from taskman_cli.core.model import State
from taskman_cli.ledger.texts import stored

if TYPE_CHECKING:
    import sqlite3

#: A series that the journal does not count is counted up to here, and all of them up to so many rows: a
#: scheduler counts them once, when it starts after an upgrade.
MOST_COUNTED, MOST_ROWS = 100, 10_000
#: The most attempts of a run that are looked at.
_MOST_ATTEMPTS = 1_000
#: What a row that no version of taskman wrote may raise; `texts` reads any bytes.
_UNREADABLE = (TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError)

_COUNTING = ", ".join(f"'{state}'" for state in (*FAILURES, State.SUCCEEDED))


def _ended(job: str, states: str) -> str:
    """Return the end of a query for the ended runs of a job, the latest first."""
    # The index of ended runs has them in this order: a job costs one look-up however many runs it has.
    return f"FROM runs WHERE job = {job} AND ended_seq IS NOT NULL AND state {states} {_NEWEST}"


_NEWEST = "ORDER BY ended_seq DESC, id DESC"
_LATEST = (
    "SELECT j.name, r.id, r.state, r.begun_ns, r.ended_ns, r.detail FROM job_state j JOIN runs r"  # noqa: S608
    f" ON r.id = (SELECT id {_ended('j.id', f'NOT IN ({State.SKIPPED.value!r})')} LIMIT 1)"
    " WHERE j.removed_ns IS NULL AND ?1 IN (j.name, '')"
)
_FAILING = (
    "SELECT j.id, j.name FROM job_state j WHERE j.removed_ns IS NULL AND"  # noqa: S608
    f" (SELECT state {_ended('j.id', f'IN ({_COUNTING})')} LIMIT 1) != 'succeeded'"
)
#: What the journal has of a run is beside it.
_SERIES = (
    "SELECT id, state, ended_ns, detail,"  # noqa: S608
    " (SELECT data FROM events WHERE seq = ended_seq AND kind = 'finished')"
    f" {_ended('?', f'IN ({_COUNTING})')} LIMIT ?"
)
_DATA = "SELECT data FROM events WHERE seq = (SELECT ended_seq FROM runs WHERE id = ?) AND kind = 'finished'"
_ATTEMPTS = "SELECT task, state, detail, duration_ns, begun_ns FROM attempts WHERE run = ? LIMIT ?"


class Counted(NamedTuple):
    """A series of failed runs, as the journal has it with its latest run."""

    failures: int
    since_ns: int
    is_more: bool


@dataclass(frozen=True, slots=True)
class LastResult:
    """How the latest run of a job ended that is over."""

    job: str
    run: str
    task: str
    state: State
    #: In words: "exit 3".
    detail: str
    ended_ns: int
    #: None: unknown.
    duration_ns: int | None


def last_results(ledger: sqlite3.Connection, job: str = "") -> dict[str, LastResult]:
    """Return how the latest run of each job, or of one, ended, without jobs that no run of is over."""
    found = {}
    for name, run, state, begun_ns, ended_ns, detail in ledger.execute(_LATEST, (stored(job),)).fetchall():
        try:
            found[str(name)] = _result(ledger, str(name), run, State(state), begun_ns, int(ended_ns), detail)
        except _UNREADABLE:
            continue
    return found


def _result(
    ledger: sqlite3.Connection, name: str, run: int, state: State, begun_ns: int | None, ended_ns: int,
    detail: str | None,
) -> LastResult:  # fmt: skip
    attempts = ledger.execute(_ATTEMPTS, (run, _MOST_ATTEMPTS)).fetchall()
    task, why = _telling(attempts, state)
    duration_ns = None if begun_ns is None else max(0, ended_ns - int(begun_ns))
    if len(attempts) == 1 and attempts[0][3] is not None:
        duration_ns = int(attempts[0][3])  # as `history` has it
    return LastResult(name, encode_run_id(run), task, state, str(detail or why), ended_ns, duration_ns)


def _telling(attempts: list[tuple[Any, ...]], state: State) -> tuple[str, str]:
    """Return the task whose attempt ended in the state of the run, the first to do so, and why."""
    of_state = [
        (begun_ns, str(task), str(detail or ""))
        for task, end, detail, _, begun_ns in attempts
        if end == state
    ]
    if not of_state:
        return "main", ""
    task = min(of_state)[1]
    return task, max(end for end in of_state if end[1] == task)[2]


def read_failing(ledger: sqlite3.Connection) -> list[Failing]:
    """Return the jobs whose latest run failed, each with its series of failed runs."""
    found: list[Failing] = []
    left = MOST_ROWS
    for job_id, name in ledger.execute(_FAILING).fetchall():
        try:
            series, rows = _series(ledger, job_id, str(name), most=max(1, min(MOST_COUNTED, left)))
        except _UNREADABLE:
            continue
        found.append(series)
        left -= rows
    return found


def _series(ledger: sqlite3.Connection, job_id: int, name: str, *, most: int) -> tuple[Failing, int]:
    """Return the series of a job, and how many rows of it were counted; `most` is how many may be."""
    rows = ledger.execute(_SERIES, (job_id, most + 1))
    run, state, ended_ns, detail, data = rows.fetchone()
    task, why = _telling(ledger.execute(_ATTEMPTS, (run, _MOST_ATTEMPTS)).fetchall(), State(state))
    found = Failing(
        name, encode_run_id(run), task, State(state), str(detail or why), 1, int(ended_ns), int(ended_ns)
    )
    if (counted := _counted(data)) is not None:
        return replace(found, **counted._asdict()), 0
    # The line of the journal is not kept any more, or of an earlier version: count what is on record.
    failures, since_ns = 1, int(ended_ns)
    for _, state, ended_ns, _, data in rows:
        if state == State.SUCCEEDED:
            return replace(found, failures=failures, since_ns=since_ns), failures
        if failures == most:
            break
        failures, since_ns = failures + 1, int(ended_ns)
        if (counted := _counted(data)) is not None:
            counted = counted._replace(failures=failures - 1 + counted.failures)
            return replace(found, **counted._asdict()), failures
    return replace(found, failures=failures, since_ns=since_ns, is_more=True), failures


def failures_at(ledger: sqlite3.Connection, run: int) -> Counted | None:
    """Return the series that a run was the last of when it ended, if the journal has it."""
    row = ledger.execute(_DATA, (run,)).fetchone()
    try:
        return _counted(row[0]) if row else None
    except _UNREADABLE:
        return None


def _counted(data: str | None) -> Counted | None:
    """Return the length and the beginning of a series as the journal has them, with its latest run."""
    values = json.loads(data) if data else {}
    if not isinstance(values, dict) or not isinstance(values.get("failures"), int):
        return None
    return Counted(values["failures"], int(values["since_ns"]), bool(values.get("is_more")))
