"""The scheduler's one loop: it gives the engine an event for all that happens, and carries out the effects.

It sleeps on timers, signals, the supervisor's socket and the descriptors of requests, and never polls.
"""

from __future__ import annotations

import select
import signal
from datetime import UTC
from typing import TYPE_CHECKING

from taskman_cli.core.clock import earliest
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.snapshot import take_snapshot
from taskman_cli.errors import EXIT_FAILED, EXIT_INTERRUPTED
from taskman_cli.launch.signals import catch_signals
from taskman_cli.scheduler.clocks import is_due
from taskman_cli.scheduler.followup import FollowUp, log_stopped
from taskman_cli.scheduler.heard import gone, survivors_of, to_event
from taskman_cli.scheduler.jobcontrol import JobControl, has_terminal
from taskman_cli.scheduler.logs.loggers import log_said, logger, notice
from taskman_cli.scheduler.manager import ManagerReports
from taskman_cli.scheduler.memory_sampler import MemorySampler
from taskman_cli.scheduler.outlets.deliveries import Deliveries
from taskman_cli.scheduler.poison import SET_ASIDE, words_of
from taskman_cli.scheduler.pulse import Pulse, wake_at
from taskman_cli.scheduler.signals import NOTHING_SAID, SignalReader
from taskman_cli.scheduler.sparetime import SpareTime
from taskman_cli.scheduler.startup import COUNTS, LEAVING, take_over
from taskman_cli.scheduler.timers import Timer
from taskman_cli.supervisor.wire import name_of

if TYPE_CHECKING:
    from datetime import tzinfo

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.wakes import Wake
    from taskman_cli.core.model import Job
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.heard import Hello
    from taskman_cli.scheduler.logs.log import Log
    from taskman_cli.scheduler.options import Options
    from taskman_cli.scheduler.output_files import Outputs
    from taskman_cli.scheduler.requests.service import RequestService
    from taskman_cli.scheduler.workers import Workers
    from taskman_cli.supervisor.wire import Message
    from taskman_cli.ui.live import LiveView

#: The most rows of the queue in the live view; more than the screen has lines are never asked for.
VIEW_ROWS = 200
#: Value kept for the next scheduler: when `--for` is over (elapsed clock).
_STOP_AT = "stop_at"


