"""Whether one more attempt may start: signals and time in, a verdict and its reason out.

There is no estimate of demand: a seat costs nothing while it is idle. What is asked, for the first waiting
attempt only, is whether the machine can bear one more now:

- If nothing of ours runs, it always starts.
- Memory: the needs of all that runs and this one fit into the memory; and this one fits into what is free,
  less what running attempts have not taken yet. As long as too few needs are known, guesses count double
  there. Waiting for memory holds everything back.
- CPU: it starts if fewer attempts run than there are CPUs, or if there are few runnable tasks. Tasks that
  sleep do not count, whoever they belong to.
- After `admission_patience`, only the booked memory counts: the load of others must not stop us for good.
- If for so long nothing could start but in place of what had ended, the load of others is the usual one: as
  many as there are CPUs may burn beside it, until the load has become low. So what sleeps does not wait for
  others for ever. Which of ours burn is not known, so all that run are taken off: no load of ours is usual.
- One with a priority seat does not wait for a CPU; if its need is known, neither for guesses or the reserve.

The signals are read by the scheduler when the gate wants them, at most once in `settle`: what was started
since is added to them, so a burst of starts needs no look for each. To grant starts for longer than that
helps nothing: the starts are then too many or too late (docs/pool.md has figures).
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine.memory import Needs
from taskman_cli.core.immutable import immutable
from taskman_cli.core.sizes import format_size

if TYPE_CHECKING:
    from taskman_cli.core.engine.memory import Memory
    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Settings


@immutable
class Signals:
    """What the machine says at one moment; None: it does not say."""

    #: The CPUs that we may use.
    cpus: float
    #: Tasks that run or could, without the one that reads this.
    runnable: int | None = None
    #: The memory of the machine, or what we may use of it; and what is free of that.
    memory_bytes: int | None = None
    available_bytes: int | None = None
    #: For how long in total some task waited for memory.
    stalled_ns: int | None = None
    #: How many commands the limits on processes and open files allow.
    most_workers: int | None = None


class Obstacle(StrEnum):
    """What holds the first waiting attempt back."""

    CPU = "cpu"
    MEMORY = "memory"
    PRESSURE = "pressure"
    #: Signals are to be read first.
    SIGNALS = "signals"


class Verdict(NamedTuple):
    """Why an attempt does not start now."""

    obstacle: Obstacle
    #: In words, after "waits ".
    reason: str = ""


_LOOK = Verdict(Obstacle.SIGNALS)
#: The usual load rises with about so many times the patience: what starts here must not become usual at once.
_SLOWLY = 6
#: What was runnable lately rises again within such a part of the patience.
_QUICKLY = 40


class Gate:
    """Admits attempts one by one."""

    def __init__(self, settings: Settings, memory: Memory) -> None:
        self.memory = memory
        self.configure(settings)
        #: None: nothing is known of the machine, so everything may start.
        self.signals: Signals | None = None
        #: There are none, or they are too old for the attempt that is first.
        self.wants_signals = True
        #: Why the first attempt waits, and since when; None: it does not.
        self.held: Verdict | None = None
        #: The attempt that is held back, if one is.
        self.first: Attempt | None = None
        self._held_since_ns = 0
        #: Since when nothing has started because few tasks were runnable; None: something has, or need not.
        self._busy_since_ns: int | None = None
        #: How many were runnable since then, on average over about half the patience; and how many of them
        #: cannot have been ours.
        self._average = self._others = 0.0
        #: That was so for longer than the patience, and with so many tasks the load is the usual one.
        self._is_used_to_it = False
        self._usual = 0.0
        #: How many are runnable: falls at once, so that nobody takes the place of others who leave.
        self._lately = 0.0
        self._read_ns = 0
        #: Attempts admitted within `settle`, and since the signals were read, by key: when.
        self._fresh: dict[str, int] = {}
        #: Young attempts: when each began, and what was free then.
        self._young: dict[str, tuple[int, int]] = {}
        #: Those of unknown need that are not young any more: when each began.
        self._growing: dict[str, int] = {}
        self._unmeasured: list[str] = []
        #: What others than young attempts have given back so far: the young have taken that much more.
        self._freed = 0
        #: How many of them were admitted since the signals were read, less those that have ended since.
        self._since = 0
        #: (when, stalled in total), the latest last; the first may be older than the window.
        self._stalls: deque[tuple[int, int]] = deque()
        #: The share of the time in which some task waited for memory, by these.
        self._pressure = 0.0
        self._urgent: set[str] = set()

    def configure(self, settings: Settings) -> None:
        """Use other settings."""
        self._tuning = self.memory.tuning = settings.admission_tuning
        self._patience_ns = settings.admission_patience_ns
        self._priority_seats = settings.priority_seats

    def see(self, signals: Signals, running: int, elapsed_ns: int) -> None:
        """Take the signals of this moment, at which so many attempts run."""
        if signals.runnable is not None:
            self._get_used_to(signals.runnable, running, signals.cpus, elapsed_ns)
        self.signals, self._read_ns, self.wants_signals = signals, elapsed_ns, False
        self.memory.total_bytes, self.memory.cpus = signals.memory_bytes, signals.cpus
        settled_ns = elapsed_ns - self._tuning.settle_ns
        self._fresh = {key: at_ns for key, at_ns in self._fresh.items() if at_ns > settled_ns}
        self._since = sum([at_ns >= elapsed_ns for at_ns in self._fresh.values()])
        for key in self._unmeasured:  # they began when nothing was known of this moment
            if key in self._young and signals.available_bytes is not None:
                self._young[key] = (self._young[key][0], signals.available_bytes - self._freed)
        self._unmeasured.clear()
        if signals.stalled_ns is None:
            self._stalls.clear()
            self._pressure = 0.0
            return
        self._stalls.append((elapsed_ns, signals.stalled_ns))
        since_ns = elapsed_ns - self._tuning.pressure_window_ns
        while len(self._stalls) > 2 and self._stalls[1][0] <= since_ns:
            self._stalls.popleft()
        begun_ns, before = self._stalls[0]
        self._pressure = (signals.stalled_ns - before) / max(elapsed_ns - begun_ns, 1)

    def _get_used_to(self, runnable: int, running: int, cpus: float, elapsed_ns: int) -> None:
        """Follow the load of others while it is high, and find out whether it always is."""
        passed_ns, patience_ns = elapsed_ns - self._read_ns, self._patience_ns
        if not self._is_used_to_it and passed_ns > max(patience_ns, 2 * self._tuning.retry_max_ns):
            self._busy_since_ns = None  # nothing waited: nobody knows what it was like
        others = max(0, runnable - running)
        if self._busy_since_ns is None:
            self._average, self._others, self._lately = runnable, others, runnable
            return
        lately = (runnable - self._lately) * passed_ns / max(passed_ns + patience_ns / _QUICKLY, 1)
        self._lately = min(runnable, self._lately + lately)
        share = passed_ns / max(passed_ns + patience_ns / 2, 1)
        self._average += (runnable - self._average) * share
        self._others += (others - self._others) * share
        usual = self._others + cpus
        if self._is_used_to_it:
            # What sleeps is taken off, too: that there is more of it does not make the load of others less.
            # But what all that runs here could make up is ours: else it would stay when others have left.
            more = max(0, usual - self._usual) * passed_ns / max(passed_ns + _SLOWLY * patience_ns, 1)
            if running <= runnable and self._others + 1 <= self._most_runnable(cpus):
                more = (usual - self._usual) * share
            self._usual = min(self._average, self._usual + more)
            if self._average + 1 <= self._most_runnable(cpus):
                self._is_used_to_it, self._busy_since_ns = False, None
        elif elapsed_ns - self._busy_since_ns >= patience_ns:
            self._is_used_to_it, self._usual = True, usual

    def _most_runnable(self, cpus: float) -> float:
        return self._tuning.runnable_per_cpu * cpus + self._tuning.runnable_spare

    # --- the question ---

    def admit(
        self,
        attempt: Attempt,
        running: int,
        elapsed_ns: int,
        *,
        unseen: int = 0,
        is_instead: bool = False,
        is_supplied: bool = False,
    ) -> Verdict | None:
        """Return why the first waiting attempt may not start now; None: it may.

        `unseen`: so many of those that run have started in the place of others, and nobody has said so yet.
        `is_instead`: it is to start as soon as one of them ends. `is_supplied`: others are going to do that,
        so there is time.
        """
        signals = self.signals
        running -= is_instead
        if signals is None or not running:
            return None
        if elapsed_ns != self._read_ns and self.is_stale(elapsed_ns):
            self.wants_signals = True
            return _LOOK
        has_seat = attempt.run.job.policy.priority > 0 and self._has_priority_seat(attempt)
        known, more = self.memory.known_need(attempt), unseen - is_instead
        need = self.memory.need(attempt) if known is None else known
        is_patient = self.held is None or elapsed_ns - self._held_since_ns < self._patience_ns
        if is_patient and self._is_memory_plenty(need, signals, elapsed_ns):
            return self._cpu(
                running, signals, elapsed_ns, more=more, has_seat=has_seat, is_supplied=is_supplied
            )
        # Who has a priority seat and a known need waits neither for guesses nor for the reserve.
        is_known = known is not None
        is_trusted = has_seat and is_known
        if not self.memory.has_room(need, is_trusted=is_trusted):
            return Verdict(Obstacle.MEMORY, f"for {format_size(need, gap=' ')}")
        if not is_patient:
            return None
        return self._memory(need, signals, elapsed_ns, is_known=is_known, is_trusted=is_trusted) or self._cpu(
            running, signals, elapsed_ns, more=more, has_seat=has_seat, is_supplied=is_supplied
        )

    def is_stale(self, elapsed_ns: int) -> bool:
        """Tell whether the signals are too old to admit anything by."""
        return not 0 <= elapsed_ns - self._read_ns < self._tuning.settle_ns

    def _is_memory_plenty(self, need: int, signals: Signals, elapsed_ns: int) -> bool:
        """Tell at once whether nothing is refused for want of memory, even by the worst that is possible."""
        total, available = signals.memory_bytes, signals.available_bytes
        if total is None or available is None or self._pressure > self._tuning.pressure:
            return False
        self._grow_up(elapsed_ns)
        return self.memory.is_plenty(need, total, available)

    def _memory(
        self, need: int, signals: Signals, elapsed_ns: int, *, is_known: bool, is_trusted: bool
    ) -> Verdict | None:
        if self._pressure > self._tuning.pressure:
            return Verdict(
                Obstacle.PRESSURE, f"for memory: the machine waited for it {self._pressure:.0%} of the time"
            )
        if signals.memory_bytes is None or signals.available_bytes is None:
            return None
        reserve = 0.0 if is_trusted else self._tuning.memory_reserve * signals.memory_bytes
        free = signals.available_bytes - reserve
        asked = float(need)
        if self._young or self._growing:
            self._grow_up(elapsed_ns)
            # A guess may be far too low: it counts more as long as nothing shows what it is worth.
            share = self._tuning.young_share if self.memory.is_blind else 1.0
            certain, guessed = self._unseen(signals.available_bytes)
            if certain or guessed:
                asked = certain + (need if is_known else need / share)
                asked += 0 if is_trusted else guessed / share
        if asked > max(free, 0):
            return Verdict(Obstacle.MEMORY, f"for {format_size(need, gap=' ')} of free memory")
        return None

    def _unseen(self, available: int) -> Needs:
        """Return how much running attempts have not taken yet of what they need."""
        more = self.memory.growth
        if not self._young:
            return Needs(0, more)
        _, free_then = next(iter(self._young.values()))
        taken = max(0, free_then + self._freed - available)
        young = self.memory.young
        of_unknown = max(0, taken - young.certain)
        return Needs(max(0, young.certain - taken), max(0, young.guessed - of_unknown) + more)

    def _grow_up(self, elapsed_ns: int) -> None:
        """Take those out that are not young any more, or are not looked at any more."""
        while self._young:
            key, (at_ns, _) = next(iter(self._young.items()))
            if elapsed_ns - at_ns < self._tuning.young_ns:
                break
            del self._young[key]
            if self.memory.end_young(key):
                self._growing[key] = at_ns
        while self._growing:
            key, at_ns = next(iter(self._growing.items()))
            if elapsed_ns - at_ns < self._tuning.look_last_ns:
                break
            del self._growing[key]
            self.memory.end_growing(key)

    def _cpu(
        self,
        running: int,
        signals: Signals,
        elapsed_ns: int,
        *,
        more: int,
        has_seat: bool,
        is_supplied: bool,
    ) -> Verdict | None:
        if running < signals.cpus or signals.runnable is None or has_seat:
            return None
        counted, settled_ns = signals.runnable + self._since, elapsed_ns - self._tuning.settle_ns
        if counted < len(self._fresh):
            counted = max(counted, sum([at_ns > settled_ns for at_ns in self._fresh.values()]))
        runnable = max(counted + more, 0)
        if runnable + 1 <= self._most_runnable(signals.cpus):
            if not self._is_used_to_it:
                self._busy_since_ns = None
            return None
        if self._is_used_to_it and runnable <= min(self._usual, self._lately + 1):
            return None
        if not is_supplied and elapsed_ns - self._read_ns > self._tuning.settle_held_ns:
            self.wants_signals = True
            return _LOOK
        cpus = f"{signals.cpus:g} CPU{'' if signals.cpus == 1 else 's'}"
        return Verdict(Obstacle.CPU, f"for a CPU: {runnable:,} runnable on {cpus}")

    def _has_priority_seat(self, attempt: Attempt) -> bool:
        return is_urgent(attempt) and len(self._urgent) < self._priority_seats

    def may_pass(self, attempt: Attempt) -> bool:
        """Tell whether an attempt may start before the first one, which waits for a CPU."""
        return (
            self.held is not None and self.held.obstacle is Obstacle.CPU and self._has_priority_seat(attempt)
        )

    # --- what happens ---

    def hold(self, attempt: Attempt, verdict: Verdict, elapsed_ns: int) -> None:
        """Note that the first attempt is held back."""
        if verdict is _LOOK:
            return
        if self.held is None:
            self._held_since_ns = elapsed_ns
        if verdict.obstacle is Obstacle.CPU and self._busy_since_ns is None:
            self._busy_since_ns = elapsed_ns
        self.held, self.first = verdict, attempt

    def pause_ns(self, elapsed_ns: int) -> int:
        """Return how long it is until the first attempt is asked about again: a part of its wait so far."""
        tuning = self._tuning
        share_ns = int((elapsed_ns - self._held_since_ns) * tuning.retry_share)
        return min(max(tuning.retry_ns, share_ns), tuning.retry_max_ns)

    def release(self) -> None:
        """Note that the first attempt is not held back any more: it starts, or waits no longer."""
        self.held = self.first = None

    def begin(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Note that an attempt has a seat."""
        signals, key = self.signals, attempt.key
        is_young = signals is not None and signals.available_bytes is not None
        if signals is not None:
            if not attempt.is_early:
                self._count(key, elapsed_ns)
            if signals.available_bytes is not None:
                self._young[key] = (elapsed_ns, signals.available_bytes - self._freed)
                if elapsed_ns != self._read_ns and self.is_stale(elapsed_ns):
                    self._unmeasured.append(key)
        self.memory.begin(attempt, is_young=is_young)
        if attempt.run.job.policy.priority > 0:
            self._urgent.add(key)

    def note_start(self, attempt: Attempt, elapsed_ns: int) -> None:
        """Note that one which has a seat has got its process, in the place of another: now it is a load."""
        if self.signals is not None:
            self._count(attempt.key, elapsed_ns)

    def _count(self, key: str, elapsed_ns: int) -> None:
        """Count one that was admitted, or has got its process, as a runnable task from now on."""
        self._fresh[key] = elapsed_ns
        self._since += elapsed_ns >= self._read_ns

    def end(self, attempt: Attempt) -> None:
        """Note that an attempt has left its seat."""
        if not attempt.is_early:
            self._fresh.pop(attempt.key, None)
            self._since -= 1  # it was counted since the signals were read, or ran then
        if self._young.pop(attempt.key, None) is None:
            self._freed += self.memory.need(attempt)
            may_grow = self._growing.pop(attempt.key, None) is not None
        else:
            may_grow = self.memory.end_young(attempt.key)
        if may_grow:
            self.memory.end_growing(attempt.key)
        if self._urgent:
            self._urgent.discard(attempt.key)
        self.memory.end(attempt)


def is_urgent(attempt: Attempt) -> bool:
    """Tell whether an attempt may have a priority seat."""
    return attempt.run.job.policy.priority > 0
