"""What ran and what did not: attempts, runs without an attempt, and skips, newest first.

Runs are in the order of their ids, which is the order in which they were queued; skips are where the first of
their slots was skipped. Rows are read in pages by key, so that twenty rows of a million cost twenty.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine.runs import queued_at_ns
from taskman_cli.core.model import State
from taskman_cli.ledger.queries.horizon import detour_of
from taskman_cli.ledger.rowtypes import RUN_COLUMNS, RowFilter
from taskman_cli.ledger.texts import stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

_PAGE = 500
#: For a job with more runs than this, rare states are searched in all attempts: one scan is faster than
#: looking up the attempts of that many runs, and common states are found soon in any case.
_MANY_RUNS = 50_000
#: States that have an index (`attempts_unusual`), and the condition as it is written there.
_UNUSUAL = frozenset({State.FAILED, State.TIMED_OUT, State.CANCELLED, State.LOST, State.SKIPPED})
_IS_UNUSUAL = "a.state <> 'succeeded' AND a.state <> 'running' AND a.state <> 'queued'"
#: Skips since an instant are looked up by their time if there are not more.
_MOST_SKIPS = 5_000
#: An attempt is in one of these only if its run is.
_OPEN = frozenset({State.QUEUED, State.RUNNING})
#: States of runs without an attempt, except skipped, which is shown as a skip.
_STATES_WITHOUT_ATTEMPT = frozenset({State.QUEUED, State.CANCELLED})
#: Above all ids.
_TOP = 1 << 62


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One process of one task of a run, over or not."""

    task: str
    number: int
    state: State
    begun_ns: int
    started_ns: int | None
    ended_ns: int | None
    duration_ns: int | None
    exit_code: int | None
    signal: int | None
    cpu_s: float | None
    output_bytes: int | None
    #: When the next attempt of the task is due; None: none follows.
    next_ns: int | None
    #: Why its output, or part of it, was lost; None: it was not.
    output_error: str | None
    #: Since when it is stopped; None: it is not.
    stop_ns: int | None
    #: How long it was stopped before that.
    stopped_for_ns: int | None
    #: How it ended, in words: "exit 3".
    detail: str | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with one of its attempts, or without any."""

    run: int
    job: str
    #: What `job_state` has of the job.
    definition: str
    slot_ns: int | None
    trigger: str
    #: Of the run as a whole.
    state: State
    queued_ns: int
    ended_ns: int | None
    detail: str | None
    attempt: AttemptRow | None

    @property
    def order_ns(self) -> int:
        """Return when it was queued, on the clock of the ids, which never steps back."""
        return self.run << _ID_BITS

    @property
    def recorded_ns(self) -> int:
        """Return when it was queued, by the wall clock."""
        return self.queued_ns


@dataclass(frozen=True, slots=True)
class SkipRow:
    """Equal skips of one job in a row."""

    job: str
    definition: str
    slot_ns: int
    slot_to_ns: int
    #: None: too many to count.
    count: int | None
    reason: str
    detail: str
    #: The queued run that was given up, if there was one.
    run: int | None
    at_ns: int

    @property
    def order_ns(self) -> int:
        """Return when the first of them was skipped."""
        return self.at_ns

    @property
    def recorded_ns(self) -> int:
        """Return the same."""
        return self.at_ns


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted; by default all."""

    job: int | None = None
    task: str | None = None
    states: frozenset[State] = field(default_factory=frozenset)
    #: Queued, or last skipped, at this instant or later.
    since_ns: int | None = None
    #: Nothing later: such rows are of a wrong clock, which was corrected before `since_ns`.
    until_ns: int | None = None


#: Ids count steps of 2**13 ns.
_ID_BITS = queued_at_ns("0000000001").bit_length() - 1

_NAME_AND_DEFINITION = (
    "(SELECT name FROM job_state WHERE id = {0}.job), (SELECT definition FROM job_state WHERE id = {0}.job)"
)
_RUN = (
    f"r.id, {_NAME_AND_DEFINITION.format('r')}, r.slot_ns, r.trigger, r.state, r.queued_ns, r.ended_ns,"
    " r.detail"
)
ATTEMPT_COLUMNS = (
    "a.task, a.number, a.state, a.begun_ns, a.started_ns, a.ended_ns, a.duration_ns, a.exit_code, a.signal,"
    " a.cpu_s, a.output_bytes, a.next_ns, a.output_error, a.stop_ns, a.stopped_for_ns,"
    " a.detail"
)
_NO_ATTEMPT = (None,) * 16

_Row = tuple[Any, ...]


