"""The scheduler's composition root: events in, effects out; the only reader of clocks.

One loop owns all state. It sleeps on timers, on the supervisor's socket and on signals, and does nothing in
between.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from taskman_cli.core import effects, events
from taskman_cli.core.engine import ACCOUNTED, Engine
from taskman_cli.core.model import Now, Output
from taskman_cli.core.running import FINISH, RUN_COUNT
from taskman_cli.core.runs import attempt_key
from taskman_cli.core.snapshot import take_snapshot
from taskman_cli.daemon_options import Options
from taskman_cli.environment import Environments
from taskman_cli.errors import TaskmanError
from taskman_cli.jobfile import JobFileError, load
from taskman_cli.logs import LineFormatter, LineHandler, log_record, logger, skip_what_no_line_shows
from taskman_cli.outputs import Outputs
from taskman_cli.supervisor.wire import FD_VARIABLE, Channel
from taskman_cli.timerfd import Timer
from taskman_cli.workers import SHELL, Hello, SupervisorGone, Workers, to_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from taskman_cli.core.model import Job
    from taskman_cli.supervisor.wire import Message
    from taskman_cli.ui.live import LiveView

#: What the program ends with when a person did not want to wait for the commands to end.
EXIT_KILLED = 130
#: Rows of the queue that a view gets; more than any screen has lines.
VIEW_ROWS = 200
#: Values kept for the next scheduler: what intervals count from, and when `--for` is over (elapsed clock).
_ANCHOR = "anchor"
_STOP_AT = "stop_at"


def read_clocks() -> Now:
    """Read both clocks."""
    return Now(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


class Daemon:
    """The loop."""

    def __init__(
        self,
        engine: Engine,
        workers: Workers,
        outputs: Outputs,
        *,
        view: LiveView | None = None,
        timezone: tzinfo = UTC,
        clocks: Callable[[], Now] = read_clocks,
    ) -> None:
        self._clocks = clocks
        self._log = partial(log_record, timezone=timezone)
        self._engine = engine
        self._workers = workers
        self._outputs = outputs
        self._view = view
        self._now = clocks()
        self._started_ns = self._now.wall_ns
        self._offset_ns = self._now.wall_ns - self._now.elapsed_ns
        self._anchor_ns = self._now.wall_ns
        #: When `--for` is over, on the elapsed clock.
        self._stop_at_ns: int | None = None
        self._is_until_idle = False
        #: A hang-up then means that it has gone. Asked now: a terminal that is gone is none.
        self._has_terminal = any(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr) if stream)
        self._exit_code: int | None = None
        self._code_at_stop = 0
        #: Which of the two processes was told to stop first.
        self._stop_source = ""
        self._actions: dict[type, Callable[[Any], None]] = {
            effects.Start: lambda effect: workers.start(effect, self._now),
            effects.Signal: workers.signal,
            effects.Forget: lambda effect: workers.forget(effect.keys),
            effects.Keep: lambda effect: workers.keep(effect.name, effect.value),
            effects.Stopped: lambda _: self._leave(),
            effects.AttemptFinished: self._finished,
            effects.SlotsSkipped: self._log,
            effects.SpawnDelayed: self._log,
            effects.ClockStepNoted: self._log,
        }
        if logger.isEnabledFor(logging.DEBUG):
            self._actions |= dict.fromkeys(
                (effects.RunQueued, effects.AttemptBegun, effects.RunFinished), self._log
            )
        self._poll = select.epoll()
        self._wall_timer = Timer("wall")
        self._elapsed_timer = Timer("elapsed")
        self._view_timer = Timer("elapsed")
        # The interpreter writes to the second; it must not be collected.
        self._signals, self._wakeup = _catch_signals()
        for fd in (self._wall_timer.fd, self._elapsed_timer.fd, self._view_timer.fd, self._signals.fileno()):
            self._poll.register(fd, select.EPOLLIN)
        #: What the supervisor's socket is watched for.
        self._mask = select.EPOLLIN
        self._poll.register(workers.fileno(), self._mask)

    # --- life ---

    def begin(self, jobs: tuple[Job, ...], hello: Hello, options: Options) -> None:
        """Take the jobs, and what an earlier scheduler left unfinished."""
        kept = hello.kept
        # Kept in the batch that had the first starts: without it, nobody has done what is done once.
        is_first = _ANCHOR not in kept
        since_ns = kept.get(ACCOUNTED, kept.get(_ANCHOR, self._now.wall_ns))
        self._anchor_ns = kept.get(_ANCHOR, since_ns)
        self._started_ns = hello.started_ns
        self._is_until_idle = options.is_until_idle
        self._stop_at_ns = kept.get(_STOP_AT)
        if is_first and options.run_for_ns is not None:
            self._stop_at_ns = self._now.elapsed_ns + options.run_for_ns
            self._workers.keep(_STOP_AT, self._stop_at_ns)
        self._workers.configure(self._engine.settings)
        self._workers.keep(_ANCHOR, self._anchor_ns)
        logger.info("%s from %s", _counted(len(jobs), "job"), ", ".join(options.files))
        self._handle(
            events.JobsLoaded(
                jobs,
                since_ns=since_ns,
                anchor_ns=self._anchor_ns,
                is_first=is_first,
                run_counts=_by_job(kept, RUN_COUNT),
                finishes=_by_job(kept, FINISH),
            )
        )
        if hello.attempts:
            logger.info("taking over %s", _counted(len(hello.attempts), "attempt"))
            self._handle(events.Recovered(hello.attempts))
        for message in self._workers.take_greeted():
            self._take(message)

    def run(self) -> int:
        """Turn until the stop is done; return the program's exit code."""
        try:
            self._show()
            self._settle()
            while self._exit_code is None:
                self._turn()
            self._workers.drain()
        finally:
            self._show()
            self._close()
        return self._exit_code

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        for timer in (self._wall_timer, self._elapsed_timer, self._view_timer):
            timer.close()
        for end in (self._poll, self._signals, self._wakeup):
            end.close()

    def _turn(self) -> None:
        """Sleep until something happens, and deal with all that has."""
        ready = {fd for fd, _ in self._poll.poll()}
        self._read_clocks()
        for timer in (self._wall_timer, self._elapsed_timer):
            if timer.fd in ready:
                timer.clear()
        if self._workers.fileno() in ready:
            for message in self._workers.receive():
                self._take(message)
        if self._signals.fileno() in ready:
            for signum in self._signals.recv(64):
                self._signalled(signum, "direct")
        if self._view_timer.fd in ready:
            self._show()
        self._settle()

    def _settle(self) -> None:
        """Do what has come due, send what has gathered, and set the timers for the next time."""
        is_over = _is_due(self._stop_at_ns, self._now.elapsed_ns) or (
            self._is_until_idle and self._engine.is_idle
        )
        if is_over and not self._engine.is_stopping:
            self._handle(events.StopRequested())
        wake = self._engine.next_wake()
        if _is_due(wake.wall_ns, self._now.wall_ns) or _is_due(wake.elapsed_ns, self._now.elapsed_ns):
            self._handle(events.Tick())
        while failed := self._workers.take_failed():
            for event in failed:
                self._handle(event)
        mask = self._workers.flush()
        if mask != self._mask:
            self._mask = mask
            self._poll.modify(self._workers.fileno(), mask)
        wake = self._engine.next_wake()
        self._wall_timer.set(wake.wall_ns)
        self._elapsed_timer.set(
            _earliest(wake.elapsed_ns, None if self._engine.is_stopping else self._stop_at_ns)
        )

    # --- in ---

    def _read_clocks(self) -> None:
        """Read both clocks, and tell the engine if the wall clock has jumped."""
        self._now = self._clocks()
        offset_ns = self._now.wall_ns - self._now.elapsed_ns
        step_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        if abs(step_ns) >= self._engine.settings.clock_step_ns:
            self._anchor_ns += step_ns
            self._workers.keep(_ANCHOR, self._anchor_ns)
            self._handle(events.ClockStepped(step_ns))

    def _take(self, message: Message) -> None:
        event = to_event(message)
        if event is not None:
            self._handle(event)
        elif message[0] == "signal":
            self._signalled(message[1], "supervisor")

    def _signalled(self, signum: int, source: str) -> None:
        """Do what a signal asks for, whichever of the two processes got it.

        A second Ctrl-C kills; but one signal that went to both processes (systemd does that) is not a second.
        """
        if signum == signal.SIGHUP and not self._has_terminal:
            logger.warning("SIGHUP: reloading is not there yet; the jobs stay as they are")
        elif not self._engine.is_stopping:
            logger.info("%s: stopping", signal.Signals(signum).name)
            self._stop_source = source
            self._handle(events.StopRequested())
        elif signum == signal.SIGINT and source == self._stop_source:
            self._code_at_stop = EXIT_KILLED
            self._handle(events.KillRequested())

    # --- out ---

    def _handle(self, event: events.Event) -> None:
        for effect in self._engine.handle(event, self._now):
            action = self._actions.get(type(effect))
            if action:
                action(effect)

    def _finished(self, record: effects.AttemptFinished) -> None:
        key = attempt_key(record.run, record.task, record.attempt)
        has_output = record.exit is not None and record.exit.output_bytes > 0
        self._log(record, output_path=self._outputs.path(record.job, key) if has_output else "")
        armed = self._engine.timetable.jobs.get(record.job)
        if record.exit is None or armed is None:
            return
        kept = [
            task.execution.keep_runs for task in armed.job.tasks if task.execution.output is Output.CAPTURE
        ]
        if kept:
            # Also where nothing came yet: what was left in the background may still write.
            self._outputs.note(record.job, key, keep_runs=max(kept))

    def _leave(self) -> None:
        counters = self._engine.metrics.counters()
        logger.info(
            "stopped: %d started, %d succeeded, %d failed, %d timed out, %d skipped",
            counters.started, counters.succeeded, counters.failed, counters.timed_out, counters.skipped,
        )  # fmt: skip
        self._exit_code = self._code_at_stop
        self._workers.exit(self._exit_code)

    def _show(self) -> None:
        if self._view:
            self._view.update(
                take_snapshot(self._engine, self._now, started_ns=self._started_ns, rows=VIEW_ROWS)
            )
            self._view_timer.set(self._now.elapsed_ns + self._engine.settings.refresh_ns)


