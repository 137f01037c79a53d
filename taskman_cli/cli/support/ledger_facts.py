"""Facts from the ledger for `taskman why`, with queries that stay fast however large the ledger is.

Rows are in the order of time, so a time is found by bisection: among runs by their ids, which are times,
among skips by `at_ns`. From there a bounded number of rows is read. Rows that were recorded while the clock
was hours ahead, and so have later times than those after them, are skipped (`ledger/queries/horizon.py`).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskman_cli.cli.support.journal_facts import events_around, halved, pause_at, removed_by, with_its_end
from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS
from taskman_cli.core.engine.runs import encode_run_id, run_number
from taskman_cli.core.pause import Pause
from taskman_cli.insight.why.facts import (
    AttemptFacts,
    EventFacts,
    JobFacts,
    RunFacts,
    SchedulerFacts,
    SkipFacts,
    SlotRecord,
)
from taskman_cli.insight.why.slots import Recorded
from taskman_cli.ledger.failures import failures_from
from taskman_cli.ledger.queries.horizon import LAST_NS, horizon_of, is_displaced
from taskman_cli.ledger.queries.results import failures_at
from taskman_cli.ledger.texts import stored

if TYPE_CHECKING:
    import sqlite3

#: The most rows of a job that are read from a place on: more than are ever caught up on at once.
MAX_ROWS = 10_000
#: The most earlier runs of a job that may have delayed a run.
_MAX_EARLIER = 100
#: The most attempts of a run that are read.
_MAX_ATTEMPTS = 1_000

_RUN = "SELECT id, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns, detail FROM runs"
_SKIP = "SELECT id, slot_ns, slot_to_ns, count, reason, detail, at_ns, at_to_ns, run, blocker FROM skips"


def facts_of(ledger: sqlite3.Connection, name: str) -> JobFacts | None:
    """Return the record of a job itself, or None."""
    row = ledger.execute(
        "SELECT pause, failures, hidden, id, name, definition, since_ns, anchor_ns, run_count, finish_ns,"
        " removed_ns FROM job_state WHERE name = ?",
        (stored(name),),
    ).fetchone()
    if row is None:
        return None
    pause, failures, hidden, *own = row
    facts = replace(
        JobFacts(*own),
        pause=Pause(**json.loads(pause)) if pause else None,
        failures=failures_from(failures),
    )
    if facts.removed_ns is None:
        return facts
    by = removed_by(ledger, name, facts.removed_ns)
    return replace(facts, removed_by=by, is_left_out=hidden == "true")


def facts_at(ledger: sqlite3.Connection, facts: JobFacts, at_ns: int) -> JobFacts:
    """Return a job as it was at an instant, as far as known; `facts` is the job as it is now."""
    is_parked = facts.park is not None and facts.park.since_ns <= at_ns
    failures = facts.failures if is_parked else None
    facts = replace(facts, pause=pause_at(ledger, facts, at_ns), failures=failures)
    if at_ns > facts.since_ns:
        return facts
    row = ledger.execute(
        "SELECT definition, since_ns, until_ns, anchor_ns FROM definitions WHERE job = ? AND until_ns > ?"
        " ORDER BY id LIMIT 1",
        (facts.id, min(max(at_ns, 0), LAST_NS)),
    ).fetchone()
    if row is None:
        return facts
    definition, since_ns, until_ns, anchor_ns = row
    return replace(
        facts, definition=definition, since_ns=since_ns, anchor_ns=anchor_ns, run_count=0, finish_ns=None,
        removed_ns=None, replaced_ns=until_ns,
    )  # fmt: skip


def scheduler_facts(ledger: sqlite3.Connection, job: JobFacts) -> SchedulerFacts:
    """Return how far the ledger goes, and how far back the records of a job do."""
    (accounted_ns,) = ledger.execute("SELECT accounted_ns FROM standing").fetchone()
    last = ledger.execute("SELECT at_ns FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    turns = ledger.execute(
        "SELECT kind, at_ns, coalesce(detail, '') FROM (SELECT * FROM events ORDER BY seq DESC LIMIT ?)"
        " WHERE kind IN ('scheduler_started', 'scheduler_stopped', 'ledger_unwritable', 'ledger_writable')"
        " ORDER BY seq",
        (MAX_ROWS,),
    )
    latest: dict[str, int] = {}
    unwritable = None
    for kind, at_ns, detail in turns:
        latest[kind] = at_ns
        # A new scheduler can record its start only when the ledger is writable.
        unwritable = EventFacts(at_ns, kind, detail) if kind == "ledger_unwritable" else None
    until_ns = horizon_of(ledger)
    oldest = [
        _oldest_run(ledger, job, until_ns),
        ledger.execute(
            "SELECT slot_ns FROM skips WHERE job = ? AND at_to_ns <= ? ORDER BY id LIMIT 1",
            (job.id, until_ns),
        ).fetchone(),
    ]
    return SchedulerFacts(
        accounted_ns,
        last_event_ns=None if last is None else last[0],
        started_ns=latest.get("scheduler_started"),
        stopped_ns=latest.get("scheduler_stopped"),
        # Old runs and old skips may be removed at different times.
        oldest_ns=max((row[0] for row in oldest if row is not None), default=None),
        unwritable=unwritable,
    )


def _oldest_run(ledger: sqlite3.Connection, job: JobFacts, until_ns: int) -> tuple[int] | None:
    """Return the slot since which all runs of a job are recorded, if it has runs."""
    first: tuple[int] | None = ledger.execute(
        "SELECT coalesce(slot_ns, due_ns) FROM runs WHERE job = ? AND queued_ns <= ? ORDER BY id LIMIT 1",
        (job.id, until_ns),
    ).fetchone()
    ended = ledger.execute(
        "SELECT coalesce(slot_ns, due_ns), id, ended_ns FROM runs WHERE job = ? AND ended_seq > 0"
        " AND ended_ns <= ? ORDER BY ended_seq LIMIT 1",
        (job.id, until_ns),
    ).fetchone()
    if first is None or ended is None:
        return first
    slot_ns, number, ended_ns = ended
    # Removed runs ended before this one; if runs overlap, they may have been for later slots.
    row = ledger.execute(
        "SELECT 1 FROM runs WHERE job = ? AND id < ? AND id != ? LIMIT 1",
        (job.id, run_number(ended_ns, last=-1), number),
    ).fetchone()
    return (slot_ns,) if row is None else (max(slot_ns, ended_ns),)


# --- which slots there are ---


def recorded_slots(
    ledger: sqlite3.Connection, job: JobFacts, windows: tuple[tuple[int, int], ...], *, at_ns: int
) -> Recorded:
    """Return the recorded slots within some time windows, and the nearest ones before and after them.

    A run without a slot counts as one at the time at which it was due, if there is no other in the windows.
    """
    start_ns = windows[0][0] if windows else at_ns
    end_ns = windows[-1][1] if windows else at_ns
    until_ns = horizon_of(ledger, start_ns)
    slots: set[int] = set()
    asked: set[int] = set()
    for slot_ns, due_ns in ledger.execute(
        "SELECT slot_ns, due_ns FROM runs"  # noqa: S608 (numbers)
        f" WHERE job = ? AND {_from(ledger, job, start_ns)} ORDER BY id LIMIT ?",
        (job.id, MAX_ROWS),
    ):
        (asked if slot_ns is None else slots).add(due_ns if slot_ns is None else slot_ns)
        if slot_ns is not None and slot_ns >= end_ns:
            break
    for slot_ns, due_ns in ledger.execute(
        "SELECT slot_ns, due_ns FROM runs"  # noqa: S608 (numbers)
        f" WHERE job = ? AND {_before(ledger, job, start_ns)} ORDER BY id DESC LIMIT ?",
        (job.id, _MAX_EARLIER),
    ):
        (asked if slot_ns is None else slots).add(due_ns if slot_ns is None else slot_ns)
    stretch_ns = None
    place = _skip_at(ledger, job, start_ns)
    for order, bound, most in (("", "id >=", MAX_ROWS), (" DESC", "id <", _MAX_EARLIER)):
        for slot_ns, slot_to_ns, at_ns in ledger.execute(
            f"SELECT slot_ns, slot_to_ns, at_to_ns FROM skips WHERE job = ? AND {bound} ?"  # noqa: S608 (constants)
            f" ORDER BY id{order} LIMIT ?",
            (job.id, place, most),
        ):
            if at_ns > until_ns:
                continue
            slots |= {slot_ns, slot_to_ns}
            if slot_ns < start_ns and slot_to_ns >= end_ns:
                stretch_ns = slot_ns
            if not order and slot_ns >= end_ns:
                break
    within = _within(slots, windows) or _within(asked, windows)
    slots = slots or asked
    return Recorded(
        within,
        max((slot_ns for slot_ns in slots if slot_ns < start_ns), default=None),
        min((slot_ns for slot_ns in slots if slot_ns >= end_ns), default=None),
        stretch_ns,
    )


def _within(slots: set[int], windows: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    found = {slot_ns for slot_ns in slots for begin, end in windows if begin <= slot_ns < end}
    return tuple(sorted(found))


def latest_slot(ledger: sqlite3.Connection, job: JobFacts, *, now_ns: int) -> int | None:
    """Return the latest recorded slot; without one, the time at which the latest run was due.

    Rows that are dated hours after now do not count: the clock was ahead then.
    """
    slots: list[int] = []
    asked: list[int] = []
    until_ns = now_ns + MAX_STEP_BACK_NS
    for slot_ns, due_ns in ledger.execute(
        "SELECT slot_ns, due_ns FROM runs WHERE job = ? AND queued_ns <= ? ORDER BY id DESC LIMIT ?",
        (job.id, until_ns, _MAX_EARLIER),
    ):
        (asked if slot_ns is None else slots).append(due_ns if slot_ns is None else slot_ns)
    rows = ledger.execute(
        "SELECT slot_to_ns FROM skips WHERE job = ? AND at_to_ns <= ? ORDER BY id DESC LIMIT ?",
        (job.id, until_ns, _MAX_EARLIER),
    )
    slots += [slot_to_ns for (slot_to_ns,) in rows]
    return max(slots or asked, default=None)


# --- one slot ---


def record_of(ledger: sqlite3.Connection, job: JobFacts, slot_ns: int) -> SlotRecord:
    """Return the records around a slot, or around the run without a slot that was due then."""
    if abs(slot_ns) > LAST_NS:
        return SlotRecord()
    return _record(ledger, job, slot_ns, _run_of(ledger, job, slot_ns))


def record_of_run(ledger: sqlite3.Connection, job: JobFacts, number: int) -> tuple[int, SlotRecord]:
    """Return the slot of a run on record, or when it was due, and the records around it."""
    row = ledger.execute(f"{_RUN} WHERE id = ?", (number,)).fetchone()
    run = with_its_end(ledger, job.id, _run(ledger, row))
    at_ns = run.due_ns if run.slot_ns is None else run.slot_ns
    return at_ns, _record(ledger, job, at_ns, run)


def latest_run(ledger: sqlite3.Connection, job: JobFacts, *, now_ns: int) -> tuple[int, int] | None:
    """Return the number of the latest run of a job, of any kind, and when it was queued."""
    row: tuple[int, int] | None = ledger.execute(
        "SELECT id, queued_ns FROM runs WHERE job = ? AND queued_ns <= ? AND state != 'skipped'"
        " ORDER BY id DESC LIMIT 1",
        (job.id, now_ns + MAX_STEP_BACK_NS),
    ).fetchone()
    return row


def _record(ledger: sqlite3.Connection, job: JobFacts, slot_ns: int, run: RunFacts | None) -> SlotRecord:
    skip = _skip_of(ledger, job, slot_ns) if run is None or run.state == "skipped" else None
    earlier = made_up = None
    reached_ns = slot_ns
    if skip is not None:
        reached_ns = skip.at_to_ns
        if skip.reason == "missed":
            made_up = _made_up(ledger, job, skip)
            if made_up is not None:
                reached_ns = max(reached_ns, made_up.queued_ns)
    if run is not None:
        reached_ns = max(reached_ns, run.begun_ns or run.queued_ns)
        earlier = _earlier(ledger, job, run)
        if (counted := failures_at(ledger, run.number)) is not None:
            run = replace(run, failures=counted.failures, failing_since_ns=counted.since_ns)
    events = events_around(ledger, slot_ns, reached_ns)
    is_paused = skip is not None and skip.reason == "paused"
    pause = pause_at(ledger, job, slot_ns) if is_paused else None
    paused_ns = None if pause is None else pause.since_ns
    return SlotRecord(run, skip, earlier, made_up, paused_ns, events)


def _run_of(ledger: sqlite3.Connection, job: JobFacts, slot_ns: int) -> RunFacts | None:
    """Return the run of a slot; it was queued at the slot or later, so its id is not smaller."""
    row = ledger.execute(
        f"SELECT * FROM ({_RUN} WHERE job = ? AND {_from(ledger, job, slot_ns)} ORDER BY id LIMIT ?)"  # noqa: S608 (numbers)
        " WHERE slot_ns = ? OR (slot_ns IS NULL AND due_ns = ?)"
        " ORDER BY id LIMIT 1",
        (job.id, MAX_ROWS, slot_ns, slot_ns),
    ).fetchone()
    if row is None:
        # `trigger --instead` may have run it earlier.
        row = ledger.execute(
            f"SELECT * FROM ({_RUN} WHERE job = ? AND {_before(ledger, job, slot_ns)}"  # noqa: S608 (numbers)
            " ORDER BY id DESC LIMIT ?)"
            " WHERE slot_ns = ? AND trigger = 'manual' LIMIT 1",
            (job.id, _MAX_EARLIER, slot_ns),
        ).fetchone()
    return None if row is None else with_its_end(ledger, job.id, _run(ledger, row))


def _skip_of(ledger: sqlite3.Connection, job: JobFacts, slot_ns: int) -> SkipFacts | None:
    row = ledger.execute(
        f"SELECT * FROM ({_SKIP} WHERE job = ? AND id >= ? ORDER BY id LIMIT ?)"  # noqa: S608 (constants)
        " WHERE slot_ns <= ? AND slot_to_ns >= ? AND at_to_ns <= ? ORDER BY id LIMIT 1",
        (job.id, _skip_at(ledger, job, slot_ns), MAX_ROWS, slot_ns, slot_ns, horizon_of(ledger, slot_ns)),
    ).fetchone()
    if row is None:
        return None
    _, first_ns, last_ns, count, reason, detail, at_ns, at_to_ns, run, blocker = row
    found = None if blocker is None else ledger.execute(f"{_RUN} WHERE id = ?", (blocker,)).fetchone()
    return SkipFacts(
        first_ns, last_ns, count, reason, detail or "", at_ns, at_to_ns,
        run=None if run is None else encode_run_id(run),
        blocker=None if found is None else with_its_end(ledger, job.id, _run(ledger, found)),
        blocker_id=None if blocker is None else encode_run_id(blocker),
    )  # fmt: skip


def _skip_at(ledger: sqlite3.Connection, job: JobFacts, instant_ns: int) -> int:
    """Return the least id that skips of the job from an instant on can have."""
    # Two queries: one query for both ends would read all rows between.
    low, high = (
        ledger.execute(f"SELECT {end}(id) FROM skips WHERE job = ?", (job.id,)).fetchone()[0]  # noqa: S608 (constants)
        for end in ("min", "max")
    )
    query = "SELECT id, at_to_ns FROM skips WHERE job = ? AND id >= ? AND at_to_ns <= ? ORDER BY id LIMIT 1"
    until_ns = horizon_of(ledger, instant_ns)

    def first_from(middle: int) -> tuple[int, int] | None:
        found: tuple[int, int] | None = ledger.execute(query, (job.id, middle, until_ns)).fetchone()
        return found

    return halved(low, high, instant_ns, first_from)


def _from(ledger: sqlite3.Connection, job: JobFacts, instant_ns: int) -> str:
    """Return the SQL condition for runs queued from an instant on."""
    condition = f"id >= {run_number(instant_ns, last=-1)}"
    if is_displaced(ledger, job.id):
        condition += f" AND queued_ns <= {horizon_of(ledger, instant_ns)}"
    return condition


def _before(ledger: sqlite3.Connection, job: JobFacts, instant_ns: int) -> str:
    """Return the SQL condition for runs queued before an instant; ids may be ahead of the clock."""
    if is_displaced(ledger, job.id):
        return f"queued_ns < {min(instant_ns, LAST_NS)} AND queued_ns <= {horizon_of(ledger, instant_ns)}"
    return f"id < {run_number(instant_ns, last=-1)}"


def _made_up(ledger: sqlite3.Connection, job: JobFacts, skip: SkipFacts) -> RunFacts | None:
    """Return the run for a later slot that was queued when these slots were found to be missed."""
    row = ledger.execute(
        f"SELECT * FROM ({_RUN} WHERE job = ? AND {_from(ledger, job, skip.at_ns)} ORDER BY id LIMIT ?)"  # noqa: S608 (numbers)
        # A slot that is on time also covers the missed ones before it.
        " WHERE trigger IN ('catch_up', 'slot') AND queued_ns BETWEEN ? AND ? AND slot_ns > ?"
        " ORDER BY id DESC LIMIT 1",
        (
            job.id, _MAX_EARLIER, skip.at_ns, skip.at_to_ns, skip.slot_to_ns,
        ),
    ).fetchone()  # fmt: skip
    return None if row is None else with_its_end(ledger, job.id, _run(ledger, row))


def _earlier(ledger: sqlite3.Connection, job: JobFacts, run: RunFacts) -> RunFacts | None:
    """Return the latest earlier run of the job that had not ended when this one was queued."""
    row = ledger.execute(
        f"SELECT * FROM ({_RUN} WHERE job = ? AND id < ? ORDER BY id DESC LIMIT ?)"  # noqa: S608 (constants)
        # Ignore ends that were recorded while the clock was ahead.
        " WHERE ended_ns IS NULL OR (ended_ns > ? AND ended_ns <= ?) ORDER BY id DESC LIMIT 1",
        (job.id, run.number, _MAX_EARLIER, run.queued_ns, horizon_of(ledger, run.queued_ns)),
    ).fetchone()
    return None if row is None else with_its_end(ledger, job.id, _run(ledger, row))


def _run(ledger: sqlite3.Connection, row: tuple[Any, ...]) -> RunFacts:
    number, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns, detail = row
    attempts = ledger.execute(
        "SELECT task, number, state, begun_ns, pid, started_ns, ended_ns, duration_ns, exit_code, signal,"
        " coalesce(detail, ''), next_ns, output_bytes, coalesce(output_error, ''),"
        " stop_ns, coalesce(stopped_for_ns, 0), coalesce(handle, '')"
        " FROM attempts WHERE run = ? ORDER BY task, number LIMIT ?",
        (number, _MAX_ATTEMPTS),
    )
    return RunFacts(
        encode_run_id(number), slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns, detail or "",
        tuple(AttemptFacts(*attempt) for attempt in attempts),
    )  # fmt: skip
