"""Pauses of starts, and the attempts that wait for their ends: of all, of one user's, or of one executor's.

Something has run out, or what they need is away. Each pause is twice as long as the one before it, until one
of them starts. After the pause of an executor only one is tried at first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from taskman_cli.core.engine.queue import DueQueue
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Settings

#: The timer that ends a pause of all starts; ":USER" is appended for one user's. It cannot be an attempt's
#: key: those begin with a run's id, which has no "l" or "o".
HOLD = "hold"


class Holds:
    """The pauses that there are; each is a timer of the pool."""

    def __init__(self, settings: Settings, timers: DueQueue[str], waiting: Mapping[str, Attempt]) -> None:
        """`waiting` are all that wait, by key: some have left since they were kept."""
        self._settings = settings
        self._timers = timers
        self._waiting = waiting
        #: How many pauses there were without a start in between, by timer; empty: there is none now either.
        self.counts: dict[str, int] = {}
        #: Keys of attempts that wait for the end of their user's or executor's pause, by its timer.
        self._kept: dict[str, list[str]] = {}
        #: Pauses in which one attempt is tried.
        self._trials: set[str] = set()
        #: The pause of all was begun, or the last one if there is none now, since nothing can be recorded.
        self.is_for_ledger = False

    def configure(self, settings: Settings, elapsed_ns: int) -> None:
        """Use other settings; what waits for an executor that is defined otherwise now is tried at once."""
        before, self._settings = self._settings.executors, settings
        for executor in settings.executors:
            if executor not in before:
                self.release(executor.name, elapsed_ns)

    @property
    def is_all(self) -> bool:
        """Tell whether no start at all may be made."""
        return HOLD in self._timers

    @property
    def is_unrecorded(self) -> bool:
        """Tell whether no start may be made because none can be recorded."""
        return self.is_for_ledger and self.is_all

    def of(self, attempt: Attempt) -> str:
        """Return the pause of those that need the same room as an attempt, if there is one now; else ""."""
        hold = _name(attempt)
        return hold if hold in self._timers else ""

    def is_on(self, attempt: Attempt) -> bool:
        """Tell whether an attempt may not start for now."""
        return self.is_all or (bool(self.counts) and self.of(attempt) != "")

    def keep(self, hold: str, key: str) -> None:
        """Let an attempt wait for the end of a pause."""
        self._kept.setdefault(hold, []).append(key)

    def kept(self) -> Collection[Attempt]:
        """Return the attempts that wait for the end of one."""
        if not self._kept:
            return ()
        found = {
            key: self._waiting[key] for keys in self._kept.values() for key in keys if key in self._waiting
        }
        return found.values()

    def take_kept(self, hold: str) -> Iterator[Attempt]:
        """Yield the attempts that waited for the end of a pause which is over."""
        self._trials.discard(hold)
        if self.counts.get(hold) == 0:
            del self.counts[hold]
        for key in self._kept.pop(hold, ()):
            if key in self._waiting:
                yield self._waiting[key]

    def begin(
        self, attempt: Attempt, elapsed_ns: int, *, is_users: bool = False, is_for_ledger: bool = False
    ) -> int | None:
        """Pause all starts: the machine has no room for the process of an attempt.

        `is_users`: it is a limit of the attempt's user, or its executor is away, so only their starts pause.
        `is_for_ledger`: its start could not be recorded.
        Return the pause, twice as long as the last one, or None if starts are paused already.
        """
        self.is_for_ledger = is_for_ledger or self.is_unrecorded
        settings, hold = self._settings, _name(attempt) if is_users else HOLD
        if hold in self._timers and hold not in self._trials:
            return None
        self._trials.discard(hold)
        count, most_ns = self.counts.get(hold, 0), settings.spawn_retry_max_ns
        if is_users and attempt.is_remote:
            most_ns *= 6  # to reach for what is away costs more than a look at this machine
        pause_ns = min(settings.spawn_retry_ns << min(count, 32), most_ns)
        self.counts[hold] = count + 1
        self._timers.put(hold, elapsed_ns + pause_ns)
        return pause_ns

    def note_try(self, attempt: Attempt) -> None:
        """Let all others of its executor wait while one is tried, after a pause; but not for ever."""
        hold = _name(attempt)
        if attempt.is_remote and hold in self.counts:
            self._trials.add(hold)
            self._timers.put(hold, attempt.began_elapsed_ns + 3 * self._settings.spawn_retry_max_ns)

    def note_start(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Let the next pause be short again: a process could be made.

        A pause goes on: what started now may have been asked for before that began.
        """
        if self.counts:
            hold = _name(attempt)
            for name in self.counts.keys() & {HOLD, hold}:
                self.counts[name] = 0
                if name in self._trials or name not in self._timers:
                    del self.counts[name]
            if hold in self._trials:
                self._timers.put(hold, elapsed_ns)

    def release_all(self) -> None:
        """End the pause of all starts early."""
        self.counts.pop(HOLD, None)
        self._timers.remove(HOLD)

    def release(self, executor: str, elapsed_ns: int) -> None:
        """Let the pause of an executor's starts be over now."""
        hold = _of_executor(executor)
        self.counts.pop(hold, None)
        if hold in self._timers:
            self._timers.put(hold, elapsed_ns)


def _of_executor(executor: str) -> str:
    return f"{HOLD}:{executor}/"


def _name(attempt: Attempt) -> str:
    """Return the name of a pause for those that need the same room: on one executor, or as one user.

    For the scheduler's own commands that is the pause of all.
    """
    if attempt.is_remote:
        return _of_executor(attempt.executor)
    user = attempt.task.execution.user
    return f"{HOLD}:{user.name}" if user else HOLD
