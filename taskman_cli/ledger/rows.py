"""What records and marks are in the tables: the rows of one transaction.

What several records of a transaction say of one run or attempt is written once: a short command costs little
more than its rows. Marks are in `markrows`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS
from taskman_cli.core.engine.runs import decode_run_id
from taskman_cli.core.model import State
from taskman_cli.core.sinks import ReportKind
from taskman_cli.ledger import statements as sql
from taskman_cli.ledger.markrows import statements_of
from taskman_cli.ledger.statements import ABSENT
from taskman_cli.ledger.texts import stored, stored_amounts
from taskman_cli.ledger.turn import ReadOutput, Turn, no_output

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.ledger.skips import SkipRows

_Row = list[Any]
_AttemptKey = tuple[int, str, int]

_number = lru_cache(maxsize=1024)(decode_run_id)


class Rows:
    """Rows of one transaction, gathered before they are stored."""

    def __init__(
        self,
        job_id: Callable[[str, Now, int], int],
        skips: SkipRows,
        supervisor: int,
        now: Now,
        *,
        last_seq: int,
        read_output: ReadOutput = no_output,
    ) -> None:
        self._find_job_id = job_id
        #: The last line of the journal so far.
        self.last_seq = last_seq
        self._skips = skips
        self._read_output = read_output
        self._supervisor = supervisor
        self._now = now
        self._at_ns = now.wall_ns
        self._offset_ns = now.wall_ns - now.elapsed_ns
        self._events: list[tuple[Any, ...]] = []
        self._new_runs: dict[int, _Row] = {}
        self._begun_runs: list[tuple[Any, ...]] = []
        self._cancelled_runs: list[tuple[int]] = []
        #: Runs of which the sinks were told that they have begun, or take long.
        self._told_runs: list[tuple[int, int | str]] = []
        self._slow_runs: list[tuple[int, int | str]] = []
        self._ended_runs: list[tuple[Any, ...]] = []
        self._new_attempts: dict[_AttemptKey, _Row] = {}
        self._spawned: dict[_AttemptKey, tuple[int | None, int, int]] = {}
        self._ended_attempts: list[tuple[Any, ...]] = []
        #: What new attempts hold of the resources.
        self._held: dict[_AttemptKey, str] = {}
        #: By which executors find new attempts again.
        self._handles: dict[_AttemptKey, str] = {}
        #: (statement, parameters), for what is rare.
        self._others: list[tuple[str, tuple[Any, ...]]] = []

    def add(self, record: effects.Record | effects.Mark) -> None:
        """Take in one record or mark."""
        add = _ADD.get(type(record))
        if add is not None:
            add(self, record)
            return
        turn = Turn(self._at_ns, self._offset_ns, self.last_seq, self._job_id, self._read_output)
        self._others += statements_of(record, turn)

    def store(self, connection: sqlite3.Connection) -> None:
        """Write all rows."""
        many = connection.executemany
        for statement, group in groupby(self._others, itemgetter(0)):
            many(statement, [parameters for _, parameters in group])
        for statement, rows in (
            (sql.INSERT_RUN, self._new_runs.values()),
            (sql.BEGIN_RUN, self._begun_runs),
            (sql.CANCEL_RUN, self._cancelled_runs),
            (sql.TELL_RUN, self._told_runs),
            (sql.SLOW_RUN, self._slow_runs),
            (sql.END_RUN, self._ended_runs),
        ):
            if rows:
                many(statement, rows)
        attempts, held, handles = self._new_attempts, self._held, self._handles
        if begun := [key for key, row in attempts.items() if len(row) == sql.BEGUN_COLUMNS]:
            named = [(*attempts[key], held.pop(key, ABSENT), handles.pop(key, ABSENT)) for key in begun]
            many(sql.BEGIN_ATTEMPT, named)
        if len(begun) < len(attempts):
            many(sql.INSERT_ATTEMPT, [row for row in attempts.values() if len(row) > sql.BEGUN_COLUMNS])
        for statement, rest in (
            (sql.HOLD_ATTEMPT, [(holds, *key) for key, holds in held.items()]),
            (sql.HANDLE_ATTEMPT, [(handle, *key) for key, handle in handles.items()]),
            (sql.SPAWN_ATTEMPT, [(*spawn, *key) for key, spawn in self._spawned.items()]),
            (sql.END_ATTEMPT, self._ended_attempts),
            (sql.INSERT_EVENT, self._events),
        ):
            if rest:
                many(statement, rest)

    # --- runs ---

    def _run_queued(self, record: effects.RunQueued) -> None:
        run = _number(record.run)
        params = json.dumps(dict(record.params)) if record.params else ABSENT
        self._new_runs[run] = [
            run, self._job_id(record.job), record.slot_ns, str(record.trigger), record.due_ns, "queued",
            self._at_ns, ABSENT, ABSENT, ABSENT, record.task or ABSENT, params, ABSENT, ABSENT,
        ]  # fmt: skip
        if record.slot_ns is not None:
            self._skips.end_row(record.job)
        self._event("queued", record.job, run, slot_ns=record.slot_ns, state=record.trigger)

    def _attempt_begun(self, record: effects.AttemptBegun) -> None:
        run = _number(record.run)
        row = self._new_runs.get(run)
        if row is None:
            self._begun_runs.append((self._at_ns, run))
        elif row[sql.RUN_BEGUN] == ABSENT:
            row[sql.RUN_STATE], row[sql.RUN_BEGUN] = "running", self._at_ns
        key = (run, record.task, record.attempt)
        self._new_attempts[key] = [*key, "running", self._supervisor, self._at_ns]
        if record.holds:
            self._held[key] = stored_amounts(record.holds)
        if record.handle:
            self._handles[key] = record.handle
        if record.is_start:
            self._event("begun", record.job, run, record.task, record.attempt, record.slot_ns)

    def _attempt_withdrawn(self, record: effects.AttemptWithdrawn) -> None:
        run = _number(record.run)
        key = (run, record.task, record.attempt)
        self._spawned.pop(key, None)
        self._held.pop(key, None)
        self._handles.pop(key, None)
        if self._new_attempts.pop(key, None) is None:
            self._other("DELETE FROM attempts WHERE run = ? AND task = ? AND number = ?", *key)
        if not any(begun == run for begun, _, _ in self._new_attempts):
            self._begun_runs = [(at_ns, begun) for at_ns, begun in self._begun_runs if begun != run]
            row = self._new_runs.get(run)
            if row is None:
                self._other(sql.UNBEGIN_RUN, run, run)
            else:
                row[sql.RUN_STATE], row[sql.RUN_BEGUN] = "queued", ABSENT
        self._event("withdrawn", record.job, run, record.task, record.attempt)

    def _run_cancelling(self, record: effects.RunCancelling) -> None:
        run = _number(record.run)
        self._cancelled_runs.append((run,))
        self._event("cancelling", record.job, run)

    def _run_finished(self, record: effects.RunFinished) -> None:
        run = _number(record.run)
        self._end_run(run, record.state, record.detail)
        data: dict[str, object] = {"undone": record.undone} if record.undone else {}
        if failing := record.failing:
            # Retention may remove the runs before it: the next scheduler counts on from here.
            data |= {"failures": failing.failures, "since_ns": failing.since_ns}
            data |= {"is_more": True} if failing.is_more else {}
        self._event(
            "finished", record.job, run, slot_ns=record.slot_ns, state=record.state, detail=record.detail,
            data=data or None,
        )  # fmt: skip

    def _end_run(self, run: int, state: State, detail: str) -> None:
        row = self._new_runs.get(run)
        kept = stored(detail)
        seq = self.last_seq + 1  # of the journal's line for it, which comes next
        if row is None:
            self._ended_runs.append((str(state), self._at_ns, kept, seq, run))
        else:
            row[sql.RUN_STATE], row[sql.RUN_ENDED], row[sql.RUN_DETAIL] = str(state), self._at_ns, kept
            row[sql.RUN_ENDED_SEQ] = seq

    def _slots_skipped(self, record: effects.SlotsSkipped) -> None:
        run = None if record.run is None else _number(record.run)
        blocker = None if record.blocker is None else _number(record.blocker)
        job_id = self._job_id(record.job)
        statement = self._skips.add(record, job_id, run=run, blocker=blocker, at_ns=self._at_ns)
        self._others.append(statement)
        if run is not None:
            self._end_run(run, State.SKIPPED, record.detail)
        data = None
        if record.count != 1 or record.blocker:
            data = {"slot_to_ns": record.last_ns, "count": record.count, "blocker": record.blocker}
        self._event(
            "skipped", record.job, run, slot_ns=record.first_ns, state=record.reason, detail=record.detail,
            data=data,
        )  # fmt: skip

    # --- attempts ---

    def _attempt_spawned(self, record: effects.AttemptSpawned) -> None:
        key = (_number(record.run), record.task, record.attempt)
        spawn = (record.pid, *record.started)
        row = self._new_attempts.get(key)
        if row is None:
            self._spawned[key] = spawn
        else:
            _whole(row)[sql.SPAWN] = spawn

    def _attempt_ending(self, record: effects.AttemptEnding) -> None:
        key = (_number(record.run), record.task, record.attempt)
        told = (str(record.state), *record.at)
        row = self._new_attempts.get(key)
        if row is None:
            self._other(sql.TELL_ATTEMPT, *told, *key)
        else:
            _whole(row)[sql.TOLD] = told

    def _attempt_stopped(self, record: effects.AttemptStopped) -> None:
        key = (_number(record.run), record.task, record.attempt)
        row = self._new_attempts.get(key)
        if row is None:
            self._other(sql.STOP_ATTEMPT, *record.at, *key)
        else:
            row = _whole(row)
            row[sql.STOP] = (*record.at, row[sql.STOP][-1])
        self._event("stopped", record.job, *key)

    def _attempt_continued(self, record: effects.AttemptContinued) -> None:
        key = (_number(record.run), record.task, record.attempt)
        row = self._new_attempts.get(key)
        if row is None:
            self._other(sql.CONTINUE_ATTEMPT, record.stopped_ns, *key)
        else:
            _whole(row)[sql.STOP] = (None, None, record.stopped_ns)
        self._event("continued", record.job, *key, data={"stopped_ns": record.stopped_ns, "why": record.why})

    def _attempt_stuck(self, record: effects.AttemptStuck) -> None:
        run = _number(record.run)
        self._event("stuck", record.job, run, record.task, record.attempt, data={"pid": record.pid})

    def _survivors_found(self, record: effects.SurvivorsFound) -> None:
        self._event(
            "survivors", record.job, _number(record.run), record.task, record.attempt,
            data={
                "signal": record.signum,
                "count": record.count,
                "processes": [{"pid": pid, "name": name} for pid, name in record.named],
            },
        )  # fmt: skip

    def _attempt_adopted(self, record: effects.AttemptAdopted) -> None:
        run = _number(record.run)
        self._event("adopted", record.job, run, record.task, record.attempt, data={"pid": record.pid})

    def _attempt_finished(self, record: effects.AttemptFinished) -> None:
        run = _number(record.run)
        key = (run, record.task, record.attempt)
        end, detail = record.exit, stored(record.detail)
        next_ns = ABSENT if record.retry_in_ns is None else record.ended_ns + record.retry_in_ns
        usage: tuple[Any, ...] = (None,) * 6
        output_error: str | bytes = ABSENT
        if end is not None:
            usage = (
                end.exit_code, ABSENT if end.signal is None else end.signal, end.cpu_s, end.peak_rss_bytes,
                end.output_bytes, end.cut_bytes,
            )  # fmt: skip
            output_error = stored(end.output_error or ABSENT)
        values = (record.ended_ns, record.duration_ns, *usage, detail, next_ns, output_error)
        row = self._new_attempts.get(key)
        if row is None:
            spawn = self._spawned.pop(key, (None, None, None))
            self._ended_attempts.append((str(record.state), *spawn, *values, *key))
        else:
            _whole(row)[sql.ATTEMPT_STATE], row[sql.END] = str(record.state), values
        self._event(
            "ended", record.job, run, record.task, record.attempt, state=record.state, detail=record.detail
        )

    # --- the scheduler ---

    def _spawn_delayed(self, record: effects.SpawnDelayed) -> None:
        data: dict[str, object] = {"pause_ns": record.pause_ns}
        if record.user:
            data |= {"user": record.user, "run": record.run}
        if record.executor:
            data |= {"executor": record.executor, "run": record.run}
        self._event("spawn_delayed", detail=record.message, data=data)

    def _clock_stepped(self, record: effects.ClockStepNoted) -> None:
        # Intervals count elapsed time, so all their instants move with the clock; see ArmedJob.is_elapsed.
        self._other(sql.MOVE_INTERVALS, *(record.delta_ns,) * 3)
        self._other("UPDATE job_state SET since_ns = min(since_ns, ?)", self._at_ns)
        if record.delta_ns < -MAX_STEP_BACK_NS:
            self._other("UPDATE job_state SET taken_ns = NULL")
        # Runs that wait now: the table does not know yet what these rows have begun or ended.
        known = {run for _, run in self._begun_runs} | {ended[-1] for ended in self._ended_runs}
        self._other(sql.MOVE_RUNS, record.delta_ns, json.dumps(sorted(known)))
        for row in self._new_runs.values():
            if row[sql.RUN_BEGUN] == row[sql.RUN_ENDED] == ABSENT:
                row[sql.RUN_MOVED] = (row[sql.RUN_MOVED] or 0) + record.delta_ns
        self._other("UPDATE standing SET offset_ns = ?", self._offset_ns)
        self._event("clock_stepped", data={"delta_ns": record.delta_ns})

    def _jobs_taken(self, record: effects.JobsTaken) -> None:
        data = {
            "jobs": record.jobs, "added": record.added, "changed": record.changed, "removed": record.removed
        }  # fmt: skip
        self._event("jobs_loaded", data=data)

    def _commanded(self, record: effects.Commanded) -> None:
        run = ABSENT if record.run is None else _number(record.run)
        self._event(record.kind, record.job or ABSENT, run, detail=record.detail, data={"by": record.by})

    def _scheduler_noted(self, record: effects.SchedulerNoted) -> None:
        self._event(record.kind, detail=record.detail, at_ns=record.at_ns)

    def _noticed(self, record: effects.Noticed) -> None:
        run = ABSENT if record.run is None else _number(record.run)
        if record.kind is ReportKind.SLOW:
            self._slow_runs.append((self._at_ns, run))
        self._event(record.kind, record.job, run, slot_ns=record.slot_ns, detail=record.detail)

    def _run_told(self, mark: effects.RunTold) -> None:
        rows = self._slow_runs if mark.kind is ReportKind.SLOW else self._told_runs
        rows.append((self._at_ns, _number(mark.run)))

    # --- rows ---

    def _job_id(self, name: str) -> int:
        return self._find_job_id(name, self._now, self.last_seq)

    def _other(self, statement: str, *parameters: Any) -> None:
        self._others.append((statement, parameters))

    def _event(
        self,
        kind: str,
        job: str = ABSENT,
        run: int | str | None = ABSENT,
        task: str = ABSENT,
        attempt: int | str = ABSENT,
        slot_ns: int | str | None = ABSENT,
        *,
        state: str = ABSENT,
        detail: str = ABSENT,
        data: dict[str, Any] | None = None,
        at_ns: int | None = None,
    ) -> None:
        text = ABSENT if data is None else json.dumps(data)
        at_ns = self._at_ns if at_ns is None else min(at_ns, self._at_ns)
        self.last_seq += 1
        self._events.append(
            (self.last_seq, at_ns, kind, job, run, task, attempt, slot_ns, str(state), stored(detail), text)
        )


def _whole(row: _Row) -> _Row:
    """Return the row of a new attempt with all its columns."""
    row += [None] * (sql.ATTEMPT_COLUMNS - len(row))
    return row


_ADD: dict[type, Callable[[Rows, Any], None]] = {
    effects.RunQueued: Rows._run_queued,
    effects.AttemptBegun: Rows._attempt_begun,
    effects.AttemptWithdrawn: Rows._attempt_withdrawn,
    effects.AttemptSpawned: Rows._attempt_spawned,
    effects.AttemptEnding: Rows._attempt_ending,
    effects.AttemptStopped: Rows._attempt_stopped,
    effects.AttemptContinued: Rows._attempt_continued,
    effects.AttemptStuck: Rows._attempt_stuck,
    effects.SurvivorsFound: Rows._survivors_found,
    effects.AttemptAdopted: Rows._attempt_adopted,
    effects.AttemptFinished: Rows._attempt_finished,
    effects.RunFinished: Rows._run_finished,
    effects.RunCancelling: Rows._run_cancelling,
    effects.RunTold: Rows._run_told,
    effects.SlotsSkipped: Rows._slots_skipped,
    effects.SpawnDelayed: Rows._spawn_delayed,
    effects.ClockStepNoted: Rows._clock_stepped,
    effects.SuspendNoted: lambda rows, record: rows._event("suspended", data={"length_ns": record.length_ns}),
    effects.JobsTaken: Rows._jobs_taken,
    effects.Commanded: Rows._commanded,
    effects.SchedulerNoted: Rows._scheduler_noted,
    effects.Noticed: Rows._noticed,
    effects.TargetChanged: lambda rows, record: rows._event(
        "target_changed", detail=record.reason, data={"before": record.before, "target": record.target}
    ),
}
