"""What is counted of a simulation, as it goes by: nothing that has ended is kept."""

from __future__ import annotations

from collections import Counter
from heapq import heappush, heappushpop
from typing import TYPE_CHECKING, Any, NamedTuple

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.engine import effects
from taskman_cli.core.engine.waits import WaitsFor
from taskman_cli.core.model import SkipReason
from taskman_cli.core.schedule.zones import offsets_of
from taskman_cli.simulate.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Callable

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.engine import Engine

MINUTE_NS = 60 * SECOND_NS
_DAY_S = 86_400
#: The day is shown in so many parts.
PARTS = 96
_PART_S = _DAY_S // PARTS
#: How many of the busiest minutes are kept.
BUSIEST = 5
#: What the first of the queue waits for is looked at no more often than this.
_LOOK_NS = SECOND_NS // 10


class Minute(NamedTuple):
    """What happened in a minute; more starts are more."""

    starts: int
    #: The most that ran at once, and the longest wait that ended in it.
    peak: int
    worst_ns: int
    at_ns: int


class Missed(NamedTuple):
    """A slot that was given up since its `start_deadline` had passed."""

    job: str
    slot_ns: int
    at_ns: int
    detail: str


class JobTally:
    """What is counted of a job."""

    __slots__ = ("done", "skips", "states", "waits", "worst_due_ns")

    def __init__(self) -> None:
        #: From when a run was due until its first attempt began, and until it was over.
        self.waits, self.done = Sketch(), Sketch()
        self.worst_due_ns: int | None = None
        self.states: Counter[str] = Counter()
        self.skips: Counter[str] = Counter()

    def merge(self, later: JobTally) -> None:
        """Add what was counted in the time after this."""
        if later.waits.worst_ns > self.waits.worst_ns:
            self.worst_due_ns = later.worst_due_ns
        self.waits.merge(later.waits)
        self.done.merge(later.done)
        self.states.update(later.states)
        self.skips.update(later.skips)


class Totals:
    """All that a report needs of a stretch of time; with that of the next stretch it can be merged."""

    __slots__ = (
        "attempts", "busiest", "done", "first_missed", "jobs", "memory_kills", "parked", "parts_ns",
        "passed_ns", "peak", "peaks", "retries", "running", "skips", "states", "uncounted", "unfinished",
        "waited_for", "waits", "worst",
    )  # fmt: skip

    def __init__(self) -> None:
        self.jobs: dict[str, JobTally] = {}
        # Of all jobs together, made at the end.
        self.waits, self.done = Sketch(), Sketch()
        self.worst: tuple[str, int] | None = None
        self.states: Counter[str] = Counter()
        self.skips: Counter[str] = Counter()
        #: How many attempts have ended.
        self.attempts = 0
        self.retries = self.memory_kills = 0
        #: Stretches of slots that are too many to count.
        self.uncounted = 0
        self.first_missed: Missed | None = None
        #: The first time that each job was parked.
        self.parked: dict[str, int] = {}
        #: For how long the first of the queue waited for what.
        self.waited_for: Counter[str] = Counter()
        #: How many attempts run now, how many runs are not over, and the most attempts at once so far.
        self.running = self.unfinished = self.peak = 0
        #: By part of the day: for how long attempts ran, all together, how long it was, the most at once.
        self.parts_ns, self.passed_ns, self.peaks = [0] * PARTS, [0] * PARTS, [0] * PARTS
        #: A heap, as long as it is counted; then in order.
        self.busiest: list[Minute] = []

    @property
    def running_ns(self) -> int:
        """Return for how long attempts ran, all together, in the parts of the day that are over."""
        return sum(self.parts_ns)

    def job(self, name: str) -> JobTally:
        """Return what is counted of a job."""
        tally = self.jobs.get(name)
        if tally is None:
            tally = self.jobs[name] = JobTally()
        return tally

    def keep_busy(self, minute: Minute) -> None:
        """Keep a minute if it is one of the busiest."""
        if len(self.busiest) < BUSIEST:
            heappush(self.busiest, minute)
        else:
            heappushpop(self.busiest, minute)

    def merge(self, later: Totals) -> None:
        """Add what was counted in the time after this."""
        for name, job in later.jobs.items():
            self.job(name).merge(job)
        self.attempts += later.attempts
        self.retries += later.retries
        self.memory_kills += later.memory_kills
        self.uncounted += later.uncounted
        self.first_missed = self.first_missed or later.first_missed
        for name, at_ns in later.parked.items():
            self.parked.setdefault(name, at_ns)
        self.waited_for.update(later.waited_for)
        self.running, self.unfinished = later.running, later.unfinished
        self.peak = max(self.peak, later.peak)
        for part in range(PARTS):
            self.parts_ns[part] += later.parts_ns[part]
            self.passed_ns[part] += later.passed_ns[part]
            self.peaks[part] = max(self.peaks[part], later.peaks[part])
        for minute in later.busiest:
            self.keep_busy(minute)

    def sum_up(self) -> None:
        """Count all jobs together, at the end."""
        for name, job in self.jobs.items():
            if job.worst_due_ns is not None and job.waits.worst_ns > self.waits.worst_ns:
                self.worst = name, job.worst_due_ns
            self.waits.merge(job.waits)
            self.done.merge(job.done)
            self.states.update(job.states)
            self.skips.update(job.skips)
        self.busiest = [minute._replace(at_ns=-minute.at_ns) for minute in sorted(self.busiest, reverse=True)]