def history(
    ledger: sqlite3.Connection, wanted: Filter, unreadable: RowFilter | None = None
) -> Iterator[RunRow | SkipRow]:
    """Yield the rows that match, newest first; `unreadable` counts rows that cannot be read."""
    unreadable = unreadable or RowFilter()
    detour = detour_of(ledger)
    if detour and wanted.since_ns is not None and detour.over_ns < wanted.since_ns <= detour.horizon_ns:
        wanted = replace(wanted, until_ns=detour.horizon_ns)
    streams: list[Iterable[RunRow | SkipRow]] = []
    states = wanted.states - {State.SKIPPED}
    if states or not wanted.states:
        if states and not states <= _OPEN and _has_many_runs(ledger, wanted.job):
            streams += [
                _by_attempt(ledger, wanted, states, unreadable),
                _begun_nothing(ledger, wanted, states, unreadable),
            ]
        else:
            streams.append(_by_run(ledger, wanted, states, unreadable))
    if not wanted.states or State.SKIPPED in wanted.states:
        streams.append(_skips(ledger, wanted, unreadable))
    if detour is None:
        return heapq.merge(*streams, key=attrgetter("order_ns"), reverse=True)
    return heapq.merge(
        *streams, key=lambda row: (detour.rank(row.recorded_ns), row.recorded_ns), reverse=True
    )


def _has_many_runs(ledger: sqlite3.Connection, job: int | None) -> bool:
    if job is None:
        return True
    row = ledger.execute(
        "SELECT count(*) FROM (SELECT 1 FROM runs WHERE job = ? LIMIT ?)", (job, _MANY_RUNS + 1)
    ).fetchone()
    return bool(row[0] > _MANY_RUNS)


class _Where:
    """The conditions of a query and their values, in order."""

    def __init__(self) -> None:
        self._conditions = ["1"]
        self.values: list[object] = []

    def add(self, condition: str, *values: object) -> None:
        self._conditions.append(condition)
        self.values += values

    def is_in(self, expression: str, states: Iterable[State]) -> None:
        names = [str(state) for state in states]
        self.add(f"{expression} IN ({', '.join('?' * len(names))})", *names)

    def __str__(self) -> str:
        return "WHERE " + " AND ".join(self._conditions)


def _of_runs(wanted: Filter) -> _Where:
    """Return the conditions on `runs r` of every query. A skipped run is shown as its skip."""
    where = _Where()
    if wanted.job is not None:
        where.add("r.job = ?", wanted.job)
    if wanted.since_ns is not None:
        # The first finds the place, the second is exact across a step of the clock.
        where.add("r.id >= ? AND r.queued_ns >= ?", max(0, wanted.since_ns) >> _ID_BITS, wanted.since_ns)
    if wanted.until_ns is not None:
        where.add("r.queued_ns <= ?", wanted.until_ns)
    if wanted.states and wanted.states <= _OPEN:
        where.add("r.state IN ('queued', 'running')")  # written as in the index of unfinished runs
    else:
        where.add("r.state != 'skipped'")
    return where


def _by_run(
    ledger: sqlite3.Connection, wanted: Filter, states: frozenset[State], unreadable: RowFilter
) -> Iterator[RunRow]:
    """Go through the runs, and look up the attempts of each."""
    runs = _of_runs(wanted)
    where = _of_runs(wanted)
    of_task: str
    task: list[object]
    of_task, task = "", []
    if wanted.task is not None:
        of_task, task = "AND a.task = ?", [stored(wanted.task)]
        where.add("(a.task IS NOT NULL OR r.begun_ns IS NULL)")
    if states:
        where.is_in("coalesce(a.state, r.state)", states)
    below = _TOP
    while True:
        # A page is a span of ids, so that no run is split between two.
        (low,) = ledger.execute(
            f"SELECT min(id) FROM (SELECT id FROM runs r {runs} AND r.id < ? ORDER BY r.id DESC LIMIT ?)",  # noqa: S608
            (*runs.values, below, _PAGE),
        ).fetchone()
        if low is None:
            return
        rows = ledger.execute(
            f"SELECT {_RUN}, {ATTEMPT_COLUMNS} FROM runs r LEFT JOIN attempts a ON a.run = r.id {of_task}"  # noqa: S608
            f" {where} AND r.id >= ? AND r.id < ? ORDER BY r.id DESC",
            (*task, *where.values, low, below),
        ).fetchall()
        yield from _newest_first(unreadable.among_runs(rows))
        below = low


def _by_attempt(
    ledger: sqlite3.Connection, wanted: Filter, states: frozenset[State], unreadable: RowFilter
) -> Iterator[RunRow]:
    """Go through the attempts in one of the states, and look up the run of each."""
    if not states <= _UNUSUAL:
        return _newest_first(unreadable.among_runs(_attempts(ledger, wanted, states)))
    # Each state by itself: so the index has them in their order.
    streams = [
        unreadable.among_runs(_attempts(ledger, wanted, frozenset({state}))) for state in sorted(states)
    ]
    return _newest_first(heapq.merge(*streams, key=itemgetter(0, RUN_COLUMNS, RUN_COLUMNS + 1), reverse=True))


