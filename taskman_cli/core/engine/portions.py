"""Slots that are due at once, in portions: the first commands start before all the others are decided on.

The first portion is a quarter of the others: nothing runs yet, and all seats stand idle meanwhile.

The jobs of a herd are those that were due at one instant, those of a higher priority first. After each
portion it is on record for which of them all slots due by that instant are accounted for, and after the last
that this is so for all jobs. What happens between two portions may start, end or time out commands; before
anything else happens, the rest is decided on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects, events

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.outbox import Outbox
    from taskman_cli.core.engine.slots import Slots
    from taskman_cli.core.engine.timetable import ArmedJob, Timetable

#: How many jobs are decided on in one turn of the loop.
PORTION = 64
#: What may happen between two portions: it changes neither which jobs there are, nor their slots or pauses.
BETWEEN: frozenset[type[events.Event]] = frozenset(
    {
        events.Tick, events.AttemptStarted, events.StartFailed, events.StartHeld, events.StartReturned,
        events.StartsReleased, events.AttemptEnded, events.AttemptProgressed, events.AttemptUnheard,
        events.OrphanAdopted, events.AttemptGone, events.SignalsRead, events.MemoryMeasured,
    }
)  # fmt: skip


class Portions:
    """Decides on the slots that are due, at most those of so many jobs at once."""

    def __init__(
        self,
        timetable: Timetable,
        slots: Slots,
        outbox: Outbox,
        account: Callable[[int], None],
        *,
        most: int | None,
    ) -> None:
        """`account` records that all slots due by an instant are accounted for; `most` None: all at once."""
        self._timetable = timetable
        self._slots = slots
        self._outbox = outbox
        self._account = account
        self._most = most
        self._first = None if most is None else -(-most // 4)
        #: The jobs that are still to be decided on: they were due by `_until_ns`, and are not in the queue.
        self._rest: deque[ArmedJob] = deque()
        self._until_ns = 0

    @property
    def next_due(self) -> int | None:
        """Return by when the rest of a herd was due; None: there is none."""
        return self._until_ns if self._rest else None

    def tick(self, now: Now, *, missed_after_ns: int) -> None:
        """Decide on the next jobs that are due."""
        is_fresh = not self._rest
        if is_fresh:
            if not self._timetable.is_due(now.wall_ns):
                return  # it is for something else
            self._gather(now)
        most = self._first if is_fresh else self._most
        self._decide(now, most, missed_after_ns=missed_after_ns, is_fresh=is_fresh)

    def finish(self, now: Now, *, missed_after_ns: int) -> None:
        """Decide on the rest of a herd."""
        self._decide(now, None, missed_after_ns=missed_after_ns)

    def decide_all(self, now: Now, *, missed_after_ns: int) -> None:
        """Decide on all jobs that are due."""
        self.finish(now, missed_after_ns=missed_after_ns)
        self._gather(now)
        self.finish(now, missed_after_ns=missed_after_ns)

    def _gather(self, now: Now) -> None:
        due = self._timetable.pop_due(now.wall_ns)
        self._until_ns = now.wall_ns
        if self._first is not None and len(due) > self._first:
            # As they are going to wait for a seat; of the same priority, those that are due first.
            due.sort(key=lambda armed: -armed.job.policy.priority)
        self._rest.extend(due)

    def _decide(self, now: Now, most: int | None, *, missed_after_ns: int, is_fresh: bool = False) -> None:
        """Decide on the next jobs; `is_fresh`: nothing has happened since they were due."""
        if not self._rest:
            return
        count = len(self._rest) if most is None else min(most, len(self._rest))
        portion = [self._rest.popleft() for _ in range(count)]
        if not is_fresh:
            portion = [armed for armed in portion if self._is_due(armed)]
        if self._rest:
            names = tuple(armed.job.id for armed in portion)
            self._outbox.records.append(effects.SlotsDecided(names, self._until_ns))
        else:
            self._account(self._until_ns)
        for armed in portion:
            self._outbox.subject = armed.job.id
            self._slots.decide(armed, now, until_ns=self._until_ns, missed_after_ns=missed_after_ns)
        self._outbox.subject = None

    def _is_due(self, armed: ArmedJob) -> bool:
        """Tell whether a job is still there, and due."""
        slot_ns, known = armed.slot_ns, self._timetable.jobs.get(armed.job.id)
        return slot_ns is not None and known is armed and armed.due_at(slot_ns) <= self._until_ns
