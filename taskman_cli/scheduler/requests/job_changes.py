"""Requests that change which jobs there are: one-off jobs, `remove` and `restore`, and reloads.

The engine makes the change. Here is what the job files define, what of it was removed, and which clients wait
for the files to be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

from taskman_cli.core import protocol
from taskman_cli.core.engine import events
from taskman_cli.core.engine.jobset import STOPPING, clashing, visible
from taskman_cli.core.engine.marks import JobHidden
from taskman_cli.core.executors import LOCAL, ExecutorDefinition
from taskman_cli.core.limits import excess
from taskman_cli.core.nearest import did_you_mean
from taskman_cli.core.sinks import SinkDefinition, secret_variables
from taskman_cli.errors import EXIT_NOT_FOUND, EXIT_USAGE, Refused
from taskman_cli.jobfile.difference import Difference
from taskman_cli.jobfile.problems import Rejected
from taskman_cli.jobfile.values import check_name
from taskman_cli.ledger.oncejobs import once_job
from taskman_cli.scheduler.requests.lookups import (
    check_sink,
    check_task,
    check_variables,
    find_job,
    requester,
)

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from taskman_cli.control.peers import Client
    from taskman_cli.core.model import Job, Settings
    from taskman_cli.jobfile import JobFile
    from taskman_cli.scheduler.driver import EngineDriver
    from taskman_cli.scheduler.requests.job_files import JobFiles
    from taskman_cli.scheduler.requests.pending import PendingRequests

#: How many jobs are replaced at once: with all that follows, a few milliseconds. It is even.
PORTION = 64
_Named = TypeVar("_Named", ExecutorDefinition, SinkDefinition)
#: Warnings that a client gets of one reload; `taskman check` prints all.
_MOST_WARNINGS = 100


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a scheduler knows of its jobs when it starts."""

    #: What the files define.
    jobfile: JobFile
    #: What of it was removed, by job.
    hidden: dict[str, JobHidden] = field(default_factory=dict)
    #: The number in the last name of a one-off job that has none of its own.
    last_once: int = 0


@dataclass(slots=True)
class _Reload:
    """A reload under way, or one that comes next."""

    clients: list[Client] = field(default_factory=list)
    #: What asked for it, in words.
    by: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Parts:
    """What is left to be put in force of the files that were read last."""

    token: int
    by: str
    #: Jobs that are new or changed, and names of those that are not defined any more.
    steps: Sequence[Job | str]
    #: How many of them are in force.
    done: int = 0

    def take(self, most: int) -> Difference:
        """Return the next part."""
        steps = self.steps[self.done : self.done + most]
        self.done += most
        jobs = tuple(step for step in steps if not isinstance(step, str))
        return Difference(jobs, tuple(step for step in steps if isinstance(step, str)))

    @property
    def is_over(self) -> bool:
        """Tell whether there are no more."""
        return self.done >= len(self.steps)


def _steps(difference: Difference, known: Container[str]) -> list[Job | str]:
    """Return what is to be done, each job that is new beside one that goes: it may be its other name.

    Between the two, a slot would be one of neither.
    """
    new = [job for job in difference.jobs if job.id not in known]
    paired = chain.from_iterable(zip_longest(difference.removed, new))
    return [
        *(step for step in paired if step is not None),
        *(job for job in difference.jobs if job.id in known),
    ]


def with_earlier(settings: Settings, before: Settings) -> Settings:
    """Return settings with the executors and resources that are to go: jobs use them until their part."""
    known = {name for name, _ in settings.resources}
    gone = (one for one in before.resources if one[0] not in known)
    # One that is local from now on is no executor of the supervisor's any more.
    others = {one.name: one for one in before.executors if one.type != LOCAL}
    executors = [others.get(one.name, one) if one.type == LOCAL else one for one in settings.executors]
    return replace(
        settings,
        executors=_with_gone(tuple(executors), before.executors),
        resources=tuple(sorted((*settings.resources, *gone), key=lambda one: one[0])),
    )


def _with_gone(wanted: tuple[_Named, ...], before: tuple[_Named, ...]) -> tuple[_Named, ...]:
    """Return what is wanted, and of what was before it, what is to go; in the order of the names."""
    names = {one.name for one in wanted}
    found = list(wanted)
    found += [one for one in before if one.name not in names]
    return tuple(sorted(found, key=lambda one: one.name))


