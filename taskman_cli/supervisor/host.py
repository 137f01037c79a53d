"""The process of one executor, as the supervisor sees it: started when needed, replaced if it dies or hangs.

What it is told and what it says: `executors.process`.
"""

from __future__ import annotations

import os
import select
import signal
import socket

from taskman_cli.supervisor.numbers import DEFAULT_SIGNALS
from taskman_cli.supervisor.scheduler_process import RestartPause
from taskman_cli.supervisor.timers import elapsed_ns
from taskman_cli.supervisor.voice import say
from taskman_cli.supervisor.wire import Channel, WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from taskman_cli.supervisor.remote import Remote
    from taskman_cli.supervisor.wire import Message

#: How many questions in a row may be without an answer.
_MOST_UNANSWERED = 3


class Host:
    """One executor and its process. `what` is what the scheduler said of it: argv, definition and facts."""

    def __init__(self, name: str, what: dict[str, Any], epoll: select.epoll) -> None:
        """Raises what Python does if `what` is not as it should be."""
        self.name = name
        self.what = what
        self._argv = [*map(os.fspath, what["argv"])]
        #: How long an attempt may be unheard of.
        self.lost_after_ns = int(what["definition"]["lost_after_ns"])
        #: Those that it carries out, and those that ended and are not forgotten yet.
        self.remotes: dict[str, Remote] = {}
        #: None: there is no process.
        self.pid: int | None = None
        #: Another one has taken its place: it ends with its last attempt.
        self.is_retired = False
        #: It is started again when a pause is over.
        self.is_resting = False
        #: Its process has nothing to remove when an attempt is forgotten; and need not hear that it is.
        self.keeps_nothing = self.forgets_itself = False
        #: Its process can be given attempts that begin when others end there.
        self.takes_ahead = False
        #: How many attempts it has that are not over.
        self.running_count = 0
        #: It is asked now and then whether it is well.
        self.is_watched = False
        #: Messages that wait for the next process: attempts whose ends are on record.
        self.to_forget: list[Message] = []
        #: How many of its processes have ended though nobody wanted that.
        self.restarts = 0
        #: How the executor stands, as its process has said; None: it says nothing.
        self.condition: dict[str, Any] | None = None
        self.pause = RestartPause()
        self.pause.has_answered = True  # it is never given up
        self._epoll = epoll
        self._channel: Channel | None = None
        #: The descriptor to wait on; None: there is no process, or nothing more is heard of it.
        self.fd: int | None = None
        self._is_writer = False
        #: What it is told with the next `flush`, in one frame: what is the same in many orders is in it once.
        self._unsent: list[Message] = []
        self._started_ns = 0
        self._unanswered = 0

    @property
    def running(self) -> list[Remote]:
        """Return the attempts that are not over."""
        return [remote for remote in self.remotes.values() if remote.end is None]

    @property
    def is_away(self) -> bool:
        """Tell whether its process says that nothing can begin now."""
        return self.condition is not None and self.condition.get("reach") in ("connecting", "down")

    def start(self) -> None:
        """Start its process. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            self.pid = os.posix_spawnp(
                self._argv[0],
                self._argv,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                    (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                # What a terminal sends to our group is not for it.
                setsid=True,
                setsigmask=(),
                setsigdef=DEFAULT_SIGNALS,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._started_ns = elapsed_ns()
        self._unanswered, self.is_watched, self.keeps_nothing, self.forgets_itself = 0, False, False, False
        self.takes_ahead = False
        self._channel, self.fd = Channel(ours), ours.fileno()
        self._is_writer = False
        self._epoll.register(ours.fileno(), select.EPOLLIN)
        # Its ends may stand for starts that were not told.
        self.send(("configure", self.what["definition"], self.what["facts"] | {"is_brief": True}))

    def send(self, *messages: Message) -> None:
        """Have messages sent to its process with the next `flush`."""
        if self._channel is not None:
            self._unsent += messages

    def flush(self) -> list[tuple[str, WireError]]:
        """Send what was collected; return which attempts cannot be told of, and why."""
        found: list[tuple[str, WireError]] = []
        if self._unsent and self._channel is not None:
            messages, self._unsent = self._unsent, []
            try:
                self._channel.put(messages)
            except WireError:  # one of them: the others are sent
                for message in messages:
                    try:
                        self._channel.put([message])
                    except WireError as error:
                        found.append((str(message[1]), error))
            self._channel.flush()
            self._watch_writable()
        return found

    def receive(self) -> list[Message] | None:
        """Return what its process says; None: it says no more. Raises WireError."""
        assert self._channel is not None
        if self._channel.wants_write:
            self._channel.flush()
            self._watch_writable()
        return self._channel.receive()

    def take(self, kind: str, *values: Any) -> bool:
        """Take what its process says of itself and of the executor; return False if it is of an attempt."""
        self.answered()
        if kind == "said":
            say(f"executor {self.name}: {values[0]}")
        elif kind == "keeps_nothing":
            self.keeps_nothing, self.forgets_itself = True, len(values) > 1
        elif kind == "takes_ahead":
            self.takes_ahead = True
        elif kind == "condition":
            self.condition = dict(values[0])
        else:
            return kind == "pong"
        return True

    def _watch_writable(self) -> None:
        assert self._channel is not None
        if self._is_writer != self._channel.wants_write:
            self._is_writer = self._channel.wants_write
            mask = select.EPOLLIN | (select.EPOLLOUT if self._is_writer else 0)
            self._epoll.modify(self._channel.fileno(), mask)

    def ask(self) -> bool:
        """Ask its process whether it is well; return False if it has not answered for too long."""
        self._unanswered += 1
        self.send(("ping",))
        return self._unanswered <= _MOST_UNANSWERED

    def answered(self) -> None:
        """Note an answer."""
        self._unanswered = 0

    def let_go(self) -> None:
        """Close the socket: its process ends what it holds, then itself."""
        if self._channel is not None:
            self.flush()
            self._channel.flush()
            self._epoll.unregister(self._channel.fileno())
            self._channel.close()
            self._channel = self.fd = None

    def kill(self) -> None:
        """Kill its process, and hear no more of it."""
        self.let_go()
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def next_pause_ns(self) -> int:
        """Return how long to wait before the next process."""
        lived_ns = elapsed_ns() - self._started_ns if self._started_ns else 0
        return self.pause.after(lived_ns) or 0
