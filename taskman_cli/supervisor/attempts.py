"""The attempts this process answers for: running ones, and ended ones that are not forgotten yet.

It is the parent of all but those that it adopted. Of these it is told the end by a pidfd, and never how
they ended.
"""

from __future__ import annotations

import os
import select
import signal
import time

from taskman_cli.supervisor.adoption import has_living_members, is_over, is_there, open_output, open_process
from taskman_cli.supervisor.asuser import NotBecome, hear_from_child
from taskman_cli.supervisor.captures import Captures
from taskman_cli.supervisor.output import BoundedFile, Capture
from taskman_cli.supervisor.process import say
from taskman_cli.supervisor.spawn import Spawner, StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from resource import struct_rusage
    from typing import Any

    from taskman_cli.supervisor.wire import Message

#: So long after a start it is first looked whether its process has become the command: most commands are over
#: by then, and their ends tell.
LOOK_NS = 5_000_000
#: A process that has not become its command by then is told of as started all the same: its time runs.
START_PATIENCE_NS = 100_000_000
# Stands for the pipe of an adopted command that could not be found: it is as if closed.
_NO_PIPE = -1

# A stopped process dies of these only when it goes on.
_NEEDS_CONTINUE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Attempt:
    """One attempt as "hello" tells it."""

    __slots__ = (
        "capture",
        "elapsed_ns",
        "end",
        "ending",
        "is_deaf",
        "is_told",
        "key",
        "meta",
        "pid",
        "pidfd",
        "told",
        "user",
        "wall_ns",
    )

    def __init__(self, key: str, meta: Any, *, wall_ns: int, elapsed_ns: int) -> None:
        self.key = key
        self.meta = meta
        self.wall_ns = wall_ns
        self.elapsed_ns = elapsed_ns
        self.pid: int | None = None
        #: Says when its process has become the command; None: it has.
        self.told: int | None = None
        #: The scheduler knows of its process.
        self.is_told = False
        #: Who its process belongs to, if not to us.
        self.user: int | None = None
        #: Of an adopted one; kept until it is forgotten, since it tells a zombie from a stranger.
        self.pidfd: int | None = None
        self.capture: Capture | None = None
        #: How it ended; None while it runs.
        self.end: dict[str, Any] | None = None
        #: Why it was told to end, as the scheduler put it first.
        self.ending = ""
        #: It has changed its user, so that our signals do not reach it; that was said.
        self.is_deaf = False

    def as_tuple(self) -> Message:
        """Return the form that travels."""
        return self.key, self.meta, self.pid, self.wall_ns, self.elapsed_ns, self.end, self.ending


