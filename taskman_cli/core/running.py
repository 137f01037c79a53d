"""Runs that are not over: their tasks, attempts, retries and ends, and the ladder that ends what will not.

The other half of the engine, which decides what comes to be a run; here each run is brought to its one end.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from taskman_cli.core import effects, events
from taskman_cli.core.model import Mode, Overlap, SkipReason, State
from taskman_cli.core.outbox import FINISH, RUN_COUNT, TOLD, WAITING
from taskman_cli.core.policy import describe, is_late, judge, retry_pause_ns
from taskman_cli.core.pool import Pool
from taskman_cli.core.recovery import rebuild
from taskman_cli.core.runs import (
    Activity,
    Attempt,
    Run,
    decode_run_id,
    encode_run_id,
    queued_at_ns,
    run_number,
)
from taskman_cli.core.timespec import format_duration
from taskman_cli.core.waiting import Waiting

if TYPE_CHECKING:
    from taskman_cli.core.model import Exit, Now, Settings, Trigger
    from taskman_cli.core.outbox import Outbox
    from taskman_cli.core.timetable import ArmedJob, Timetable


class Running:
    """All runs that are not over."""

    def __init__(self, settings: Settings, timetable: Timetable, outbox: Outbox) -> None:
        self.pool = Pool(settings)
        #: What each job has under way; a job that is idle is not in it.
        self.activity: dict[str, Activity] = {}
        self.is_stopping = False
        self._timetable = timetable
        self._outbox = outbox
        self._last_run_number = 0
        self.waiting = Waiting(outbox)

    # --- runs ---

    def new(self, armed: ArmedJob, slot_ns: int | None, trigger: Trigger, now: Now) -> Run:
        """Make a run; it does nothing before `admit`."""
        self._last_run_number = run_number(now.wall_ns, last=self._last_run_number)
        run_id = encode_run_id(self._last_run_number)
        due_ns = now.wall_ns if slot_ns is None else armed.due_at(slot_ns)
        run = Run(run_id, armed.job, slot_ns, trigger, due_ns, pending=list(armed.job.tasks))
        self._count_run(armed, 1)
        if armed.is_used_up:
            self._timetable.arm(armed, None)
        self._outbox.records.append(effects.RunQueued(run.id, armed.job.id, slot_ns, trigger))
        self.waiting.add_new(run)
        return run

    def admit(self, run: Run) -> None:
        """Let the tasks of a run begin."""
        self.activity.setdefault(run.job.id, Activity()).active[run.id] = run
        self._begin_tasks(run)

    def give_up_late(self, now: Now) -> None:
        """Give up the runs that have waited too long."""
        for run in self.waiting.late(now.wall_ns):
            activity = self.activity[run.job.id]
            if run in activity.backlog:
                activity.backlog.remove(run)
            self.give_up(run, SkipReason.LATE, how_late(run.due_ns, now), now)
            if run.id in activity.active:
                self._settle(run, now)

    def _begin_tasks(self, run: Run) -> None:
        for task in run.take_tasks():
            attempt = run.attempts[task.id] = Attempt.of(run, task, 1)
            self.pool.enqueue(attempt)

    def give_up(self, run: Run, reason: SkipReason, detail: str, now: Now) -> None:
        """Let a run that has started nothing end as a skip, which is none of the job's `max_runs`."""
        for attempt in run.attempts.values():
            self.pool.drop(attempt)
        run.attempts.clear()
        run.pending.clear()
        run.state = State.SKIPPED
        self.waiting.remove(run)
        slot_ns = run.due_ns if run.slot_ns is None else run.slot_ns
        self._outbox.records.append(
            effects.SlotsSkipped(run.job.id, slot_ns, slot_ns, 1, reason, detail, run.id)
        )
        armed = self._timetable.jobs[run.job.id]
        was_used_up = armed.is_used_up
        self._count_run(armed, -1)
        if was_used_up and not armed.is_from_finish:
            self._timetable.arm(armed, armed.first_due_after(now.wall_ns))

    def cancel(self, run: Run, now: Now) -> None:
        """End a run: what waits is dropped, what runs is told to end."""
        run.is_cancelled = True
        run.pending.clear()
        for attempt in list(run.attempts.values()):
            if attempt.state is State.RUNNING:
                self._tell_to_end(attempt, State.CANCELLED, now.elapsed_ns)
            else:
                self.pool.drop(attempt)
                del run.attempts[attempt.task.id]
        self._settle(run, now)

    def _settle(self, run: Run, now: Now) -> None:
        """Close a run whose tasks are all over, and let the next one of its job begin."""
        if not run.is_over:
            return
        if run.state is not State.SKIPPED:
            run.state = run.verdict()
            self.waiting.remove(run)
            self._record_finished(run)
        if run.keys:
            self._forget(run, tuple(run.keys.values()))
        activity = self.activity[run.job.id]
        del activity.active[run.id]
        while activity.backlog and not activity.active:
            waiting = activity.backlog.popleft()
            if not self._is_given_up_as_late(waiting, now):
                self.admit(waiting)
        if not activity.active:
            del self.activity[run.job.id]
            armed = self._timetable.jobs.get(run.job.id)
            if armed and armed.is_from_finish and not self.is_stopping:
                self.arm_from_finish(armed, now)

    def _record_finished(self, run: Run) -> None:
        undone = tuple(task.id for task in run.job.tasks if task.id not in run.results)
        self._outbox.records.append(effects.RunFinished(run.id, run.job.id, run.state, run.slot_ns, undone))

    def _is_given_up_as_late(self, run: Run, now: Now) -> bool:
        """Give up a run of a slot that has begun nothing if it may not start any more."""
        if run.slot_ns is None or not is_late(run.due_ns, wall_ns=now.wall_ns, policy=run.job.policy):
            return False
        self.give_up(run, SkipReason.LATE, how_late(run.due_ns, now), now)
        return True

    def _count_run(self, armed: ArmedJob, more: int) -> None:
        armed.run_count += more
        if armed.job.policy.max_runs is not None:
            self._outbox.actions.append(effects.Keep(RUN_COUNT + armed.job.id, armed.run_count))

    def arm_from_finish(self, armed: ArmedJob, now: Now) -> None:
        """Let a job's interval count from now."""
        self._timetable.arm_from_finish(armed, now.wall_ns)
        self._outbox.actions.append(effects.Keep(FINISH + armed.job.id, now.wall_ns))

    def stop(self, _: events.StopRequested | events.KillRequested, now: Now) -> None:
        """Drop what waits, end what runs, and start nothing more."""
        if self.is_stopping:
            return
        self.is_stopping = True
        for activity in list(self.activity.values()):
            queued = list(activity.backlog)
            activity.backlog.clear()
            for run in queued:
                run.state = State.CANCELLED
                self.waiting.remove(run)
                self._record_finished(run)
            for run in list(activity.active.values()):
                self.cancel(run, now)

    def kill(self, event: events.KillRequested, now: Now) -> None:
        """Do as `stop`, and kill what runs at once."""
        self.stop(event, now)
        for attempt in self.pool.running.values():
            self._signal(attempt, signal.SIGKILL)

    # --- attempts ---

    def start_ready(self, now: Now) -> None:
        """Start what waits, as far as there are seats."""
        while attempt := self.pool.take_ready():
            run = attempt.run
            if run.state is State.QUEUED and self._is_given_up_as_late(run, now):
                self._settle(run, now)
                continue
            self.pool.seat(attempt)
            if run.state is State.QUEUED:
                run.state = State.RUNNING
                self.waiting.remove(run)
            attempt.began_elapsed_ns = now.elapsed_ns
            if not attempt.has_begun:
                attempt.has_begun = True
                self._outbox.records.append(
                    effects.AttemptBegun(run.id, run.job.id, attempt.task.id, attempt.number, run.slot_ns)
                )
            self._outbox.actions.append(
                effects.Start(
                    attempt.key, run.id, run.job.id, attempt.task, attempt.number, run.slot_ns, run.trigger
                )
            )

    def attempt_started(self, event: events.AttemptStarted, _: Now) -> None:
        """Take note that a process exists: its time runs from here."""
        attempt = self.pool.running.get(event.key)
        if attempt is None:
            return
        self.pool.note_start()
        self._note_known(attempt)
        attempt.pid = event.pid
        attempt.began_elapsed_ns = event.started.elapsed_ns
        timeout_ns = attempt.task.execution.timeout_ns
        if timeout_ns is not None and attempt.ending is None:
            self.pool.set_timer(attempt, event.started.elapsed_ns + timeout_ns)

    def _note_known(self, attempt: Attempt) -> None:
        """The supervisor knows of an attempt; the one before it, a new scheduler would not need any more."""
        keys, task_id = attempt.run.keys, attempt.task.id
        before = keys.get(task_id)
        if before != attempt.key:
            keys[task_id] = attempt.key
            if before:
                self._forget(attempt.run, (before,))

    def _forget(self, run: Run, keys: tuple[str, ...]) -> None:
        self._outbox.actions.append(effects.Forget(keys))
        for key in run.told.intersection(keys):
            run.told.remove(key)
            self._outbox.actions.append(effects.Keep(TOLD + key, None))

    def attempt_ended(self, event: events.AttemptEnded, now: Now) -> None:
        """Take a process's end."""
        attempt = self.pool.running.get(event.key)
        if attempt is None:
            self._outbox.actions.append(effects.Forget((event.key,)))
            return
        timeout_ns = attempt.task.execution.timeout_ns or 0
        has_run_ns = event.at.elapsed_ns - attempt.began_elapsed_ns
        if attempt.ending is State.TIMED_OUT and has_run_ns < timeout_ns:
            attempt.ending = None  # it had ended by itself before we told it to
        if attempt.ending and event.exit.is_group_left:
            self._signal(attempt, signal.SIGKILL)
        is_shell = isinstance(attempt.task.command, str)
        state = attempt.ending or judge(event.exit, attempt.task.execution)
        detail = "" if state is State.SUCCEEDED else describe(event.exit, is_shell=is_shell)
        self._finish(attempt, state, detail, event.exit, event.at, now)

    def start_failed(self, event: events.StartFailed, now: Now) -> None:
        """Take note that there is no process: the attempt's end, or a pause of all starts."""
        attempt = self.pool.running.get(event.key)
        if attempt is None:
            return
        if event.is_transient and attempt.ending is None:
            pause_ns = self.pool.hold(attempt, event.at.elapsed_ns)
            run = attempt.run
            if not run.results and all(other.state is State.QUEUED for other in run.attempts.values()):
                run.state = State.QUEUED
                self.waiting.add_new(run)
            if pause_ns is not None:
                self._outbox.records.append(effects.SpawnDelayed(event.message, pause_ns))
            return
        self._finish(attempt, attempt.ending or State.FAILED, event.message, None, event.at, now)

    def _finish(
        self, attempt: Attempt, state: State, detail: str, end: Exit | None, at: Now, now: Now
    ) -> None:
        """Take an attempt's end: another attempt, or the end of its task."""
        run, task = attempt.run, attempt.task
        self.pool.release(attempt)
        self._note_known(attempt)
        pause_ns = None
        if state in (State.FAILED, State.TIMED_OUT) and not run.is_cancelled:
            exit_code = end.exit_code if end and state is State.FAILED else None
            pause_ns = retry_pause_ns(
                task.execution.retry, attempt=attempt.number, exit_code=exit_code, seed=attempt.key
            )
        if attempt.key not in run.told:
            self._outbox.records.append(
                effects.AttemptFinished(
                    run.id, run.job.id, task.id, attempt.number, state, detail, end,
                    ended_ns=at.wall_ns,
                    duration_ns=at.elapsed_ns - attempt.began_elapsed_ns,
                    retry_in_ns=pause_ns,
                )
            )  # fmt: skip
            if pause_ns is not None or len(run.attempts) > 1 or run.pending:
                run.told.add(attempt.key)
                self._outbox.actions.append(effects.Keep(TOLD + attempt.key, 1))
        if pause_ns is not None:
            another = run.attempts[task.id] = Attempt.of(run, task, attempt.number + 1)
            self.pool.rest(another, at.elapsed_ns + pause_ns)
            return
        del run.attempts[task.id]
        run.results[task.id] = state
        if state is not State.SUCCEEDED and run.job.policy.mode is Mode.SEQUENCE:
            run.pending.clear()
        self._begin_tasks(run)
        self._settle(run, now)

    # --- the kill ladder ---

    def expire(self, now: Now) -> None:
        """Do what the timers of attempts are for."""
        for attempt in self.pool.expire(now.elapsed_ns):
            self._out_of_time(attempt, now)

    def _out_of_time(self, attempt: Attempt, now: Now) -> None:
        if attempt.ending is None:
            self._tell_to_end(attempt, State.TIMED_OUT, now.elapsed_ns)
        else:
            self._signal(attempt, signal.SIGKILL)

    def _tell_to_end(self, attempt: Attempt, ending: State, elapsed_ns: int) -> None:
        """Send the job's kill signal and set the timer for SIGKILL; nobody is told twice."""
        if attempt.ending is not None:
            return
        attempt.ending = ending
        self._signal(attempt, attempt.task.execution.kill_signal, ending)
        self.pool.set_timer(attempt, elapsed_ns + attempt.task.execution.kill_timeout_ns)

    def _signal(self, attempt: Attempt, signum: int, ending: State | None = None) -> None:
        self._outbox.actions.append(effects.Signal(attempt.key, signum, ending))

    # --- after a scheduler that died ---

    def recover(self, event: events.Recovered, now: Now) -> None:
        """Take over the runs that an earlier scheduler left, and what has become of them meanwhile."""
        rebuilt = rebuild(event.attempts, self._timetable.jobs, event.told)
        self._forget_earlier(event, {seen.key: attempt for attempt, seen in rebuilt})
        for attempt, seen in rebuilt:
            run = attempt.run
            if run.is_cancelled:
                run.pending.clear()
            self._last_run_number = max(self._last_run_number, decode_run_id(run.id))
            self.activity.setdefault(run.job.id, Activity()).active[run.id] = run
            self.pool.seat(attempt)
            if seen.pid is not None:
                self.attempt_started(events.AttemptStarted(seen.key, seen.pid, seen.started), now)
            if attempt.ending is not None:
                self.pool.set_timer(attempt, now.elapsed_ns + attempt.task.execution.kill_timeout_ns)
            armed = self._timetable.jobs.get(run.job.id)
            if armed and armed.is_from_finish:
                self._timetable.arm(armed, None)
        for _, seen in rebuilt:
            match seen.end:
                case events.AttemptEnded():
                    self.attempt_ended(seen.end, now)
                case events.StartFailed():
                    self.start_failed(seen.end, now)
        for attempt, _ in rebuilt:
            if not attempt.run.is_over:
                self._begin_tasks(attempt.run)
        for waiting in sorted(event.waiting, key=lambda waiting: waiting.run):
            self._recover_waiting(waiting, {attempt.run.id for attempt, _ in rebuilt})

    def _forget_earlier(self, event: events.Recovered, latest: dict[str, Attempt]) -> None:
        """Let go of attempts that a later one of their task has followed.

        Their scheduler died before it heard of the later one. Kept beyond the end of the run, they would
        bring it back to life with the next scheduler.
        """
        runs = {attempt.run.id: attempt.run for attempt in latest.values()}
        for seen in event.attempts:
            if seen.key not in latest:
                self._forget(runs[seen.run], (seen.key,))

    def _recover_waiting(self, waiting: events.WaitingRun, begun: set[str]) -> None:
        """Take over a run that had begun nothing, unless it has since, or its job is gone."""
        armed = self._timetable.jobs.get(waiting.job)
        if waiting.run in begun or armed is None:
            self._outbox.actions.append(effects.Keep(WAITING + waiting.run, None))
            return
        self._last_run_number = max(self._last_run_number, decode_run_id(waiting.run))
        slot_ns = waiting.slot_ns
        due_ns = queued_at_ns(waiting.run) if slot_ns is None else armed.due_at(slot_ns)
        run = Run(waiting.run, armed.job, slot_ns, waiting.trigger, due_ns, pending=list(armed.job.tasks))
        self.waiting.add(run)
        activity = self.activity.get(run.job.id)
        if activity is None or run.job.policy.overlap is Overlap.ALLOW:
            self.admit(run)
        else:
            activity.backlog.append(run)
        if armed.is_from_finish:
            self._timetable.arm(armed, None)


def how_late(due_ns: int, now: Now) -> str:
    """Say how late something that was due then is reached."""
    return f"reached {format_duration(now.wall_ns - due_ns)} late"
