"""The scheduler's end of the socket to the supervisor: requests starts and signals, receives starts and ends.

Translates between the engine's effects and events and the messages on the wire. It decides nothing.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit, Output, State, Trigger
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.spec import Plans
from taskman_cli.launch.tokens import group_prefix, token_of
from taskman_cli.scheduler.orphans import Proof, find_orphans
from taskman_cli.supervisor.waitstatus import exit_of
from taskman_cli.supervisor.wire import PROTOCOL_VERSION, WireError, name_of

if TYPE_CHECKING:
    from taskman_cli.core.model import Execution, Job, Settings, Task
    from taskman_cli.launch.environment import Environments
    from taskman_cli.scheduler.orphans import Orphan
    from taskman_cli.scheduler.output_files import Outputs
    from taskman_cli.supervisor.wire import Channel, Message


class SupervisorGone(Exception):
    """Raised when the supervisor has died: this scheduler cannot do anything any more, and exits."""


class Hello:
    """The supervisor's first message to a scheduler."""

    def __init__(self, facts: dict[str, Any]) -> None:
        if facts["version"] != PROTOCOL_VERSION:
            raise TaskmanError(
                f"the supervisor is another version of taskman (protocol {facts['version']}, and this "
                f"scheduler has {PROTOCOL_VERSION}). Its commands go on, but nothing starts: stop it (kill "
                f"-TERM {os.getppid()}) and run taskman again, or go back to its version"
            )
        #: No scheduler of this supervisor came before.
        self.is_first: bool = facts.get("generation") == 0
        #: When the supervisor started, which identifies it.
        self.started_ns: int = facts["started_ns"]
        #: When the previous scheduler was reaped; None for the first one.
        self.scheduler_ended_ns: int | None = facts["scheduler_ended_ns"]
        #: False: there was no room for the attempts that have ended.
        self.is_complete: bool = facts.get("is_complete", True)
        self.kept: dict[str, Any] = facts["kept"]
        #: A service manager listens to reports.
        self.has_manager: bool = facts.get("has_manager", False)
        #: Attempts that cannot be read, and why.
        self.unreadable: list[tuple[str, Exception]] = []
        self.attempts = tuple(filter(None, map(self._read, facts["attempts"])))

    def _read(self, attempt: Message) -> SeenAttempt | None:
        """Return an attempt; one that cannot be read is `Gone`."""
        try:
            return _seen(*attempt)
        except Exception as error:  # the other attempts must go on
            self.unreadable.append((name_of(attempt), error))
            return self._guess(attempt, error)

    def _guess(self, attempt: Message, error: Exception) -> SeenAttempt | None:
        try:
            key, (run, job, task, number, slot_ns, trigger), *_ = attempt
            gone = events.Gone(f"its end cannot be read ({type(error).__name__})")
            return SeenAttempt(key, run, job, task, number, slot_ns, Trigger(trigger), gone)
        except (TypeError, ValueError):
            # It is not known which one: a missing attempt may no longer be taken for one that never started.
            self.is_complete = False
            return None


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """An attempt as the supervisor reports it."""

    key: str
    run: str
    job: str
    task: str
    number: int
    slot_ns: int | None
    trigger: Trigger
    fate: events.Going | events.Over | events.StartFailed | events.Gone


