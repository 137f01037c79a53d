"""The pauses of jobs: requests begin and end them, and time ends some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.engine.skips import skipped
from taskman_cli.core.engine.timetable import stretches
from taskman_cli.core.model import SkipReason
from taskman_cli.core.pause import Pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable


class Pauses:
    """Pauses jobs and resumes them."""

    def __init__(self, running: Running, timetable: Timetable, outbox: Outbox) -> None:
        self._running = running
        self._timetable = timetable
        self._outbox = outbox
        #: When pauses end by themselves, on the wall clock. The entry of a removed job is ignored.
        self.ends: DueQueue[str] = DueQueue()

    def load(self, armed_jobs: Iterable[ArmedJob], now: Now) -> None:
        """Take over the pauses of an earlier scheduler."""
        for armed in armed_jobs:
            if armed.pause:
                self._outbox.subject = armed.job.id
                is_armed = armed.slot_ns is not None
                if armed.pause.left_ns is not None:  # what was left when the pause began still is
                    armed.slot_ns = None
                if is_armed:
                    self._timetable.freeze(armed, now.wall_ns)
                self._set_end(armed)
        self._outbox.subject = None

    def set_aside(self, jobs: Mapping[str, str], now: Now) -> None:
        """Pause jobs that an earlier scheduler died of, until they are resumed."""
        for job_id, why in jobs.items():
            armed = self._timetable.jobs.get(job_id)
            # A pause that ends by itself would let the job kill the next scheduler.
            if armed is None or (armed.pause and armed.pause.until_ns is None):
                continue
            self._outbox.subject = job_id
            self._skip_passed(armed, why, now)
            left_ns, stops_to = None, None
            if armed.pause:
                left_ns, stops_to = armed.pause.left_ns, armed.pause.stops_to
            armed.pause = Pause(now.wall_ns, reason=why, by="taskman", left_ns=left_ns, stops_to=stops_to)
            self._set_end(armed)
            self._timetable.note_paused(armed)
            if armed.slot_ns is not None:
                self._timetable.freeze(armed, now.wall_ns)
            self._outbox.records.append(effects.JobPaused(job_id, armed.pause))
            self._outbox.records.append(effects.Commanded("paused", "taskman", job_id, detail=why))
        self._outbox.subject = None

    def _skip_passed(self, armed: ArmedJob, why: str, now: Now) -> None:
        """Skip the due slots of an interval: it has no slots during a pause."""
        slot_ns = armed.slot_ns
        is_due = slot_ns is not None and armed.due_at(slot_ns) <= now.wall_ns
        if not is_due or not armed.is_elapsed or armed.is_from_finish:
            return
        passed = self._timetable.passed(armed, now.wall_ns)
        slots = [slot_ns for slot_ns, _ in passed.slots]
        found = [passed.before] if passed.before else []
        for stretch in found + stretches(slots, passed.slots):
            self._outbox.records.append(skipped(armed.job, stretch, SkipReason.PAUSED, f"paused: {why}"))
        armed.since_ns = slots[-1]
        self._timetable.arm(armed, passed.next_ns)

    def tick(self, now: Now) -> None:
        """End the pauses whose time is over."""
        for job_id in self.ends.pop_due(now.wall_ns):
            self._outbox.subject = job_id
            armed = self._timetable.jobs.get(job_id)
            if armed and armed.pause and not armed.pause.covers(now.wall_ns):
                self._go_on(armed, "its time is over", now)
            self._outbox.subject = None

    def clock_stepped(self, delta_ns: int) -> None:
        """Move the ends of pauses with the clock, so that their lengths stay the same."""
        for job_id, armed in self._timetable.jobs.items():
            self._outbox.subject = job_id
            if armed.pause:
                armed.pause = armed.pause.moved(delta_ns)
                self._set_end(armed)
                self._outbox.records.append(effects.JobPaused(job_id, armed.pause))
        self._outbox.subject = None

    def _set_end(self, armed: ArmedJob) -> None:
        self.ends.remove(armed.job.id)
        if armed.pause and armed.pause.until_ns is not None:
            self.ends.put(armed.job.id, armed.pause.until_ns)

    # --- requests ---

    def pause(self, request: protocol.PauseJobs, by: str, now: Now) -> dict[str, Any]:
        until_ns = request.until_ns
        if request.for_ns is not None:
            until_ns = min(now.wall_ns + request.for_ns, protocol.LAST_NS)
        is_until = until_ns is not None and request.for_ns is None
        changed = []
        for armed in self._named(request):
            self._outbox.subject = armed.job.id
            since_ns, left_ns, stops_to = now.wall_ns, None, None
            if armed.pause:
                since_ns, left_ns, stops_to = armed.pause.since_ns, armed.pause.left_ns, armed.pause.stops_to
            if request.stop:
                stops_to = self._running.last_run_number
            armed.pause = Pause(since_ns, until_ns, request.reason, by, left_ns, is_until, stops_to)
            self.freeze(armed, now)
            self._set_end(armed)
            changed.append(armed.job.id)
            self._outbox.records.append(effects.Commanded("paused", by, armed.job.id, detail=request.reason))
            if request.stop:
                self._running.attempts.stop_all(armed.job.id, now)
        return {"jobs": changed, "unchanged": [], "until_ns": until_ns}

    def freeze(self, armed: ArmedJob, now: Now) -> None:
        """Stop the timer of a paused job, and record its pause."""
        self._timetable.freeze(armed, now.wall_ns)
        self._outbox.records.append(effects.JobPaused(armed.job.id, armed.pause))

    def resume(self, request: protocol.Resume, by: str, now: Now) -> dict[str, Any]:
        changed, unchanged = [], []
        for armed in self._named(request):
            self._outbox.subject = armed.job.id
            if armed.pause is None and armed.park is None:
                unchanged.append(armed.job.id)
                continue
            if armed.pause is not None:
                self._go_on(armed, by, now)
            if armed.park is not None:
                self._running.parks.end(armed, by, now)
            changed.append(armed.job.id)
        return {"jobs": changed, "unchanged": unchanged, "until_ns": None}

    def _go_on(self, armed: ArmedJob, by: str, now: Now) -> None:
        """End a pause."""
        job_id = armed.job.id
        slot_ns = next_slot(armed, now)
        is_elapsed_left = armed.is_elapsed and slot_ns is not None
        armed.pause = None
        self.ends.remove(job_id)
        self._outbox.records.append(effects.JobPaused(job_id, None))
        is_busy = armed.is_from_finish and job_id in self._running.activity
        if is_elapsed_left and slot_ns is not None and not is_busy:
            self._rearm(armed, slot_ns, now)
        elif armed.job.is_once:
            self._timetable.arm(armed, slot_ns)
        self._outbox.records.append(effects.Commanded("resumed", by, job_id))
        self._running.attempts.continue_all(job_id, now)

    def _rearm(self, armed: ArmedJob, slot_ns: int, now: Now) -> None:
        """Continue an interval with this as its next slot."""
        schedule: Any = armed.job.schedule
        armed.anchor_ns = slot_ns - schedule.every_ns
        self._timetable.arm(armed, slot_ns if armed.is_within_limits(slot_ns) else None)
        self._outbox.records.append(
            effects.JobArmed(armed.job.id, definition_of(armed.job), now.wall_ns, armed.anchor_ns)
        )
        if armed.is_from_finish:
            self._outbox.records.append(effects.IntervalEnded(armed.job.id, armed.anchor_ns))

    def _named(self, request: protocol.PauseJobs | protocol.Resume) -> list[ArmedJob]:
        """Return the jobs that a request selects: by name, by tag, or all."""
        return [
            armed
            for job_id, armed in self._timetable.jobs.items()
            if request.all or job_id in request.jobs or set(request.tags) & set(armed.job.tags)
        ]


def next_slot(armed: ArmedJob, now: Now) -> int | None:
    """Return the next slot of a job; of a paused one, the slot that it would have if resumed now."""
    if armed.slot_ns is not None or armed.pause is None or armed.is_used_up:
        return armed.slot_ns
    if armed.job.is_once:
        return armed.slot_after(0)
    if armed.pause.left_ns is None:
        return None
    return now.wall_ns + armed.pause.left_ns
