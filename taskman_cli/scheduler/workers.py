"""The scheduler's end of the socket to the supervisor: requests starts and signals, receives starts and ends.

Translates between the engine's effects and events and the messages on the wire. It decides nothing.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskman_cli import __version__
from taskman_cli.core.engine import effects
from taskman_cli.core.executors import LOCAL, ExecutorDefinition
from taskman_cli.core.model import Output
from taskman_cli.errors import TaskmanError
from taskman_cli.launch.locale import UTF8
from taskman_cli.launch.spec import Plans, known_order, remote_spec
from taskman_cli.launch.tokens import group_prefix, token_of
from taskman_cli.scheduler.heard import Hello
from taskman_cli.scheduler.orphans import Proof, find_orphans
from taskman_cli.supervisor.wire import WireError, name_of

if TYPE_CHECKING:
    from taskman_cli.core.model import Execution, Job, Settings, Task
    from taskman_cli.launch.environment import Environments
    from taskman_cli.scheduler.orphans import Orphan
    from taskman_cli.scheduler.output_files import Outputs
    from taskman_cli.supervisor.wire import Channel, Message


class SupervisorGone(Exception):
    """Raised when the supervisor has died: this scheduler cannot do anything any more, and exits."""


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
        state_directory: str = "",
    ) -> None:
        self._channel = channel
        self._state_directory = state_directory
        #: Of this scheduler, for executors: its name, and what tells its ledger from all others.
        self.instance = self.identity = ""
        self._hidden: frozenset[str] = frozenset()
        self._settings: Settings | None = None
        self._outputs = outputs
        self._secret = secret
        self._plans = Plans(environments, cwd=cwd, shell_name=shell_name, secret=secret)
        self._messages: list[Message] = []
        #: Attempts to be forgotten: told with one message, after all others.
        self._forgotten: list[str] = []
        self._seats = 0
        #: How often all prepared starts were forgotten.
        self.times_forgotten = 0
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
        self._plans.can_pack = facts.get("has_packed_orders", False)
        self._plans.can_share = facts.get("has_environments", False)
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

    def rest(self, timeout_s: float) -> None:
        """Send what is collected, and wait for messages, which `take_greeted` returns."""
        self.drain()
        self._wait(select.POLLIN, timeout_s)
        self._inbox += self.receive()

    @property
    def is_signalled(self) -> bool:
        """Tell whether a signal is among the messages that `take_greeted` returns."""
        return any(message[0] == "signal" for message in self._inbox)

    def configure(self, settings: Settings) -> None:
        """Send the settings that concern the supervisor."""
        self._settings = settings
        names = ("output_grace_ns", "restart_delay_ns", "restart_delay_max_ns", "hang_after_ns")
        values: dict[str, Any] = {"group_prefix": group_prefix(self._secret)}
        values |= {name: getattr(settings, name) for name in names}
        self._messages.append(("configure", values | self.log_settings()))
        self._messages.append(("executors", self._executors(settings)))

    def _executors(self, settings: Settings) -> dict[str, Any]:
        """Return what the supervisor is told of the executors: how to start the process of each."""
        facts = {
            "instance": self.instance,
            "ledger": self.identity,
            "state_directory": self._state_directory,
            "hidden": sorted(self._hidden),
            "version": __version__,
        }
        argv = [sys.executable, *UTF8, "-P", "-m", "taskman_cli.executors.process"]
        return {
            one.name: {
                "argv": argv,
                "definition": {name: getattr(one, name) for name in ExecutorDefinition.__slots__},
                "facts": facts,
            }
            for one in settings.executors
            if one.type != LOCAL
        }

    def start(self, start: effects.Start) -> None:
        """Request the process of an attempt; without a spec, the supervisor keeps it as failed."""
        try:
            if start.handle:
                spec = self._plans.remote(start, path=self._output_path(start))
            else:
                spec = self._plans.spec(start, path=self._outputs.path(start.job, start.key))
        except TaskmanError as error:
            spec = {"error": str(error)}
        self._messages += [("environment", *new) for new in self._plans.take_new()]
        message = "start", start.key, _meta(start), spec
        self._messages.append((*message, True) if start.is_early else message)

    def recall(self) -> None:
        """Have the starts returned that were asked for early."""
        self._messages.append(("recall",))

    def note_seats(self, seats: int) -> None:
        """Tell the supervisor how many commands run at most, if that has changed; before any start."""
        if seats != self._seats:
            self._seats = seats
            self._messages.insert(0, ("seats", seats))

    def _output_path(self, attempt: effects.Start | effects.Adopt) -> str | None:
        is_captured = attempt.task.execution.output is Output.CAPTURE
        return self._outputs.path(attempt.job, attempt.key) if is_captured else None

    def adopt(self, adopt: effects.Adopt) -> None:
        """Request that the supervisor watches a process of an earlier supervisor."""
        execution, path = adopt.task.execution, self._output_path(adopt)
        message: Message
        if adopt.handle:
            try:
                spec = self._plans.remote(adopt, path=path)
            except TaskmanError:  # to find it again, its name will do
                spec = remote_spec(adopt, known_order(adopt), path=path)
            message = ("attach", adopt.key, _meta(adopt), spec, *adopt.started)
        else:
            pid, most = adopt.pid, execution.max_output_bytes
            message = ("adopt", adopt.key, _meta(adopt), pid, *adopt.started, path, most)
        self._messages.append(message)
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
        self._forgotten += keys

    def abandon(self, key: str) -> None:
        """Tell the supervisor to stop waiting for a process that KILL does not end."""
        self._messages.append(("abandon", key))

    def keep(self, name: str, value: object) -> None:
        """Store a plain value with the supervisor for the next scheduler; None: delete it."""
        self._messages.append(("keep", name, value))

    def prepare(self, tasks: Iterable[Task]) -> None:
        """Prepare the next starts of tasks."""
        for task in tasks:
            with suppress(TaskmanError):  # the start itself will report it
                self._plans.prepare(task)

    def prepare_ahead(self, tasks: Iterable[Task]) -> None:
        """Do the same long before, as far as nothing has to be looked up for that, which could take long."""
        self.prepare(filter(self._plans.is_settled, tasks))

    def warm_up(self, tasks: Iterable[Task]) -> None:
        """Prepare starts that will be due in a moment, and wake the supervisor for them."""
        self.prepare(tasks)
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
        if self._forgotten:
            self._messages.append(("forget", self._forgotten))
            self._forgotten = []
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
        self._messages, self._forgotten = [("keep", name, value)], []
        self.drain()

    def drain(self) -> None:
        """Send the collected messages, however long the supervisor takes to read them."""
        while self.flush() & select.EPOLLOUT:
            self._wait(select.POLLOUT)

    def _wait(self, mask: int, timeout_s: float | None = None) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), mask)
        poll.poll(None if timeout_s is None else timeout_s * 1000)

    def forget_plans(self, hidden: Collection[str] | None = None) -> None:
        """Drop prepared specs, since other jobs are in effect, or other variables are secrets of sinks."""
        if hidden is not None:
            is_other, self._hidden = self._hidden != hidden, frozenset(hidden)
            if is_other and self._settings is not None:
                self._messages.append(("executors", self._executors(self._settings)))
        self._plans.forget(hidden)
        self.times_forgotten += 1


def _meta(attempt: effects.Start | effects.Adopt) -> Message:
    """Return the data that comes back with an attempt in a later `hello`."""
    meta = (
        attempt.run,
        attempt.job,
        attempt.task.id,
        attempt.attempt,
        attempt.slot_ns,
        str(attempt.trigger),
    )
    return (*meta, attempt.handle) if attempt.handle else meta
