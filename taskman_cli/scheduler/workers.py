"""The scheduler's end of the supervisor: asks for starts and signals, hears of starts and ends.

Translates between the engine's effects and events and the messages on the wire; it decides nothing.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskman_cli.core.clock import Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit, Output, State, Trigger
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.spec import Plans
from taskman_cli.launch.tokens import token_of
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
    """Say that the supervisor has died: this scheduler can do nothing any more, and leaves."""


class Hello:
    """What the supervisor tells a scheduler first."""

    def __init__(self, facts: dict[str, Any]) -> None:
        if facts["version"] != PROTOCOL_VERSION:
            raise TaskmanError(
                f"the supervisor is of another version of taskman (it speaks {facts['version']}, and this "
                f"scheduler {PROTOCOL_VERSION}). Its commands go on, and nothing else starts: stop it (kill "
                f"-TERM {os.getppid()}) and run taskman anew, or go back to the version that it is of"
            )
        #: When the supervisor started, which tells it from any other.
        self.started_ns: int = facts["started_ns"]
        #: When the scheduler before this one was reaped; None for the first.
        self.scheduler_ended_ns: int | None = facts["scheduler_ended_ns"]
        #: False: of the attempts that ended, it could not tell.
        self.is_complete: bool = facts.get("is_complete", True)
        self.kept: dict[str, Any] = facts["kept"]
        #: What it tells of attempts and nobody can read, and why.
        self.unreadable: list[tuple[str, Exception]] = []
        self.attempts = tuple(filter(None, map(self._read, facts["attempts"])))

    def _read(self, attempt: Message) -> SeenAttempt | None:
        """Return an attempt; of one that cannot be read, that it is gone."""
        try:
            return _seen(*attempt)
        except Exception as error:  # one of many: the others must go on
            self.unreadable.append((name_of(attempt), error))
            return self._guess(attempt, error)

    def _guess(self, attempt: Message, error: Exception) -> SeenAttempt | None:
        try:
            key, (run, job, task, number, slot_ns, trigger), *_ = attempt
            gone = events.Gone(f"what became of it cannot be read ({type(error).__name__})")
            return SeenAttempt(key, run, job, task, number, slot_ns, Trigger(trigger), gone)
        except (TypeError, ValueError):
            # Nobody knows which it is: none that is not in here may be taken for one that never was.
            self.is_complete = False
            return None


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """An attempt as the supervisor remembers it."""

    key: str
    run: str
    job: str
    task: str
    number: int
    slot_ns: int | None
    trigger: Trigger
    fate: events.Going | events.Over | events.StartFailed | events.Gone


class Workers:
    """Starts and signals attempts through the supervisor. Messages gather until `flush`."""

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
        #: What came together with the greeting.
        self._inbox: list[Message] = []
        #: Is told of what cannot be sent.
        self.set_aside: Callable[[str, Exception], None] = lambda *_: None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._channel.fileno()

    def greet(self) -> Hello:
        """Wait for the supervisor's first message and return it; `take_greeted` has what came with it."""
        while not self._inbox:
            self._wait(select.POLLIN)
            self._inbox = self.receive()
        kind, facts = self._inbox.pop(0)
        if kind != "hello":
            raise TaskmanError(f"the supervisor began with {kind!r}")
        return Hello(facts)

    def receive(self) -> list[Message]:
        """Return the messages that have come; raise SupervisorGone at their end."""
        messages = self._channel.receive()
        if messages is None:
            raise SupervisorGone
        return messages

    def take_greeted(self) -> list[Message]:
        """Return what came together with the greeting; the socket will not tell of it again."""
        messages, self._inbox = self._inbox, []
        return messages

    def configure(self, settings: Settings) -> None:
        """Hand on the numbers that are the supervisor's."""
        names = ("output_grace_ns", "restart_delay_ns", "restart_delay_max_ns")
        self._messages.append(("configure", {name: getattr(settings, name) for name in names}))

    def start(self, start: effects.Start) -> None:
        """Ask for the process of an attempt; where none can be put together, for it to be kept as failed."""
        try:
            spec = self._plans.spec(start, path=self._outputs.path(start.job, start.key))
        except TaskmanError as error:
            spec = {"error": str(error)}
        self._messages.append(("start", start.key, _meta(start), spec))

    def adopt(self, adopt: effects.Adopt) -> None:
        """Ask for a process of an earlier supervisor to be watched."""
        execution = adopt.task.execution
        is_captured = execution.output is Output.CAPTURE
        path = self._outputs.path(adopt.job, adopt.key) if is_captured else None
        self._messages.append(
            ("adopt", adopt.key, _meta(adopt), adopt.pid, *adopt.started, path, execution.max_output_bytes)
        )

    def find_orphans(self, whose: Mapping[str, tuple[str, str]], jobs: Iterable[Job]) -> Mapping[str, Orphan]:
        """Return the processes of attempts, by key; `whose` has job and task of each.

        Those of a job that is not defined any more are looked for among our own user's.
        """
        if not whose:
            return {}
        users = {
            (job.id, task.id): task.execution.user.uid
            for job in jobs
            for task in job.tasks
            if task.execution.user is not None
        }
        own = os.geteuid()
        marks = {
            key: Proof(users.get(job_and_task, own), token_of(self._secret, key))
            for key, job_and_task in whose.items()
        }
        return find_orphans(marks)

    def settle(self, job: str, key: str, execution: Execution) -> None:
        """Ask for the output file of a command that is gone to be put right."""
        path = self._outputs.path(job, key)
        self._messages.append(("settle", path, execution.max_output_bytes))

    def signal(self, signal: effects.Signal) -> None:
        """Ask for a signal to the group of an attempt."""
        ending = signal.ending.value if signal.ending else ""
        self._messages.append(("signal", signal.key, int(signal.signum), ending))

    def forget(self, keys: tuple[str, ...]) -> None:
        """Let the supervisor forget attempts whose run is over."""
        self._messages.append(("forget", list(keys)))

    def abandon(self, key: str) -> None:
        """Let the supervisor wait no more for a process that nothing ends."""
        self._messages.append(("abandon", key))

    def keep(self, name: str, value: object) -> None:
        """Let the supervisor remember a plain value for the next scheduler; None: forget it."""
        self._messages.append(("keep", name, value))

    def warm_up(self, tasks: Iterable[Task]) -> None:
        """Get ready for starts that will come in a moment, and wake the supervisor for them."""
        for task in tasks:
            with suppress(TaskmanError):  # the start itself will say so
                self._plans.prepare(task)
        self._messages.append(("warm_up",))

    def exit(self, code: int) -> None:
        """Say that this scheduler is done, and with what code the program ends."""
        self._messages.append(("exit", code))

    def flush(self) -> int:
        """Send what has gathered; return the epoll mask that the socket now wants."""
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
        """Do without a message that cannot be sent; a start is kept as failed."""
        self.set_aside(f"the message {name_of(culprit)}", error)
        place = next(place for place, message in enumerate(self._messages) if message is culprit)
        is_start = culprit[0] == "start" and "error" not in culprit[3]
        failed = [("start", *culprit[1:3], {"error": f"cannot be asked for: {error}"})]
        self._messages[place : place + 1] = failed if is_start else []

    def say_last(self, name: str, value: object) -> None:
        """Leave a value for the next scheduler and drop all else that was to be sent."""
        self._messages = [("keep", name, value)]
        self.drain()

    def drain(self) -> None:
        """Send what has gathered, however long the supervisor takes to read it."""
        while self.flush() & select.EPOLLOUT:
            self._wait(select.POLLOUT)

    def _wait(self, mask: int) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), mask)
        poll.poll()

    def forget_plans(self) -> None:
        """Plan anew: other jobs are in force, and the tasks of those before may go."""
        self._plans.forget()


