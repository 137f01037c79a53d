"""The engine's state of unfinished runs and attempts. It is mutable, and nothing else uses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from taskman_cli.core.engine.marks import RunTold
from taskman_cli.core.engine.records import AttemptBegun, AttemptContinued, RunCancelling, RunQueued
from taskman_cli.core.executors import LOCAL, split_handle
from taskman_cli.core.model import GATE, Mode, State
from taskman_cli.core.sinks import ReportKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taskman_cli.core.engine.records import (
        AttemptEnding,
        AttemptFinished,
        AttemptSpawned,
        AttemptStopped,
        Record,
    )
    from taskman_cli.core.model import Amounts, Job, Task, Trigger

#: Crockford's base 32 in lower case: no i, l, o, u to misread.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGIT_SET = frozenset(_DIGITS)
#: Two at a time: an id is written for each run.
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]
#: To the digits that Python reads a number of base 32 by.
_TO_PYTHON = str.maketrans(_DIGITS, "0123456789abcdefghijklmnopqrstuv")
_ID_LENGTH = 10
#: Run numbers count steps of 2**13 ns (8 µs) since 1970: ten digits last until 2262.
_STEP_BITS = 13


def run_number(wall_ns: int, *, last: int) -> int:
    """Return a number for a run made now: the time, or the next one after the last."""
    number = wall_ns >> _STEP_BITS
    return number if number > last else last + 1


def encode_run_id(number: int) -> str:
    """Write a run's number so that ids sort as their numbers do."""
    return _first_digits(number >> 20) + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]


@lru_cache(maxsize=1)
def _first_digits(number: int) -> str:
    """Return the first six digits: the same for the runs of some seconds."""
    return _PAIRS[number >> 20 & 1023] + _PAIRS[number >> 10 & 1023] + _PAIRS[number & 1023]


def decode_run_id(run_id: str) -> int:
    """Undo `encode_run_id`. Raises ValueError for text that is not a run's id."""
    if len(run_id) != _ID_LENGTH or not _DIGIT_SET.issuperset(run_id):
        raise ValueError(f"{run_id!r} is not the id of a run")
    return int(run_id.translate(_TO_PYTHON), 32)


def numbers_of(prefix: str) -> tuple[int, int] | None:
    """Return the first and the last number of a run whose id begins like this; None: no id does."""
    if not 0 < len(prefix) <= _ID_LENGTH or not _DIGIT_SET.issuperset(prefix):
        return None
    low, high = (prefix.ljust(_ID_LENGTH, digit) for digit in (_DIGITS[0], _DIGITS[-1]))
    return decode_run_id(low), decode_run_id(high)


def attempt_key(run_id: str, task_id: str, number: int) -> str:
    """Return the key of an attempt; no other attempt ever has it."""
    return f"{run_id}.{task_id}.{number}"


def queued_at_ns(run_id: str) -> int:
    """Return when a run was made, to 8 µs, on the wall clock."""
    return decode_run_id(run_id) << _STEP_BITS


