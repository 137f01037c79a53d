"""How much memory attempts need: what runs is booked, and what each job needs is learned from its runs.

A need is what the job file declares (`ram`), else the most that an earlier attempt of the task used, else a
guess. What an attempt uses is the memory of all its processes, looked at while it runs: of one attempt of
each task at a time, at ages that double, until it grows no more.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from taskman_cli.core.engine.marks import NeedLearned
from taskman_cli.core.engine.parts import of_gate
from taskman_cli.core.model import RAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskman_cli.core.engine.runs import Attempt
    from taskman_cli.core.model import Job
    from taskman_cli.core.tuning import AdmissionTuning

#: A task, by the names of job and task.
Owner = tuple[str, str]

#: The guess for an unknown need is of so many known ones.
_MOST_LATEST = 1000
#: A need is recorded again when it has changed by more than this share.
_WORTH_RECORDING = 0.1


class _Look(NamedTuple):
    """The next look at the memory of an attempt."""

    key: str
    age_ns: int
    #: What it used at the last look.
    last_bytes: int


class Memory:
    """What running attempts are taken to need."""

    def __init__(self, tuning: AdmissionTuning) -> None:
        self.tuning = tuning
        #: The memory that there is; None: unknown, so nothing is refused for it.
        self.total_bytes: int | None = None
        self._known: dict[Owner, int] = {}
        self._recorded: dict[Owner, int] = {}
        #: What attempts of tasks without a known need use, as last looked at.
        self._seen: dict[Owner, int] = {}
        #: Running attempts: their declared need, or their task.
        self._running: dict[str, int | Owner] = {}
        #: How many run of each task that declares nothing.
        self._counts: dict[Owner, int] = {}
        #: Sum of the declared needs, and of the known ones.
        self._declared = self._learned = 0
        #: Tasks without a known need that run, and how many attempts of them.
        self._unknown: set[Owner] = set()
        self._unknown_count = 0
        self._looks: dict[Owner, _Look] = {}
        #: The most that each of the attempts that were looked at used.
        self._peaks: dict[str, int] = {}
        #: The needs that became known last, also of one-off jobs that are over; and how many so far.
        self._latest: deque[int] = deque(maxlen=_MOST_LATEST)
        self._first_needs = 0
        #: The quantile of them, and when there were how many.
        self._typical, self._typical_of = 0, 0

    @of_gate
    def clear(self) -> None:
        """Take all attempts off the books; what was learned stays."""
        self._running.clear()
        self._counts.clear()
        self._unknown.clear()
        self._looks.clear()
        self._peaks.clear()
        self._declared = self._learned = self._unknown_count = 0

    @of_gate
    def resume(self, needs: Mapping[Owner, int]) -> None:
        """Continue with what an earlier scheduler has learned."""
        self._known.update(needs)
        self._recorded.update(needs)
        self._latest.extend(needs.values())
        self._first_needs += len(needs)

    def restate(self) -> list[NeedLearned]:
        """Return marks of all that was learned, for a new ledger."""
        return [NeedLearned(*owner, need) for owner, need in self._known.items()]

    def need(self, attempt: Attempt) -> int:
        """Return how much an attempt is taken to need."""
        declared = _declared(attempt)
        return self._need_of(owner_of(attempt)) if declared is None else declared

    def _need_of(self, owner: Owner) -> int:
        known = self._known.get(owner)
        if known is not None:
            return known
        return max(self._guess(), int(self._seen.get(owner, 0) * self.tuning.unknown_growth))

    def _guess(self) -> int:
        """Return what a task is taken to need of which nothing is known."""
        count = len(self._latest)
        if count >= self.tuning.known_needs:
            if not self._typical_of <= self._first_needs <= self._typical_of * 1.1:  # sorting costs
                needs = sorted(self._latest)
                self._typical = needs[min(int(count * self.tuning.known_quantile), count - 1)]
                self._typical_of = self._first_needs
            return self._typical
        return int((self.total_bytes or 0) * self.tuning.unknown_share)

    @property
    def booked(self) -> int:
        """Return the needs of all running attempts."""
        guess = self._guess() if self._unknown_count else 0
        total = self._declared + self._learned + guess * self._unknown_count
        for owner, used in self._seen.items():  # few: those of which one was looked at and none has ended
            if owner in self._unknown:
                more = int(used * self.tuning.unknown_growth) - guess
                total += max(0, more) * self._counts[owner]
        return total

    # --- what runs ---

    def begin(self, attempt: Attempt) -> None:
        """Book an attempt."""
        declared = _declared(attempt)
        if declared is not None:
            self._running[attempt.key] = declared
            self._declared += declared
            return
        owner = self._running[attempt.key] = owner_of(attempt)
        self._counts[owner] = self._counts.get(owner, 0) + 1
        known = self._known.get(owner)
        if known is None:
            self._unknown.add(owner)
            self._unknown_count += 1
        else:
            self._learned += known
        if owner not in self._looks:
            self._looks[owner] = _Look(attempt.key, self.tuning.look_ns, 0)

    def end(self, attempt: Attempt) -> None:
        """Take an attempt off the books."""
        booked = self._running.pop(attempt.key, None)
        if booked is None:
            return
        if isinstance(booked, int):
            self._declared -= booked
            return
        if booked in self._unknown:
            self._unknown_count -= 1
        else:
            self._learned -= self._known[booked]
        self._counts[booked] -= 1
        if not self._counts[booked]:
            del self._counts[booked]
            self._unknown.discard(booked)
        self._peaks.pop(attempt.key, None)
        look = self._looks.get(booked)
        if look is not None and look.key == attempt.key:
            del self._looks[booked]

    # --- what is learned ---

    @of_gate
    def learn(self, attempt: Attempt, peak_bytes: int) -> tuple[Owner, int] | None:
        """Learn from an attempt that has ended; return its task and need if that is to be recorded.

        `peak_bytes` is what its largest process used. Of what was looked at while it ran, more may be known.
        """
        used = max(peak_bytes, self._peaks.pop(attempt.key, 0))
        if _declared(attempt) is not None or used <= 0:
            return None
        owner = owner_of(attempt)
        self._seen.pop(owner, None)
        return self._set(owner, used, may_fall=True)

    @of_gate
    def forget(self, job: Job) -> None:
        """Forget what the tasks of a job need that is not defined any more."""
        for task in job.tasks:
            owner = job.id, task.id
            if owner not in self._counts:
                for found in (self._known, self._recorded, self._seen):
                    found.pop(owner, None)

    def _set(self, owner: Owner, used: int, *, may_fall: bool) -> tuple[Owner, int] | None:
        known = self._known.get(owner)
        if known is None or used > known:
            need = used
        elif may_fall:
            need = int(known + (used - known) * self.tuning.need_decay)
        else:
            need = known
        self._known[owner] = need
        if known is None:
            self._latest.append(need)
            self._first_needs += 1
        count = self._counts.get(owner, 0)
        self._learned += count * (need - (known or 0))
        if owner in self._unknown:
            self._unknown.remove(owner)
            self._unknown_count -= count
        recorded = self._recorded.get(owner)
        if recorded is not None and abs(need - recorded) <= recorded * _WORTH_RECORDING:
            return None
        self._recorded[owner] = need
        return owner, need

    # --- looks ---

    @of_gate
    def first_look(self, attempt: Attempt) -> int | None:
        """Return when an attempt that has just started is to be looked at, on the elapsed clock, or None."""
        look = self._looks.get(owner_of(attempt))
        return attempt.began_elapsed_ns + look.age_ns if look and look.key == attempt.key else None

    @of_gate
    def next_look(self, running: Mapping[str, Attempt]) -> int | None:
        """Return when any attempt is to be looked at next, on the elapsed clock, or None."""
        return min((at_ns for at_ns, _ in self._coming(running)), default=None)

    @of_gate
    def due_looks(self, running: Mapping[str, Attempt], elapsed_ns: int) -> list[Attempt]:
        """Return the attempts to be looked at now; each is looked at again at twice its age."""
        due = [attempt for at_ns, attempt in self._coming(running) if at_ns <= elapsed_ns]
        for attempt in due:
            owner = owner_of(attempt)
            look = self._looks[owner]
            age_ns = max(look.age_ns, elapsed_ns - attempt.began_elapsed_ns) * 2
            self._looks[owner] = look._replace(age_ns=age_ns)
        return due

    def _coming(self, running: Mapping[str, Attempt]) -> Iterable[tuple[int, Attempt]]:
        for look in self._looks.values():
            attempt = running.get(look.key)
            if attempt is not None and attempt.pid is not None and look.age_ns <= self.tuning.look_last_ns:
                yield attempt.began_elapsed_ns + look.age_ns, attempt

    @of_gate
    def looked(self, attempt: Attempt, used: int, elapsed_ns: int) -> tuple[Owner, int] | None:
        """Learn what an attempt uses now; return its task and need if that is to be recorded."""
        owner = owner_of(attempt)
        look = self._looks.get(owner)
        if look is None or look.key != attempt.key or used <= 0:
            return None
        self._peaks[attempt.key] = max(self._peaks.get(attempt.key, 0), used)
        self._seen[owner] = max(self._seen.get(owner, 0), used)
        is_old = elapsed_ns - attempt.began_elapsed_ns >= self.tuning.look_settled_ns
        has_settled = is_old and used <= look.last_bytes * (1 + self.tuning.look_growth)
        if has_settled:
            self._looks[owner] = look._replace(age_ns=self.tuning.look_last_ns + 1)
            return self._set(owner, int(used * self.tuning.look_margin), may_fall=False)
        self._looks[owner] = look._replace(last_bytes=used)
        return None if owner in self._unknown else self._set(owner, used, may_fall=False)


def owner_of(attempt: Attempt) -> Owner:
    """Return the task of an attempt."""
    return attempt.run.job.id, attempt.task.id


def _declared(attempt: Attempt) -> int | None:
    for name, amount in attempt.holds or attempt.task.execution.resources:
        if name == RAM:
            return amount
    return None
