"""What the program talks about: jobs and tasks as defined, and the states and ends of their runs.

Plain data only: no behaviour beyond look-ups, no process handle, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskman_cli.core.schedule import Schedule


class Overlap(StrEnum):
    """What a slot does when an earlier run of the job is not over."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"
    REPLACE = "replace"


class OnMissed(StrEnum):
    """What becomes of slots that passed while nobody could start them."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class OnCrash(StrEnum):
    """What follows an attempt whose end nobody saw."""

    REPORT = "report"
    RERUN = "rerun"


class Durability(StrEnum):
    """What a record survives: the end of every process, or of the machine's power too."""

    PROCESS = "process"
    POWER = "power"


class Mode(StrEnum):
    """How the tasks of one run follow each other."""

    PARALLEL = "parallel"
    SEQUENCE = "sequence"


class Output(StrEnum):
    """Where a command's standard output and error go."""

    CAPTURE = "capture"
    INHERIT = "inherit"
    DISCARD = "discard"


class Trigger(StrEnum):
    """Why a run exists."""

    SLOT = "slot"
    CATCH_UP = "catch_up"
    START = "start"
    #: Somebody asked for it.
    MANUAL = "manual"
    #: A one-hit job's only one.
    ONCE = "once"


class State(StrEnum):
    """Where a run or an attempt stands; the last six are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"


class SkipReason(StrEnum):
    """Why a slot has no run."""

    OVERLAP = "overlap"
    MISSED = "missed"
    LATE = "late"
    DISABLED = "disabled"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed attempt is followed by another.

    The pause is `delay * backoff ** (n - 1)`, at most `max_delay`, plus jitter.
    """

    max: int = 0
    delay_ns: int = SECOND_NS
    backoff: float = 1.0
    max_delay_ns: int = 3600 * SECOND_NS
    jitter_ns: int = 0
    #: Retry only after these exit codes; None: after any failure, a timeout and a failed start included.
    exit_codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """How the slots of a job become runs. Jobs that say the same share one."""

    overlap: Overlap = Overlap.SKIP
    #: Runs of the job at the same time, for `overlap = "allow"`; None: as many as come.
    max_running: int | None = None
    on_missed: OnMissed = OnMissed.ONCE
    start_deadline_ns: int | None = 3600 * SECOND_NS
    jitter_ns: int = 0
    run_on_start: bool = False
    max_runs: int | None = None
    starts_at_ns: int | None = None
    expires_at_ns: int | None = None
    #: Higher goes first among ready attempts.
    priority: int = 0
    mode: Mode = Mode.PARALLEL
    on_crash: OnCrash = OnCrash.REPORT
    #: Runs whose rows and output are kept; None: as many as the ledger and the output directory keep of old.
    keep_runs: int | None = None
    #: How long they are kept at most.
    keep_for_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A user whom commands run as, as the machine knew him when the job file was read."""

    name: str
    #: -1 where he is not known here, and nothing runs as him.
    uid: int = -1
    gid: int = -1
    #: All that he is in, `gid` among them.
    groups: tuple[int, ...] = ()
    home: str = ""
    #: Where his commands start: his home, or / where there is no such directory.
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A group that commands run with."""

    name: str
    #: -1 where it is not known here.
    gid: int = -1


@dataclass(frozen=True, slots=True)
class Execution:
    """How one command is carried out. Tasks that say the same share one."""

    #: Path of the shell for string commands; None: /bin/sh, left out where that is provably the same.
    shell: str | None = None
    #: Absolute directory; None: where the scheduler was started. It is never None where there is a user.
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: Absolute paths, read at each start, later ones win; `env` wins over them.
    env_file: tuple[str, ...] = ()
    #: True: the scheduler's environment; False: a minimal one; a tuple: minimal plus these names; None: True,
    #: but for another user than the scheduler's own what he has after login.
    inherit_env: bool | tuple[str, ...] | None = None
    #: Text fed to standard input; None: /dev/null.
    stdin: str | None = None
    #: None: who runs the scheduler.
    user: Account | None = None
    #: In the place of the user's own; None: that.
    group: Group | None = None
    umask: int | None = None
    nice: int = 0
    output: Output = Output.CAPTURE
    max_output_bytes: int = 1 << 20
    timeout_ns: int | None = None
    kill_timeout_ns: int = 10 * SECOND_NS
    kill_signal: int = 15
    retry: Retry = Retry()
    success_exit_codes: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Task:
    """One command of a job. A string is for the shell, a tuple is run as it stands."""

    id: str
    command: str | tuple[str, ...]
    execution: Execution


