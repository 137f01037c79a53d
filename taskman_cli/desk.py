"""The desk between the control socket and the engine: who asks for what, and what they are told.

Questions are answered from the engine as it is. Wishes become events, and are answered when what they changed
is durable. Whoever waits for runs is told when the last of them is over.
"""

from __future__ import annotations

import json
import pwd
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskman_cli import __version__
from taskman_cli.batch import Batch
from taskman_cli.core import effects, events, protocol, report
from taskman_cli.core.effects import JobHidden
from taskman_cli.core.inforce import NOT_FOUND, REFUSED, STOPPING, clashing, visible
from taskman_cli.jobfile.definition import definition
from taskman_cli.jobfile.problems import Rejected, did_you_mean
from taskman_cli.jobfile.values import check_name
from taskman_cli.ledger.oncejobs import once_job
from taskman_cli.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskman_cli.control.peers import Client
    from taskman_cli.core.engine import Engine
    from taskman_cli.core.model import Now
    from taskman_cli.core.protocol import Request
    from taskman_cli.core.timetable import ArmedJob
    from taskman_cli.jobfile import JobFile

#: Exit code of a command that was given what makes no sense.
WRONG = 2


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


@dataclass(slots=True)
class _Reload:
    """The files are being read, or will be."""

    clients: list[Client] = field(default_factory=list)
    #: All who wanted it, in words.
    by: list[str] = field(default_factory=list)


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
    ) -> None:
        self._engine = engine
        self._program = program
        self._jobfile = jobfile
        self._hidden = hidden
        self._last_once = last_once
        self._give = give
        self._now = now
        self._start_reload = reload
        self._trouble = trouble
        self._tokens = 0
        self._asked: dict[int, _Asked] = {}
        self._waits = Waits()
        self._batch = Batch(engine, let_go=self._let_go)
        #: When draining ends in a stop, on the elapsed clock.
        self.drain_until_ns: int | None = None
        #: What the files are being read for, and what they will be read for again: they may have changed
        #: since that was begun.
        self._reload_now: _Reload | None = None
        self._reload_next: _Reload | None = None
        self._handlers: dict[type, Callable[[Any, Client], None]] = {
            protocol.Status: self._status,
            protocol.ListJobs: self._list,
            protocol.Show: self._show,
            protocol.TriggerJob: self._trigger,
            protocol.Pause: self._pause_or_resume,
            protocol.Resume: self._pause_or_resume,
            protocol.Cancel: self._cancel,
            protocol.Wait: self._wait,
            protocol.Remove: self._remove,
            protocol.Restore: self._restore,
            protocol.Reload: self._reload,
            protocol.Stop: self._stop,
            protocol.Once: self._once,
        }

    def handle(self, request: Request, client: Client) -> None:
        """Take a request; it is answered now or later."""
        self._handlers[type(request)](request, client)

    # --- questions ---

    def _status(self, _: protocol.Status, client: Client) -> None:
        program = self._program
        told = report.status(self._engine, self._now(), started_ns=program.started_ns)
        about = {
            "version": __version__,
            "pid": program.supervisor_pid,
            "files": list(map(_absolute, program.files)),
            "user_crontabs": list(map(_absolute, program.user_crontabs)),
            "skip_bad": program.skip_bad,
            "state_directory": program.state_directory,
            "ledger": self._trouble(),
        }
        client.reply({"ok": True} | about | told)

    def _list(self, request: protocol.ListJobs, client: Client) -> None:
        items = [self._item(armed) for armed in self._engine.timetable.jobs.values()]
        items = [
            item
            for item in items
            if (not request.tags or set(request.tags) & set(item["tags"]))
            and (not request.states or item["state"] in request.states)
            and (not request.once or item["once"])
        ]
        places = {job.id: place for place, job in enumerate(self._jobfile.jobs)}
        # In the order of the file, one-hit jobs last.
        items.sort(key=lambda item: places.get(item["job"], len(places)))
        client.reply({"ok": True, "jobs": items})

    def _item(self, armed: ArmedJob) -> dict[str, Any]:
        hidden = self._hidden.get(armed.job.id)
        return report.job_item(self._engine, armed, hidden.tasks if hidden else ())

    def _show(self, request: protocol.Show, client: Client) -> None:
        armed = self._find(request.job, client)
        if armed is None:
            return
        client.reply(
            {
                "ok": True,
                "job": self._item(armed),
                "definition": definition(armed.job),
                "source": armed.job.source and _absolute(armed.job.source),
                "timezone": getattr(armed.job.schedule, "timezone", None) or self._program.timezone,
                "next_ns": report.next_slots(armed, 5),
            }
        )

    # --- wishes that the engine follows ---

    def _trigger(self, request: protocol.TriggerJob, client: Client) -> None:
        armed = self._find(request.job, client)
        if armed is None or not _has_task(armed, request.task, client):
            return
        if words := _bad_variables(request.env):
            client.refuse(words, code=WRONG)
            return
        self._ask(request, client)

    def _pause_or_resume(self, request: protocol.Pause | protocol.Resume, client: Client) -> None:
        jobs = self._engine.timetable.jobs
        for name in request.jobs:
            if name not in jobs:
                client.refuse(f"there is no job {_shown(name)}{did_you_mean(name, jobs)}", code=NOT_FOUND)
                return
        known = {tag for armed in jobs.values() for tag in armed.job.tags}
        for tag in request.tags:
            if tag not in known:
                client.refuse(f"no job has the tag {tag}{did_you_mean(tag, known)}", code=NOT_FOUND)
                return
        if not (request.jobs or request.tags or request.all):
            client.refuse(f"{request.do} wants jobs, tags or all", code=WRONG)
            return
        if isinstance(request, protocol.Pause):
            request = replace(request, reason=_as_text(request.reason))
        self._ask(request, client)

    def _cancel(self, request: protocol.Cancel, client: Client) -> None:
        if request.signal is not None and request.signal not in signal.valid_signals():
            client.refuse(f"there is no signal {request.signal}", code=WRONG)
            return
        if self._engine.unfinished(request.target) or self._is_known(request.target, client):
            self._ask(request, client)

    def _is_known(self, target: str, client: Client) -> bool:
        """Tell whether there is such a job, or task of one; where there is not, say so."""
        name, dot, task = target.partition(".")
        known = self._engine.timetable.jobs
        if name in known:
            return _has_task(known[name], task if dot else None, client)
        words = f"there is no job {_shown(name)} and no run of this id under way{did_you_mean(name, known)}"
        client.refuse(words, code=NOT_FOUND)
        return False

    def _ask(self, request: Request, client: Client) -> None:
        self._give(events.Asked(self._token([client], request), request, by(client)))

    def _token(self, clients: list[Client], request: Request, **more: Any) -> int:
        """Return what an answer will come under; `more` is what the engine does not know of it."""
        self._tokens += 1
        self._asked[self._tokens] = asked = _Asked(clients, request, more)
        if asked.is_to_wait:
            self._waits.expect(True)
        return self._tokens

    def _once(self, request: protocol.Once, client: Client) -> None:
        names = {*self._engine.timetable.jobs, *(job.id for job in self._jobfile.jobs)}
        name = request.name or self._new_name(names)
        if words := _bad_once(request, name):
            client.refuse(words, code=WRONG)
            return
        if name in names and name not in self._engine.timetable.jobs:
            client.refuse(f"the job file has a job {name}, which was removed", code=REFUSED)
            return
        job = once_job(
            name,
            request.command if isinstance(request.command, str) else tuple(request.command),
            at_ns=self._now().wall_ns if request.at_ns is None else request.at_ns,
            timezone=self._program.timezone,
            cwd=request.cwd,
            env=request.env,
            umask=request.umask,
        )
        self._give(events.OnceWanted(self._token([client], request), job, by(client), request.batch))
        if request.batch:
            self._batch.came()

    def _new_name(self, names: set[str]) -> str:
        """Number one-hit jobs through: the history of one that is over goes by its name."""
        while True:
            self._last_once += 1
            if (name := f"once-{self._last_once}") not in names:
                return name

    def answer(self, answer: effects.Answer) -> None:
        """Tell who asked: what they wanted is durable."""
        asked = self._asked.pop(answer.token)
        reply = dict(answer.reply)
        if reply["ok"]:
            reply |= asked.more
            if isinstance(asked.request, protocol.Once):
                reply["run"] = next(iter(self._engine.unfinished(reply["job"])), None)
            if isinstance(asked.request, protocol.Once | protocol.TriggerJob):
                reply["state"] = self._engine.state_of(reply["run"]) if reply["run"] else "waiting"
        for client in asked.clients:
            client.reply(reply)
            if reply["ok"] and asked.is_to_wait:
                self._wait_for(reply, client)
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
        if not runs and not self._is_known(request.target, client):
            return
        # Of a one-hit job it is the one run that it will have; any other that has none now is not waited for.
        once = name if not runs and not task and _is_once(armed) else None
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

    def tell(self, record: effects.Record | effects.Mark) -> None:
        """Take note of what is durable, for those who wait."""
        self._waits.tell(record)

    # --- jobs in force ---

    def _remove(self, request: protocol.Remove, client: Client) -> None:
        armed = self._find(request.job, client)
        if armed is None or not _has_task(armed, request.task, client) or self._is_stopping(client):
            return
        if armed.job.is_once:
            client.refuse(f"{request.job} is a one-hit job: cancel it", code=REFUSED)
            return
        name = request.job if request.task is None else f"{request.job}.{request.task}"
        more = {"job": request.job, "task": request.task, "runs": self._engine.unfinished(name)}
        if request.cancel and more["runs"]:
            cancel = protocol.Cancel(target=name)
            self._give(events.Asked(self._token([], cancel), cancel, by(client)))
        before = self._hidden.get(request.job, JobHidden(request.job, ()))
        is_all = request.task is None or [task.id for task in armed.job.tasks] == [request.task]
        tasks = before.tasks if request.task is None else (*before.tasks, request.task)
        hidden = self._hidden[request.job] = JobHidden(request.job, tasks, is_all)
        token = self._token([client], request, **more)
        self._put_in_force(token, by(client), hidden=(hidden,), kind="removed", detail=name)

    def _restore(self, request: protocol.Restore, client: Client) -> None:
        defined = {job.id: [task.id for task in job.tasks] for job in self._jobfile.jobs}
        names = [name for name in self._hidden if request.job in (None, name) and name in defined]
        if request.job is not None and not names:
            words = f"nothing of {request.job} was removed{did_you_mean(request.job, self._hidden)}"
            if request.job in self._hidden:
                words = f"{request.job} was removed, and the job file does not define it any more"
            client.refuse(words, code=NOT_FOUND)
            return
        if self._is_stopping(client):
            return
        before = [self._hidden.pop(name) for name in names]
        token = self._token(
            [client],
            request,
            jobs=[hidden.job for hidden in before if hidden.is_all],
            tasks=[
                f"{hidden.job}.{task}"
                for hidden in before
                if not hidden.is_all
                for task in hidden.tasks
                if task in defined[hidden.job]
            ],
        )
        shown = tuple(JobHidden(name, ()) for name in names)
        self._put_in_force(token, by(client), hidden=shown, kind="restored", detail=", ".join(names))

    def _put_in_force(
        self, token: int, who: str, *, hidden: tuple[JobHidden, ...] = (), kind: str, detail: str = ""
    ) -> None:
        jobs = visible(self._jobfile.jobs, self._hidden)
        self._give(events.JobsReloaded(token, jobs, self._jobfile.settings, hidden, who, kind, detail))

    def _is_stopping(self, client: Client) -> bool:
        """Say so if nothing can be changed any more."""
        if self._engine.is_stopping:
            client.refuse(STOPPING, code=REFUSED)
        return self._engine.is_stopping

    def _reload(self, _: protocol.Reload, client: Client) -> None:
        if not self._is_stopping(client):
            self.reload(client, by(client))

    def reload(self, client: Client | None, who: str) -> None:
        """Have the job files read; once more if that goes on already, for they may have changed since."""
        if self._reload_now is None:
            self._reload_now = wanted = _Reload()
            self._start_reload()
        else:
            self._reload_next = wanted = self._reload_next or _Reload()
        wanted.by.append(who)
        if client is not None:
            wanted.clients.append(client)

    def objection(self, jobfile: JobFile) -> str | None:
        """Say why files that are well cannot be put in force all the same; None: they can."""
        jobs = self._engine.timetable.jobs
        return next((clashing(job.id) for job in jobfile.jobs if _is_once(jobs.get(job.id))), None)

    def reloaded(self, jobfile: JobFile) -> None:
        """Put in force what was read."""
        wanted = self._end_reload()
        self._jobfile = jobfile
        token = self._token(wanted.clients, protocol.Reload())
        self._put_in_force(token, ", ".join(wanted.by), kind="reloaded")

    def reload_failed(self, words: str, *, code: int) -> None:
        """Say what is wrong with the files; all stays as it is."""
        for client in self._end_reload().clients:
            client.refuse("nothing was changed", code=code, errors=words)

    def _end_reload(self) -> _Reload:
        """Return what the files were read for, and have them read again if somebody came since."""
        wanted, self._reload_now, self._reload_next = self._reload_now, self._reload_next, None
        assert wanted is not None
        if self._reload_now is not None:
            self._start_reload()
        return wanted

    # --- the whole ---

    def _stop(self, request: protocol.Stop, client: Client) -> None:
        is_drain = request.drain_ns is not None and not request.now
        if is_drain and (not self._engine.is_stopping or self._engine.is_draining):
            self.drain_until_ns = None
            if request.drain_ns is not None and request.drain_ns >= 0:
                self.drain_until_ns = self._now().elapsed_ns + request.drain_ns
        clients = [client]
        if self._trouble():  # nothing gets on record: it stops all the same
            client.reply({"ok": True, "stopping": True, "running": len(self._engine.pool.running)})
            clients = []
        self._give(events.Asked(self._token(clients, request), request, by(client)))

    def _find(self, name: str, client: Client) -> ArmedJob | None:
        """Return a job; where there is none of that name, say so."""
        jobs = self._engine.timetable.jobs
        armed = jobs.get(name)
        if armed is None:
            client.refuse(f"there is no job {_shown(name)}{did_you_mean(name, jobs)}", code=NOT_FOUND)
        return armed


