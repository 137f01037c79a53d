"""The handlers of the control socket's requests: one for each kind.

A query is answered at once, from the engine as it is; the list of jobs in portions. Any other request becomes
an event, and is answered when its changes are durable. A client that waits for runs is told when they end.
"""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli import __version__
from taskman_cli.core import protocol
from taskman_cli.core.clock import earliest
from taskman_cli.core.engine import answers, effects, events
from taskman_cli.core.engine.listing import Listings
from taskman_cli.core.escapes import quoted
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.schedule import Once
from taskman_cli.errors import EXIT_NOT_FOUND, EXIT_USAGE, Refused
from taskman_cli.jobfile.definition import definition, resources_of
from taskman_cli.scheduler.poison import ReadFiles
from taskman_cli.scheduler.requests.job_changes import JobChanges
from taskman_cli.scheduler.requests.load_gate import LoadGate
from taskman_cli.scheduler.requests.lookups import (
    check_task,
    check_variables,
    find_job,
    is_once,
    no_job,
    requester,
)
from taskman_cli.scheduler.requests.pending import PendingRequests
from taskman_cli.scheduler.requests.sink_requests import SinkRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from taskman_cli.control.peers import Client
    from taskman_cli.core.engine.listing import Listing
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.protocol import Request
    from taskman_cli.core.schedule import Schedule
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.outlets.deliveries import Deliveries
    from taskman_cli.scheduler.requests.job_changes import Definitions
    from taskman_cli.scheduler.requests.job_files import JobFiles


