"""The worker pool: attempts that hold a seat, attempts that wait for one, and their timers.

An attempt is in one place at a time: running in a seat, ready and waiting for one, or resting until its
next try.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.engine.ready import Ready
from taskman_cli.core.engine.resources import Resources
from taskman_cli.core.model import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.engine.ready import Lack
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Amounts, Settings

#: The timer that ends a pause of all starts; ":USER" is appended for one user's. It cannot be an attempt's
#: key: those begin with a run's id, which has no "l" or "o".
_HOLD = "hold"
#: The timer that looks again at an attempt which waits for the rate of a resource.
_LOOK = "look"


class Pool:
    """Seats, the ready queue and the timers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Attempts that hold a seat, in the order they took it.
        self.running: dict[str, Attempt] = {}
        self._waiting: dict[str, Attempt] = {}
        self._ready = Ready(settings.ageing_ns)
        self.resources = Resources(settings.resources)
        #: One timer per attempt: its timeout or KILL while it runs, its next try while it rests.
        self._timers: DueQueue[str] = DueQueue()
        #: How many pauses there were without a start in between, by timer.
        self._holds: dict[str, int] = {}
        #: Keys of attempts that wait for the end of their user's pause, by its timer.
        self._held: dict[str, list[str]] = {}
        #: Attempts that wait until their stopped job continues (`pause --stop`), by job and key.
        self._stopped: dict[str, dict[str, Attempt]] = {}

    def configure(self, settings: Settings) -> None:
        """Use other settings; an attempt that holds a seat keeps it."""
        is_reordered = settings.ageing_ns != self._settings.ageing_ns
        self._settings = settings
        self.resources.configure(settings.resources)
        if is_reordered:
            self._ready.set_ageing(settings.ageing_ns)
            for key in self._ready.all():
                self._ready.put(self._waiting[key])

    @property
    def ready_count(self) -> int:
        """Return how many attempts wait for a seat."""
        return len(self._ready)

    @property
    def resting_count(self) -> int:
        """Return how many attempts wait for their next try."""
        return len(self._waiting) - len(self._ready)

    @property
    def seats(self) -> int:
        """Return how many attempts may run at the same time."""
        return self._settings.max_workers

    @property
    def is_full(self) -> bool:
        """Tell whether all seats are taken."""
        return len(self.running) >= self.seats

    def lines(self, elapsed_ns: int) -> list[tuple[Amounts, int, Lack | None]]:
        """Return what those that wait for a seat need, how many need that, and what they lack of it."""
        heads = self._ready.heads(self.resources, elapsed_ns)
        return [(needs, len(line), lack) for needs, line, lack in heads]

    def first_ready(self, count: int) -> list[Attempt]:
        """Return the first attempts that wait for a seat, in order."""
        return [self._waiting[key] for key in self._ready.first(count)]

    def is_waiting(self, attempt: Attempt) -> bool:
        """Tell whether an attempt waits, for a seat or for something else."""
        return attempt.key in self._waiting

    def is_stopped(self, attempt: Attempt) -> bool:
        """Tell whether an attempt waits until its stopped job continues."""
        return attempt.key in self._stopped.get(attempt.run.job.id, ())

    def is_on_hold(self, attempt: Attempt) -> bool:
        """Tell whether all starts, or its user's, are paused because no process could be made."""
        return _HOLD in self._timers or _hold_of(_user_of(attempt)) in self._timers

    def next_timer(self) -> int | None:
        """Return when the next timer ends, on the elapsed clock, or None."""
        return self._timers.next_due()

    def enqueue(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Let an attempt wait for a seat; if it has waited before, it keeps its place."""
        self._waiting[attempt.key] = attempt
        if attempt.waits_since_ns is None:
            attempt.waits_since_ns = elapsed_ns
        self._ready.put(attempt)

    def rest(self, attempt: Attempt, until_elapsed_ns: int) -> None:
        """Let an attempt rest until its next try."""
        self._waiting[attempt.key] = attempt
        self._timers.put(attempt.key, until_elapsed_ns)

    def drop(self, attempt: Attempt) -> None:
        """Remove an attempt that waits or rests, if it does."""
        self._waiting.pop(attempt.key, None)
        self._ready.remove(attempt)
        self._timers.remove(attempt.key)

    def take_ready(self, elapsed_ns: int) -> Attempt | None:
        """Remove and return the first waiting attempt that may start, if a seat is free."""
        if not self._ready or self.is_full or _HOLD in self._timers:
            return None
        while (key := self._ready.pop(self.resources, elapsed_ns)) is not None:
            attempt = self._waiting[key]
            # Without any pause this is one look-up.
            hold = _hold_of(_user_of(attempt)) if self._holds else _HOLD
            if hold not in self._timers:
                return self._waiting.pop(key)
            self._held.setdefault(hold, []).append(key)
        if self._ready:
            self._look_again(elapsed_ns)
        return None

    def _look_again(self, elapsed_ns: int) -> None:
        """Set the timer for the first attempt that waits for a rate and nothing else."""
        waits = [lack.ready_ns for _, _, lack in self._ready.heads(self.resources, elapsed_ns) if lack]
        ready = [at_ns for at_ns in waits if at_ns is not None]
        if ready:
            self._timers.put(_LOOK, min(ready))

    def hold_back(self, attempt: Attempt) -> None:
        """Let an attempt wait until its stopped job continues."""
        self._waiting[attempt.key] = attempt
        self._stopped.setdefault(attempt.run.job.id, {})[attempt.key] = attempt

    def go_on(self, job_id: str, elapsed_ns: int) -> None:
        """Let the attempts of a job that continues wait for a seat."""
        for key, attempt in self._stopped.pop(job_id, {}).items():
            if self._waiting.get(key) is attempt:  # or it was removed since
                self.enqueue(attempt, elapsed_ns)

    def seat(self, attempt: Attempt) -> None:
        """Give an attempt a seat."""
        attempt.state = State.RUNNING
        self.running[attempt.key] = attempt
        if attempt.holds:
            self.resources.hold(attempt.holds)

    def release(self, attempt: Attempt) -> None:
        """Take an attempt's seat back."""
        del self.running[attempt.key]
        self._timers.remove(attempt.key)
        if attempt.holds:
            self.resources.release(attempt.holds)
            attempt.holds = ()

    def resting(self) -> Iterator[tuple[int, Attempt]]:
        """Yield when each resting attempt has its next try, on the elapsed clock, the first one first."""
        for due_ns, key in self._timers.walk():
            if key in self._waiting:
                yield due_ns, self._waiting[key]

    def rests_until(self, attempt: Attempt) -> int | None:
        """Return when an attempt has its next try, on the elapsed clock; None: it does not rest."""
        return self._timers.due_of(attempt.key) if attempt.key in self._waiting else None

    def set_timer(self, attempt: Attempt, at_elapsed_ns: int) -> None:
        """Set when a running attempt's time is up."""
        self._timers.put(attempt.key, at_elapsed_ns)

    def clear_timer(self, attempt: Attempt) -> None:
        """Remove the timer of a running attempt."""
        self._timers.remove(attempt.key)

    def expire(self, elapsed_ns: int) -> list[Attempt]:
        """Return the attempts whose timer has expired: running ones are out of time, the others may start."""
        found = []
        for key in self._timers.pop_due(elapsed_ns):
            if key in self.running:
                found.append(self.running[key])
            elif key in self._waiting:
                found.append(self._waiting[key])
            else:
                # The end of a pause. Some attempts may have been removed since.
                held = self._held.pop(key, ())
                found += [self._waiting[other] for other in held if other in self._waiting]
        return found

    def hold(self, attempt: Attempt, elapsed_ns: int, *, is_users: bool = False) -> int | None:
        """Put an attempt back to wait and pause all starts: the machine has no room for one more process.

        `is_users`: it is a limit of the attempt's user, so only that user's starts pause. Return the pause,
        twice as long as the last one, or None if starts are paused already.
        """
        self.release(attempt)
        attempt.state = State.QUEUED
        self.enqueue(attempt, elapsed_ns)
        hold = _hold_of(_user_of(attempt)) if is_users else _HOLD
        if hold in self._timers:
            return None
        settings, holds = self._settings, self._holds.get(hold, 0)
        pause_ns = min(settings.spawn_retry_ns << min(holds, 32), settings.spawn_retry_max_ns)
        self._holds[hold] = holds + 1
        self._timers.put(hold, elapsed_ns + pause_ns)
        return pause_ns

    def note_start(self, attempt: Attempt) -> None:
        """Let the next pause be short again: a process could be made."""
        if self._holds:
            self._holds.pop(_HOLD, None)
            self._holds.pop(_hold_of(_user_of(attempt)), None)

    def release_starts(self) -> None:
        """End a pause of all starts early."""
        self._holds.pop(_HOLD, None)
        self._timers.remove(_HOLD)


def _user_of(attempt: Attempt) -> str:
    """Return the user that an attempt runs as; "": the scheduler's own."""
    user = attempt.task.execution.user
    return user.name if user else ""


def _hold_of(user: str) -> str:
    """Return the name of the timer for a user's pause."""
    return f"{_HOLD}:{user}" if user else _HOLD
