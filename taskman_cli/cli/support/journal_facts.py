"""Facts from the journal for `taskman why`: requests on runs, and events of the scheduler and the clock.

A time is found by bisection over `at_ns`; from there a bounded number of events is read.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.runs import encode_run_id
from taskman_cli.core.pause import Pause
from taskman_cli.insight.why.facts import EventFacts
from taskman_cli.insight.why.slotresult import EVENT_MARGIN_NS
from taskman_cli.ledger.queries.horizon import horizon_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from taskman_cli.insight.why.facts import JobFacts, RunFacts

#: The most events that are read before and after a place.
_MAX_EVENTS = 2_000
#: The most events of one instant, and the most that are searched for a pause.
_MAX_LINES = 10_000
#: The most later runs of a job that may have replaced one.
_MAX_LATER = 100

_KINDS = (
    "scheduler_started", "scheduler_stopped", "suspended", "clock_stepped", "spawn_delayed",
    "ledger_unwritable", "ledger_writable", "stalled",
)  # fmt: skip


# --- one run ---


def with_its_end(ledger: sqlite3.Connection, job: int, run: RunFacts) -> RunFacts:
    """Add what only the journal has: who triggered or cancelled the run, and which tasks did not run."""
    undone: list[str] = []
    asked_by = cancelled = ""
    if run.trigger == "manual":
        asked_by = _asked_by(ledger, run)
    if run.ended_ns is not None:
        undone = _undone(ledger, run.number, run.ended_ns)
        if run.state == "cancelled":
            cancelled = _why_cancelled(ledger, job, run, run.ended_ns)
    return replace(run, undone=tuple(undone), cancelled=cancelled, asked_by=asked_by)


def _asked_by(ledger: sqlite3.Connection, run: RunFacts) -> str:
    row = ledger.execute(
        "SELECT data FROM (SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?)"
        " WHERE kind = 'triggered' AND run = ? LIMIT 1",
        (event_at(ledger, run.queued_ns), _MAX_LINES, run.number),
    ).fetchone()
    return _by(row)


def _undone(ledger: sqlite3.Connection, number: int, ended_ns: int) -> list[str]:
    row = ledger.execute(
        "SELECT data FROM (SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?)"
        " WHERE kind = 'finished' AND run = ? LIMIT 1",
        (event_at(ledger, ended_ns), _MAX_LINES, number),
    ).fetchone()
    return list(json.loads(row[0]).get("undone", [])) if row and row[0] else []


def _why_cancelled(ledger: sqlite3.Connection, job: int, run: RunFacts, ended_ns: int) -> str:
    """Return who or what cancelled a run, as the end of a sentence; "" if unknown."""
    lines = ledger.execute(
        "SELECT kind, at_ns, data FROM (SELECT * FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?)"
        " WHERE kind IN ('cancelling', 'cancelled') AND run = ? ORDER BY seq",
        (event_at(ledger, ended_ns + 1), _MAX_LINES, run.number),
    ).fetchall()
    for kind, _, data in lines:
        if kind == "cancelled":
            return f"by {_by((data,))}"
    at_ns = lines[0][1] if lines else ended_ns
    follower = ledger.execute(
        "SELECT id FROM (SELECT id, queued_ns FROM runs WHERE job = ? AND id > ? ORDER BY id LIMIT ?)"
        " WHERE queued_ns = ? ORDER BY id LIMIT 1",
        (job, run.number, _MAX_LATER, at_ns),
    ).fetchone()
    if follower is not None:
        return f"to make room for run {encode_run_id(follower[0])}"
    turn = ledger.execute(
        "SELECT kind FROM (SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?)"
        " WHERE kind IN ('scheduler_stopped', 'scheduler_started') ORDER BY seq LIMIT 1",
        (event_at(ledger, at_ns), _MAX_LINES),
    ).fetchone()
    return "as taskman was stopped" if turn == ("scheduler_stopped",) else ""


def _by(row: tuple[str | None] | None) -> str:
    return str(json.loads(row[0]).get("by", "")) if row and row[0] else ""


def pause_at(ledger: sqlite3.Connection, job: JobFacts, at_ns: int) -> Pause | None:
    """Return the pause of a job at an instant, if it is in the searched part of the journal."""
    if job.pause is not None and job.pause.since_ns <= at_ns:
        return job.pause
    row = ledger.execute(
        "SELECT seq, kind, at_ns, coalesce(detail, ''), data"
        " FROM (SELECT * FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?)"
        " WHERE kind IN ('paused', 'resumed') AND job = ? ORDER BY seq DESC LIMIT 1",
        (event_at(ledger, at_ns + 1), _MAX_LINES, job.name),
    ).fetchone()
    if row is None or row[1] == "resumed":
        return None
    seq, _, since_ns, reason, data = row
    end = ledger.execute(
        "SELECT at_ns FROM (SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?)"
        " WHERE kind = 'resumed' AND job = ? ORDER BY seq LIMIT 1",
        (seq, _MAX_LINES, job.name),
    ).fetchone()
    return Pause(since_ns, None if end is None else end[0], reason, _by((data,)))


def removed_by(ledger: sqlite3.Connection, job: str, at_ns: int) -> str:
    """Return who cancelled a one-off job, or removed another job, at an instant; "" if unknown."""
    row = ledger.execute(
        "SELECT data FROM (SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?) WHERE at_ns = ?"
        " AND (kind = 'removed' OR (kind = 'cancelled' AND job = ? AND run IS NULL)) LIMIT 1",
        (event_at(ledger, at_ns), _MAX_LINES, at_ns, job),
    ).fetchone()
    return _by(row)


# --- the scheduler and the clock ---


def events_around(ledger: sqlite3.Connection, slot_ns: int, reached_ns: int) -> tuple[EventFacts, ...]:
    """Return events of the scheduler and the clock: the last ones before a slot, and those until after it.

    The last event before the slot is included whatever its kind: it is the last sign of life.
    """
    place = event_at(ledger, slot_ns)
    columns = "seq, at_ns, kind, coalesce(detail, ''), data"
    marks = ", ".join("?" * len(_KINDS))
    rows = ledger.execute(
        f"SELECT {columns} FROM (SELECT * FROM events WHERE seq < ? ORDER BY seq DESC LIMIT ?)"  # noqa: S608 (marks)
        f" WHERE kind IN ({marks}) ORDER BY seq DESC LIMIT 10",
        (place, _MAX_EVENTS, *_KINDS),
    ).fetchall()
    rows += ledger.execute(
        f"SELECT {columns} FROM (SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?)"  # noqa: S608 (marks)
        f" WHERE at_ns <= ? AND kind IN ({marks}) ORDER BY seq LIMIT 100",
        (place, _MAX_EVENTS, reached_ns + EVENT_MARGIN_NS, *_KINDS),
    ).fetchall()
    last = ledger.execute(
        f"SELECT {columns} FROM events WHERE seq < ? ORDER BY seq DESC LIMIT 1",  # noqa: S608 (constants)
        (place,),
    ).fetchone()
    if last is not None and last not in rows:
        rows.append(last)
    return tuple(_events(sorted(rows)))


def _events(rows: list[tuple[Any, ...]]) -> Iterator[EventFacts]:
    for _, at_ns, kind, detail, data in rows:
        yield EventFacts(at_ns, kind, detail, json.loads(data) if data else {})


def event_at(ledger: sqlite3.Connection, instant_ns: int) -> int:
    """Return the number of the first event at or after an instant, or that of the next event."""
    low, high = ledger.execute(
        "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) + 1 FROM events)"
    ).fetchone()
    query = "SELECT seq, at_ns FROM events WHERE seq >= ? AND at_ns <= ? ORDER BY seq LIMIT 1"
    until_ns = horizon_of(ledger, instant_ns)

    def first_from(middle: int) -> tuple[int, int] | None:
        found: tuple[int, int] | None = ledger.execute(query, (middle, until_ns)).fetchone()
        return found

    return halved(low, high, instant_ns, first_from)


def halved(
    low: int | None, high: int, instant_ns: int, first_from: Callable[[int], tuple[int, int] | None]
) -> int:
    """Return the number of the first row at or after an instant, found by bisection.

    If there is none, the number is beyond all rows; without rows it is 0. `first_from` returns the first row
    from a number on as (number, time), or None; both ascend.
    """
    if low is None:
        return 0
    while low < high:
        middle = (low + high) // 2
        row = first_from(middle)
        if row is None or row[1] >= instant_ns:
            high = middle
        else:
            low = row[0] + 1
    return low
