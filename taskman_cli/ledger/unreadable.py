"""Unreadable rows: each is set aside by itself, and replaced so that nothing runs twice.

The row as it was found goes into the table `set_aside`. A job whose state cannot be read is paused from now
on: its slots so far count as accounted for. A run that cannot be read is recorded as lost; if the supervisor
watches it, it leaves the tables and comes back as the supervisor knows it.

This is done before the scheduler reads anything, in one transaction.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from taskman_cli.core.engine.runs import decode_run_id, encode_run_id
from taskman_cli.core.model import State, Trigger
from taskman_cli.core.pause import Pause
from taskman_cli.ledger import values
from taskman_cli.ledger.oddreports import set_aside_odd_reports
from taskman_cli.ledger.othertables import (
    look_at_decided,
    look_at_needs,
    look_at_once_jobs,
    look_at_rates,
    look_at_standing,
)
from taskman_cli.ledger.shelf import Shelf

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from taskman_cli.ledger.shelf import Life, Row, SetAsideRow

#: How many of the latest runs are checked for an unknown state; older ones were checked before.
_LATEST_RUNS = 20_000
#: Most rows with impossible numbers that are set aside; further ones are only removed.
_MOST_ODD = 1_000
#: Why such a job is paused, as `why` and `list` show it.
PAUSED = "its state in the ledger could not be read"


def set_aside_unreadable(connection: sqlite3.Connection, life: Life) -> tuple[list[SetAsideRow], bool]:
    """Set aside what cannot be read; return also whether a job's name is among it. Raises sqlite3.Error."""
    work = _Work(connection, life)
    connection.execute("BEGIN IMMEDIATE")
    try:
        work.do()
        connection.execute("COMMIT" if work.found else "ROLLBACK")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return work.found, work.is_name_lost