@dataclass(slots=True, eq=False)
class Attempt:
    """One process of one task of one run, from the wait for a seat to its end."""

    key: str
    run: Run
    task: Task
    number: int
    #: The names of its job and task: what is known of its needs is known of all with the same.
    owner: tuple[str, str]
    state: State = State.QUEUED
    #: The record of its process, once there is one.
    spawned: AttemptSpawned | None = None
    #: When the process was made; before that, when it was asked for.
    began_elapsed_ns: int = 0
    #: Its begin is on record.
    has_begun: bool = False
    #: The state that it will end in, once it was told to end.
    ending: State | None = None
    #: The record of that.
    told: AttemptEnding | None = None
    #: When it got KILL.
    killed_elapsed_ns: int | None = None
    #: KILL has not ended it, and that is on record.
    is_stuck: bool = False
    #: The record that it is stopped, as long as it is.
    stopped: AttemptStopped | None = None
    #: How long it was stopped before that.
    stopped_ns: int = 0
    #: What it holds of the resources while it has a seat.
    holds: Amounts = ()
    #: Since when it waits for a seat, on the elapsed clock; None: it has not waited yet.
    waits_since_ns: int | None = None
    #: What carries it out: the executor that it has begun on, if it has.
    executor: str = LOCAL
    #: By which its executor finds it again, once it has begun; "": it is a command here. `be_named` sets it.
    handle: str = ""
    #: It is no command here: it takes a seat, but none of this machine's load.
    is_remote: bool = False
    #: How far it is, as its executor says: the part of 1, if that is known, and words.
    progress: tuple[float | None, str] | None = None
    #: Why its executor does not know how it stands; "": it does.
    unheard: str = ""
    #: Its place among those of its rank; 0: it gets the last.
    place: int = 0
    #: It may be the one of its task whose memory is looked at, if there is a gate.
    is_looked_at: bool = False
    #: Its start was asked for while all seats were taken, and it is not known to have one yet.
    is_early: bool = False

    @classmethod
    def of(cls, run: Run, task: Task, number: int) -> Attempt:
        """Make attempt `number` of a task; its key names it to the supervisor and in the output directory."""
        key = f"{run.id}.{task.id}.{number}"  # as `attempt_key` has it
        attempt = cls(key, run, task, number, (run.job.id, task.id), place=run.place)
        if task.execution.executor != LOCAL:
            attempt.executor, attempt.is_remote = task.execution.executor, True
        return attempt

    def be_named(self, handle: str) -> None:
        """Note by which its executor finds it again; "": it has not begun, or is a command here."""
        self.handle = handle
        if handle:
            self.executor = split_handle(handle)[0]
        else:
            self.executor = LOCAL if self.has_begun else self.task.execution.executor
        self.is_remote = self.executor != LOCAL

    def stopped_until_ns(self, elapsed_ns: int) -> int:
        """Return how long it has been stopped in total, up to an instant on the elapsed clock."""
        now_ns = 0 if self.stopped is None else max(0, elapsed_ns - self.stopped.at.elapsed_ns)
        return self.stopped_ns + now_ns

    def goes_on(self, stops_to: int | None) -> bool:
        """Tell whether it was to be stopped, with all runs up to a number, and could not be."""
        is_at_work = self.spawned is not None and self.stopped is None and self.ending is None
        return is_at_work and stops_to is not None and decode_run_id(self.run.id) <= stops_to

    @property
    def pid(self) -> int | None:
        """Return its process id, once that is known."""
        return self.spawned.pid if self.spawned else None

    def continued(self, why: str = "") -> AttemptContinued:
        """Return the record that it goes on, after all the time in which it was stopped."""
        run = self.run
        return AttemptContinued(run.id, run.job.id, self.task.id, self.number, self.stopped_ns, why)

    @property
    def is_in_pool(self) -> bool:
        """Tell whether it has a seat, and does not still wait for one with the supervisor."""
        return self.state is State.RUNNING and not self.is_early

    @property
    def is_defined(self) -> bool:
        """Tell whether its task is still defined; a stand-in has no command, and never begins again."""
        return self.task.command != ()

    def begun(self, *, is_start: bool = True) -> AttemptBegun:
        """Return the record that it is about to start, or (`is_start` False) that it never will."""
        run = self.run
        return AttemptBegun(
            run.id, run.job.id, self.task.id, self.number, run.slot_ns, is_start, self.holds, self.handle
        )


