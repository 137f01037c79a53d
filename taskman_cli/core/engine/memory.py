"""How much memory attempts need: what runs is booked, and what each job needs is learned from its runs.

A need is what the job file declares (`ram`), else the most that an earlier attempt of the task used, else a
guess. What an attempt uses is the memory of all its processes, looked at while it runs: of one attempt of
each task at a time, at ages that double. When it grows no more, its need is known for now; its end says more.
If looks have told nothing that the end did not tell, most attempts of that task are not looked at.

The guess for a task of which nothing is known is a share of the memory. Once some needs are known, it is a
quantile of these; but before the first look at it, a task may be as large as the largest. So a herd of new
tasks cannot fill the memory before anybody has looked.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from taskman_cli.core.engine.books import Books, Look, Owner, Sum, TaskNeed
from taskman_cli.core.engine.marks import NeedLearned
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.model import RAM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Job
    from taskman_cli.core.tuning import AdmissionTuning

#: The guess for an unknown need is of so many known ones.
_MOST_LATEST = 1000
#: A need is recorded again when it has changed by more than this share.
_WORTH_RECORDING = 0.1


class _Seen(NamedTuple):
    """What an attempt of unknown need uses."""

    used: int
    #: It is taken to grow to so many times that.
    growth: float


class Needs(NamedTuple):
    """What some attempts need together: what is known of it, and what is guessed."""

    certain: int
    guessed: int


class Memory:
    """What running attempts are taken to need."""

    def __init__(self, tuning: AdmissionTuning) -> None:
        self.tuning = tuning
        #: The memory that there is; None: unknown, so nothing is refused for it.
        self.total_bytes: int | None = None
        self.cpus: float = 1
        self._books = Books()
        #: The sums of what runs, and of those that have not taken their memory yet.
        self.of_running, self.of_young = self._books.running, self._books.young
        self.end_young, self.end_growing = self._books.end_young, self._books.end_growing
        #: What an earlier scheduler has learned, as long as no gate asks; None: one does.
        self._unused: Mapping[Owner, int] | None = {}
        #: What attempts of tasks without a known need use, as last looked at, and how it grows.
        self._seen: dict[TaskNeed, _Seen] = {}
        #: When one of a task is to be looked at, on the elapsed clock.
        self._due: DueQueue[Owner] = DueQueue()
        #: The most that each of the attempts that were looked at used.
        self._peaks: dict[str, int] = {}
        #: The needs that became known last, also of one-off jobs that are over; and how many so far.
        self._latest: deque[int] = deque(maxlen=_MOST_LATEST)
        self._first_needs = 0
        #: The quantile of them, and when there were how many; and the largest.
        self._typical, self._typical_of, self._largest = 0, 0, 0
        #: The guess before the first look, and what it follows from.
        self._guessed = 0
        self._guessed_by: tuple[object, ...] = ()

    def use(self) -> None:
        """Begin, with no attempt on the books; what was learned stays."""
        unused, self._unused = self._unused, None
        self.resume(unused or {})
        self.clear()

    def clear(self) -> None:
        """Take all attempts off the books; what was learned stays."""
        self._books.clear()
        self._peaks.clear()
        self._due = DueQueue()

    def resume(self, needs: Mapping[Owner, int]) -> None:
        """Continue with what an earlier scheduler has learned."""
        if self._unused is not None:
            self._unused = needs
            return
        for owner, need in needs.items():
            task = self._books.task(owner)
            task.known = task.recorded = need
            self._note_first(need)

    @property
    def unused(self) -> Mapping[Owner, int]:
        """Return what an earlier scheduler has learned, as long as no gate asks."""
        return self._unused or {}

    def learn_from(self, other: Memory) -> None:
        """Continue with all that another one has learned, which goes on as it is; before any attempt."""
        self.resume(other.unused)
        for owner, known in other._books.tasks.items():
            task = self._books.task(owner)
            task.known, task.recorded = known.known, known.recorded
            task.is_provisional, task.is_dull = known.is_provisional, known.is_dull
        self._latest = other._latest.copy()
        self._first_needs, self._largest = other._first_needs, other._largest
        self._typical, self._typical_of = other._typical, other._typical_of

    def restate(self) -> list[NeedLearned]:
        """Return marks of all that was learned, for a new ledger."""
        known = {task.owner: task.known for task in self._books.tasks.values() if task.known is not None}
        return [NeedLearned(*owner, need) for owner, need in {**(self._unused or {}), **known}.items()]

    def need(self, attempt: Attempt) -> int:
        """Return how much an attempt is taken to need."""
        known = self.known_need(attempt)
        return self._unknown_need(self._books.task(attempt.owner)) if known is None else known

    def known_need(self, attempt: Attempt) -> int | None:
        """Return how much an attempt needs, as it declares or as is known; None: that would be a guess."""
        has_needs = attempt.holds or attempt.task.execution.resources
        if has_needs and (declared := _declared(attempt)) is not None:
            return declared
        task = self._books.tasks.get(attempt.owner)
        return task.known if task is not None else None

    def _unknown_need(self, task: TaskNeed) -> int:
        """Return how much an attempt of a task is taken to need of which that is not known."""
        seen = self._seen.get(task)
        return self._first_guess() if seen is None else self._grown(seen)

    def _grown(self, seen: _Seen) -> int:
        """Return what a task is taken to need that uses so much and may still grow."""
        return max(self._guess(), int(seen.used * seen.growth))

    def _guess(self) -> int:
        """Return what a task is taken to need of which nothing is known."""
        if self.is_blind:
            return self._cautious()
        count = len(self._latest)
        if not self._typical_of <= self._first_needs <= self._typical_of * 1.1:  # sorting costs
            needs = sorted(self._latest)
            self._typical = needs[min(int(count * self.tuning.known_quantile), count - 1)]
            self._typical_of, self._largest = self._first_needs, needs[-1]
        return self._typical

    def _first_guess(self) -> int:
        """Return the same before anybody has looked at what it uses."""
        facts = self._first_needs, self.total_bytes, self.cpus, self.tuning
        if facts != self._guessed_by:  # it is asked for several times a start
            guess = self._guess()
            self._guessed = max(guess, min(self._largest, self._cautious()))
            self._guessed_by = facts
        return self._guessed

    def _cautious(self) -> int:
        """Return the guess as long as too few needs are known."""
        total, tuning = self.total_bytes or 0, self.tuning
        for_each_cpu = max(total * tuning.unknown_per_cpu / self.cpus, tuning.unknown_least_bytes)
        return int(min(total * tuning.unknown_share, for_each_cpu))

    @property
    def is_blind(self) -> bool:
        """Tell whether too few needs are known for a guess that is worth much."""
        return len(self._latest) < self.tuning.known_needs

    def is_plenty(self, more: int, total: int, available: int) -> bool:
        """Tell whether there is so much more, even if no young attempt has taken anything yet of its need.

        False where that is not known at once.
        """
        tuning, running, young, guess = self.tuning, self.of_running, self.of_young, 0
        if running.unknown_count:
            if self._seen or self._books.growing:
                return False
            guess = self._first_guess()
        if running.certain + guess * running.unknown_count + more > tuning.memory_share * total:
            return False
        asked: float = more + guess * young.unknown_count
        if self.is_blind:
            asked /= tuning.young_share
        return young.certain + asked <= available - tuning.memory_reserve * total

    @property
    def booked(self) -> int:
        """Return what all running attempts need."""
        return sum(self.needs)

    @property
    def needs(self) -> Needs:
        """Return the needs of all running attempts."""
        return self._needs_in(self.of_running, lambda task: task.running)

    @property
    def young(self) -> Needs:
        """Return the needs of the young attempts."""
        return self._needs_in(self.of_young, lambda task: task.young)

    def _needs_in(self, known: Sum, count: Callable[[TaskNeed], int]) -> Needs:
        if not known.unknown_count:
            return Needs(known.certain, 0)
        first = self._first_guess()
        unknown = first * known.unknown_count
        for task, seen in self._seen.items():  # few: those of which one was looked at and none has ended
            if number := count(task):
                unknown += (self._grown(seen) - first) * number
        return Needs(known.certain, unknown)

    def has_room(self, need: int, *, is_trusted: bool = False) -> bool:
        """Tell whether the needs of all that run leave room for one more; `is_trusted`: without guesses."""
        if not self.total_bytes or not need:
            return True
        certain, guessed = self.needs
        booked = certain if is_trusted else certain + guessed
        return booked + need <= self.tuning.memory_share * self.total_bytes

    @property
    def growth(self) -> int:
        """Return how much more the attempts may need that are not young, and whose need is unknown."""
        total = 0
        for task in self._books.growing:
            seen = self._seen.get(task)
            total += (self._unknown_need(task) - (seen.used if seen else 0)) * task.growing
        return total

    # --- what runs ---

    def begin(self, attempt: Attempt, *, is_young: bool = False) -> None:
        """Book an attempt; `is_young`: it has not taken its memory yet."""
        key, owner = attempt.key, attempt.owner
        has_needs = attempt.holds or attempt.task.execution.resources  # few have any
        if has_needs and (declared := _declared(attempt)) is not None:
            self._books.declare(key, declared, is_young=is_young)
            return
        task = self._books.tasks.get(owner) or self._books.task(owner)
        self._books.enter(key, task, is_young=is_young)
        is_looked_at = task.look is None and not (task.is_dull and self._is_left_out(attempt))
        attempt.is_looked_at = is_looked_at
        if is_looked_at:
            task.look = Look(key, self.tuning.look_ns)
            if attempt.pid is not None:
                self._due.put(owner, attempt.began_elapsed_ns + self.tuning.look_ns)

    def end(self, attempt: Attempt) -> None:
        """Take an attempt off the books."""
        key = attempt.key
        task = self._books.remove(key)
        if self._peaks:
            self._peaks.pop(key, None)
        if task is not None and task.look is not None and task.look.key == key:
            task.look = None
            self._due.remove(task.owner)

    # --- what is learned ---

    def learn(self, attempt: Attempt, peak_bytes: int) -> tuple[Owner, int] | None:
        """Learn from an attempt that has ended; return its task and need if that is to be recorded.

        `peak_bytes` is what its largest process used. Of what was looked at while it ran, more may be known.
        """
        looked = self._peaks.pop(attempt.key, 0) if self._peaks else 0
        used = max(peak_bytes, looked)
        task = self._books.entries.get(attempt.key)
        if used <= 0 or not isinstance(task, TaskNeed):  # or it declares what it needs
            return None
        if looked:
            task.is_dull = looked <= peak_bytes * (1 + self.tuning.look_growth)
        if self._seen:
            self._seen.pop(task, None)
        need, known = used, task.known
        if known is not None and used < known and not task.is_provisional:
            need = int(known + (used - known) * self.tuning.need_decay)
        task.is_provisional = False
        return None if need == known else self._set(task, need)

    def forget(self, job: Job) -> None:
        """Forget what the tasks of a job need that is not defined any more."""
        if self._unused is not None:
            self._unused = {owner: need for owner, need in self._unused.items() if owner[0] != job.id}
        for one in job.tasks:
            task = self._books.task((job.id, one.id))
            if not task.running:
                del self._books.tasks[task.owner]
                self._seen.pop(task, None)

    def _set(self, task: TaskNeed, need: int) -> tuple[Owner, int] | None:
        """Set what a task needs; return task and need if that is to be recorded."""
        if task.known is None:
            self._note_first(need)
        self._books.learn(task, need)
        recorded = task.recorded
        if recorded is not None and abs(need - recorded) <= recorded * _WORTH_RECORDING:
            return None
        task.recorded = need
        return task.owner, need

    def _note_first(self, need: int) -> None:
        """Note a need that became known."""
        self._latest.append(need)
        self._first_needs += 1
        self._largest = max(self._largest, need)

    # --- looks ---

    def _is_left_out(self, attempt: Attempt) -> bool:
        """Tell whether an attempt is one of the many that are not looked at.

        Its id decides, which looks like chance: a count would depend on all that was before.
        """
        return crc32(attempt.run.id.encode()) % self.tuning.look_every != 0

    def plan_first_look(self, attempt: Attempt) -> int | None:
        """Plan the first look at an attempt whose process has just begun; return when, or None."""
        look = self._books.task(attempt.owner).look
        if look is None or look.key != attempt.key:
            return None
        at_ns = attempt.began_elapsed_ns + look.age_ns
        self._due.put(attempt.owner, at_ns)
        return at_ns

    def next_look(self) -> int | None:
        """Return when any attempt is to be looked at next, on the elapsed clock, or None."""
        return self._due.next_due()

    def due_looks(self, running: Mapping[str, Attempt], elapsed_ns: int) -> list[Attempt]:
        """Return the attempts to be looked at now; each is looked at again at twice its age."""
        due = []
        for owner in self._due.pop_due(elapsed_ns):
            look = self._books.tasks[owner].look
            assert look is not None  # or it would not be due
            attempt = running.get(look.key)
            if attempt is not None:
                due.append(attempt)
                self._plan_next(attempt, look, elapsed_ns)
        return due

    def _plan_next(self, attempt: Attempt, look: Look, elapsed_ns: int) -> None:
        age_ns = max(look.age_ns, elapsed_ns - attempt.began_elapsed_ns) * 2
        look.age_ns = age_ns
        if age_ns <= self.tuning.look_last_ns:
            self._due.put(attempt.owner, attempt.began_elapsed_ns + age_ns)

    def looked(self, attempt: Attempt, used: int, elapsed_ns: int) -> tuple[Owner, int] | None:
        """Learn what an attempt uses now; return its task and need if that is to be recorded."""
        task = self._books.task(attempt.owner)
        look = task.look
        if look is None or look.key != attempt.key or used <= 0:
            return None
        before, look.last_bytes = look.last_bytes, used
        self._peaks[attempt.key] = max(self._peaks.get(attempt.key, 0), used)
        is_old = elapsed_ns - attempt.began_elapsed_ns >= self.tuning.look_settled_ns
        has_settled = is_old and used <= before * (1 + self.tuning.look_growth)
        if task.known is None:
            return self._looked_first(task, used, before, has_settled=has_settled)
        if has_settled and not task.is_provisional:
            self._due.remove(task.owner)
        return self._set(task, used) if used > task.known else None

    def _looked_first(
        self, task: TaskNeed, used: int, before: int, *, has_settled: bool
    ) -> tuple[Owner, int] | None:
        """Learn what an attempt of a task of unknown need uses; `before`: at the last look."""
        tuning = self.tuning
        seen = self._seen.pop(task, None)
        most = max(used, seen.used if seen else 0)
        if has_settled:
            task.is_provisional = True
            return self._set(task, int(most * tuning.look_margin))
        growth = tuning.unknown_growth
        # It grows on as it did since the last look, at most; at the first one it has hardly begun.
        growth = min(growth, max(1.0, used / before)) if before else growth**2
        self._seen[task] = _Seen(most, growth)
        return None


def _declared(attempt: Attempt) -> int | None:
    for name, amount in attempt.holds or attempt.task.execution.resources:
        if name == RAM:
            return amount
    return None
