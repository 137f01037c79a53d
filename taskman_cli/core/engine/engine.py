"""The state machine: events in, effects out. The only place where a run changes its state.

`handle_all` is a function of the events so far and the moments that came with them: it reads no clock and
does no I/O, so that a test can run a whole scheduler, with any interleaving. What it returns is carried out
in order, records first, so that a start is on record before its process exists.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.arming import restate_job
from taskman_cli.core.engine.blame import ADMISSION, EngineBroken, item_of
from taskman_cli.core.engine.jobset import JobSet
from taskman_cli.core.engine.metrics import Metrics
from taskman_cli.core.engine.outbox import Outbox, WatchedOutbox
from taskman_cli.core.engine.outcomes import Outcomes
from taskman_cli.core.engine.parts import is_of_gate
from taskman_cli.core.engine.pauses import Pauses
from taskman_cli.core.engine.policy import MAX_STEP_BACK_NS
from taskman_cli.core.engine.pool import ASK
from taskman_cli.core.engine.portions import BETWEEN, Portions
from taskman_cli.core.engine.recovery import Recovery
from taskman_cli.core.engine.reports import Reports
from taskman_cli.core.engine.requests import Requests
from taskman_cli.core.engine.running import Running
from taskman_cli.core.engine.slots import Slots
from taskman_cli.core.engine.stops import Stops
from taskman_cli.core.engine.takeover import take_jobs
from taskman_cli.core.engine.timetable import Timetable
from taskman_cli.core.engine.waits import Waits
from taskman_cli.core.engine.wakes import Wakes
from taskman_cli.core.model import Trigger
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.tuning import Admission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from taskman_cli.core.engine.outbox import Step
    from taskman_cli.core.engine.runs import Attempt, Run
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.engine.waits import Wait
    from taskman_cli.core.model import Settings
    from taskman_cli.core.sinks import SinkDefinition


class Engine:
    """Decides what runs when."""

    def __init__(
        self,
        settings: Settings,
        sinks: Iterable[SinkDefinition] = (),
        *,
        is_gate_shut: bool = False,
        is_counted: bool = True,
        is_watched: bool = True,
        portion: int | None = None,
    ) -> None:
        """`is_gate_shut`: all start as with `admission = "fixed"`, until `GateTried`.

        `is_counted` False: nobody is going to ask for `metrics`. `is_watched` False: nor is `watch` given.
        `portion`: a tick decides on so many jobs.
        """
        self.settings = settings
        self._is_gate_shut = is_gate_shut
        self._is_counted = is_counted
        self.timetable = Timetable()
        self.metrics = Metrics()
        self._outbox = WatchedOutbox() if is_watched else Outbox()
        self.reports = Reports(self.timetable, self._outbox, sinks)
        self._running = Running(self._pool_settings(), self.timetable, self._outbox, self.reports)
        self.pool, self.first_timer_ns = self._running.pool, self._running.attempts.first_timer_ns
        self.failing = self._running.failing
        self._is_stopped = False
        self._accounted_ns = 0
        self._life: list[effects.LifeBegun] = []
        self._outcomes = Outcomes(self._running, self._outbox)
        self._recovery = Recovery(self._running, self._outcomes, self.timetable, self._outbox)
        self._slots = Slots(self._running, self.timetable, self._outbox)
        self._portions = Portions(self.timetable, self._slots, self._outbox, self._account_by, most=portion)
        self._job_set = JobSet(self._running, self.timetable, self._outbox)
        self._pauses = Pauses(self._running, self.timetable, self._outbox)
        running, outcomes, stops = self._running, self._outcomes, Stops(self._running, self._outbox)
        self._requests = Requests(
            running, self.timetable, self._outbox, self._slots, self._job_set, self._pauses, stops
        )
        self._wakes = Wakes(
            running,
            self._portions,
            slots=self.timetable.queue,
            wall=(running.waiting.deadlines, self._pauses.ends, self.reports.overdue_queue),
            elapsed=(self.pool.timers, self.reports.slow),
        )
        #: Returns when the next `Tick` is wanted, on each clock.
        self.next_wake = self._wakes.next
        self._handlers: dict[type[events.Event], Callable[[Any, Now], None]] = {
            events.JobsLoaded: self._load,
            events.Tick: self._tick,
            events.AttemptStarted: outcomes.started,
            events.StartFailed: outcomes.start_failed,
            events.StartHeld: outcomes.start_held,
            events.StartReturned: outcomes.start_returned,
            events.StartsReleased: lambda *_: running.pool.release_starts(),
            events.AttemptEnded: outcomes.ended,
            events.AttemptProgressed: running.attempts.progressed,
            events.AttemptUnheard: running.attempts.unheard,
            events.AttemptUnstoppable: running.attempts.unstoppable,
            events.ExecutorTold: running.attempts.executor_told,
            events.OrphanAdopted: running.attempts.adopted,
            events.AttemptGone: outcomes.gone,
            events.SignalsRead: lambda event, now: running.pool.see(event.signals, now.elapsed_ns),
            events.MemoryMeasured: running.attempts.measured,
            events.ClockStepped: self._clock_stepped,
            events.Suspended: self._suspended,
            events.RequestReceived: self._ask,
            events.OnceRequested: self._add_once,
            events.JobsReloaded: self._reload,
            events.GateTried: self._try_gate,
            events.DrainRequested: stops.drain,
            events.StopRequested: stops.stop,
            events.KillRequested: stops.stop,
        }

    @property
    def is_stopping(self) -> bool:
        """Tell whether nothing starts any more."""
        return self._running.is_stopping

    @property
    def is_draining(self) -> bool:
        """Tell whether nothing starts any more, while running commands may end by themselves."""
        return self._running.is_draining

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing runs or waits, and no enabled job is paused or has a slot to come."""
        return not self._running.activity and not any(
            armed.job.enabled and (armed.slot_ns is not None or armed.pause is not None)
            for armed in self.timetable.jobs.values()
        )

    def handle(
        self, event: events.Event, now: Now, *, watch: Callable[[object], None] | None = None
    ) -> list[effects.Effect]:
        """Do as `handle_all` with one event, and return its effects, records first."""
        records, actions = self.handle_all((event,), now, watch=watch)
        return [*records, *actions]

    def handle_all(
        self, news: Iterable[events.Event], now: Now, *, watch: Callable[[object], None] | None = None
    ) -> Step:
        """Handle what has happened by now, in order, and return the records and the actions of all of it.

        Waiting attempts start after the last event: so seats that become free at once are filled together.
        `news` may be an iterator; each event is handled before the next one is asked for. `watch` is called
        with each job and run that is decided on (`blame`). Raises EngineBroken if anything raises on the way:
        the step may be half done.
        """
        if isinstance(self._outbox, WatchedOutbox):
            self._outbox.watch = watch
        self._outbox.subject = None
        try:
            return self._step(news, now)
        except Exception as error:
            item = ADMISSION if is_of_gate(error) else item_of(self._outbox.subject)
            raise EngineBroken(item) from error

    def _step(self, news: Iterable[events.Event], now: Now) -> Step:
        handlers, running, outbox, portions = self._handlers, self._running, self._outbox, self._portions
        for event in news:
            if portions.next_due is not None and type(event) not in BETWEEN:
                self._finish_herd(event, now)
            handlers[type(event)](event, now)
            outbox.subject = None
        if not running.is_stopping:
            running.start_ready(now)
        self._end_step(now)
        records, actions = outbox.take()
        if self.reports.is_on:
            records = self.reports.added_to(records, now)
        if running.is_stopping and not self.pool.running and not self._is_stopped:
            self._is_stopped = True
            actions.append(effects.Stopped())
        if records and self._is_counted:
            self.metrics.fold(records)
        return records, actions

    def _finish_herd(self, event: events.Event, now: Now) -> None:
        """Decide on the rest of a herd before an event, by the clock as it was."""
        step_ns = event.delta_ns if isinstance(event, events.ClockStepped) else 0
        before = Now(now.wall_ns - step_ns, now.elapsed_ns)
        self._portions.finish(before, missed_after_ns=self.settings.missed_after_ns)
        self._end_step(before)

    def _end_step(self, now: Now) -> None:
        running = self._running
        if running.waiting.new:
            running.waiting.end_step()
        if running.idle:
            self._job_set.end_step(now)

    def runs_of(self, job_id: str) -> tuple[list[str], int]:
        """Return the runs of a job that have a process, and how many wait."""
        activity = self._running.activity.get(job_id)
        if activity is None:
            return [], 0
        running = [run.id for run in activity.active.values() if run.is_in_pool]
        return running, len(activity.active) + len(activity.backlog) - len(running)

    def is_at_work(self, job_id: str) -> bool:
        """Tell whether a job has runs that are not over."""
        return job_id in self._running.activity

    def attempts_of(self, job_id: str) -> list[Attempt]:
        """Return the attempts of a job that run, wait or rest."""
        activity = self._running.activity.get(job_id)
        runs = activity.active.values() if activity else ()  # others have none
        return [attempt for run in runs for attempt in run.attempts.values()]

    def waits(self, now: Now) -> Waits:
        """Return why attempts wait."""
        return Waits(self.pool, now)

    def first_waits(self, waits: Waits, count: int) -> list[Wait]:
        """Return why the first attempts in order wait for a seat."""
        return [waits.of(attempt) for attempt in self.pool.first_ready(count)]

    def waits_of(self, job_id: str, waits: Waits, most: int) -> list[Wait]:
        """Return why the first `most` of a job's runs and attempts wait."""
        return waits.of_job(self._running.activity.get(job_id), most)

    @property
    def once_jobs(self) -> list[str]:
        """Return the names of the one-off jobs, in the order in which they were added."""
        return list(self._job_set.once)

    @property
    def waiting_count(self) -> int:
        """Return how many runs of slots have not begun, whatever they wait for."""
        return len(self._running.waiting)

    @property
    def parked(self) -> list[ArmedJob]:
        """Return the parked jobs, by name."""
        return self._running.parks.jobs

    def stopped_runs_of(self, job_id: str) -> tuple[list[str], list[str]]:
        """Return the runs of a job with a stopped command, and those with one that could not be stopped."""
        activity, stops_to = self._running.activity.get(job_id), self.timetable.stops_to(job_id)
        runs = [*activity.active.values()] if activity else []
        unstopped = [run.id for run in runs if any(one.goes_on(stops_to) for one in run.attempts.values())]
        return [run.id for run in runs if run.is_stopped], unstopped

    def active_runs(self) -> list[Run]:
        """Return the runs that are not over, without those that wait for another one of their job."""
        return [run for activity in self._running.activity.values() for run in activity.active.values()]

    def unfinished(self, target: str) -> list[str]:
        """Return the unfinished runs: the one of this id, or those of a job or one of its tasks."""
        return [run.id for run in self._running.unfinished(target)]

    def waiting_for_load(self) -> list[tuple[int, str]]:
        """Return (due, name) of the one-off jobs that wait for a low load."""
        return self._job_set.waiting_for_load()

    def state_of(self, run_id: str) -> str:
        """Tell whether a run that is not over has a process."""
        for activity in self._running.activity.values():
            run = activity.active.get(run_id)
            if run:
                return "running" if run.is_in_pool else "queued"
        return "queued"

    def restate(self, now: Now) -> list[effects.Record | effects.Mark]:
        """Return records and marks of the whole state, for a new ledger."""
        return [
            effects.Accounted(self._accounted_ns),
            *self._life,
            *(
                mark
                for armed in self.timetable.jobs.values()
                for mark in restate_job(armed, since_ns=now.wall_ns)
            ),
            *self._job_set.restate(),
            *self.metrics.tallies.restate(self.timetable.jobs),
            *self.reports.restate(),
            *self.pool.resources.restate(),
            *self.pool.memory.restate(),
            *self._running.restate(),
        ]

    def wants_signals(self, now: Now) -> bool:
        """Tell whether the signals of the machine are to be read: before a `Tick` that brings starts, too."""
        pool, elapsed_ns = self.pool, now.elapsed_ns
        if pool.gate is None or not pool.running or not pool.gate.is_stale(elapsed_ns):
            return pool.wants_signals
        ask_ns = pool.timer_of(ASK)
        is_to_ask = ask_ns is not None and ask_ns <= elapsed_ns
        return is_to_ask or pool.wants_signals or self.timetable.is_due(now.wall_ns)

    # --- slots ---

    def _load(self, event: events.JobsLoaded, now: Now) -> None:
        takeover = take_jobs(replace(event, jobs=self._job_set.fit(event.jobs)), now, self._outbox)
        self._accounted_ns = takeover.accounted_ns
        self._outbox.records += takeover.records
        self._running.note_run_number(event.last_run)
        self._running.attempts.identity = event.identity
        self.timetable.load(takeover.armed)
        self._life = [effects.LifeBegun(event.boot, event.supervisor)]
        if event.is_new_boot or event.is_new_life or event.accounted_ns is None:
            self._outbox.records += self._life
        self.pool.early.is_possible = event.has_early
        self._outbox.records += self.pool.resources.resume(event.rates, now.elapsed_ns)
        self.pool.memory.resume(event.needs)
        self._pauses.load(takeover.armed, now)
        self._pauses.set_aside(event.set_aside, now)
        self._running.parks.load(takeover.armed)
        self._job_set.load(takeover.armed, event.hidden)
        self.reports.load(event, now)
        self._recovery.recover(event.runs, now, step_ns=event.step_ns, set_aside=event.set_aside)
        for armed in takeover.armed:
            is_wanted = event.is_new_boot and isinstance(armed.job.schedule, Reboot)
            is_wanted |= event.is_new_life and armed.job.policy.run_on_start
            if is_wanted and armed.job.enabled and not armed.pause and armed.is_within_limits(now.wall_ns):
                self._outbox.subject = armed.job.id
                self._slots.offer(armed, None, Trigger.START, now)

    # Slots that are due by now come before a request that arrives now.

    def _ask(self, event: events.RequestReceived, now: Now) -> None:
        self._tick(None, now)
        self._requests.ask(event, now)
        self._tick(None, now)  # with jitter, the slot after one that was taken early may be due before it

    def _add_once(self, event: events.OnceRequested, now: Now) -> None:
        self._tick(None, now)
        self._requests.answer(event.token, lambda: self._job_set.add_once(event, now))
        self._tick(None, now)  # if it is due now, its run is recorded with it

    def _reload(self, event: events.JobsReloaded, now: Now) -> None:
        self._tick(None, now)
        take = self._job_set.take_part if event.is_part else self._requests.reload
        if take(event, self.settings, now):
            self.settings = event.settings
            self._configure_pool(now)
            self.reports.take_jobs(event, now)

    def _try_gate(self, _: events.GateTried, now: Now) -> None:
        self._is_gate_shut = False
        self._configure_pool(now)

    def _configure_pool(self, now: Now) -> None:
        self._outbox.records += self.pool.configure(self._pool_settings(), now.elapsed_ns)

    def _pool_settings(self) -> Settings:
        return replace(self.settings, admission=Admission.FIXED) if self._is_gate_shut else self.settings

    def _tick(self, event: events.Tick | None, now: Now) -> None:
        if not self.is_stopping:
            decide = self._portions.decide_all if event is None else self._portions.tick
            decide(now, missed_after_ns=self.settings.missed_after_ns)
        if is_wall_due := self._wakes.is_wall_due(now):
            if not self.is_stopping and self._portions.next_due is None:  # or pauses count as they were then
                self._pauses.tick(now)
            self._running.give_up_late(now)
        if is_elapsed_due := self._wakes.is_elapsed_due(now):
            self._outcomes.expire(now)
        if is_wall_due or is_elapsed_due:
            self.reports.tick(now)

    def _clock_stepped(self, event: events.ClockStepped, now: Now) -> None:
        self._outbox.records.append(effects.ClockStepNoted(event.delta_ns))
        for armed in self.timetable.jobs.values():
            self._outbox.subject = job_id = armed.job.id
            is_busy = job_id in self._running.activity
            self.timetable.clock_stepped(armed, event.delta_ns, now.wall_ns, is_busy=is_busy)
        self._pauses.clock_stepped(event.delta_ns)
        self._running.parks.clock_stepped(event.delta_ns)
        self._running.waiting.clock_stepped(event.delta_ns)
        self._job_set.clock_stepped(now)
        self._outbox.records += self.pool.resources.restate()  # what is on record is by both clocks
        self.reports.clock_stepped(event.delta_ns)
        if event.delta_ns < -MAX_STEP_BACK_NS:
            self._account(now.wall_ns, is_anew=True)

    def _account_by(self, until_ns: int) -> None:
        self._account(max(self._accounted_ns, until_ns))

    def _account(self, until_ns: int, *, is_anew: bool = False) -> None:
        self._accounted_ns = until_ns
        self._outbox.records.append(effects.Accounted(until_ns, is_anew))

    def _suspended(self, event: events.Suspended, _: Now) -> None:
        self._outbox.records.append(effects.SuspendNoted(event.length_ns))
