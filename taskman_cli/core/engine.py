"""The state machine: events in, effects out. The only place where a run changes its state.

`handle` is a function of the events so far and the moments that came with them: it reads no clock and
touches nothing, so that a whole scheduler can be run in a test, with any interleaving. What it returns is
carried out in order; the records stand first, so that a start is on record before its process exists.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core import effects, events
from taskman_cli.core.metrics import Metrics
from taskman_cli.core.model import Mode, Overlap, SkipReason, State, Trigger
from taskman_cli.core.policy import describe, is_late, judge, retry_pause_ns, sort_passed
from taskman_cli.core.pool import Pool
from taskman_cli.core.recovery import rebuild
from taskman_cli.core.runs import Activity, Attempt, Run, decode_run_id, encode_run_id, run_number
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.timespec import format_duration
from taskman_cli.core.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taskman_cli.core.model import Exit, Job, Now, Settings
    from taskman_cli.core.timetable import ArmedJob

#: Prefix of the values kept for `max_runs`, before the job's name.
RUN_COUNT = "run_count:"


class Wake(NamedTuple):
    """When the engine wants its next `Tick`; None: not on this clock."""

    wall_ns: int | None
    elapsed_ns: int | None


class Engine:
    """Decides what runs when."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.timetable = Timetable()
        self.metrics = Metrics()
        self.pool = Pool(settings)
        self.is_stopping = False
        self._is_stopped = False
        self._activity: dict[str, Activity] = {}
        self._last_run_number = 0
        self._records: list[effects.Effect] = []
        self._actions: list[effects.Effect] = []
        self._handlers: dict[type[events.Event], Callable[[Any, Now], None]] = {
            events.JobsLoaded: self._load,
            events.Recovered: self._recover,
            events.Tick: self._tick,
            events.AttemptStarted: self._attempt_started,
            events.StartFailed: self._start_failed,
            events.AttemptEnded: self._attempt_ended,
            events.ClockStepped: self._clock_stepped,
            events.StopRequested: self._stop,
            events.KillRequested: self._kill,
        }

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing runs or waits and no slot will ever come."""
        return not (self._activity or self.timetable.next_due())

    def handle(self, event: events.Event, now: Now) -> list[effects.Effect]:
        """Take an event into account and return what is to be done, records first."""
        self._handlers[type(event)](event, now)
        self._start_ready(now)
        if self.is_stopping and not self.pool.running and not self._is_stopped:
            self._is_stopped = True
            self._actions.append(effects.Stopped())
        for record in self._records:
            self.metrics.fold(record)
        done = self._records + self._actions
        self._records, self._actions = [], []
        return done

    def next_wake(self) -> Wake:
        """Return when the next `Tick` is wanted, on each clock."""
        wall_ns = None if self.is_stopping else self.timetable.next_due()
        return Wake(wall_ns, self.pool.next_timer())

    # --- slots ---

    def _load(self, event: events.JobsLoaded, now: Now) -> None:
        self.timetable.load(
            event.jobs, since_ns=event.since_ns, anchor_ns=event.anchor_ns, run_counts=event.run_counts
        )
        if event.is_first:
            for armed in self.timetable.jobs.values():
                job = armed.job
                if job.enabled and (job.policy.run_on_start or isinstance(job.schedule, Reboot)):
                    self._offer(armed, None, Trigger.START, now)

    def _tick(self, _: events.Tick, now: Now) -> None:
        if not self.is_stopping:
            for armed in self.timetable.pop_due(now.wall_ns):
                self._slots_passed(armed, now)
        for attempt in self.pool.expire(now.elapsed_ns):
            self._out_of_time(attempt, now)

    def _clock_stepped(self, event: events.ClockStepped, _: Now) -> None:
        self._records.append(effects.ClockStepNoted(event.delta_ns))
        self.timetable.shift_intervals(event.delta_ns)

    def _slots_passed(self, armed: ArmedJob, now: Now) -> None:
        passed = self.timetable.passed(armed, now.wall_ns)
        armed.slot_ns = None
        if passed.uncounted:
            first_ns, last_ns = passed.uncounted
            self._records.append(
                effects.SlotsSkipped(
                    armed.job.id, first_ns, last_ns, None, SkipReason.MISSED, _how_late(first_ns, now)
                )
            )
        if armed.job.enabled:
            decided = sort_passed(
                passed.slots,
                wall_ns=now.wall_ns,
                policy=armed.job.policy,
                missed_after_ns=self.settings.missed_after_ns,
            )
            if decided.missed:
                self._skip(armed.job, decided.missed, SkipReason.MISSED, _how_late(decided.missed[0], now))
            for slot_ns in decided.catch_up:
                self._offer(armed, slot_ns, Trigger.CATCH_UP, now)
            for slot_ns in decided.on_time:
                self._offer(armed, slot_ns, Trigger.SLOT, now)
        else:
            self._skip(armed.job, passed.slots, SkipReason.DISABLED, "enabled = false")
        if not armed.is_from_finish:
            self.timetable.arm(armed, None if armed.is_used_up else passed.next_ns)
        elif armed.job.id not in self._activity:
            self.timetable.arm_from_finish(armed, now.wall_ns)

    def _offer(self, armed: ArmedJob, slot_ns: int | None, trigger: Trigger, now: Now) -> None:
        """Make a run for a slot, unless the job's overlap rule or its number of runs is against it."""
        if armed.is_used_up:
            return
        job, activity = armed.job, self._activity.get(armed.job.id)
        policy = job.policy
        if activity and self._is_refused(job, activity, slot_ns):
            return
        run = self._new_run(armed, slot_ns, trigger, now)
        if activity is None or policy.overlap is Overlap.ALLOW:
            self._admit(run)
            return
        if policy.overlap is Overlap.REPLACE:
            while activity.backlog:
                self._give_up(activity.backlog.popleft(), SkipReason.OVERLAP, f"replaced by run {run.id}")
        activity.backlog.append(run)
        if policy.overlap is Overlap.REPLACE:
            for active in list(activity.active.values()):
                self._cancel(active, now)

    def _is_refused(self, job: Job, activity: Activity, slot_ns: int | None) -> bool:
        policy = job.policy
        if policy.overlap is Overlap.SKIP:
            detail = f"run {next(iter(activity.active))} is not over"
        elif policy.max_running is not None and len(activity.active) >= policy.max_running:
            detail = f"{len(activity.active)} runs are not over"
        else:
            return False
        if slot_ns is not None:
            self._skip(job, [slot_ns], SkipReason.OVERLAP, detail)
        return True

    def _skip(self, job: Job, slots: Sequence[int], reason: SkipReason, detail: str) -> None:
        self._records.append(effects.SlotsSkipped(job.id, slots[0], slots[-1], len(slots), reason, detail))

    # --- runs ---

    def _new_run(self, armed: ArmedJob, slot_ns: int | None, trigger: Trigger, now: Now) -> Run:
        self._last_run_number = run_number(now.wall_ns, last=self._last_run_number)
        job = armed.job
        order_ns = now.wall_ns if slot_ns is None else slot_ns
        run = Run(
            encode_run_id(self._last_run_number), job, slot_ns, trigger, order_ns, pending=list(job.tasks)
        )
        armed.run_count += 1
        if job.policy.max_runs is not None:
            self._actions.append(effects.Keep(RUN_COUNT + job.id, armed.run_count))
            if armed.is_used_up:
                self.timetable.arm(armed, None)
        self._records.append(effects.RunQueued(run.id, job.id, slot_ns, trigger))
        return run

    def _admit(self, run: Run) -> None:
        self._activity.setdefault(run.job.id, Activity()).active[run.id] = run
        self._begin_tasks(run)

    def _begin_tasks(self, run: Run) -> None:
        for task in run.take_tasks():
            attempt = run.attempts[task.id] = Attempt.of(run, task, 1)
            self.pool.enqueue(attempt)

    def _give_up(self, run: Run, reason: SkipReason, detail: str) -> None:
        """Let a run that has started nothing end as a skip."""
        for attempt in run.attempts.values():
            self.pool.drop(attempt)
        run.attempts.clear()
        run.pending.clear()
        run.state = State.SKIPPED
        self._records.append(
            effects.SlotsSkipped(run.job.id, run.order_ns, run.order_ns, 1, reason, detail, run.id)
        )

    def _cancel(self, run: Run, now: Now) -> None:
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
            self._records.append(effects.RunFinished(run.id, run.job.id, run.state, run.slot_ns))
        if run.keys:
            self._actions.append(effects.Forget(tuple(run.keys)))
        activity = self._activity[run.job.id]
        del activity.active[run.id]
        while activity.backlog and not activity.active:
            waiting = activity.backlog.popleft()
            if is_late(waiting.slot_ns, wall_ns=now.wall_ns, policy=waiting.job.policy):
                self._give_up(waiting, SkipReason.LATE, _how_late(waiting.order_ns, now))
            else:
                self._admit(waiting)
        if not activity.active:
            del self._activity[run.job.id]
            armed = self.timetable.jobs.get(run.job.id)
            if armed and armed.is_from_finish and not self.is_stopping:
                self.timetable.arm_from_finish(armed, now.wall_ns)

    def _stop(self, _: events.StopRequested, now: Now) -> None:
        if self.is_stopping:
            return
        self.is_stopping = True
        for activity in list(self._activity.values()):
            queued = list(activity.backlog)
            activity.backlog.clear()
            for run in queued:
                run.state = State.CANCELLED
                self._records.append(effects.RunFinished(run.id, run.job.id, run.state, run.slot_ns))
            for run in list(activity.active.values()):
                self._cancel(run, now)

    def _kill(self, _: events.KillRequested, now: Now) -> None:
        self._stop(events.StopRequested(), now)
        for attempt in self.pool.running.values():
            self._signal(attempt, signal.SIGKILL)

    # --- attempts ---

    def _start_ready(self, now: Now) -> None:
        while attempt := self.pool.take_ready():
            run = attempt.run
            if not run.keys and is_late(run.slot_ns, wall_ns=now.wall_ns, policy=run.job.policy):
                # The attempts of a run that has begun nothing all wait: none of them holds a seat.
                self.pool.enqueue(attempt)
                self._give_up(run, SkipReason.LATE, _how_late(run.order_ns, now))
                self._settle(run, now)
                continue
            self.pool.seat(attempt)
            run.state = State.RUNNING
            attempt.began_elapsed_ns = now.elapsed_ns
            if attempt.key not in run.keys:
                run.keys.append(attempt.key)
                self._records.append(
                    effects.AttemptBegun(run.id, run.job.id, attempt.task.id, attempt.number, run.slot_ns)
                )
            self._actions.append(
                effects.Start(
                    attempt.key, run.id, run.job.id, attempt.task, attempt.number, run.slot_ns, run.trigger
                )
            )

    def _attempt_started(self, event: events.AttemptStarted, _: Now) -> None:
        attempt = self.pool.running.get(event.key)
        if attempt is None:
            return
        self.pool.note_start()
        attempt.pid = event.pid
        attempt.began_elapsed_ns = event.started.elapsed_ns
        timeout_ns = attempt.task.execution.timeout_ns
        if timeout_ns is not None and attempt.ending is None:
            self.pool.set_timer(attempt, event.started.elapsed_ns + timeout_ns)

    def _attempt_ended(self, event: events.AttemptEnded, _: Now) -> None:
        attempt = self.pool.running.get(event.key)
        if attempt is None:
            self._actions.append(effects.Forget((event.key,)))
            return
        if attempt.ending and event.exit.is_group_left:
            self._signal(attempt, signal.SIGKILL)
        is_shell = isinstance(attempt.task.command, str)
        state = attempt.ending or judge(event.exit, attempt.task.execution)
        detail = "" if state is State.SUCCEEDED else describe(event.exit, is_shell=is_shell)
        self._finish(attempt, state, detail, event.exit, event.at)

    def _start_failed(self, event: events.StartFailed, _: Now) -> None:
        attempt = self.pool.running.get(event.key)
        if attempt is None:
            return
        if event.is_transient and attempt.ending is None:
            pause_ns = self.pool.hold(attempt, event.at.elapsed_ns)
            if pause_ns is not None:
                self._records.append(effects.SpawnDelayed(event.message, pause_ns))
            return
        self._finish(attempt, attempt.ending or State.FAILED, event.message, None, event.at)

    def _finish(self, attempt: Attempt, state: State, detail: str, end: Exit | None, at: Now) -> None:
        """Take an attempt's end: another attempt, or the end of its task."""
        run, task = attempt.run, attempt.task
        self.pool.release(attempt)
        pause_ns = None
        if state in (State.FAILED, State.TIMED_OUT) and not run.is_cancelled:
            exit_code = end.exit_code if end and state is State.FAILED else None
            pause_ns = retry_pause_ns(
                task.execution.retry, attempt=attempt.number, exit_code=exit_code, seed=attempt.key
            )
        self._records.append(
            effects.AttemptFinished(
                run.id, run.job.id, task.id, attempt.number, state, detail, end,
                ended_ns=at.wall_ns,
                duration_ns=at.elapsed_ns - attempt.began_elapsed_ns,
                retry_in_ns=pause_ns,
            )
        )  # fmt: skip
        if pause_ns is not None:
            another = run.attempts[task.id] = Attempt.of(run, task, attempt.number + 1)
            self.pool.rest(another, at.elapsed_ns + pause_ns)
            return
        del run.attempts[task.id]
        run.results[task.id] = state
        if state is not State.SUCCEEDED and run.job.policy.mode is Mode.SEQUENCE:
            run.pending.clear()
        self._begin_tasks(run)
        self._settle(run, at)

    # --- the kill ladder ---

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
        self._signal(attempt, attempt.task.execution.kill_signal)
        self.pool.set_timer(attempt, elapsed_ns + attempt.task.execution.kill_timeout_ns)

    def _signal(self, attempt: Attempt, signum: int) -> None:
        self._actions.append(effects.Signal(attempt.key, signum))

    # --- after a scheduler that died ---

    def _recover(self, event: events.Recovered, now: Now) -> None:
        jobs = {job_id: armed.job for job_id, armed in self.timetable.jobs.items()}
        rebuilt = rebuild(event.attempts, jobs)
        for attempt, seen in rebuilt:
            run = attempt.run
            self._last_run_number = max(self._last_run_number, decode_run_id(run.id))
            self._activity.setdefault(run.job.id, Activity()).active[run.id] = run
            self.pool.seat(attempt)
            if seen.pid is not None:
                self._attempt_started(events.AttemptStarted(seen.key, seen.pid, seen.started), now)
        for _, seen in rebuilt:
            match seen.end:
                case events.AttemptEnded():
                    self._attempt_ended(seen.end, now)
                case events.StartFailed():
                    self._start_failed(seen.end, now)


def _how_late(slot_ns: int, now: Now) -> str:
    return f"reached {format_duration(now.wall_ns - slot_ns)} late"
