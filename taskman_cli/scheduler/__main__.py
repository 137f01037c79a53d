"""The scheduler's composition root: loads the jobs, wires the parts together, and alone reads the clocks."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from taskman_cli.control.place import runtime_place
from taskman_cli.core.clock import Now
from taskman_cli.core.collector import without_collections
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.blame import EngineBroken
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.engine.events import Going
from taskman_cli.core.engine.jobset import visible
from taskman_cli.core.engine.portions import PORTION
from taskman_cli.core.model import Output
from taskman_cli.core.schedule import load_zone
from taskman_cli.core.sinks import secret_variables
from taskman_cli.errors import EXIT_BROKEN, EXIT_FAILED, TaskmanError
from taskman_cli.instance.directory import INSTANCES
from taskman_cli.instance.guard import StateGuard
from taskman_cli.jobfile.dump import BadDump, compressed, dump, expanded, load_dump
from taskman_cli.jobfile.programs import load_to_run
from taskman_cli.launch.descriptors import make_room
from taskman_cli.launch.environment import Environments
from taskman_cli.launch.locale import settle
from taskman_cli.launch.spec import shell_name
from taskman_cli.launch.tokens import read_secret
from taskman_cli.ledger.ends import read_ends
from taskman_cli.ledger.ledger import Ledger
from taskman_cli.ledger.store import NAME as LEDGER_NAME
from taskman_cli.ledger.store import LedgerBroken, LedgerUnwritable
from taskman_cli.scheduler.clocks import Clocks
from taskman_cli.scheduler.driver import EngineDriver
from taskman_cli.scheduler.exporter import Exporter
from taskman_cli.scheduler.flightrecorder import FlightRecorder
from taskman_cli.scheduler.greeting import greeting
from taskman_cli.scheduler.heard import Hello
from taskman_cli.scheduler.items import print_of_jobs
from taskman_cli.scheduler.logs.log import Log
from taskman_cli.scheduler.logs.loggers import ledger_log, logger, notice
from taskman_cli.scheduler.loop import Loop
from taskman_cli.scheduler.machine_zone import MachineZone
from taskman_cli.scheduler.opening import open_when_writable
from taskman_cli.scheduler.options import Options
from taskman_cli.scheduler.orphans import boot_id
from taskman_cli.scheduler.outlets.deliveries import Deliveries
from taskman_cli.scheduler.outlets.state import Sender
from taskman_cli.scheduler.outlets.tails import OutputTails
from taskman_cli.scheduler.output_files import Outputs
from taskman_cli.scheduler.poison import SET_ASIDE, Poison, words_of
from taskman_cli.scheduler.requests.file_changes import Watcher
from taskman_cli.scheduler.requests.handlers import Program
from taskman_cli.scheduler.requests.job_changes import Definitions
from taskman_cli.scheduler.requests.job_files import FILES_TROUBLE, JobFiles
from taskman_cli.scheduler.requests.reload import Reloader
from taskman_cli.scheduler.requests.service import JOBS, OLD_JOBS, RequestService
from taskman_cli.scheduler.startup import LEDGER
from taskman_cli.scheduler.workers import SupervisorGone, Workers
from taskman_cli.supervisor.wire import FD_VARIABLE, LOCK_VARIABLE, Channel
from taskman_cli.trust import standing_trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.jobfile import JobFile
    from taskman_cli.trust import Trust
    from taskman_cli.ui.live import LiveView


def read_clocks() -> Now:
    """Read both clocks."""
    return Now(time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))


def read_slept() -> int:
    """Return how long the machine was suspended since its boot, in nanoseconds."""
    boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boottime_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def main(arguments: list[str]) -> int:
    """Run the scheduler of the supervisor that started this process."""
    settle()
    make_room(int(os.environ[FD_VARIABLE]))
    options = Options.from_json("".join(arguments))
    log = Log(options, time.time)
    try:
        return _run(options, log)
    finally:
        log.close()


def _run(options: Options, log: Log) -> int:
    workers_socket = socket.socket(fileno=int(os.environ[FD_VARIABLE]))
    os.set_inheritable(workers_socket.fileno(), False)
    lock_fd = os.environ.get(LOCK_VARIABLE)
    if lock_fd:
        os.set_inheritable(int(lock_fd), False)  # it stays open as long as this process lives
    try:
        cwd = str(Path.cwd())
    except FileNotFoundError:  # removed: jobs with a `cwd` of their own still run
        cwd = options.start or os.environ.get("PWD", "/")
    state = Path(options.state_directory)
    outputs = Outputs(state / "output", partial(read_ends, state / LEDGER_NAME))
    secret = read_secret(state)
    trust = standing_trust(os.environ, named=options.trusted)
    workers = Workers(
        Channel(workers_socket),
        outputs=outputs,
        environments=Environments(os.environ, cwd=cwd, trust=trust),
        cwd=cwd,
        shell_name=shell_name(),
        secret=secret,
        state_directory=options.state_directory,
    )
    is_needed, is_understood = True, False
    recorder = FlightRecorder(state)
    try:
        hello = workers.greet()
        is_understood = True
        is_needed = bool(hello.attempts or hello.kept)
        poison = Poison(hello.kept.get(SET_ASIDE), recorder)
        given = _Given(options, hello, int(lock_fd) if lock_fd else None, cwd, trust, log)
        return _serve(given, workers, outputs, poison)
    except SupervisorGone:
        return EXIT_FAILED
    except TaskmanError as error:
        problem, code = error.render(), error.exit_code
    finally:
        recorder.close()
    if is_needed:
        # The program has started before. Running commands must not lose their scheduler to a bad edit or a
        # full disk: the supervisor, which gets no `exit`, starts this process again.
        log.report(f"{problem}\ntaskman: waiting for that to be fixed")
        if is_understood:  # or nothing that it is told may mean the same to it
            workers.report("trouble", " ".join(problem.removeprefix("taskman: ").split()))
            workers.drain()
        return code
    workers.exit(code)
    workers.drain()
    log.report(problem)
    return code


@dataclass(frozen=True, slots=True)
class _Given:
    """What this process was started with."""

    options: Options
    hello: Hello
    #: The lock of the state directory; None in tests.
    lock_fd: int | None
    cwd: str
    trust: Trust
    log: Log


#: Few runs leave garbage in circles: Python would look for some after 700 objects.
COLLECT_AFTER = 10_000


def _serve(given: _Given, workers: Workers, outputs: Outputs, poison: Poison) -> int:
    """Load the jobs, set up view and log, and run the loop."""
    options, log = given.options, given.log
    jobfile, dumped = _load_jobs(given, workers)
    workers.forget_plans(secret_variables(jobfile.sinks))
    timezone = load_zone(jobfile.timezone)
    log.begin(jobfile.logging, timezone, is_first=given.hello.is_first)
    workers.log_settings = log.for_supervisor
    ledger, outage = _open_ledger(given, jobfile, outputs, workers)
    workers.instance, workers.identity = _sender(options, given.trust).instance, ledger.standing.identity
    # All of this lives as long as the process: garbage collection need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    inherits = any(task.execution.output is Output.INHERIT for job in jobfile.jobs for task in job.tasks)
    view = _open_view(timezone, log) if options.is_live and not (inherits or log.needs_terminal) else None
    if view:
        log.take_view(view)
    if options.is_live and inherits:
        # The view would be drawn over their output.
        logger.warning('no live view, only log lines: some jobs have output = "inherit"')
    requests = None
    try:
        zone = MachineZone()
        zone.take(jobfile)
        clocks = Clocks(read_clocks, read_slept, zone, time.perf_counter_ns)
        engine = Engine(jobfile.settings, jobfile.sinks, is_gate_shut=poison.is_gate_shut, portion=PORTION)
        driver = EngineDriver(engine, ledger, clocks, poison)
        for note in outage:
            driver.note(note)
        driver.follow({effects.SinksTaken: lambda _: workers.forget_plans(engine.reports.secrets)})
        depths = driver.meters.depths
        depths.watch("log", lambda: log.depth)
        depths.watch("output_files", outputs.chore_count)
        depths.watch("supervisor", workers.waiting_bytes, is_bytes=True)
        driver.meters.read_dropped_lines = lambda: log.dropped
        requests = _open_requests(given, driver, workers, jobfile, dumped)
        deliveries = Deliveries(driver, _sender(options, given.trust))
        loop = Loop(
            driver, workers, outputs, view=view, timezone=timezone, requests=requests, log=log,
            deliveries=deliveries,
        )  # fmt: skip
        jobs = (*visible(jobfile.jobs, ledger.hidden), *ledger.once_jobs)
        with without_collections():
            loop.begin(jobs, given.hello, options, boot=boot_id())
        # The same holds for the jobs as they are armed: to look at 100,000 would delay starts by 60 ms.
        gc.freeze()
        if given.hello.is_first and not options.is_quiet:
            log.greet(greeting(options, jobs))
        # What a reload replaces, and what only a start needs, is not to be kept in memory from here.
        del jobs, jobfile, dumped
        ledger.release()
        return loop.run()
    except (SupervisorGone, TaskmanError):
        raise
    except (Exception, EngineBroken) as error:
        return _end_of(error, poison, workers)
    finally:
        if requests:
            requests.close()
        outputs.close()
        ledger.close()
        if view:
            log.leave_view()
            view.close()


def _end_of(error: BaseException, poison: Poison, workers: Workers) -> int:
    """Leave the next scheduler the item that this one dies of, to set aside; return the exit code."""
    cause = error.__cause__ or error
    what = poison.blame(error, read_clocks().wall_ns)
    words, fields = "the scheduler dies of %s (%s)", {"event": "scheduler_died"}
    logger.critical(words, what, words_of(cause), exc_info=cause, extra=fields)
    if poison.stop_signal is not None:
        os.kill(os.getppid(), poison.stop_signal)
    if kept := poison.as_kept():
        workers.say_last(SET_ASIDE, kept)
    return EXIT_BROKEN


def _load_jobs(given: _Given, workers: Workers) -> tuple[JobFile, bytes]:
    """Return the jobs as they were last loaded, and their dump: an edit alone changes nothing."""
    kept = given.hello.kept.pop(JOBS, None)
    if kept is not None:
        try:
            dumped = expanded(kept)
            return load_dump(dumped), dumped
        except BadDump as error:
            words = f"taskman: reading the job files again: another version kept the jobs ({error})"
            given.log.report(words, logging.WARNING)
    elif OLD_JOBS in given.hello.kept:
        words = "taskman: reading the job files again: an earlier version kept the jobs"
        given.log.report(words, logging.WARNING)
        workers.keep(OLD_JOBS, None)
    arguments = given.options.load_arguments()
    files = [Path(name) for name in arguments.pop("files")]
    jobfile = load_to_run(files, **arguments, trust=given.trust, now_ns=read_clocks().wall_ns)
    for problem in jobfile.notes:
        given.log.report(problem.warning(), logging.WARNING)
    dumped = dump(jobfile)
    workers.keep(JOBS, compressed(dumped))
    return jobfile, dumped


def _open_requests(
    given: _Given, driver: EngineDriver, workers: Workers, jobfile: JobFile, dumped: bytes
) -> RequestService:
    options, hello = given.options, given.hello
    program = Program(
        options.files,
        options.state_directory,
        os.getppid(),
        hello.started_ns,
        jobfile.timezone,
        options.user_crontabs,
        options.skip_bad,
        options.start,
        options.dialect,
        runtime_place(os.environ, options.instance) if options.is_default_place else None,
    )
    start = options.start or given.cwd
    arguments = options.load_arguments() | {"trust": given.trust.as_json()}

    def prepare(jobfile: JobFile) -> str:
        given.log.prepare(jobfile.logging)
        # The loop would stand still meanwhile.
        return print_of_jobs(jobfile.jobs) if driver.poison.has_files else ""

    reloader = Reloader(arguments, start=start, prepare=prepare)
    reloader.begin_with(jobfile, dumped)
    files = JobFiles(driver, reloader, Watcher(start=start), workers, hello.kept.get(FILES_TROUBLE))
    known = Definitions(jobfile, driver.ledger.hidden, driver.ledger.last_once)
    exporter = Exporter(options.state_directory, given.trust)
    return RequestService(driver, program, known, files, workers, exporter=exporter, log=given.log)


def _open_ledger(
    given: _Given, jobfile: JobFile, outputs: Outputs, workers: Workers
) -> tuple[Ledger, tuple[effects.SchedulerNoted, ...]]:
    """Return the ledger, and what is to be noted of how it was opened."""
    directory, hello = Path(given.options.state_directory), given.hello
    restore: Callable[[], object] = lambda: None  # noqa: E731 - tests hold no lock
    if given.lock_fd is not None:
        guard = StateGuard(directory, given.lock_fd, pid=os.getppid(), moved=_restart, trust=given.trust)
        restore = guard.restore
    restore()  # the directory may have been removed while no scheduler ran

    def make() -> Ledger:
        return Ledger(
            directory,
            jobfile.settings,
            supervisor=hello.started_ns,
            now=read_clocks(),
            restore=restore,
            timezone=jobfile.timezone,
            boot=boot_id(),
            watched=frozenset(seen.run for seen in hello.attempts if isinstance(seen.fate, Going)),
            identity=hello.kept.get(LEDGER),
            read_output=OutputTails(outputs.path).read,
            tell=partial(notice, ledger_log),
        )

    try:
        return (make(), ()) if hello.is_first else open_when_writable(make, workers, read_clocks)
    except LedgerUnwritable as error:
        raise TaskmanError(f"cannot write the ledger in {directory}: {error}") from error
    except LedgerBroken as error:
        raise TaskmanError(
            f"the ledger in {directory} was broken, and so is the new one ({error}): check the disk"
        ) from error


def _sender(options: Options, trust: Trust) -> Sender:
    """Return what reports say of where they come from."""
    state = Path(options.state_directory)
    name = state.name if state.parent.name == INSTANCES else ""
    return Sender(name, socket.gethostname(), options.program, options.address, trust.as_json())


def _restart() -> None:
    """Have the supervisor start another scheduler: the socket was removed with the state directory."""
    logger.critical("the state directory was removed: it was created again, and the scheduler restarts")
    os.kill(os.getppid(), signal.SIGUSR1)


def _open_view(timezone: ZoneInfo, log: Log) -> LiveView | None:
    """Return the live view; None if its thread cannot be started."""
    from taskman_cli.ui.live import LiveView

    view = LiveView(stream=sys.stdout, timezone=timezone)
    try:
        view.start()
    except RuntimeError as error:
        log.report(f"taskman: no live view, only log lines: {error}", logging.WARNING)
        return None
    return view


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
