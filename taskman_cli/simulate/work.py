"""What commands do, and what a machine has: plain data of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from taskman_cli.core.clock import SECOND_NS

#: How much is lost to switching, for each task that waits for a core, and at most.
_SWITCH_SHARE, _SWITCH_MOST = 0.0015, 0.25
_DISK_SWITCH_SHARE = 0.004


class Kind(Enum):
    """What a phase of a command takes."""

    CPU = "cpu"
    SLEEP = "sleep"
    DISK = "disk"


class Phase(NamedTuple):
    """A part of what a command does; how long it takes if it is alone."""

    kind: Kind
    length_ns: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a command does."""

    phases: tuple[Phase, ...]
    #: What it needs at most, and in which time it takes that.
    memory_bytes: int = 0
    ramp_ns: int = SECOND_NS * 3 // 5
    #: How many tasks its phases of CPU time consist of.
    width: int = 1
    #: How long it computes and sleeps if each of its tasks has a core; None: it does other things, or more.
    spans_ns: tuple[float, int] | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        spans_ns, phases = None, self.phases
        if phases and phases[0].kind is Kind.CPU and all(phase.kind is Kind.SLEEP for phase in phases[1:]):
            spans_ns = phases[0].length_ns / self.width, sum(phase.length_ns for phase in phases[1:])
        object.__setattr__(self, "spans_ns", spans_ns)

    @classmethod
    def of(
        cls,
        *,
        cpu_ns: int = 0,
        sleep_ns: int = 0,
        disk_ns: int = 0,
        is_late: bool = False,
        memory_bytes: int = 0,
        ramp_ns: int = SECOND_NS * 3 // 5,
        width: int = 1,
    ) -> Work:
        """Return the work of a command that uses so much; half of the CPU time comes first.

        `is_late`: all CPU time comes last, when it has slept.
        """
        rest = [(Kind.SLEEP, sleep_ns), (Kind.DISK, disk_ns)]
        first_ns = 0 if is_late else cpu_ns // 2 if sleep_ns or disk_ns else cpu_ns
        phases = [(Kind.CPU, first_ns), *rest, (Kind.CPU, cpu_ns - first_ns)]
        return cls(tuple(Phase(*phase) for phase in phases if phase[1] > 0), memory_bytes, ramp_ns, width)

    @property
    def cpu_ns(self) -> int:
        """Return how much CPU time it uses."""
        return sum(length_ns for kind, length_ns in self.phases if kind is Kind.CPU)

    @property
    def alone_ns(self) -> int:
        """Return how long it takes if nothing else runs, without what its start costs."""
        return sum(length_ns // (self.width if kind is Kind.CPU else 1) for kind, length_ns in self.phases)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine has."""

    cores: float
    #: None: there is always enough, and the machine does not say how much.
    memory_bytes: int | None = None
    #: How many commands read and write at full speed at a time.
    disk_width: int = 4
    #: What a start costs, and how long after the decision the process runs.
    start_cpu_ns: int = 3_000_000
    start_lag_ns: int = 5_000_000
    #: Tasks of others that always want a core.
    others: int = 0

    @property
    def start_ns(self) -> int:
        """Return how much longer a command takes because it is started, if nothing else runs."""
        return self.start_lag_ns + self.start_cpu_ns

    def cpu_speed(self, tasks: int) -> float:
        """Return how fast each of so many tasks gets on beside those of others, as far as the cores go."""
        crowd = (tasks + self.others) / self.cores
        if crowd <= 1:  # there may be others that are foreseen, which leave room for these
            return 1.0
        return 1 / crowd / (1 + min(_SWITCH_MOST, _SWITCH_SHARE * (crowd - 1)))

    def disk_speed(self, tasks: int) -> float:
        """Return how fast each of so many tasks reads and writes."""
        if tasks <= self.disk_width:
            return 1.0
        return self.disk_width / tasks / (1 + _DISK_SWITCH_SHARE * (tasks - self.disk_width))


class End(NamedTuple):
    """A command has ended."""

    key: str
    at_ns: int
    cpu_ns: int
    peak_bytes: int
    #: It was the largest when the memory ran out, and was killed.
    is_out_of_memory: bool = False
