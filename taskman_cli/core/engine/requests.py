"""Requests that change the running scheduler: extra runs, pauses, cancellations and stops.

Each is an event. Its changes are on record, with the user who asked, before it is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskman_cli.core import protocol
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.jobset import STOPPING
from taskman_cli.core.engine.pauses import next_slot
from taskman_cli.core.model import State
from taskman_cli.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.jobset import JobSet
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.pauses import Pauses
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.runs import Run
    from taskman_cli.core.engine.slots import Slots
    from taskman_cli.core.engine.stops import Stops
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable
    from taskman_cli.core.model import Settings


class Requests:
    """Follows each request, or refuses it."""

    def __init__(
        self,
        running: Running,
        timetable: Timetable,
        outbox: Outbox,
        slots: Slots,
        job_set: JobSet,
        pauses: Pauses,
        stops: Stops,
    ) -> None:
        self._running = running
        self._timetable = timetable
        self._outbox = outbox
        self._slots = slots
        self._job_set = job_set
        self._pauses = pauses
        self._stops = stops
        self._handlers: dict[type, Callable[[Any, str, Now], dict[str, Any]]] = {
            protocol.TriggerJob: self._trigger,
            protocol.PauseJobs: pauses.pause,
            protocol.Resume: pauses.resume,
            protocol.Cancel: self._cancel,
            protocol.Stop: self._stop,
        }

    def answer(self, token: int, follow: Callable[[], dict[str, Any]], *, is_urgent: bool = False) -> bool:
        """Follow a request and answer it, or answer why not; return whether it was followed.

        An urgent request is followed even during a stop, and answered even if it cannot be recorded.
        """
        reply: dict[str, Any]
        try:
            if self._running.is_stopping and not is_urgent:
                raise Refused(STOPPING)
            reply = {"ok": True} | follow()
        except Refused as refusal:
            reply = {"ok": False, "error": str(refusal), "code": refusal.exit_code}
        self._outbox.actions.append(effects.Answer(token, reply, is_urgent))
        return bool(reply["ok"])

    def reload(self, event: events.JobsReloaded, settings: Settings, now: Now) -> bool:
        """Put definitions in force, and answer; return whether that was done. `settings` are the old ones."""
        return self.answer(event.token, lambda: self._job_set.reload(event, settings, now))

    def ask(self, event: events.RequestReceived, now: Now) -> None:
        """Follow the request of an event, and answer it."""
        request = event.request
        self.answer(
            event.token,
            lambda: self._handlers[type(request)](request, event.by, now),
            is_urgent=isinstance(request, protocol.Cancel | protocol.Stop),
        )

    def _note(
        self, kind: str, by: str, *, job: str | None = None, run: str | None = None, detail: str = ""
    ) -> None:
        self._outbox.records.append(effects.Commanded(kind, by, job, run, detail))

    # --- extra runs ---

    def _trigger(self, request: protocol.TriggerJob, by: str, now: Now) -> dict[str, Any]:
        armed = self._timetable.jobs[request.job]
        is_instead = request.instead or armed.job.is_once
        slot_ns = next_slot(armed, now) if is_instead else None
        if is_instead and slot_ns is None:
            raise Refused(f"{request.job} has no next slot")
        run = self._slots.ask(
            armed, slot_ns, now, only=request.task, params=request.env, is_forced=request.force
        )
        if slot_ns is not None:
            self._take_slot(armed, slot_ns, now)
        self._note("triggered", by, job=request.job, run=run.id, detail="instead" if is_instead else "")
        # It starts at the end of this step if a worker is free and no earlier run blocks it.
        return {
            "run": run.id,
            "job": request.job,
            "paused": armed.pause is not None,
            "parked": armed.park is not None,
            "slot_ns": slot_ns,
        }

    def _take_slot(self, armed: ArmedJob, slot_ns: int, now: Now) -> None:
        """Continue the schedule after a slot that was taken early."""
        if armed.is_from_finish or armed.job.is_once:
            return  # the next slot counts from the end of this run, or there is none
        since_ns = min(slot_ns, now.wall_ns)
        if armed.is_elapsed:
            schedule: Any = armed.job.schedule
            # At the very moment of a slot a whole interval is left: the next slot must not be the same one.
            is_whole = slot_ns == now.wall_ns + schedule.every_ns
            slot_ns = since_ns = armed.anchor_ns = now.wall_ns + is_whole
        else:
            armed.taken_ns = slot_ns
        self._timetable.arm(armed, armed.slot_after(slot_ns))
        self._outbox.records.append(
            effects.JobArmed(
                armed.job.id, definition_of(armed.job), since_ns, armed.anchor_ns, armed.taken_ns
            )
        )
        if armed.pause:
            self._pauses.freeze(armed, now)

    # --- ends ---

    def _cancel(self, request: protocol.Cancel, by: str, now: Now) -> dict[str, Any]:
        job_id, _, task_id = request.target.partition(".")
        told = []
        for run in self._running.unfinished(request.target):
            if run.is_over:  # the end of one before it has parked the job
                continue
            is_running = run.is_in_pool
            if task_id:
                attempt = run.attempts.get(task_id)
                is_running = attempt is not None and attempt.is_in_pool
                self._cancel_task(run, task_id, request, now)
            else:
                self._running.cancel(run, now, signum=request.signal, is_kill=request.now)
            state = State.RUNNING if is_running else State.QUEUED
            told.append({"run": run.id, "job": run.job.id, "state": state.value})
            self._note("cancelled", by, job=run.job.id, run=run.id, detail=task_id)
        if not told and self._job_set.is_to_come(request.target):
            self._note("cancelled", by, job=job_id)
            self._job_set.drop_once(job_id, now)
            return {"runs": [], "jobs": [job_id]}
        return {"runs": told}

    def _cancel_task(self, run: Run, task_id: str, request: protocol.Cancel, now: Now) -> None:
        """End one task of a run."""
        attempt = run.attempts.get(task_id)
        if attempt is None or attempt.state is not State.RUNNING:
            self._running.end_task(run, task_id, now)
        elif request.now:
            self._running.attempts.kill(attempt, now)
        else:
            self._running.attempts.tell_to_end(attempt, State.CANCELLED, now, signum=request.signal)

    def _stop(self, request: protocol.Stop, by: str, now: Now) -> dict[str, Any]:
        """Stop, or stop faster; a drain after a stop changes nothing."""
        count = self._running.pool.busy_count
        detail = ""
        if request.now:
            detail = "now"
            self._stops.stop(events.KillRequested(), now)
        elif request.drain_ns is None:
            self._stops.stop(events.StopRequested(), now)
        elif not self._running.is_stopping or self._running.is_draining:
            detail = "drain"
            self._stops.drain(events.DrainRequested(), now)
        self._note("stopping", by, detail=detail)
        return {"stopping": True, "running": count}
