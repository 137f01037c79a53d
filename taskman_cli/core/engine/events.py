"""What the engine is told. Each event is a fact or a request; its time is passed beside it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from taskman_cli.core.immutable import immutable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.conditions import Condition
    from taskman_cli.core.engine.admission import Signals
    from taskman_cli.core.engine.marks import JobExpected, JobHidden, SeriesNoted
    from taskman_cli.core.model import Amounts, Exit, Job, Settings, State, Trigger
    from taskman_cli.core.pause import Failures, Pause
    from taskman_cli.core.protocol import Request
    from taskman_cli.core.sinks import SinkDefinition


@immutable
class JobStanding:
    """How a job stands on record."""

    #: When it was due, see `definition.py`.
    definition: str
    #: Slots after this instant are to be accounted for.
    since_ns: int
    #: What its interval counts from.
    anchor_ns: int
    run_count: int = 0
    finish_ns: int | None = None
    pause: Pause | None = None
    #: The slot that was taken early, see `ArmedJob.taken_ns`.
    taken_ns: int | None = None
    failures: Failures | None = None
    #: Since when its success is waited for, see `JobExpected`.
    expected: JobExpected | None = None


@immutable
class Told:
    """An attempt's end is on record."""

    state: State
    ended_ns: int
    #: When the next attempt is to begin, on the wall clock; None: none follows.
    next_ns: int | None = None


@immutable
class Unstarted:
    """An attempt is on record, and its process was never asked for."""

    #: The state that it was told to end in before that, if it was: it never starts.
    ending: State | None = None


@immutable
class Gone:
    """An attempt was running, and its end is unknown."""

    #: Why; "": its end was not seen.
    why: str = ""
    #: It is known to be over, and was told to end in this state; None: not both.
    ending: State | None = None


@immutable
class Going:
    """An attempt's process was there when last heard of."""

    #: None: another program carries it out.
    pid: int | None
    started: Now
    #: The state that it was told to end in, if it was.
    ending: State | None = None
    #: Another supervisor started it: it must be adopted.
    is_orphan: bool = False
    #: When it was told to end, if that is known.
    told: Now | None = None


@immutable
class Over:
    """An attempt's process has ended, and its end is not on record yet."""

    pid: int | None
    started: Now
    end: AttemptEnded
    ending: State | None = None


@immutable
class OpenAttempt:
    """An attempt of an unfinished run, and what happened to it."""

    task: str
    number: int
    fate: Told | Unstarted | Gone | Going | Over | StartFailed
    #: Since when it is stopped, if it is; and how long it was stopped before that.
    stopped: Now | None = None
    stopped_ns: int = 0
    #: False: the supervisor knows of it, and the ledger does not.
    is_on_record: bool = True
    #: What it holds of the resources; None: not known, so what its job needs today.
    holds: Amounts | None = None
    #: By which its executor finds it again; "": it is a command here.
    handle: str = ""


@immutable
class OpenRun:
    """A run that an earlier scheduler made and did not finish."""

    run: str
    job: str
    slot_ns: int | None
    trigger: Trigger
    #: All of them, by number; none: the run had not begun.
    attempts: tuple[OpenAttempt, ...] = ()
    is_cancelled: bool = False
    #: The one task to run, and the variables of the request, see `records.RunQueued`.
    task: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    #: False: the supervisor knows of it, and the ledger does not.
    is_on_record: bool = True
    #: By how much the clock was set while it waited, up to the end of that scheduler.
    moved_ns: int = 0
    #: It was told that it takes long; and that it begins, although no attempt of it is on record.
    is_slow: bool = False
    is_told: bool = False
    #: Why it is closed as lost: a scheduler could not handle it. "": it continues.
    set_aside: str = ""


@immutable
class JobsLoaded:
    """The job file is loaded. Sent once, first, with the state that the last scheduler left."""

    jobs: tuple[Job, ...]
    #: The jobs on record that were in force, by name.
    known: Mapping[str, JobStanding] = field(default_factory=dict)
    #: All slots due by then are accounted for; None: no scheduler has written to this ledger before.
    accounted_ns: int | None = None
    #: How far the wall clock has stepped against the elapsed one since then.
    step_ns: int = 0
    #: No run was made after the one with this number.
    last_run: int = 0
    #: The runs that the last scheduler left unfinished. They continue before anything new starts.
    runs: tuple[OpenRun, ...] = ()
    #: Which start of the machine this is, and which start of the program.
    boot: str = ""
    supervisor: int = 0
    #: Whether this is the first scheduler since the machine, or the program, was started.
    is_new_boot: bool = True
    is_new_life: bool = True
    #: Jobs whose slots are accounted for by a later instant than those of all, see `SlotsDecided`.
    decided: Mapping[str, int] = field(default_factory=dict)
    #: What the files define and `taskman remove` left out.
    hidden: tuple[JobHidden, ...] = ()
    #: Jobs to be paused, and why: an earlier scheduler could not handle them.
    set_aside: Mapping[str, str] = field(default_factory=dict)
    #: When the rate of each resource has recovered from earlier starts, see `RateUsed`.
    rates: Mapping[str, int] = field(default_factory=dict)
    #: How much memory tasks need, by job and task, see `NeedLearned`.
    needs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: What tells this ledger from all others; part of handles.
    identity: str = ""
    #: Trouble that sinks were told of, and that goes on.
    series: tuple[SeriesNoted, ...] = ()
    #: The supervisor can hold starts that are asked for early.
    has_early: bool = False


