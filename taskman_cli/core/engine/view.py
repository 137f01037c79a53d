"""All that a view shows at one moment, as plain data: rows of what is next, what runs and what has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.clock import Now
    from taskman_cli.core.engine.news import FilesNote
    from taskman_cli.core.model import Pause, State


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
    #: Why the ledger cannot be written; None: it can.
    trouble: str | None = None
    #: The result of the last reload, as long as it matters.
    files: FilesNote | None = None