class JobChanges:
    """Handles requests that change which jobs there are."""

    def __init__(
        self,
        driver: EngineDriver,
        pending: PendingRequests,
        files: JobFiles,
        known: Definitions,
        *,
        timezone: str,
    ) -> None:
        self._driver = driver
        self._engine = driver.engine
        self._pending = pending
        self._files = files
        #: What the files define.
        self.jobfile = known.jobfile
        #: What of it was removed, by job.
        self.hidden = dict(known.hidden)
        self._last_once = known.last_once
        self._timezone = timezone
        #: The reload under way, and the one after it: the files may have changed since reading began.
        self._reload_now: _Reload | None = None
        self._reload_next: _Reload | None = None
        #: What is left of the last reload; None: nothing.
        self._parts: _Parts | None = None
        #: How many jobs are replaced at once.
        self.portion = PORTION

    def once(self, request: protocol.RunOnce, client: Client) -> None:
        """Add a one-off job."""
        name = request.name or self._new_name()
        _check_once(request, name)
        if self._is_defined(name) and name not in self._engine.timetable.jobs:
            raise Refused(f"the job file defines a job {name}, which was removed")
        secrets = secret_variables(self.jobfile.sinks)
        job = once_job(
            name,
            request.command if isinstance(request.command, str) else tuple(request.command),
            at_ns=self._driver.now.wall_ns if request.at_ns is None else request.at_ns,
            timezone=self._timezone,
            cwd=request.cwd,
            # That of a shell, which has the secrets of sinks if ours has them.
            env={name: value for name, value in request.env.items() if name not in secrets},
            umask=request.umask,
            elapsed=request.elapsed,
            sinks=tuple(dict.fromkeys(request.sinks)),
        )
        for sink in job.policy.sinks:
            check_sink(sink, self.jobfile.sinks)
        token = self._pending.add([client], request)
        self._driver.give(events.OnceRequested(token, job, requester(client), request.batch))

    def _new_name(self) -> str:
        """Return the next free name; none is used twice, since the history of a job goes by its name."""
        while True:
            self._last_once += 1
            name = f"once-{self._last_once}"
            if name not in self._engine.timetable.jobs and not self._is_defined(name):
                return name

    def _is_defined(self, name: str) -> bool:
        """Tell whether the files define a job of that name: it is in force, or was removed from those."""
        in_force = self._engine.timetable.jobs.get(name)
        if in_force is not None and not in_force.job.is_once:
            return True
        return name in self.hidden and any(job.id == name for job in self.jobfile.jobs)

    def remove(self, request: protocol.Remove, client: Client) -> None:
        """Remove a job, or a task of one, that the files define."""
        armed = find_job(self._engine.timetable.jobs, self.hidden, request.job)
        check_task(armed, request.task)
        self._check_not_stopping()
        if armed.job.is_once:
            raise Refused(f"{request.job} is a one-off job: cancel it instead")
        name = request.job if request.task is None else f"{request.job}.{request.task}"
        more = {"job": request.job, "task": request.task, "runs": self._engine.unfinished(name)}
        if request.cancel and more["runs"]:
            cancel = protocol.Cancel(target=name)
            self._driver.give(
                events.RequestReceived(self._pending.add([], cancel), cancel, requester(client))
            )
        before = self.hidden.get(request.job, JobHidden(request.job, ()))
        is_all = request.task is None or [task.id for task in armed.job.tasks] == [request.task]
        tasks = before.tasks if request.task is None else (*before.tasks, request.task)
        hidden = self.hidden[request.job] = JobHidden(request.job, tasks, is_all)
        token = self._pending.add([client], request, **more)
        changed = [job for job in self.jobfile.jobs if job.id == request.job]
        self._put_in_force(
            token, requester(client), self._difference(changed), (hidden,), kind="removed", detail=name
        )

    def restore(self, request: protocol.Restore, client: Client) -> None:
        """Bring back what was removed."""
        defined = {job.id: [task.id for task in job.tasks] for job in self.jobfile.jobs}
        names = [name for name in self.hidden if request.job in (None, name) and name in defined]
        if request.job is not None and not names:
            words = f"nothing of {request.job} was removed{did_you_mean(request.job, self.hidden)}"
            if request.job in self.hidden:
                words = f"{request.job} was removed, and the job file no longer defines it"
            raise Refused(words, EXIT_NOT_FOUND)
        self._check_not_stopping()
        before = [self.hidden.pop(name) for name in names]
        token = self._pending.add(
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
        changed = [job for job in self.jobfile.jobs if job.id in set(names)]
        self._put_in_force(
            token, requester(client), self._difference(changed), shown, kind="restored",
            detail=", ".join(names),
        )  # fmt: skip

    def _difference(self, changed: Sequence[Job], removed: tuple[str, ...] = ()) -> Difference:
        """Return what is different for the engine if these definitions or their visible parts changed."""
        jobs = visible(changed, self.hidden)
        shown = {job.id for job in jobs}
        return Difference(jobs, (*removed, *(job.id for job in changed if job.id not in shown)))

    def _put_in_force(
        self, token: int, who: str, difference: Difference | None, hidden: tuple[JobHidden, ...] = (), *,
        kind: str, detail: str = "", is_part: bool = False,
    ) -> None:  # fmt: skip
        """Have the engine take what is different; None: all jobs."""
        if difference is None:
            jobs, removed = visible(self.jobfile.jobs, self.hidden), None
        else:
            jobs, removed = difference.jobs, difference.removed
        settings, sinks = self.jobfile.settings, self.jobfile.sinks
        if self._parts is not None:
            settings = with_earlier(settings, self._engine.settings)
            sinks = _with_gone(sinks, self._engine.reports.sinks)
        self._driver.give(
            events.JobsReloaded(token, jobs, settings, hidden, who, kind, detail, sinks, removed, is_part)
        )

    def _check_not_stopping(self) -> None:
        """Check that the jobs can still be changed."""
        if self._engine.is_stopping:
            raise Refused(STOPPING)

    def ask_reload(self, _: protocol.Reload, client: Client) -> None:
        """Read the job files for a client."""
        self._check_not_stopping()
        self.reload(client, requester(client))

    @property
    def is_reading(self) -> bool:
        """Tell whether the files are being read."""
        return self._reload_now is not None

    def reload(self, client: Client | None, who: str) -> None:
        """Read the job files; once more if that goes on already, since they may have changed meanwhile."""
        if self._reload_now is None:
            self._files.read()
            self._reload_now = wanted = _Reload()
        else:
            self._reload_next = wanted = self._reload_next or _Reload()
        wanted.by.append(who)
        if client is not None:
            wanted.clients.append(client)

    def objection(self, jobfile: JobFile) -> str | None:
        """Say why valid files cannot be put in force; None: they can."""
        once = frozenset(self._engine.once_jobs)
        return next((clashing(job.id) for job in jobfile.jobs if job.id in once), None) if once else None

    def reloaded(
        self,
        jobfile: JobFile,
        warnings: Sequence[tuple[str, str]] = (),
        difference: Difference | None = None,
    ) -> None:
        """Put in force what was read; `warnings`, each with its job, are for the clients that asked.

        `difference`: from the files before; None: not known.
        """
        while self._parts is not None:
            self.take_part()
        wanted = self._end_reload()
        self.jobfile, self._timezone = jobfile, jobfile.timezone
        more = {"warnings": [list(one) for one in warnings[:_MOST_WARNINGS]]} if warnings else {}
        token = self._pending.add(wanted.clients, protocol.Reload(), **more)
        by = ", ".join(wanted.by)
        if difference is None:
            self._put_in_force(token, by, None, kind="reloaded")
            return
        # In the place of a job that was set aside another stands: the engine's is different, too.
        if again := self._driver.poison.left_out - {job.id for job in difference.jobs}:
            others = tuple(job for job in jobfile.jobs if job.id in again)
            difference = Difference((*difference.jobs, *others), difference.removed)
        self._parts = _Parts(token, by, _steps(difference, self._engine.timetable.jobs))
        self.take_part()

    @property
    def has_parts(self) -> bool:
        """Tell whether a part of the files that were read last is still to be put in force."""
        return self._parts is not None

    def take_part(self) -> None:
        """Put the next part in force: a reload that changes 100,000 jobs delays no start.

        What was removed meanwhile (`remove`) stays so. A scheduler that dies before the last part leaves the
        next one all of the files.
        """
        parts = self._parts
        assert parts is not None
        if self._engine.is_stopping:
            parts.steps = ()  # the last part is refused
        part = parts.take(self.portion)
        if parts.is_over:
            self._parts = None
        difference = self._difference(part.jobs, part.removed)
        self._put_in_force(
            parts.token, parts.by, difference, kind="reloaded", is_part=self._parts is not None
        )

    def reload_failed(self, words: str, *, code: int) -> str:
        """Answer with what is wrong with the files, and change nothing; return what asked for the reload."""
        wanted = self._end_reload()
        for client in wanted.clients:
            client.refuse("nothing was changed", code=code, errors=words)
        return ", ".join(wanted.by)

    def _end_reload(self) -> _Reload:
        """Return the reload that is over, and read the files again if one was asked for since."""
        wanted, self._reload_now, self._reload_next = self._reload_now, self._reload_next, None
        assert wanted is not None
        if self._reload_now is not None:
            self._files.read()
        return wanted


def _check_once(request: protocol.RunOnce, name: str) -> None:
    """Check that a command can be run with what a request gives."""
    words = [request.command] if isinstance(request.command, str) else request.command
    if not words or not words[0].strip() or any("\0" in word for word in words):
        raise Refused("once: the command is empty or contains a NUL", EXIT_USAGE)
    if wrong := next(filter(None, map(excess, words)), ""):
        raise Refused(f"once: the command is {wrong}: put it into a script", EXIT_USAGE)
    if not request.cwd.startswith("/") or "\0" in request.cwd:
        raise Refused(f"once: cwd {request.cwd!r} is not an absolute path", EXIT_USAGE)
    if not 0 <= request.umask <= 0o777:
        raise Refused(f"once: {request.umask} is not a valid umask", EXIT_USAGE)
    try:
        check_name(name, "job")
    except Rejected as error:
        raise Refused(str(error), EXIT_USAGE) from error
    check_variables(request.env)
