"""What the engine keeps of runs and attempts while they are going on. Mutable, and the engine's alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskman_cli.core.model import Mode, State

if TYPE_CHECKING:
    from taskman_cli.core.model import Job, Task, Trigger

#: Crockford's base 32 in lower case: no i, l, o, u to misread.
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 10
#: Run numbers count steps of 2**13 ns (8 µs) since 1970: ten digits last until 2262.
_STEP_BITS = 13


def run_number(wall_ns: int, *, last: int) -> int:
    """Return a number for a run made now: the time, or the next one after the last."""
    return max(last + 1, wall_ns >> _STEP_BITS)


def encode_run_id(number: int) -> str:
    """Write a run's number so that ids sort as their numbers do."""
    digits = [_DIGITS[(number >> shift) & 31] for shift in range(5 * (_ID_LENGTH - 1), -1, -5)]
    return "".join(digits)


def decode_run_id(run_id: str) -> int:
    """Undo `encode_run_id`."""
    number = 0
    for digit in run_id:
        number = number << 5 | _DIGITS.index(digit)
    return number


def attempt_key(run_id: str, task_id: str, number: int) -> str:
    """Return the name of an attempt, unique for all time."""
    return f"{run_id}.{task_id}.{number}"


def queued_at_ns(run_id: str) -> int:
    """Return when a run was made, to 8 µs, on the wall clock."""
    return decode_run_id(run_id) << _STEP_BITS


@dataclass(slots=True, eq=False)
class Attempt:
    """One process of one task of one run: wished for, or running."""

    key: str
    run: Run
    task: Task
    number: int
    state: State = State.QUEUED
    pid: int | None = None
    #: When the process came to be; before that, when it was asked for.
    began_elapsed_ns: int = 0
    #: It is on record; a start that found no room on the machine is asked for again under the same record.
    has_begun: bool = False
    #: What its end will be called, once we have set out to end it.
    ending: State | None = None

    @classmethod
    def of(cls, run: Run, task: Task, number: int) -> Attempt:
        """Make attempt `number` of a task; its key names it to the supervisor and in the output directory."""
        return cls(key=attempt_key(run.id, task.id, number), run=run, task=task, number=number)


@dataclass(slots=True, eq=False)
class Run:
    """One execution of a job that is not over."""

    id: str
    job: Job
    slot_ns: int | None
    trigger: Trigger
    #: When it was to start: its slot with the job's jitter, or when it was asked for.
    due_ns: int
    state: State = State.QUEUED
    #: Tasks that have not begun, in order.
    pending: list[Task] = field(default_factory=list)
    #: The latest attempt of each task that has begun and is not over.
    attempts: dict[str, Attempt] = field(default_factory=dict)
    #: How each task ended.
    results: dict[str, State] = field(default_factory=dict)
    #: The latest attempt of each task that the supervisor knows: what a new scheduler would need.
    keys: dict[str, str] = field(default_factory=dict)
    #: Attempts whose end is on record though the run is not over.
    told: set[str] = field(default_factory=set)
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Tell whether no task is left to begin or to end."""
        return not self.attempts and not self.pending

    def verdict(self) -> State:
        """Return how the run ended, from how its tasks did."""
        if self.is_cancelled:
            return State.CANCELLED
        for worst in (State.FAILED, State.TIMED_OUT):
            if worst in self.results.values():
                return worst
        return State.SUCCEEDED

    def take_tasks(self) -> list[Task]:
        """Take out the tasks that begin now."""
        if self.job.policy.mode is Mode.SEQUENCE:
            if self.attempts or not self.pending:
                return []
            return [self.pending.pop(0)]
        tasks, self.pending = self.pending, []
        return tasks


@dataclass(slots=True)
class Activity:
    """What a job has under way; a job that is idle has none."""

    active: dict[str, Run] = field(default_factory=dict)
    #: Runs that wait for the active ones to end.
    backlog: deque[Run] = field(default_factory=deque)
