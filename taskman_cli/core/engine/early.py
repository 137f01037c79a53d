"""Starts that are asked for while all seats are taken: the next one is made the moment a command ends.

So a seat does not stand idle until this process has heard of an end, recorded it and asked for a start. Only
short commands gain from that. Hence there are as many such attempts as short commands have ended just now,
and none where commands take long: each would wait for nothing, and come back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.engine.admission import Gate
    from taskman_cli.core.engine.resources import Resources
    from taskman_cli.core.engine.runs import Attempt

#: The most starts that wait with the supervisor.
MOST_EARLY = 16
#: An end counts for so long: half of what the supervisor waits before it returns a start.
_MOMENT_NS = 10_000_000


class Early:
    """The attempts whose start was asked for before they had a seat, as far as it is known."""

    def __init__(self) -> None:
        #: The supervisor can hold starts.
        self.is_possible = False
        #: Those that have not started yet, by key.
        self.attempts: dict[str, Attempt] = {}
        #: When the last short commands ended.
        self._ends: deque[int] = deque(maxlen=MOST_EARLY)

    def note_end(self, ran_ns: int, elapsed_ns: int) -> None:
        """Note that a command has ended now which ran for so long; only short ones count."""
        if ran_ns <= 5 * _MOMENT_NS:
            self._ends.append(elapsed_ns)

    def has_room(self, elapsed_ns: int) -> bool:
        """Tell whether one more start may be asked for early."""
        ends = self._ends
        while ends and ends[0] <= elapsed_ns - _MOMENT_NS:
            ends.popleft()
        return self.is_possible and len(self.attempts) < len(ends)

    def begin(self, attempt: Attempt) -> None:
        """Note that the start of an attempt is asked for early."""
        attempt.is_early = True
        self.attempts[attempt.key] = attempt

    def end(self, attempt: Attempt) -> None:
        """Note that an attempt has a process, or has left the pool."""
        if attempt.is_early:
            attempt.is_early = False
            del self.attempts[attempt.key]

    def stop(self) -> None:
        """Ask for none until short commands have ended again: one came back."""
        self._ends.clear()


def may_be_early(
    attempt: Attempt, resources: Resources, gate: Gate | None, running: int, elapsed_ns: int
) -> bool:
    """Tell whether the start of an attempt may be asked for before it has a seat, if any may.

    It draws on no resources that others would wait for; it is of no other user, whose starts may pause alone;
    and the gate lets it start beside all that runs.
    """
    execution = attempt.task.execution
    if execution.user is not None or resources.scarce(execution.resources):
        return False
    if attempt.is_remote or gate is None or gate.signals is None:
        return True
    return gate.admit(attempt, running, elapsed_ns) is None
