"""What happens to attempts that were asked for: they end, are lost, cannot start, or run out of time."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.policy import describe, judge
from taskman_cli.core.model import GATE, State

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.running import Running
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Exit


class Outcomes:
    """Handles the events of attempts, and lets their runs continue from there."""

    def __init__(self, running: Running, outbox: Outbox) -> None:
        self._running = running
        self._attempts = running.attempts
        self._pool = running.pool
        self._outbox = outbox

    def started(self, event: events.AttemptStarted, now: Now) -> None:
        """Note that a process exists; in a stop that came before it was known, it is told to end."""
        attempt, running = self._attempts.started(event), self._running
        if attempt is None or not running.is_stopping or running.is_draining:
            return
        if not attempt.run.is_cancelled:
            running.cancel(attempt.run, now, is_kill=running.is_killing)

    def ended(self, event: events.AttemptEnded, now: Now) -> None:
        """Judge how a process ended."""
        attempt = self._pool.running.get(event.key)
        if attempt is None:
            self._outbox.actions.append(effects.Forget((event.key,)))
            return
        task, end = attempt.task, event.exit
        has_run_ns = event.at.elapsed_ns - attempt.began_elapsed_ns - attempt.stopped_ns
        if self._pool.early.is_possible:
            self._pool.early.note_end(has_run_ns, now.elapsed_ns)
        if attempt.ending is not None:
            if attempt.ending is State.TIMED_OUT and has_run_ns < (task.execution.timeout_ns or 0):
                attempt.ending = None  # it had ended by itself before it was told to
            elif end.is_group_left:
                self._attempts.signal(attempt, signal.SIGKILL)
        state = attempt.ending or judge(end, task.execution)
        detail = ""
        if state is not State.SUCCEEDED:
            detail = describe(end, is_shell=isinstance(task.command, str))
        self._finish(attempt, state, detail, end, event.at, now)

    def gone(self, event: events.AttemptGone, now: Now) -> None:
        """Record that the end of an attempt will never be known; if it was told to end and has, as what."""
        attempt = self._pool.running.get(event.key)
        if attempt is not None:
            state = attempt.ending if event.is_over and attempt.ending else State.LOST
            self._finish(attempt, state, event.why or "its end was not seen", None, now, now)

    def expire(self, now: Now) -> None:
        """Handle the timers of attempts that have expired."""
        for attempt in self._attempts.expire(now):
            self._outbox.subject = attempt.run
            if self._running.is_stopping:
                self._abandon(attempt, now)
            else:
                self._attempts.note_stuck(attempt)
            self._outbox.subject = None

    def _abandon(self, attempt: Attempt, now: Now) -> None:
        """Give up an attempt that KILL does not end, so that the program can leave."""
        attempt.run.is_abandoned = True
        self._outbox.actions.append(effects.Abandon(attempt.key))
        pid = "" if attempt.pid is None else f" (pid {attempt.pid})"
        self._finish(attempt, State.LOST, f"was killed and did not end{pid}", None, now, now)

    def start_failed(self, event: events.StartFailed, now: Now) -> None:
        """Handle a process that could not be made: the attempt fails, or all starts pause."""
        attempt = self._pool.running.get(event.key)
        if attempt is None:
            return
        if event.is_transient and attempt.ending is None:
            user = attempt.task.execution.user if event.is_users else None
            executor = attempt.executor if event.is_users and attempt.is_remote else ""
            if executor:
                self._pool.abroad.failed(executor, event.message, event.at.elapsed_ns)
            attempt.place = 0  # others of its rank go first: they may have more luck
            self._put_back(attempt, event.at)
            is_users = user is not None or executor != ""
            pause_ns = self._pool.pause(attempt, event.at.elapsed_ns, is_users=is_users)
            if executor and self._pool.early.attempts:  # what is held for it would fail too
                self._outbox.actions.append(effects.Recall())
            if pause_ns is not None:
                who, run = "" if user is None or executor else user.name, attempt.run.id
                self._outbox.records.append(
                    effects.SpawnDelayed(
                        event.message, pause_ns, who, run if who or executor else "", executor
                    )
                )
            return
        self._pool.note_start(attempt, now.elapsed_ns)  # its executor has answered
        self._finish(attempt, attempt.ending or State.FAILED, event.message, None, event.at, now)

    def start_held(self, event: events.StartHeld, now: Now) -> None:
        """Handle a start that could not be recorded: the attempt waits, or is over."""
        attempt = self._pool.running.get(event.key)
        if attempt is None:
            return
        self._outbox.subject = attempt.run  # the event is one of this scheduler alone: the next knows the run
        if attempt.ending is None:
            attempt.place = 0
            self._put_back(attempt, now)
            self._pool.pause(attempt, now.elapsed_ns, is_for_ledger=True)
        else:
            self.unstarted(attempt, attempt.ending, now)
        self._outbox.subject = None

    def unstarted(self, attempt: Attempt, ending: State, now: Now) -> None:
        """End an attempt that was told to end before its process was asked for."""
        self._finish(attempt, ending, "never started", None, now, now)

    def start_returned(self, event: events.StartReturned, now: Now) -> None:
        """Handle a start that the supervisor did not carry out: the attempt waits, or is over."""
        attempt = self._pool.running.get(event.key)
        if attempt is None or attempt.spawned is not None:
            return
        self._pool.early.stop()
        if attempt.ending is None:
            self._put_back(attempt, now)
        else:
            self.unstarted(attempt, attempt.ending, now)

    def _put_back(self, attempt: Attempt, at: Now) -> None:
        """Put an attempt that has no process back to wait."""
        self._attempts.put_back(attempt, at.elapsed_ns)
        run = attempt.run
        run.is_plain = False
        if not run.has_begun:
            run.state = State.QUEUED
            self._running.waiting.add(run)
            self._running.skip_parked(run.job.id, at)

    def _finish(
        self, attempt: Attempt, state: State, detail: str, end: Exit | None, at: Now, now: Now
    ) -> None:
        """Record an attempt's end, then start its next attempt or end its task."""
        run = attempt.run
        if self._attempts.finish(attempt, state, detail, end, at):
            return
        if state is State.SUCCEEDED and attempt.number == 1 and run.is_plain and not run.is_cancelled:
            self._running.succeed_plain(run, run.ended[attempt.task.id], now)
            return
        run.close_task(attempt.task.id, state)
        if attempt.task.id == GATE:
            run.waits_since_ns, run.place = attempt.waits_since_ns, attempt.place
            self._running.pass_seat(run, now)
        elif run.pending:
            self._running.begin_tasks(run, now)
        self._running.settle(run, now)
