"""The end of the program: nothing starts any more, and what has not begun waits for the next start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine import events

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.runs import Run


class Stops:
    """Stops what `running` has."""

    def __init__(self, running: Running, outbox: Outbox) -> None:
        self._running = running
        self._outbox = outbox

    def drain(self, _: events.DrainRequested, now: Now) -> None:
        """Start nothing more; running commands end by themselves, waiting runs wait for the next start."""
        self._running.is_draining = True
        self._leave_waiting(now)

    def stop(self, event: events.StopRequested | events.KillRequested, now: Now) -> None:
        """Start nothing more and end running commands; waiting runs wait for the next start."""
        running = self._running
        running.is_draining, running.is_killing = False, isinstance(event, events.KillRequested)
        self._leave_waiting(now)
        for activity in list(running.activity.values()):
            for run in list(activity.active.values()):
                self._outbox.subject = run
                if run.is_in_pool:  # or it comes back, or is ended when it has started
                    running.cancel(run, now, is_kill=running.is_killing)

    def _leave_waiting(self, now: Now) -> None:
        running = self._running
        running.is_stopping = True
        running.waiting.end_step()  # a run of this very step is left like the others
        running.attempts.wait_no_more(now)
        for job_id, activity in list(running.activity.items()):
            for run in (run for run in (*activity.backlog, *activity.active.values()) if not run.has_process):
                self._leave(run)
            activity.backlog.clear()
            activity.active = {run.id: run for run in activity.active.values() if run.has_process}
            if not activity.active:
                running.activity.pop(job_id, None)

    def _leave(self, run: Run) -> None:
        """Leave a run for the next start of the program."""
        self._running.left.append(run)
        self._running.waiting.remove(run)
        for attempt in run.attempts.values():
            self._running.attempts.drop(attempt)
