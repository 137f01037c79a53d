"""One command that this process started or adopted, and its process group."""

from __future__ import annotations

import os
import signal
import time

from taskman_cli.supervisor.adoption import finds, has_living_members, is_there
from taskman_cli.supervisor.timers import elapsed_ns
from taskman_cli.supervisor.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any

    from taskman_cli.supervisor.groups import Group
    from taskman_cli.supervisor.output import Capture
    from taskman_cli.supervisor.survey import Wish
    from taskman_cli.supervisor.wire import Message

# A stopped process dies of these only when it continues.
_NEEDS_CONTINUE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Child:
    """One attempt as "hello" tells it."""

    __slots__ = (
        "capture",
        "elapsed_ns",
        "end",
        "ending",
        "group",
        "is_deaf",
        "is_told",
        "keeps_orphans",
        "key",
        "kills_before",
        "memory_limit_bytes",
        "meta",
        "pid",
        "pidfd",
        "told",
        "user",
        "wall_ns",
        "wish",
    )

    def __init__(self, key: str, meta: Any, *, wall_ns: int, elapsed_ns: int) -> None:
        self.key = key
        self.meta = meta
        self.wall_ns = wall_ns
        self.elapsed_ns = elapsed_ns
        self.pid: int | None = None
        #: Becomes readable when its process has become the command; None: it has.
        self.told: int | None = None
        #: The scheduler was told of its process.
        self.is_told = False
        #: The user of its process, if it is not ours.
        self.user: int | None = None
        #: Of an adopted process; kept until that is forgotten, since it tells a zombie from another process.
        self.pidfd: int | None = None
        self.capture: Capture | None = None
        #: How it ended; None while it runs.
        self.end: dict[str, Any] | None = None
        #: The first reason that the scheduler gave for telling it to end.
        self.ending = ""
        #: What becomes of the processes that it leaves, if it is told to end; None: nothing.
        self.wish: Wish | None = None
        #: It has changed its user, so that we cannot signal it; that was reported.
        self.is_deaf = False
        #: Its control group, which ends with it; None: it has none.
        self.group: Group | None = None
        #: What is left in its group may go on.
        self.keeps_orphans = False
        #: The most memory that it may use; 0: any.
        self.memory_limit_bytes = 0
        #: How many the kernel had killed for want of memory when it began, if its group does not outlive it.
        self.kills_before: int | None = None

    def as_tuple(self) -> Message:
        """Return it as "hello" sends it."""
        return self.key, self.meta, self.pid, self.wall_ns, self.elapsed_ns, self.end, self.ending

    def take_over(self, pid: int, pidfd: int, group: Group | None, keeps_orphans: bool) -> None:
        """Become the attempt whose process a supervisor has left behind."""
        self.pid, self.pidfd, self.group, self.keeps_orphans = pid, pidfd, group, keeps_orphans

    def signal_group(self, number: int, news: list[Message]) -> None:
        """Signal its process group, unless its number may belong to another process by now.

        If SIGSTOP is not allowed, that is added to `news`.
        """
        assert self.pid is not None
        if not self._has_its_number(self.pid):
            return
        try:
            os.killpg(self.pid, number)
            if number in _NEEDS_CONTINUE:
                os.killpg(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            if self.told is not None:  # a fork that does not lead a group yet; as our child, it exists
                os.kill(self.pid, number)
        except PermissionError:
            if number == signal.SIGSTOP:
                news.append(("unstoppable", self.key, "it runs as another user"))
            if not self.is_deaf:
                self.is_deaf = True
                say(f"not allowed to signal {self.key} (process {self.pid}): it runs as another user")

    def _has_its_number(self, pid: int) -> bool:
        """Tell if the number of its group cannot belong to another process."""
        if self.pidfd is not None and is_there(self.pidfd):
            return True
        if self.pidfd is None and self.end is None:  # our child, at most a zombie
            return True
        # While a group exists, the kernel gives its number to no new process: if the number of a reaped
        # leader belongs to a process, that is another one, and the group is gone.
        return not finds(os.kill, pid)

    def has_group_left(self) -> bool:
        """Tell if others of its process group live on."""
        assert self.pid is not None
        # The parent of an adopted leader may not have reaped it yet.
        return finds(os.killpg, self.pid) and (self.pidfd is None or has_living_members(self.pid))


def end_of(status: int | None, usage: struct_rusage | None = None) -> dict[str, Any]:
    """Return the end of an attempt that has just ended, as `wait4` gave it; None: it did not."""
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
