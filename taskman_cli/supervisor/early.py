"""Starts that the scheduler asks for while all seats are taken: the next is made when a command ends.

Each of them is on record as one that has no process yet, so all of them can be dropped with the scheduler:
the next one starts them. What is not started within a moment goes back, and so does all when the program is
to stop or has no room for a process. The first ones may wait in the process of an executor (`ahead`).
"""

from __future__ import annotations

from collections import deque

from taskman_cli.supervisor import limits
from taskman_cli.supervisor.timers import elapsed_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from taskman_cli.supervisor.children import Children
    from taskman_cli.supervisor.wire import Message


class EarlyStarts:
    """Carries starts out, or holds them in order while as many commands run as there are seats."""

    def __init__(
        self, children: Children, after: Callable[[int, Callable[[], None]], None], outbox: list[Message]
    ) -> None:
        """`outbox` takes what the scheduler is to be told."""
        self._children = children
        self._ahead = children.hosts.ahead
        self._after = after
        self._outbox = outbox
        #: (when it came, the start)
        self._held: deque[tuple[int, Message]] = deque()
        self._has_timer = self._is_closed = False
        #: When the last scheduler was gone.
        self._dropped_ns = 0
        #: None: nobody has said.
        self._seats: int | None = None

    @property
    def is_busy(self) -> bool:
        """Tell whether there is enough to do until the scheduler has heard of what has ended."""
        return len(self._held) > limits.FEW_EARLY or len(self._ahead) > limits.FEW_AHEAD

    @property
    def kinds(self) -> dict[str, Callable[..., None]]:
        """Return who handles which of the scheduler's messages."""
        return {
            "environment": self._children.environments.take,
            "start": self.start,
            "seats": self.set_seats,
            "recall": self.recall,
            "signal": self.signal,
        }

    def start(self, key: str, meta: Any = None, spec: Any = None, is_early: bool = False) -> None:
        """Start a command; or hold it, if it was asked for early."""
        if not is_early:
            self._begin(key, meta, spec)
        elif self._is_closed:
            self._outbox.append(("returned", key))
        else:
            self._hold(key, meta, spec)

    def _hold(self, key: str, meta: Any, spec: Any) -> None:
        """Hold a start until the loop calls `fill`, when it has read what came with it."""
        if not isinstance(key, str):
            raise TypeError("a key must be a string")
        self._children.environments.look_up(spec)
        self._held.append((elapsed_ns(), (key, meta, spec)))
        if not self._has_timer:
            self._wait(limits.EARLY_PATIENCE_NS)

    def fill(self) -> None:
        """Start what is held, as far as there are seats; what came too long ago goes back even then."""
        held, ahead = self._held, self._ahead
        if not held and not ahead:
            return
        self._return_old(elapsed_ns())
        while (held or ahead) and self._free_seats() > 0:
            if not ahead.seat_first():
                if not held:
                    break
                self._begin(*held.popleft()[1])
        if ahead and self._free_seats() < 0:  # fewer may run by now
            ahead.recall()
        while held and self._children.hosts.start_ahead(held[0][0], *held[0][1]):
            held.popleft()

    def _free_seats(self) -> int:
        return 1 if self._seats is None else self._seats - self._children.seated_count()

    def _begin(self, *start: Any) -> None:
        told = self._children.start(*start)
        if told is None:
            return
        self._outbox.append(told)
        if told[0] == "failed" and told[4]:  # there is no room: all starts pause
            self.recall()

    def set_seats(self, seats: int) -> None:
        """Note how many commands may run while starts are held."""
        self._seats = int(seats)
        self.fill()

    def signal(self, key: str, number: int, ending: str) -> None:
        """Signal an attempt; one that is held goes back, and never gets it."""
        for held in self._held:
            if held[1][0] == key:
                self._held.remove(held)
                self._outbox.append(("returned", key))
                return
        self._children.signal(key, number, ending)

    def recall(self) -> None:
        """Return all that is held."""
        self._outbox += [("returned", start[0]) for _, start in self._held]
        self._held.clear()
        self._ahead.recall()

    def close(self) -> None:
        """Hold nothing any more: the program is to stop."""
        self._is_closed = True
        self.recall()

    def drop(self) -> None:
        """Forget what is held: its scheduler is gone, and the next one starts it."""
        self._held.clear()
        self._ahead.recall()
        self._seats = None
        self._dropped_ns = elapsed_ns()

    def is_settled(self, again: Callable[[], None]) -> bool:
        """Tell whether the next scheduler can be told what runs; if not, call `again` in a moment.

        It can when each start that an executor had has begun or is back: what is not back for too long has
        begun, most likely.
        """
        if self._ahead and elapsed_ns() >= self._dropped_ns + limits.RETURN_PATIENCE_NS:
            self._ahead.seat_all()
        if self._ahead:
            self._after(limits.RETURN_LOOK_NS, again)
        return not self._ahead

    def _wait(self, for_ns: int) -> None:
        self._has_timer = True
        self._after(for_ns, self._time_is_up)

    def _time_is_up(self) -> None:
        self._has_timer = False
        now_ns = elapsed_ns()
        self._return_old(now_ns)
        first_ns = self._ahead.first_ns or (self._held[0][0] if self._held else None)
        if first_ns is not None:
            self._wait(first_ns + limits.EARLY_PATIENCE_NS - now_ns)

    def _return_old(self, now_ns: int) -> None:
        """Return what was held for too long, be it that this process was stopped meanwhile."""
        while self._held and self._held[0][0] + limits.EARLY_PATIENCE_NS <= now_ns:
            self._outbox.append(("returned", self._held.popleft()[1][0]))
        self._ahead.recall_old(now_ns - limits.EARLY_PATIENCE_NS)
