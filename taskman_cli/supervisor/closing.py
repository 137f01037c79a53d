"""The end of a group: what the kernel killed in it is told, what is left in it is ended, and it is removed.

A fork does that, since files of a group may be slow, and processes take their time to end. It goes on if this
process ends before it.
"""

from __future__ import annotations

import marshal
import os
import select
import signal
import time

from taskman_cli.supervisor.limiting import Limiter
from taskman_cli.supervisor.outofmemory import machine_kills
from taskman_cli.supervisor.procstat import read_proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from taskman_cli.supervisor.child import Child
    from taskman_cli.supervisor.groups import Group
    from taskman_cli.supervisor.survey import Wish
    from taskman_cli.supervisor.wire import Message

#: An end is told without what the fork has to say if that takes longer.
PATIENCE_NS = 2_000_000_000
#: How long KILL may take to show.
KILL_PATIENCE_S = 10.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.1
_MOST_NAMED = 10
#: Tells a fork to be patient no more; it has it blocked, and looks whether it has come.
_HURRY = signal.SIGUSR1
#: When a fork that could not be made is tried again.
_RETRY_NS = 1_000_000_000
_READ_BYTES = 1 << 16
_RLIM = 1 << 16


class Report:
    """What there was in a group at the end of its command."""

    __slots__ = ("count", "kills", "limit_bytes", "named")

    def __init__(self, kills: int, limit_bytes: int, count: int, named: list[tuple[int, str]]) -> None:
        #: How many the kernel killed for going over the limit of memory, and that limit.
        self.kills, self.limit_bytes = kills, limit_bytes
        #: How many processes were left, and some of them.
        self.count, self.named = count, named


class Closings:
    """The groups that are being closed."""

    def __init__(
        self,
        epoll: select.epoll,
        after: Callable[[int, Callable[[], None]], None],
        tell: Callable[[Message], None],
        tell_end: Callable[[Child], None],
    ) -> None:
        self._epoll = epoll
        self._after = after
        self._tell = tell
        self._tell_end = tell_end
        #: The attempts whose ends are not told yet, by the pipe of their fork.
        self.waiting: dict[int, tuple[Child, bytearray]] = {}
        #: The forks that are at work.
        self.pids: set[int] = set()
        self._limiter = Limiter()
        #: Those in which something may live on. They are removed with the next one that may keep something.
        self._kept: list[Group] = []

    def take_prefix(self, prefix: object) -> None:
        """Take what the names of this instance's groups begin with; remove what a crash left of these."""
        if isinstance(prefix, str) and prefix != self._limiter.prefix:  # an older scheduler has none
            self._limiter.prefix = prefix
            self._kept = self._limiter.leftovers()
            if self._kept:
                self._close_left(self._kept, keeps=True)

    def limit(self, child: Child, spec: Mapping[str, Any]) -> Callable[[], str]:
        """Note what limits an attempt has; return what its process calls to have them."""
        limits, user = spec["limits"], spec["user"]
        child.keeps_orphans = bool(limits.get("keeps_orphans"))
        if self._limiter.has_group(limits):
            child.group = self._limiter.group(child.key, keeps=child.keeps_orphans)
        child.memory_limit_bytes = int(limits.get("memory") or 0)
        if child.group is not None and not child.group.is_ours and child.memory_limit_bytes:
            child.kills_before = machine_kills()
        return self._limiter.limit(child.key, limits, is_others=user is not None and user[0] != 0)

    def group_of(self, key: str, pid: int) -> tuple[Group | None, bool]:
        """Return the group of an attempt that was left behind, and if what is left in it may go on."""
        return self._limiter.group_of(key, pid)

    def close_gone(self, key: str) -> None:
        """Close the group of an attempt whose process is gone."""
        group = self._limiter.group(key)
        if group.exists:
            self.close_left(group)

    def close(self, child: Child) -> None:
        """Close the group of an attempt that has ended; its end is told when it is known what was in it."""
        group, keeps = child.group, child.keeps_orphans
        assert group is not None
        wish = child.wish if child.ending else None
        try:
            fd = self._fork([group, *(self._still_kept() if keeps else [])], wish, keeps=keeps)
        except OSError:  # no process or descriptor is left
            self._close_later([group], keeps=keeps)
            self._tell_end(child)
            return
        if keeps and group.is_ours:
            self._kept.append(group)
        self.waiting[fd] = child, bytearray()
        self._epoll.register(fd, select.EPOLLIN)
        self._after(PATIENCE_NS, lambda: self._give_up(fd, child))

    def close_left(self, group: Group) -> None:
        """Close a group that is no running attempt's."""
        self._close_left([group], keeps=False)

    def _close_left(self, groups: list[Group], *, keeps: bool) -> None:
        """Close groups; `keeps`: only those that are empty."""
        try:
            os.close(self._fork(groups, None, keeps=keeps))
        except OSError:
            self._close_later(groups, keeps=keeps)

    def _close_later(self, groups: list[Group], *, keeps: bool) -> None:
        self._after(_RETRY_NS, lambda: self._close_left(groups, keeps=keeps))

    def _still_kept(self) -> list[Group]:
        """Return the groups in which something may live on, without those that were removed."""
        self._kept = [group for group in self._kept if group.exists]
        return self._kept

    def _fork(self, groups: list[Group], wish: Wish | None, *, keeps: bool) -> int:
        told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = os.fork()
            if pid == 0:
                _be_closer(groups, wish, tell, keeps=keeps)
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tell)
        self.pids.add(pid)
        return told

    def hurry(self) -> None:
        """Have the forks kill at once what is left."""
        for pid in self.pids:
            os.kill(pid, _HURRY)

    def note_reaped(self, pid: int) -> bool:
        """Tell if a process was one of the forks."""
        if pid in self.pids:
            self.pids.remove(pid)
            return True
        return False

    def hear_from(self, fd: int) -> bool:
        """Read what a fork says; return False for another `fd`."""
        if fd not in self.waiting:
            return False
        child, data = self.waiting[fd]
        try:
            piece = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return True
        data += piece
        report = _decoded(data)
        if report is not None or not piece:
            self._finish(fd, child, report)
        return True

    def _give_up(self, fd: int, child: Child) -> None:
        if self.waiting.get(fd, (None,))[0] is child:
            self._finish(fd, child, None)

    def _finish(self, fd: int, child: Child, report: Report | None) -> None:
        del self.waiting[fd]
        self._epoll.unregister(fd)
        os.close(fd)
        is_risen = child.kills_before is not None and machine_kills() > child.kills_before
        note_memory(child.end, report, child.memory_limit_bytes, is_risen=is_risen)
        if report is not None and report.count and not child.keeps_orphans:
            number = child.wish.number if child.wish is not None and child.ending else signal.SIGKILL
            self._tell(
                ("survivors", child.key, child.meta, "signalled", int(number), report.count, report.named)
            )
        self._tell_end(child)


