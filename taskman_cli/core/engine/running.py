"""Runs that are not over: their tasks and ends.

`slots` decides what becomes a run; here each run is brought to its one end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects
from taskman_cli.core.engine.arming import restate_job
from taskman_cli.core.engine.attempts import Attempts
from taskman_cli.core.engine.failing import FailingJobs
from taskman_cli.core.engine.parks import Parks
from taskman_cli.core.engine.policy import is_late
from taskman_cli.core.engine.runs import (
    Activity,
    Attempt,
    Run,
    decode_run_id,
    encode_run_id,
    run_number,
    tasks_of,
)
from taskman_cli.core.engine.skips import how_late
from taskman_cli.core.engine.waiting import Waiting
from taskman_cli.core.model import GATE, SkipReason, State, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.reports import Reports
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable
    from taskman_cli.core.model import Job, Settings


class Running:
    """All runs that are not over."""

    def __init__(self, settings: Settings, timetable: Timetable, outbox: Outbox, reports: Reports) -> None:
        self.attempts = Attempts(settings, timetable, outbox, reports)
        self.reports = reports
        self.pool = self.attempts.pool
        #: The runs of each job; an idle job is not in it.
        self.activity: dict[str, Activity] = {}
        self.is_stopping = self.is_killing = False
        #: Nothing starts any more, while running commands may end by themselves.
        self.is_draining = False
        self._timetable = timetable
        self._outbox = outbox
        #: The number of the latest run.
        self.last_run_number = 0
        self.waiting = Waiting()
        self.failing = FailingJobs()
        self.parks = Parks(timetable, outbox)
        #: Runs that a stop left for the next start.
        self.left: list[Run] = []
        #: Jobs whose last run has ended since this was last looked at.
        self.idle: list[str] = []

    # --- runs ---

    def note_run_number(self, number: int) -> None:
        """Use no run number up to this one: runs sort by when they were made, whatever the clock says."""
        self.last_run_number = max(self.last_run_number, number)

    def new(
        self,
        armed: ArmedJob,
        slot_ns: int | None,
        trigger: Trigger,
        now: Now,
        *,
        only: str | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Run:
        """Make a run; `only`: of this one task. Nothing of it begins before `admit`."""
        number = self.last_run_number = run_number(now.wall_ns, last=self.last_run_number)
        job, due_ns = armed.job, now.wall_ns
        if slot_ns is not None and trigger is not Trigger.MANUAL:  # or its slot was taken early
            due_ns = armed.due_at(slot_ns) if job.policy.jitter_ns else slot_ns
        run = Run(encode_run_id(number), job, slot_ns, trigger, due_ns, only=only, params=params or {})
        run.pending, run.gate = tasks_of(job, only), job.gate
        self._count_run(armed, 1)
        if armed.is_from_finish or armed.is_used_up:
            self._timetable.arm(armed, None)
        self._outbox.records.append(run.queued())
        self.waiting.add(run)
        return run

    def begin_plain(self, armed: ArmedJob, slot_ns: int, now: Now) -> None:
        """Make the run for a slot of a plain job without runs, and let it begin: `new` and `admit` in one."""
        number = self.last_run_number = run_number(now.wall_ns, last=self.last_run_number)
        job = armed.job
        task = job.tasks[0]
        run = Run(encode_run_id(number), job, slot_ns, Trigger.SLOT, slot_ns, is_plain=True)
        run.waits_since_ns = now.elapsed_ns
        run.attempts[task.id] = attempt = Attempt.of(run, task, 1)
        armed.run_count += 1
        self.activity[job.id] = Activity({run.id: run})
        self._outbox.records.append(effects.RunQueued(run.id, job.id, slot_ns, Trigger.SLOT, slot_ns))
        self.waiting.new.append(run)
        self.pool.enqueue(attempt, now.elapsed_ns)

    def admit(self, run: Run, now: Now) -> None:
        """Let the tasks of a run begin."""
        activity = self.activity[run.job.id] = self.activity.get(run.job.id) or Activity()
        activity.active[run.id] = run
        self.begin_tasks(run, now)

    def give_up_late(self, now: Now) -> None:
        """Give up the runs that have waited too long."""
        for run in self.waiting.late(now.wall_ns):
            self._outbox.subject = run
            activity = self.activity[run.job.id]
            if run in activity.backlog:
                activity.backlog.remove(run)
            self.give_up(run, SkipReason.LATE, how_late(run.due_ns, now), now)
            if run.id in activity.active:
                self.settle(run, now)
            self._outbox.subject = None

    def begin_tasks(self, run: Run, now: Now) -> None:
        """Let the next tasks of a run wait for a seat."""
        if run.waits_since_ns is None:
            run.waits_since_ns = now.elapsed_ns
        for task in run.take_tasks():
            attempt = run.attempts[task.id] = Attempt.of(run, task, 1)
            self.pool.enqueue(attempt, run.waits_since_ns)

    def pass_seat(self, run: Run, now: Now) -> None:
        """Let the first task of a run begin in the seat that its gate has left."""
        self.begin_tasks(run, now)
        attempt = next(iter(run.attempts.values()), None)
        if attempt is None or self.is_stopping or attempt.task.execution.resources:
            return  # resources are waited for like by all others
        if self.pool.has_seat_for(attempt) and not self._is_stopped(run):
            self.pool.drop(attempt)
            self.attempts.begin(attempt, now)

    def give_up(self, run: Run, reason: SkipReason, detail: str, now: Now) -> None:
        """End a run that has not begun as a skip."""
        for attempt in run.attempts.values():
            self.attempts.drop(attempt)
        run.attempts.clear()
        run.pending.clear()
        run.state = State.SKIPPED
        self.waiting.remove(run)
        self._skip(run, reason, detail, now)

    def _record_skipped(self, run: Run, now: Now) -> None:
        """Record that a run which had begun ends as a skip, since its command or `only_if` said so."""
        name = GATE if run.is_gated else next(
            task for task, state in run.results.items() if state is State.SKIPPED
        )  # fmt: skip
        end = run.ended.get(name)
        detail = end.detail if end else ""
        if len(run.job.tasks) > 1 and not run.is_gated:
            detail = f"{name}: {detail}"
        self._skip(run, SkipReason.ONLY_IF if run.is_gated else SkipReason.NOT_NOW, detail, now)

    def _skip(self, run: Run, reason: SkipReason, detail: str, now: Now) -> None:
        """Record that a run ends as a skip; it does not count for `max_runs`."""
        slot_ns = run.due_ns if run.slot_ns is None else run.slot_ns
        self._outbox.records.append(
            effects.SlotsSkipped(run.job.id, slot_ns, slot_ns, 1, reason, detail, run.id)
        )
        armed = self._timetable.jobs.get(run.job.id)
        if armed is None:
            return
        was_used_up = armed.is_used_up
        self._count_run(armed, -1)
        if was_used_up and not armed.is_used_up and not armed.is_from_finish:
            # The slots that passed meanwhile were not its own.
            self._timetable.arm(armed, armed.first_due_after(now.wall_ns, from_ns=armed.since_ns))
            self._outbox.records += restate_job(armed, since_ns=now.wall_ns)
            self._stand_still(armed, now)

    def cancel(self, run: Run, now: Now, *, signum: int | None = None, is_kill: bool = False) -> None:
        """End a run: drop what waits; tell running commands to end, or kill them at once."""
        if not run.is_cancelled:
            run.is_cancelled = True
            self._outbox.records.append(effects.RunCancelling(run.id, run.job.id))
        self._let_end(run)
        run.pending.clear()
        for attempt in list(run.attempts.values()):
            if attempt.state is State.RUNNING and is_kill:
                self.attempts.kill(attempt, now)
            elif attempt.state is State.RUNNING:
                self.attempts.tell_to_end(attempt, State.CANCELLED, now, signum=signum)
            else:
                self.attempts.drop(attempt)
                del run.attempts[attempt.task.id]
        self.settle(run, now)

    def settle(self, run: Run, now: Now) -> None:
        """Close a run whose tasks are all over, and let the next one of its job begin."""
        if run.attempts or run.pending:
            return
        if run.state is not State.SKIPPED:
            run.state = run.verdict()
            if run.is_waiting:
                self.waiting.remove(run)
            if run.state is State.SKIPPED:
                self._record_skipped(run, now)
            else:
                self._record_finished(run, now)
        self.reports.over(run)
        self._go_on_after(run, now)

    def succeed_plain(self, run: Run, end: effects.AttemptFinished, now: Now) -> None:
        """Close a plain run whose first attempt has succeeded: `close_task` and `settle` in one."""
        run.attempts.clear()
        run.state = State.SUCCEEDED
        if self.failing.jobs:
            self.failing.note_run(run)
        self._outbox.records.append(
            effects.RunFinished(
                run.id, end.job, run.state, run.slot_ns, (), run.detail, None, end.ended_ns, end.duration_ns
            )
        )  # fmt: skip
        self._go_on_after(run, now)

    def _go_on_after(self, run: Run, now: Now) -> None:
        """Let the next run of a job begin after one that is over."""
        job_id = run.job.id
        armed = self._timetable.jobs.get(job_id)
        is_success = run.state is State.SUCCEEDED
        if armed and not (is_success and armed.failures is None) and self.parks.note_run(armed, run, now):
            self.skip_parked(job_id, now)
        activity = self.activity[job_id]
        del activity.active[run.id]
        while activity.backlog and not activity.active:
            waiting = activity.backlog.pop(0)
            if not self._is_given_up_as_late(waiting, now):
                self.admit(waiting, now)
        if not activity.active:
            del self.activity[job_id]
            self.idle.append(job_id)
            if armed is not None and not armed.is_plain and armed.is_from_finish:
                self.arm_from_finish(armed, now)

    def skip_parked(self, job_id: str, now: Now) -> None:
        """Give up the runs of a parked job that have not begun, except those that somebody asked for."""
        armed, activity = self._timetable.jobs.get(job_id), self.activity.get(job_id)
        park = armed.park if armed else None
        if park is None or activity is None:
            return
        for run in activity.runs:
            if run.state is not State.QUEUED or run.trigger is Trigger.MANUAL or run.id == park.trial:
                continue
            if run in activity.backlog:
                activity.backlog.remove(run)
            self.give_up(run, SkipReason.PARKED, park.reason, now)
            if run.id in activity.active:
                self.settle(run, now)

    def end_task(self, run: Run, task_id: str, now: Now) -> None:
        """End a task that has no process: its next attempt is recorded as cancelled, and never begins."""
        attempt = run.attempts.get(task_id)
        if attempt is None:
            attempt = Attempt.of(run, next(task for task in run.pending if task.id == task_id), 1)
        self.attempts.drop(attempt)
        run.pending = [task for task in run.pending if task.id != task_id]
        run.state = State.RUNNING  # it counts as begun, so it can not be skipped any more
        self.waiting.remove(run)
        end = run.ended[task_id] = effects.AttemptFinished(
            run.id, run.job.id, task_id, attempt.number, State.CANCELLED, "cancelled before it began", None,
            ended_ns=now.wall_ns,
            duration_ns=None,
        )  # fmt: skip
        self._outbox.records += [attempt.begun(is_start=False), end]
        run.close_task(task_id, State.CANCELLED)
        if run.is_over:
            self._let_end(run)
        if run.id in self.activity[run.job.id].active:
            self.begin_tasks(run, now)
            self.settle(run, now)

    def _let_end(self, run: Run) -> None:
        """Move a run from the backlog to the active runs, so that it can end."""
        activity = self.activity[run.job.id]
        if run.id not in activity.active:
            activity.backlog.remove(run)
            activity.active[run.id] = run

    def redefine(self, job: Job, now: Now) -> None:
        """Change the runs of a job that have not begun to its new definition."""
        for run in self._unbegun(job.id):
            for attempt in run.attempts.values():
                self.attempts.drop(attempt)
            run.attempts.clear()
            run.job, run.pending, run.gate = job, tasks_of(job, run.only), job.gate
            self.waiting.remove(run)
            if not run.pending:
                run.detail = f"the task {run.only} is not defined any more"
                self.cancel(run, now)
                continue
            run.is_plain = False
            self.waiting.add(run)
            if run.id in self.activity[job.id].active:
                self.begin_tasks(run, now)

    def undefine(self, job_id: str, now: Now) -> None:
        """End the runs of a removed job that have not begun."""
        for run in self._unbegun(job_id):
            run.detail = "the job is not defined any more"
            self.cancel(run, now)

    def _unbegun(self, job_id: str) -> list[Run]:
        activity = self.activity.get(job_id)
        return [run for run in activity.runs if run.state is State.QUEUED] if activity else []

    def _record_finished(self, run: Run, now: Now) -> None:
        job, results = run.job, run.results
        before = self.failing.of(job.id)
        undone = tuple([task.id for task in job.tasks if task.id not in results])
        facts = (run.state, run.slot_ns, undone, run.detail, self.failing.note_run(run))
        self._outbox.records.append(effects.RunFinished(run.id, job.id, *facts, *run.end(now.elapsed_ns)))
        self.reports.finished(run, before, now)

    def _is_given_up_as_late(self, run: Run, now: Now) -> bool:
        """Give up a run that has not begun if its `start_deadline` has passed."""
        if run.state is not State.QUEUED or run.slot_ns is None:
            return False
        if not is_late(run.due_ns, wall_ns=now.wall_ns, policy=run.job.policy):
            return False
        self.give_up(run, SkipReason.LATE, how_late(run.due_ns, now), now)
        return True

    def _count_run(self, armed: ArmedJob, more: int) -> None:
        armed.run_count += more
        if armed.job.policy.max_runs is not None:
            self._outbox.records.append(effects.RunsCounted(armed.job.id, armed.run_count))

    def arm_from_finish(self, armed: ArmedJob, now: Now) -> None:
        """Let a job's interval count from now; while it is paused, all of it remains."""
        self._timetable.arm_from_finish(armed, now.wall_ns)
        self._outbox.records.append(effects.IntervalEnded(armed.job.id, now.wall_ns))
        self._stand_still(armed, now)

    def _stand_still(self, armed: ArmedJob, now: Now) -> None:
        """Freeze a paused job again after it was armed."""
        if armed.pause:
            armed.pause = replace(armed.pause, left_ns=None)
            self._timetable.freeze(armed, now.wall_ns)
            self._outbox.records.append(effects.JobPaused(armed.job.id, armed.pause))

    # --- attempts ---

    def start_ready(self, now: Now) -> None:
        """Start waiting attempts as far as there are seats."""
        pool, gate, elapsed_ns = self.pool, self.pool.gate, now.elapsed_ns
        while pool.waiting or (gate is not None and gate.held):  # or what it has held back waits no more
            attempt = pool.take_ready(elapsed_ns)
            if attempt is None:
                break
            self._outbox.subject = attempt.run
            self._start(attempt, now)
            self._outbox.subject = None
        if gate is not None and pool.target.note(pool.busy_count, elapsed_ns):
            self.attempts.publish(elapsed_ns)

    def _start(self, attempt: Attempt, now: Now) -> None:
        """Start an attempt that has got a seat, unless it may not start any more, or not yet."""
        run = attempt.run
        if self._timetable.known_paused and self._is_stopped(run):
            self.pool.hold_back(attempt)
            return
        if self._is_given_up_as_late(run, now):
            self.settle(run, now)
            return
        if run.state is State.QUEUED:
            run.state = State.RUNNING
            if run.is_waiting:
                self.waiting.remove(run)
        self.attempts.begin(attempt, now)

    def _is_stopped(self, run: Run) -> bool:
        """Tell whether its job is paused with `--stop`, and the run is older than the pause."""
        stops_to = self._timetable.stops_to(run.job.id)
        return stops_to is not None and decode_run_id(run.id) <= stops_to

    def restate(self) -> list[effects.Record | effects.Mark]:
        """Return the records of all unfinished runs that the next scheduler needs."""
        runs = [run for activity in self.activity.values() for run in activity.runs]
        numbered = effects.RunsNumbered(self.last_run_number)
        return [numbered, *(record for run in [*runs, *self.left] for record in run.restate())]

    def unfinished(self, target: str) -> list[Run]:
        """Return the unfinished runs: the one of this id, or those of a job or one of its tasks."""
        job_id, _, task_id = target.partition(".")
        activity = self.activity.get(job_id)
        if activity is None:
            activities = self.activity.values()
            return [run for activity in activities for run in activity.runs if run.id == target]
        return [run for run in activity.runs if not task_id or run.has_task(task_id)]
