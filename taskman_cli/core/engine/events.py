"""What the engine is told. Each event is a fact or a wish; the moment comes beside it, never in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.marks import JobHidden
    from taskman_cli.core.model import Exit, Job, Pause, Settings, State, Trigger
    from taskman_cli.core.protocol import Request


@dataclass(frozen=True, slots=True)
class JobStanding:
    """How a job stands on record."""

    #: When it was due, see `core.definition`.
    definition: str
    #: Slots after this instant are to be accounted for.
    since_ns: int
    #: What its interval counts from.
    anchor_ns: int
    run_count: int = 0
    finish_ns: int | None = None
    pause: Pause | None = None
    #: The slot that was taken before its time, see `ArmedJob.taken_ns`.
    taken_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """An attempt's end is on record."""

    state: State
    ended_ns: int
    #: When the next attempt is to begin, on the wall clock; None: none follows.
    next_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Unstarted:
    """An attempt is on record, and its process was never asked for."""


@dataclass(frozen=True, slots=True)
class Gone:
    """An attempt was running, and nobody knows how it ended."""

    #: Why, if it is not that nobody saw it.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Going:
    """An attempt's process was there when it was last heard of."""

    pid: int
    started: Now
    #: What it was told to end as, if it was.
    ending: State | None = None
    #: Its supervisor is not this one: it is to be adopted.
    is_orphan: bool = False
    #: When it was told to end, as far as anybody knows.
    told: Now | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """An attempt's process has ended, which is not on record yet."""

    pid: int
    started: Now
    end: AttemptEnded
    ending: State | None = None


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt of an unfinished run, and what has become of it."""

    task: str
    number: int
    fate: Told | Unstarted | Gone | Going | Over | StartFailed
    #: Since when it is stopped, if it is; and how long it was before.
    stopped: Now | None = None
    stopped_ns: int = 0
    #: False: the supervisor knows of it, and the ledger does not.
    is_on_record: bool = True


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that an earlier scheduler made and did not finish."""

    run: str
    job: str
    slot_ns: int | None
    trigger: Trigger
    #: All of them, in the order of their numbers; none: it had begun nothing.
    attempts: tuple[OpenAttempt, ...] = ()
    is_cancelled: bool = False
    #: The one task that it is of, and what it was asked for with, see `effects.RunQueued`.
    task: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    #: False: the supervisor knows of it, and the ledger does not.
    is_on_record: bool = True
    #: By how much the clock was set while it waited, up to the end of that scheduler.
    moved_ns: int = 0
    #: Why it is closed as lost instead of gone on with, in words: a scheduler could not deal with it.
    set_aside: str = ""


@dataclass(frozen=True, slots=True)
class JobsLoaded:
    """The job file was taken. Sent once, first, with where things stood when the last scheduler ended."""

    jobs: tuple[Job, ...]
    #: What is on record of the jobs that were in force, by name.
    known: Mapping[str, JobStanding] = field(default_factory=dict)
    #: All slots due by then are accounted for; None: there never was a scheduler.
    accounted_ns: int | None = None
    #: How far the wall clock has stepped against the elapsed one since then.
    step_ns: int = 0
    #: No run was made after the one with this number.
    last_run: int = 0
    #: The runs that the last scheduler left unfinished. They go on before anything new is begun.
    runs: tuple[OpenRun, ...] = ()
    #: Which start of the machine this is, and which start of the program.
    boot: str = ""
    supervisor: int = 0
    #: Whether what is done once a start of the machine, or of the program, is to be done now.
    is_new_boot: bool = True
    is_new_life: bool = True
    #: What the files define and is left out all the same.
    hidden: tuple[JobHidden, ...] = ()
    #: Jobs to be paused, and why in words: an earlier scheduler could not deal with them.
    set_aside: Mapping[str, str] = field(default_factory=dict)


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
    #: It lacked something in a process that was its user's already: a limit of his, and of nobody else.
    is_users: bool = False


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The process of an attempt was reaped."""

    key: str
    exit: Exit
    at: Now


@dataclass(frozen=True, slots=True)
class StartHeld:
    """The start of an attempt could not be put on record, and so was not asked for."""

    key: str


@dataclass(frozen=True, slots=True)
class StartsReleased:
    """What is to start can be put on record again."""


@dataclass(frozen=True, slots=True)
class OrphanAdopted:
    """An orphan is watched by the supervisor that is there now."""

    key: str
    pid: int


@dataclass(frozen=True, slots=True)
class AttemptGone:
    """An orphan that was to be adopted is not there any more."""

    key: str
    #: Why nobody knows how it ended, if it is not that nobody saw it.
    why: str = ""


@dataclass(frozen=True, slots=True)
class Suspended:
    """The machine slept for so long."""

    length_ns: int


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The wall clock jumped by `delta_ns` against the elapsed one."""

    delta_ns: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants something done; it is answered under the token."""

    token: int
    request: Request
    #: Who, in words.
    by: str


@dataclass(frozen=True, slots=True)
class OnceWanted:
    """Somebody wants a command to be run once."""

    token: int
    job: Job
    by: str
    #: It is paused until the load is low.
    is_batch: bool = False


@dataclass(frozen=True, slots=True)
class JobsReloaded:
    """Other definitions are in force from now on."""

    token: int
    jobs: tuple[Job, ...]
    settings: Settings
    #: What the files define and is left out all the same: some tasks of a job, or all of it.
    hidden: tuple[JobHidden, ...]
    by: str
    #: What it is called in the journal: "reloaded", "removed" or "restored".
    kind: str = "reloaded"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Start nothing more, and let what runs end by itself."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Start nothing more and end what runs, with the kill ladder."""


@dataclass(frozen=True, slots=True)
class KillRequested:
    """Start nothing more and kill what runs at once."""


Event = (
    JobsLoaded
    | Tick
    | AttemptStarted
    | StartFailed
    | StartHeld
    | StartsReleased
    | AttemptEnded
    | OrphanAdopted
    | AttemptGone
    | ClockStepped
    | Suspended
    | Asked
    | OnceWanted
    | JobsReloaded
    | DrainRequested
    | StopRequested
    | KillRequested
)