class Workers:
    """Starts and signals attempts through the supervisor. Messages are collected until `flush`."""

    def __init__(
        self,
        channel: Channel,
        *,
        outputs: Outputs,
        environments: Environments,
        cwd: str,
        shell_name: str,
        secret: bytes = b"",
    ) -> None:
        self._channel = channel
        self._outputs = outputs
        self._secret = secret
        self._plans = Plans(environments, cwd=cwd, shell_name=shell_name, secret=secret)
        self._messages: list[Message] = []
        #: Messages that arrived together with the greeting.
        self._inbox: list[Message] = []
        #: Returns what the supervisor is told of the log.
        self.log_settings: Callable[[], dict[str, Any]] = dict
        #: Called for messages that cannot be sent.
        self.set_aside: Callable[[str, Exception], None] = lambda *_: None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._channel.fileno()

    def waiting_bytes(self) -> int:
        """Return how much the supervisor has not taken yet."""
        return self._channel.waiting_bytes

    def greet(self) -> Hello:
        """Wait for the supervisor's first message and return it; `take_greeted` returns the rest."""
        while not self._inbox:
            self._wait(select.POLLIN)
            self._inbox = self.receive()
        kind, facts = self._inbox.pop(0)
        if kind != "hello":
            raise TaskmanError(f"the supervisor's first message was {kind!r}")
        self._plans.can_limit = facts.get("has_limits", False)
        return Hello(facts)

    def receive(self) -> list[Message]:
        """Return the messages that have arrived. Raises SupervisorGone at the end of the stream."""
        messages = self._channel.receive()
        if messages is None:
            raise SupervisorGone
        return messages

    def take_greeted(self) -> list[Message]:
        """Return the messages that arrived with the greeting; the socket is not readable for them again."""
        messages, self._inbox = self._inbox, []
        return messages

    def configure(self, settings: Settings) -> None:
        """Send the settings that concern the supervisor."""
        names = ("output_grace_ns", "restart_delay_ns", "restart_delay_max_ns", "hang_after_ns")
        values: dict[str, Any] = {"group_prefix": group_prefix(self._secret)}
        values |= {name: getattr(settings, name) for name in names}
        self._messages.append(("configure", values | self.log_settings()))

    def start(self, start: effects.Start) -> None:
        """Request the process of an attempt; without a spec, the supervisor keeps it as failed."""
        try:
            spec = self._plans.spec(start, path=self._outputs.path(start.job, start.key))
        except TaskmanError as error:
            spec = {"error": str(error)}
        self._messages.append(("start", start.key, _meta(start), spec))

    def adopt(self, adopt: effects.Adopt) -> None:
        """Request that the supervisor watches a process of an earlier supervisor."""
        execution = adopt.task.execution
        is_captured = execution.output is Output.CAPTURE
        path = self._outputs.path(adopt.job, adopt.key) if is_captured else None
        self._messages.append(
            ("adopt", adopt.key, _meta(adopt), adopt.pid, *adopt.started, path, execution.max_output_bytes)
        )
        if adopt.ending is not None:  # this supervisor does not know yet: signal 0 only tells it
            self.signal(effects.Signal(adopt.key, 0, adopt.ending, adopt.task))

    def find_orphans(self, whose: Mapping[str, tuple[str, str]], jobs: Iterable[Job]) -> Mapping[str, Orphan]:
        """Return the processes of attempts, by key; `whose` has the job and task of each.

        If the job is not defined any more, they are looked for among our own user's processes.
        """
        if not whose:
            return {}
        users = {
            (job.id, task.id): task.execution.user.uid
            for job in jobs
            for task in job.commands
            if task.execution.user is not None
        }
        own = os.geteuid()
        marks = {
            key: Proof(users.get(job_and_task, own), token_of(self._secret, key))
            for key, job_and_task in whose.items()
        }
        return find_orphans(marks)

    def settle(self, job: str, key: str, execution: Execution) -> None:
        """Request that the output file of a command that has ended is completed."""
        path = self._outputs.path(job, key)
        self._messages.append(("settle", path, execution.max_output_bytes))

    def signal(self, signal: effects.Signal) -> None:
        """Request a signal to the process group of an attempt."""
        ending = signal.ending.value if signal.ending else ""
        if signal.task is not None and signal.task.execution.kill_orphans:
            self._messages.append(("survivors", signal.key, *self._wish(signal.key, signal.task)))
        self._messages.append(("signal", signal.key, int(signal.signum), ending))

    def _wish(self, key: str, task: Task) -> tuple[str, int, int, int]:
        """Return what tells the processes that an attempt leaves, and how to end them."""
        execution = task.execution
        uid = os.geteuid() if execution.user is None else execution.user.uid
        token = token_of(self._secret, key)
        return token, uid, int(execution.kill_signal), execution.kill_timeout_ns

    def forget(self, keys: tuple[str, ...]) -> None:
        """Tell the supervisor to forget attempts whose end is recorded."""
        self._messages.append(("forget", list(keys)))

    def abandon(self, key: str) -> None:
        """Tell the supervisor to stop waiting for a process that KILL does not end."""
        self._messages.append(("abandon", key))

    def keep(self, name: str, value: object) -> None:
        """Store a plain value with the supervisor for the next scheduler; None: delete it."""
        self._messages.append(("keep", name, value))

    def warm_up(self, tasks: Iterable[Task]) -> None:
        """Prepare starts that will be due in a moment, and wake the supervisor for them."""
        for task in tasks:
            with suppress(TaskmanError):  # the start itself will report it
                self._plans.prepare(task)
        self._messages.append(("warm_up",))

    def note_due(self, in_ns: int | None, number: int, behind_ns: int) -> None:
        """Tell in how long this scheduler will do something next, as the answer to a question or to none."""
        self._messages.append(("due", in_ns, number, behind_ns))

    def report(self, what: str, words: str) -> None:
        """Have the supervisor tell the service manager something."""
        self._messages.append(("report", what, words))

    def exit(self, code: int) -> None:
        """Tell the supervisor that this scheduler is done, and the exit code of the program."""
        self._messages.append(("exit", code))

    def flush(self) -> int:
        """Send the collected messages; return the epoll mask that the socket needs now."""
        if self._messages:
            self._send()
            self._messages = []
        elif self._channel.wants_write:
            self._channel.flush()
        return select.EPOLLIN | (select.EPOLLOUT if self._channel.wants_write else 0)

    def _send(self) -> None:
        while True:
            try:
                self._channel.send(self._messages)
            except WireError as error:
                if error.culprit is None:
                    raise
                self._leave_out(error.culprit, error)
            else:
                return

    def _leave_out(self, culprit: Message, error: WireError) -> None:
        """Leave out a message that cannot be sent; a start is kept as failed."""
        self.set_aside(f"the message {name_of(culprit)}", error)
        place = next(place for place, message in enumerate(self._messages) if message is culprit)
        is_start = culprit[0] == "start" and "error" not in culprit[3]
        failed = [
            ("start", *culprit[1:3], {"error": f"the request to the supervisor cannot be sent: {error}"})
        ]
        self._messages[place : place + 1] = failed if is_start else []

    def say_last(self, name: str, value: object) -> None:
        """Store a value for the next scheduler, and drop all messages that were not sent."""
        self._messages = [("keep", name, value)]
        self.drain()

    def drain(self) -> None:
        """Send the collected messages, however long the supervisor takes to read them."""
        while self.flush() & select.EPOLLOUT:
            self._wait(select.POLLOUT)

    def _wait(self, mask: int) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), mask)
        poll.poll()

    def forget_plans(self, hidden: Collection[str] | None = None) -> None:
        """Drop prepared specs, since other jobs are in effect, or other variables are secrets of sinks."""
        self._plans.forget(hidden)


