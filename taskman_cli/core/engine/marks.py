"""What the next scheduler continues from: how jobs stand, which are paused, how far slots are accounted for.

They are made durable together with the records of the same step, and are not in the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskman_cli.core.model import Job
    from taskman_cli.core.pause import Failures, Pause


@dataclass(frozen=True, slots=True)
class Accounted:
    """All slots due by this instant are accounted for."""

    until_ns: int


@dataclass(frozen=True, slots=True)
class JobArmed:
    """A job is new, or its schedule has changed: its slots count from here."""

    job: str
    definition: str
    since_ns: int
    anchor_ns: int
    #: The slot that was taken early, see `ArmedJob.taken_ns`.
    taken_ns: int | None = None


@dataclass(frozen=True, slots=True)
class JobRezoned:
    """A job has the same slots as before, shown in another zone."""

    job: str
    definition: str


@dataclass(frozen=True, slots=True)
class JobRemoved:
    """A job is not defined any more."""

    job: str


@dataclass(frozen=True, slots=True)
class RunsCounted:
    """A job with `max_runs` has had this many runs."""

    job: str
    count: int


@dataclass(frozen=True, slots=True)
class IntervalEnded:
    """The interval of a job with `every_from = "finish"` counts from here."""

    job: str
    finish_ns: int


@dataclass(frozen=True, slots=True)
class LifeBegun:
    """`@reboot` and `run_on_start` have been handled for this start of the machine and of the program."""

    boot: str
    supervisor: int


@dataclass(frozen=True, slots=True)
class JobPaused:
    """A job is paused; None: it is not any more."""

    job: str
    pause: Pause | None


@dataclass(frozen=True, slots=True)
class FailuresNoted:
    """These runs of a job have failed since its last success; None: no more of them are counted."""

    job: str
    failures: Failures | None


@dataclass(frozen=True, slots=True)
class JobHidden:
    """`taskman remove` leaves out some tasks of a job, or all of it; no task: the job is complete again."""

    job: str
    tasks: tuple[str, ...]
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class OnceAdded:
    """A one-off job was added."""

    job: Job


@dataclass(frozen=True, slots=True)
class OnceOver:
    """A one-off job is over, and removed."""

    job: str


@dataclass(frozen=True, slots=True)
class RunsNumbered:
    """The number of the latest run, even if its rows are removed."""

    last_run: int


@dataclass(frozen=True, slots=True)
class RateUsed:
    """Attempts have started on a resource with a rate."""

    resource: str
    #: When as many may start at once as after a quiet time, on the elapsed clock.
    full_elapsed_ns: int


@dataclass(frozen=True, slots=True)
class NeedLearned:
    """A task is known to need this much memory."""

    job: str
    task: str
    need_bytes: int


@dataclass(frozen=True, slots=True)
class SuccessNoted:
    """The last success of a job ended then; for a new ledger, where the run is not on record."""

    job: str
    success_ns: int


@dataclass(frozen=True, slots=True)
class JobExpected:
    """Since when a success of a job is waited for, and when it was told that none came; None: it is not."""

    job: str
    since_ns: int | None
    told_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesNoted:
    """When a sink was last told of trouble of a job that goes on, and how often it was not told since."""

    job: str
    sink: str
    #: What kind of trouble.
    trouble: str
    told_ns: int
    untold: int
    #: The latest run that it happened to.
    run: str


@dataclass(frozen=True, slots=True)
class SeriesOver:
    """Trouble of a job is over; what sink knew of it."""

    job: str
    sink: str
    trouble: str


@dataclass(frozen=True, slots=True)
class SinksTaken:
    """These sinks are in force: a new one begins here, and others are forgotten."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SinkDelivered:
    """A sink has taken all reports up to this line of the journal."""

    sink: str
    seq: int
    at_ns: int
    #: What the other side has answered.
    answer: str
    #: How many reports that was.
    count: int = 1


@dataclass(frozen=True, slots=True)
class SinkFailed:
    """Deliveries to a sink fail, since when and why."""

    sink: str
    at_ns: int
    why: str


@dataclass(frozen=True, slots=True)
class ReportSetAside:
    """A sink will not take these reports; the next ones are delivered."""

    sink: str
    seqs: tuple[int, ...]
    at_ns: int
    why: str


@dataclass(frozen=True, slots=True)
class SinkMoved:
    """A sink is told from here on: of what comes after this line of the journal."""

    sink: str
    seq: int


@dataclass(frozen=True, slots=True)
class ReportSkipped:
    """A sink is not told of this report."""

    sink: str
    seq: int


Mark = (
    JobExpected
    | SeriesNoted
    | SeriesOver
    | SinksTaken
    | SinkDelivered
    | SinkFailed
    | ReportSetAside
    | SinkMoved
    | ReportSkipped
    | Accounted
    | JobPaused
    | FailuresNoted
    | JobHidden
    | OnceAdded
    | OnceOver
    | RunsNumbered
    | JobArmed
    | JobRezoned
    | JobRemoved
    | RunsCounted
    | IntervalEnded
    | LifeBegun
    | RateUsed
    | NeedLearned
    | SuccessNoted
)