@dataclass(slots=True, eq=False)
class Run:
    """One execution of a job that is not over."""

    id: str
    job: Job
    slot_ns: int | None
    trigger: Trigger
    #: When it was due: its slot with the job's jitter, or when it was requested.
    due_ns: int
    state: State = State.QUEUED
    #: Tasks that have not begun, in order.
    pending: list[Task] = field(default_factory=list)
    #: The command that says whether it begins, until that has begun.
    gate: Task | None = None
    #: The latest attempt of each task that has begun and is not over.
    attempts: dict[str, Attempt] = field(default_factory=dict)
    #: How each task ended.
    results: dict[str, State] = field(default_factory=dict)
    is_cancelled: bool = False
    #: The one task to run; None: all of the job's.
    only: str | None = None
    #: Environment variables given with the request.
    params: Mapping[str, str] = field(default_factory=dict)
    #: The record of each task's latest attempt that is over.
    ended: dict[str, AttemptFinished] = field(default_factory=dict)
    #: A command of it did not end after KILL, and is not waited for any more.
    is_abandoned: bool = False
    #: The number of its attempts that were lost.
    lost: int = 0
    #: Why it ends as it does, if its attempts do not say so.
    detail: str = ""
    #: Since when its latest tasks wait for a seat, on the elapsed clock; None: no task waits yet.
    waits_since_ns: int | None = None
    #: The place of its gate among those of its rank, which what follows has, too; 0: it gets the last.
    place: int = 0
    #: When its first process was made, on the elapsed clock; None: none was, or an earlier scheduler saw it.
    began_elapsed_ns: int | None = None
    #: That it has begun was told to the sinks, if they want to know.
    is_told: bool = False
    #: It was told that it takes long.
    is_slow: bool = False
    #: It has waited for longer than a step, and must not begin after its `start_deadline`.
    is_waiting: bool = False
    #: It is for a slot of a job that `policy` calls plain, and was never put back nor changed.
    is_plain: bool = False

    @property
    def is_over(self) -> bool:
        """Tell whether no task is left to begin or to end."""
        return not self.attempts and not self.pending

    @property
    def is_gated(self) -> bool:
        """Tell whether `only_if` has said that it does not begin."""
        return self.results.get(GATE) is State.SKIPPED

    @property
    def has_begun(self) -> bool:
        """Tell whether any attempt of it has begun: from then on it is not a waiting run any more."""
        return bool(self.ended) or self.has_process

    @property
    def is_stopped(self) -> bool:
        """Tell whether a command of it is stopped."""
        return any(attempt.stopped is not None for attempt in self.attempts.values())

    @property
    def has_process(self) -> bool:
        """Tell whether an attempt of it holds a seat."""
        return any(attempt.state is State.RUNNING for attempt in self.attempts.values())

    @property
    def is_in_pool(self) -> bool:
        """Tell whether an attempt of it has a seat that is known to be its own."""
        return any(attempt.is_in_pool for attempt in self.attempts.values())

    def has_task(self, task_id: str) -> bool:
        """Tell whether a task of it is not over."""
        return task_id in self.attempts or any(task.id == task_id for task in self.pending)

    def close_task(self, task_id: str, state: State) -> None:
        """Note how a task ended; in a sequence, nothing follows a task that failed."""
        self.attempts.pop(task_id, None)
        self.waits_since_ns = None
        self.results[task_id] = state
        if task_id == GATE and state is not State.SUCCEEDED:
            self.pending.clear()
        elif state is not State.SUCCEEDED and self.job.policy.mode is Mode.SEQUENCE:
            # A cancelled task may not have had its turn yet: the tasks before it still run.
            tasks = [task.id for task in self.job.tasks]
            before = tasks[: tasks.index(task_id)] if task_id in tasks else []
            self.pending = [task for task in self.pending if task.id in before]

    def verdict(self) -> State:
        """Return the state of the run, from the states of its tasks."""
        if self.is_abandoned:
            return State.LOST
        if self.is_cancelled:
            return State.CANCELLED
        if len(self.results) == 1:
            return next(iter(self.results.values()))
        if all(state is State.SUCCEEDED for state in self.results.values()):
            return State.SUCCEEDED
        worst = (State.FAILED, State.TIMED_OUT, State.LOST, State.CANCELLED, State.SKIPPED)
        return next(state for state in worst if state in self.results.values())

    def end(self, elapsed_ns: int) -> tuple[int, int | None]:
        """Return when it ended, on the wall clock, and how long it took, now that it is over.

        0: no command of it has ended. None: unknown, or it had no process.
        """
        ends = list(self.ended.values())
        if len(ends) == 1 and (end := ends[0]).attempt == 1:  # nearly always
            return end.ended_ns, None if end.exit is None else end.duration_ns
        ended_ns = max([end.ended_ns for end in ends], default=0)
        if self.began_elapsed_ns is not None:
            return ended_ns, max(0, elapsed_ns - self.began_elapsed_ns)
        lengths = [end.duration_ns for end in ends if end.exit is not None and end.duration_ns is not None]
        return ended_ns, max(lengths, default=None)

    def take_tasks(self) -> list[Task]:
        """Remove and return the tasks that begin now."""
        if not self.pending or GATE in self.attempts:
            return []
        if self.gate is not None:
            gate, self.gate = self.gate, None
            return [gate]
        if self.job.policy.mode is Mode.SEQUENCE:
            if self.attempts or not self.pending:
                return []
            return [self.pending.pop(0)]
        tasks, self.pending = self.pending, []
        return tasks

    def queued(self) -> RunQueued:
        """Return the record that it exists."""
        return RunQueued(
            self.id, self.job.id, self.slot_ns, self.trigger, self.due_ns, self.only, self.params
        )

    def restate(self) -> Iterator[Record | RunTold]:
        """Return the records that the next scheduler needs."""
        yield self.queued()
        for end in self.ended.values():
            yield AttemptBegun(self.id, self.job.id, end.task, end.attempt, self.slot_ns)
            yield end
        for attempt in self.attempts.values():
            if attempt.has_begun:
                yield attempt.begun()
            if attempt.spawned:
                yield attempt.spawned
            if attempt.stopped_ns:
                yield attempt.continued()
            if attempt.stopped:
                yield attempt.stopped
            if attempt.told:
                yield attempt.told
        if self.is_cancelled:
            yield RunCancelling(self.id, self.job.id)
        if self.is_told:
            yield RunTold(self.id, ReportKind.STARTED)
        if self.is_slow:
            yield RunTold(self.id, ReportKind.SLOW)


def tasks_of(job: Job, only: str | None) -> list[Task]:
    """Return the tasks of a run: the one that is named, or all."""
    return list(job.tasks) if only is None else [task for task in job.tasks if task.id == only]


@dataclass(slots=True, eq=False)
class Activity:
    """The unfinished runs of a job; an idle job has none."""

    active: dict[str, Run] = field(default_factory=dict)
    #: Runs that wait for the active ones to end.
    backlog: list[Run] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """Return all of them."""
        return [*self.active.values(), *self.backlog]
