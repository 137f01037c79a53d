"""Commands whose whole course is known when they begin: each has cores of its own as long as it computes.

That is so while fewer tasks run than there are cores. Then nothing has to be done for such a command before
its end. If it gets crowded, those that still compute are taken back, and share the cores like all others.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.simulate.work import Work


class Command:
    """A command that runs; equality is identity."""

    __slots__ = ("course", "cpu_ns", "is_over", "key", "phase", "since", "used", "work")

    def __init__(self, key: str, work: Work) -> None:
        self.key, self.work = key, work
        #: Which phase it is in; -1: its process is not there yet.
        self.phase = -1
        self.used = 0
        self.is_over = False
        #: CPU time used in earlier phases, and the CPU clock at the beginning of this one.
        self.cpu_ns = 0.0
        self.since = 0.0
        #: From when until when it computes, if its whole course is known; its phase is then not.
        self.course: tuple[int, int] | None = None


class Foreseen:
    """Those that compute, or are about to."""

    __slots__ = ("_computing", "_sequence")

    def __init__(self) -> None:
        self._computing: list[tuple[int, int, Command]] = []
        self._sequence = 0

    def __bool__(self) -> bool:
        return bool(self._computing)

    def tasks(self, now_ns: int) -> int:
        """Return of how many tasks they consist; those that do not compute any more are forgotten."""
        computing = self._computing
        while computing and (computing[0][0] <= now_ns or computing[0][2].course is None):
            heappop(computing)
        if not computing:
            return 0
        return sum([command.work.width for _, _, command in computing if command.course is not None])

    def add(self, command: Command, from_ns: int, length_ns: float) -> int:
        """Let a command compute from a moment on for so long; return until when."""
        until_ns = from_ns + max(0, math.ceil(length_ns - 0.5))
        command.course = from_ns, until_ns
        self._sequence += 1
        heappush(self._computing, (until_ns, self._sequence, command))
        return until_ns

    def runnable(self, now_ns: int) -> int:
        """Return how many of their tasks run now, and not only later."""
        return sum(
            command.work.width
            for until_ns, _, command in self._computing
            if command.course is not None and command.course[0] <= now_ns < until_ns
        )

    def left_ns(self, now_ns: int) -> int:
        """Return how much CPU time they are still going to use."""
        return sum(
            (until_ns - max(now_ns, command.course[0])) * command.work.width
            for until_ns, _, command in self._computing
            if command.course is not None and until_ns > now_ns
        )

    def take_all(self, now_ns: int) -> list[Command]:
        """Take back those that still compute, in the order in which they would have ended that."""
        found = [one for until_ns, _, one in sorted(self._computing) if one.course and until_ns > now_ns]
        self._computing.clear()
        return found


def used_ns(command: Command, now_ns: int) -> int:
    """Return how much CPU time a command has used so far whose course is known."""
    assert command.course is not None
    from_ns, until_ns = command.course
    return max(0, min(now_ns, until_ns) - from_ns) * command.work.width
