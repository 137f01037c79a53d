"""Continues the unfinished runs of an earlier scheduler, with what has happened to them since."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.policy import is_clock_put_back
from taskman_cli.core.engine.runs import (
    Activity,
    Attempt,
    Run,
    attempt_key,
    decode_run_id,
    queued_at_ns,
    tasks_of,
)
from taskman_cli.core.model import GATE, GATE_CODES, Execution, Job, Mode, Overlap, State, Task, Trigger
from taskman_cli.core.schedule import Reboot

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.outcomes import Outcomes
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable

Pair = tuple[Attempt, events.OpenAttempt]


class Recovery:
    """Rebuilds runs. Jobs and tasks that are not defined any more get a stand-in, so that their runs end."""

    def __init__(self, running: Running, outcomes: Outcomes, timetable: Timetable, outbox: Outbox) -> None:
        self._running = running
        self._outcomes = outcomes
        self._timetable = timetable
        self._outbox = outbox
        self._step_ns = 0
        self._set_aside: Container[str] = ()

    def recover(
        self, runs: Iterable[events.OpenRun], now: Now, *, step_ns: int, set_aside: Container[str]
    ) -> None:
        """Continue the runs; `step_ns`: how far the clock has stepped meanwhile; `set_aside`: jobs."""
        self._step_ns, self._set_aside = step_ns, set_aside
        opened = sorted(runs, key=lambda opened: opened.run)
        for item in opened:
            if item.set_aside:
                self._give_up(item, now)
        opened = [item for item in opened if not item.set_aside]
        begun = []
        for item in opened:
            self._outbox.subject = item
            if _has_begun(item):
                begun.append((self._rebuild(item, now), item))
        placed = []
        for run, item in begun:
            self._outbox.subject = item
            placed += [(item, pair) for pair in self._place(run, item, now)]
        for item, (attempt, seen) in placed:
            self._outbox.subject = item
            self._apply(attempt, seen.fate, now, is_on_record=item.is_on_record)
        for run, item in begun:
            self._outbox.subject = run
            # The end of its last attempt may have closed it just now.
            if run.id in self._active(item.job):
                self._running.begin_tasks(run, now)
                self._running.settle(run, now)
        for item in opened:
            self._outbox.subject = item
            if not _has_begun(item):
                self._recover_waiting(item, now)
        for armed in self._running.parks.jobs:  # the end of a run may have parked it just now
            self._outbox.subject = armed.job.id
            self._running.skip_parked(armed.job.id, now)
        self._outbox.subject = None

    def _give_up(self, item: events.OpenRun, now: Now) -> None:
        """Close a run that a scheduler could not handle, with records alone."""
        records = self._outbox.records
        self._running.note_run_number(decode_run_id(item.run))
        if not item.is_on_record:
            records.append(effects.RunQueued(item.run, item.job, item.slot_ns, item.trigger, now.wall_ns))
        for seen in item.attempts:
            if isinstance(seen.fate, events.Told):
                continue
            if not item.is_on_record:
                records.append(effects.AttemptBegun(item.run, item.job, seen.task, seen.number, item.slot_ns))
            if seen.stopped is not None:
                stopped_ns = seen.stopped_ns + max(0, now.elapsed_ns - seen.stopped.elapsed_ns)
                records.append(
                    effects.AttemptContinued(item.run, item.job, seen.task, seen.number, stopped_ns)
                )
            records.append(
                effects.AttemptFinished(
                    item.run, item.job, seen.task, seen.number, State.LOST, item.set_aside, None, now.wall_ns,
                    None,
                )
            )  # fmt: skip
            self._outbox.actions.append(effects.Forget((attempt_key(item.run, seen.task, seen.number),)))
        records.append(
            effects.RunFinished(item.run, item.job, State.LOST, item.slot_ns, detail=item.set_aside)
        )
        armed = self._timetable.jobs.get(item.job)
        if armed is not None:
            self._running.reports.closed(armed.job, item, State.LOST, item.set_aside, now)
        if armed is not None and item.job not in self._set_aside:  # or it is so because this raises
            self._outbox.subject = item.job
            self._running.parks.note_end(
                armed, item.run, State.LOST, is_lost=True, detail=item.set_aside, now=now
            )

    def _active(self, job: str) -> dict[str, Run]:
        activity = self._running.activity.get(job)
        return activity.active if activity else {}

    def _run_of(self, item: events.OpenRun, job: Job, armed: ArmedJob | None, now: Now) -> Run:
        due_ns = _due_ns(item, armed) + item.moved_ns + self._step_ns
        if is_clock_put_back(due_ns, now.wall_ns):
            due_ns = now.wall_ns  # the clock was wrong then
        return Run(
            item.run, job, item.slot_ns, item.trigger, due_ns, only=item.task, params=item.params,
            is_slow=item.is_slow,
            is_told=item.is_told or any(seen.task != GATE for seen in item.attempts),
        )  # fmt: skip

    def _waits_since_ns(self, item: events.OpenRun, now: Now) -> int:
        """Return since when a run waits for a seat, on the elapsed clock: it keeps its place."""
        fates = [seen.fate for seen in item.attempts if seen.task != GATE]
        ends = [fate.next_ns or fate.ended_ns for fate in fates if isinstance(fate, events.Told)]
        since_ns = max([queued_at_ns(item.run), *ends]) + item.moved_ns + self._step_ns
        return now.elapsed_ns - max(0, now.wall_ns - since_ns)

    # --- runs that had begun ---

    def _rebuild(self, item: events.OpenRun, now: Now) -> Run:
        """Make the run as it was, without its attempts."""
        armed = self._timetable.jobs.get(item.job)
        job = armed.job if armed else Job(item.job, Reboot("UTC"), ())
        run = self._run_of(item, job, armed, now)
        run.state = State.RUNNING
        # If the ledger was lost or could not be written, only the supervisor knows.
        run.is_cancelled = item.is_cancelled or any(_is_told_to_cancel(seen.fate) for seen in item.attempts)
        seen = {attempt.task for attempt in item.attempts}
        if not run.is_cancelled:
            run.pending = [task for task in tasks_of(job, item.task) if task.id not in seen]
            if not item.is_on_record and seen != {GATE}:  # nothing begins before its end is on record
                _leave_unheard(run, seen)
        self._running.note_run_number(decode_run_id(run.id))
        self._running.activity.setdefault(item.job, Activity()).active[run.id] = run
        if armed and armed.is_from_finish:
            self._timetable.arm(armed, None)
        if not item.is_on_record:
            self._outbox.records.append(run.queued())
        if run.is_cancelled and not item.is_cancelled:
            self._outbox.records.append(effects.RunCancelling(run.id, item.job))
        return run

    def _place(self, run: Run, item: events.OpenRun, now: Now) -> list[Pair]:
        """Put each task's latest attempt in its place; return those whose fate is not on record."""
        pairs = []
        latest: dict[str, events.OpenAttempt] = {}
        for seen in item.attempts:
            latest[seen.task] = seen
            if isinstance(seen.fate, events.Told):
                run.ended[seen.task] = _end_of(run, seen, seen.fate)
                run.lost += seen.fate.state is State.LOST
        for seen in latest.values():
            task = next((task for task in run.job.tasks if task.id == seen.task), None)
            if seen.task == GATE:
                task = run.job.gate or Task(GATE, (), Execution(skip_exit_codes=GATE_CODES))
            attempt = Attempt.of(run, task or Task(seen.task, (), Execution()), seen.number)
            if isinstance(seen.fate, events.Told):
                self._place_told(attempt, seen.fate, now)
                continue
            if isinstance(seen.fate, events.Unstarted):
                attempt.waits_since_ns = self._waits_since_ns(item, now)
            run.attempts[seen.task] = attempt
            attempt.has_begun = True
            attempt.be_named(seen.handle)
            attempt.stopped_ns = seen.stopped_ns
            if seen.stopped is not None:
                attempt.stopped = effects.AttemptStopped(
                    run.id, item.job, seen.task, seen.number, seen.stopped
                )
            if not isinstance(seen.fate, events.Unstarted) or seen.fate.ending is not None:
                attempt.holds = attempt.task.execution.resources if seen.holds is None else seen.holds
                self._running.pool.seat(attempt)
            if not item.is_on_record or not seen.is_on_record:
                self._outbox.records.append(attempt.begun())
            elif isinstance(seen.fate, events.Unstarted):
                self._give_back(attempt, seen, now)
            pairs.append((attempt, seen))
        if not run.has_begun and not run.is_cancelled:
            run.state = State.QUEUED
            self._running.waiting.add(run)
        run.waits_since_ns = self._waits_since_ns(item, now)
        return pairs

    def _give_back(self, attempt: Attempt, seen: events.OpenAttempt, now: Now) -> None:
        """Put back what an attempt that was never asked for took of rates: it begins anew when it starts."""
        resources, fate = self._running.pool.resources, seen.fate
        needs = resources.needs(attempt.task.execution.resources) if seen.holds is None else seen.holds
        marks = resources.give_back(needs, now.elapsed_ns)
        self._outbox.records += marks
        # What is on record with a handle counts as running after the supervisor's death, until it is found;
        # what is on record without one would be started here.
        is_other = marks or attempt.handle or attempt.executor != attempt.task.execution.executor
        if is_other and isinstance(fate, events.Unstarted) and fate.ending is None:
            self._running.attempts.withdraw(attempt)

    def _place_told(self, attempt: Attempt, told: events.Told, now: Now) -> None:
        """Close the task, or let its next attempt rest for the remaining pause."""
        run, task = attempt.run, attempt.task
        if told.next_ns is None or run.is_cancelled or not attempt.is_defined:
            run.close_task(task.id, told.state)
            return
        another = run.attempts[task.id] = Attempt.of(run, task, attempt.number + 1)
        # A clock that was set back must not make it longer.
        left_ns = min(max(0, told.next_ns - now.wall_ns), told.next_ns - told.ended_ns)
        if left_ns > 0:
            self._running.pool.rest(another, now.elapsed_ns + left_ns)
        else:  # it has waited for a seat since then
            waited_ns = max(0, now.wall_ns - told.next_ns - self._step_ns)
            self._running.pool.enqueue(another, now.elapsed_ns - waited_ns)

    def _apply(self, attempt: Attempt, fate: object, now: Now, *, is_on_record: bool) -> None:
        """Apply to an attempt what has happened to it since."""
        running, key = self._running, attempt.key
        if attempt.run.attempts.get(attempt.task.id) is not attempt:
            return  # its run was given up: the end of another has parked the job
        match fate:
            case events.Going():
                self._go_on(attempt, fate, now, is_on_record=is_on_record)
            case events.Over():
                attempt.ending = fate.ending
                running.attempts.started(events.AttemptStarted(key, fate.pid, fate.started))
                self._outcomes.ended(fate.end, now)
            case events.StartFailed():
                attempt.began_elapsed_ns = fate.at.elapsed_ns
                self._outcomes.start_failed(fate, now)
            case events.Gone():
                attempt.ending = fate.ending
                is_over = fate.ending is not None
                self._outcomes.gone(events.AttemptGone(key, fate.why, is_over=is_over), now)
            case events.Unstarted(ending=ending) if ending is not None:
                attempt.began_elapsed_ns = now.elapsed_ns
                self._outcomes.unstarted(attempt, ending, now)
            case events.Unstarted() if attempt.run.is_cancelled:
                running.attempts.drop(attempt)
                del attempt.run.attempts[attempt.task.id]
            case events.Unstarted() if not attempt.is_defined:
                running.attempts.drop(attempt)
                attempt.run.detail = f"the task {attempt.task.id} is not defined any more"
                attempt.run.close_task(attempt.task.id, State.CANCELLED)
            case _:  # it was never started, and may be now
                running.pool.enqueue(attempt, now.elapsed_ns)

    def _go_on(self, attempt: Attempt, fate: events.Going, now: Now, *, is_on_record: bool) -> None:
        run = attempt.run
        attempt.ending = fate.ending
        if fate.is_orphan:
            self._outbox.actions.append(
                effects.Adopt(
                    attempt.key, run.id, run.job.id, attempt.task, attempt.number, run.slot_ns, run.trigger,
                    fate.pid, fate.started, fate.ending, run.params, attempt.handle,
                )
            )  # fmt: skip
        self._running.attempts.started(events.AttemptStarted(attempt.key, fate.pid, fate.started))
        if attempt.ending is not None:
            self._running.attempts.go_on_ending(attempt, fate.told or now)
        elif run.is_cancelled:
            self._running.attempts.tell_to_end(attempt, State.CANCELLED, now)
        armed = self._timetable.jobs.get(run.job.id)
        if attempt.stopped is not None and armed and armed.pause:
            # The stop may be on record, and its signal not sent.
            self._running.attempts.signal(attempt, signal.SIGSTOP)
        elif attempt.stopped is not None or attempt.stopped_ns or not is_on_record:
            # SIGCONT may not have been sent; or the pause is over, or the job gone, since.
            self._running.attempts.continue_one(attempt, now)

    # --- runs that waited ---

    def _recover_waiting(self, item: events.OpenRun, now: Now) -> None:
        """Continue a run that had not begun, unless its job is gone."""
        armed = self._timetable.jobs.get(item.job)
        self._running.note_run_number(decode_run_id(item.run))
        closed = {attempt.task for attempt in item.attempts}
        tasks = [task for task in tasks_of(armed.job, item.task) if task.id not in closed] if armed else []
        if armed is None or item.is_cancelled or not tasks:
            why = ""
            if not item.is_cancelled and (armed is None or item.task is not None):
                what = "job" if armed is None else f"task {item.task}"
                why = f"the {what} is not defined any more"
            self._outbox.records.append(
                effects.RunFinished(item.run, item.job, State.CANCELLED, item.slot_ns, detail=why)
            )
            if armed is not None:
                self._running.reports.closed(armed.job, item, State.CANCELLED, why, now)
            return
        job = armed.job
        run = self._run_of(item, job, armed, now)
        run.pending, run.gate = tasks, job.gate
        run.waits_since_ns = self._waits_since_ns(item, now)
        for attempt in item.attempts:
            run.state = State.RUNNING  # it counts as begun, so it can not be skipped any more
            assert isinstance(attempt.fate, events.Told)
            run.results[attempt.task] = attempt.fate.state
            run.ended[attempt.task] = _end_of(run, attempt, attempt.fate)
        self._running.waiting.add(run)
        activity = self._running.activity.get(job.id)
        if activity is None or job.policy.overlap is Overlap.ALLOW:
            self._running.admit(run, now)
        else:
            activity.backlog.append(run)
        if armed.is_from_finish:
            self._timetable.arm(armed, None)


