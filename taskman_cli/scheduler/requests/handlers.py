"""The desk between the control socket and the engine: who asks for what, and what they are told.

Questions are answered from the engine as it is. Wishes become events, and are answered when what they changed
is durable. Whoever waits for runs is told when the last of them is over.
"""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from taskman_cli import __version__
from taskman_cli.core import protocol
from taskman_cli.core.engine import answers, effects, events
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.schedule import Once
from taskman_cli.errors import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_USAGE, Refused
from taskman_cli.jobfile.definition import definition
from taskman_cli.scheduler.poison import Poison
from taskman_cli.scheduler.requests.job_changes import Changes
from taskman_cli.scheduler.requests.load_gate import Batch
from taskman_cli.scheduler.requests.lookups import (
    check_task,
    check_variables,
    find_job,
    is_once,
    no_job,
    requester,
)
from taskman_cli.scheduler.requests.waiters import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskman_cli.control.peers import Client
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine
    from taskman_cli.core.engine.marks import JobHidden
    from taskman_cli.core.engine.news import FilesNote
    from taskman_cli.core.engine.timetable import ArmedJob
    from taskman_cli.core.protocol import Request
    from taskman_cli.core.schedule import Schedule
    from taskman_cli.jobfile import JobFile


#: What is done though it cannot be recorded: questions, and what ends something.
_UNRECORDED = (
    protocol.Status, protocol.ListJobs, protocol.Show, protocol.Wait, protocol.Cancel, protocol.Stop
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """What does not change while the program lives."""

    files: tuple[str, ...]
    state_directory: str
    supervisor_pid: int
    started_ns: int
    timezone: str
    user_crontabs: tuple[str, ...] = ()
    skip_bad: bool = False
    #: Where it was started; that directory may be gone. "": an earlier version started it.
    start: str = ""

    def absolute(self, path: str) -> str:
        """Return a path as others can use it, who are elsewhere."""
        return os.path.join(self.start or "/", path)  # noqa: PTH118 - a string in, a string out


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who is to be answered when their wish is durable, and with what besides."""

    clients: list[Client]
    request: Request
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def is_to_wait(self) -> bool:
        """Tell if they want to be told of an end, too."""
        return bool(getattr(self.request, "wait", False))


class Desk:
    """Handles requests; `give` hands events to the engine, `now` is the moment of the turn."""

    def __init__(
        self,
        engine: Engine,
        program: Program,
        jobfile: JobFile,
        hidden: dict[str, JobHidden],
        *,
        last_once: int,
        give: Callable[[events.Event], None],
        now: Callable[[], Now],
        reload: Callable[[], None],
        trouble: Callable[[], str | None],
        files_note: Callable[[], FilesNote | None] = lambda: None,
        poison: Poison | None = None,
    ) -> None:
        self._engine = engine
        self._poison = poison or Poison()
        self._program = program
        self._give = give
        self._now = now
        self._trouble = trouble
        self._files_note = files_note
        self._tokens = 0
        self._asked: dict[int, _Asked] = {}
        self._waits = Waits()
        #: Takes note of each record that is durable, for those who wait.
        self.tell = self._waits.tell
        self._batch = Batch(engine, let_go=self._let_go)
        self.changes = changes = Changes(
            engine,
            jobfile,
            hidden,
            self._batch,
            timezone=program.timezone,
            last_once=last_once,
            give=give,
            now=now,
            token=self._token,
            reload=reload,
        )
        #: When draining ends in a stop, on the elapsed clock.
        self.drain_until_ns: int | None = None
        self._handlers: dict[type, Callable[[Any, Client], None]] = {
            protocol.Status: self._status,
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
            protocol.RunOnce: changes.once,
        }

    def handle(self, request: Request, client: Client) -> None:
        """Follow a request, which is answered now or later, or refuse it."""
        try:
            self._check(request)
            self._follow(request, client)
        except Refused as refusal:
            client.refuse(str(refusal), code=refusal.exit_code)

    def _check(self, request: Request) -> None:
        """Check that a request can be followed now, whatever it asks for."""
        why = self._trouble()
        if why and not isinstance(request, _UNRECORDED):
            raise Refused(f"nothing was done, since it cannot be recorded ({why}): ask again when it can")
        if objection := self._poison.objection(request, self._now().wall_ns):
            raise Refused(objection)

    def _follow(self, request: Request, client: Client) -> None:
        self._poison.asked = request
        try:
            self._handlers[type(request)](request, client)
        except Exception:
            self._poison.asked = None
            raise
        self._poison.asked = None

    # --- questions ---

    def _status(self, _: protocol.Status, client: Client) -> None:
        program, note = self._program, self._files_note()
        told = answers.status(self._engine, self._now(), started_ns=program.started_ns)
        about = {
            "version": __version__,
            "pid": program.supervisor_pid,
            "files": list(map(program.absolute, program.files)),
            "user_crontabs": list(map(program.absolute, program.user_crontabs)),
            "skip_bad": program.skip_bad,
            "state_directory": program.state_directory,
            "start_directory": program.start,
            "is_start_gone": _is_start_gone(),
            "ledger": self._trouble(),
            "files_trouble": asdict(note) if note and note.is_bad else None,
            "set_aside": self._poison.told(),
        }
        client.reply({"ok": True} | about | told)

    def _list(self, request: protocol.ListJobs, client: Client) -> None:
        items = [self._item(armed) for armed in self._engine.timetable.jobs.values()]
        items = [
            item
            for item in items
            if (not request.tags or set(request.tags) & set(item["tags"]))
            and (not request.states or answers.is_in_state(item, request.states))
            and (not request.once or item["once"])
        ]
        places = {job.id: place for place, job in enumerate(self.changes.jobfile.jobs)}
        # In the order of the file, one-hit jobs last.
        items.sort(key=lambda item: places.get(item["job"], len(places)))
        client.reply({"ok": True, "jobs": items})

    def _item(self, armed: ArmedJob) -> dict[str, Any]:
        hidden = self.changes.hidden.get(armed.job.id)
        return answers.job_item(self._engine, armed, hidden.tasks if hidden else ())

    def _show(self, request: protocol.Show, client: Client) -> None:
        armed = self._find_job(request.job)
        client.reply(
            {
                "ok": True,
                "job": self._item(armed),
                "definition": definition(armed.job),
                "source": armed.job.source and self._program.absolute(armed.job.source),
                "timezone": _timezone(armed.job.schedule) or self._program.timezone,
                "next_ns": answers.next_slots(armed, 5),
            }
        )

    def _find_job(self, name: str) -> ArmedJob:
        return find_job(self._engine.timetable.jobs, self.changes.hidden, name)

    # --- wishes that the engine follows ---

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
                raise Refused(f"no job has the tag {tag}{did_you_mean(tag, known)}", EXIT_NOT_FOUND)
        if not (request.jobs or request.tags or request.all):
            raise Refused(f"{request.do} wants jobs, tags or all", EXIT_USAGE)
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
            what = "there is no job {} and no run of this id under way"
            raise no_job(name, known, self.changes.hidden, what=what)
        check_task(known[name], task if dot else None)

    def _ask(self, request: Request, client: Client) -> None:
        self._give(events.Asked(self._token([client], request), request, requester(client)))

    def _token(self, clients: list[Client], request: Request, **more: Any) -> int:
        """Return what an answer will come under; `more` is what the engine does not know of it."""
        self._tokens += 1
        self._asked[self._tokens] = asked = _Asked(clients, request, more)
        if asked.is_to_wait:
            self._waits.expect(True)
        return self._tokens

    def answer(self, answer: effects.Answer) -> None:
        """Tell who asked: what they wanted is durable, or is done though it cannot be."""
        asked = self._asked[answer.token]
        reply = dict(answer.reply)
        why = self._trouble()
        if why and reply["ok"] and isinstance(asked.request, protocol.Cancel):
            reply = {"ok": False, "error": f"it is done, and not on record ({why})", "code": EXIT_FAILED}
        if reply["ok"]:
            reply |= asked.more
            if isinstance(asked.request, protocol.RunOnce):
                reply["run"] = next(iter(self._engine.unfinished(reply["job"])), None)
            if isinstance(asked.request, protocol.RunOnce | protocol.TriggerJob):
                reply["state"] = self._engine.state_of(reply["run"]) if reply["run"] else "waiting"
        for client in asked.clients:
            client.reply(reply)
            if reply["ok"] and asked.is_to_wait:
                self._wait_for(reply, client)
        del self._asked[answer.token]  # only now: where this raised, they are told so instead
        self._waits.expect(any(other.is_to_wait for other in self._asked.values()))

    def _wait_for(self, reply: Mapping[str, Any], client: Client) -> None:
        """Let a client wait for what it was told of."""
        if "runs" in reply:
            self._waits.add(client, [item["run"] for item in reply["runs"]])
        elif reply["run"] is None:
            self._waits.add(client, (), once=reply["job"], is_single=True)
        else:
            self._waits.add(client, [reply["run"]], is_single=True)

    # --- waiting for runs ---

    def _wait(self, request: protocol.Wait, client: Client) -> None:
        runs = self._engine.unfinished(request.target)
        name, _, task = request.target.partition(".")
        armed = self._engine.timetable.jobs.get(name)
        if not runs:
            self._check_target(request.target)
        # Of a one-hit job it is the one run that it will have; any other that has none now is not waited for.
        once = name if not runs and not task and is_once(armed) else None
        client.reply({"ok": True, "runs": sorted(runs), "once": once is not None})
        until_ns = None
        if request.timeout_ns is not None:
            until_ns = self._now().elapsed_ns + request.timeout_ns
        self._waits.add(client, runs, once=once, until_ns=until_ns)

    def next_timer(self) -> int | None:
        """Return when a turn is wanted at the latest, on the elapsed clock, or None."""
        times = (self._waits.next_timer(), self.drain_until_ns, self._batch.look_at_ns)
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def turn(self) -> None:
        """Tell those who have waited long enough, and end a drain that takes too long."""
        now_ns = self._now().elapsed_ns
        if self.drain_until_ns is not None and self.drain_until_ns <= now_ns:
            self.drain_until_ns = None
            if self._engine.is_draining:
                self._give(events.StopRequested())
        self._waits.expire(now_ns)
        self._batch.turn(self._now())

    def _let_go(self, job: str, why: str) -> None:
        """Let a one-hit job run that has waited for a low load."""
        request = protocol.Resume(jobs=[job])
        self._give(events.Asked(self._token([], request), request, why))

    # --- the whole ---

    def _stop(self, request: protocol.Stop, client: Client) -> None:
        is_drain = request.drain_ns is not None and not request.now
        if is_drain and (not self._engine.is_stopping or self._engine.is_draining):
            self.drain_until_ns = None
            if request.drain_ns is not None and request.drain_ns >= 0:
                self.drain_until_ns = self._now().elapsed_ns + request.drain_ns
        self._ask(request, client)


def _is_start_gone() -> bool:
    """Tell if the directory that we are in was removed; the file system is not asked, which may hang."""
    try:
        os.getcwd()  # noqa: PTH109 - without a Path
    except FileNotFoundError:
        return True
    return False


def _timezone(schedule: Schedule) -> str | None:
    """Return the name of the zone that a schedule has itself."""
    return schedule.zone.key if isinstance(schedule, Once) else getattr(schedule, "timezone", None)
