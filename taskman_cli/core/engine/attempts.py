"""Attempts from the seat to the end: their records, `timeout`, and the signals that end a command, then KILL.

What an end means for the rest of the run is decided in `outcomes`.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS, earliest
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.policy import pause_after_ns
from taskman_cli.core.engine.pool import Pool
from taskman_cli.core.engine.runs import Attempt
from taskman_cli.core.executors import LOCAL
from taskman_cli.core.model import GATE, State, Trigger
from taskman_cli.core.sinks import ReportKind

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.reports import Reports
    from taskman_cli.core.engine.timetable import Timetable
    from taskman_cli.core.model import Exit, Settings

#: A command that has not ended this long after KILL is held by the kernel: a file system does not answer.
KILL_PATIENCE_NS = 10 * SECOND_NS


class Attempts:
    """The attempts of all runs, and the pool in which they have their seats."""

    def __init__(self, settings: Settings, timetable: Timetable, outbox: Outbox, reports: Reports) -> None:
        self.pool = Pool(settings)
        self.reports = reports
        self._timetable = timetable
        self._outbox = outbox
        #: Begins each handle: what tells the ledger from all others.
        self.identity = ""

    def begin(self, attempt: Attempt, now: Now) -> None:
        """Give an attempt a seat, put on record that it begins, and ask for its process."""
        if amounts := attempt.task.execution.resources:
            attempt.holds = self.pool.resources.needs(amounts)
            self._outbox.records += self.pool.resources.start(attempt.holds, now.elapsed_ns)
        attempt.began_elapsed_ns = now.elapsed_ns
        if attempt.is_remote:
            self._find_handle(attempt)
        run = attempt.run
        if attempt is self.pool.early.taken:
            self.pool.early.begin(attempt)
        self.pool.seat(attempt)
        if not attempt.has_begun:
            attempt.has_begun = True
            self._outbox.records.append(attempt.begun())
            if not run.is_plain:
                self.reports.begun(attempt, now)
        self._outbox.actions.append(
            effects.Start(
                attempt.key, run.id, run.job.id, attempt.task, attempt.number, run.slot_ns, run.trigger,
                run.params, attempt.handle, attempt.is_early,
            )
        )  # fmt: skip

    def _find_handle(self, attempt: Attempt) -> None:
        """Name an attempt for its executor; one that begins anew may have another one by now."""
        executor = attempt.task.execution.executor
        if attempt.has_begun and attempt.executor != executor:
            self.withdraw(attempt)
        if not attempt.has_begun:
            attempt.be_named("" if executor == LOCAL else f"{executor}/{self.identity}.{attempt.key}")

    def progressed(self, event: events.AttemptProgressed, _: Now) -> None:
        """Note how far an attempt is."""
        if attempt := self.pool.running.get(event.key):
            attempt.progress = event.part, event.words

    def unheard(self, event: events.AttemptUnheard, _: Now) -> None:
        """Note whether the executor of an attempt knows how it stands."""
        if attempt := self.pool.running.get(event.key):
            attempt.unheard = event.why

    def executor_told(self, event: events.ExecutorTold, now: Now) -> None:
        """Note how an executor stands; if it is there again, what waited for it begins."""
        if self.pool.abroad.take(event):
            self.pool.holds.release(event.name, now.elapsed_ns)

    def started(self, event: events.AttemptStarted) -> Attempt | None:
        """Record that the process of an attempt exists, and return it; its `timeout` counts from here."""
        pool, started = self.pool, event.started
        attempt = pool.running.get(event.key)
        if attempt is None:
            return None
        if attempt.is_early or pool.holds.counts:
            pool.note_start(attempt, started.elapsed_ns)
        pool.abroad.began(attempt)
        run = attempt.run
        delay_ns = None
        if run.began_elapsed_ns is None:
            run.began_elapsed_ns = started.elapsed_ns
            if run.trigger is not Trigger.CATCH_UP:
                delay_ns = started.wall_ns - run.due_ns
        attempt.spawned = spawned = effects.AttemptSpawned(
            run.id, run.job.id, attempt.task.id, attempt.number, event.pid, started, delay_ns
        )
        attempt.began_elapsed_ns = started.elapsed_ns
        self._outbox.records.append(spawned)
        if not run.is_plain:
            self.reports.running(attempt)
        if attempt.task.execution.timeout_ns is not None:
            self._set_timeout(attempt)
        if pool.gate is not None and attempt.is_looked_at:
            pool.looks.plan_first(attempt)
        return attempt

    def first_timer_ns(self, attempt: Attempt) -> int | None:
        """Return how long after its start anything is done at a time that depends on it; None: nothing is.

        So long nobody has to be told of the start, says the simulation.
        """
        timeout_ns, slow_after_ns = attempt.task.execution.timeout_ns, attempt.run.job.policy.slow_after_ns
        has_look = attempt.is_looked_at and self.pool.gate is not None
        if timeout_ns is None and slow_after_ns is None and not has_look:  # nearly always
            return None
        return earliest(timeout_ns, slow_after_ns, self.pool.memory.tuning.look_ns if has_look else None)

    def _set_timeout(self, attempt: Attempt) -> None:
        """Set the timer for an attempt's `timeout`; it does not run while the command is stopped."""
        timeout_ns = attempt.task.execution.timeout_ns
        if timeout_ns is None or attempt.spawned is None or attempt.ending is not None:
            return
        if attempt.stopped is None:
            self.pool.set_timer(attempt, attempt.began_elapsed_ns + timeout_ns + attempt.stopped_ns)
        else:
            self.pool.set_timer(attempt, None)

    def adopted(self, event: events.OrphanAdopted, _: Now) -> None:
        """Record that an orphan is watched again."""
        attempt = self.pool.running.get(event.key)
        if attempt is not None:
            run = attempt.run
            self._outbox.records.append(
                effects.AttemptAdopted(run.id, run.job.id, attempt.task.id, attempt.number, event.pid)
            )

    def drop(self, attempt: Attempt) -> None:
        """Take out an attempt that waits or rests."""
        self.pool.drop(attempt)
        self.withdraw(attempt)

    def withdraw(self, attempt: Attempt) -> None:
        """Record that an attempt has not begun after all, if its begin is on record."""
        if attempt.has_begun:
            attempt.has_begun = False
            attempt.be_named("")
            self._outbox.records.append(
                effects.AttemptWithdrawn(attempt.run.id, attempt.run.job.id, attempt.task.id, attempt.number)
            )
            if attempt.run.is_told and attempt.task.id != GATE:
                self._outbox.records.append(effects.RunTold(attempt.run.id, ReportKind.STARTED))

    def put_back(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Put an attempt that has no process back to wait."""
        if attempt.holds:
            self._outbox.records += self.pool.resources.give_back(attempt.holds, elapsed_ns)
        self.pool.put_back(attempt, elapsed_ns)
        attempt.spawned = None  # it may have had a process that did not become the command
        attempt.stopped, attempt.stopped_ns = None, 0
        self.withdraw(attempt)
        self.reports.held(attempt.run)

    def finish(self, attempt: Attempt, state: State, detail: str, end: Exit | None, at: Now) -> bool:
        """Record an attempt's end, and return whether another attempt follows."""
        run, task, pool = attempt.run, attempt.task, self.pool
        if attempt.stopped is not None:
            self._note_continued(attempt, at)
        if pool.gate is not None and end is not None and not attempt.is_remote:
            need = pool.memory.learn(attempt, end.peak_rss_bytes)
            if need is not None:
                self._learned(need)
        pool.release(attempt)
        pool.abroad.ended(attempt, state)
        pause_ns: int | None = None
        duration_ns: int | None = at.elapsed_ns - attempt.began_elapsed_ns
        if state is not State.SUCCEEDED:  # it mostly is
            if state is State.LOST:
                run.lost, duration_ns = run.lost + 1, None
            if not run.is_cancelled and not run.is_abandoned and attempt.is_defined:
                pause_ns = pause_after_ns(
                    attempt.key, state, job=run.job, task=task, number=attempt.number, end=end, lost=run.lost
                )
        record = run.ended[task.id] = effects.AttemptFinished(
            run.id, run.job.id, task.id, attempt.number, state, detail, end, at.wall_ns, duration_ns, pause_ns
        )
        self._outbox.records.append(record)
        self._outbox.actions.append(effects.Forget((attempt.key,)))
        if pause_ns is not None:
            self.reports.retried(run, record, at)
            another = run.attempts[task.id] = Attempt.of(run, task, attempt.number + 1)
            self.pool.rest(another, at.elapsed_ns + pause_ns)
        return pause_ns is not None

    # --- the kill ladder ---

    def expire(self, now: Now) -> list[Attempt]:
        """Handle the timers that have expired; return the attempts that KILL has not ended in time."""
        stuck = []
        for attempt in self.pool.expire(now.elapsed_ns):
            self._outbox.subject = attempt.run
            if attempt.key not in self.pool.running:
                self.pool.enqueue(attempt, now.elapsed_ns)
            elif attempt.ending is None:
                self.tell_to_end(attempt, State.TIMED_OUT, now)
            elif attempt.killed_elapsed_ns is None:
                self.kill(attempt, now)
            else:
                stuck.append(attempt)
            self._outbox.subject = None
        if looks := self.pool.looks.due(self.pool.running, now.elapsed_ns):
            self._outbox.actions.append(
                effects.MeasureMemory(tuple((attempt.key, attempt.pid or 0) for attempt in looks))
            )
        return stuck

    def measured(self, event: events.MemoryMeasured, now: Now) -> None:
        """Learn how much memory running attempts use."""
        for key, used_bytes in event.used_bytes.items():
            attempt = self.pool.running.get(key)
            if attempt is not None and self.pool.gate is not None:
                self._outbox.subject = attempt.run
                if need := self.pool.memory.looked(attempt, used_bytes, now.elapsed_ns):
                    self._learned(need)
                self._outbox.subject = None

    def _learned(self, need: tuple[tuple[str, str], int]) -> None:
        """Record what a task needs."""
        (job, task), need_bytes = need
        self._outbox.records.append(effects.NeedLearned(job, task, need_bytes))

    def publish(self, elapsed_ns: int) -> None:
        """Record the target of the pool, if it has changed by enough."""
        gate, target, tuning = self.pool.gate, self.pool.target, self.pool.memory.tuning
        assert gate is not None
        cpus = gate.signals.cpus if gate.signals else 1
        if change := target.change(elapsed_ns, tuning, quiet=cpus):
            before, value = change
            why = "more was due" if value > before else "less was due"
            self._outbox.records.append(
                effects.TargetChanged(before, value, gate.held.reason if gate.held else why)
            )

    def note_stuck(self, attempt: Attempt) -> None:
        """Record that KILL does not end a command."""
        attempt.is_stuck = True
        run = attempt.run
        self._outbox.records.append(
            effects.AttemptStuck(run.id, run.job.id, attempt.task.id, attempt.number, attempt.pid)
        )

    def wait_no_more(self, now: Now) -> None:
        """Recall what was asked for early; let the timers of what KILL has not ended expire once more."""
        if self.pool.early.attempts:
            self._outbox.actions.append(effects.Recall())
        for attempt in self.pool.running.values():
            if attempt.is_stuck:
                self.pool.set_timer(attempt, now.elapsed_ns)

    def tell_to_end(self, attempt: Attempt, ending: State, now: Now, *, signum: int | None = None) -> None:
        """Send `signum` (default: `kill_signal`) and set the timer for KILL; only the first call counts."""
        if attempt.ending is not None:
            return
        attempt.ending = ending
        self._outbox.records.append(self._note_told(attempt, ending, now))
        signum = signum or attempt.task.execution.kill_signal
        self.signal(attempt, signum, ending)
        armed = self._timetable.jobs.get(attempt.run.job.id)
        if attempt.stopped or (armed and armed.pause):  # a stopped process would not receive it
            self.signal(attempt, signal.SIGCONT)
        self._note_continued(attempt, now)
        if signum == signal.SIGKILL:
            self._note_killed(attempt, now)
        else:
            self._set_kill_timer(attempt, now)

    def go_on_ending(self, attempt: Attempt, told: Now) -> None:
        """Set the KILL timer of an attempt that an earlier scheduler told to end."""
        assert attempt.ending is not None
        # Recorded again: the ledger may be a new one.
        self._outbox.records.append(self._note_told(attempt, attempt.ending, told))
        self._set_kill_timer(attempt, told)

    def _note_told(self, attempt: Attempt, ending: State, told: Now) -> effects.AttemptEnding:
        run = attempt.run
        attempt.told = effects.AttemptEnding(
            run.id, run.job.id, attempt.task.id, attempt.number, ending, told
        )
        return attempt.told

    def _set_kill_timer(self, attempt: Attempt, told: Now) -> None:
        self.pool.set_timer(attempt, told.elapsed_ns + attempt.task.execution.kill_timeout_ns)

    def kill(self, attempt: Attempt, now: Now) -> None:
        """Send KILL at once, without the job's own signal before it."""
        if attempt.ending is None:
            self.tell_to_end(attempt, State.CANCELLED, now, signum=signal.SIGKILL)
        else:
            self.signal(attempt, signal.SIGKILL, attempt.ending)
            self._note_killed(attempt, now)

    def _note_killed(self, attempt: Attempt, now: Now) -> None:
        """Start to wait for the end of an attempt at its first KILL."""
        if attempt.killed_elapsed_ns is None:
            attempt.killed_elapsed_ns = now.elapsed_ns
            self.pool.set_timer(attempt, now.elapsed_ns + KILL_PATIENCE_NS)

    def signal(self, attempt: Attempt, signum: int, ending: State | None = None) -> None:
        """Send a signal to the process group of an attempt."""
        task = attempt.task if attempt.ending is not None else None
        self._outbox.actions.append(effects.Signal(attempt.key, signum, ending, task))

    # --- stopped with a pause ---

    def stop_all(self, job_id: str, now: Now) -> None:
        """Stop (SIGSTOP) all running commands of a job that are not being ended."""
        for attempt in self.pool.running.values():
            if attempt.run.job.id != job_id or attempt.ending is not None:
                continue
            self.signal(attempt, signal.SIGSTOP)
            if attempt.stopped is None:
                run = attempt.run
                attempt.stopped = effects.AttemptStopped(
                    run.id, run.job.id, attempt.task.id, attempt.number, now
                )
                self._outbox.records.append(attempt.stopped)
                self._set_timeout(attempt)

    def unstoppable(self, event: events.AttemptUnstoppable, _: Now) -> None:
        """Take back that a command is stopped, since it goes on: so does its `timeout`."""
        attempt = self.pool.running.get(event.key)
        if attempt is None or attempt.stopped is None:
            return
        self._outbox.subject, attempt.stopped = attempt.run, None
        self._outbox.records.append(attempt.continued(event.why))
        self._set_timeout(attempt)
        self._outbox.subject = None

    def continue_all(self, job_id: str, now: Now) -> None:
        """Continue (SIGCONT) all running commands of a job, whatever stopped them."""
        for attempt in self.pool.running.values():
            if attempt.run.job.id == job_id:
                self.continue_one(attempt, now)
        self.pool.go_on(job_id, now.elapsed_ns)

    def continue_one(self, attempt: Attempt, now: Now) -> None:
        """Continue a command, with what is left of its `timeout`."""
        self.signal(attempt, signal.SIGCONT)
        if attempt.stopped is not None:
            self._note_continued(attempt, now)
            self._set_timeout(attempt)

    def _note_continued(self, attempt: Attempt, at: Now) -> None:
        """Record how long an attempt was stopped, if it is stopped."""
        if attempt.stopped is None:
            return
        # 0 would mean that it never was: then nobody would send SIGCONT again after a crash.
        attempt.stopped_ns = max(attempt.stopped_until_ns(at.elapsed_ns), 1)
        attempt.stopped = None
        self._outbox.records.append(attempt.continued())
