"""One command that this process started or adopted, and its process group."""

from __future__ import annotations

import os
import signal

from taskman_cli.supervisor.adoption import finds, has_living_members, is_there
from taskman_cli.supervisor.process import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from taskman_cli.supervisor.output import Capture
    from taskman_cli.supervisor.wire import Message

# A stopped process dies of these only when it goes on.
_NEEDS_CONTINUE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Child:
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

    def signal_group(self, number: int) -> None:
        """Signal its process group, unless that may be a stranger's by now."""
        assert self.pid is not None
        if not self._has_its_number(self.pid):
            return
        try:
            os.killpg(self.pid, number)
            if number in _NEEDS_CONTINUE:
                os.killpg(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            if self.told is not None:  # a fork that leads no group yet; being our child, it is there
                os.kill(self.pid, number)
        except PermissionError:
            if not self.is_deaf:
                self.is_deaf = True
                say(f"not allowed to signal {self.key} (process {self.pid}): it runs as another user")

    def _has_its_number(self, pid: int) -> bool:
        """Tell if the number of its group cannot have become a stranger's."""
        if self.pidfd is not None and is_there(self.pidfd):
            return True
        if self.pidfd is None and self.end is None:  # our child, at most a zombie
            return True
        # While a group lives, the kernel gives its number to no new process: if a reaped leader's number
        # belongs to a process, that is a stranger, and the group is gone.
        return not finds(os.kill, pid)

    def has_group_left(self) -> bool:
        """Tell if others of its process group live on."""
        assert self.pid is not None
        # Whoever reaps an adopted leader may not have done so yet.
        return finds(os.killpg, self.pid) and (self.pidfd is None or has_living_members(self.pid))
