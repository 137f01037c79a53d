"""What the program talks about: jobs and tasks as defined, and the states and ends of their runs.

Plain data only: no behaviour beyond look-ups, no process handle, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from taskman_cli.core.clock import SECOND_NS
from taskman_cli.core.executors import LOCAL, ExecutorDefinition
from taskman_cli.core.immutable import immutable
from taskman_cli.core.limits import UNLIMITED, Limits
from taskman_cli.core.tuning import DEFAULTS, Admission, AdmissionTuning

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
    """What becomes of slots that passed while nothing could start."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class OnCrash(StrEnum):
    """What follows an attempt whose end was not seen."""

    REPORT = "report"
    RERUN = "rerun"
    PARK = "park"


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
    #: A request, as of `taskman trigger`.
    MANUAL = "manual"
    #: The only run of a one-off job.
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
    #: The job failed too often in a row.
    PARKED = "parked"
    #: Its command said so, by an exit code of `skip_exit_codes`.
    NOT_NOW = "not_now"
    #: The command of `only_if` said so.
    ONLY_IF = "only_if"


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
    #: Most runs of the job at the same time, for `overlap = "allow"`; None: no limit.
    max_running: int | None = None
    on_missed: OnMissed = OnMissed.ONCE
    start_deadline_ns: int | None = 3600 * SECOND_NS
    jitter_ns: int = 0
    run_on_start: bool = False
    max_runs: int | None = None
    starts_at_ns: int | None = None
    expires_at_ns: int | None = None
    #: Higher goes first among attempts that wait for a seat.
    priority: int = 0
    mode: Mode = Mode.PARALLEL
    on_crash: OnCrash = OnCrash.REPORT
    #: The job is parked after this many failed runs in a row; None: never.
    max_failures: int | None = None
    #: How long after that its next slot is tried; None: not before `resume`.
    park_for_ns: int | None = None
    #: How many finished runs keep their rows and output; None: the defaults of each.
    keep_runs: int | None = None
    #: How long they are kept, at most.
    keep_for_ns: int | None = None
    #: Names of the sinks that are told of the job.
    sinks: tuple[str, ...] = ()
    #: A run that begins later than this is delayed; None: none is.
    delayed_after_ns: int | None = None
    #: A run that takes longer than this is slow; None: none is.
    slow_after_ns: int | None = None
    #: Without a success for so long, the job is overdue; None: it never is.
    expect_every_ns: int | None = None


#: The resource that is counted in bytes of memory; it needs no limit of its own.
RAM = "ram"

