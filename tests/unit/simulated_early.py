"""The starts that the supervisor of the simulation holds until a command ends, as the real one does."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.early import Early

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.runs import Attempt

#: As the real supervisor has it.
PATIENCE_NS = 20_000_000


class Generous(Early):
    """Asks for more starts than the real one, and after long commands too: it has to be right at any rate."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._most = chance.choice([0, 1, 2, 5])

    def has_room(self, elapsed_ns: int) -> bool:
        return len(self.attempts) < self._most


class HeldStarts:
    """Starts in the order in which they were asked for, each with when."""

    def __init__(
        self,
        start: Callable[[effects.Start], None],
        has_seat: Callable[[], bool],
        tell: Callable[[events.Event], None],
    ) -> None:
        self._start, self._has_seat, self._tell = start, has_seat, tell
        self._held: deque[tuple[int, effects.Start]] = deque()
        #: How many were held, started and returned.
        self.came = self.begun = self.returned = 0

    @property
    def keys(self) -> list[str]:
        """Return the keys of those that are held."""
        return [start.key for _, start in self._held]

    def put(self, start: effects.Start, now: Now) -> None:
        """Hold a start, or carry it out if there is a seat."""
        assert start.key not in self.keys, "a supervisor is asked once"
        self.came += 1
        self._held.append((now.elapsed_ns, start))
        self.fill(now.elapsed_ns)

    def fill(self, elapsed_ns: int) -> None:
        """Carry starts out, as far as there are seats; what came too long ago goes back."""
        self.return_old(elapsed_ns)
        while self._held and self._has_seat():
            self.begun += 1
            self._start(self._held.popleft()[1])

    def take_back(self, key: str) -> bool:
        """Return one that is held and signalled; tell if it was."""
        for held in self._held:
            if held[1].key == key:
                self._held.remove(held)
                self._return(held[1])
                return True
        return False

    def recall(self) -> None:
        """Return all."""
        while self._held:
            self._return(self._held.popleft()[1])

    def return_old(self, elapsed_ns: int) -> None:
        """Return those that were held for too long."""
        while self._held and self._held[0][0] + PATIENCE_NS <= elapsed_ns:
            self._return(self._held.popleft()[1])

    def drop(self) -> None:
        """Forget all: their scheduler is gone."""
        self._held.clear()

    def _return(self, start: effects.Start) -> None:
        self.returned += 1
        self._tell(events.StartReturned(start.key))


def are_known(early: dict[str, Attempt], held: HeldStarts, news: list[events.Event]) -> bool:
    """Tell whether all that was asked for early is held, or there is news of it."""
    known = {*held.keys, *(getattr(event, "key", "") for event in news)}
    return early.keys() <= known