class _Work:
    def __init__(self, connection: sqlite3.Connection, life: Life) -> None:
        self._connection = connection
        self._life = life
        self._shelf = Shelf(connection, life)
        self._rows, self._keep, self.found = self._shelf.rows, self._shelf.keep, self._shelf.found
        self._jobs: dict[object, str] = {}
        self.is_name_lost = False

    def do(self) -> None:
        for table, column, most in (
            ("events", "seq", values.MOST_ROW),
            ("reports", "seq", values.MOST_ROW),
            ("skips", "id", values.MOST_ROW),
            ("runs", "id", values.MOST_RUN),
            ("job_state", "id", values.MOST_ROW),
        ):
            self._drop_odd(table, column, most)
        self._look_at_jobs()
        self._look_at_runs()
        look_at_once_jobs(self._shelf)
        look_at_rates(self._shelf)
        look_at_needs(self._shelf, self._jobs)
        look_at_decided(self._shelf)
        look_at_standing(self._shelf)
        set_aside_odd_reports(self._connection, self._rows, self._keep)
        if self.found:
            self._shelf.clear_old()

    # --- numbers ---

    def _drop_odd(self, table: str, column: str, most: int) -> None:
        """Set aside rows whose numbers leave no room for later ones."""
        where = f"{column} < 1 OR {column} > {most}"
        rows = list(self._rows(f"SELECT * FROM {table} WHERE {where} LIMIT {_MOST_ODD}"))  # noqa: S608 (ours)
        for row in rows:
            why = f"{column} is {values.shown(row[column])}"
            name = row.get("name")
            job = name if values.is_name(name) else None
            self._keep(table, row, why, f"a row of {table} ({why}): it was removed", job=job)
            if table == "job_state":
                self._give_number(row)
        if rows:
            self._connection.execute(f"DELETE FROM {table} WHERE {where}")  # noqa: S608 (ours)

    def _give_number(self, row: Row) -> None:
        """Give a job another number, without a state: it is paused like the others without one."""
        self._connection.execute("DELETE FROM job_state WHERE id = ?", (row["id"],))
        self._connection.execute(
            "INSERT INTO job_state (name, definition, since_ns, anchor_ns) VALUES (?, '', 0, 0)",
            (row["name"],),
        )

    # --- jobs ---

    def _look_at_jobs(self) -> None:
        names: set[str] = set()
        for row in self._rows("SELECT * FROM job_state ORDER BY id"):
            name = row["name"]
            if not values.is_name(name) or name in names:
                self._rename(row)
                continue
            names.add(name)
            self._jobs[row["id"]] = name
            try:
                values.check_job(row, now_ns=self._life.wall_ns)
            except values.BadValue as error:
                self._pause(row, str(error))

    def _rename(self, row: Row) -> None:
        """Keep a job whose name cannot be read, as a job that is not defined any more."""
        name = f"damaged-{row['id']}"
        why = f"name is {values.shown(row['name'])}"
        words = f"the state of a job ({why})"
        if row["removed_ns"] is None or not values.is_instant(row["removed_ns"]):
            self.is_name_lost = True
            words += ": every job that is new to the ledger is paused, since any of them may be this one"
        self._keep("job_state", row, why, words)
        self._connection.execute("DELETE FROM job_state WHERE id = ?", (row["id"],))
        self._stand_in(row["id"], name)

    def _stand_in(self, number: object, name: str) -> None:
        """Make a row of a job that is not defined any more, for the rows that belong to it."""
        self._connection.execute(
            "INSERT OR REPLACE INTO job_state"
            " (id, name, definition, since_ns, anchor_ns, removed_ns, removed_seq)"
            " VALUES (?, ?, '{}', 0, 0, ?, (SELECT coalesce(max(seq), 0) FROM events))",
            (number, name, self._life.wall_ns),
        )
        self._jobs[number] = name

    def _pause(self, row: Row, why: str) -> None:
        """Pause a job from now on, unless it is certain that it was removed."""
        now_ns = self._life.wall_ns
        removed_ns, seq = row["removed_ns"], row["removed_seq"]
        is_out = removed_ns is not None and values.is_instant(removed_ns) and row["hidden"] is None
        words = f"the state of job {row['name']} ({why})"
        pause = None
        if is_out:
            seq = seq if values.is_int(seq, 0, values.MOST_ROW) else 0
        else:
            removed_ns = seq = None
            pause = json.dumps(asdict(Pause(now_ns, reason=f"{PAUSED}: {why}", by="taskman")))
            words += ": it is paused until `taskman resume`"
        count = row["run_count"] if values.is_int(row["run_count"], 0, 2**53) else 0
        self._keep("job_state", row, why, words, job=row["name"])
        # A new row, so that the trigger for changed definitions does not see this one.
        self._connection.execute("DELETE FROM job_state WHERE id = ?", (row["id"],))
        self._connection.execute(
            "INSERT INTO job_state (id, name, definition, since_ns, anchor_ns, run_count, removed_ns,"
            " removed_seq, pause) VALUES (?, ?, '{}', 0, ?, ?, ?, ?, ?)",
            (row["id"], row["name"], now_ns, count, removed_ns, seq, pause),
        )

    # --- runs ---

    def _look_at_runs(self) -> None:
        # Two queries: the unfinished runs by their index, the others by their numbers.
        known = ", ".join(f"'{state}'" for state in State)
        open_runs = self._rows("SELECT * FROM runs WHERE state IN ('queued', 'running') ORDER BY id")
        strange = self._rows(
            "SELECT * FROM (SELECT * FROM runs ORDER BY id DESC LIMIT ?)"  # noqa: S608 (ours)
            f" WHERE state NOT IN ({known})",
            _LATEST_RUNS,
        )
        numbers = frozenset(self._jobs)
        for row in [*open_runs, *strange]:
            attempts = list(self._rows("SELECT * FROM attempts WHERE run = ?", row["id"]))
            try:
                values.check_run(row, jobs=numbers, attempts=len(attempts))
                for attempt in attempts:
                    values.check_attempt(attempt)
            except values.BadValue as error:
                self._lose(row, attempts, str(error))
        for run in sorted(self._life.watched):
            self._look_for_remains(run)

    def _look_for_remains(self, run: str) -> None:
        """Set aside the attempts of a watched run whose row is missing."""
        number = decode_run_id(run)
        if next(self._rows("SELECT id FROM runs WHERE id = ?", number), None) is not None:
            return
        for attempt in self._rows("SELECT * FROM attempts WHERE run = ?", number):
            words = f"an attempt of run {run}, whose row is missing: it continues as the supervisor knows it"
            self._keep("attempts", attempt, "its run is missing", words)
        self._connection.execute("DELETE FROM attempts WHERE run = ?", (number,))

    def _lose(self, row: Row, attempts: list[Row], why: str) -> None:
        run = encode_run_id(row["id"])
        job = self._jobs.get(row["job"])
        pids = [attempt["pid"] for attempt in attempts if attempt["ended_ns"] is None and attempt["pid"]]
        words = f"run {run} of {job or 'an unknown job'} ({why})"
        is_watched = run in self._life.watched
        if is_watched:
            words += ": it continues as the supervisor knows it"
        else:
            words += ": it is recorded as lost, and its slot does not run again"
            if pids:
                words += f"; process {', '.join(map(values.shown, pids))} may still run"
        self._keep("runs", row, why, words, job=job)
        for attempt in attempts:
            self._keep_attempt(attempt, why, job)
        self._connection.execute("DELETE FROM attempts WHERE run = ?", (row["id"],))
        self._connection.execute("DELETE FROM runs WHERE id = ?", (row["id"],))
        if is_watched:
            return
        self._put_lost(row, why)
        for attempt in attempts:
            self._put_lost_attempt(attempt, why)

    def _keep_attempt(self, row: Row, why: str, job: str | None) -> None:
        self._keep("attempts", row, why, "", job=job)
        self.found.pop()  # the message about its run is enough

    def _put_lost(self, row: Row, why: str) -> None:
        """Record a run as lost, with what can be read of it."""
        if row["job"] not in self._jobs:
            number = row["job"] if values.is_int(row["job"], 1, values.MOST_ROW) else None
            if number is None:
                number = 1 + max((id_ for id_ in self._jobs if isinstance(id_, int)), default=0)
            self._stand_in(number, f"damaged-{number}")
            row = row | {"job": number}
        queued_ns = row["queued_ns"] if values.is_instant(row["queued_ns"]) else self._life.wall_ns
        self._connection.execute(
            "INSERT INTO runs (id, job, slot_ns, trigger, due_ns, state, queued_ns, begun_ns, ended_ns,"
            " detail, ended_seq)"
            " VALUES (?, ?, ?, ?, ?, 'lost', ?, ?, ?, ?, (SELECT coalesce(max(seq), 0) FROM events))",
            (
                row["id"],
                row["job"],
                _kept(row["slot_ns"], values.is_instant),
                row["trigger"] if values.is_trigger(row["trigger"]) else Trigger.MANUAL,
                row["due_ns"] if values.is_instant(row["due_ns"]) else queued_ns,
                queued_ns,
                _kept(row["begun_ns"], values.is_instant),
                self._life.wall_ns,
                f"its row in the ledger could not be read: {why}",
            ),
        )

    def _put_lost_attempt(self, row: Row, why: str) -> None:
        try:
            values.check_attempt(row)
        except values.BadValue:
            return
        ended = {}
        if row["state"] in (State.QUEUED, State.RUNNING):
            ended = {"state": State.LOST.value, "ended_ns": self._life.wall_ns, "next_ns": None}
        row = row | ended
        marks = ", ".join("?" * len(row))
        self._connection.execute(
            f"INSERT OR IGNORE INTO attempts ({', '.join(row)}) VALUES ({marks})",  # noqa: S608 (its columns)
            tuple(row.values()),
        )


def _kept(value: object, is_good: Callable[[object], bool]) -> object:
    return value if is_good(value) else None
