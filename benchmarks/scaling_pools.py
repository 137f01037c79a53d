"""The contestants of the benchmark of the pool: rules written here, and the product's own engine and gate.

All of them play on the same stage. What a rule may look at is what it would know: a fixed pool its
seats, go-taskman's controller arrivals and run times, the know-all rules the demands of each command.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING

from scaling_stage import LAG_S, MOST_TRIES

from taskman_cli.core import protocol
from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.model import Execution, Exit, Job, Overlap, Policy, Retry, Settings, Task
from taskman_cli.core.schedule import Reboot
from taskman_cli.core.tuning import Admission
from taskman_cli.simulate.clock import later

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scaling_stage import Stage, Work

    from taskman_cli.simulate.machine import End

#: Rules that wait for a core look again after this long.
LOOK_NS = SECOND_NS // 100


class Rule:
    """Starts what waits, by priority and arrival, while it may."""

    stage: Stage
    wake_ns = inf

    def __init__(self) -> None:
        self._waiting: list[tuple[int, float, int, Work]] = []
        self._starts = 0

    @property
    def target(self) -> int:
        return len(self.stage.running)

    def arrived(self, work: Work) -> None:
        heapq.heappush(self._waiting, (-work.priority, work.at_s, work.number, work))

    def ended(self, work: Work, end: End) -> None:
        self.over(work, end.key)
        if end.is_out_of_memory and work.kills < MOST_TRIES:
            self.arrived(work)

    def turn(self) -> None:
        self.wake_ns = inf
        while self._waiting and self.may_start(self._waiting[0][-1]):
            work = heapq.heappop(self._waiting)[-1]
            self._starts += 1
            self.starts(work)
            self.stage.start(work, str(self._starts))

    # --- what the rules differ in ---

    def may_start(self, work: Work) -> bool:
        raise NotImplementedError

    def starts(self, work: Work) -> None:
        pass

    def over(self, work: Work, key: str) -> None:
        pass


class Fixed(Rule):
    """A pool of so many seats."""

    def __init__(self, seats: float) -> None:
        super().__init__()
        self._seats = seats

    def may_start(self, work: Work) -> bool:
        return len(self.stage.running) < self._seats


class KnowAll(Rule):
    """Knows what each command will do: starts it if a core is free for it and its memory fits.

    `slack` more than there are cores may burn at once; `is_careful`: what the running ones will still burn
    counts as well.
    """

    def __init__(self, slack: int, *, is_careful: bool) -> None:
        super().__init__()
        self._slack, self._is_careful = slack, is_careful
        self._booked_mb = self._shares = 0.0
        self._young: list[float] = []

    def may_start(self, work: Work) -> bool:
        stage = self.stage
        if self._booked_mb + work.memory_mb > stage.memory_mb and stage.running:
            return False
        self._young = [at_s for at_s in self._young if at_s > stage.now_s - LAG_S + 1e-9]
        fits = stage.machine.runnable + len(self._young) < stage.cpus + self._slack
        if fits and self._is_careful and stage.running and work.cpu_s > 0.05:
            fits = self._shares + work.cpu_s / work.alone_s <= stage.cpus * 1.3
        if not fits:
            self.wake_ns = stage.now_ns + LOOK_NS
        return fits

    def starts(self, work: Work) -> None:
        self._booked_mb += work.memory_mb
        self._shares += work.cpu_s / work.alone_s
        self._young.append(self.stage.now_s)

    def over(self, work: Work, key: str) -> None:
        self._booked_mb -= work.memory_mb
        self._shares -= work.cpu_s / work.alone_s


class Average:
    """A value that follows another, once quickly and once slowly."""

    def __init__(self) -> None:
        self.fast = self.slow = 0.0

    def note(self, value: float) -> None:
        self.fast = 0.4 * value + 0.6 * self.fast if self.fast else value
        self.slow = 0.1 * value + 0.9 * self.slow if self.slow else value

    def mix(self, weight: float) -> float:
        return weight * self.fast + (1 - weight) * self.slow


class GoTaskman(Rule):
    """The controller of go-taskman as its README describes it: seats by arrivals times run time, at 70 %.

    Up at most every 2 s, with a quarter on top of what waits; down by two every 30 s; changes of up to 10 %
    are left out unless something waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seats = 1
        self._rate, self._length = Average(), Average()
        self._arrivals = 0
        self._lengths: list[float] = []
        self._last_s = 0.0
        self._next_s = 1.0
        self._up_s = self._down_s = -inf
        self._began: dict[str, float] = {}

    @property
    def target(self) -> int:
        return self._seats

    def arrived(self, work: Work) -> None:
        super().arrived(work)
        self._arrivals += 1
        self._scale()

    def turn(self) -> None:
        while self.stage.now_s >= self._next_s:
            self._next_s += 1
            self._rate.note(self._arrivals)
            if self._lengths:
                self._last_s = sum(self._lengths) / len(self._lengths)
            self._length.note(self._last_s)
            self._arrivals = 0
            self._lengths.clear()
            self._scale()
        super().turn()
        self.wake_ns = self._next_s * SECOND_NS

    def may_start(self, work: Work) -> bool:
        return len(self.stage.running) < self._seats

    def starts(self, work: Work) -> None:
        self._began[str(self._starts)] = self.stage.now_s

    def over(self, work: Work, key: str) -> None:
        self._lengths.append(self.stage.now_s - self._began.pop(key))

    def _wanted(self, waiting: int, running: int) -> int:
        weight = 0.7 if self._rate.fast > self._rate.slow * 1.02 else 0.4
        demand = self._rate.mix(weight) * self._length.mix(weight) / 0.7 if waiting or running else 1
        free = max(0, self._seats - running)
        now = (self._seats + waiting - free) * 1.25 if waiting and waiting >= free else 0
        return max(1, min(1024, math.ceil(max(demand, now))))

    def _scale(self) -> None:
        now_s, waiting, running = self.stage.now_s, len(self._waiting), len(self.stage.running)
        wanted, seats = self._wanted(waiting, running), self._seats
        is_pressed = waiting > 0 and wanted > seats
        is_idle = wanted < seats and not running and not waiting
        is_small = abs(wanted - seats) <= max(1, math.ceil(seats * 0.1))
        if wanted == seats or (is_small and not is_pressed and not is_idle):
            return
        if wanted > seats and now_s - self._up_s >= 2:
            self._seats, self._up_s = wanted, now_s
        elif wanted < seats and now_s - self._down_s >= 30:
            self._seats, self._down_s = seats - min(2, seats - wanted), now_s


