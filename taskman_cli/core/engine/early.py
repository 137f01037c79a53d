"""Starts that are asked for while no more may run: the next one is made the moment a command ends.

So a seat does not stand idle until this process has heard of an end, recorded it and asked for a start. Only
short commands gain from that. Hence there are as many such attempts as short commands have ended just now,
and none where commands take long: each would wait for nothing, and come back.

With `admission = "auto"` more may not run than the gate has let start, even if there are seats. So it grants
these starts as credits: each takes the place of a command that ends, and does not add to the load.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine.admission import Obstacle, is_urgent

if TYPE_CHECKING:
    from taskman_cli.core.engine.admission import Gate, Signals, Verdict
    from taskman_cli.core.engine.resources import Resources
    from taskman_cli.core.engine.runs import Attempt

#: The most starts that wait with the supervisor: what ends in a moment where more than 6,000 a second do.
MOST_EARLY = 64
#: An end counts for so long: half of what the supervisor waits before it returns a start.
_MOMENT_NS = 10_000_000


class Counts(NamedTuple):
    """How many attempts have a process, as far as it is known."""

    busy: int
    #: Those that are commands here.
    local: int
    seats: int
    #: So many more have started in the place of what has ended, by what is known.
    unseen: int


class Early:
    """The attempts whose start was asked for before they had a seat, as far as it is known."""

    def __init__(self) -> None:
        #: The supervisor can hold starts.
        self.is_possible = False
        #: Those that have not started yet, by key.
        self.attempts: dict[str, Attempt] = {}
        #: How many of them are commands here.
        self.local_count = 0
        #: How many are to run while there are such attempts, with a gate; 0: as many as there are seats.
        self.level = 0
        #: The attempt that was just taken out of the queue, if it is to be one of them.
        self.taken: Attempt | None = None
        #: When the last short commands ended.
        self._ends: deque[int] = deque(maxlen=MOST_EARLY)
        #: Why no more may run while some wait: by which signals, and when so many ran.
        self._refusal: Verdict | None = None
        self._refused_by: Signals | None = None
        self._refused_at = 0

    def note_end(self, ran_ns: int, elapsed_ns: int) -> None:
        """Note that a command has ended now which ran for so long; only short ones count."""
        if self.is_possible and ran_ns <= 5 * _MOMENT_NS:
            self._ends.append(elapsed_ns)

    def has_room(self, elapsed_ns: int) -> bool:
        """Tell whether one more start may be asked for early."""
        ends = self._ends
        while ends and ends[0] <= elapsed_ns - _MOMENT_NS:
            ends.popleft()
        return self.is_possible and len(self.attempts) < len(ends)

    def _unseen(self, busy: int) -> int:
        """Return how many have started by now, in the place of what has ended, by what is known."""
        unseen, waiting = self.level - busy, len(self.attempts)
        if unseen <= 0:
            return 0
        return unseen if unseen < waiting else waiting

    def busy(self, busy: int) -> int:
        """Return how many run if so many are known to: some have started in the place of what has ended."""
        return busy + self._unseen(busy)

    def counts(self, busy: int, local: int, seats: int) -> Counts:
        """Return what is asked about by; `local`: those that wait here are still among them."""
        return Counts(busy, local - self.local_count, seats, self._unseen(busy))

    def set_level(self, counts: Counts, *, more: int = 0) -> None:
        """Let as many run as run now, and `more`, while some wait."""
        self.level = min(counts.busy + counts.unseen + more, counts.seats)

    def ask(
        self, gate: Gate, attempt: Attempt, running: int, counts: Counts, elapsed_ns: int, *,
        is_instead: bool = False,
    ) -> Verdict | None:  # fmt: skip
        """Ask the gate about an attempt; those that wait here are a load only once they run.

        `running`: so many run here, if none waits; or else those that do are taken off in `counts`.
        `is_instead`: it is to start when another one has ended.
        """
        if not self.attempts:
            self._refused_by = None
            return gate.admit(attempt, running, elapsed_ns, is_instead=is_instead)
        busy, local, _, unseen = counts
        is_known = self._refused_by is gate.signals and busy + unseen >= self._refused_at
        if is_known and not (is_instead or is_urgent(attempt) or gate.is_stale(elapsed_ns)):
            return self._refusal  # as many run as then
        verdict = gate.admit(
            attempt, local + unseen, elapsed_ns,
            unseen=unseen, is_instead=is_instead, is_supplied=True,
        )  # fmt: skip
        if verdict is not None and verdict.obstacle is Obstacle.CPU and not is_instead:
            self._refusal, self._refused_by = verdict, gate.signals
            self._refused_at = busy + unseen
        return verdict

    def is_granted(
        self,
        attempt: Attempt,
        resources: Resources,
        gate: Gate | None,
        counts: Counts | None,
        elapsed_ns: int,
    ) -> bool:
        """Tell whether an attempt may take the place of the next one that ends; then as many run as now."""
        if not may_be_early(attempt, resources):
            return False
        if gate is not None and gate.signals is not None and counts is not None:
            is_asked, running = not attempt.is_remote, counts.local
            if is_asked and self.ask(gate, attempt, running, counts, elapsed_ns, is_instead=True):
                return False
            self.set_level(counts)
        return True

    def add(self, attempt: Attempt, resources: Resources, counts: Counts, *, may_wait: bool) -> None:
        """Let one more run: the first of those that wait, if the one that was admitted may wait behind it."""
        self.set_level(counts, more=1)
        self.taken = attempt if may_wait and may_be_early(attempt, resources) else None

    def begin(self, attempt: Attempt) -> None:
        """Note that the start of the attempt that was taken for that is asked for early."""
        attempt.is_early = True
        self.attempts[attempt.key] = attempt
        self.local_count += not attempt.is_remote

    def end(self, attempt: Attempt) -> None:
        """Note that an attempt has a process, or has left the pool."""
        attempt.is_early = False
        del self.attempts[attempt.key]
        self.local_count -= not attempt.is_remote

    def stop(self) -> None:
        """Ask for none until short commands have ended again: one came back."""
        self._ends.clear()


def may_be_early(attempt: Attempt, resources: Resources) -> bool:
    """Tell whether the start of an attempt may be asked for before it may run.

    It draws on no resources that others would wait for; and it is of no other user, whose starts may pause
    alone.
    """
    execution = attempt.task.execution
    return execution.user is None and not resources.scarce(execution.resources)
