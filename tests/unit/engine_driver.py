"""A scheduler without a world: the engine, a clock that stands still, and processes that do as told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from taskman_cli.core.clock import SECOND_NS, Now
from taskman_cli.core.engine import effects, events
from taskman_cli.core.engine.definition import definition_of
from taskman_cli.core.engine.engine import Engine
from taskman_cli.core.model import Execution, Exit, Job, Policy, Settings, Task
from taskman_cli.core.schedule import Interval
from taskman_cli.core.tuning import Admission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.schedule import Schedule

#: 2026-11-24 04:00 UTC; and the machine had been up for a thousand seconds.
START = Now(1_795_492_800 * SECOND_NS, 1_000 * SECOND_NS)

#: For tests of all but the gate: each attempt starts if a seat is free, and no timer looks at its memory.
FIXED = Settings(admission=Admission.FIXED)

T = TypeVar("T")


def seconds(count: float) -> int:
    """Return nanoseconds."""
    return int(count * SECOND_NS)


def make_job(
    name: str = "job",
    schedule: Schedule | None = None,
    *,
    policy: Policy | None = None,
    execution: Execution | None = None,
    tasks: tuple[str, ...] = ("main",),
    command: str = "true",
    enabled: bool = True,
) -> Job:
    """Make a job; every ten seconds unless a schedule is given."""
    return Job(
        name,
        schedule or Interval(seconds(10)),
        tuple(Task(task, command, execution or Execution()) for task in tasks),
        policy or Policy(),
        enabled,
    )


@dataclass
class Driver:
    """Feeds an engine, keeps all effects, and answers starts when told to."""

    jobs: tuple[Job, ...]
    settings: Settings = FIXED
    now: Now = START
    is_first: bool = True
    #: All slots due by then are accounted for; None: by now.
    since_ns: int | None = None
    #: When the jobs were armed, which their intervals count from; None: then too.
    anchor_ns: int | None = None
    run_counts: Mapping[str, int] = field(default_factory=dict)
    finishes: Mapping[str, int] = field(default_factory=dict)
    #: What an earlier scheduler left unfinished.
    runs: tuple[events.OpenRun, ...] = ()
    #: When the rate of each resource has recovered.
    rates: Mapping[str, int] = field(default_factory=dict)
    #: The supervisor holds starts that are asked for early.
    has_early: bool = False
    #: How many jobs a tick decides on; None: all.
    portion: int | None = None
    done: list[effects.Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.settings, portion=self.portion)
        known = {}
        since_ns = self.since_ns
        if not self.is_first or self.run_counts or self.finishes or self.since_ns or self.anchor_ns:
            since_ns = self.now.wall_ns if self.since_ns is None else self.since_ns
            anchor_ns = since_ns if self.anchor_ns is None else self.anchor_ns
            known = {
                job.id: events.JobStanding(
                    definition_of(job),
                    anchor_ns,
                    anchor_ns,
                    self.run_counts.get(job.id, 0),
                    self.finishes.get(job.id),
                )
                for job in self.jobs
            }
        self.send(
            events.JobsLoaded(
                self.jobs,
                known,
                since_ns if known else None,
                runs=self.runs,
                is_new_boot=self.is_first,
                is_new_life=self.is_first,
                rates=self.rates,
                has_early=self.has_early,
            )
        )

    def send(self, event: events.Event) -> list[effects.Effect]:
        """Give the engine an event and return its effects."""
        new = self.engine.handle(event, self.now)
        self.done += new
        return new

    def at(self, second: float) -> list[effects.Effect]:
        """Let it be `second` seconds after the start, on both clocks, and tick."""
        self.now = Now(START.wall_ns + seconds(second), START.elapsed_ns + seconds(second))
        return self.send(events.Tick())

    def began(self, key: str | None = None, pid: int = 100) -> list[effects.Effect]:
        """Let the process of an attempt exist; by default of the last one asked for."""
        return self.send(events.AttemptStarted(key or self.last_key, pid, self.now))

    def ended(
        self, key: str | None = None, code: int | None = 0, signum: int | None = None
    ) -> list[effects.Effect]:
        """Let an attempt end; by default the last one asked for, with success."""
        end = Exit(exit_code=None if signum else code, signal=signum)
        return self.send(events.AttemptEnded(key or self.last_key, end, self.now))

    def failed(
        self, key: str | None = None, *, is_transient: bool = False, is_users: bool = False
    ) -> list[effects.Effect]:
        """Let the start of an attempt fail; by default of the last one asked for."""
        message = "Resource temporarily unavailable" if is_transient else "not found: nosuch"
        return self.send(events.StartFailed(key or self.last_key, message, is_transient, self.now, is_users))

    @property
    def last_key(self) -> str:
        """Return the key of the attempt last asked for."""
        return self.starts[-1].key

    @property
    def starts(self) -> list[effects.Start]:
        """Return all starts asked for."""
        return of_type(self.done, effects.Start)

    @property
    def wake_s(self) -> tuple[float | None, float | None]:
        """Return when the engine wants to be woken, in seconds after the start, on both clocks."""
        wall_ns, elapsed_ns = self.engine.next_wake()
        return (
            None if wall_ns is None else (wall_ns - START.wall_ns) / SECOND_NS,
            None if elapsed_ns is None else (elapsed_ns - START.elapsed_ns) / SECOND_NS,
        )


def of_type(done: list[effects.Effect], kind: type[T]) -> list[T]:
    """Return the effects of one kind."""
    return [effect for effect in done if isinstance(effect, kind)]


def slot_s(effect: effects.Start | effects.RunQueued) -> float | None:
    """Return the slot of a start in seconds after the start of it all."""
    return None if effect.slot_ns is None else (effect.slot_ns - START.wall_ns) / SECOND_NS
