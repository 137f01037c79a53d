"""Are two players at the same moment in the same state, so that they would go on in the same way?

All that can be reached from a player is compared, as a digest, so that nothing can be forgotten that is added
to the engine one day. What is left out is left out by name, in here, with the reason. Two players that were
cut, and are alike, play the same turns from then on.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from functools import partial
from hashlib import blake2b
from itertools import islice
from types import BuiltinMethodType, FunctionType, MethodType, MethodWrapperType
from typing import TYPE_CHECKING, Any

from taskman_cli.core.engine import events
from taskman_cli.core.engine.abroad import Tally as ExecutorTally
from taskman_cli.core.engine.admission import Gate
from taskman_cli.core.engine.books import TaskNeed
from taskman_cli.core.engine.failing import FailingJobs
from taskman_cli.core.engine.memory import Memory
from taskman_cli.core.engine.queue import DueQueue
from taskman_cli.core.engine.ready import Ready
from taskman_cli.core.engine.records import AttemptSpawned
from taskman_cli.core.engine.runs import Attempt, Run
from taskman_cli.core.engine.target import Target
from taskman_cli.core.engine.timetable import ArmedJob
from taskman_cli.core.model import Job, Policy, Settings, Task
from taskman_cli.core.schedule import Interval
from taskman_cli.simulate.foreseen import Foreseen
from taskman_cli.simulate.habits import Habits
from taskman_cli.simulate.machine import Machine
from taskman_cli.simulate.player import Player, Scenario
from taskman_cli.simulate.supervisor import Process, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Both players have the very same ones, and nothing but caches changes in them.
_GIVEN = (Habits, Scenario, Job, Task, Settings, Policy, type)
_GIVEN_MODULES = ("taskman_cli.core.schedule.", "zoneinfo")
_PLAIN = (int, float, str, bytes, type(None))
#: So many lines are put together: each is short.
_LINES_AT_ONCE = 1000
_BOUND = (MethodType, BuiltinMethodType, MethodWrapperType)
#: What counts from the beginning of a player, by the type it belongs to. Numbers of processes are in no
#: decision. `_busy_ns`, `kills` and `turns` are only told, and so are the jobs that fail: to sinks and
#: people, of whom a play has none. The speed is remembered for a number of tasks.
_LEFT_OUT: dict[type, frozenset[str]] = {
    Player: frozenset({"turns", "_busy_ns"}),
    Supervisor: frozenset({"pids"}),
    Process: frozenset({"pid"}),
    events.AttemptStarted: frozenset({"pid"}),
    Machine: frozenset(
        {"_busy_ns", "kills", "_sequence", "_speed", "_speed_of", "_timers", "_on_cpu", "_on_disk"}
    ),
    Foreseen: frozenset({"_computing", "_sequence"}),
    ExecutorTally: frozenset({"ends", "starts"}),
    DueQueue: frozenset({"_entries", "_heap", "_most", "_sequence"}),
    Ready: frozenset({"_arrivals"}),
    Attempt: frozenset({"place"}),
    Run: frozenset({"place"}),
    AttemptSpawned: frozenset({"pid"}),
    Gate: frozenset({"_freed", "_young"}),
    Memory: frozenset({"_guessed", "_guessed_by"}),
    FailingJobs: frozenset({"jobs"}),
    Target: frozenset({"_recorded_ns"}),
    ArmedJob: frozenset({"run_count", "anchor_ns", "since_ns"}),
}


def digest(player: Player) -> bytes:
    """Return what players that are in the same state have in common, and others do not."""
    found, lines = blake2b(), _State(player).lines()
    while some := b"\n".join(islice(lines, _LINES_AT_ONCE)):
        found.update(some + b"\n")
    return found.digest()


class _State:
    """A walk through all that belongs to a player."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self._arrivals = player.engine.pool._ready._arrivals
        #: The number of each object that was met, in order; objects are kept, so that no number comes again.
        self._met: dict[int, int] = {}
        self._kept: list[object] = []
        #: The slots of a type, and what of it is left out.
        self._slots: dict[type, tuple[set[str], set[str]]] = {}
        self._instead: dict[type, Callable[[Any], object]] = {
            DueQueue: _due,
            Attempt: self._place,
            Run: self._place,
            Target: self._recorded,
            Gate: _young,
            ArmedJob: self._of_job,
            Machine: _planned,
            Foreseen: _computing,
        }

    def lines(self) -> Iterator[bytes]:
        """Yield all that is there, in an order that the state alone decides."""
        waiting: list[object] = [self._player]
        while waiting:
            one = waiting.pop()
            if isinstance(one, _PLAIN):
                yield repr(one).encode()
                continue
            number = self._met.get(id(one))
            if number is not None:
                yield b"@%d" % number
                continue
            if isinstance(one, _GIVEN) or type(one).__module__.startswith(_GIVEN_MODULES):
                name = one.id if isinstance(one, (Job, Task)) else type(one).__name__
                yield name.encode("utf-8", "surrogateescape")
                continue
            self._met[id(one)] = len(self._met)
            self._kept.append(one)
            yield type(one).__name__.encode()
            waiting += reversed(list(self._parts(one)))

    def _parts(self, one: object) -> Iterator[object]:
        """Yield what an object consists of."""
        if isinstance(one, Enum):
            yield one.name
        elif isinstance(one, dict):
            yield len(one)
            yield from one  # keys in their order, which may decide
            yield from one.values()
        elif isinstance(one, (tuple, list, deque)):
            yield len(one)
            yield from one
        elif isinstance(one, (set, frozenset)):
            yield len(one)
            yield from sorted(one, key=_name_of)
        elif isinstance(one, _BOUND):
            yield one.__name__
            yield one.__self__
        elif isinstance(one, partial):
            yield from (one.func, one.args, one.keywords)
        elif isinstance(one, FunctionType):
            yield one.__qualname__
            yield from (cell.cell_contents for cell in one.__closure__ or ())
        else:
            for name in self._names(one):
                if hasattr(one, name):
                    yield name
                    yield getattr(one, name)
        if instead := self._instead.get(type(one)):
            yield instead(one)

    def _names(self, one: object) -> list[str]:
        """Return the names of what an object has, but for what is left out."""
        kind = type(one)
        if kind not in self._slots:
            slots = {name for base in kind.__mro__ for name in base.__dict__.get("__slots__", ())}
            left_out = {name for base in kind.__mro__ for name in _LEFT_OUT.get(base, ())}
            self._slots[kind] = slots, left_out
        slots, left_out = self._slots[kind]
        return sorted({*slots, *getattr(one, "__dict__", ())} - left_out)

    def _recorded(self, target: Target) -> int | None:
        """Return when the target was last recorded, as long as that matters."""
        now, engine = self._player.commands.now, self._player.engine
        at_ns, every_ns = target._recorded_ns, engine.settings.admission_tuning.target_every_ns
        return at_ns if at_ns is not None and now.elapsed_ns - at_ns < every_ns else None

    def _of_job(self, armed: ArmedJob) -> tuple[int | None, ...]:
        """Return what matters of the runs that a job has had, and of what its slots count from.

        A slot that comes is after now, less the jitter of its job. Its last slot matters only if it is later.
        """
        job, since_ns = armed.job, armed.since_ns
        is_late = since_ns > self._player.commands.now.wall_ns - job.policy.jitter_ns
        is_counted, is_anchored = job.policy.max_runs is not None, type(job.schedule) is Interval
        return (
            since_ns if is_late else None,
            armed.run_count if is_counted else None,
            armed.anchor_ns if is_anchored else None,
        )

    def _place(self, one: Attempt | Run) -> int | None:
        """Return a place among those that wait, counted from the last one that came; None: it has none."""
        return one.place - self._arrivals if one.place else None


