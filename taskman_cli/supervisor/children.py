"""All commands of this process: running ones, and ended ones that are not forgotten yet.

It is the parent of all but adopted ones. A pidfd tells the end of those, but not how they ended.
"""

from __future__ import annotations

import os
import select
import signal
import time

from taskman_cli.supervisor.adoption import is_over, open_output, open_process
from taskman_cli.supervisor.asuser import NotBecome, hear_from_child
from taskman_cli.supervisor.captures import Captures
from taskman_cli.supervisor.child import Child, end_of
from taskman_cli.supervisor.closing import Closings
from taskman_cli.supervisor.hosts import Hosts
from taskman_cli.supervisor.outofmemory import OutOfMemory
from taskman_cli.supervisor.output import BoundedFile, Capture
from taskman_cli.supervisor.procstat import own_children
from taskman_cli.supervisor.program import StartError
from taskman_cli.supervisor.remote import Remote
from taskman_cli.supervisor.spawn import Spawner
from taskman_cli.supervisor.survey import Wish
from taskman_cli.supervisor.survivors import Survivors
from taskman_cli.supervisor.timers import elapsed_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from resource import struct_rusage
    from typing import Any

    from taskman_cli.supervisor.scheduler_process import Scheduler
    from taskman_cli.supervisor.wire import Message

#: When to check first whether a started process has become its command: most commands are over by then.
LOOK_NS = 5_000_000
#: A process that has not become its command by then is reported as started anyway: its `timeout` runs.
START_PATIENCE_NS = 100_000_000
_NO_PIPE = -1  # of an adopted command whose pipe could not be found, as if it were closed


