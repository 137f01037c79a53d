"""Unreadable rows of the other tables: one-off jobs, rates, needs of memory, the scheduler's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.takeover import OWED
from taskman_cli.ledger import values
from taskman_cli.ledger.oncejobs import once_from
from taskman_cli.ledger.texts import matching

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.ledger.shelf import Row, Shelf

#: How many runs, skips and lines of the journal are searched for the latest slot that was accounted for.
_LATEST_LINES = 200


def look_at_once_jobs(shelf: Shelf) -> None:
    """Set aside one-off jobs that cannot be read."""
    for row in shelf.rows("SELECT rowid AS number, * FROM once_jobs ORDER BY rowid"):
        number = row.pop("number")
        try:
            values.check(values.is_name(row["name"]), "name", row["name"])
            once_from(row["name"], row["job"])
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            name = row["name"] if values.is_name(row["name"]) else None
            why = values.shown(str(error) or type(error).__name__)
            words = f"the one-off {name or 'without a name'} ({why}): it does not run"
            shelf.keep("once_jobs", row, why, words, job=name)
            shelf.connection.execute("DELETE FROM once_jobs WHERE rowid = ?", (number,))


def look_at_rates(shelf: Shelf) -> None:
    """Set aside starts on resources that cannot be read."""
    for row in shelf.rows("SELECT rowid AS number, * FROM rates"):
        number = row.pop("number")
        if why := values.problem_of_rate(row):
            shelf.keep("rates", row, why, f"starts on a resource ({why}): its rate begins anew")
            shelf.connection.execute("DELETE FROM rates WHERE rowid = ?", (number,))


def look_at_needs(shelf: Shelf, jobs: Mapping[object, str]) -> None:
    """Set aside what was learned of memory and cannot be read; `jobs`: all that there are, by number."""
    for row in shelf.rows("SELECT rowid AS number, * FROM needs"):
        number = row.pop("number")
        if why := values.problem_of_need(row, jobs=jobs):
            job = jobs.get(row["job"])
            words = (
                f"what a task of {job or 'an unknown job'} needs of the memory ({why}): it is learned anew"
            )
            shelf.keep("needs", row, why, words, job=job)
            shelf.connection.execute("DELETE FROM needs WHERE rowid = ?", (number,))


def look_at_decided(shelf: Shelf) -> None:
    """Set aside rows that cannot be read of jobs whose slots are accounted for by another instant."""
    for row in shelf.rows("SELECT * FROM decided"):
        is_named = values.is_name(row["job"])
        try:
            values.check(is_named, "job", row["job"])
            values.check(values.is_instant(row["until_ns"]), "until_ns", row["until_ns"])
        except values.BadValue as error:
            name = row["job"] if is_named else None
            words = f"the slots of {name or 'a job'} ({error}): all until now count as accounted for"
            shelf.keep("decided", row, str(error), words, job=name)
            where, bound = matching(row)
            shelf.connection.execute(f"DELETE FROM decided WHERE {where}", bound)  # noqa: S608 (ours)
            if is_named:
                shelf.connection.execute("INSERT INTO decided VALUES (?, ?)", (name, shelf.life.wall_ns))
            else:  # it may be any
                shelf.connection.execute(
                    "UPDATE standing SET accounted_ns = max(accounted_ns, ?)", (shelf.life.wall_ns,)
                )


def look_at_standing(shelf: Shelf) -> None:
    """Set aside the state of the scheduler, if it cannot be read or is older than other rows."""
    rows = list(shelf.rows("SELECT * FROM standing"))
    (is_used,) = shelf.connection.execute(
        "SELECT EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM job_state)"
    ).fetchone()
    try:
        values.check(len(rows) == 1 and rows[0]["id"] == 1, "the row of", "standing")
        values.check_standing(rows[0])
        accounted_ns = rows[0]["accounted_ns"]
        (decided_ns,) = shelf.connection.execute("SELECT max(until_ns) FROM decided").fetchone()
        if accounted_ns is not None and decided_ns is not None:
            accounted_ns = max(accounted_ns, decided_ns)
        is_early = is_used and (accounted_ns is None or accounted_ns < _last_slot(shelf, accounted_ns))
        values.check(not is_early, "accounted_ns", accounted_ns)
        return
    except values.BadValue as error:
        why = str(error) if rows else "it is missing"
    for row in rows or [{}]:
        words = f"the state of the scheduler ({why}): all slots until now count as accounted for"
        shelf.keep("standing", row, why, words)
    shelf.connection.execute("DELETE FROM standing")
    # As if a scheduler had continued: `run_on_start` and `@reboot` are not repeated.
    shelf.connection.execute(
        "INSERT INTO standing (id, accounted_ns, boot, supervisor, last_run) VALUES (1, ?, ?, ?, ?)",
        (
            shelf.life.wall_ns if is_used else None,
            shelf.life.boot,
            shelf.life.supervisor,
            _last_run(rows),
        ),
    )


def _last_slot(shelf: Shelf, accounted_ns: int) -> int:
    """Return the latest slot that became a run or a skip, from the last rows of each.

    Slots after the last line of the journal were reached by a clock that was ahead and has been set back.
    """
    latest = shelf.connection.execute("SELECT at_ns FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    until_ns = shelf.life.wall_ns
    if latest and values.is_int(latest[0], accounted_ns, until_ns):
        until_ns = latest[0]
    slots = "SELECT max(slot_ns) FROM ({}) WHERE typeof(slot_ns) = 'integer' AND slot_ns <= ?"
    of_runs = "SELECT slot_ns FROM runs WHERE trigger IN ('slot', 'catch_up') ORDER BY id DESC LIMIT ?"
    of_lines = (
        "SELECT slot_ns FROM (SELECT * FROM events ORDER BY seq DESC LIMIT ?)"
        " WHERE kind = 'queued' AND state IN ('slot', 'catch_up')"
    )
    # Slots that were skipped while jobs were loaded may be later: nothing is accounted for until a slot
    # is due.
    at_loading = f"coalesce(detail LIKE '{OWED} %' OR detail LIKE 'paused: %', FALSE)"
    latest_skips = "SELECT * FROM skips ORDER BY id DESC LIMIT ?"
    of_skips = f"SELECT slot_to_ns AS slot_ns FROM ({latest_skips}) WHERE NOT {at_loading}"  # noqa: S608 (ours)
    found = [
        shelf.connection.execute(slots.format(query), (_LATEST_LINES, until_ns)).fetchone()[0]
        for query in (of_runs, of_lines, of_skips)
    ]
    return max(slot_ns or 0 for slot_ns in found)


def _last_run(rows: list[Row]) -> int:
    found = [row["last_run"] for row in rows if values.is_int(row["last_run"], 0, values.MOST_RUN)]
    return max(found, default=0)