def _absolute(path: str) -> str:
    """Return a path as others can use it, who are elsewhere."""
    return str(Path(path).absolute())


def _as_text(text: str) -> str:
    """Return what can be put on record as text: bytes that are no UTF-8 are lost."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _shown(name: str) -> str:
    """Return a name as it can stand in a message, whatever somebody gave as one."""
    return name if name and name.isprintable() else json.dumps(name)


def _is_once(armed: ArmedJob | None) -> bool:
    return armed is not None and armed.job.is_once


def _has_task(armed: ArmedJob, task_id: str | None, client: Client) -> bool:
    """Tell whether a job has a task, if one is named; where it has not, say so."""
    tasks = [task.id for task in armed.job.tasks]
    if task_id is None or task_id in tasks:
        return True
    words = f"{armed.job.id} has no task {task_id}{did_you_mean(task_id, tasks)}"
    client.refuse(words, code=NOT_FOUND)
    return False


def _bad_variables(env: Mapping[str, str]) -> str | None:
    """Say what is wrong with variables of an environment, or None."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            return f"env: {name!r} cannot be a variable of an environment with this value"
    return None


def _bad_once(request: protocol.Once, name: str) -> str | None:
    """Say what no command can be run with, or None."""
    words = [request.command] if isinstance(request.command, str) else request.command
    if not words or not words[0].strip() or any("\0" in word for word in words):
        return "once: there is no command, or it has a NUL in it"
    if not request.cwd.startswith("/") or "\0" in request.cwd:
        return f"once: cwd {request.cwd!r} is not an absolute path"
    if not 0 <= request.umask <= 0o777:
        return f"once: umask {request.umask} is none"
    try:
        check_name(name, "job")
    except Rejected as error:
        return str(error)
    return _bad_variables(request.env)


def by(client: Client) -> str:
    """Say who asks: "root (uid 0, pid 123)"."""
    try:
        name = pwd.getpwuid(client.uid).pw_name
    except KeyError:
        name = "somebody"
    return f"{name} (uid {client.uid}, pid {client.pid})"