class Children:
    """Starts, signals and ends of commands; and their output, which may outlast them."""

    def __init__(
        self,
        epoll: select.epoll,
        after: Callable[[int, Callable[[], None]], None],
        scheduler: Callable[[], Scheduler | None] = lambda: None,
    ) -> None:
        self._epoll = epoll
        self._scheduler = scheduler
        self._after = after
        self._spawner = Spawner()
        self.environments = self._spawner.environments
        self._out_of_memory = OutOfMemory()
        self._all: dict[str, Child] = {}
        self._running: dict[int, Child] = {}
        #: Adopted ones that run, by pidfd.
        self._adopted: dict[int, Child] = {}
        self._just_ended: list[Child] = []
        #: Those whose process was just made and has not reported yet; they are checked together.
        self._just_made: list[Child] = []
        #: Those whose process has yet to become the command, by the descriptor on which it reports.
        self._starting: dict[int, Child] = {}
        self._news: list[Message] = []
        self.captures = Captures(epoll, after)
        tell = lambda news: self._news.append(news)  # noqa: E731
        self.survivors = Survivors(epoll, after, tell, self._tell_end)
        self._closings = Closings(epoll, after, tell, self._tell_end)
        self.hosts = Hosts(epoll, after, tell, self._all, self.captures.settle_file)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take what the scheduler says of output, and of the names of control groups."""
        self.captures.grace_ns = int(settings["output_grace_ns"])
        self._closings.take_prefix(settings.get("group_prefix"))

    def running_count(self) -> int:
        """Return how many attempts run."""
        return len(self._running) + self.hosts.running_count()

    def seated_count(self) -> int:
        """Return how many attempts have no end yet that was told: some have left processes."""
        unsettled = len(self.survivors.hunts) + len(self._closings.waiting)
        return self.running_count() - len(self.hosts.ahead) + unsettled

    def note_told(self) -> None:
        """Note that a new scheduler was told about all of them."""
        self._news.clear()
        for child in (*self._just_made, *self._starting.values(), *self.hosts.running()):
            child.is_told = True

    def as_tuples(self) -> list[Message]:
        """Return all of them, in the order in which they came."""
        return [child.as_tuple() for child in self._all.values()]

    def running_as_tuples(self) -> list[Message]:
        """Return those that run."""
        return [child.as_tuple() for child in (*self._running.values(), *self.hosts.running())]

    def start(self, key: str, meta: Any = None, spec: Any = None) -> Message | None:
        """Start a command; return "started" or "failed", or None: `take_news` will return it."""
        if not isinstance(key, str):
            raise TypeError("a key must be a string")
        child = Child(key, meta, wall_ns=time.time_ns(), elapsed_ns=elapsed_ns())
        try:
            if key in self._all:
                raise StartError(0, f"cannot be started: there is an attempt {key} already")
            if "executor" in spec:
                self.hosts.start(key, meta, spec, child.wall_ns, child.elapsed_ns)
                return None
            self._out_of_memory.note_start(child.elapsed_ns)
            if "error" in spec:  # the scheduler could not put it together
                raise StartError(0, spec["error"])
            self.hosts.flush()
            limit = self._closings.limit(child, spec) if spec.get("limits") else None
            child.pid, child.capture, child.told = self._spawner.start(
                spec, now_ns=child.elapsed_ns, limit=limit
            )
        except StartError as error:
            return self._fail(child, error)
        except Exception as error:  # a malformed spec fails its attempt, never this process
            return self._fail(child, StartError(0, f"cannot be started: {type(error).__name__}: {error}"))
        self._all[key] = self._running[child.pid] = child
        if child.capture is not None:
            self.captures.listen(child.capture)
        if child.told is None:
            return _started(child)
        child.user = spec["user"][0] if spec["user"] else None
        if not self._just_made:
            self._after(LOOK_NS, self._look_at_starts)
        self._just_made.append(child)
        return None

    def _look_at_starts(self) -> None:
        """Check the processes that were just made, and wait for those that have not reported yet."""
        just_made, self._just_made = self._just_made, []
        for child in just_made:
            if child.told is not None and not self._hear_of_start(child, child.told):
                self._wait_for(child, child.told)

    def _wait_for(self, child: Child, told: int) -> None:
        self._starting[told] = child
        self._epoll.register(told, select.EPOLLIN)
        self._after(START_PATIENCE_NS - LOOK_NS, lambda: self._tell_of_late(child))

    def _tell_of_late(self, child: Child) -> None:
        """Report an attempt as started although its process is still delayed, so that its `timeout` runs."""
        if child.told is not None and not child.is_told:
            self._news.append(_started(child))

    def _hear_of_start(self, child: Child, told: int) -> bool:
        """Note that a process has become its command, or why it could not; return False if neither."""
        failure = None
        try:
            if not hear_from_child(told):
                return False
        except NotBecome as error:
            failure = error
        if self._starting.pop(told, None) is not None:
            self._epoll.unregister(told)
        os.close(told)
        child.told = None
        if failure is not None:
            self._undo_start(child)
            self._news.append(self._fail(child, StartError(failure.errno, str(failure))))
        elif not child.is_told:
            self._news.append(_started(child))
        return True

    def _undo_start(self, child: Child) -> None:
        """Forget the process of an attempt: it ends by itself, and is reaped like any orphan."""
        assert child.pid is not None
        del self._running[child.pid], self._all[child.key]
        child.pid = None
        capture, child.capture = child.capture, None
        if capture is not None:
            self.captures.close(capture)
        if child.group is not None:
            self._closings.close_left(child.group)

    def _fail(self, child: Child, error: StartError) -> Message:
        if not error.is_transient and child.key not in self._all:
            child.end = {**end_of(None), "errno": error.errno, "message": str(error)}
            self._all[child.key] = child
        told = child.key, error.errno, str(error), error.is_transient
        # What a process of another user lacked is most likely a limit of that user alone.
        return "failed", *told, child.wall_ns, child.elapsed_ns, child.user is not None

    def hear_from(self, fd: int) -> bool:
        """Read the report of a process that has yet to become its command, or of a look for survivors.

        Return False for another `fd`.
        """
        child = self._starting.get(fd)
        if child is not None:
            self._hear_of_start(child, fd)
        elif fd == self.survivors.fd:
            self.survivors.hear()
        else:
            return self.hosts.hear_from(fd) or self._closings.hear_from(fd)
        return True

    def take_news(self) -> list[Message]:
        """Return the messages about what was not known at once."""
        news, self._news = self._news, []
        return news

    def adopt(
        self, key: str, meta: Any, pid: int, wall_ns: int, elapsed_ns: int, path: str | None, max_output: int
    ) -> Message:
        """Take over a command that a dead supervisor left behind; return "adopted" or "gone"."""
        if not isinstance(key, str):
            raise TypeError("a key must be a string")
        known = self._all.get(key)
        if known is not None:
            return "adopted", key, known.pid
        pidfd = None if pid in self._running else open_process(pid, started_ns=elapsed_ns)
        if pidfd is None:
            self._closings.close_gone(key)
            return "gone", key
        child = Child(key, meta, wall_ns=wall_ns, elapsed_ns=elapsed_ns)
        child.take_over(pid, pidfd, *self._closings.group_of(key, pid))
        try:
            self._epoll.register(pidfd, select.EPOLLIN)
            if path is not None:
                child.capture = self._resume(pid, BoundedFile.resume(path, max_output))
        except BaseException:
            os.close(pidfd)
            raise
        self._all[key] = self._running[pid] = self._adopted[pidfd] = child
        return "adopted", key, pid

    def _resume(self, pid: int, file: BoundedFile) -> Capture:
        """Continue where the dead supervisor stopped; without the pipe, nothing is added to the file."""
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
        """Handle a reaped process; if it was a command, its attempt is over."""
        child = self._running.get(pid)
        if child is not None and child.told is not None:
            self._hear_of_start(child, child.told)
            child = self._running.get(pid)
        if child is not None:
            end = end_of(status, usage)
            if os.WTERMSIG(status) == signal.SIGKILL and not child.ending:
                memory = self._out_of_memory.claim()
                if memory:
                    end["memory"] = memory
            self._conclude(child, end)
        elif not self.hosts.reaped(pid) and not self._closings.note_reaped(pid):
            self.survivors.note_reaped()

    def is_adopted(self, pidfd: int) -> bool:
        """Tell if a descriptor is the pidfd of an adopted process that runs."""
        return pidfd in self._adopted

    def lost(self, pidfd: int) -> None:
        """Handle the end of an adopted process that another process reaps."""
        if (child := self._adopted.get(pidfd)) is not None and is_over(pidfd):
            self._conclude(child, end_of(None))

    def _conclude(self, child: Child, end: dict[str, Any]) -> None:
        assert child.pid is not None
        child.end = end
        # If another process has reaped an adopted one, a new child of ours may have its number.
        if self._running.get(child.pid) is child:
            del self._running[child.pid]
        if child.pidfd is not None:
            self._epoll.unregister(child.pidfd)
            del self._adopted[child.pidfd]
        capture, child.capture = child.capture, None
        if capture is not None:
            self.captures.drain(capture)
            file = capture.file
            end.update(output_bytes=file.total_bytes, cut_bytes=file.cut_bytes, output_error=file.error)
        self._just_ended.append(child)

    def take_ends(self) -> list[Message]:
        """Return the messages for attempts that ended since the last call. All zombies must be reaped before.

        Otherwise a group that consists only of zombies would seem to be alive.
        """
        messages: list[Message] = []
        has_strangers: bool | None = None
        for child in self._just_ended:
            if child.group is not None:
                self._closings.close(child)
                continue
            if child.wish is not None and child.ending:
                if has_strangers is None:
                    has_strangers = self._has_strangers()
                # What an adopted one leaves goes to another process.
                if has_strangers or child.pidfd is not None or child.has_group_left():
                    self.survivors.hunt(child, child.wish)
                    continue
            messages.append(_ended(child))
        self._just_ended.clear()
        return messages

    def hurry(self) -> None:
        """Kill at once all that ended attempts have left."""
        self.survivors.hurry()
        self._closings.hurry()

    def _has_strangers(self) -> bool:
        """Tell if a child of ours is no command: one that ended has left it, and a shell its children.

        Where children end meanwhile, one may be missing from the list; hence two.
        """
        scheduler = self._scheduler()
        known = self._running.keys() | self._closings.pids | self.hosts.pids
        known |= {scheduler.pid} if scheduler else set()
        return any(pids is None or not pids <= known for pids in (own_children(), own_children()))

    def _tell_end(self, child: Child) -> None:
        """Report the end of an attempt for whose survivors was looked."""
        self._news.append(_ended(child))

    def note_wish(self, key: str, *wish: Any) -> None:
        """Note what becomes of the processes that an attempt leaves; a later version may say more."""
        child = self._all.get(key)
        if child is not None and child.end is None and child.wish is None:
            child.wish = Wish(*wish[:4])

    def signal(self, key: str, number: int, ending: str) -> None:
        """Signal an attempt's process group, or what is left of it after its leader's end."""
        child = self._all.get(key)
        if child is None or child.pid is None:
            return
        if child.end is None and not child.ending:
            child.ending = str(ending)
        if isinstance(child, Remote):
            self.hosts.signal(child, number)
        elif child.end is None or child.end["group_left"]:
            child.signal_group(number, self._news)

    def signal_all(self, number: int) -> None:
        """Signal every running attempt."""
        for child in self._running.values():
            child.signal_group(number, self._news)
        self.hosts.signal_all(number)

    def close_all(self) -> None:
        """Let all go at the end of the program."""
        self.hosts.close()
        self.captures.close_all()

    def abandon(self, key: str) -> None:
        """Give up a command that nothing ends; it is reaped like any orphan."""
        child = self._all.get(key)
        if child is None or child.end is not None:
            return
        if isinstance(child, Remote):
            return self.hosts.forget(child, is_abandoned=True)
        if child.told is not None:
            self._epoll.unregister(child.told)
            os.close(child.told)
            del self._starting[child.told]
            child.told = None
        if child.pidfd is not None:
            self._epoll.unregister(child.pidfd)
            os.close(child.pidfd)
            del self._adopted[child.pidfd]
        self._undo_start(child)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop ended attempts; running ones stay."""
        for key in keys:
            child = self._all.get(key)
            if child is not None and child.end is not None:
                del self._all[key]
                if isinstance(child, Remote):
                    self.hosts.forget(child)
                elif child.pidfd is not None:
                    os.close(child.pidfd)


def _ended(child: Child) -> Message:
    assert child.end is not None
    child.end["group_left"] = child.has_group_left()
    return "ended", child.key, child.end


def _started(child: Child) -> Message:
    child.is_told = True
    return "started", child.key, child.pid, child.wall_ns, child.elapsed_ns
