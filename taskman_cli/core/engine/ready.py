"""Attempts that wait for a seat, in order.

Those that need the same resources are one line, so that a line is skipped as a whole when its first does not
fit. Those for executors have lines of their own, which the load of this machine does not hold back. Most jobs
need no resource: then there are no other lines than these two, and the rest of this file costs nothing.

The first attempt in order that does not fit reserves all it needs. What comes behind may pass it only if that
still leaves the reserved amounts untouched. Otherwise small needs could pass a large one for ever.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.executors import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from taskman_cli.core.engine.resources import Resources
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Amounts


#: What the attempts of a line need, whether they have a priority over 0, and whether they run elsewhere.
Kind = tuple["Amounts", bool, bool]
_HERE: Kind = ((), False, False)
_FAR: Kind = ((), False, True)


class Lack(NamedTuple):
    """Why the first attempt of a line cannot start."""

    #: The resource that there is not enough of.
    resource: str
    #: There would be enough of it, if the first attempt that does not fit had not reserved it.
    is_reserved: bool
    #: When the rate of the resource lets it start, on the elapsed clock; None: it waits for others to end.
    ready_ns: int | None


class Ready:
    """The waiting attempts, by key."""

    def __init__(self, ageing_ns: int | None, scarce: Callable[[Amounts], Amounts]) -> None:
        """`scarce` returns which of the needs of an attempt may have to be waited for."""
        self._ageing_ns = ageing_ns
        self._scarce = scarce
        #: Attempts with a priority over 0 have lines of their own: some may start before the others.
        self._has_urgent_lines = False
        self._here: DueQueue[str] = DueQueue()
        self._far: DueQueue[str] = DueQueue()
        self._lines: dict[Kind, DueQueue[str]] = {_HERE: self._here, _FAR: self._far}
        #: Nothing that waits needs a resource, or may start before others for its priority.
        self.is_plain = True
        #: How many attempts were put so far: of equal rank, the first that came goes first, in any line.
        self._arrivals = 0

    def kind_of(self, attempt: Attempt) -> Kind:
        """Return which line an attempt belongs to."""
        is_urgent = self._has_urgent_lines and attempt.run.job.policy.priority > 0
        execution = attempt.task.execution
        needs = execution.resources
        return (
            (self._scarce(needs), is_urgent, execution.executor != LOCAL) if needs else ((), is_urgent, False)
        )

    def __len__(self) -> int:
        if self.is_plain:
            return len(self._here._entries) + len(self._far._entries)  # asked at each step
        return sum(map(len, self._lines.values()))

    def peek(self) -> str | None:
        """Return the key of the first attempt, if all are plain."""
        return self._first_line().peek()

    def peek_far(self) -> str | None:
        """Return the key of the first attempt that runs elsewhere, if all are plain."""
        return self._far.peek()

    def _first_line(self) -> DueQueue[str]:
        """Return the line of the first attempt, if all are plain."""
        if not self._far._entries:  # as it mostly is
            return self._here
        here, far = self._here.head(), self._far.head()
        return self._here if here is not None and far is not None and here < far else self._far

    def put(self, attempt: Attempt) -> None:
        """Add an attempt."""
        line = self._here
        is_urgent = self._has_urgent_lines and attempt.run.job.policy.priority > 0
        if is_urgent or attempt.task.execution.resources:  # each executor is one
            line = self._line_of(attempt)
        if not attempt.place:  # or it comes back
            self._arrivals += 1
            attempt.place = self._arrivals
        line.put(attempt.key, rank(attempt, self._ageing_ns), place=attempt.place)

    def _line_of(self, attempt: Attempt) -> DueQueue[str]:
        """Return the line of an attempt, or a new one."""
        kind = self.kind_of(attempt)
        line = self._lines.get(kind)
        if line is None:
            line = self._lines[kind] = DueQueue()
            self.is_plain = False
        return line

    def take(self, attempt: Attempt) -> None:
        """Take out an attempt that is the first of its line."""
        if self.is_plain:
            self._lines[self.kind_of(attempt)].pop()
        else:
            self.remove(attempt)

    def remove(self, attempt: Attempt) -> None:
        """Take an attempt out, if it is there."""
        kind = self.kind_of(attempt)
        line = self._lines.get(kind)
        if line is not None:
            line.remove(attempt.key)
            self._tidy(kind, line)

    def first(self, count: int) -> list[str]:
        """Return the keys of the first attempts, in order."""
        firsts = [item for line in self._lines.values() for item in line.first_placed(count)]
        return [key for _, _, key in sorted(firsts)[:count]]

    def order(self, attempts: list[Attempt], ageing_ns: int | None, *, has_urgent_lines: bool) -> None:
        """Put the waiting attempts in order anew, by another pace of ageing."""
        self._ageing_ns, self._has_urgent_lines = ageing_ns, has_urgent_lines
        self._here, self._far = DueQueue(), DueQueue()
        self._lines, self.is_plain = {_HERE: self._here, _FAR: self._far}, True
        for attempt in attempts:
            self.put(attempt)

    def pop(self, resources: Resources, elapsed_ns: int) -> str | None:
        """Take out the first attempt that may start, and return its key, or None."""
        if self.is_plain:
            return self._first_line().pop()
        for kind, line, lacking, _ in self.heads(resources, elapsed_ns):
            if lacking is None:
                key = line.pop()
                self._tidy(kind, line)
                return key
        return None

    def heads(
        self, resources: Resources, elapsed_ns: int
    ) -> Iterator[tuple[Kind, DueQueue[str], str | None, Mapping[str, int]]]:
        """Yield the lines in the order of their first attempts, with what each of those lacks.

        That is the name of a resource, with what is reserved of all before it; see `lack_of`.
        """
        firsts = [
            (head, kind, line) for kind, line in self._lines.items() if (head := line.head()) is not None
        ]
        reserved: dict[str, int] = {}
        for _, kind, line in sorted(firsts, key=itemgetter(0)):
            needs, *_ = kind
            name = resources.lacking(needs, reserved, elapsed_ns) if needs else None
            yield kind, line, name, reserved
            if name is not None and not reserved:
                reserved = dict(resources.needs(needs))

    def _tidy(self, kind: Kind, line: DueQueue[str]) -> None:
        """Forget a line that is empty."""
        if not line and kind not in (_HERE, _FAR):
            del self._lines[kind]
            self.is_plain = len(self._lines) == 2


def lack_of(
    name: str, needs: Amounts, reserved: Mapping[str, int], resources: Resources, elapsed_ns: int
) -> Lack:
    """Say more of a resource that the first attempt of a line lacks."""
    amount = dict(needs)[name]
    is_free = resources.is_free(name, amount, reserved)
    ready_ns = resources.ready_ns(name, amount, reserved, elapsed_ns) if is_free else None
    return Lack(name, not is_free and resources.is_free(name, amount, {}), ready_ns)


def rank(attempt: Attempt, ageing_ns: int | None) -> int:
    """Return an attempt's place among those that wait: the lowest number goes first.

    All of them gain priority at the same rate, so their order never changes, and no clock is needed: one
    step of priority is worth `ageing_ns` of waiting. Equal ones go by due time; None: waiting gains nothing.
    """
    assert attempt.waits_since_ns is not None  # it is in the queue
    priority = attempt.run.job.policy.priority
    ahead = -priority if ageing_ns is None else attempt.waits_since_ns - priority * ageing_ns
    # One number orders by rank first and due time second: no two instants are 2**64 ns apart.
    return (ahead << 64) + attempt.run.due_ns