class Loop:
    """Runs until the program has stopped."""

    def __init__(
        self,
        driver: EngineDriver,
        workers: Workers,
        outputs: Outputs,
        *,
        view: LiveView | None = None,
        timezone: tzinfo = UTC,
        requests: RequestService | None = None,
        log: Log | None = None,
        deliveries: Deliveries | None = None,
    ) -> None:
        """`timezone` is that of log lines."""
        self._driver = driver
        self._engine = driver.engine
        self._clocks = driver.clocks
        self._recorder = driver.recorder
        self._poison = driver.poison
        self._workers = workers
        self._outputs = outputs
        self._requests = requests
        self._deliveries = deliveries or Deliveries(driver)
        workers.set_aside = driver.set_aside
        follow_up = FollowUp(driver, workers, outputs, timezone)
        self._spare_time = SpareTime(driver, outputs, requests, workers)
        #: The counters that the supervisor keeps now.
        self._counts = driver.engine.metrics.counts
        self._view = view
        self._job_control = JobControl(view, log.show_view) if log else JobControl(view)
        if log:
            log.followers.append(follow_up.look_at_levels)
        self._started_ns = driver.now.wall_ns
        #: When `--for` is over, on the elapsed clock.
        self._stop_at_ns: int | None = None
        self._is_until_idle = False
        self._had_terminal = has_terminal()
        self._exit_code: int | None = None
        #: The whole program ends, not only this scheduler.
        self._is_stopped = self._is_hurried = False
        self._code_at_stop = 0
        #: Which of the two processes got the first signal to stop.
        self._stop_source = ""
        #: Opened when it is first needed: never with `admission = "fixed"`.
        self._machine: SignalReader | None = None
        self._memory = MemorySampler()
        driver.actions |= {
            effects.Start: workers.start,
            effects.Recall: lambda _: workers.recall(),
            effects.Adopt: workers.adopt,
            effects.Signal: workers.signal,
            effects.Forget: lambda effect: workers.forget(effect.keys),
            effects.Abandon: lambda effect: workers.abandon(effect.key),
            effects.Stopped: lambda _: self._leave(),
            effects.MeasureMemory: lambda effect: self._memory.ask(effect.attempts),
        }
        self._pulse = Pulse(workers.note_due)
        self._manager = ManagerReports(driver, requests, timezone, workers.report)
        self._poll = select.epoll()
        self._wall_timer = Timer("wall")
        self._elapsed_timer = Timer("elapsed")
        self._view_timer = Timer("elapsed")
        # The interpreter writes to the second, which must not be garbage-collected.
        self._signals, self._wakeup = catch_signals()
        for fd in (self._wall_timer.fd, self._elapsed_timer.fd, self._view_timer.fd, self._signals.fileno()):
            self._poll.register(fd, select.EPOLLIN)
        self._poll.register(self._memory.fileno(), select.EPOLLIN)
        #: What the supervisor's socket is watched for.
        self._mask = select.EPOLLIN
        self._poll.register(workers.fileno(), self._mask)
        self._deliveries.watch(self._poll)
        if requests:
            requests.attach(self._deliveries)
            driver.actions[effects.Answer] = requests.answer
            requests.follow()
            for fd in requests.filenos():
                self._poll.register(fd, select.EPOLLIN)

    @property
    def _now(self) -> Now:
        return self._clocks.now

    # --- life ---

    def begin(self, jobs: tuple[Job, ...], hello: Hello, options: Options, *, boot: str) -> None:
        """Take the jobs, and what an earlier scheduler left unfinished; `boot` names this boot."""
        self._started_ns = hello.started_ns
        self._manager.is_wanted = hello.has_manager
        self._is_until_idle = options.is_until_idle
        self._stop_at_ns = hello.kept.get(_STOP_AT)
        if self._stop_at_ns is None and options.run_for_ns is not None:
            self._stop_at_ns = self._now.elapsed_ns + options.run_for_ns
            self._workers.keep(_STOP_AT, self._stop_at_ns)
        sources = options.files + options.user_crontabs
        self._look_at_machine()
        take_over(self._driver, self._workers, self._outputs, jobs, hello, boot=boot, sources=sources)
        self._take(self._workers.take_greeted())

    def run(self) -> int:
        """Run until the program has stopped; return its exit code."""
        try:
            self._show()
            self._end_turn(self._engine.next_wake(), self._driver.steps)  # it is watched at what is due now
            self._settle()
            if self._driver.trouble is None and self._poison.has_begun():
                self._workers.keep(SET_ASIDE, self._poison.as_kept())
                self._settle()
            while self._exit_code is None:
                self._turn()
            if self._is_stopped:
                self._see_off()
            is_recorded = self._recorder.close(self._now)
            if self._is_stopped:
                self._exit_code = self._exit_code or (0 if is_recorded else EXIT_FAILED)
                self._workers.exit(self._exit_code)
            self._workers.drain()
        finally:
            self._show()
            self._close()
        return self._exit_code

    def _see_off(self) -> None:
        """Let what is on its way to sinks that work arrive, for a moment or until the next Ctrl-C."""
        self._stop_at_ns = until_ns = self._deliveries.stop(self._now.elapsed_ns)
        self._settle()
        while self._deliveries.is_busy and self._now.elapsed_ns < until_ns and not self._is_hurried:
            self._turn()

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._deliveries.close()
        for timer in (self._wall_timer, self._elapsed_timer, self._view_timer):
            timer.close()
        if self._machine:
            self._machine.close()
        for end in (self._poll, self._signals, self._wakeup, self._memory):
            end.close()

    def _turn(self) -> None:
        """Sleep until something happens, and handle all of it."""
        steps = self._driver.steps
        ready = {fd for fd, _ in self._poll.poll(0 if self._spare_time.is_wanted else None)}
        self._look_at_clocks()
        if not ready and steps == self._driver.steps:
            self._spare_time.take(is_idle=True)
            return
        for timer in (self._wall_timer, self._elapsed_timer):
            if timer.fd in ready:
                timer.clear()
        if self._workers.fileno() in ready:
            self._take(self._workers.receive())
        self._hear(ready)
        self._deliveries.turn(ready)
        if self._requests:
            self._requests.turn(ready)
        if self._view_timer.fd in ready:
            self._show()
        self._settle()
        self._spare_time.take(is_idle=False)

    def _hear(self, ready: set[int]) -> None:
        """Take what has come through descriptors of our own."""
        if self._memory.fileno() in ready:
            self._driver.give(events.MemoryMeasured(self._memory.take()))
        if self._signals.fileno() in ready:
            for signum in self._signals.recv(64):
                self._signalled(signum, "direct")

    def _settle(self) -> None:
        """Do what has come due, and end the turn."""
        if is_due(self._stop_at_ns, self._now.elapsed_ns) and not self._engine.is_stopping:
            self._driver.give(events.StopRequested())
        wake, steps = self._engine.next_wake(), self._driver.steps
        if is_due(wake.wall_ns, self._now.wall_ns) or is_due(wake.elapsed_ns, self._now.elapsed_ns):
            self._look_at_machine()
            self._driver.give(events.Tick())
        self._look_at_machine()
        if self._is_until_idle and self._is_idle and not self._engine.is_stopping:
            self._driver.give(events.StopRequested())
        self._end_turn(wake, steps)

    def _end_turn(self, wake: Wake, steps: int) -> None:
        """Record it, send all messages and replies, and set the timers; `wake` was next after `steps`."""
        self._recorder.settle(self._now)
        while self._deliveries.flush():
            self._recorder.settle(self._now)
        if self._requests:
            self._requests.flush()
        if self._poison.take_gate():  # the reload before it is on record, and answered
            self._workers.keep(SET_ASIDE, self._poison.as_kept())
            self._driver.give(events.GateTried())
            self._look_at_machine()
            self._recorder.settle(self._now)
        if (counts := self._engine.metrics.counts) != self._counts:
            self._counts = counts
            self._workers.keep(COUNTS, counts)
        if self._driver.steps != steps:
            wake = self._engine.next_wake()
        self._pulse.beat(wake, self._now)
        self._manager.look()
        self._workers.note_seats(self._engine.pool.level)
        mask = self._workers.flush()
        if mask != self._mask:
            self._mask = mask
            self._poll.modify(self._workers.fileno(), mask)
        elapsed_ns = earliest(
            wake.elapsed_ns,
            self._stop_at_ns if self._is_stopped or not self._engine.is_stopping else None,
            self._deliveries.next_timer(),
            self._recorder.retry_at_ns,
            self._requests.next_timer() if self._requests else None,
            self._manager.next_timer(),
        )
        wall_ns = wake_at(wake.wall_ns, self._now.wall_ns, self._warm_up)
        self._wall_timer.set(wall_ns)
        self._elapsed_timer.set(elapsed_ns)
        self._spare_time.due_at = wall_ns, elapsed_ns
        self._driver.meters.depths.turn(self._now.elapsed_ns)
        self._poison.rest()
        self._clocks.want(wall_ns, elapsed_ns)

    @property
    def _is_idle(self) -> bool:
        """Tell whether nothing is to come, nor in what is left of a reload."""
        return self._engine.is_idle and not (self._requests and self._requests.has_parts)

    def _look_at_machine(self) -> None:
        """Read the signals of the machine, if the engine wants them for the next start."""
        if self._engine.wants_signals(self._now):
            try:
                self._machine = self._machine or SignalReader()
                signals = self._machine.read(self._now.elapsed_ns)
            except Exception as error:  # what is not known refuses nothing
                self._driver.set_aside("the load of the machine", error)
                signals = NOTHING_SAID
            self._driver.give(events.SignalsRead(signals))

    def _warm_up(self) -> None:
        """Touch what the next start needs."""
        for _, armed in self._engine.timetable.first(1):
            self._workers.warm_up(armed.job.commands)

    # --- in ---

    def _look_at_clocks(self) -> None:
        """Read the clocks, and tell the engine if the wall clock has jumped or the machine was suspended."""
        found = self._clocks.look(step_ns=self._engine.settings.clock_step_ns)
        for event in found:
            self._driver.give(event)
        if not found:
            self._driver.note_late(self._clocks.take_late_ns())
        self._driver.look_at_zone()

    def _take(self, messages: list[Message]) -> None:
        """Take what the supervisor says, in order; what becomes of attempts is one step of the engine."""
        heard: list[events.Event] = []
        for message in messages:
            try:
                event = to_event(message)
            except Exception as error:  # it has changed nothing yet
                self._driver.set_aside(f"what the supervisor says ({name_of(message)})", error)
                event = gone(message, words_of(error))
            if event is not None:
                heard.append(event)
                continue
            if heard:
                self._driver.give_all(heard)
                heard = []
            self._take_other(message)
        if heard:
            self._driver.give_all(heard)

    def _take_other(self, message: Message) -> None:
        match message[0]:
            case "survivors":
                try:
                    self._driver.note(survivors_of(message))
                except Exception as error:  # the end that follows counts
                    self._driver.set_aside(f"what the supervisor says ({name_of(message)})", error)
            case "said":
                log_said(*message[1:])
            case "ping":
                self._pulse.asked(message[1], self._engine.next_wake(), self._now)
            case "signal":
                self._signalled(message[1], "supervisor")
            case "suspend":
                self._job_control.suspend()

    def _signalled(self, signum: int, source: str) -> None:
        """Handle a signal that this process (`direct`) or the supervisor got.

        A second Ctrl-C kills. One signal sent to both processes, as systemd does, is not a second.
        """
        self._is_hurried = self._is_stopped
        if signum == signal.SIGUSR1:
            self._workers.keep(LEAVING, True)
            self._workers.keep(SET_ASIDE, self._poison.as_kept(is_anew=True))
            self._exit_code = 0  # without telling the supervisor, which starts the next one
            return
        if signum == signal.SIGQUIT:
            notice(logger, "SIGQUIT: killing the running commands")
            self._code_at_stop = EXIT_INTERRUPTED
            self._driver.give(events.KillRequested())
            return
        is_hung_up = self._had_terminal and not has_terminal()
        if signum == signal.SIGHUP and not is_hung_up:
            if self._requests and not self._engine.is_stopping:
                self._requests.reload()
        elif not self._engine.is_stopping or self._engine.is_draining:
            notice(logger, f"{signal.Signals(signum).name}: stopping")
            self._stop_source = source
            self._driver.give(events.StopRequested())
        elif signum == signal.SIGINT and source == self._stop_source:
            self._code_at_stop = EXIT_INTERRUPTED
            self._driver.give(events.KillRequested())

    # --- out ---

    def _leave(self) -> None:
        self._exit_code = self._code_at_stop
        self._is_stopped = True
        log_stopped(self._engine.metrics.counters())
        self._driver.note(effects.SchedulerNoted("scheduler_stopped"))

    def _show(self) -> None:
        if self._view:
            try:
                self._job_control.look()
                self._view.update(
                    take_snapshot(
                        self._engine,
                        self._now,
                        started_ns=self._started_ns,
                        rows=min(self._view.lines, VIEW_ROWS),
                        trouble=self._driver.trouble,
                        files=self._requests.files_note() if self._requests else None,
                        sinks=self._deliveries.rows(),
                        queues=self._driver.meters.depths.rows(),
                    )
                )
            except Exception as error:  # the log goes on, and the view shows what it did
                self._driver.set_aside("the live view", error)
            self._view_timer.set(self._now.elapsed_ns + self._engine.settings.refresh_ns)
