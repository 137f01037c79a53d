"""A machine in virtual time: cores, disk and memory that commands share. The benchmark of the pool uses it.

It is a model. All that burns shares the cores equally, and many at once lose a little to switching; a disk
serves four readers at full speed; a machine that is over its memory runs at a tenth of its speed, and 20 %
over it the kernel kills the largest command. A command burns a few milliseconds to start, runs that much
later than it was decided on, and takes its memory in steps. Nothing is random, so a play can be repeated.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Pool(Protocol):
        """What decides which command starts when."""

        #: When it wants its next turn even if nothing happens, in seconds.
        wake_s: float
        #: How many it says that it wants to run now.
        target: int

        def arrived(self, work: Work) -> None: ...
        def appeared(self, command: Command) -> None: ...
        def ended(self, command: Command, *, is_killed: bool) -> None: ...
        def turn(self) -> None: ...


#: From the decision to the first instruction, and what a start costs of a core, in seconds.
LAG_S, START_CPU_S = 0.005, 0.003
#: What a command has in memory as soon as it runs, in MB.
FIRST_MB = 3.0
#: Swapping: how much slower it all is; and above which share of its memory the kernel kills.
SWAP_SPEED, KILL_SHARE = 0.1, 1.2
#: A command that was killed so often is not tried again.
MOST_TRIES = 4
DISK_READERS = 4
#: Where plays end that would take too long.
HORIZON_S = 2000.0
SAMPLE_S = 1.0


class Use(NamedTuple):
    """One phase of a command: so many seconds of a core, of the disk, or of sleep."""

    of: str
    amount_s: float


@dataclass(slots=True, eq=False)
class Work:
    """Something to be done: what a command does once it starts, and what became of it."""

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
    def uses(self) -> list[Use]:
        """Return its phases, in order."""
        total = self.cpu_s + START_CPU_S
        pause = [Use("sleep", self.sleep_s), Use("disk", self.disk_s)]
        first = START_CPU_S if self.is_late else total / 2 if self.sleep_s or self.disk_s else total
        uses = [Use("cpu", first), *pause, Use("cpu", total - first)]
        return [use for use in uses if use.amount_s > 1e-9]

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


@dataclass(slots=True, eq=False)
class Command:
    """A process that carries out some work."""

    work: Work
    key: str
    left: deque[Use]
    memory_mb: float = 0.0
    #: The most that it has had so far.
    peak_mb: float = 0.0
    #: What it uses or waits for now.
    uses: Shared | None = None
    is_over: bool = False


class Shared:
    """What advances for all who use it at one rate, so only the least that is left has to be known."""

    def __init__(self) -> None:
        self.count = 0
        self._clock = 0.0
        self._ends: list[tuple[float, int, Command]] = []
        self._order = 0

    def add(self, command: Command, amount_s: float) -> None:
        """Let a command use it."""
        command.uses = self
        self.count += 1
        self._order += 1
        heapq.heappush(self._ends, (self._clock + amount_s, self._order, command))

    def first_s(self, rate: float) -> float:
        """Return after how long the first one has had enough."""
        ends = self._ends
        while ends and ends[0][2].is_over:
            heapq.heappop(ends)
        return max(0.0, ends[0][0] - self._clock) / rate if ends else inf

    def advance(self, work_s: float) -> None:
        """Let each user have so much of it."""
        self._clock += work_s

    def pop(self) -> Command:
        """Take out the one that has had enough."""
        end, _, command = heapq.heappop(self._ends)
        self._clock = max(self._clock, end)
        self.leave(command)
        return command

    def leave(self, command: Command) -> None:
        """Note that a command uses it no more."""
        self.count -= 1
        command.uses = None


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stood at one moment."""

    at_s: float
    target: int
    running: int