class Attempts:
    """Starts, signals and ends; and the output of commands, which may outlast them."""

    def __init__(self, epoll: select.epoll, after: Callable[[int, Callable[[], None]], None]) -> None:
        self._epoll = epoll
        self._after = after
        self._spawner = Spawner()
        self._all: dict[str, Attempt] = {}
        self._running: dict[int, Attempt] = {}
        #: Adopted ones that run, by pidfd.
        self._adopted: dict[int, Attempt] = {}
        self._just_ended: list[Attempt] = []
        #: Those whose process was just made and has not been heard of; they are looked at together.
        self._just_made: list[Attempt] = []
        #: Those whose process still had to become the command, by the descriptor that says so.
        self._starting: dict[int, Attempt] = {}
        self._news: list[Message] = []
        self.captures = Captures(epoll, after)

    @property
    def running_count(self) -> int:
        """Return how many commands run."""
        return len(self._running)

    def note_told(self) -> None:
        """Take note that a new scheduler was told of all that are known."""
        self._news.clear()
        for attempt in (*self._just_made, *self._starting.values()):
            attempt.is_told = True

    def as_tuples(self) -> list[Message]:
        """Return all that are known, in the order in which they became so."""
        return [attempt.as_tuple() for attempt in self._all.values()]

    def running_as_tuples(self) -> list[Message]:
        """Return those that run."""
        return [attempt.as_tuple() for attempt in self._running.values()]

    def start(self, key: str, meta: Any = None, spec: Any = None) -> Message | None:
        """Start a command; return what to tell, "started" or "failed", or None: `take_starts` will."""
        if not isinstance(key, str):
            raise TypeError("a key is a text")
        attempt = Attempt(key, meta, wall_ns=time.time_ns(), elapsed_ns=elapsed_ns())
        try:
            if key in self._all:
                raise StartError(0, f"cannot be started: there is an attempt {key} already")
            if "error" in spec:  # the scheduler could not put it together
                raise StartError(0, spec["error"])
            attempt.pid, attempt.capture, attempt.told = self._spawner.start(spec, now_ns=attempt.elapsed_ns)
        except StartError as error:
            return self._fail(attempt, error)
        except Exception as error:  # a malformed spec is its attempt's trouble, never this process's
            return self._fail(attempt, StartError(0, f"cannot be started: {type(error).__name__}: {error}"))
        self._all[key] = self._running[attempt.pid] = attempt
        if attempt.capture is not None:
            self.captures.listen(attempt.capture)
        if attempt.told is None:
            return _started(attempt)
        attempt.user = spec["user"][0] if spec["user"] else None
        if not self._just_made:
            self._after(LOOK_NS, self._look_at_starts)
        self._just_made.append(attempt)
        return None

    def _look_at_starts(self) -> None:
        """Hear of the processes that were just made, and wait for those that have nothing to say yet."""
        just_made, self._just_made = self._just_made, []
        for attempt in just_made:
            if attempt.told is not None and not self._hear_of_start(attempt, attempt.told):
                self._wait_for(attempt, attempt.told)

    def _wait_for(self, attempt: Attempt, told: int) -> None:
        self._starting[told] = attempt
        self._epoll.register(told, select.EPOLLIN)
        self._after(START_PATIENCE_NS - LOOK_NS, lambda: self._tell_of_late(attempt))

    def _tell_of_late(self, attempt: Attempt) -> None:
        """Let the time of an attempt run, though its process still waits for whoever delays it."""
        if attempt.told is not None and not attempt.is_told:
            self._news.append(_started(attempt))

    def _hear_of_start(self, attempt: Attempt, told: int) -> bool:
        """Take note if a process has become its command, or why it could not; return False if neither."""
        failure = None
        try:
            if not hear_from_child(told):
                return False
        except NotBecome as error:
            failure = error
        if self._starting.pop(told, None) is not None:
            self._epoll.unregister(told)
        os.close(told)
        attempt.told = None
        if failure is not None:
            self._undo_start(attempt)
            self._news.append(self._fail(attempt, StartError(failure.errno, str(failure))))
        elif not attempt.is_told:
            self._news.append(_started(attempt))
        return True

    def _undo_start(self, attempt: Attempt) -> None:
        """Forget the process of an attempt: it ends by itself, and is a stranger to whoever reaps it."""
        assert attempt.pid is not None
        del self._running[attempt.pid], self._all[attempt.key]
        attempt.pid = None
        capture, attempt.capture = attempt.capture, None
        if capture is not None:
            self.captures.close(capture)

    def _fail(self, attempt: Attempt, error: StartError) -> Message:
        if not error.is_transient and attempt.key not in self._all:
            attempt.end = {**_end(None), "errno": error.errno, "message": str(error)}
            self._all[attempt.key] = attempt
        told = attempt.key, error.errno, str(error), error.is_transient
        # What another user's own process lacked is most likely a limit of his alone.
        return "failed", *told, attempt.wall_ns, attempt.elapsed_ns, attempt.user is not None

    def hear_from(self, fd: int) -> bool:
        """Hear what a process that has yet to become its command says; return False if `fd` is of none."""
        attempt = self._starting.get(fd)
        if attempt is not None:
            self._hear_of_start(attempt, fd)
        return attempt is not None

    def take_starts(self) -> list[Message]:
        """Return what to tell of the starts whose outcome was not known at once."""
        news, self._news = self._news, []
        return news

    def adopt(
        self, key: str, meta: Any, pid: int, wall_ns: int, elapsed_ns: int, path: str | None, max_output: int
    ) -> Message:
        """Take over a command that a dead supervisor left behind; return "adopted" or "gone"."""
        if not isinstance(key, str):
            raise TypeError("a key is a text")
        known = self._all.get(key)
        if known is not None:
            return "adopted", key, known.pid
        pidfd = None if pid in self._running else open_process(pid, started_ns=elapsed_ns)
        if pidfd is None:
            return "gone", key
        attempt = Attempt(key, meta, wall_ns=wall_ns, elapsed_ns=elapsed_ns)
        attempt.pid, attempt.pidfd = pid, pidfd
        try:
            self._epoll.register(pidfd, select.EPOLLIN)
            if path is not None:
                attempt.capture = self._resume(pid, BoundedFile.resume(path, max_output))
        except BaseException:
            os.close(pidfd)
            raise
        self._all[key] = self._running[pid] = self._adopted[pidfd] = attempt
        return "adopted", key, pid

    def _resume(self, pid: int, file: BoundedFile) -> Capture:
        """Read on where the dead supervisor stopped; without the pipe, the file has all that it ever will."""
        fd = None
        try:
            fd = open_output(pid)
        except OSError as error:
            file.error = f"{error.strerror}: the output of process {pid}"
        capture = Capture(_NO_PIPE if fd is None else fd, file)
        if fd is None:
            self.captures.stop_keeping(capture)
        else:
            self.captures.listen(capture)
        return capture

    def reaped(self, pid: int, status: int, usage: struct_rusage) -> None:
        """Take note of a process that was reaped; if it led an attempt, that is over."""
        attempt = self._running.get(pid)
        if attempt is not None and attempt.told is not None:
            self._hear_of_start(attempt, attempt.told)
            attempt = self._running.get(pid)
        if attempt is not None:
            self._conclude(attempt, _end(status, usage))

    def lost(self, pidfd: int) -> None:
        """Take note that an adopted process ended and is not ours to reap."""
        attempt = self._adopted.get(pidfd)
        if attempt is not None and is_over(pidfd):
            self._conclude(attempt, _end(None))

    def _conclude(self, attempt: Attempt, end: dict[str, Any]) -> None:
        assert attempt.pid is not None
        attempt.end = end
        # Should a stranger have reaped an adopted one, a new child of ours may have got its number since.
        if self._running.get(attempt.pid) is attempt:
            del self._running[attempt.pid]
        if attempt.pidfd is not None:
            self._epoll.unregister(attempt.pidfd)
            del self._adopted[attempt.pidfd]
        capture, attempt.capture = attempt.capture, None
        if capture is not None:
            self.captures.drain(capture)
            file = capture.file
            end.update(output_bytes=file.total_bytes, cut_bytes=file.cut_bytes, output_error=file.error)
        self._just_ended.append(attempt)

    def take_ends(self) -> list[Message]:
        """Return what to tell of the attempts that ended since the last call, once all zombies are reaped.

        Until then, a group may seem to live on that has only them in it.
        """
        messages: list[Message] = []
        for attempt in self._just_ended:
            assert attempt.pid is not None
            assert attempt.end is not None
            # Whoever reaps an adopted leader may not have done so yet.
            attempt.end["group_left"] = _has_members(attempt.pid) and (
                attempt.pidfd is None or has_living_members(attempt.pid)
            )
            messages.append(("ended", attempt.key, attempt.end))
        self._just_ended.clear()
        return messages

    def signal(self, key: str, number: int, ending: str) -> None:
        """Signal an attempt's process group; when its leader is gone, what is left of the group."""
        attempt = self._all.get(key)
        if attempt is None or attempt.pid is None:
            return
        if attempt.end is None and not attempt.ending:
            attempt.ending = str(ending)
        if attempt.end is None or attempt.end["group_left"]:
            _signal_group(attempt, attempt.pid, number)

    def signal_all(self, number: int) -> None:
        """Signal every running attempt."""
        for pid, attempt in self._running.items():
            _signal_group(attempt, pid, number)

    def abandon(self, key: str) -> None:
        """Answer no more for a command that nothing ends: it is a stranger to whoever reaps it."""
        attempt = self._all.get(key)
        if attempt is None or attempt.end is not None:
            return
        if attempt.told is not None:
            self._epoll.unregister(attempt.told)
            os.close(attempt.told)
            del self._starting[attempt.told]
            attempt.told = None
        if attempt.pidfd is not None:
            self._epoll.unregister(attempt.pidfd)
            os.close(attempt.pidfd)
            del self._adopted[attempt.pidfd]
        self._undo_start(attempt)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop ended attempts; running ones stay."""
        for key in keys:
            attempt = self._all.get(key)
            if attempt is not None and attempt.end is not None:
                del self._all[key]
                if attempt.pidfd is not None:
                    os.close(attempt.pidfd)


def elapsed_ns() -> int:
    """Read the clock that attempts are timed by: since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _end(status: int | None, usage: struct_rusage | None = None) -> dict[str, Any]:
    return {
        "status": status,
        "cpu_s": usage.ru_utime + usage.ru_stime if usage else 0.0,
        "peak_rss_bytes": usage.ru_maxrss * 1024 if usage else 0,
        "output_bytes": 0,
        "cut_bytes": 0,
        "output_error": None,
        "group_left": False,
        "wall_ns": time.time_ns(),
        "elapsed_ns": elapsed_ns(),
    }


def _started(attempt: Attempt) -> Message:
    attempt.is_told = True
    return "started", attempt.key, attempt.pid, attempt.wall_ns, attempt.elapsed_ns


def _signal_group(attempt: Attempt, pid: int, number: int) -> None:
    if not _has_its_number(attempt, pid):
        return
    try:
        os.killpg(pid, number)
        if number in _NEEDS_CONTINUE:
            os.killpg(pid, signal.SIGCONT)
    except ProcessLookupError:
        if attempt.told is not None:  # a fork that leads no group yet; being our child, it is there
            os.kill(pid, number)
    except PermissionError:
        if not attempt.is_deaf:
            attempt.is_deaf = True
            say(f"not allowed to signal {attempt.key} (process {pid}): it runs as another user")


def _has_its_number(attempt: Attempt, pid: int) -> bool:
    """Tell if the number of an attempt's group cannot have become a stranger's."""
    if attempt.pidfd is not None and is_there(attempt.pidfd):
        return True
    if attempt.pidfd is None and attempt.end is None:  # our child, at most a zombie
        return True
    # While a group lives, the kernel gives its number to no new process: if a reaped leader's number
    # belongs to a process, that is a stranger, and the group is gone.
    return not _exists(pid)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
