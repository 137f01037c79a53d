"""What becomes of each slot: a run, a catch-up or a skip with its reason. Requests get runs here too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.policy import sort_passed
from taskman_cli.core.engine.skips import how_late, skipped
from taskman_cli.core.engine.timetable import Stretch, stretches
from taskman_cli.core.model import OnMissed, Overlap, SkipReason, State, Trigger
from taskman_cli.core.pause import Pause
from taskman_cli.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.runs import Activity, Run
    from taskman_cli.core.engine.timetable import ArmedJob, Passed, Timetable
    from taskman_cli.core.model import Job
    from taskman_cli.core.pause import Park


class Slots:
    """Makes runs for slots, starts and requests, as far as the job's own rules allow."""

    def __init__(self, running: Running, timetable: Timetable, outbox: Outbox) -> None:
        self._running = running
        self._timetable = timetable
        self._outbox = outbox

    # --- slots that are due ---

    def decide(self, armed: ArmedJob, now: Now, *, until_ns: int, missed_after_ns: int) -> None:
        """Decide on all slots of a job that are due by an instant, and arm it for the next one.

        At that instant they were found due: how late they are reached is judged by it, whoever came first.
        """
        slot_ns, job = armed.slot_ns, armed.job
        assert slot_ns is not None
        is_held = armed.pause is not None or armed.failures is not None
        if armed.is_plain and not is_held and until_ns - slot_ns <= missed_after_ns:
            next_ns = armed.slot_after(slot_ns)
            # One slot has passed, in time, and nothing keeps it from getting a run: nearly always.
            if next_ns is None or next_ns > until_ns:
                armed.slot_ns, armed.since_ns = None, slot_ns
                if job.id in self._running.activity:
                    self.offer(armed, slot_ns, Trigger.SLOT, now)
                else:
                    self._running.begin_plain(armed, slot_ns, now)
                self._timetable.arm(armed, next_ns)
                return
        passed = self._timetable.passed(armed, until_ns)
        armed.slot_ns, armed.since_ns = None, passed.slots[-1][0]
        self._decide_all(armed, passed, now, until_ns=until_ns, missed_after_ns=missed_after_ns)
        if not armed.is_from_finish:
            self._timetable.arm(armed, None if armed.is_used_up else passed.next_ns)
        elif job.id not in self._running.activity:
            self._running.arm_from_finish(armed, now)

    def _decide_all(
        self, armed: ArmedJob, passed: Passed, now: Now, *, until_ns: int, missed_after_ns: int
    ) -> None:
        """Give each slot that has passed a run, or skip it with its reason."""
        slots = self._skip_held(armed, passed)
        if passed.before and not any(hold.covers(passed.before.last_ns) for hold in armed.holds):
            self._skip(armed.job, passed.before, SkipReason.MISSED, how_late(passed.before.first_ns, now))
        if not armed.job.enabled:
            for stretch in stretches([slot_ns for slot_ns, _ in slots], passed.slots):
                self._skip(armed.job, stretch, SkipReason.DISABLED, "enabled = false")
            return
        decided = sort_passed(
            slots,
            wall_ns=until_ns,
            policy=armed.job.policy,
            missed_after_ns=missed_after_ns,
        )
        for stretch in stretches(decided.missed, passed.slots):
            self._skip(armed.job, stretch, SkipReason.MISSED, how_late(stretch.first_ns, now))
        # All slots that passed while nothing could start get a run, one after the other if necessary.
        may_wait = len(slots) > 1 and armed.job.policy.on_missed is OnMissed.ALL
        for slot_ns in decided.catch_up:
            self.offer(armed, slot_ns, Trigger.CATCH_UP, now, may_wait=may_wait)
        for slot_ns in decided.on_time:
            self.offer(armed, slot_ns, _own_trigger(armed.job), now, may_wait=may_wait)

    def _skip_held(self, armed: ArmedJob, passed: Passed) -> list[tuple[int, int]]:
        """Skip the slots that a pause or a park covers, and return the others, as (slot, due)."""
        slots, before = passed.slots, passed.before
        for hold in armed.holds:
            if isinstance(hold, Pause):
                reason, by = SkipReason.PAUSED, f"paused by {hold.by}"
                detail = f"{by}: {hold.reason}" if hold.reason else by
            else:
                reason, detail = SkipReason.PARKED, hold.reason
            if before and hold.covers(before.last_ns):
                self._skip(armed.job, before, reason, detail)
                before = None
            covered = [slot_ns for slot_ns, due_ns in slots if hold.covers(due_ns)]
            for stretch in stretches(covered, passed.slots):
                self._skip(armed.job, stretch, reason, detail)
            slots = [(slot_ns, due_ns) for slot_ns, due_ns in slots if not hold.covers(due_ns)]
        return slots

    def _skip(self, job: Job, stretch: Stretch, reason: SkipReason, detail: str) -> None:
        self._outbox.records.append(skipped(job, stretch, reason, detail))

    # --- whether there is a run ---

    def offer(
        self, armed: ArmedJob, slot_ns: int | None, trigger: Trigger, now: Now, *, may_wait: bool = False
    ) -> None:
        """Make a run, or skip the slot; `may_wait`: the run may wait for one that is not over."""
        if armed.is_used_up:
            return
        activity = self._running.activity.get(armed.job.id)
        park = armed.failures and armed.park
        if park and (refusal := _untried(park, activity, now)):
            if slot_ns is not None:
                stretch = Stretch(slot_ns, slot_ns, 1)
                self._skip(armed.job, stretch, SkipReason.PARKED, refusal)
            return
        overlap = armed.job.policy.overlap
        if activity and overlap is Overlap.SKIP and may_wait:
            overlap = Overlap.QUEUE
        if activity and (refusal := self._refusal(armed.job, activity, overlap)):
            if slot_ns is not None:
                stretch, blocker = Stretch(slot_ns, slot_ns, 1), next(iter(activity.active), None)
                self._outbox.records.append(
                    skipped(armed.job, stretch, SkipReason.OVERLAP, refusal, blocker=blocker)
                )
            return
        run = self._running.new(armed, slot_ns, trigger, now)
        if park:
            self._running.parks.try_with(armed, run)
        self._let_in(run, activity, overlap, now)

    def ask(
        self,
        armed: ArmedJob,
        slot_ns: int | None,
        now: Now,
        *,
        only: str | None,
        params: Mapping[str, str],
        is_forced: bool,
    ) -> Run:
        """Make the run that a request asks for."""
        activity = self._running.activity.get(armed.job.id)
        overlap = Overlap.ALLOW if is_forced else armed.job.policy.overlap
        if not is_forced:
            if armed.is_used_up:
                raise _no_run(armed.job, f"it has had its {armed.run_count} runs (max_runs)")
            if activity and (refusal := self._refusal(armed.job, activity, overlap)):
                raise _no_run(armed.job, f"{refusal} (overlap = {overlap})")
        run = self._running.new(armed, slot_ns, Trigger.MANUAL, now, only=only, params=params)
        self._let_in(run, activity, overlap, now)
        return run

    def _let_in(self, run: Run, activity: Activity | None, overlap: Overlap, now: Now) -> None:
        """Let a run begin, wait for earlier runs, or replace them."""
        if activity is None or overlap is Overlap.ALLOW:
            self._running.admit(run, now)
            return
        if overlap is Overlap.REPLACE:
            for replaced in list(activity.backlog):
                if replaced.state is not State.QUEUED:  # some of its tasks were cancelled
                    self._running.cancel(replaced, now)
                    continue
                activity.backlog.remove(replaced)
                self._running.give_up(replaced, SkipReason.OVERLAP, f"replaced by run {run.id}", now)
        activity.backlog.append(run)
        if overlap is Overlap.REPLACE:
            for active in list(activity.active.values()):
                self._running.cancel(active, now)

    def _refusal(self, job: Job, activity: Activity, overlap: Overlap) -> str | None:
        """Return why a job with unfinished runs gets no further run, in words, or None."""
        count = len(activity.active)
        if overlap is Overlap.SKIP:
            run = next(iter(activity.active.values()))
            if run.state is not State.QUEUED:
                return f"run {run.id} is not over"
            return f"run {run.id} {self._standstill(run)}"
        most = job.policy.max_running
        if overlap is Overlap.ALLOW and most is not None and count >= most:
            return f"{count} run{'s are' if count > 1 else ' is'} not over"
        return None

    def _standstill(self, run: Run) -> str:
        """Say why a run has not begun."""
        pool = self._running.pool
        if pool.holds.is_unrecorded:
            return "still waits until its start can be recorded"
        for attempt in run.attempts.values():
            if pool.holds.of(attempt) and attempt.is_remote:
                return f"still waits for executor {attempt.executor}"
        if any(map(pool.is_on_hold, run.attempts.values())):
            return "still waits until there is room for another process"
        for attempt in run.attempts.values():
            if lack := pool.resources.short_of(attempt.task.execution.resources):
                return f"still waits for {lack}"
        if pool.is_full:
            return "still waits for a worker"
        # Slots that are reached together, for example after a stall, are offered before any of them starts.
        return "is about to begin"


def _own_trigger(job: Job) -> Trigger:
    return Trigger.ONCE if job.is_once else Trigger.SLOT


def _untried(park: Park, activity: Activity | None, now: Now) -> str | None:
    """Return why a parked job is not tried now, in words, or None."""
    if park.covers(now.wall_ns):
        return park.reason
    if activity and any(run.id == park.trial for run in activity.runs):
        return f"run {park.trial}, which tries it, is not over"
    return None


def _no_run(job: Job, why: str) -> Refused:
    return Refused(f"{job.id}: {why}; --force runs it all the same")