def _by_job(kept: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _is_due(at_ns: int | None, now_ns: int) -> bool:
    return at_ns is not None and at_ns <= now_ns


def _earliest(*times: int | None) -> int | None:
    return min((time_ns for time_ns in times if time_ns is not None), default=None)


def _catch_signals() -> tuple[socket.socket, socket.socket]:
    """Turn INT, TERM and HUP into bytes on a socket; return its reading and its writing end."""
    reading, writing = socket.socketpair()
    for end in (reading, writing):
        end.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: None)
    # The scheduler is in a process group of its own: drawing on the terminal must not stop it.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return reading, writing


def main(arguments: list[str]) -> int:
    """Be the scheduler of the supervisor that started this process."""
    options = Options.from_json(arguments[0])
    workers_socket = socket.socket(fileno=int(os.environ[FD_VARIABLE]))
    os.set_inheritable(workers_socket.fileno(), False)
    cwd = str(Path.cwd())
    outputs = Outputs(Path(options.state_directory) / "output")
    workers = Workers(
        Channel(workers_socket),
        outputs=outputs,
        environments=Environments(os.environ, cwd=cwd),
        cwd=cwd,
        shell_name=Path(SHELL).resolve().name,
    )
    try:
        hello = workers.greet()
        return _serve(options, hello, workers, outputs)
    except SupervisorGone:
        return 1
    except JobFileError as error:
        problem, code = error.render(), error.exit_code
        if hello.attempts or _ANCHOR in hello.kept:
            # The file was good when the program started. Its commands must not lose their scheduler for a bad
            # edit: without a word to the supervisor, this process is started again, until the file is mended.
            _write_stderr(f"{problem}\ntaskman: waiting for the job file to be mended")
            return code
    except TaskmanError as error:
        problem, code = error.render(), error.exit_code
    workers.exit(code)
    workers.drain()
    _write_stderr(problem)
    return code