def _leave_unheard(run: Run, seen: set[str]) -> None:
    """Do not begin tasks that may have ended before the ledger was lost."""
    tasks = [task.id for task in run.job.tasks]
    if run.job.policy.mode is Mode.SEQUENCE and (places := [tasks.index(task) for task in seen & {*tasks}]):
        # The tasks before it succeeded, or it would not have begun; those after it have not begun.
        run.results = dict.fromkeys(tasks[: max(places)], State.SUCCEEDED)
        run.pending = [task for task in run.pending if task.id not in run.results]
        return
    unheard = [task.id for task in run.pending]
    run.pending.clear()
    run.results = dict.fromkeys(unheard, State.LOST)
    if unheard:
        run.detail = f"{', '.join(unheard)}: the ledger was lost, so their results are unknown"


def _has_begun(item: events.OpenRun) -> bool:
    """Tell whether a run had begun; it had not if cancelled tasks are all that happened."""
    return any(
        not isinstance(attempt.fate, events.Told) or attempt.fate.state is not State.CANCELLED
        for attempt in item.attempts
    )


def _is_told_to_cancel(fate: object) -> bool:
    return isinstance(fate, events.Going | events.Over) and fate.ending is State.CANCELLED


def _end_of(run: Run, seen: events.OpenAttempt, told: events.Told) -> effects.AttemptFinished:
    """Return the record of an end, as far as it is known."""
    pause_ns = None if told.next_ns is None else told.next_ns - told.ended_ns
    return effects.AttemptFinished(
        run.id, run.job.id, seen.task, seen.number, told.state, "", None, told.ended_ns, None, pause_ns
    )


def _due_ns(item: events.OpenRun, armed: ArmedJob | None) -> int:
    if item.slot_ns is None or item.trigger is Trigger.MANUAL:
        return queued_at_ns(item.run)
    return armed.due_at(item.slot_ns) if armed else item.slot_ns