#: Followed although they cannot be recorded: queries, and requests that end something.
_UNRECORDED = (
    protocol.Status, protocol.CollectMetrics, protocol.ListJobs, protocol.Show, protocol.Wait,
    protocol.Cancel, protocol.Stop,
    protocol.ListSinks, protocol.TestSink,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """What stays the same while the program runs."""

    files: tuple[str, ...]
    state_directory: str
    supervisor_pid: int
    started_ns: int
    timezone: str
    user_crontabs: tuple[str, ...] = ()
    skip_bad: bool = False
    #: The directory that it was started in, which may be gone; "": an earlier version started it.
    start: str = ""
    dialect: str | None = None
    #: Where its socket is; None: in the state directory.
    socket: Path | None = None

    def absolute(self, path: str) -> str:
        """Return a path that is valid in any directory."""
        return os.path.join(self.start or "/", path)  # noqa: PTH118 - a string in, a string out


class RequestHandlers:
    """Follows each request, or refuses it."""

    def __init__(self, driver: EngineDriver, program: Program, known: Definitions, files: JobFiles) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._program = program
        self._files = files
        self._pending = pending = PendingRequests(driver)
        self._waiters = pending.waiters
        self._load_gate = LoadGate(driver.engine)
        self._listings = Listings(driver.engine)
        self._deliveries: Deliveries | None = None
        self._sinks = sinks = SinkRequests(driver, lambda: self._deliveries)
        self.changes = changes = JobChanges(driver, pending, files, known, timezone=program.timezone)
        #: When draining ends in a stop, on the elapsed clock.
        self.drain_until_ns: int | None = None
        #: Takes the engine's answers.
        self.answer = pending.answer
        #: Takes each record that is durable.
        self.tell = pending.waiters.tell
        self._handlers: dict[type, Callable[[Any, Client], None]] = {
            protocol.Status: self._status,
            protocol.CollectMetrics: self._metrics,
            protocol.ListJobs: self._list,
            protocol.Show: self._show,
            protocol.TriggerJob: self._trigger,
            protocol.PauseJobs: self._pause_or_resume,
            protocol.Resume: self._pause_or_resume,
            protocol.Cancel: self._cancel,
            protocol.Wait: self._wait,
            protocol.Remove: changes.remove,
            protocol.Restore: changes.restore,
            protocol.Reload: changes.ask_reload,
            protocol.Stop: self._stop,
            protocol.RunOnce: self._once,
            protocol.ListSinks: sinks.list,
            protocol.TestSink: sinks.test,
            protocol.ReplaySink: sinks.replay,
            protocol.SkipReport: sinks.skip,
        }

    def attach(self, deliveries: Deliveries) -> None:
        """Let requests ask about sinks."""
        self._deliveries = deliveries
        tell = self._sinks.tell
        self._driver.follow({effects.SinkMoved: tell, effects.ReportSkipped: tell})

    def handle(self, request: Request, client: Client) -> None:
        """Follow a request, which is answered now or later, or refuse it."""
        try:
            self._check(request)
            self._follow(request, client)
        except Refused as refusal:
            client.refuse(str(refusal), code=refusal.exit_code)

    def _check(self, request: Request) -> None:
        """Check that a request can be followed now, whatever it asks for."""
        why = self._driver.trouble
        if why and not isinstance(request, _UNRECORDED):
            raise Refused(f"nothing was done, because it cannot be recorded ({why}): try again later")
        if objection := self._driver.poison.objection(request, self._driver.now.wall_ns):
            raise Refused(objection)

    def _follow(self, request: Request, client: Client) -> None:
        self._driver.poison.asked = request
        try:
            self._handlers[type(request)](request, client)
        except Exception:
            self._driver.poison.asked = None
            raise
        self._driver.poison.asked = None

    # --- queries ---

    def _status(self, _: protocol.Status, client: Client) -> None:
        program, note = self._program, self._files.note()
        told = answers.status(self._engine, self._driver.now, started_ns=program.started_ns)
        about = {
            "version": __version__,
            "pid": program.supervisor_pid,
            "files": list(map(program.absolute, program.files)),
            "user_crontabs": list(map(program.absolute, program.user_crontabs)),
            "skip_bad": program.skip_bad,
            "dialect": program.dialect,
            "state_directory": program.state_directory,
            "start_directory": program.start,
            "is_start_gone": _is_start_gone(),
            "ledger": self._driver.trouble,
            "files_trouble": asdict(note) if note and note.is_bad else None,
            "set_aside": [*self._driver.poison.told(), *filter(None, (self._driver.recorder.lost,))],
            "queues": [depth._asdict() for depth in self._driver.meters.depths.rows()],
            "zone_trouble": self._driver.look_at_zone(is_asked=True),
            "sinks": self._deliveries.told() if self._deliveries else [],
        }
        client.reply({"ok": True} | about | told)

    def _metrics(self, request: protocol.CollectMetrics, client: Client) -> None:
        driver, settings = self._driver, self._engine.settings
        reply: dict[str, Any] = {"ok": True}
        number = request.collection
        if not number:
            number = driver.figures.begin(driver.now)
            reply |= (
                driver.figures.whole(driver.now)
                | driver.meters.as_json()
                | {
                    "version": __version__,
                    "pids": {"scheduler": os.getpid(), "supervisor": self._program.supervisor_pid},
                    "started_ns": self._program.started_ns,
                    "now_ns": driver.now.wall_ns,
                    "is_recording": driver.trouble is None,
                    "step": driver.steps,
                    "with_jobs": settings.metrics_jobs,
                }
            )
        if not settings.metrics_jobs and not request.collection:
            client.reply(reply | {"collection": number, "rows": [], "next": None})
            return
        portion = driver.figures.jobs(number, max(0, request.start))
        if portion is None:
            raise Refused("this collection was given up, since others began: begin again")
        client.reply(reply | {"collection": number, "rows": portion[0], "next": portion[1]})

    def _list(self, request: protocol.ListJobs, client: Client) -> None:
        if request.after is not None:
            self._find_job(request.after)
        listing = self._listings.begin(request, self.changes.jobfile.jobs, self._removed_tasks)
        client.reply_long("jobs", self._portions(request, listing))

    def _portions(self, request: protocol.ListJobs, listing: Listing) -> Iterator[list[dict[str, Any]]]:
        poison = self._driver.poison
        while not listing.is_over:
            poison.asked = request
            try:
                portion = listing.portion(self._driver.now)
            finally:
                poison.asked = None
            yield portion

    def _removed_tasks(self, job: str) -> tuple[str, ...]:
        hidden = self.changes.hidden.get(job)
        return hidden.tasks if hidden else ()

    def _show(self, request: protocol.Show, client: Client) -> None:
        armed = self._find_job(request.job)
        client.reply(
            {
                "ok": True,
                "job": answers.job_item(
                    self._engine, armed, self._driver.now, self._removed_tasks(armed.job.id)
                ),
                "definition": definition(armed.job),
                "resources": resources_of(armed.job, self._engine.settings),
                "source": armed.job.source and self._program.absolute(armed.job.source),
                "timezone": _timezone(armed.job.schedule) or self._program.timezone,
                "next_ns": answers.next_slots(armed, 5),
            }
        )

    def _find_job(self, name: str) -> ArmedJob:
        return find_job(self._engine.timetable.jobs, self.changes.hidden, name)

    # --- requests that the engine follows ---

    def _trigger(self, request: protocol.TriggerJob, client: Client) -> None:
        check_task(self._find_job(request.job), request.task)
        check_variables(request.env)
        self._ask(request, client)

    def _pause_or_resume(self, request: protocol.PauseJobs | protocol.Resume, client: Client) -> None:
        jobs = self._engine.timetable.jobs
        for name in request.jobs:
            self._find_job(name)
        known = {tag for armed in jobs.values() for tag in armed.job.tags}
        for tag in request.tags:
            if tag not in known:
                raise Refused(f"no job has the tag {quoted(tag)}{did_you_mean(tag, known)}", EXIT_NOT_FOUND)
        if not (request.jobs or request.tags or request.all):
            raise Refused(f"{request.do} needs jobs, tags or all", EXIT_USAGE)
        self._ask(request, client)

    def _cancel(self, request: protocol.Cancel, client: Client) -> None:
        if request.signal is not None and request.signal not in signal.valid_signals():
            raise Refused(f"there is no signal {request.signal}", EXIT_USAGE)
        if not self._engine.unfinished(request.target):
            self._check_target(request.target)
        self._ask(request, client)

    def _check_target(self, target: str) -> None:
        """Check that there is such a job, or task of one."""
        name, dot, task = target.partition(".")
        known = self._engine.timetable.jobs
        if name not in known:
            what = "there is no job {} and no unfinished run with that id"
            raise no_job(name, known, self.changes.hidden, what=what)
        check_task(known[name], task if dot else None)

    def _ask(self, request: Request, client: Client) -> None:
        token = self._pending.add([client], request)
        self._driver.give(events.RequestReceived(token, request, requester(client)))

    def _once(self, request: protocol.RunOnce, client: Client) -> None:
        self.changes.once(request, client)
        if request.batch:
            self._load_gate.job_added()

    # --- waiting for runs ---

    def _wait(self, request: protocol.Wait, client: Client) -> None:
        runs = self._engine.unfinished(request.target)
        name, _, task = request.target.partition(".")
        armed = self._engine.timetable.jobs.get(name)
        if not runs:
            self._check_target(request.target)
        # A one-off job may still have its run to come; of another job only the runs of now are waited for.
        once = name if not runs and not task and is_once(armed) else None
        client.reply({"ok": True, "runs": sorted(runs), "once": once is not None})
        until_ns = None
        if request.timeout_ns is not None:
            until_ns = self._driver.now.elapsed_ns + request.timeout_ns
        self._waiters.add(client, runs, once=once, until_ns=until_ns)

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        part_ns = self._driver.now.elapsed_ns if self.changes.has_parts else None
        return earliest(self._waiters.next_timer(), self.drain_until_ns, self._load_gate.look_at_ns, part_ns)

    def turn(self) -> None:
        """Do what has come due: a part of a reload, ends of waits and of a drain, jobs that wait for load."""
        now_ns = self._driver.now.elapsed_ns
        if self.drain_until_ns is not None and self.drain_until_ns <= now_ns:
            self.drain_until_ns = None
            if self._engine.is_draining:
                self._driver.give(events.StopRequested())
        self._waiters.expire(now_ns)
        if self.changes.has_parts:
            self._driver.poison.asked = ReadFiles(self.changes.jobfile.jobs)
            self.changes.take_part()
            self._driver.poison.asked = None
        if startable := self._load_gate.turn(self._driver.now):
            job, why = startable
            request = protocol.Resume(jobs=[job])
            self._driver.give(events.RequestReceived(self._pending.add([], request), request, why))

    # --- stop ---

    def _stop(self, request: protocol.Stop, client: Client) -> None:
        is_drain = request.drain_ns is not None and not request.now
        if is_drain and (not self._engine.is_stopping or self._engine.is_draining):
            self.drain_until_ns = None
            if request.drain_ns is not None and request.drain_ns >= 0:
                self.drain_until_ns = self._driver.now.elapsed_ns + request.drain_ns
        self._ask(request, client)


def _is_start_gone() -> bool:
    """Tell if the current directory was removed, without asking a file system, which may hang."""
    try:
        os.getcwd()  # noqa: PTH109 - without a Path
    except FileNotFoundError:
        return True
    return False


def _timezone(schedule: Schedule) -> str | None:
    """Return the time zone of a schedule, where it has one of its own."""
    return schedule.zone.key if isinstance(schedule, Once) else getattr(schedule, "timezone", None)
