"""What the engine is told. Each event is a fact or a wish; the moment comes beside it, never in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.model import Exit, Job, Now, State, Trigger


@dataclass(frozen=True, slots=True)
class JobsLoaded:
    """The job file was taken. Sent once, first."""

    jobs: tuple[Job, ...]
    #: Slots after this instant (wall clock) are this scheduler's to account for.
    since_ns: int
    #: What intervals count from.
    anchor_ns: int
    #: False where a scheduler before this one has already done what happens once at a start.
    is_first: bool = True
    #: Runs so far of jobs with `max_runs`, by job.
    run_counts: Mapping[str, int] = field(default_factory=dict)
    #: When a run last ended, for jobs with `every_from = "finish"`, by job.
    finishes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SeenAttempt:
    """An attempt that an earlier scheduler started, as the supervisor remembers it."""

    key: str
    run: str
    job: str
    task: str
    number: int
    slot_ns: int | None
    trigger: Trigger
    pid: int | None
    started: Now
    #: None while it runs.
    end: AttemptEnded | StartFailed | None = None
    #: What the earlier scheduler had set out to let it end as, if it had.
    ending: State | None = None


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that an earlier scheduler had made and that had begun nothing."""

    run: str
    job: str
    slot_ns: int | None
    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Recovered:
    """The unfinished runs that an earlier scheduler left. Sent after `JobsLoaded`."""

    attempts: tuple[SeenAttempt, ...]
    waiting: tuple[WaitingRun, ...] = ()
    #: Attempts whose ends the earlier scheduler had put on record.
    told: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The process of an attempt exists."""

    key: str
    pid: int
    started: Now


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The process of an attempt could not be made."""

    key: str
    message: str
    #: For want of processes, files or memory: not the job's fault, and worth another try.
    is_transient: bool
    at: Now


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The process of an attempt was reaped."""

    key: str
    exit: Exit
    at: Now


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The wall clock jumped by `delta_ns` against the elapsed one."""

    delta_ns: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Start nothing more and end what runs, with the kill ladder."""


@dataclass(frozen=True, slots=True)
class KillRequested:
    """Start nothing more and kill what runs at once."""


Event = (
    JobsLoaded
    | Recovered
    | Tick
    | AttemptStarted
    | StartFailed
    | AttemptEnded
    | ClockStepped
    | StopRequested
    | KillRequested
)