@immutable
class Tick:
    """Time has passed."""


@immutable
class AttemptStarted:
    """The process of an attempt exists."""

    key: str
    pid: int | None
    started: Now


@immutable
class StartFailed:
    """The process of an attempt could not be made."""

    key: str
    message: str
    #: Processes, files or memory ran out: not the job's fault, and worth another try.
    is_transient: bool
    at: Now
    #: It failed in a process that already ran as the job's user, or on the executor: that one's limit alone.
    is_users: bool = False


@immutable
class AttemptEnded:
    """The process of an attempt was reaped."""

    key: str
    exit: Exit
    at: Now


@immutable
class AttemptProgressed:
    """An executor says how far an attempt is; it is shown, not recorded."""

    key: str
    #: Of 1; None: not known.
    part: float | None
    words: str


@immutable
class AttemptUnheard:
    """An executor does not know how an attempt stands, and goes on asking; or does again."""

    key: str
    #: Why; "": it is known again.
    why: str


@immutable
class StartHeld:
    """The start of an attempt could not be recorded, so its process was not asked for."""

    key: str


@immutable
class StartReturned:
    """The start of an attempt that was asked for early was not carried out, and is not going to be."""

    key: str


@immutable
class StartsReleased:
    """Starts can be recorded again."""


@immutable
class AttemptUnstoppable:
    """A command that was to be stopped goes on: what carries it out cannot stop it."""

    key: str
    why: str


@immutable
class ExecutorTold:
    """How an executor stands, and how often its process was replaced."""

    name: str
    #: None: it does not say.
    condition: Condition | None
    restarts: int


@immutable
class OrphanAdopted:
    """An orphan is watched by the current supervisor."""

    key: str
    pid: int | None


@immutable
class AttemptGone:
    """An orphan to be adopted does not exist any more."""

    key: str
    #: Why its end is unknown; "": it was not seen.
    why: str = ""
    #: That it is over is known, says its executor.
    is_over: bool = False


@immutable
class Suspended:
    """The machine was suspended for this long."""

    length_ns: int


@immutable
class ClockStepped:
    """The wall clock jumped by `delta_ns` against the elapsed one."""

    delta_ns: int


@immutable
class RequestReceived:
    """A client made a request; the answer carries its token."""

    token: int
    request: Request
    #: Who, in words.
    by: str


@immutable
class OnceRequested:
    """A client asked for a one-off job."""

    token: int
    job: Job
    by: str
    #: It is paused until the load is low.
    is_batch: bool = False


@immutable
class JobsReloaded:
    """The job files were read again: these definitions are in force from now on."""

    token: int
    #: All jobs; or with `removed`, only those that are new or changed.
    jobs: tuple[Job, ...]
    settings: Settings
    #: What the files define and `taskman remove` left out: some tasks of a job, or all of it.
    hidden: tuple[JobHidden, ...]
    by: str
    #: What it is called in the journal: "reloaded", "removed" or "restored".
    kind: str = "reloaded"
    detail: str = ""
    sinks: tuple[SinkDefinition, ...] = ()
    #: Names that are not defined any more; None: all that are not among `jobs`.
    removed: tuple[str, ...] | None = None
    #: More of what is different follows; it is told and answered with the last part.
    is_part: bool = False


@immutable
class SignalsRead:
    """The machine was looked at, as the gate asked."""

    signals: Signals


@immutable
class MemoryMeasured:
    """How much memory running attempts use, by key; 0: not known."""

    used_bytes: Mapping[str, int]


@immutable
class GateTried:
    """The gate of `admission = "auto"`, which ended an earlier scheduler, is to be used again."""


@immutable
class DrainRequested:
    """Start nothing more, and let running commands end by themselves."""


@immutable
class StopRequested:
    """Start nothing more, and end running commands: `kill_signal`, then KILL after `kill_timeout`."""


@immutable
class KillRequested:
    """Start nothing more, and send KILL to running commands at once."""


Event = (
    JobsLoaded | Tick | AttemptStarted | AttemptProgressed | AttemptUnheard | AttemptUnstoppable
    | ExecutorTold | StartFailed | StartHeld | StartReturned | StartsReleased | AttemptEnded | OrphanAdopted
    | AttemptGone | ClockStepped | Suspended | RequestReceived | OnceRequested | JobsReloaded | SignalsRead
    | MemoryMeasured | GateTried | DrainRequested | StopRequested | KillRequested
)  # fmt: skip
