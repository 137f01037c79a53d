"""The state machine: events in, effects out. The only place where a run changes its state.

`handle` is a function of the events so far and the moments that came with them: it reads no clock and
touches nothing, so that a whole scheduler can be run in a test, with any interleaving. What it returns is
carried out in order; the records stand first, so that a start is on record before its process exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core import effects, events
from taskman_cli.core.metrics import Metrics
from taskman_cli.core.model import OnMissed, Overlap, SkipReason, State, Trigger
from taskman_cli.core.outbox import ACCOUNTED, Outbox
from taskman_cli.core.policy import sort_passed
from taskman_cli.core.running import Running, how_late
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.timetable import MAX_STEP_BACK_NS, Stretch, Timetable, stretches

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.model import Job, Now, Settings
    from taskman_cli.core.runs import Activity
    from taskman_cli.core.timetable import ArmedJob


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
        self._outbox = Outbox()
        self._running = Running(settings, self.timetable, self._outbox)
        self.pool = self._running.pool
        self._is_stopped = False
        running = self._running
        self._handlers: dict[type[events.Event], Callable[[Any, Now], None]] = {
            events.JobsLoaded: self._load,
            events.Recovered: running.recover,
            events.Tick: self._tick,
            events.AttemptStarted: running.attempt_started,
            events.StartFailed: running.start_failed,
            events.AttemptEnded: running.attempt_ended,
            events.ClockStepped: self._clock_stepped,
            events.StopRequested: running.stop,
            events.KillRequested: running.kill,
        }

    @property
    def is_stopping(self) -> bool:
        """Tell whether nothing starts any more."""
        return self._running.is_stopping

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing runs or waits and no slot will ever come that is not skipped for sure."""
        return not self._running.activity and not any(
            armed.slot_ns is not None and armed.job.enabled for armed in self.timetable.jobs.values()
        )

    def handle(self, event: events.Event, now: Now) -> list[effects.Effect]:
        """Take an event into account and return what is to be done, records first."""
        self._handlers[type(event)](event, now)
        self._running.start_ready(now)
        self._running.waiting.end_step()
        records, actions = self._outbox.take()
        if self.is_stopping and not self.pool.running and not self._is_stopped:
            self._is_stopped = True
            actions.append(effects.Stopped())
        for record in records:
            self.metrics.fold(record)
        return [*records, *actions]

    def next_wake(self) -> Wake:
        """Return when the next `Tick` is wanted, on each clock."""
        if self.is_stopping:
            return Wake(None, self.pool.next_timer())
        walls = [
            due
            for due in (self.timetable.next_due(), self._running.waiting.next_deadline())
            if due is not None
        ]
        return Wake(min(walls, default=None), self.pool.next_timer())

    # --- slots ---

    def _load(self, event: events.JobsLoaded, now: Now) -> None:
        self.timetable.load(
            event.jobs,
            since_ns=event.since_ns,
            anchor_ns=event.anchor_ns,
            run_counts=event.run_counts,
            finishes=event.finishes,
        )
        for armed in self.timetable.jobs.values() if event.is_first else ():
            runs_at_start = armed.job.policy.run_on_start or isinstance(armed.job.schedule, Reboot)
            if runs_at_start and armed.job.enabled and armed.is_within_limits(now.wall_ns):
                self._offer(armed, None, Trigger.START, now)

    def _tick(self, _: events.Tick, now: Now) -> None:
        if not self.is_stopping and (due := self.timetable.pop_due(now.wall_ns)):
            self._outbox.actions.append(effects.Keep(ACCOUNTED, now.wall_ns))
            for armed in due:
                self._slots_passed(armed, now)
        self._running.give_up_late(now)
        self._running.expire(now)

    def _clock_stepped(self, event: events.ClockStepped, now: Now) -> None:
        self._outbox.records.append(effects.ClockStepNoted(event.delta_ns))
        self.timetable.clock_stepped(event.delta_ns, now.wall_ns)
        if event.delta_ns < -MAX_STEP_BACK_NS:
            self._outbox.actions.append(effects.Keep(ACCOUNTED, now.wall_ns))

    def _slots_passed(self, armed: ArmedJob, now: Now) -> None:
        passed = self.timetable.passed(armed, now.wall_ns)
        armed.slot_ns = None
        if passed.before:
            self._skip(armed.job, passed.before, SkipReason.MISSED, how_late(passed.before.first_ns, now))
        if armed.job.enabled:
            decided = sort_passed(
                passed.slots,
                wall_ns=now.wall_ns,
                policy=armed.job.policy,
                missed_after_ns=self.settings.missed_after_ns,
            )
            for stretch in stretches(decided.missed, passed.slots):
                self._skip(armed.job, stretch, SkipReason.MISSED, how_late(stretch.first_ns, now))
            # All that is to be made up for is run, one after the other if need be.
            may_wait = len(decided.catch_up) > 0 and armed.job.policy.on_missed is OnMissed.ALL
            for slot_ns in decided.catch_up:
                self._offer(armed, slot_ns, Trigger.CATCH_UP, now, may_wait=may_wait)
            for slot_ns in decided.on_time:
                self._offer(armed, slot_ns, Trigger.SLOT, now, may_wait=may_wait)
        else:
            for stretch in stretches([slot_ns for slot_ns, _ in passed.slots], passed.slots):
                self._skip(armed.job, stretch, SkipReason.DISABLED, "enabled = false")
        if not armed.is_from_finish:
            self.timetable.arm(armed, None if armed.is_used_up else passed.next_ns)
        elif armed.job.id not in self._running.activity:
            self._running.arm_from_finish(armed, now)

    def _offer(
        self, armed: ArmedJob, slot_ns: int | None, trigger: Trigger, now: Now, *, may_wait: bool = False
    ) -> None:
        """Make a run for a slot, unless the job's overlap rule or its number of runs is against it."""
        if armed.is_used_up:
            return
        job, activity = armed.job, self._running.activity.get(armed.job.id)
        overlap = job.policy.overlap
        if activity and overlap is Overlap.SKIP and may_wait:
            overlap = Overlap.QUEUE
        if activity and (refusal := _refusal(job, activity, overlap)):
            if slot_ns is not None:
                self._skip(job, Stretch(slot_ns, slot_ns, 1), SkipReason.OVERLAP, refusal)
            return
        run = self._running.new(armed, slot_ns, trigger, now)
        if activity is None or overlap is Overlap.ALLOW:
            self._running.admit(run)
            return
        if overlap is Overlap.REPLACE:
            while activity.backlog:
                replaced = activity.backlog.popleft()
                self._running.give_up(replaced, SkipReason.OVERLAP, f"replaced by run {run.id}", now)
        activity.backlog.append(run)
        if overlap is Overlap.REPLACE:
            for active in list(activity.active.values()):
                self._running.cancel(active, now)

    def _skip(self, job: Job, stretch: Stretch, reason: SkipReason, detail: str) -> None:
        self._outbox.records.append(
            effects.SlotsSkipped(job.id, stretch.first_ns, stretch.last_ns, stretch.count, reason, detail)
        )


def _refusal(job: Job, activity: Activity, overlap: Overlap) -> str | None:
    """Return why a job that has something under way gets no further run, in words, or None."""
    count = len(activity.active)
    if overlap is Overlap.SKIP:
        run = next(iter(activity.active.values()))
        return f"run {run.id} {'still waits for a worker' if run.state is State.QUEUED else 'is not over'}"
    if overlap is Overlap.ALLOW and job.policy.max_running is not None and count >= job.policy.max_running:
        return f"{count} run{'s are' if count > 1 else ' is'} not over"
    return None
