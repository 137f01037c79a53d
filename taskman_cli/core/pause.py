"""Why a job has no new runs: a pause, which somebody asked for, or a park, which its failures led to."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when a job has no new runs, and why."""

    since_ns: int
    #: When it ends by itself; None: at `resume`.
    until_ns: int | None = None
    reason: str = ""
    #: Who paused it, in words.
    by: str = ""
    #: What is left of its interval; None: its slots are on the wall clock, or it waits for a run to end.
    left_ns: int | None = None
    #: `until_ns` was given as a time, not as a duration.
    is_until: bool = False
    #: Runs up to this number are stopped, and none of their tasks begins; None: they continue.
    stops_to: int | None = None

    def covers(self, wall_ns: int) -> bool:
        """Tell whether it is still in force at an instant."""
        return self.until_ns is None or wall_ns < self.until_ns

    def moved(self, delta_ns: int) -> Pause:
        """Return the pause after a step of the clock: it stays as long unless the end was given as a time."""
        until_ns = self.until_ns
        if until_ns is not None and not self.is_until:
            until_ns += delta_ns
        return replace(self, since_ns=self.since_ns + delta_ns, until_ns=until_ns)


@dataclass(frozen=True, slots=True)
class Park:
    """Since when a job has no new runs because its runs failed, and why."""

    since_ns: int
    #: In words, after which failures.
    reason: str
    #: From then on its next slot is tried; None: not before `resume`.
    until_ns: int | None = None
    #: The run that is tried: its success ends the park.
    trial: str = ""

    def covers(self, due_ns: int) -> bool:
        """Tell whether a slot that is due then is skipped."""
        return self.until_ns is None or due_ns < self.until_ns

    def moved(self, delta_ns: int) -> Park:
        """Return the park after a step of the clock: it stays as long."""
        until_ns = None if self.until_ns is None else self.until_ns + delta_ns
        return replace(self, since_ns=self.since_ns + delta_ns, until_ns=until_ns)


@dataclass(frozen=True, slots=True)
class Failures:
    """The failed runs of a job since its last success, and whether they parked it."""

    count: int
    #: The latest of them, oldest first.
    runs: tuple[str, ...]
    #: The fingerprint of the definition that they are of.
    definition: str
    park: Park | None = None