def to_event(message: Message) -> events.Event | None:
    """Read a message about an attempt; None for any other."""
    read = _READERS.get(message[0])
    return read(*message[1:]) if read else None


def gone(message: Message, why: str) -> events.Event | None:
    """Return what is to be made of a message that cannot be read: an end is one that nobody knows."""
    is_end = message[0] in ("ended", "failed") and isinstance(message[1], str)
    return events.AttemptGone(message[1], f"its end cannot be read ({why})") if is_end else None


def _started(key: str, pid: int, wall_ns: int, elapsed_ns: int) -> events.AttemptStarted:
    return events.AttemptStarted(key, pid, Now(wall_ns, elapsed_ns))


def _failed(
    key: str,
    _: int,
    message: str,
    is_transient: bool,
    wall_ns: int,
    elapsed_ns: int,
    is_users: bool = False,  # a supervisor of an earlier version does not say it
) -> events.StartFailed:
    return events.StartFailed(key, message, is_transient, Now(wall_ns, elapsed_ns), is_users)


def _adopted(key: str, pid: int) -> events.OrphanAdopted:
    return events.OrphanAdopted(key, pid)


def _gone(key: str) -> events.AttemptGone:
    return events.AttemptGone(key)


def _meta(attempt: effects.Start | effects.Adopt) -> Message:
    """Return what comes back with an attempt in a later "hello"."""
    return (
        attempt.run,
        attempt.job,
        attempt.task.id,
        attempt.attempt,
        attempt.slot_ns,
        attempt.trigger.value,
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
    # Processes of a later version may have given more.
    run, job, task, number, slot_ns, trigger = meta[:6]
    started, ended_as = Now(wall_ns, elapsed_ns), State(ending) if ending else None
    fate: events.Going | events.Over | events.StartFailed
    if pid is None:
        assert payload is not None, "what did not start has failed"
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
    )
    return events.AttemptEnded(key, end, Now(payload["wall_ns"], payload["elapsed_ns"]))


_READERS: dict[str, Callable[..., events.Event]] = {
    "started": _started,
    "failed": _failed,
    "ended": _ended,
    "adopted": _adopted,
    "gone": _gone,
}