@dataclass(frozen=True, slots=True)
class Job:
    """A named definition: a schedule and one or more tasks."""

    id: str
    schedule: Schedule
    tasks: tuple[Task, ...]
    policy: Policy = Policy()
    enabled: bool = True
    description: str = ""
    tags: tuple[str, ...] = ()
    #: "file:line" of the definition, or "".
    source: str = ""
    #: A one-hit job, which is gone after it ran.
    is_once: bool = False

    @property
    def users(self) -> tuple[str, ...]:
        """Return the names of the users that it names for its commands, each once."""
        named = (task.execution.user for task in self.tasks)
        return tuple(dict.fromkeys(user.name for user in named if user is not None))

    def command_path(self, task: str) -> tuple[str, ...]:
        """Return the keys that lead from the job to a task's command, as the job file has them."""
        is_bare = len(self.tasks) == 1 and task == "main"
        return ("command",) if is_bare else ("tasks", task, "command")


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when a job has no new runs, and why."""

    since_ns: int
    #: When it goes on by itself; None: when somebody says so.
    until_ns: int | None = None
    reason: str = ""
    #: Who paused it, in words.
    by: str = ""
    #: What is left of an interval; None: its slots are on the wall clock, or it waits for a run to end.
    left_ns: int | None = None
    #: `until_ns` is a time of day that somebody named, rather than the end of so long.
    is_until: bool = False
    #: Nothing of the runs up to this number begins, since their commands are stopped; None: they go on.
    stops_to: int | None = None

    def covers(self, wall_ns: int) -> bool:
        """Tell whether it is not over yet at an instant."""
        return self.until_ns is None or wall_ns < self.until_ns

    def moved(self, delta_ns: int) -> Pause:
        """Return the pause on a clock that has stepped: it is as long as it was, unless its end was named."""
        until_ns = self.until_ns
        if until_ns is not None and not self.is_until:
            until_ns += delta_ns
        return replace(self, since_ns=self.since_ns + delta_ns, until_ns=until_ns)


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of the scheduler itself: tables `[taskman]` and `[pool]`."""

    #: Attempts running at the same time.
    max_workers: int = 64
    #: A slot reached later than this by the clock was missed and goes through `on_missed`.
    missed_after_ns: int = 5 * SECOND_NS
    #: The wall clock moved against the elapsed one by at least this much: a step.
    clock_step_ns: int = SECOND_NS
    #: First pause after a spawn failed for want of processes, files or memory; doubles up to the next.
    spawn_retry_ns: int = SECOND_NS // 10
    spawn_retry_max_ns: int = 10 * SECOND_NS
    #: Output that comes this long after a command's end is kept still.
    output_grace_ns: int = SECOND_NS // 4
    #: First pause before a scheduler that died is started again; doubles up to the next.
    restart_delay_ns: int = SECOND_NS // 10
    restart_delay_max_ns: int = 30 * SECOND_NS
    durability: Durability = Durability.PROCESS
    #: Read the job files again when they change.
    watch: bool = False
    #: The job files are given up when they were not read again within this time.
    read_timeout_ns: int = 30 * SECOND_NS
    #: Lines of the journal that are kept.
    keep_events: int = 100_000
    #: The live view is drawn anew this often.
    refresh_ns: int = SECOND_NS // 4


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, as wait4(2) told it.

    One of `exit_code` and `signal` is set; neither where it was watched by somebody who is not its parent.
    """

    exit_code: int | None = None
    signal: int | None = None
    #: User and system time of the process and the children it waited for.
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    output_bytes: int = 0
    #: Of these, cut from the middle of the output file.
    cut_bytes: int = 0
    #: Why output was lost, where a disk or a directory would not take it.
    output_error: str | None = None
    #: Others of its process group live on.
    is_group_left: bool = False