#: Amounts of resources by name, in the order of the names.
Amounts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """What attempts draw on: so much of it is there, and so fast may attempts start on it."""

    #: How much running attempts may hold together; None: any amount.
    limit: int | None = None
    #: So much may be started on in each `per_ns`, in the long run; None: any amount.
    rate: int | None = None
    per_ns: int = SECOND_NS
    #: So much may be started on at once after a quiet time.
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Account:
    """A user that commands run as, with the facts of when the job file was read."""

    name: str
    #: -1: the user is unknown here, and no command runs as that user.
    uid: int = -1
    gid: int = -1
    #: All groups of the user, `gid` among them.
    groups: tuple[int, ...] = ()
    home: str = ""
    #: Where the user's commands start: the home directory, or / if it does not exist.
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A group that commands run with."""

    name: str
    #: -1: the group is unknown here.
    gid: int = -1


@dataclass(frozen=True, slots=True)
class Execution:
    """How one command is carried out. Tasks that say the same share one."""

    #: Path of the shell for string commands; None: /bin/sh, left out where that is provably the same.
    shell: str | None = None
    #: Absolute directory; None: where the scheduler was started. Never None if there is a `user`.
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: Absolute paths, read at each start, later ones win; `env` wins over them.
    env_file: tuple[str, ...] = ()
    #: True: the scheduler's environment; False: a minimal one; a tuple: minimal plus these names; None: True,
    #: or the environment after login if the command runs as another user.
    inherit_env: bool | tuple[str, ...] | None = None
    #: Text fed to standard input; None: /dev/null.
    stdin: str | None = None
    #: None: the scheduler's own user.
    user: Account | None = None
    #: Instead of the user's own group; None: that.
    group: Group | None = None
    umask: int | None = None
    nice: int = 0
    limits: Limits = UNLIMITED
    output: Output = Output.CAPTURE
    max_output_bytes: int = 1 << 20
    timeout_ns: int | None = None
    kill_timeout_ns: int = 10 * SECOND_NS
    kill_signal: int = 15
    #: End also what has left the process group of a command that is told to end.
    kill_orphans: bool = True
    retry: Retry = Retry()
    success_exit_codes: tuple[int, ...] = (0,)
    #: By these the command says "not now": its run ends as skipped.
    skip_exit_codes: tuple[int, ...] | None = None
    #: What each attempt draws on while it runs.
    resources: Amounts = ()
    #: What carries it out: LOCAL, or the name of a table `[executors.NAME]`.
    executor: str = LOCAL
    #: What keys say that only the type of its executor has: JSON by key.
    executor_keys: tuple[tuple[str, str], ...] = ()


#: The name that the command of `only_if` has among the tasks of a run; no other task has it.
GATE = "only_if"
#: How long it may take, if the job does not say.
GATE_TIMEOUT_NS = 10 * SECOND_NS
#: The exit codes by which it says that the run does not begin.
GATE_CODES = tuple(range(1, 256))
#: The same for a shell's command: with these the shell says that it could not run it.
SHELL_GATE_CODES = tuple(code for code in GATE_CODES if code not in (126, 127))


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
    #: A one-off job, which is removed after its run.
    is_once: bool = False
    #: The command that says whether a run begins (`only_if`): a task named GATE; None: each does.
    gate: Task | None = None

    @property
    def commands(self) -> tuple[Task, ...]:
        """Return all that it runs: its tasks, after its gate."""
        return self.tasks if self.gate is None else (self.gate, *self.tasks)

    @property
    def users(self) -> tuple[str, ...]:
        """Return the names of the users that its commands run as, without the scheduler's own."""
        named = [user.name for task in self.commands if (user := task.execution.user) is not None]
        return tuple(dict.fromkeys(named)) if named else ()

    def command_path(self, task: str) -> tuple[str, ...]:
        """Return the keys that lead from the job to a task's command, as the job file has them."""
        if task == GATE:
            return (GATE,)
        is_bare = len(self.tasks) == 1 and task == "main"
        return ("command",) if is_bare else ("tasks", task, "command")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the scheduler: tables `[taskman]`, `[pool]` and `[metrics]`."""

    #: Most attempts that run at the same time; None: as many as `admission` allows.
    max_workers: int | None = None
    #: A waiting attempt gains one step of priority each time this passes; None: it gains none.
    ageing_ns: int | None = 60 * SECOND_NS
    admission: Admission = Admission.AUTO
    #: How many attempts with a priority over 0 may start although the CPUs are busy.
    priority_seats: int = 1
    #: The longest time that the machine's load holds the first attempt back.
    admission_patience_ns: int = 10 * SECOND_NS
    admission_tuning: AdmissionTuning = DEFAULTS
    #: What attempts draw on, by name, in the order of the names.
    resources: tuple[tuple[str, Resource], ...] = ()
    #: A slot that is reached later than this was missed, and `on_missed` applies.
    missed_after_ns: int = 5 * SECOND_NS
    #: The wall clock has stepped if it moved by at least this much against the elapsed clock.
    clock_step_ns: int = SECOND_NS
    #: First pause after processes, files or memory ran out; it doubles up to the maximum.
    spawn_retry_ns: int = SECOND_NS // 10
    spawn_retry_max_ns: int = 10 * SECOND_NS
    #: Output that comes within this time after a command's end is still kept.
    output_grace_ns: int = SECOND_NS // 4
    #: First pause before a scheduler that died is started again; it doubles up to the maximum.
    restart_delay_ns: int = SECOND_NS // 10
    restart_delay_max_ns: int = 30 * SECOND_NS
    #: A scheduler that is behind by this much hangs, and is replaced; None: none ever is.
    hang_after_ns: int | None = 60 * SECOND_NS
    durability: Durability = Durability.PROCESS
    #: Mail what the commands of crontabs print, as cron does.
    crontab_mail: bool = False
    #: Read the job files again when they change.
    watch: bool = False
    #: A reload is given up if the job files cannot be read within this time.
    read_timeout_ns: int = 30 * SECOND_NS
    #: How many lines of the journal are kept.
    keep_events: int = 100_000
    #: How often the live view is redrawn.
    refresh_ns: int = SECOND_NS // 4
    #: Where metrics are served: "HOST:PORT", or the absolute path of a Unix socket; None: nowhere.
    metrics_listen: str | None = None
    #: The file that they are written to, for a collector of text files; None: none.
    metrics_textfile: str | None = None
    #: Also those of each job.
    metrics_jobs: bool = True
    #: What carries out attempts other than as commands here, in the order of the names.
    executors: tuple[ExecutorDefinition, ...] = ()


@immutable
class Exit:
    """How a process ended, from wait4(2).

    Either `exit_code` or `signal` is set; neither if the process was not our child.
    """

    exit_code: int | None = None
    signal: int | None = None
    #: User and system time of the process and the children it waited for.
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    output_bytes: int = 0
    #: Of these, cut from the middle of the output file.
    cut_bytes: int = 0
    #: Why output was lost, if a disk or a directory did not take it.
    output_error: str | None = None
    #: Others of its process group live on.
    is_group_left: bool = False
    #: It has dumped core.
    has_core: bool = False
    #: Whose counter of kills for want of memory rose with its end: "cgroup", "machine"; "": none.
    memory: str = ""
    #: The memory limit of its own that it went over; 0: none.
    over_memory_bytes: int = 0
    #: What its executor says of the end, in words; with neither exit code nor signal, it has failed by this.
    error: str = ""
