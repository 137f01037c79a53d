"""All that a view shows at one moment, as plain data: rows of what is next, what runs and what has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.conditions import FarWorkers, Reach
    from taskman_cli.core.engine.news import FilesNote
    from taskman_cli.core.model import State
    from taskman_cli.core.pause import Park, Pause


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One job's next start, for the screen."""

    job: str
    #: None: it is paused and has no slot; `due_ns` means nothing then.
    slot_ns: int | None
    due_ns: int
    enabled: bool = True
    #: The schedule as a person would write it.
    schedule: str = ""
    pause: Pause | None = None
    park: Park | None = None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One attempt that holds a seat, for the screen."""

    run: str
    job: str
    task: str
    attempt: int
    #: None until the process exists.
    pid: int | None
    started_elapsed_ns: int
    #: Running time after which it is killed; None: never.
    timeout_ns: int | None
    #: What is happening to it, such as "timed out, ending"; "": nothing.
    note: str = ""
    command: str = ""
    trigger: str = ""
    #: How long it has been stopped so far, in total: time that does not count for `timeout_ns`.
    stopped_ns: int = 0
    #: What carries it out: the type and name of an executor; "": it is a command here.
    executor: str = ""
    #: How far it is: the part of 1, if that is known, and words.
    progress: tuple[float | None, str] | None = None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One attempt or skip that is over, newest last, for the screen."""

    job: str
    task: str
    run: str
    attempt: int
    state: State
    ended_ns: int
    #: None: unknown.
    duration_ns: int | None
    #: In words: "exit 3", "killed by SIGKILL", "overlap", "not found: foo"; "" after success.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failing:
    """A job whose latest run failed, and the series of failed runs that this run is the last of."""

    job: str
    #: The latest of them, and how it failed: the task, and the reason in words ("exit 3").
    run: str
    task: str
    state: State
    detail: str
    #: How many runs failed in a row.
    failures: int
    #: When the first and the latest of them ended; 0: unknown.
    since_ns: int
    ended_ns: int
    #: There were more before, which are not on record any more.
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """A job that needs a person, for the top of the screen."""

    #: What kind of trouble it is in: "failing".
    kind: str
    failing: Failing
    #: When it next starts; None: it does not, for the reason in `note`.
    due_ns: int | None
    #: "paused", "running", "retry 2 of 3"; "": it waits for its next slot, if there is one.
    note: str = ""


@dataclass(frozen=True, slots=True)
class RetryRow:
    """An attempt that rests until its next try, for the screen."""

    run: str
    job: str
    task: str
    attempt: int
    #: This is the retry number `retry` of at most `most`.
    retry: int
    most: int
    due_ns: int

    @property
    def words(self) -> str:
        """Say which retry it is: "retry 2 of 3"."""
        return f"retry {self.retry} of {self.most}"


class Depth(NamedTuple):
    """How full one queue or buffer is."""

    name: str
    depth: int
    #: The most since this scheduler began.
    most: int
    #: It holds bytes, not items.
    is_bytes: bool


@dataclass(frozen=True, slots=True)
class SinkRow:
    """A sink, and how far it has got, for the screen and for whoever counts."""

    sink: str
    #: How many reports wait for it, and how many it would not take.
    waiting: int
    set_aside: int
    #: Since when deliveries fail, on the wall clock, and why; None: they do not.
    failing_ns: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ExecutorRow:
    """An executor and what is on it, for the screen and for whoever counts."""

    name: str
    type: str
    reach: Reach
    #: Since when, on the elapsed clock; None: not known.
    since_elapsed_ns: int | None
    #: Why nothing can begin on it; "": it can.
    words: str
    running: int
    #: None: as many as the pool has.
    max_workers: int | None
    waiting: int
    #: How often its process was replaced since `taskman run` was started.
    restarts: int
    #: How many began on it, and how many ended how, since this scheduler began.
    starts: int
    ends: tuple[tuple[State, int], ...]
    #: What it says of the workers beyond it; None: it says nothing.
    workers: FarWorkers | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What has happened since `taskman run` was started, under all its schedulers."""

    started: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    cancelled: int = 0
    lost: int = 0
    skipped: int = 0
    retried: int = 0
    spawn_waits: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a view shows, at one moment."""

    now: Now
    started_ns: int
    jobs: int
    max_workers: int
    queue: tuple[QueueRow, ...]
    workers: tuple[WorkerRow, ...]
    #: Attempts that are due and wait for a seat.
    ready: int
    #: Attempts that wait for their next try.
    waiting_retries: int
    recent: tuple[ResultRow, ...]
    counters: Counters
    stopping: bool = False
    #: It stops, but running commands may end by themselves.
    draining: bool = False
    paused: int = 0
    #: Jobs that failed too often, and have no new runs.
    parked: int = 0
    #: How many attempts the pool wants to run at once; None: `admission = "fixed"`.
    target: int | None = None
    #: What the first attempt waits for that waits for a worker; "": none waits.
    waits: str = ""
    #: Why the ledger cannot be written; None: it can.
    trouble: str | None = None
    #: The result of the last reload, as long as it matters.
    files: FilesNote | None = None
    #: Jobs that need a person, the worst first.
    alarms: tuple[AlarmRow, ...] = ()
    #: How many there are.
    alarm_count: int = 0
    #: Attempts that rest until their next try, the first of them first.
    retries: tuple[RetryRow, ...] = ()
    sinks: tuple[SinkRow, ...] = ()
    #: How full the queues and buffers are.
    queues: tuple[Depth, ...] = ()
    #: All executors, `local` first; empty: there is no other.
    executors: tuple[ExecutorRow, ...] = ()
    #: Jobs that start later, or stand still, and are not in `queue`.
    queue_more: int = 0
