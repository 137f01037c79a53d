"""What the engine puts on record: one line of the journal for each.

They are made durable before any action of the same step is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.model import Exit, SkipReason, State, Trigger


@dataclass(frozen=True, slots=True)
class RunQueued:
    """A run exists from here on."""

    run: str
    job: str
    #: None for a run that no slot asked for.
    slot_ns: int | None
    trigger: Trigger
    #: When it is to start: its slot with the job's jitter, or now.
    due_ns: int
    #: The one task that it is of; None: all of the job's.
    task: str | None = None
    #: Variables of its environment that it was asked for with.
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptBegun:
    """An attempt is about to be started: written before its process exists."""

    run: str
    job: str
    task: str
    attempt: int
    slot_ns: int | None
    #: False: it was cancelled while it waited. It is on record for its end only, and never started.
    is_start: bool = True


@dataclass(frozen=True, slots=True)
class AttemptWithdrawn:
    """An attempt that was about to start did not: there is no process, and it will begin anew or never."""

    run: str
    job: str
    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptSpawned:
    """The process of an attempt exists."""

    run: str
    job: str
    task: str
    attempt: int
    pid: int
    started: Now


@dataclass(frozen=True, slots=True)
class AttemptStopped:
    """A command is stopped (SIGSTOP), until its job goes on: no time of its `timeout` passes."""

    run: str
    job: str
    task: str
    attempt: int
    at: Now


@dataclass(frozen=True, slots=True)
class AttemptContinued:
    """A command that was stopped goes on."""

    run: str
    job: str
    task: str
    attempt: int
    #: How long it has been stopped by now, all in all.
    stopped_ns: int


@dataclass(frozen=True, slots=True)
class AttemptEnding:
    """An attempt is told to end; what does not is killed `kill_timeout` later, whoever is there then."""

    run: str
    job: str
    task: str
    attempt: int
    state: State
    at: Now


@dataclass(frozen=True, slots=True)
class AttemptStuck:
    """A command has been killed and does not end: the kernel holds it, for a disk or a file system mostly."""

    run: str
    job: str
    task: str
    attempt: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class AttemptAdopted:
    """A process that outlived its supervisor is watched again."""

    run: str
    job: str
    task: str
    attempt: int
    pid: int


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """An attempt is over."""

    run: str
    job: str
    task: str
    attempt: int
    state: State
    #: In words: "exit 3", "killed by SIGKILL", "not found: foo"; "" after success.
    detail: str
    #: None where there never was a process.
    exit: Exit | None
    ended_ns: int
    #: None where nobody knows.
    duration_ns: int | None
    #: The pause before the next attempt; None: there is none.
    retry_in_ns: int | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over, with all its tasks."""

    run: str
    job: str
    state: State
    slot_ns: int | None
    #: Tasks that were not brought to their own end: never begun, or not tried again.
    undone: tuple[str, ...] = ()
    #: Why, where its attempts do not say it.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RunCancelling:
    """A run is being ended: nothing of it begins any more, whoever goes on with it."""

    run: str
    job: str


@dataclass(frozen=True, slots=True)
class SlotsSkipped:
    """One slot, or several in a row, end without a run."""

    job: str
    first_ns: int
    last_ns: int
    #: None: too many to count.
    count: int | None
    reason: SkipReason
    #: The evidence, in words.
    detail: str
    #: The queued run that was given up, where one stood for the slot.
    run: str | None = None
    #: The run that was in the way.
    blocker: str | None = None
    #: They were of a definition that was changed or removed while nobody was there.
    is_owed: bool = False


@dataclass(frozen=True, slots=True)
class SpawnDelayed:
    """No process could be made for want of processes, files or memory: all starts wait, or one user's."""

    message: str
    pause_ns: int
    #: The one user whose starts wait; "": all do.
    user: str = ""
    #: The run that met that user's limit.
    run: str = ""


@dataclass(frozen=True, slots=True)
class ClockStepNoted:
    """The wall clock jumped."""

    delta_ns: int


@dataclass(frozen=True, slots=True)
class SuspendNoted:
    """The machine slept."""

    length_ns: int


@dataclass(frozen=True, slots=True)
class JobsTaken:
    """The definitions are in force; what is new against those that were in force before."""

    jobs: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    #: Numbers of the scheduler itself that are others now.
    settings: tuple[str, ...] = ()
    #: Who had the files read again; None: nobody did.
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Commanded:
    """Somebody had something done: "triggered", "paused", "resumed", "cancelled", "removed", …"""

    kind: str
    #: Who, in words.
    by: str
    job: str | None = None
    run: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SchedulerNoted:
    """Something befell the scheduler itself: `kind` is what the journal calls it.

    "scheduler_started", "scheduler_stopped", "stalled", "ledger_unwritable", "ledger_writable",
    "reload_failed", "watch_hangs", "watch_goes_on".
    """

    kind: str
    detail: str = ""
    #: When, if that was before it could be written.
    at_ns: int | None = None


Record = (
    RunQueued
    | AttemptBegun
    | AttemptWithdrawn
    | AttemptSpawned
    | AttemptStopped
    | AttemptContinued
    | AttemptEnding
    | AttemptStuck
    | AttemptAdopted
    | AttemptFinished
    | RunFinished
    | RunCancelling
    | SlotsSkipped
    | SpawnDelayed
    | ClockStepNoted
    | SuspendNoted
    | JobsTaken
    | Commanded
    | SchedulerNoted
)