def _due(queue: DueQueue[Any]) -> list[tuple[int, Any]]:
    """Return what is in a queue, in order: what is stale in its heap makes no difference."""
    return list(queue.walk())


def _young(gate: Gate) -> list[tuple[str, int, int]]:
    """Return the young attempts; what was free then, and what has been freed since, matter together."""
    return [(key, at_ns, free + gate._freed) for key, (at_ns, free) in gate._young.items()]


def _planned(machine: Machine) -> list[object]:
    """Return what a machine has planned, in order."""
    timers = [
        (at_ns, used, one)
        for at_ns, _, one, used in sorted(machine._timers, key=_place_of)
        if not one.is_over
    ]
    on_cpu, on_disk = (
        [(mark, one) for mark, _, one in sorted(marks, key=_place_of) if not one.is_over]
        for marks in (machine._on_cpu, machine._on_disk)
    )
    return [timers, on_cpu, on_disk]


def _computing(foreseen: Foreseen) -> list[object]:
    """Return the commands that compute, in order."""
    return [one for _, _, one in sorted(foreseen._computing, key=_place_of) if one.course is not None]


def _place_of(entry: tuple[Any, ...]) -> tuple[float, int]:
    return entry[0], entry[1]


def _name_of(one: object) -> str:
    return repr(one.owner if isinstance(one, TaskNeed) else one)
