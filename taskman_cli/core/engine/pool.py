"""The worker pool: attempts that hold a seat, attempts that wait for one, and their timers.

An attempt is in one place: it runs in a seat, is ready and waits for one, or rests until its next try.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from taskman_cli.core.engine.abroad import Abroad
from taskman_cli.core.engine.admission import Gate, Obstacle
from taskman_cli.core.engine.early import Counts, Early
from taskman_cli.core.engine.holds import HOLD, Holds
from taskman_cli.core.engine.looks import Looks
from taskman_cli.core.engine.memory import Memory
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.engine.ready import Ready, lack_of
from taskman_cli.core.engine.resources import Resources
from taskman_cli.core.engine.target import Target
from taskman_cli.core.model import State
from taskman_cli.core.tuning import MAX_WORKERS, Admission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.core.engine.admission import Signals
    from taskman_cli.core.engine.marks import RateUsed
    from taskman_cli.core.engine.ready import Kind, Lack
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Settings

#: The timer that looks again at an attempt which waits for the rate of a resource. It cannot be an attempt's
#: key: those begin with a run's id, which has no "l" or "o".
_LOOK = "look"
#: The timer that asks the gate again about the first attempt.
ASK = "look.gate"
#: What one that ends makes room for.
_OF_CPU = frozenset((Obstacle.CPU, Obstacle.SIGNALS))


class Pool:
    """Seats, the ready queue and the timers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Attempts that hold a seat, in the order they took it.
        self.running: dict[str, Attempt] = {}
        #: How many of them are commands here: others need nothing of this machine.
        self._local_count = 0
        #: Those that have none: they are ready, or rest, or wait for something else.
        self.waiting: dict[str, Attempt] = {}
        self.resources = Resources(settings.resources)
        self._ready = Ready(settings.ageing_ns, self.resources.scarce)
        self.kind_of = self._ready.kind_of
        self.early = Early()
        self.memory = Memory(settings.admission_tuning)
        #: None: `admission = "fixed"`.
        self.gate: Gate | None = None
        self.target = Target()
        #: At this moment the gate held the first attempt back, and nothing that counts has happened since.
        self._answered_ns: int | None = None
        #: How many attempts may run at the same time.
        self.seats = 0
        #: One timer per attempt: its timeout or KILL while it runs, its next try while it rests.
        self.timers: DueQueue[str] = DueQueue()
        self.timer_count, self.timer_of = self.timers.__len__, self.timers.due_of
        self.looks = Looks(self.memory, self.timers)
        self.holds = Holds(settings, self.timers, self.waiting)
        self.is_on_hold, self.pause, self.abroad = self.holds.is_on, self.holds.begin, Abroad()
        #: Attempts that wait until their stopped job continues (`pause --stop`), by job and key.
        self._stopped: dict[str, dict[str, Attempt]] = {}
        self._open_gate()
        self._ready.order([], settings.ageing_ns, has_urgent_lines=self.gate is not None)

    def configure(self, settings: Settings, elapsed_ns: int) -> list[RateUsed]:
        """Use other settings; return marks of what that changes. An attempt that holds a seat keeps it."""
        before, self._settings, had_gate = self._settings, settings, self.gate is not None
        self._answered_ns = None
        marks = self.resources.configure(settings.resources, elapsed_ns)
        self.abroad.configure(before, settings)
        self.holds.configure(settings, elapsed_ns)
        self._open_gate()
        orders = (before.ageing_ns, before.resources, had_gate)
        if orders != (settings.ageing_ns, settings.resources, self.gate is not None):
            attempts = [self.waiting[key] for key in self._ready.first(len(self._ready))]
            self._ready.order(attempts, settings.ageing_ns, has_urgent_lines=self.gate is not None)
        return marks

    def _open_gate(self) -> None:
        """Have a gate, or none, as the settings say; what runs is booked."""
        settings = self._settings
        if settings.admission is Admission.FIXED:
            self.gate = None
        elif self.gate is not None:
            self.gate.configure(settings)
        else:
            self.gate = Gate(settings, self.memory)
            self.memory.use()
            for attempt in self.running.values():
                if not attempt.is_remote:
                    self.gate.begin(attempt, attempt.began_elapsed_ns)
            self.early.level = 0
        self._count_seats()

    def _count_seats(self) -> None:
        settings, signals = self._settings, self.gate and self.gate.signals
        self.seats = settings.max_workers or MAX_WORKERS[settings.admission]
        if settings.max_workers is None and signals and signals.most_workers is not None:
            self.seats = max(1, min(self.seats, signals.most_workers))

    @property
    def wants_signals(self) -> bool:
        """Tell whether the signals of the machine are to be read."""
        return self.gate is not None and self.gate.wants_signals

    def see(self, signals: Signals, elapsed_ns: int) -> None:
        """Take the signals of the machine."""
        if self.gate is not None:
            self._answered_ns, before = None, self.gate.signals
            self.gate.see(signals, self._local_count - self.early.local_count, elapsed_ns)
            ask_ns = self.timers.due_of(ASK)
            if ask_ns is not None and ask_ns <= elapsed_ns:  # it is asked in this step
                self.timers.remove(ASK)
            if before is None or before.most_workers != signals.most_workers:
                self._count_seats()

    @property
    def ready_count(self) -> int:
        """Return how many attempts wait for a seat."""
        if not self.waiting:
            return len(self.early.attempts)
        return len(self.early.attempts) + len(self._ready) + len(self.holds.kept())

    @property
    def busy_count(self) -> int:
        """Return how many seats are taken: more than there are only by what ran before."""
        return len(self.running) - len(self.early.attempts)

    def _counts(self) -> Counts:
        return self.early.counts(self.busy_count, self._local_count, self.seats)

    @property
    def resting_count(self) -> int:
        """Return how many attempts wait for their next try."""
        return len(self.waiting) - len(self._ready) - len(self.holds.kept())

    @property
    def is_full(self) -> bool:
        """Tell whether all seats are taken; without a gate, those that wait to start early have them too."""
        if not self.early.attempts or self.gate is None or self.gate.signals is None:
            return len(self.running) >= self.seats
        return self.early.busy(self.busy_count) >= self.seats

    def has_seat_for(self, attempt: Attempt) -> bool:
        """Tell whether an attempt may follow one of its run that has just left its seat, CPU and all."""
        if self.is_full or self.is_on_hold(attempt):
            return False
        is_free = self.gate is None or attempt.is_remote
        return is_free or self.memory.has_room(self.memory.need(attempt))

    @property
    def level(self) -> int:
        """Return how many run at most while starts wait that were asked for early."""
        return self.seats if self.gate is None else min(self.early.level or self.seats, self.seats)

    def lines(self, elapsed_ns: int) -> list[tuple[Kind, int, Lack | None]]:
        """Return the kinds of those that wait for a seat, how many are of it, and what they lack."""
        return [
            (kind, len(line), lack_of(name, kind[0], reserved, self.resources, elapsed_ns) if name else None)
            for kind, line, name, reserved in self._ready.heads(self.resources, elapsed_ns)
        ]

    def first_ready(self, count: int) -> list[Attempt]:
        """Return the first attempts that wait for a seat, in order."""
        first = list(self.early.attempts.values())[:count]
        first += [self.waiting[key] for key in self._ready.first(count - len(first))]
        return [*first, *islice(self.holds.kept(), count - len(first))]

    def is_waiting(self, attempt: Attempt) -> bool:
        """Tell whether an attempt waits, for a seat or for something else."""
        return attempt.is_early or attempt.key in self.waiting

    def is_stopped(self, attempt: Attempt) -> bool:
        """Tell whether an attempt waits until its stopped job continues."""
        return attempt.key in self._stopped.get(attempt.run.job.id, ())

    def enqueue(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Let an attempt wait for a seat; if it has waited before, it keeps its place."""
        self.waiting[attempt.key] = attempt
        if attempt.waits_since_ns is None:
            attempt.waits_since_ns = elapsed_ns
        if attempt.is_remote and attempt.task.execution.resources:
            self.abroad.waits(attempt)
        self._ready.put(attempt)
        self._answered_ns = None

    def rest(self, attempt: Attempt, until_elapsed_ns: int) -> None:
        """Let an attempt rest until its next try."""
        self.waiting[attempt.key] = attempt
        self.timers.put(attempt.key, until_elapsed_ns)

    def drop(self, attempt: Attempt) -> None:
        """Remove an attempt that waits or rests, if it does."""
        self._answered_ns = None
        self.waiting.pop(attempt.key, None)
        self._ready.remove(attempt)
        self.timers.remove(attempt.key)
        self.abroad.waits_no_more(attempt)

    def take_ready(self, elapsed_ns: int) -> Attempt | None:
        """Remove and return the first waiting attempt that may start, if a seat is free."""
        self.early.taken, gate = None, self.gate
        is_idle = not self.waiting or not self._ready or HOLD in self.timers
        is_full = not is_idle and self.is_full
        if is_idle or (is_full and not self.early.has_room(elapsed_ns)):
            if gate is not None and gate.held:
                self._release(gate)
            return None
        if is_full:
            return self._take_early(elapsed_ns, None if gate is None else self._counts())
        if gate is not None and gate.signals is not None:
            return None if self._answered_ns == elapsed_ns else self._take_admitted(gate, elapsed_ns)
        while (key := self._ready.pop(self.resources, elapsed_ns)) is not None:
            hold = self.holds.of(self.waiting[key]) if self.holds.counts else ""
            if not hold:
                return self.waiting.pop(key)
            self.holds.keep(hold, key)
        self._look_again(elapsed_ns)
        return None

    def _take_early(self, elapsed_ns: int, counts: Counts | None) -> Attempt | None:
        """Remove and return the first waiting attempt, if it may be asked for although no more may run."""
        is_plain = self._ready.is_plain and not self.holds.counts and self.early.has_room(elapsed_ns)
        if not is_plain or (key := self._ready.peek()) is None:
            return None
        attempt = self.waiting[key]
        if not self.early.is_granted(attempt, self.resources, self.gate, counts, elapsed_ns):
            return None
        self.early.taken = self.waiting.pop(key)
        self._ready.remove(attempt)
        return attempt

    def _take_admitted(self, gate: Gate, elapsed_ns: int) -> Attempt | None:
        """Remove and return the first attempt if the gate admits it, or else one that has a priority seat."""
        is_first, early, local, counts = True, self.early, self._local_count, self._counts()
        while (found := self._candidate(elapsed_ns, is_first=is_first)) is not None:
            verdict = None if found.is_remote else early.ask(gate, found, local, counts, elapsed_ns)
            if verdict is None:
                self._answered_ns = None
                self._ready.take(found)
                if is_first and gate.held:
                    self._release(gate)
                if early.attempts:
                    may_wait = self._ready.is_plain and not found.is_remote
                    early.add(found, self.resources, counts, may_wait=may_wait)
                return self.waiting.pop(found.key)
            if not is_first:
                break
            if verdict.obstacle in _OF_CPU and (taken := self._take_early(elapsed_ns, counts)):
                if gate.held:
                    self._release(gate)
                return taken
            gate.hold(found, verdict, elapsed_ns)
            self._answered_ns = elapsed_ns
            if verdict.obstacle is Obstacle.SIGNALS:
                self.timers.put(ASK, elapsed_ns)  # unless they are read before
                return None
            is_first = False
        if is_first:
            if gate.held:
                self._release(gate)
            self._look_again(elapsed_ns)
        elif (self.timers.due_of(ASK) or 0) <= elapsed_ns:
            self.timers.put(ASK, elapsed_ns + gate.pause_ns(elapsed_ns))
        return None

    def _candidate(self, elapsed_ns: int, *, is_first: bool) -> Attempt | None:
        """Return the first attempt that lacks no resource; or the first that may pass it."""
        assert self.gate is not None
        if self._ready.is_plain and not self.holds.counts:  # as it mostly is
            key = self._ready.peek() if is_first else self._ready.peek_far()
            return None if key is None else self.waiting[key]
        while True:
            for _, line, lacking, _ in self._ready.heads(self.resources, elapsed_ns):
                key = line.peek()
                if lacking is not None or key is None:
                    continue
                attempt = self.waiting[key]
                if self.holds.counts and (hold := self.holds.of(attempt)):
                    self._ready.remove(attempt)
                    self.holds.keep(hold, key)
                    break  # the lines have changed
                if is_first or attempt.is_remote or self.gate.may_pass(attempt):
                    return attempt
            else:
                return None

    def _release(self, gate: Gate) -> None:
        """Note that the gate does not hold the first attempt back any more."""
        gate.release()
        self.timers.remove(ASK)

    def _look_again(self, elapsed_ns: int) -> None:
        """Set the timer for the first attempt that waits for a rate and nothing else."""
        if self._ready and self.resources.has_rates:
            waits = [lack.ready_ns for _, _, lack in self.lines(elapsed_ns) if lack]
            if ready := [at_ns for at_ns in waits if at_ns is not None]:
                self.timers.put(_LOOK, min(ready))

    def hold_back(self, attempt: Attempt) -> None:
        """Let an attempt wait until its stopped job continues."""
        self.waiting[attempt.key] = attempt
        self.abroad.waits_no_more(attempt)
        self._stopped.setdefault(attempt.run.job.id, {})[attempt.key] = attempt

    def go_on(self, job_id: str, elapsed_ns: int) -> None:
        """Let the attempts of a job that continues wait for a seat."""
        for key, attempt in self._stopped.pop(job_id, {}).items():
            if self.waiting.get(key) is attempt:  # or it was removed since
                self.enqueue(attempt, elapsed_ns)

    def seat(self, attempt: Attempt) -> None:
        """Give an attempt a seat."""
        attempt.state = State.RUNNING
        self.running[attempt.key] = attempt
        if attempt.holds:
            self.resources.hold(attempt.holds)
        if attempt.is_remote:
            self.abroad.waits_no_more(attempt)
            if self.holds.counts:
                self.holds.note_try(attempt)
        else:
            self._local_count += 1
            if self.gate is not None:
                self.gate.begin(attempt, attempt.began_elapsed_ns)

    def release(self, attempt: Attempt) -> None:
        """Take an attempt's seat back."""
        self._answered_ns = None
        del self.running[attempt.key]
        self.timers.remove(attempt.key)
        if not attempt.is_remote:
            self._local_count -= 1
            if self.gate is not None:
                self.gate.end(attempt)
        if attempt.is_early:
            self.early.end(attempt)
        if attempt.holds:
            self.resources.release(attempt.holds)
            attempt.holds = ()

    def resting(self) -> Iterator[tuple[int, Attempt]]:
        """Yield when each resting attempt has its next try, on the elapsed clock, the first one first."""
        for due_ns, key in self.timers.walk():
            if key in self.waiting:
                yield due_ns, self.waiting[key]

    def rests_until(self, attempt: Attempt) -> int | None:
        """Return when an attempt has its next try, on the elapsed clock; None: it does not rest."""
        return self.timers.due_of(attempt.key) if attempt.key in self.waiting else None

    def set_timer(self, attempt: Attempt, at_elapsed_ns: int | None) -> None:
        """Set when a running attempt's time is up; None: never."""
        if at_elapsed_ns is None:
            self.timers.remove(attempt.key)
        else:
            self.timers.put(attempt.key, at_elapsed_ns)

    def expire(self, elapsed_ns: int) -> list[Attempt]:
        """Return the attempts whose timer has expired: running ones are out of time, the others may start."""
        found = []
        for key in self.timers.pop_due(elapsed_ns):
            self._answered_ns = None
            if key in self.running:
                found.append(self.running[key])
            elif key in self.waiting:
                found.append(self.waiting[key])
            else:
                found += self.holds.take_kept(key)  # the end of a pause
        return found

    def put_back(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Let an attempt that has a seat, and has no process, wait again."""
        self.release(attempt)
        attempt.state = State.QUEUED
        self.enqueue(attempt, elapsed_ns)

    def note_start(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Note that an attempt has a process."""
        self.holds.note_start(attempt, elapsed_ns)
        if attempt.is_early:
            self.early.end(attempt)
            if self.gate is not None and not attempt.is_remote:
                self.gate.note_start(attempt, elapsed_ns)

    def release_starts(self) -> None:
        """End a pause of all starts early."""
        self._answered_ns = None
        self.holds.release_all()
