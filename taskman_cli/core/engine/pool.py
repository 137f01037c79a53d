"""The worker pool: who holds a seat, who waits for one, and whose time is up.

An attempt is in one place at a time: running in a seat, ready and waiting for one, or resting until its
next try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Settings

#: The timer that ends a pause of all starts; with ":USER" behind it, of one user's. No attempt's key begins
#: so: those begin with a run's id, which has no "l" nor "o".
_HOLD = "hold"


class Pool:
    """Seats, the ready queue and the timers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Attempts that hold a seat, in the order they took it.
        self.running: dict[str, Attempt] = {}
        self._waiting: dict[str, Attempt] = {}
        self._ready: DueQueue[str] = DueQueue()
        #: One timer an attempt: its timeout or kill while it runs, its next try while it rests.
        self._timers: DueQueue[str] = DueQueue()
        #: Pauses so far without a start in between, by their timer.
        self._holds: dict[str, int] = {}
        #: Keys of attempts that would have been started but for their user's pause, by its timer.
        self._held: dict[str, list[str]] = {}
        #: Those that would have been started but for a pause that stops their job, by key, by job.
        self._stopped: dict[str, dict[str, Attempt]] = {}

    def configure(self, settings: Settings) -> None:
        """Take other numbers; who holds a seat keeps it."""
        self._settings = settings

    @property
    def ready_count(self) -> int:
        """Return how many attempts wait for a seat."""
        return len(self._ready)

    @property
    def resting_count(self) -> int:
        """Return how many attempts wait for their next try."""
        return len(self._waiting) - len(self._ready)

    @property
    def is_full(self) -> bool:
        """Tell whether all seats are taken."""
        return len(self.running) >= self._settings.max_workers

    def is_on_hold(self, attempt: Attempt) -> bool:
        """Tell whether starts are paused, all or its user's, since no process could be made."""
        return _HOLD in self._timers or _hold_of(_user_of(attempt)) in self._timers

    def next_timer(self) -> int | None:
        """Return when the next timer ends, on the elapsed clock, or None."""
        return self._timers.next_due()

    def enqueue(self, attempt: Attempt) -> None:
        """Let an attempt wait for a seat; by priority, then when it was due, then coming."""
        self._waiting[attempt.key] = attempt
        # One number orders by priority first and time second: no two instants are 2**64 ns apart.
        run = attempt.run
        self._ready.put(attempt.key, run.due_ns - (run.job.policy.priority << 64))

    def rest(self, attempt: Attempt, until_elapsed_ns: int) -> None:
        """Let an attempt rest until its next try."""
        self._waiting[attempt.key] = attempt
        self._timers.put(attempt.key, until_elapsed_ns)

    def drop(self, attempt: Attempt) -> None:
        """Take out an attempt that waits or rests, if it does."""
        self._waiting.pop(attempt.key, None)
        self._ready.remove(attempt.key)
        self._timers.remove(attempt.key)

    def take_ready(self) -> Attempt | None:
        """Take out the first attempt that waits, if there is a seat for it and its start is not on hold."""
        if not self._ready or self.is_full or _HOLD in self._timers:
            return None
        while (key := self._ready.pop()) is not None:
            attempt = self._waiting[key]
            # Without a pause anywhere this costs one look.
            hold = _hold_of(_user_of(attempt)) if self._holds else _HOLD
            if hold not in self._timers:
                return self._waiting.pop(key)
            self._held.setdefault(hold, []).append(key)
        return None

    def hold_back(self, attempt: Attempt) -> None:
        """Let an attempt wait until its job goes on."""
        self._waiting[attempt.key] = attempt
        self._stopped.setdefault(attempt.run.job.id, {})[attempt.key] = attempt

    def go_on(self, job_id: str) -> None:
        """Let the attempts that a pause of their job has held back wait for a seat."""
        for key, attempt in self._stopped.pop(job_id, {}).items():
            if self._waiting.get(key) is attempt:  # or it was taken out since
                self.enqueue(attempt)

    def seat(self, attempt: Attempt) -> None:
        """Give an attempt a seat."""
        attempt.state = State.RUNNING
        self.running[attempt.key] = attempt

    def release(self, attempt: Attempt) -> None:
        """Take an attempt's seat back."""
        del self.running[attempt.key]
        self._timers.remove(attempt.key)

    def set_timer(self, attempt: Attempt, at_elapsed_ns: int) -> None:
        """Set when a running attempt's time is up."""
        self._timers.put(attempt.key, at_elapsed_ns)

    def clear_timer(self, attempt: Attempt) -> None:
        """Let the time of a running attempt not be up."""
        self._timers.remove(attempt.key)

    def expire(self, elapsed_ns: int) -> list[Attempt]:
        """Return the attempts whose timer is over: those that run are out of time, the others may start."""
        found = []
        for key in self._timers.pop_due(elapsed_ns):
            if key in self.running:
                found.append(self.running[key])
            elif key in self._waiting:
                found.append(self._waiting[key])
            else:
                # The end of a pause. Some may have been taken out since.
                held = self._held.pop(key, ())
                found += [self._waiting[other] for other in held if other in self._waiting]
        return found

    def hold(self, attempt: Attempt, elapsed_ns: int, *, is_users: bool = False) -> int | None:
        """Send an attempt back to wait and pause all starts: the machine has no room for one more process.

        Where it is a limit of the attempt's own user, only his starts pause. Return the pause, twice the last
        one, or None where it is on already.
        """
        self.release(attempt)
        attempt.state = State.QUEUED
        self.enqueue(attempt)
        hold = _hold_of(_user_of(attempt)) if is_users else _HOLD
        if hold in self._timers:
            return None
        settings, holds = self._settings, self._holds.get(hold, 0)
        pause_ns = min(settings.spawn_retry_ns << min(holds, 32), settings.spawn_retry_max_ns)
        self._holds[hold] = holds + 1
        self._timers.put(hold, elapsed_ns + pause_ns)
        return pause_ns

    def note_start(self, attempt: Attempt) -> None:
        """A process could be made: the next pause is a short one again."""
        if self._holds:
            self._holds.pop(_HOLD, None)
            self._holds.pop(_hold_of(_user_of(attempt)), None)

    def release_starts(self) -> None:
        """End a pause of all starts before its time."""
        self._holds.pop(_HOLD, None)
        self._timers.remove(_HOLD)


def _user_of(attempt: Attempt) -> str:
    """Return whom an attempt runs as; "": as taskman itself."""
    user = attempt.task.execution.user
    return user.name if user else ""


def _hold_of(user: str) -> str:
    """Return the timer of a pause of a user's starts."""
    return f"{_HOLD}:{user}" if user else _HOLD