@dataclass
class Machine:
    """Plays work on virtual cores."""

    cpus: int
    memory_mb: float
    works: list[Work]
    pool: Pool
    now_s: float = 0.0
    running: dict[str, Command] = field(default_factory=dict)
    used_mb: float = 0.0
    peak_mb: float = 0.0
    #: How long it was over its memory.
    over_s: float = 0.0
    #: How long in total some command waited for memory.
    stalled_s: float = 0.0
    kills: int = 0
    samples: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.works.sort(key=lambda work: work.at_s)
        for number, work in enumerate(self.works):
            work.number = number
        self._cores, self._disk = Shared(), Shared()
        self._shared = {"cpu": self._cores, "disk": self._disk}
        self._timers: list[tuple[float, int, str, Command | None, float]] = []
        self._order = 0
        self._flicker = 7
        self._open = len(self.works)

    # --- what a pool may see, and do ---

    @property
    def runnable(self) -> int:
        """Return how many tasks are runnable, as the kernel counts them: others flicker a little."""
        self._flicker = (self._flicker * 1103515245 + 12345) & 0x7FFFFFFF
        return self._cores.count + (self._flicker % 100 < 8)

    @property
    def burning(self) -> int:
        """Return how many commands use a core or wait for one."""
        return self._cores.count

    def start(self, work: Work, key: str) -> None:
        """Start a command."""
        command = Command(work, key, deque(work.uses))
        self.running[key] = command
        work.started_s = min(work.started_s, self.now_s)
        self._set_memory(command, min(work.memory_mb, FIRST_MB))
        if work.memory_mb > FIRST_MB:
            steps = 4 if work.ramp_s < 2 else 12
            for step in range(1, steps + 1):
                part = step / steps
                self._timer(work.ramp_s * part, "memory", command, work.memory_mb * part)
        self._timer(LAG_S, "begin", command)

    def play(self) -> Machine:
        """Play until all work is done, or for so long that the rest does not matter."""
        arrivals = deque(self.works)
        self._timer(SAMPLE_S, "sample")
        while self._open:
            rate, disk_rate = self._rates()
            core_s = self.now_s + self._cores.first_s(rate)
            disk_s = self.now_s + self._disk.first_s(disk_rate)
            arrival_s = arrivals[0].at_s if arrivals else inf
            until_s = min(arrival_s, self._timers[0][0], core_s, disk_s, self.pool.wake_s)
            if until_s > HORIZON_S:
                break
            if until_s > self.now_s:
                self._advance(until_s - self.now_s, rate, disk_rate)
                self.now_s = until_s
            if core_s <= until_s:
                self._next_use(self._cores.pop())
            if disk_s <= until_s:
                self._next_use(self._disk.pop())
            while self._timers[0][0] <= self.now_s:
                self._expire(*heapq.heappop(self._timers)[2:])
            while arrivals and arrivals[0].at_s <= self.now_s:
                self.pool.arrived(arrivals.popleft())
            self.pool.turn()
        return self

    # --- how it works ---

    def _rates(self) -> tuple[float, float]:
        """Return how much of a core each burning command has, and how fast each reader reads."""
        burning, readers = self._cores.count, self._disk.count
        rate = disk_rate = 1.0
        if burning:
            crowd = burning / self.cpus
            rate = min(1.0, 1 / crowd) / (1 + min(0.25, 0.0015 * max(0.0, crowd - 1)))
            if self.used_mb > self.memory_mb:
                rate *= SWAP_SPEED
        if readers > DISK_READERS:
            disk_rate = DISK_READERS / readers / (1 + 0.004 * (readers - DISK_READERS))
        return rate, disk_rate

    def _advance(self, length_s: float, rate: float, disk_rate: float) -> None:
        self._cores.advance(rate * length_s)
        self._disk.advance(disk_rate * length_s)
        full = self.used_mb / self.memory_mb
        if full > 1:
            self.over_s += length_s
        if full > 0.95 and self._cores.count:
            self.stalled_s += length_s * (0.8 if full > 1 else (full - 0.95) * 6)

    def _timer(self, after_s: float, kind: str, command: Command | None = None, amount: float = 0) -> None:
        self._order += 1
        heapq.heappush(self._timers, (self.now_s + after_s, self._order, kind, command, amount))

    def _expire(self, kind: str, command: Command | None, amount: float) -> None:
        if command is None:
            self.samples.append(Sample(self.now_s, self.pool.target, len(self.running)))
            self._timer(SAMPLE_S, "sample")
        elif command.is_over:
            return
        elif kind == "memory":
            self._set_memory(command, max(amount, FIRST_MB))
        else:
            if kind == "begin":
                self.pool.appeared(command)
            self._next_use(command)

    def _next_use(self, command: Command) -> None:
        if not command.left:
            self._end(command, is_killed=False)
            return
        use = command.left.popleft()
        if use.of == "sleep":
            self._timer(use.amount_s, "wake", command)
        else:
            self._shared[use.of].add(command, use.amount_s)

    def _set_memory(self, command: Command, memory_mb: float) -> None:
        self.used_mb += memory_mb - command.memory_mb
        command.memory_mb = memory_mb
        command.peak_mb = max(command.peak_mb, memory_mb)
        self.peak_mb = max(self.peak_mb, self.used_mb)
        if self.used_mb > KILL_SHARE * self.memory_mb:
            self._kill(max(self.running.values(), key=lambda each: (each.memory_mb, each.work.number)))

    def _kill(self, command: Command) -> None:
        self.kills += 1
        command.work.kills += 1
        if command.uses is not None:
            command.uses.leave(command)
        self._end(command, is_killed=True)

    def _end(self, command: Command, *, is_killed: bool) -> None:
        command.is_over = True
        del self.running[command.key]
        self.used_mb -= command.memory_mb
        if not is_killed or command.work.kills >= MOST_TRIES:
            command.work.ended_s = self.now_s
            self._open -= 1
        self.pool.ended(command, is_killed=is_killed)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that this share of all are below; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
