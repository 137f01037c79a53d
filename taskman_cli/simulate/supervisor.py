"""A supervisor that starts nothing: it keeps commands, and tells of them, as the real one does."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects, events
from taskman_cli.core.model import Exit

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.model import State

#: The number of the first process.
_FIRST_PID = 100


@dataclass(slots=True)
class Process:
    """A command that was started."""

    key: str
    start: effects.Start
    pid: int
    started: Now
    #: What it was told to end as.
    ending: State | None = None
    is_stopped: bool = False
    #: Since when, on the elapsed clock, KILL has not ended it: the kernel holds it.
    held_ns: int | None = None
    #: A signal that it hears of when it goes on.
    pending: int | None = None
    #: How it ended, which its supervisor remembers until it is told to forget.
    end: events.AttemptEnded | None = None


class Supervisor:
    """The parent of all commands, and the commands. Whoever lets time pass sets `now`."""

    def __init__(self, now: Now) -> None:
        self.now = now
        self.pids = _FIRST_PID
        #: All commands that live, whoever started them.
        self.alive: dict[str, Process] = {}
        #: What this supervisor remembers: its children, and starts that failed.
        self.children: dict[str, Process | events.StartFailed] = {}
        self.failed_starts: dict[str, effects.Start] = {}
        #: What the scheduler has not been told yet.
        self.news: list[events.Event] = []

    def forget_all(self) -> None:
        """Become a new supervisor, which knows nothing of what lives."""
        self.children.clear()
        self.failed_starts.clear()

    # --- what it is asked for ---

    def begin(self, start: effects.Start) -> Process:
        """Make the process of an attempt."""
        self.pids += 1
        process = Process(start.key, start, self.pids, self.now)
        self.alive[start.key] = self.children[start.key] = process
        self.tell_of_start(events.AttemptStarted(start.key, self.pids, self.now))
        return process

    def fail(self, start: effects.Start, failed: events.StartFailed) -> None:
        """Remember that the process of an attempt could not be made."""
        self.children[start.key], self.failed_starts[start.key] = failed, start
        self.news.append(failed)

    def tell(self, action: effects.Signal) -> None:
        """Send a signal to a command, if it has not ended."""
        process = self.children.get(action.key)
        if isinstance(process, Process) and process.end is None:
            process.ending = process.ending or action.ending
            self.signal(process, action.signum)

    def forget(self, action: effects.Forget) -> None:
        """Forget attempts that have ended."""
        for key in action.keys:
            process = self.children.get(key)
            if process and not (isinstance(process, Process) and process.end is None):
                del self.children[key]

    def adopt(self, action: effects.Adopt) -> None:
        """Watch a command of an earlier supervisor, if it is still there."""
        orphan = self.alive.get(action.key)
        if orphan is None:
            self.news.append(events.AttemptGone(action.key))
        else:
            self.children[action.key] = orphan

    # --- what commands do ---

    def signal(self, process: Process, signum: int) -> None:
        """Let a command get a signal."""
        if process.held_ns is None and signum == signal.SIGKILL and self.is_held_by_kernel(process):
            process.held_ns = self.now.elapsed_ns
        if process.held_ns is not None:
            return
        if signum == signal.SIGSTOP:
            process.is_stopped = True
        elif signum == signal.SIGCONT:
            process.is_stopped = False
            if process.pending is not None:
                self.end(process, Exit(signal=process.pending))
        elif signum == signal.SIGKILL or self.obeys(process, signum):
            if process.is_stopped and signum != signal.SIGKILL:
                process.pending = signum
            else:
                self.end(process, Exit(signal=signum))

    def end(self, process: Process, end: Exit) -> None:
        """Let a command end; whoever is not its parent does not learn how."""
        del self.alive[process.key]
        is_child = self.children.get(process.key) is process
        is_ours = is_child and self.is_own(process)
        process.end = events.AttemptEnded(process.key, end if is_ours else Exit(), self.now)
        if is_child:
            self.news.append(process.end)

    # --- what may be otherwise ---

    def tell_of_start(self, started: events.AttemptStarted) -> None:
        """Tell the scheduler that a process exists."""
        self.news.append(started)

    def is_held_by_kernel(self, _: Process) -> bool:
        """Tell whether KILL does not end a command."""
        return False

    def obeys(self, _: Process, __: int) -> bool:
        """Tell whether a command ends by a signal that it could ignore."""
        return True

    def is_own(self, _: Process) -> bool:
        """Tell whether this supervisor has started a command itself."""
        return True
