"""Where the contestants of the benchmark of the pool play: the model of a machine, and work that comes to it.

The machine is the one of `taskman simulate`. Here are its clock in seconds, what comes when, and what became
of each.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.simulate.machine import Hardware, Machine
from taskman_cli.simulate.machine import Work as Doing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from taskman_cli.simulate.machine import End

    class Pool(Protocol):
        """What decides which work starts when."""

        #: When it wants its next turn even if nothing happens, in nanoseconds.
        wake_ns: float
        #: How many it says that it wants to run now.
        target: int

        def arrived(self, work: Work) -> None: ...
        def ended(self, work: Work, end: End) -> None: ...
        def turn(self) -> None: ...


MB = 1 << 20
#: What is killed so often is not tried again.
MOST_TRIES = 4
#: Where plays end that would take too long.
HORIZON_S = 2000.0
SAMPLE_NS = SECOND_NS
#: How often, of a hundred looks, a task of others is runnable.
FLICKER = 8


@dataclass(slots=True, eq=False)
class Work:
    """Something to be done, and what became of it; a start costs CPU time on top."""

    kind: str
    at_s: float
    cpu_s: float = 0.0
    sleep_s: float = 0.0
    disk_s: float = 0.0
    memory_mb: float = 5.0
    #: How long it takes to have all of its memory.
    ramp_s: float = 0.6
    priority: int = 0
    #: It burns at its end only, so it looks like a sleeper first.
    is_late: bool = False
    number: int = 0
    started_s: float = inf
    ended_s: float = inf
    kills: int = 0

    @property
    def at_ns(self) -> int:
        """Return when it comes."""
        return round(self.at_s * SECOND_NS)

    @property
    def doing(self) -> Doing:
        """Return what it does, as the machine takes it."""
        cpu, sleep, disk, ramp = (
            round(seconds * SECOND_NS) for seconds in (self.cpu_s, self.sleep_s, self.disk_s, self.ramp_s)
        )
        return Doing.of(
            cpu_ns=cpu, sleep_ns=sleep, disk_ns=disk, is_late=self.is_late, ramp_ns=ramp,
            memory_bytes=int(self.memory_mb * MB),
        )  # fmt: skip

    @property
    def alone_s(self) -> float:
        """Return how long it takes on a machine without anything else."""
        return self.cpu_s + START_CPU_S + self.sleep_s + self.disk_s

    @property
    def wait_s(self) -> float:
        """Return how long it waited for its first start."""
        return min(self.started_s, HORIZON_S) - self.at_s

    @property
    def response_s(self) -> float:
        """Return how long it took from its arrival to its end."""
        return min(self.ended_s, HORIZON_S) - self.at_s


START_CPU_S = Hardware(1).start_cpu_ns / SECOND_NS
LAG_S = Hardware(1).start_lag_ns / SECOND_NS


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stood at one moment."""

    at_s: float
    target: int
    running: int


@dataclass
class Stage:
    """Plays work on a machine."""

    cpus: int
    memory_mb: float
    works: list[Work]
    pool: Pool
    now_ns: int = 0
    running: dict[str, Work] = field(default_factory=dict)
    #: How long more memory was in use than there is.
    over_ns: int = 0
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.works.sort(key=lambda work: work.at_s)
        for number, work in enumerate(self.works):
            work.number = number
        self.machine = Machine(Hardware(self.cpus, int(self.memory_mb * MB)))
        self._flicker = 7
        self._open = len(self.works)

    @property
    def now_s(self) -> float:
        """Return the time."""
        return self.now_ns / SECOND_NS

    @property
    def peak(self) -> float:
        """Return the most memory that was in use, as a share of what there is."""
        return self.machine.peak_bytes / MB / self.memory_mb

    @property
    def runnable(self) -> int:
        """Return how many tasks are runnable as the kernel counts them: those of others flicker a little."""
        self._flicker = (self._flicker * 1103515245 + 12345) & 0x7FFFFFFF
        return self.machine.runnable + (self._flicker % 100 < FLICKER)

    def start(self, work: Work, key: str) -> None:
        """Start some work."""
        self.running[key] = work
        work.started_s = min(work.started_s, self.now_s)
        self.machine.begin(key, work.doing, self.now_ns)

    def play(self) -> Stage:
        """Play until all work is done, or for so long that the rest does not matter."""
        arrivals = deque(self.works)
        sample_ns = SAMPLE_NS
        while self._open:
            next_ns = self.machine.next_ns()
            until_ns = min(
                arrivals[0].at_ns if arrivals else inf,
                inf if next_ns is None else next_ns,
                self.pool.wake_ns,
                sample_ns,
            )
            if until_ns > HORIZON_S * SECOND_NS:
                break
            self._advance(max(self.now_ns, int(until_ns)))
            if sample_ns <= self.now_ns:
                self.samples.append(Sample(self.now_s, self.pool.target, len(self.running)))
                sample_ns += SAMPLE_NS
            while arrivals and arrivals[0].at_ns <= self.now_ns:
                self.pool.arrived(arrivals.popleft())
            self.pool.turn()
        return self

    def _advance(self, to_ns: int) -> None:
        if self.machine.used_bytes > self.memory_mb * MB:
            self.over_ns += to_ns - self.now_ns
        self.now_ns = to_ns
        for end in self.machine.advance(to_ns):
            work = self.running.pop(end.key)
            work.kills += end.is_out_of_memory
            if not end.is_out_of_memory or work.kills >= MOST_TRIES:
                work.ended_s = self.now_s
                self._open -= 1
            self.pool.ended(work, end)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of all are below; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