def note_memory(
    end: dict[str, Any] | None, report: Report | None, limit_bytes: int, *, is_risen: bool = False
) -> None:
    """Note in an end that the command went over its limit of memory.

    systemd removes an empty scope at once, with its counter. Then the machine's counter (`is_risen`) and the
    memory that the command used at most have to tell: if that was most of its limit, it was killed for it.
    """
    if end is None:
        return
    if report is not None and report.kills and report.limit_bytes:
        end["over_memory"] = report.limit_bytes
    elif is_risen and end["status"] and end["peak_rss_bytes"] >= limit_bytes // 10 * 8:
        end["over_memory"] = limit_bytes


def close_here(group: Group, wish: Wish | None = None, *, keeps: bool = False) -> Report:
    """Close a group in this process, which waits for it; `keeps`: what is left in it may go on."""
    report = look(group)
    if keeps:
        group.remove()
    else:
        _end_all(group, wish)
    return report


def look(group: Group) -> Report:
    """Return what is in a group now."""
    kills, limit_bytes = group.memory_kills()
    members = group.members()
    named = [(pid, name) for pid in members[:_MOST_NAMED] if (name := _name(pid))]
    return Report(kills, limit_bytes, len(members), named)


def _decoded(data: bytearray) -> Report | None:
    try:
        return Report(*marshal.loads(data))  # noqa: S302 - our own fork's
    except (EOFError, ValueError, TypeError):
        return None


def _be_closer(groups: list[Group], wish: Wish | None, tell: int, *, keeps: bool) -> None:
    """Report, end what is left and exit: none of the supervisor's own code may continue here.

    The report is about the first one.
    """
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, (_HURRY,))
        os.setsid()
        os.dup2(tell, 3)
        # Above all the lock and the scheduler's socket, whose end must be seen when the supervisor is gone.
        os.closerange(4, _RLIM)
        report = look(groups[0])
        _tell(marshal.dumps((report.kills, report.limit_bytes, report.count, report.named)))
        os.close(3)
        for group in groups:
            if keeps:
                group.remove()
            else:
                _end_all(group, wish)
    finally:
        os._exit(0)


def _tell(data: bytes) -> None:
    try:
        os.write(3, data)
    except OSError:  # nobody wants to know any more
        return


def _end_all(group: Group, wish: Wish | None) -> None:
    """End all that is in a group, as politely as the scheduler said, and remove it."""
    if wish is not None and wish.number != signal.SIGKILL:
        group.signal(wish.number)
        if _is_clear(group, wish.patience_ns / 1e9):
            return
    until, patience_s = time.monotonic() + KILL_PATIENCE_S, _LONGEST_PAUSE_S
    while True:
        if group.members():
            group.signal(signal.SIGKILL)
        if _is_clear(group, patience_s) or time.monotonic() > until:
            return
        time.sleep(_PAUSE_S)


def _is_clear(group: Group, patience_s: float) -> bool:
    """Wait until a group is empty, and remove it; False: it is not."""
    until, pause_s = time.monotonic() + patience_s, _PAUSE_S
    while group.members() or not group.remove():
        if time.monotonic() > until or _HURRY in signal.sigpending():
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return True


def _name(pid: int) -> str:
    try:
        return os.fsdecode(read_proc(f"/proc/{pid}/comm").rstrip(b"\n"))
    except OSError:
        return ""
