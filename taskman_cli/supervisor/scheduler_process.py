"""The scheduler as its supervisor sees it: a process, a channel, and the pause before the next one."""

from __future__ import annotations

import os
import select
import signal
import socket

from taskman_cli.supervisor.numbers import DEFAULT_SIGNALS
from taskman_cli.supervisor.voice import say
from taskman_cli.supervisor.wire import FD_VARIABLE, LOCK_VARIABLE, Channel, WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from taskman_cli.supervisor.wire import Message

#: A scheduler that lived shorter than this died at once: the next pause is longer.
QUICK_NS = 5_000_000_000
#: After a scheduler that lived longer than this, the next pause is the shortest again.
WELL_NS = 60_000_000_000
#: How many schedulers may die at once, without a message from any, before it is given up.
MAX_STILLBORN = 5

_CHILD_FD = 3
_CHILD_LOCK_FD = 4


class Scheduler:
    """One scheduler process and this end of its socket."""

    def __init__(
        self, argv: list[str], epoll: select.epoll, *, lock_fd: int | None, started_elapsed_ns: int
    ) -> None:
        ours, theirs = socket.socketpair()
        environ = {**os.environ, FD_VARIABLE: str(_CHILD_FD)}
        environ.pop(LOCK_VARIABLE, None)
        # In this order, and with the lock at a high number (`keep_lock`), none overwrites one still needed.
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), _CHILD_FD)]
        if lock_fd is not None:
            environ[LOCK_VARIABLE] = str(_CHILD_LOCK_FD)
            actions.append((os.POSIX_SPAWN_DUP2, lock_fd, _CHILD_LOCK_FD))
        # A hang-up is ignored under nohup(1).
        kept = {signal.SIGTTOU}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            kept.add(signal.SIGHUP)
        try:
            self.pid = os.posix_spawnp(
                argv[0],
                argv,
                environ,
                file_actions=actions,
                # A terminal's Ctrl-C reaches this process only, which passes it on. In the background of the
                # terminal it may still write there: SIGTTOU stays ignored.
                setpgroup=0,
                setsigmask=(),
                setsigdef=[number for number in DEFAULT_SIGNALS if number not in kept],
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self.started_elapsed_ns = started_elapsed_ns
        self.is_reaped = False
        #: It was asked to exit for a restart.
        self.is_asked_to_leave = False
        #: It did not exit in time, and was killed.
        self.is_late = False
        #: It hung, and was killed.
        self.is_hung = False
        self._channel = Channel(ours)
        self._epoll = epoll
        #: The descriptor to wait on; None: the socket is closed.
        self.fd: int | None = ours.fileno()
        self._is_writer = False
        epoll.register(self.fd, select.EPOLLIN)

    def send(self, messages: list[Message]) -> None:
        """Send messages, now or later. Raises WireError if one is too long, and sends none."""
        self._channel.send(messages)
        self._watch_writable()

    def greet(self, hello: dict[str, Any]) -> bool:
        """Send its first message; return False if that has more than can be sent."""
        try:
            self.send([("hello", hello)])
        except WireError as error:
            say(f"cannot tell the scheduler about all attempts: {error}")
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Return its messages; None after the last one. Raises WireError."""
        if self._channel.wants_write:
            self._channel.flush()
            self._watch_writable()
        return self._channel.receive()

    def close(self) -> None:
        """Close the socket; the process is not touched."""
        if self.fd is not None:
            self._epoll.unregister(self.fd)
            self._channel.close()
            self.fd = None

    def signal(self, number: int) -> None:
        """Send it a signal, unless it was reaped: its pid may belong to another process by now."""
        if not self.is_reaped:
            os.kill(self.pid, number)

    def made_room(self, status: int) -> bool:
        """Tell if a wait status means that it exited for a restart."""
        return self.is_asked_to_leave and (status == 0 or self.is_late)

    def _watch_writable(self) -> None:
        if self.fd is not None and self._is_writer != self._channel.wants_write:
            self._is_writer = self._channel.wants_write
            self._epoll.modify(self.fd, select.EPOLLIN | (select.EPOLLOUT if self._is_writer else 0))


class RestartPause:
    """How long to wait before the next scheduler, and when to give up."""

    def __init__(self) -> None:
        self.delay_ns = 100_000_000
        self.max_delay_ns = 30_000_000_000
        #: Set at the first message from any scheduler.
        self.has_answered = False
        self._next_ns = 0
        self._stillborn = 0

    def configure(self, delay_ns: int, max_delay_ns: int) -> None:
        """Set the shortest and the longest pause."""
        self.delay_ns, self.max_delay_ns = delay_ns, max_delay_ns

    def after(self, lived_ns: int) -> int | None:
        """Return the pause after a scheduler that lived this long; None: give up."""
        is_quick = lived_ns < QUICK_NS
        self._stillborn += is_quick
        if self._stillborn >= MAX_STILLBORN and not self.has_answered:
            return None
        if lived_ns >= WELL_NS:
            self._next_ns = 0
        pause_ns = min(max(self._next_ns, self.delay_ns), self.max_delay_ns)
        if is_quick:
            self._next_ns = 2 * pause_ns
        return pause_ns
