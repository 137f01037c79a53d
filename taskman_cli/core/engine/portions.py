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
        events.AttemptUnstoppable, events.ExecutorTold, events.OrphanAdopted, events.AttemptGone,
        events.SignalsRead, events.MemoryMeasured,
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
        #: By when the rest of a herd was due; None: there is none.
        self.next_due: int | None = None

    def tick(self, now: Now, *, missed_after_ns: int) -> None:
        """Decide on the next jobs that are due."""
        if not self._rest:
            self._begin(now, self._first, missed_after_ns=missed_after_ns)
        else:
            count = len(self._rest) if self._most is None else min(self._most, len(self._rest))
            self._decide(self._take(count), now, missed_after_ns=missed_after_ns)

    def finish(self, now: Now, *, missed_after_ns: int) -> None:
        """Decide on the rest of a herd."""
        if self._rest:
            self._decide(self._take(len(self._rest)), now, missed_after_ns=missed_after_ns)

    def decide_all(self, now: Now, *, missed_after_ns: int) -> None:
        """Decide on all jobs that are due."""
        self.finish(now, missed_after_ns=missed_after_ns)
        self._begin(now, None, missed_after_ns=missed_after_ns)

    def _begin(self, now: Now, most: int | None, *, missed_after_ns: int) -> None:
        """Decide on the jobs that are due by now, at most so many of them."""
        if not self._timetable.is_due(now.wall_ns):
            return  # it is for something else
        due = self._timetable.pop_due(now.wall_ns)
        self._until_ns = now.wall_ns
        if most is not None and len(due) > most:
            # As they are going to wait for a seat; of the same priority, those that are due first.
            due.sort(key=lambda armed: -armed.job.policy.priority)
            self._rest.extend(due[most:])
            del due[most:]
        if due:
            self._decide(due, now, missed_after_ns=missed_after_ns)

    def _take(self, count: int) -> list[ArmedJob]:
        """Take the next jobs of the rest, without those that are not due any more."""
        portion = [self._rest.popleft() for _ in range(count)]
        return [armed for armed in portion if self._is_due(armed)]

    def _decide(self, portion: list[ArmedJob], now: Now, *, missed_after_ns: int) -> None:
        """Decide on some jobs; what is then in `_rest` is still to be decided on."""
        slots, outbox, until_ns = self._slots, self._outbox, self._until_ns
        if self._rest:
            self.next_due = until_ns
            outbox.records.append(effects.SlotsDecided(tuple(armed.job.id for armed in portion), until_ns))
        else:
            self.next_due = None
            self._account(until_ns)
        for armed in portion:
            outbox.subject = armed.job.id
            slots.decide(armed, now, until_ns=until_ns, missed_after_ns=missed_after_ns)
        outbox.subject = None

    def _is_due(self, armed: ArmedJob) -> bool:
        """Tell whether a job is still there, and due."""
        slot_ns, known = armed.slot_ns, self._timetable.jobs.get(armed.job.id)
        return slot_ns is not None and known is armed and armed.due_at(slot_ns) <= self._until_ns
