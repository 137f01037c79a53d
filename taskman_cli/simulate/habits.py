"""What commands are taken to do: how long they run, what they use, and how they end.

A command that has been run before does what one of those runs did, drawn by chance: so run time, CPU time,
memory and failures go together as they did. Others take the time that was given, or one that is assumed.

What is drawn depends on the seed, the task, the slot and the attempt alone. So two simulations that differ in
the size of the pool differ by that, and not by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.executors import LOCAL
from taskman_cli.core.model import GATE, Exit
from taskman_cli.simulate.work import Kind, Phase, Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskman_cli.core.engine.effects import Start
    from taskman_cli.core.model import Job

#: A task, by the names of job and task.
Owner = tuple[str, str]

#: What is assumed of a command that nothing is known of, and of the command of `only_if`.
ASSUMED_NS, GATE_NS = SECOND_NS, SECOND_NS // 20
#: Which share of its run time a command without history uses the CPU, and how much memory it takes.
CPU_SHARE = 0.1
MEMORY_BYTES = 20 << 20
#: Commands wait at least so long: a run time of 0 is one that the clock did not show.
_LEAST_NS = 1_000_000
#: Random numbers from whole ones, as splitmix64 makes them.
_MASK = (1 << 64) - 1
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Basis(StrEnum):
    """What the run times of a task are based on."""

    HISTORY = "history"
    GIVEN = "given"
    ASSUMED = "assumed"


class Sample(NamedTuple):
    """How one attempt went."""

    duration_ns: int
    cpu_ns: int = 0
    peak_bytes: int = 0
    exit_code: int | None = 0
    signal: int | None = None
    #: It was ended by its `timeout`, so it would have taken longer.
    is_cut: bool = False
    #: Its process could not be made.
    is_unstarted: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """What an attempt will do; `end` None: its process cannot be made."""

    work: Work
    end: Exit | None
    #: How long the work takes if nothing else runs.
    alone_ns: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alone_ns", self.work.alone_ns)


class Habit(NamedTuple):
    """What the attempts of a task do."""

    basis: Basis
    acts: tuple[Act, ...]
    salt: int
    #: The middle of their run times, each alone on the machine.
    median_ns: int
    #: They load this machine: no executor carries them out.
    is_here: bool


class Habits:
    """The habits of all tasks."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        history: Mapping[Owner, Sequence[Sample]],
        given: Mapping[str, int],
        seed: int = 0,
        assumed_ns: int = ASSUMED_NS,
    ) -> None:
        """`given`: run times by job, or by "JOB.TASK"; they win over the history of that job."""
        self.of: dict[Owner, Habit] = {}
        for job in jobs:
            for task in job.commands:
                owner = job.id, task.id
                name = f"{job.id}.{task.id}"
                given_ns = given.get(name, None if task.id == GATE else given.get(job.id))
                samples = history.get(owner)
                acts: tuple[Act, ...]
                if given_ns is not None:
                    basis, acts = Basis.GIVEN, (_plain(given_ns),)
                elif samples:
                    basis, acts = Basis.HISTORY, tuple(map(_act, samples))
                else:
                    basis, acts = Basis.ASSUMED, (_plain(GATE_NS if task.id == GATE else assumed_ns),)
                is_here = task.execution.executor == LOCAL
                if not is_here:
                    acts = tuple(map(_elsewhere, acts))
                lengths = sorted(act.alone_ns for act in acts)
                salt = crc32(name.encode("utf-8", "surrogateescape"), seed & 0xFFFFFFFF)
                self.of[owner] = Habit(basis, acts, salt, lengths[len(lengths) // 2], is_here)

    def act(self, start: Start, due_ns: int) -> Act:
        """Draw what an attempt does; `due_ns` tells runs of a job apart."""
        habit = self.of[start.job, start.task.id]
        acts = habit.acts
        if len(acts) == 1:
            return acts[0]
        return acts[_mixed((due_ns ^ (habit.salt << 32)) + start.attempt * _STEP) % len(acts)]


def _mixed(number: int) -> int:
    """Return a number that looks like chance, the same for the same one."""
    number = ((number & _MASK) ^ ((number & _MASK) >> 30)) * _FIRST & _MASK
    number = (number ^ (number >> 27)) * _SECOND & _MASK
    return number ^ (number >> 31)


def _plain(length_ns: int) -> Act:
    length_ns = max(length_ns, _LEAST_NS)
    cpu_ns = max(1, int(length_ns * CPU_SHARE))
    return Act(_work(cpu_ns, length_ns - cpu_ns, MEMORY_BYTES), Exit(exit_code=0))


def _work(cpu_ns: int, sleep_ns: int, memory_bytes: int, width: int = 1) -> Work:
    """Return the work of a command that computes first and waits then."""
    phases = [Phase(Kind.CPU, cpu_ns), Phase(Kind.SLEEP, sleep_ns)]
    return Work(tuple(phases[: 2 if sleep_ns else 1]), memory_bytes, width=width)


def _elsewhere(act: Act) -> Act:
    """Return what this machine has of an attempt that an executor carries out: it waits for its end."""
    return Act(_work(1, act.alone_ns - 1, 0), act.end)


def _act(sample: Sample) -> Act:
    """Return what an attempt on record would do again."""
    length_ns = max(sample.duration_ns * (2 if sample.is_cut else 1), _LEAST_NS)
    cpu_ns = max(1, sample.cpu_ns * (2 if sample.is_cut else 1))
    width = max(1, -(-cpu_ns // length_ns))
    work = _work(cpu_ns, max(0, length_ns - cpu_ns // width), sample.peak_bytes, width)
    if sample.is_unstarted:
        return Act(work, None)
    if sample.is_cut:
        return Act(work, Exit(exit_code=0))
    return Act(work, Exit(exit_code=sample.exit_code, signal=sample.signal))
