"""What the engine records: most records are one line of the journal.

They are made durable before any action of the same step is carried out.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from taskman_cli.core.immutable import immutable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.view import Failing
    from taskman_cli.core.model import Amounts, Exit, SkipReason, State, Trigger
    from taskman_cli.core.sinks import ReportKind


@immutable
class RunQueued:
    """A run was made."""

    run: str
    job: str
    #: None: the run is not for a slot.
    slot_ns: int | None
    trigger: Trigger
    #: When it is to start: its slot with the job's jitter, or now.
    due_ns: int
    #: The one task to run; None: all of the job's.
    task: str | None = None
    #: Environment variables given with the request.
    params: Mapping[str, str] = field(default_factory=dict)


@immutable
class AttemptBegun:
    """An attempt is about to be started: written before its process exists."""

    run: str
    job: str
    task: str
    attempt: int
    slot_ns: int | None
    #: False: it was cancelled while it waited. It is recorded for its end only, and never started.
    is_start: bool = True
    #: What it holds of the resources until its end.
    holds: Amounts = ()
    #: "EXECUTOR/NAME", by which its executor finds it again; "": it is a command here.
    handle: str = ""


@immutable
class AttemptWithdrawn:
    """An attempt that was about to start did not: it has no process, and may begin again later."""

    run: str
    job: str
    task: str
    attempt: int


@immutable
class AttemptSpawned:
    """The process of an attempt exists."""

    run: str
    job: str
    task: str
    attempt: int
    #: None: another program carries it out.
    pid: int | None
    started: Now
    #: How late that is for its run; None: it is not the first of the run, or catches up on a missed slot.
    delay_ns: int | None = None


@immutable
class AttemptStopped:
    """A command is stopped (SIGSTOP) until its job continues; its `timeout` does not run meanwhile."""

    run: str
    job: str
    task: str
    attempt: int
    at: Now


@immutable
class AttemptContinued:
    """A stopped command continues."""

    run: str
    job: str
    task: str
    attempt: int
    #: How long it has been stopped so far, in total.
    stopped_ns: int
    #: Why it goes on at once; "": somebody resumed it, or told it to end.
    why: str = ""


@immutable
class AttemptEnding:
    """An attempt was told to end; it gets KILL after `kill_timeout`, from this scheduler or the next."""

    run: str
    job: str
    task: str
    attempt: int
    state: State
    at: Now


@immutable
class SurvivorsFound:
    """An attempt that was told to end has left processes, which are ended too."""

    run: str
    job: str
    task: str
    attempt: int
    #: The signal that they got; None: nothing ends them.
    signum: int | None
    count: int
    #: Some of them: number and name.
    named: tuple[tuple[int, str], ...]


@immutable
class AttemptStuck:
    """KILL does not end a command: the kernel holds it, mostly for a disk or a file system."""

    run: str
    job: str
    task: str
    attempt: int
    pid: int | None


@immutable
class AttemptAdopted:
    """A process that outlived its supervisor is watched again."""

    run: str
    job: str
    task: str
    attempt: int
    pid: int | None


@immutable
class AttemptFinished:
    """An attempt is over."""

    run: str
    job: str
    task: str
    attempt: int
    state: State
    #: In words: "exit 3", "killed by SIGKILL", "not found: foo"; "" after success.
    detail: str
    #: None: there was no process.
    exit: Exit | None
    ended_ns: int
    #: None: unknown.
    duration_ns: int | None
    #: The pause before the next attempt; None: no attempt follows.
    retry_in_ns: int | None = None


@immutable
class RunFinished:
    """A run is over, with all its tasks."""

    run: str
    job: str
    state: State
    slot_ns: int | None
    #: Tasks without a result of their own: never begun, or not retried.
    undone: tuple[str, ...] = ()
    #: Why, if its attempts do not say so.
    detail: str = ""
    #: The series of failed runs of the job that it is the last of; None: it did not fail.
    failing: Failing | None = None
    #: When its last command ended, on the wall clock; 0: none has.
    ended_ns: int = 0
    #: From its first process to its end; None: unknown, or it had none.
    duration_ns: int | None = None


@immutable
class RunCancelling:
    """A run is being cancelled: none of its tasks begins any more, in the next scheduler either."""

    run: str
    job: str


@immutable
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
    #: The queued run for the slot, if there was one: it was given up.
    run: str | None = None
    #: The run that was in the way.
    blocker: str | None = None
    #: Their job was changed or removed while no scheduler was running.
    is_owed: bool = False


@immutable
class SpawnDelayed:
    """Processes, files or memory ran out, so no process could be made: all starts pause, or one user's."""

    message: str
    pause_ns: int
    #: The user whose starts pause; "": all starts do.
    user: str = ""
    #: The run that met that user's, or that executor's, limit.
    run: str = ""
    #: The executor whose starts pause; "": it is not one's limit.
    executor: str = ""


@immutable
class ClockStepNoted:
    """The wall clock jumped."""

    delta_ns: int


@immutable
class SuspendNoted:
    """The machine slept."""

    length_ns: int


@immutable
class JobsTaken:
    """Job definitions came into force; what differs from those before."""

    jobs: int
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    #: Names of the scheduler's settings that changed.
    settings: tuple[str, ...] = ()
    #: Who requested the reload; None: it was not a reload.
    by: str | None = None


@immutable
class Commanded:
    """A request was carried out: "triggered", "paused", "resumed", "cancelled", "removed", …"""

    kind: str
    #: Who, in words.
    by: str
    job: str | None = None
    run: str | None = None
    detail: str = ""


@immutable
class SchedulerNoted:
    """Something happened to the scheduler itself; `kind` is its name in the journal:

    "scheduler_started", "scheduler_stopped", "scheduler_hung", "stalled", "ledger_lost", "ledger_unwritable",
    "ledger_writable", "reload_failed", "watch_hangs", "watch_goes_on", "zone_changed", "scheduler_died",
    "reports_dropped".
    """

    kind: str
    detail: str = ""
    #: When it happened, if that was before it could be written.
    at_ns: int | None = None


@immutable
class TargetChanged:
    """The pool wants to run more attempts at once, or fewer."""

    before: int
    target: int
    reason: str


@immutable
class Noticed:
    """What no other record tells of a job: that it has recovered, or is delayed, slow or overdue."""

    kind: ReportKind
    job: str
    run: str | None
    slot_ns: int | None
    detail: str


@immutable
class Reported:
    """Sinks are told of the record before this one: all that they need to know, except for the output."""

    kind: ReportKind
    #: Their names, each with how many like it there were since it was last told; this one included.
    to: tuple[tuple[str, int], ...]
    #: How many of the last lines of output go along at most.
    output_lines: int = 0
    job: str = ""
    task: str = ""
    run: str = ""
    attempt: int = 0
    slot_ns: int | None = None
    state: str = ""
    reason: str = ""
    detail: str = ""
    exit: Exit | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    duration_ns: int | None = None


Record = (
    RunQueued
    | AttemptBegun
    | AttemptWithdrawn
    | AttemptSpawned
    | AttemptStopped
    | AttemptContinued
    | AttemptEnding
    | AttemptStuck
    | SurvivorsFound
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
    | TargetChanged
    | Noticed
    | Reported
)