class Tally(Totals):
    """Counts what happens."""

    def __init__(self, timezone: str, from_ns: int) -> None:
        super().__init__()
        self.until_ns = from_ns
        self._waits_for: str | None = None
        self._looked_ns = 0
        #: When this part began, and for how long attempts ran in it so far.
        self._part_from_ns, self._part_ran_ns = from_ns, 0
        self._offsets = offsets_of(timezone)
        self._offset_s, self._offset_end_s = 0, from_ns // SECOND_NS
        self._part_end_ns, self._part = from_ns, 0
        #: When unfinished runs were due; and those of them that wait for their first attempt.
        self.due: dict[str, int] = {}
        self._unbegun: dict[str, int] = {}
        self._minute_end_ns = from_ns - from_ns % MINUTE_NS + MINUTE_NS
        self._starts = self._minute_peak = self._minute_worst_ns = 0
        #: What counts each kind of record.
        self.folds: dict[type, Callable[[Any], None]] = {
            effects.RunQueued: self._queued,
            effects.AttemptBegun: self._begun,
            effects.AttemptFinished: self._attempt_finished,
            effects.RunFinished: self._finished,
            effects.SlotsSkipped: self._skipped,
            effects.FailuresNoted: self._failures_noted,
        }
        self._enter_part()

    def cut(self) -> Totals:
        """Return what was counted so far, and go on with nothing; what is under way is counted as it ends."""
        running, totals = self.running, Totals()
        self.unfinished = len(self.due)
        for name in Totals.__slots__:
            setattr(totals, name, getattr(self, name))
        Totals.__init__(self)
        self.running = running
        return totals

    # --- time ---

    def move(self, wall_ns: int) -> None:
        """Let time pass, in which as many run as ran before."""
        running = self.running
        while wall_ns >= self._minute_end_ns:
            self._close_minute()
            if not running:  # nothing happened in between
                self._minute_end_ns = wall_ns - wall_ns % MINUTE_NS + MINUTE_NS
        while wall_ns >= self._part_end_ns:
            self._part_ran_ns += (self._part_end_ns - self.until_ns) * running
            self.until_ns = self._part_end_ns
            self._leave_part()
            self._enter_part()
        if running:
            self._part_ran_ns += (wall_ns - self.until_ns) * running
        self.until_ns = wall_ns

    def _leave_part(self) -> None:
        """Count what happened in this part of the day."""
        self.passed_ns[self._part] += self.until_ns - self._part_from_ns
        self.parts_ns[self._part] += self._part_ran_ns
        self._part_from_ns, self._part_ran_ns = self.until_ns, 0

    def _enter_part(self) -> None:
        """Find out which part of the day begins now, and when it ends; at a clock change it ends early."""
        now_s = self.until_ns // SECOND_NS
        if now_s >= self._offset_end_s:
            piece = self._offsets.piece_at(now_s)
            self._offset_s, self._offset_end_s = piece.offset, piece.end
        of_day = (now_s + self._offset_s) % _DAY_S
        self._part = of_day // _PART_S
        end_s = min(now_s + _PART_S - of_day % _PART_S, self._offset_end_s)
        self._part_end_ns = end_s * SECOND_NS
        self.peaks[self._part] = max(self.peaks[self._part], self.running)

    def _close_minute(self) -> None:
        """End a minute."""
        at_ns = self._minute_end_ns - MINUTE_NS
        if self._starts:
            # Of equal minutes, the first stays.
            self.keep_busy(Minute(self._starts, self._minute_peak, self._minute_worst_ns, -at_ns))
        self._starts = self._minute_worst_ns = 0
        self._minute_peak = self.running
        self._minute_end_ns += MINUTE_NS

    def close(self) -> None:
        """End what is under way."""
        self._note_waiting(None, self.until_ns)
        self._close_minute()
        self._leave_part()

    # --- what the engine does ---

    def look(self, engine: Engine, now: Now) -> None:
        """Look at what runs and waits at the end of a turn."""
        pool = engine.pool
        self.running = running = pool.busy_count
        if running > self._minute_peak:
            self._minute_peak = running
            if running > self.peaks[self._part]:
                self.peaks[self._part] = running
                self.peak = max(self.peak, running)
        if not ((pool.waiting or pool.early.attempts) and pool.ready_count):
            if self._waits_for is not None:
                self._note_waiting(None, now.wall_ns)
        elif self._waits_for is None or now.wall_ns - self._looked_ns >= _LOOK_NS:
            self._note_waiting(_what_waits(engine, now), now.wall_ns)

    def _note_waiting(self, what: str | None, wall_ns: int) -> None:
        if self._waits_for is not None:
            self.waited_for[self._waits_for] += wall_ns - self._looked_ns
        self._waits_for, self._looked_ns = what, 0 if what is None else wall_ns

    def _queued(self, record: effects.RunQueued) -> None:
        self.due[record.run] = self._unbegun[record.run] = record.due_ns

    def _begun(self, record: effects.AttemptBegun) -> None:
        self._starts += 1
        due_ns = self._unbegun.pop(record.run, None)
        if due_ns is None:
            return
        wait_ns = self.until_ns - due_ns
        job = self.jobs.get(record.job) or self.job(record.job)
        if wait_ns > self._minute_worst_ns:
            self._minute_worst_ns = wait_ns
        if wait_ns > job.waits.worst_ns:
            job.worst_due_ns = due_ns
        job.waits.add(wait_ns)

    def _attempt_finished(self, record: effects.AttemptFinished) -> None:
        self.attempts += 1
        if record.retry_in_ns is not None:
            self.retries += 1
        if record.exit is not None and record.exit.memory:
            self.memory_kills += 1

    def _finished(self, record: effects.RunFinished) -> None:
        job = self.jobs.get(record.job) or self.job(record.job)
        state = record.state._value_
        job.states[state] = job.states.get(state, 0) + 1
        self._over(record.run, job)

    def _over(self, run: str, job: JobTally) -> None:
        due_ns = self.due.pop(run, None)
        if due_ns is not None and self._unbegun.pop(run, None) is None:
            job.done.add(self.until_ns - due_ns)

    def _skipped(self, record: effects.SlotsSkipped) -> None:
        reason, job = record.reason.value, self.job(record.job)
        if record.count is None:
            self.uncounted += 1
        job.skips[reason] += record.count or 0
        if record.reason is SkipReason.LATE and self.first_missed is None:
            self.first_missed = Missed(record.job, record.first_ns, self.until_ns, record.detail)
        if record.run is not None:
            self._over(record.run, job)

    def _failures_noted(self, record: effects.FailuresNoted) -> None:
        if record.failures is not None and record.failures.park is not None:
            self.parked.setdefault(record.job, self.until_ns)


def _what_waits(engine: Engine, now: Now) -> str:
    """Name what the first of the queue waits for: a resource, or one of `WaitsFor`."""
    waits = engine.first_waits(engine.waits(now), 1)
    return waits[0].resource or waits[0].kind.value if waits else WaitsFor.WORKER.value
