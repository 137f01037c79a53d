"""When the engine wants to be woken: the queues of all that is due at some time, on either clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine.queue import earliest_due, is_any_due

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.portions import Portions
    from taskman_cli.core.engine.queue import DueQueue
    from taskman_cli.core.engine.running import Running


class Wake(NamedTuple):
    """When the engine wants its next `Tick`; None: not on this clock."""

    wall_ns: int | None
    elapsed_ns: int | None


class Wakes:
    """Looks into the queues."""

    def __init__(
        self,
        running: Running,
        portions: Portions,
        *,
        slots: DueQueue[str],
        wall: tuple[DueQueue[str], ...],
        elapsed: tuple[DueQueue[str], ...],
    ) -> None:
        """`wall` and `elapsed`: all queues by these clocks, beside that of the slots."""
        self._running, self._portions = running, portions
        self._wall = wall
        self._elapsed = elapsed
        self._slots_and_wall = (slots, *wall)

    def next(self) -> Wake:
        """Return when the next `Tick` is wanted, on each clock."""
        elapsed_ns = earliest_due(self._elapsed)
        if self._running.is_stopping:
            return Wake(None, elapsed_ns)
        wall_ns, herd_ns = earliest_due(self._slots_and_wall), self._portions.next_due
        if herd_ns is not None and (wall_ns is None or herd_ns < wall_ns):
            wall_ns = herd_ns
        return Wake(wall_ns, elapsed_ns)

    def is_wall_due(self, now: Now) -> bool:
        """Tell whether anything but slots may be due by the wall clock: if not, nothing is."""
        return is_any_due(self._wall, now.wall_ns)

    def is_elapsed_due(self, now: Now) -> bool:
        """Tell whether anything may be due by the elapsed clock: if not, nothing is."""
        return is_any_due(self._elapsed, now.elapsed_ns)