def _attempts(ledger: sqlite3.Connection, wanted: Filter, states: frozenset[State]) -> Iterator[_Row]:
    """Yield the attempts in some states with their runs, those of the latest run first."""
    where = _Where()
    where.is_in("a.state", states)
    if states <= _UNUSUAL:
        where.add(_IS_UNUSUAL)
    if wanted.task is not None:
        where.add("a.task = ?", stored(wanted.task))
    if wanted.since_ns is not None:
        where.add("a.run >= ?", max(0, wanted.since_ns) >> _ID_BITS)
    of_run = str(_of_runs(wanted)).removeprefix("WHERE ")
    key: tuple[object, ...] = (_TOP, "", 0)
    while True:
        # CROSS forces this order on the query planner.
        page = ledger.execute(
            f"SELECT {_RUN}, {ATTEMPT_COLUMNS} FROM attempts a CROSS JOIN runs r ON r.id = a.run"  # noqa: S608
            f" {where} AND {of_run} AND (a.run, a.task, a.number) < (?, ?, ?)"
            " ORDER BY a.run DESC, a.task DESC, a.number DESC LIMIT ?",
            (*where.values, *_of_runs(wanted).values, *key, _PAGE),
        ).fetchall()
        yield from page
        if len(page) < _PAGE:
            return
        key = (page[-1][0], *page[-1][RUN_COLUMNS : RUN_COLUMNS + 2])


def _begun_nothing(
    ledger: sqlite3.Connection, wanted: Filter, states: frozenset[State], unreadable: RowFilter
) -> Iterator[RunRow]:
    """Go through the runs without an attempt: queued ones, and those that were cancelled in the queue."""
    states = states & _STATES_WITHOUT_ATTEMPT
    if not states:
        return
    where = _of_runs(wanted)
    where.is_in("r.state", states)
    where.add("r.begun_ns IS NULL")
    below = _TOP
    while True:
        page = ledger.execute(
            f"SELECT {_RUN} FROM runs r {where} AND r.id < ? ORDER BY r.id DESC LIMIT ?",  # noqa: S608
            (*where.values, below, _PAGE),
        ).fetchall()
        yield from map(_run_row, unreadable.among_runs(row + _NO_ATTEMPT for row in page))
        if len(page) < _PAGE:
            return
        below = page[-1][0]


def _skips(ledger: sqlite3.Connection, wanted: Filter, unreadable: RowFilter) -> Iterator[SkipRow]:
    where = _Where()
    if wanted.job is not None:
        where.add("s.job = ?", wanted.job)
    if wanted.since_ns is not None:
        where.add("s.at_to_ns >= ?", wanted.since_ns)
        if wanted.job is None and (few := _few_skips(ledger, wanted.since_ns)) is not None:
            where.add("s.id IN (SELECT value FROM json_each(?))", few)
    if wanted.until_ns is not None:
        where.add("s.at_to_ns <= ?", wanted.until_ns)
    below = _TOP
    while True:
        page = ledger.execute(
            f"SELECT s.id, {_NAME_AND_DEFINITION.format('s')}, s.slot_ns, s.slot_to_ns, s.count, s.reason,"  # noqa: S608
            f" s.detail, s.run, s.at_ns FROM skips s {where} AND s.id < ? ORDER BY s.id DESC LIMIT ?",
            (*where.values, below, _PAGE),
        ).fetchall()
        yield from (SkipRow(*row[1:]) for row in unreadable.among_skips(page))
        if len(page) < _PAGE:
            return
        below = page[-1][0]


def _few_skips(ledger: sqlite3.Connection, since_ns: int) -> str | None:
    """Return the ids of the skips since an instant as a JSON array; None: there are many."""
    rows = ledger.execute(
        "SELECT id FROM skips WHERE at_to_ns >= ? LIMIT ?", (since_ns, _MOST_SKIPS + 1)
    ).fetchall()
    return json.dumps([number for (number,) in rows]) if len(rows) <= _MOST_SKIPS else None


def _newest_first(rows: Iterable[_Row]) -> Iterator[RunRow]:
    """Sort the attempts of each run by when they began, latest first."""
    begun, number = itemgetter(RUN_COLUMNS + 3), itemgetter(RUN_COLUMNS + 1)
    for _, group in groupby(rows, key=itemgetter(0)):
        attempts = sorted(group, key=lambda row: (begun(row) or 0, number(row) or 0), reverse=True)
        yield from map(_run_row, attempts)


def _run_row(row: _Row) -> RunRow:
    run, job, definition, slot_ns, trigger, state, queued_ns, ended_ns, detail = row[:RUN_COLUMNS]
    attempt = None if row[RUN_COLUMNS] is None else attempt_row(row[RUN_COLUMNS:])
    return RunRow(
        run, job, definition, slot_ns, trigger, State(state), queued_ns, ended_ns, detail or None, attempt
    )  # fmt: skip


def attempt_row(row: _Row) -> AttemptRow:
    """Make an attempt from a row of `ATTEMPT_COLUMNS`."""
    task, number, state, *rest, detail = row
    values = (task, number, State(state), *rest, detail or None)
    found = AttemptRow(*values)
    # If its end was not seen, what it used is not known either, whatever the row says.
    return replace(found, cpu_s=None) if found.state is State.LOST else found
