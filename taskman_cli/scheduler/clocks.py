"""The two clocks, and what happened between two readings: a step of the wall clock, or a suspend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskman_cli.core.engine import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.scheduler.machine_zone import MachineZone


class Clocks:
    """Reads both clocks; `slept` returns how long the machine has slept since boot."""

    def __init__(
        self,
        read: Callable[[], Now],
        slept: Callable[[], int],
        zone: MachineZone | None = None,
        tick: Callable[[], int] = lambda: 0,
    ) -> None:
        self.zone = zone
        #: Reads a clock for how long something of ours takes, in nanoseconds.
        self.tick = tick
        self._read = read
        self._slept = slept
        self.now = read()
        self._slept_ns = slept()
        self._offset_ns = self.now.wall_ns - self.now.elapsed_ns
        #: When the next reading was due, on each clock.
        self._wanted: tuple[int | None, int | None] = (None, None)

    def look(self, *, step_ns: int) -> list[events.Event]:
        """Set `now`; return clock steps and suspends of at least `step_ns` since the last reading."""
        changes: list[events.Event] = []
        self.now = self._read()
        before_slept_ns, self._slept_ns = self._slept_ns, self._slept()
        if self._slept_ns - before_slept_ns >= step_ns:
            changes.append(events.Suspended(self._slept_ns - before_slept_ns))
        before_ns, self._offset_ns = self._offset_ns, self.now.wall_ns - self.now.elapsed_ns
        if delta_ns := self.step_since(before_ns, step_ns=step_ns):
            changes.append(events.ClockStepped(delta_ns))
        return changes

    def take_zone_news(self, *, is_asked: bool = False) -> str | None:
        """Look at the machine's time zone if that is due or asked for; return what is different, once."""
        if self.zone is None or not (is_asked or self.zone.is_due(self.now.elapsed_ns)):
            return None
        return self.zone.check(self.now.elapsed_ns)

    def step_since(self, before_ns: int | None, *, step_ns: int) -> int:
        """Return the step of the wall clock since the difference of the clocks was `before_ns`."""
        delta_ns = 0 if before_ns is None else self._offset_ns - before_ns
        return delta_ns if abs(delta_ns) >= step_ns else 0

    def want(self, wall_ns: int | None, elapsed_ns: int | None) -> None:
        """Note when the next reading is due; a time in the past counts as now."""
        self._wanted = (
            None if wall_ns is None else max(wall_ns, self.now.wall_ns),
            None if elapsed_ns is None else max(elapsed_ns, self.now.elapsed_ns),
        )

    def take_late_ns(self) -> int:
        """Return, once, how late this reading is: the process did not get to run."""
        wall_ns, elapsed_ns = self._wanted
        late_ns = max(
            0 if wall_ns is None else self.now.wall_ns - wall_ns,
            0 if elapsed_ns is None else self.now.elapsed_ns - elapsed_ns,
        )
        if late_ns > 0:
            self._wanted = None, None
        return late_ns


def is_due(at_ns: int | None, now_ns: int) -> bool:
    """Tell whether a time has come; None never comes."""
    return at_ns is not None and at_ns <= now_ns