def _serve(options: Options, hello: Hello, workers: Workers, outputs: Outputs) -> int:
    """Load the jobs, set up view and log, and run the loop."""
    jobfile = load([Path(name) for name in options.files])
    # What is loaded lives as long as the process: the collector need never look at it again.
    gc.collect()
    gc.freeze()
    timezone = ZoneInfo(jobfile.timezone)
    view = _open_view(options, timezone)
    skip_what_no_line_shows()
    handler = LineHandler(_line_printer(view))
    handler.setFormatter(LineFormatter(timezone))
    logger.addHandler(handler)
    logger.setLevel(options.log_level.upper())
    try:
        daemon = Daemon(Engine(jobfile.settings), workers, outputs, view=view, timezone=timezone)
        daemon.begin(jobfile.jobs, hello, options)
        return daemon.run()
    finally:
        outputs.close()
        if view:
            view.close()
        logger.removeHandler(handler)
        handler.close()


def _open_view(options: Options, timezone: ZoneInfo) -> LiveView | None:
    if not options.is_live:
        return None
    from taskman_cli.ui.live import LiveView

    view = LiveView(stream=sys.stdout, timezone=timezone)
    view.start()
    return view


def _line_printer(view: LiveView | None) -> Callable[[list[str]], None]:
    """Return what writes lines of the log: above the view where there is one, else to standard error."""
    if view is None:
        return lambda lines: _write_stderr("\n".join(lines))

    def show(lines: list[str]) -> None:
        for line in lines:
            view.print(line)

    return show


def _write_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