# --- the product ---

#: When virtual time begins, on both clocks.
START = Now(1_795_492_800 * SECOND_NS, 1_000 * SECOND_NS)
#: How long it takes to look at the memory of commands.
MEASURE_NS = 3_000_000


@dataclass
class Laws:
    """How the published target behaved: the worst of each."""

    #: How far it was ever below what ran.
    below_running: int = 0
    #: The smallest fall, as a share of what it was.
    least_fall: float = inf
    #: The shortest time between two lines of the journal.
    least_gap_s: float = inf
    lines: list[tuple[float, int, int]] = field(default_factory=list)
    shown: int = 0

    def look(self, target: int, running: int) -> None:
        """Note the target after a step."""
        self.below_running = max(self.below_running, running - target)
        if target < self.shown:
            self.least_fall = min(self.least_fall, 1 - target / self.shown)
        self.shown = target

    def line(self, at_s: float, before: int, value: int) -> None:
        """Note a line of the journal."""
        if self.lines:
            self.least_gap_s = min(self.least_gap_s, round(at_s - self.lines[-1][0], 6))
        if value < before:
            self.least_fall = min(self.least_fall, 1 - value / before)
        self.lines.append((at_s, before, value))


class Taskman:
    """The product's engine, with its gate, as the scheduler's loop drives it."""

    stage: Stage

    def __init__(
        self,
        works: list[Work],
        *,
        settings: Settings | None = None,
        needs: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """`needs`: what earlier runs have taught, by job and task."""
        self.wake_ns = inf
        self.laws = Laws()
        self.needs: dict[tuple[str, str], int] = dict(needs or {})
        #: What waits to be told to the engine, and what a look at the machine's memory will find.
        self._news: list[Callable[[], None]] = []
        self._looks: list[tuple[int, tuple[str, ...]]] = []
        self._works: dict[str, Work] = {}
        self._token = 0
        self.counts: Counter[str] = Counter()
        self.engine = Engine(settings or AUTO)
        jobs = {work.kind: _job(work) for work in works}
        self._loaded = events.JobsLoaded(
            tuple(jobs.values()), is_new_boot=False, is_new_life=False, needs=self.needs
        )
        self._is_loaded = False

    @property
    def target(self) -> int:
        return self.engine.pool.target.value(self._now.elapsed_ns, self.engine.settings.admission_tuning)

    @property
    def _now(self) -> Now:
        return later(START, self.stage.now_ns)

    # --- what happens ---

    def arrived(self, work: Work) -> None:
        self._news.append(lambda: self._trigger(work))

    def ended(self, work: Work, end: End) -> None:
        code, signum = (None, 9) if end.is_out_of_memory else (0, None)
        found = Exit(exit_code=code, signal=signum, peak_rss_bytes=end.peak_bytes)
        self._news.append(lambda: self._give(events.AttemptEnded(end.key, found, self._now)))

    def turn(self) -> None:
        """Do what one turn of the loop does: tell all that happened, tick, look at the machine."""
        if not self._is_loaded:
            self._is_loaded = True
            self._see()
            self._give(self._loaded)
        while True:
            news, self._news = self._news, []
            for tell in news:
                tell()
            while self._looks and self._looks[0][0] <= self.stage.now_ns:
                self._measured(self._looks.pop(0)[1])
            wake_ns = self.engine.next_wake().elapsed_ns
            if wake_ns is not None and wake_ns <= self._now.elapsed_ns:
                self._give(events.Tick())
            if self.engine.pool.wants_signals:
                self._see()
            if not self._news:
                break
        self._set_wake()

    def _set_wake(self) -> None:
        wake_ns = self.engine.next_wake().elapsed_ns
        due_ns = inf if wake_ns is None else wake_ns - START.elapsed_ns
        self.wake_ns = min(due_ns, self._looks[0][0] if self._looks else inf)

    def _see(self) -> None:
        self.counts["looks"] += 1
        signals = replace(self.stage.machine.signals(), runnable=self.stage.runnable)
        self._give(events.SignalsRead(signals))

    def _trigger(self, work: Work) -> None:
        self._token += 1
        request = protocol.TriggerJob(job=work.kind, wait=False)
        self._arriving = work
        self._give(events.RequestReceived(self._token, request, "benchmark"))

    def _measured(self, keys: tuple[str, ...]) -> None:
        self._give(events.MemoryMeasured({key: self.stage.machine.used(key) for key in keys}))

    # --- what the engine wants ---

    def _give(self, event: events.Event) -> None:
        self.counts["steps"] += 1
        for effect in self.engine.handle(event, self._now):
            match effect:
                case effects.RunQueued(run=run):
                    self._works[run] = self._arriving
                case effects.Start(key=key, run=run):
                    self.stage.start(self._works[run], key)
                    started = events.AttemptStarted(key, 1, self._now)
                    self._news.append(lambda event=started: self._give(event))
                case effects.RunFinished(run=run):
                    del self._works[run]
                case effects.MeasureMemory(attempts=attempts):
                    keys = tuple(key for key, _ in attempts)
                    self._looks.append((self.stage.now_ns + MEASURE_NS, keys))
                case effects.NeedLearned(job=job, task=task, need_bytes=need_bytes):
                    self.needs[job, task] = need_bytes
                case effects.TargetChanged(before=before, target=value):
                    self.laws.line(self.stage.now_s, before, value)
        self.laws.look(self.target, len(self.engine.pool.running))


def _job(work: Work) -> Job:
    """Return the job of a kind of work, which has a run for each request."""
    execution = Execution(retry=Retry(max=MOST_TRIES - 1, delay_ns=0))
    policy = Policy(overlap=Overlap.ALLOW, priority=work.priority)
    return Job(work.kind, Reboot("UTC"), (Task("main", ("true",), execution),), policy)


#: The product's defaults, without its cap: what is measured is the gate.
AUTO = Settings(admission=Admission.AUTO, max_workers=1_000_000)