def to_event(message: Message) -> events.Event | None:
    """Return the event for a message about an attempt; None for other messages."""
    read = _READERS.get(message[0])
    return read(*message[1:]) if read else None


def gone(message: Message, why: str) -> events.Event | None:
    """Return the event for a message that cannot be read: an end becomes `AttemptGone`."""
    is_end = message[0] in ("ended", "failed") and isinstance(message[1], str)
    return events.AttemptGone(message[1], f"its end cannot be read ({why})") if is_end else None


def survivors_of(message: Message) -> effects.SurvivorsFound:
    """Return the record for what an attempt has left."""
    (run, job, task, number, *_), what, signum, count, named = message[2:7]
    which = tuple((int(pid), str(name)) for pid, name in named)
    told = int(signum) if what == "signalled" else None
    return effects.SurvivorsFound(run, job, task, number, told, int(count), which)


def _started(key: str, pid: int, wall_ns: int, elapsed_ns: int) -> events.AttemptStarted:
    return events.AttemptStarted(key, pid, Now(wall_ns, elapsed_ns))


def _failed(
    key: str,
    _: int,
    message: str,
    is_transient: bool,
    wall_ns: int,
    elapsed_ns: int,
    is_users: bool = False,  # missing from a supervisor of an earlier version
) -> events.StartFailed:
    return events.StartFailed(key, message, is_transient, Now(wall_ns, elapsed_ns), is_users)


def _adopted(key: str, pid: int) -> events.OrphanAdopted:
    return events.OrphanAdopted(key, pid)


def _gone(key: str) -> events.AttemptGone:
    return events.AttemptGone(key)


def _meta(attempt: effects.Start | effects.Adopt) -> Message:
    """Return the data that comes back with an attempt in a later `hello`."""
    return (
        attempt.run,
        attempt.job,
        attempt.task.id,
        attempt.attempt,
        attempt.slot_ns,
        str(attempt.trigger),
    )


def _seen(
    key: str,
    meta: tuple[Any, ...],
    pid: int | None,
    wall_ns: int,
    elapsed_ns: int,
    payload: dict[str, Any] | None,
    ending: str,
    *_more: object,
) -> SeenAttempt:
    # A process of a later version may have sent more.
    run, job, task, number, slot_ns, trigger = meta[:6]
    started, ended_as = Now(wall_ns, elapsed_ns), State(ending) if ending else None
    fate: events.Going | events.Over | events.StartFailed
    if pid is None:
        assert payload is not None, "an attempt that did not start has failed"
        at = Now(payload["wall_ns"], payload["elapsed_ns"])
        fate = events.StartFailed(key, payload["message"], is_transient=False, at=at)
    elif payload is None:
        fate = events.Going(pid, started, ended_as)
    else:
        fate = events.Over(pid, started, _ended(key, payload), ended_as)
    return SeenAttempt(key, run, job, task, number, slot_ns, Trigger(trigger), fate)


def _ended(key: str, payload: dict[str, Any]) -> events.AttemptEnded:
    end = Exit(
        *exit_of(payload["status"]),
        cpu_s=payload["cpu_s"],
        peak_rss_bytes=payload["peak_rss_bytes"],
        output_bytes=payload["output_bytes"],
        cut_bytes=payload["cut_bytes"],
        output_error=payload["output_error"],
        is_group_left=payload["group_left"],
        has_core=payload["status"] is not None and os.WCOREDUMP(payload["status"]),
        memory=payload.get("memory", ""),  # an older supervisor does not tell
        over_memory_bytes=payload.get("over_memory", 0),
    )
    return events.AttemptEnded(key, end, Now(payload["wall_ns"], payload["elapsed_ns"]))


_READERS: dict[str, Callable[..., events.Event]] = {
    "started": _started,
    "failed": _failed,
    "ended": _ended,
    "adopted": _adopted,
    "gone": _gone,
}
